#!/usr/bin/env bash
# Run a command on several ranks of this machine, with the mpiexec that belongs to the MPI of the environment.
#
#     launch/mpi.sh -n N command ...
#
# Commands of the environment (python, hpc-ds, pytest) are found first. With N = 1, or without MPI, the command runs plainly,
# and it says so. On a cluster the job script's own launcher (srun, mpiexec) takes this script's place.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${HPC_DS_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac

say() { printf 'mpi: %s\n' "$*" >&2; }
usage() { say "${1:+$1; }usage: launch/mpi.sh -n N command ..."; exit 2; }

case ${1:-} in -n | -np) ;; *) usage "found '${1:-}' where -n is expected" ;; esac
ranks=${2:-}
[[ $ranks =~ ^[1-9][0-9]*$ ]] || usage "'$ranks' is no number of ranks"
shift 2
[ "${1:-}" != -- ] || shift
[ $# -gt 0 ] || usage "no command"

# Cores, not hyperthreads, of those this process may use: what Open MPI counts its slots in.
allowed_cores() {
    local threads list
    threads=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
    list=$(sed -n 's/^Cpus_allowed_list:[ \t]*//p' /proc/self/status)
    { lscpu -p=CPU,CORE,SOCKET 2>/dev/null || true; } | awk -F, -v list="$list" -v threads="$threads" '
        BEGIN {
            for (i = split(list, part, ","); i > 0; i--) {
                last = split(part[i], bound, "-")
                for (cpu = bound[1] + 0; cpu <= bound[last] + 0; cpu++) allowed[cpu]
            }
        }
        /^#/ || !($1 in allowed) { next }
        !(($2, $3) in seen) { seen[$2, $3]; cores++ }
        END { print cores && cores < threads ? cores : threads }'
}

# One thread a rank: the answer must not depend on the number of ranks, and BLAS adds up differently on more threads.
for variable in OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS NUMBA_NUM_THREADS; do
    [ -n "${!variable:-}" ] || export "$variable=1"
done
export PATH="$venv/bin:$PATH"

mpiexec=$(cat "$venv/hpc-ds/mpiexec" 2>/dev/null || command -v mpiexec || command -v mpirun || true)
if [ -z "$mpiexec" ]; then
    [ "$ranks" = 1 ] || say "there is no MPI here: running on one rank instead of $ranks"
    exec "$@"
elif [ "$ranks" = 1 ]; then
    say "one rank: running without mpiexec"
    exec "$@"
fi

# mpiexec gives its ranks a terminal of their own: they cannot see that the output goes to a file.
[ -t 1 ] || export TERM=dumb NO_COLOR=1

cores=$(allowed_cores)
options=()
case $("$mpiexec" --version 2>&1) in
    *"Open MPI"* | *OpenRTE* | *PRRTE* | *prterun*)
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
        # No binding: two jobs side by side would be bound to the same cores while others idle.
        options=(--bind-to none)
        if [ "$ranks" -gt "$cores" ]; then options+=(--oversubscribe); fi
        # A container's system-call filter often forbids ranks to read each other's memory; Open MPI 4 then fails on it.
        if grep -qs '^Seccomp:[^0-9]*2' /proc/self/status; then
            export OMPI_MCA_btl_vader_single_copy_mechanism=${OMPI_MCA_btl_vader_single_copy_mechanism:-none}
        fi ;;
    *HYDRA* | *Intel*)
        # Waiting ranks must give way when they share a core; elsewhere that costs fifty times the latency.
        if [ "$ranks" -gt "$cores" ]; then export MPIR_CVAR_ENABLE_HEAVY_YIELD=1 I_MPI_PIN=off I_MPI_WAIT_MODE=1; fi ;;
esac
exec "$mpiexec" "${options[@]}" -n "$ranks" "$@"
