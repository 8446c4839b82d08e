#!/usr/bin/env bash
# Set everything up and run the main job: exchange Monte Carlo on the published artificial spectrum, under mpiexec.
#
#     launch/demo.sh [options of hpc-ds run spectrum]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${HPC_DS_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
export HPC_DS_VENV=$venv

"$root/launch/setup.sh"
cd "$root"
exec "$root/launch/mpi.sh" -n 2 "$venv/bin/hpc-ds" run spectrum --out runs/demo "$@"
