#!/bin/bash
# The study of many copies of a spectrum with fresh noise. Change queue, group and sizes, or have it written:
#     hpc-ds submit --machine slurm --queue cpu --nodes 8 --ranks-per-node 48 --time 6:00:00 --chain 2 -- hpc-ds run noise-copies --scale full --out runs/noise-copies
# By hand, where hpc-ds was set up:
#     rm -f runs/noise-copies.jobs/1/ended/*
#     mkdir -p runs/noise-copies.jobs/1
#     sbatch --parsable jobscripts/slurm/noise-copies.sh 1
#     sbatch --parsable --dependency=afterany:ID jobscripts/slurm/noise-copies.sh 2
# and so on to link 2; ID is what the command before printed.
#
# noise-copies: 8 nodes, 48 ranks a node, 1 thread a rank; SLURM script by hpc-ds submit for a SLURM cluster.
#SBATCH --job-name=noise-copies
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=48
#SBATCH --cpus-per-task=1
#SBATCH --threads-per-core=1
#SBATCH --time=06:00:00
#SBATCH --partition=cpu
#SBATCH --output="runs/noise-copies.jobs/1/%x.%j.out"
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120

job=runs/noise-copies.jobs/1
mkdir -p "$job/ended"
link=${1:-1} links=2
say() { printf 'hpc-ds job: %s\n' "$*" >&2; }

# What to run.
command=(hpc-ds run noise-copies --scale full --out runs/noise-copies)
out=runs/noise-copies

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
# Compiled kernels are kept where compute nodes may write, also where they do not see the home folder.
export XDG_CACHE_HOME="$PWD"/runs/noise-copies.jobs/cache
export MPLCONFIGDIR=$XDG_CACHE_HOME/matplotlib
mkdir -p "$MPLCONFIGDIR"

# When the job ends: hpc-ds saves and stops before, with exit code 75.
# SLURM before 23.02 does not export SLURM_JOB_END_TIME; squeue knows it.
end=${SLURM_JOB_END_TIME:-}
[ -n "$end" ] || end=$(squeue -h -j "$SLURM_JOB_ID" -o %e 2>/dev/null)
case $end in *-*) end=$(date -d "$end" +%s 2>/dev/null) ;; *[!0-9]*) end= ;; esac
[ -n "$end" ] || end=$(($(date +%s) + 21600))
export HPC_DS_DEADLINE=$end

# Notice comes to this shell alone. bash runs a trap only between commands or during wait: the ranks run in
# the background, hear of it from here (SIGUSR1: save and stop), and are waited for once more.
ranks='' stop=0 interrupted=0 cancelled=0
trap 'stop=1 interrupted=1; [ -z "$ranks" ] || kill -USR1 "$ranks" 2>/dev/null' USR1
trap 'cancelled=1 stop=1 interrupted=1; [ -z "$ranks" ] || kill -USR1 "$ranks" 2>/dev/null' TERM

# Since SLURM 22.05 srun takes no --cpus-per-task from sbatch; steps of the program's own need it too.
export SRUN_CPUS_PER_TASK=1
# With a plugin that the MPI library does not speak, every rank would believe to be alone.
if ! srun --mpi=list 2>&1 | grep -qw pmix; then
    say "srun has no MPI plugin pmix here (srun --mpi=list): name another in your machine's table"
    exit 2
fi

launch() {
    srun --ntasks=384 --ntasks-per-node=48 --cpus-per-task=1 --mpi=pmix --cpu-bind=cores \
        --kill-on-bad-exit=0 --wait=60 "${command[@]}" &
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
