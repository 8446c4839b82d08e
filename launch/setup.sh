#!/usr/bin/env bash
# Set up all that the package needs, in a virtual environment: Python packages, mpi4py and h5py on this machine's MPI, torch.
#
#     launch/setup.sh [--dev] [--plan]
#
# --dev    adds what the tests need (and, on Debian as root, Chromium and SLURM's daemons)
# --plan   says what would be done, and does nothing
#
# The second call does nothing unless something that it depends on has changed.
#
# HPC_DS_VENV          where the environment lies           (.venv in the repository)
# HPC_DS_PYTHON        the Python that it is made from      (the first of 3.11 or newer on the PATH)
# HPC_DS_TORCH_INDEX   the package index that torch is from (pip's own)
# HDF5_DIR             a parallel HDF5                      (asked from pkg-config and h5pcc)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${HPC_DS_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
notes=$venv/hpc-ds                # what this script remembers: stamps, summary, the mpiexec to use
dev=no plan=no
python="" version="" site_torch="" packages=()
mpicc="" mpiexec="" mpi_name="" mpi_library="" mpi_soname=""
hdf5_include="" hdf5_lib=""

main() {
    read_arguments "$@"
    choose_python
    if [ "$plan" = no ] && up_to_date; then
        say "$(cat "$notes/summary")"
        return
    fi
    list_packages
    if [ "$plan" = yes ]; then
        print_plan
        return
    fi
    one_at_a_time
    install_packages
    [ -n "$python" ] || fail "no Python 3.11 or newer was found; set HPC_DS_PYTHON to one"
    find_site_torch
    inspect_mpi
    find_hdf5
    make_environment
    install_foundation
    install_mpi4py
    install_h5py
    install_torch
    install_package
    install_the_well
    verify
    remember
}

read_arguments() {
    local argument
    for argument in "$@"; do
        case $argument in
            --dev) dev=yes ;;
            --plan) plan=yes ;;
            -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
            *) printf 'setup: unknown argument %s (known: --dev, --plan, --help)\n' "$argument" >&2; exit 2 ;;
        esac
    done
}

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# ---- what is there -------------------------------------------------------------------------------------------------------

choose_python() {
    local candidate
    if [ -n "${HPC_DS_PYTHON:-}" ]; then
        python=$(new_enough "$HPC_DS_PYTHON") || fail "HPC_DS_PYTHON=$HPC_DS_PYTHON is no Python 3.11 or newer"
    else
        for candidate in python3 python3.11 python3.12 python3.13 python3.14; do
            if python=$(new_enough "$candidate"); then break; fi
        done
    fi
    if [ -n "$python" ]; then version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); fi
}

# The Python that an active environment was made from: made from itself, an environment would have to be removed first.
new_enough() { "$1" -c 'import os, sys; sys.version_info >= (3, 11) or sys.exit(1); print(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))' 2>/dev/null; }

# Everything that the result depends on and that is quick to look at.
signature() {
    local tool
    {
        cat "$root"/{setup.cfg,pyproject.toml,constraints.txt,launch/setup.sh}
        printf '%s\n' "$root" "$venv" "$python" "${HPC_DS_TORCH_INDEX:-}" "${HDF5_DIR:-}" "${HDF5_ROOT:-}"
        for tool in mpicc h5pcc; do
            if have $tool; then stat -Lc '%n %s %Y' "$(command -v $tool)"; fi
        done
    } | sha256sum
}

up_to_date() {
    local now
    [ -x "$venv/bin/python" ] && [ -r "$notes/summary" ] || return 1
    now=$(signature)
    [ "$now" = "$(cat "$notes/stamp" 2>/dev/null)" ] || return 1
    [ "$dev" = no ] || [ "$now" = "$(cat "$notes/stamp-dev" 2>/dev/null)" ]
}

# Two at a time would spoil each other's environment.
one_at_a_time() {
    have flock || return 0
    mkdir -p "$(dirname "$venv")"
    exec 9>"$venv.lock"
    flock -n 9 || { say "waits for another set-up of $venv"; flock 9; }
}

# A site keeps its own torch (CUDA, ROCm, A64FX): the environment then sees the packages of that Python.
find_site_torch() {
    site_torch=$("$python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null) || site_torch=""
}

# ---- Debian packages -----------------------------------------------------------------------------------------------------

may_install() { have apt-get && have dpkg && [ "$(id -u)" = 0 ]; }
debian_has() { dpkg -s "$1" 2>/dev/null | grep -q '^Status: install ok installed'; }

# Which implementation Debian's own /usr/bin/mpicc stands for; nothing for a loaded one, which is taken as it is.
debian_mpi() {
    case $(command -v mpicc) in /usr/bin/mpicc | /bin/mpicc) ;; *) return 0 ;; esac
    case $(readlink -f "$(command -v mpicc)") in
        *opal_wrapper | *openmpi*) echo openmpi ;;
        *mpich*) echo mpich ;;
    esac
}

list_packages() {
    local flavour
    packages=()
    may_install || return 0
    if [ -z "$python" ]; then
        packages+=(python3 python3-venv python3-dev)
    elif [[ $python == /usr/bin/* ]]; then
        "$python" -c 'import ensurepip, venv' 2>/dev/null || packages+=("python$version-venv")
        has_headers || packages+=("python$version-dev")
    fi
    if ! have mpicc; then
        flavour=openmpi
        packages+=(openmpi-bin libopenmpi-dev)
    else
        flavour=$(debian_mpi)
    fi
    if [ -n "$flavour" ]; then
        have gcc || packages+=(gcc)
        debian_has "libhdf5-$flavour-dev" || packages+=("libhdf5-$flavour-dev")
    fi
    [ "$dev" = yes ] || return 0
    have chromium && have chromedriver || packages+=(chromium chromium-driver)
    has_slurm || packages+=(slurmctld slurmd slurm-client munge)
}

# The tests start daemons of their own. Where a SLURM is configured none is added: Debian would start it as a service.
has_slurm() {
    local PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
    [ -e /etc/slurm/slurm.conf ] || [ -n "${SLURM_CONF:-}" ] || { have slurmctld && have slurmd && have sbatch && have munged; }
}

has_headers() { "$python" -c 'import os, sysconfig as s; os.stat(s.get_paths()["include"] + "/Python.h")' 2>/dev/null; }

install_packages() {
    local wanted=() browser=() slurm=() package
    for package in "${packages[@]}"; do
        case $package in
            chromium*) browser+=("$package") ;;
            slurm* | munge) slurm+=("$package") ;;
            *) wanted+=("$package") ;;
        esac
    done
    apt_install "${wanted[@]}" || say "apt-get could not install ${wanted[*]}: going on without"
    apt_install "${browser[@]}" || say "apt-get could not install ${browser[*]}: the browser tests will be skipped"
    apt_install "${slurm[@]}" || say "apt-get could not install ${slurm[*]}: the tests on a real SLURM will be skipped"
    if [ -z "$python" ]; then choose_python; fi
}

# dpkg refuses to work without the sbin folders on its path; the lists are fetched only when the ones that are there do not do.
apt_install() {
    [ $# -gt 0 ] || return 0
    say "apt-get install $*"
    local path=$PATH:/usr/local/sbin:/usr/sbin:/sbin log
    local install=(apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "$@")
    log=$(mktemp)
    if PATH=$path DEBIAN_FRONTEND=noninteractive "${install[@]}" >"$log" 2>&1 </dev/null ||
        { PATH=$path apt-get update -q >"$log" 2>&1 </dev/null &&
            PATH=$path DEBIAN_FRONTEND=noninteractive "${install[@]}" >"$log" 2>&1 </dev/null; }; then
        rm -f "$log"
        hash -r
    else
        tail -n 5 "$log" >&2
        rm -f "$log"
        return 1
    fi
}

# ---- MPI and its HDF5 ----------------------------------------------------------------------------------------------------

# Compiles a program with mpicc and asks it (MPI_Get_library_version needs no MPI_Init, which login nodes forbid).
inspect_mpi() {
    local scratch
    mpicc=$(command -v mpicc) || { mpicc=""; return 0; }
    scratch=$(mktemp -d)
    cat >"$scratch/probe.c" <<'C'
#include <mpi.h>
#include <stdio.h>
int main(void) {
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(text, &length);
    puts(text);
    return 0;
}
C
    if "$mpicc" "$scratch/probe.c" -o "$scratch/probe" >"$scratch/log" 2>&1; then
        mpi_name=$("$scratch/probe" 2>/dev/null | head -n 1 | cut -d , -f 1 | tr -s ' \t' '  ') || true
        mpi_library=$(mpi_library_of "$scratch/probe" path)
        mpi_soname=$(mpi_library_of "$scratch/probe" name)
        mpi_name=${mpi_name:-an unknown MPI}
        choose_mpiexec
    else
        say "$mpicc does not compile ($(grep -m 1 . "$scratch/log" || echo 'it says nothing')): going on as if there were no MPI"
        mpicc=""
    fi
    rm -rf "$scratch"
}

# mpi_library_of FILE path|name: the MPI library that a program or library is linked to.
mpi_library_of() {
    local name path
    read -r name path < <(ldd "$1" 2>/dev/null |
        awk '$1 ~ /^libmpi(ch)?(_(cray|gnu|intel|nvidia|amd|aocc)[^.]*)?\.so/ && $3 ~ /^\// {print $1, $3; exit}') || return 0
    case $2 in name) echo "$name" ;; path) readlink -f "$path" ;; esac
}

choose_mpiexec() {
    local flavour candidate folder
    flavour=$(debian_mpi)
    folder=$(dirname "$mpicc")
    for candidate in ${flavour:+"$folder/mpiexec.$flavour"} "$folder/mpiexec" "$folder/mpirun" "$(command -v mpiexec || true)"; do
        if [ -x "$candidate" ]; then mpiexec=$candidate; return; fi
    done
}

# The parallel HDF5 that is linked to this very MPI; several can be installed side by side.
find_hdf5() {
    [ -n "$mpicc" ] || return 0
    local prefix name
    for prefix in "${HDF5_DIR:-}" "${HDF5_ROOT:-}"; do
        if [ -n "$prefix" ] && consider_hdf5 "-I$prefix/include" "-L$prefix/lib" "-L$prefix/lib64"; then return; fi
    done
    for name in hdf5-openmpi hdf5-mpich hdf5-mpi hdf5; do
        # shellcheck disable=SC2046
        if consider_hdf5 $(pkg_config_flags $name); then return; fi
    done
    for name in h5pcc.openmpi h5pcc.mpich h5pcc; do
        have $name || continue
        prefix=$($name -showconfig 2>/dev/null | sed -n 's/^ *Installation point: *//p') || prefix=""
        # shellcheck disable=SC2046
        if consider_hdf5 $($name -show 2>/dev/null || true) "-I$prefix/include" "-L$prefix/lib" "-L$prefix/lib64"; then return; fi
    done
}

pkg_config_flags() {
    PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 pkg-config --cflags --libs "$1" 2>/dev/null || true
}

# consider_hdf5 FLAGS: takes the -I and -L of a compiler line if they lead to a parallel HDF5 of our MPI.
consider_hdf5() {
    local flag include="" lib=""
    for flag in "$@"; do
        case $flag in
            -I*) if [ -z "$include" ] && compgen -G "${flag#-I}/H5pubconf*.h" >/dev/null; then include=${flag#-I}; fi ;;
            -L*) if [ -z "$lib" ] && [ -e "${flag#-L}/libhdf5.so" ]; then lib=${flag#-L}; fi ;;
        esac
    done
    [ -n "$include" ] && [ -n "$lib" ] || return 1
    grep -qs '^#define H5_HAVE_PARALLEL 1' "$include"/H5pubconf*.h || return 1
    [ "$(mpi_library_of "$lib/libhdf5.so" path)" = "$mpi_library" ] || return 1
    hdf5_include=$include hdf5_lib=$lib
}

# ---- the environment -----------------------------------------------------------------------------------------------------

make_environment() {
    local base="$venv made from $python $version, site torch ${site_torch:+seen}"
    if [ -e "$notes/base" ] && [ "$base" != "$(cat "$notes/base")" ]; then
        say "$venv was made elsewhere or from another Python: made anew"
        rm -rf "$venv"
    elif [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
        rmdir "$venv" 2>/dev/null || fail "$venv is in the way: it is not a virtual environment; set HPC_DS_VENV to another place"
    fi
    if [ ! -x "$venv/bin/python" ]; then
        say "virtual environment $venv from $python"
        create_environment
        mkdir -p "$notes"
        printf '%s\n' "$base" >"$notes/base"
    fi
    mkdir -p "$notes"
    rm -f "$notes"/{stamp,stamp-dev,summary,mpiexec}
    grep -v '^torch==' "$root/constraints.txt" >"$notes/constraints.txt"    # torch is chosen by install_torch alone
}

create_environment() {
    local options=(${site_torch:+--system-site-packages})
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv "${options[@]}" "$venv"
    elif "$python" -m pip --version >/dev/null 2>&1; then
        "$python" -m venv --without-pip "${options[@]}" "$venv"
        "$python" -m pip --python "$venv/bin/python" install -qq --ignore-installed pip
    else
        fail "$python can make no virtual environment: it has neither ensurepip (Debian: python$version-venv) nor pip"
    fi
    if [ -n "$site_torch" ] && ! installed torch >/dev/null; then
        # A Python that is itself a virtual environment hands on the packages of its base only.
        "$python" -c 'import importlib.metadata as m; print(m.distribution("torch").locate_file(""))' \
            >"$venv/lib/python$version/site-packages/site-torch.pth"
    fi
}

pip_install() { "$venv/bin/python" -m pip install -qq --disable-pip-version-check -c "$notes/constraints.txt" "$@"; }

# Builds run without isolation: isolated, h5py would first compile an mpi4py of its own, for ten minutes. This is what they need.
install_foundation() {
    say "build tools and numpy"
    pip_install --upgrade pip setuptools wheel
    pip_install Cython pkgconfig numpy
}

# Prints the MPI and HDF5 libraries that a Python with mpi4py and h5py really loads, without calling MPI_Init.
loaded() {
    "$venv/bin/python" - "$@" 2>/dev/null <<'PY'
import importlib, os, re, sys

import mpi4py

mpi4py.rc.initialize = mpi4py.rc.finalize = False
modules = [importlib.import_module(name) for name in sys.argv[1:]]
pattern = r"/lib(mpi(ch)?(_(cray|gnu|intel|nvidia|amd|aocc)[^.]*)?|hdf5(?![^/]*_(hl|cpp|fortran))[^/]*)\.so"
paths = {line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if re.search(pattern, line)}
if "h5py" in sys.argv and not modules[-1].get_config().mpi:
    sys.exit("h5py is serial")
print("\n".join(sorted(os.path.realpath(path) for path in paths)))
PY
}

install_mpi4py() {
    [ -n "$mpicc" ] || return 0
    if mpi4py_fits; then return; fi
    case $mpi_soname in
        libmpi.so.40 | libmpi.so.12)    # the wheel speaks the binary interfaces of Open MPI 4 and 5, and of MPICH
            say "mpi4py, the wheel, for $mpi_name"
            pip_install --only-binary=mpi4py mpi4py || true
            if mpi4py_fits; then return; fi ;;
    esac
    say "mpi4py, built with $mpicc for $mpi_name (minutes)"
    MPICC=$mpicc CFLAGS="-O1 -g0" pip_install --no-build-isolation --no-cache-dir --no-binary=mpi4py --force-reinstall --no-deps mpi4py
    mpi4py_fits || fail "mpi4py was built with $mpicc but does not load $mpi_library: is the MPI's library folder on LD_LIBRARY_PATH?"
}

mpi4py_fits() { local got; got=$(loaded mpi4py.MPI) && [ "$got" = "$mpi_library" ]; }

install_h5py() {
    if [ -n "$hdf5_lib" ]; then
        if h5py_is_parallel; then return; fi
        say "h5py, built on the parallel HDF5 in $hdf5_lib (about two minutes)"
        # Never from pip's cache: a wheel that was built here for another MPI crashes inside HDF5.
        if CC=$mpicc HDF5_MPI=ON HDF5_INCLUDEDIR=$hdf5_include HDF5_LIBDIR=$hdf5_lib CFLAGS="-O1 -g0" \
            pip_install --no-build-isolation --no-cache-dir --no-binary=h5py --force-reinstall --no-deps h5py && h5py_is_parallel; then
            return
        fi
        say "h5py could not be built on $hdf5_lib: the serial wheel is used, and parallel writing will not be possible"
        hdf5_lib=""
    elif [ -n "$mpicc" ]; then
        say "no parallel HDF5 of $mpi_name was found (HDF5_DIR, pkg-config, h5pcc): h5py is the serial wheel"
    else
        say "no MPI was found (no mpicc on the PATH): going on serially, h5py is the serial wheel"
    fi
    if ! h5py_is_serial; then pip_install --only-binary=h5py --force-reinstall --no-deps h5py; fi
}

h5py_is_parallel() {
    local got
    got=$(loaded mpi4py.MPI h5py) && [ "$got" = "$(printf '%s\n' "$mpi_library" "$(readlink -f "$hdf5_lib/libhdf5.so")" | sort)" ]
}
h5py_is_serial() { [ "$("$venv/bin/python" -c 'import h5py; print(h5py.get_config().mpi)' 2>/dev/null)" = False ]; }

install_torch() {
    local found
    if found=$(installed torch); then
        say "torch $found is there and is kept"
        return
    fi
    if [ -n "${HPC_DS_TORCH_INDEX:-}" ]; then say "torch from $HPC_DS_TORCH_INDEX"; else
        say "torch from pip's own index (if that means gigabytes of CUDA: HPC_DS_TORCH_INDEX=https://download.pytorch.org/whl/cpu)"
    fi
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check -c "$root/constraints.txt" \
        ${HPC_DS_TORCH_INDEX:+--index-url "$HPC_DS_TORCH_INDEX"} torch ||
        fail "torch could not be installed; HPC_DS_TORCH_INDEX names another package index, HPC_DS_PYTHON a Python that has torch"
}

installed() { "$venv/bin/python" -c 'import sys, importlib.metadata as m; print(m.version(sys.argv[1]))' "$1" 2>/dev/null; }

install_package() {
    local extras=simulate
    if [ -n "$mpicc" ]; then extras+=,mpi; fi
    if [ "$dev" = yes ]; then extras+=,dev; fi
    say "hpc-ds and the packages it needs"
    (cd "$root" && pip_install --no-build-isolation -e ".[$extras]")
}

# The Well's package wants an fsspec of its own, older than Dask's: it lies apart, where only the tests that need it look.
install_the_well() {
    local wanted=(the_well==1.2.0 fsspec==2024.10.0 einops==0.8.2) folder=$notes/the_well
    [ "$dev" = yes ] && [ "${wanted[*]}" != "$(cat "$folder/versions" 2>/dev/null)" ] || return 0
    say "The Well's package, for tests"
    rm -rf "$folder"
    if "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --target "$folder" "${wanted[@]}"; then
        printf '%s\n' "${wanted[*]}" >"$folder/versions"
    else
        say "${wanted[*]} could not be installed: the tests that compare with The Well will be skipped"
        rm -rf "$folder"
    fi
}

# pip may have changed something underneath: look again at the end.
verify() {
    "$venv/bin/python" -c 'import hpc_ds' || fail "the package does not import"
    if [ -n "$hdf5_lib" ]; then
        h5py_is_parallel || fail "mpi4py and h5py do not share $mpi_name: they load $(loaded mpi4py.MPI h5py | tr '\n' ' ')"
    elif [ -n "$mpicc" ]; then
        mpi4py_fits || fail "mpi4py does not load $mpi_library"
    fi
}

remember() {
    local h5py_kind=serial mpi="none (serial)"
    if [ -n "$hdf5_lib" ]; then
        h5py_kind="parallel on HDF5 $("$venv/bin/python" -c 'import h5py; print(h5py.version.hdf5_version)')"
    fi
    if [ -n "$mpicc" ]; then mpi="$mpi_name ($mpicc)"; fi
    printf '%s\n' "$mpiexec" >"$notes/mpiexec"
    printf 'ready: Python %s, MPI %s, h5py %s %s, torch %s, in %s\n' \
        "$("$venv/bin/python" -c 'import platform; print(platform.python_version())')" "$mpi" \
        "$(installed h5py)" "$h5py_kind" "$(installed torch)" "$venv" >"$notes/summary"
    if [ "$dev" = yes ]; then signature >"$notes/stamp-dev"; fi
    signature >"$notes/stamp"
    say "$(cat "$notes/summary")"
}

# ---- --plan --------------------------------------------------------------------------------------------------------------

print_plan() {
    if [ -n "$python" ]; then find_site_torch; fi
    inspect_mpi
    find_hdf5
    echo "python: ${python:-none yet}${version:+ ($version)}"
    echo "environment: $venv$([ ! -x "$venv/bin/python" ] || echo ' (there already)')"
    echo "apt: ${packages[*]:-nothing}"
    echo "mpi: $(plan_mpi)"
    echo "h5py: $(plan_h5py)"
    if [ -n "$site_torch" ]; then echo "torch: $site_torch of $python is kept"; else
        echo "torch: $(grep '^torch==' "$root/constraints.txt")${HPC_DS_TORCH_INDEX:+ from $HPC_DS_TORCH_INDEX}"
    fi
}

plan_mpi() {
    if [ -n "$mpicc" ]; then echo "$mpi_name ($mpicc)"
    elif [[ " ${packages[*]} " == *" libopenmpi-dev "* ]]; then echo "Open MPI from apt"
    else echo "none: no mpicc on the PATH; serial"; fi
}

plan_h5py() {
    if [ -n "$hdf5_lib" ]; then echo "parallel, built on $hdf5_lib"
    elif [[ " ${packages[*]} " == *" libhdf5-"* ]]; then echo "parallel, built on the HDF5 from apt"
    else echo "serial wheel"; fi
}

main "$@"
