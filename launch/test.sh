#!/usr/bin/env bash
# Set everything up and run all checks and tests; the first that fails ends it with its exit code.
#
#     launch/test.sh [--all] [arguments of pytest]
#
# --all    runs the slow tests too
#
# Serial tests run in as many processes as there are cores, file by file; `-n 0` keeps them in one, for a debugger.
#
# HPC_DS_DATA names the folder of real data; unset, ../shared/data is taken where it exists.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${HPC_DS_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
export HPC_DS_VENV=$venv
cd "$root"
slow=" and not slow"
arguments=()
for argument in "$@"; do
    if [ "$argument" = --all ]; then slow=""; else arguments+=("$argument"); fi
done
if [ -z "${HPC_DS_DATA:-}" ] && [ -d ../shared/data ]; then HPC_DS_DATA=$(realpath ../shared/data); fi
export HPC_DS_DATA=${HPC_DS_DATA:-}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

step() {
    local name=$1 code=0
    shift
    printf '\n== %s\n' "$name"
    local start=$SECONDS
    "$@" || code=$?
    if [ $code != 0 ]; then
        printf '== %s: FAILED (exit code %d) after %d s\n' "$name" $code $((SECONDS - start))
        exit $code
    fi
    printf '== %s: passed, %d s\n' "$name" $((SECONDS - start))
}

# Arguments that select tests may leave a step without any (pytest's exit code 5): nothing to do is no failure then.
run_pytest() {
    local ranks=$1 code=0
    shift
    launch/mpi.sh -n "$ranks" python -m pytest "$@" "${arguments[@]}" || code=$?
    if [ $code = 5 ] && [ ${#arguments[@]} -gt 0 ]; then code=0; fi
    return $code
}

shell_syntax() { local script; for script in launch/*.sh .ci/run; do bash -n "$script" || return; done; }

step "set-up" launch/setup.sh --dev
export PATH="$venv/bin:$PATH"
step "shell syntax" shell_syntax
step "ruff check" ruff check .
step "ruff format" ruff format --check .
step "mypy" mypy
step "import-linter" lint-imports
step "manual" python -m sphinx -q -W --keep-going -b html -d "$scratch/doctrees" docs "$scratch/html"
# Eight at most: each takes a gigabyte or two and starts ranks and workers of its own. nproc would obey OMP_NUM_THREADS.
processes=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
step "tests, serial" run_pytest 1 -n "$processes" --maxprocesses 8 --dist loadfile -m "not mpi and not slurm$slow"
step "tests on a SLURM of two nodes" run_pytest 1 -m "slurm$slow"
if [ -s "$venv/hpc-ds/mpiexec" ]; then
    for ranks in 2 3 4; do
        step "tests, $ranks ranks" run_pytest $ranks --with-mpi -m "mpi$slow"
    done
else
    printf '\n== tests under MPI: skipped, there is no MPI here\n'
fi
printf '\n== all passed, %d s\n' $SECONDS
