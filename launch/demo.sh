#!/usr/bin/env bash
# Set everything up and run the main job under mpiexec: from simulated and observed neutron stars to the equation of
# state, through all three engines; then exchange Monte Carlo on the published artificial spectrum.
#
#     launch/demo.sh [options of hpc-ds run, such as --seed 3 or --scale full]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${HPC_DS_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
export HPC_DS_VENV=$venv

"$root/launch/setup.sh"
cd "$root"
for study in neutron-star spectrum; do
    "$root/launch/mpi.sh" -n 2 "$venv/bin/hpc-ds" run "$study" --out "runs/demo/$study" "$@"
done
