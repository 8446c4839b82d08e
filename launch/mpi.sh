#!/usr/bin/env bash
# Run a command on several ranks of this machine, with the mpiexec that belongs to the MPI of the environment.
#
#     launch/mpi.sh -n N [-t THREADS] [--bind] command ...
#
# -n N          as many ranks; more than there are cores is allowed: they take turns
# -t THREADS    threads of each rank (OMP_NUM_THREADS and its like; unset, one)
# --bind        every rank gets cores of its own, where there are enough of them and nobody else is bound. For timings on
#               a machine that you have to yourself; without it the operating system places the ranks
#
# Commands of the environment (python, hpc-ds, pytest) are found first. With N = 1, or without MPI, the command runs plainly,
# and it says so. On a cluster the job script's own launcher (srun, mpiexec) takes this script's place.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${HPC_DS_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac

say() { printf 'mpi: %s\n' "$*" >&2; }
usage() { say "${1:+$1; }usage: launch/mpi.sh -n N [-t THREADS] [--bind] command ..."; exit 2; }
is_number() { [[ $1 =~ ^[1-9][0-9]*$ ]]; }

ranks="" threads="" bind=no
while [ $# -gt 0 ]; do
    case $1 in
        -n | -np) is_number "${2:-}" || usage "'${2:-}' is no number of ranks"; ranks=$2; shift 2 ;;
        -t) is_number "${2:-}" || usage "'${2:-}' is no number of threads"; threads=$2; shift 2 ;;
        --bind) bind=yes; shift ;;
        --) shift; break ;;
        -*) usage "unknown option '$1'" ;;
        *) break ;;
    esac
done
[ -n "$ranks" ] || usage "found '${1:-}' where -n is expected"
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

# Whether another program may run on some cores only, as ranks that are bound do. Kernel threads, which have no memory of
# their own, always are.
someone_is_bound() {
    local ours everything
    ours=$(sed -n 's/^Cpus_allowed_list:[ \t]*//p' /proc/self/status)
    everything=$(cat /sys/devices/system/cpu/online 2>/dev/null || true)
    { cat /proc/[0-9]*/status 2>/dev/null || true; } | awk -v ours="$ours" -v everything="$everything" '
        /^Name:/ { has_memory = 0 }
        /^VmRSS:/ { has_memory = 1 }
        /^Cpus_allowed_list:/ && has_memory && $2 != ours && $2 != everything { found = 1 }
        END { exit !found }'
}

# One thread a rank: the answer must not depend on the number of ranks, and BLAS adds up differently on more threads.
for variable in OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS NUMBA_NUM_THREADS; do
    if [ -n "$threads" ] || [ -z "${!variable:-}" ]; then export "$variable=${threads:-1}"; fi
done
threads=${threads:-${OMP_NUM_THREADS%%,*}}
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
if [ $((ranks * threads)) -gt "$cores" ] && [ "$threads" -gt 1 ]; then
    say "$ranks ranks of $threads threads take turns on $cores cores: -t $((ranks < cores ? cores / ranks : 1)) is faster"
fi
if [ $bind = yes ] && [ $((ranks * threads)) -gt "$cores" ]; then
    say "$ranks ranks of $threads threads do not fit $cores cores: binding nothing"
    bind=no
elif [ $bind = yes ] && someone_is_bound; then
    say "other programs are bound to cores of this machine: binding nothing"
    bind=no
fi

# Unless it is asked for, no binding: two jobs side by side would be bound to the same cores while others idle.
options=()
case $("$mpiexec" --version 2>&1) in
    *"Open MPI"* | *OpenRTE* | *PRRTE* | *prterun*)
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
        if [ $bind = yes ]; then options=(--map-by "slot:PE=$threads" --bind-to core); else options=(--bind-to none); fi
        if [ "$ranks" -gt "$cores" ]; then options+=(--oversubscribe); fi
        # A container's system-call filter often forbids ranks to read each other's memory; Open MPI 4 then fails on it.
        if grep -qs '^Seccomp:[^0-9]*2' /proc/self/status; then
            export OMPI_MCA_btl_vader_single_copy_mechanism=${OMPI_MCA_btl_vader_single_copy_mechanism:-none}
        fi ;;
    *Intel*)
        if [ $bind = yes ]; then
            export I_MPI_PIN=on I_MPI_PIN_CELL=core I_MPI_PIN_DOMAIN="$threads:compact"
        else
            export I_MPI_PIN=off
        fi
        if [ "$ranks" -gt "$cores" ]; then export I_MPI_WAIT_MODE=1; fi ;;
    *HYDRA*)
        if [ $bind = yes ]; then options=(-bind-to "core:$threads"); fi
        # Waiting ranks must give way when they share a core; elsewhere that costs fifty times the latency.
        if [ "$ranks" -gt "$cores" ]; then export MPIR_CVAR_ENABLE_HEAVY_YIELD=1; fi ;;
esac
exec "$mpiexec" "${options[@]}" -n "$ranks" "$@"
