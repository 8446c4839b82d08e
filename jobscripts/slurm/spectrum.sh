#!/bin/bash
# The study of Nagata, Sugita & Okada (2012) at its published size. Change queue, group and sizes, or have it
# written:
#     hpc-ds submit --machine slurm --queue cpu --nodes 1 --ranks-per-node 48 --time 1:00:00 -- hpc-ds run spectrum --scale full --out runs/spectrum
# By hand, where hpc-ds was set up:
#     mkdir -p runs/spectrum.jobs/1
#     sbatch --parsable jobscripts/slurm/spectrum.sh
#
# spectrum: 1 node, 48 ranks a node, 1 thread a rank; SLURM script by hpc-ds submit for a SLURM cluster.
#SBATCH --job-name=spectrum
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=48
#SBATCH --cpus-per-task=1
#SBATCH --threads-per-core=1
#SBATCH --time=01:00:00
#SBATCH --partition=cpu
#SBATCH --output="runs/spectrum.jobs/1/%x.%j.out"
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120

job=runs/spectrum.jobs/1
mkdir -p "$job/ended"
say() { printf 'hpc-ds job: %s\n' "$*" >&2; }

# What to run.
command=(hpc-ds run spectrum --scale full --out runs/spectrum)

# What became of it: an exit code, left out if the job is killed.
record=$job/ended/0

# Environment.
# shellcheck source=/dev/null
. .venv/bin/activate
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
# Compiled kernels are kept where compute nodes may write, also where they do not see the home folder.
export XDG_CACHE_HOME="$PWD"/runs/spectrum.jobs/cache
export MPLCONFIGDIR=$XDG_CACHE_HOME/matplotlib
mkdir -p "$MPLCONFIGDIR"

# When the job ends: hpc-ds saves and stops before, with exit code 75.
# SLURM before 23.02 does not export SLURM_JOB_END_TIME; squeue knows it.
end=${SLURM_JOB_END_TIME:-}
[ -n "$end" ] || end=$(squeue -h -j "$SLURM_JOB_ID" -o %e 2>/dev/null)
case $end in *-*) end=$(date -d "$end" +%s 2>/dev/null) ;; *[!0-9]*) end= ;; esac
[ -n "$end" ] || end=$(($(date +%s) + 3600))
export HPC_DS_DEADLINE=$end

# Notice comes to this shell alone. bash runs a trap only between commands or during wait: the ranks run in
# the background, hear of it from here (SIGUSR1: save and stop), and are waited for once more.
ranks='' stop=0 interrupted=0
trap 'stop=1 interrupted=1; [ -z "$ranks" ] || kill -USR1 "$ranks" 2>/dev/null' USR1
trap 'stop=1 interrupted=1; [ -z "$ranks" ] || kill -USR1 "$ranks" 2>/dev/null' TERM

# Since SLURM 22.05 srun takes no --cpus-per-task from sbatch; steps of the program's own need it too.
export SRUN_CPUS_PER_TASK=1
# With a plugin that the MPI library does not speak, every rank would believe to be alone.
if ! srun --mpi=list 2>&1 | grep -qw pmix; then
    say "srun has no MPI plugin pmix here (srun --mpi=list): name another in your machine's table"
    exit 2
fi

launch() {
    srun --ntasks=48 --ntasks-per-node=48 --cpus-per-task=1 --mpi=pmix --cpu-bind=cores \
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
    echo "$code" >"$record"
}

launch
if [ "$code" = 75 ]; then
    say "stopped in good order: the same hpc-ds submit goes on"
fi
exit "$code"
