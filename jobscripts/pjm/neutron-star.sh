#!/bin/bash
# The neutron-star study, all three engines, in a chain of jobs. Change queue, group and sizes, or have it
# written:
#     hpc-ds submit --machine fugaku --queue small --group hp000000 --nodes 96 --ranks-per-node 48 --time 6:00:00 --chain 4 -- hpc-ds run neutron-star --scale full --out runs/neutron-star
# By hand, where hpc-ds was set up:
#     rm -f runs/neutron-star.jobs/1/ended/*
#     mkdir -p runs/neutron-star.jobs/1
#     pjsub -z jid --step --sparam sn=1 jobscripts/pjm/neutron-star.sh
#     pjsub -z jid --step --sparam jid=ID,sn=2,sd=ec==0:all:1 jobscripts/pjm/neutron-star.sh
# and so on to link 4; ID is what the command before printed.
#
# neutron-star: 96 nodes, 48 ranks a node, 1 thread a rank; PJM script by hpc-ds submit for Supercomputer Fugaku, RIKEN R-CCS: A64FX, Tofu-D.
# Compute nodes are aarch64: .venv must have been made on one of them, not on a login node.
# Not verified on the machine: directives: seen: rscunit_ft01 in public scripts
# Not verified on the machine: environment: seen: PLE_MPI_STD_EMPTYFILE=off in public scripts
# Not verified on the machine: queues.small: seen: 1 to 384 nodes and 72 h in notes of users; ask pjacl --rg small
# Not verified on the machine: step_end: unverified: ec==0 deletes this and all later links; public scripts and WHEEL's manual have ec!=0 likewise, but nobody has tried what ec is of a killed job
#PJM -N neutron-star
#PJM -L "rscgrp=small"
#PJM -L "node=96"
#PJM -L "elapse=06:00:00"
#PJM --mpi "max-proc-per-node=48"
#PJM -g hp000000
#PJM -x PJM_LLIO_GFSCACHE=/vol0004
#PJM -j
#PJM -o "runs/neutron-star.jobs/1/%n.%J.out"
#PJM -S
#PJM -L rscunit=rscunit_ft01

job=runs/neutron-star.jobs/1
mkdir -p "$job/ended"
link=${PJM_STEPNUM:-1} links=4
say() { printf 'hpc-ds job: %s\n' "$*" >&2; }

# What to run.
command=(hpc-ds run neutron-star --scale full --out runs/neutron-star)
out=runs/neutron-star

is_done() { [ "$out/state.json" -nt "$job/job.sh" ] && grep -qs '"state": *"done"' "$out/state.json"; }
# Nothing is left to do when the run folder says done since the submission, or when an earlier link ended
# with an exit code that means neither 'again' (75) nor 'killed' (none, or a signal's).
settled() {
    local before
    record=$job/ended/$1
    before=$(cat "$record" 2>/dev/null)
    if is_done; then code=0; say "$out is done: nothing left for link $link of $links"; return 0; fi
    case $before in
        '' | 75 | 9 | 129 | 130 | 137 | 138 | 143 | 152) return 1 ;;
        0 | 3) code=$before; say "done with exit code $before: nothing left for link $link of $links" ;;
        *) code=$before; say "an earlier link failed with exit code $before, so the chain ends here:"
           say "see its log, mend the cause and give the same hpc-ds submit again" ;;
    esac
}
if settled 0; then exit "$code"; fi
rm -f "$record"

# Environment.
# shellcheck source=/dev/null
. .venv/bin/activate
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
export PLE_MPI_STD_EMPTYFILE=off
# Compiled kernels are kept where compute nodes may write, also where they do not see the home folder.
export XDG_CACHE_HOME="$PWD"/runs/neutron-star.jobs/cache
export MPLCONFIGDIR=$XDG_CACHE_HOME/matplotlib
mkdir -p "$MPLCONFIGDIR"

# When the job ends: hpc-ds saves and stops before, with exit code 75.
end=$(($(date +%s) + 21600))
export HPC_DS_DEADLINE=$end

# Notice comes to this shell alone. bash runs a trap only between commands or during wait: the ranks run in
# the background, hear of it from here (SIGUSR1: save and stop), and are waited for once more.
ranks='' stop=0 interrupted=0 cancelled=0
trap 'stop=1 interrupted=1; [ -z "$ranks" ] || kill -USR1 "$ranks" 2>/dev/null' USR1 XCPU
trap 'cancelled=1 stop=1 interrupted=1; [ -z "$ranks" ] || kill -USR1 "$ranks" 2>/dev/null' TERM
# No notice comes from outside in time (PJM: SIGXCPU at the limit, SIGKILL 10 s later): a clock of the
# script's own tells the time 120 s before.
clock() {
    trap 'kill "$nap"; exit' TERM
    sleep "$1" & nap=$!
    wait "$nap" && kill -USR1 $$
}
clock 21480 & timer=$!
trap 'kill "$timer" 2>/dev/null' EXIT

launch() {
    (trap '' XCPU; exec mpiexec -n 4608 -stdout-proc runs/neutron-star.jobs/1/output.%j/%/1000r/stdout -stderr-proc \
        runs/neutron-star.jobs/1/output.%j/%/1000r/stderr "${command[@]}") &
    ranks=$!
    [ "$stop" = 0 ] || kill -USR1 "$ranks" 2>/dev/null
    while :; do
        interrupted=0
        wait "$ranks"
        code=$?
        [ "$interrupted" = 1 ] || break
    done
    ranks=
    # Launchers may say 0 of ranks that were cancelled or lost a node: the run folder knows better.
    if [ "$code$cancelled" = 01 ] && ! is_done; then code=143; fi
    echo "$code" >"$record"
}

launch
if [ "$code" = 75 ]; then
    if [ "$link" -lt "$links" ]; then say "stopped in good order: link $((link + 1)) goes on"
    else say "stopped in good order after the last link: the same hpc-ds submit goes on"; fi
fi
exit "$code"
