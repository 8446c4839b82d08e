#!/bin/bash
# Posterior and evidence of 1 to 6 peaks in a spectrum of your own. Change queue, group and sizes, or have it
# written:
#     hpc-ds submit --machine fugaku --queue small --group hp000000 --nodes 2 --ranks-per-node 48 --time 2:00:00 -- hpc-ds infer spectrum data.csv --peaks 1:6 --copies 4 --draws 100000 --out runs/peaks
# By hand, where hpc-ds was set up:
#     mkdir -p runs/peaks.jobs/1
#     pjsub -z jid jobscripts/pjm/infer.sh
#
# infer: 2 nodes, 48 ranks a node, 1 thread a rank; PJM script by hpc-ds submit for Supercomputer Fugaku, RIKEN R-CCS: A64FX, Tofu-D.
# Compute nodes are aarch64: .venv must have been made on one of them, not on a login node.
# Not verified on the machine: directives: seen: rscunit_ft01 in public scripts
# Not verified on the machine: environment: seen: PLE_MPI_STD_EMPTYFILE=off in public scripts
# Not verified on the machine: queues.small: seen: 1 to 384 nodes and 72 h in notes of users; ask pjacl --rg small
#PJM -N infer
#PJM -L "rscgrp=small"
#PJM -L "node=2"
#PJM -L "elapse=02:00:00"
#PJM --mpi "max-proc-per-node=48"
#PJM -g hp000000
#PJM -x PJM_LLIO_GFSCACHE=/vol0004
#PJM -j
#PJM -o "runs/peaks.jobs/1/%n.%j.out"
#PJM -S
#PJM -L rscunit=rscunit_ft01

job=runs/peaks.jobs/1
mkdir -p "$job/ended"
say() { printf 'hpc-ds job: %s\n' "$*" >&2; }

# What to run.
command=(hpc-ds infer spectrum data.csv --peaks 1:6 --copies 4 --draws 100000 --out runs/peaks)

# What became of it: an exit code, left out if the job is killed.
record=$job/ended/0

# Environment.
# shellcheck source=/dev/null
. .venv/bin/activate
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
export PLE_MPI_STD_EMPTYFILE=off
# Compiled kernels are kept where compute nodes may write, also where they do not see the home folder.
export XDG_CACHE_HOME="$PWD"/runs/peaks.jobs/cache
export MPLCONFIGDIR=$XDG_CACHE_HOME/matplotlib
mkdir -p "$MPLCONFIGDIR"

# When the job ends: hpc-ds saves and stops before, with exit code 75.
end=$(($(date +%s) + 7200))
export HPC_DS_DEADLINE=$end

# Notice comes to this shell alone. bash runs a trap only between commands or during wait: the ranks run in
# the background, hear of it from here (SIGUSR1: save and stop), and are waited for once more.
ranks='' stop=0 interrupted=0
trap 'stop=1 interrupted=1; [ -z "$ranks" ] || kill -USR1 "$ranks" 2>/dev/null' USR1 XCPU
trap 'stop=1 interrupted=1; [ -z "$ranks" ] || kill -USR1 "$ranks" 2>/dev/null' TERM
# No notice comes from outside in time (PJM: SIGXCPU at the limit, SIGKILL 10 s later): a clock of the
# script's own tells the time 120 s before.
clock() {
    trap 'kill "$nap"; exit' TERM
    sleep "$1" & nap=$!
    wait "$nap" && kill -USR1 $$
}
clock 7080 & timer=$!
trap 'kill "$timer" 2>/dev/null' EXIT

launch() {
    (trap '' XCPU; exec mpiexec -n 96 -stdout-proc runs/peaks.jobs/1/output.%j/%/1000r/stdout -stderr-proc \
        runs/peaks.jobs/1/output.%j/%/1000r/stderr "${command[@]}") &
    ranks=$!
    [ "$stop" = 0 ] || kill -USR1 "$ranks" 2>/dev/null
    while :; do
        interrupted=0
        wait "$ranks"
        code=$?
        [ "$interrupted" = 1 ] || break
    done
    ranks=
    echo "$code" >"$record"
}

launch
if [ "$code" = 75 ]; then
    say "stopped in good order: the same hpc-ds submit goes on"
fi
exit "$code"
