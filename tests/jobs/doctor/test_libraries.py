"""One MPI for mpi4py and h5py is found to be one; all that goes wrong with it has a cure."""

import shutil
from pathlib import Path

import pytest

from hpc_ds.jobs.doctor.libraries import H5PY, MPI, ONE, check_libraries
from hpc_ds.jobs.doctor.probe import mapped_libraries


def test_an_mpi_with_parallel_h5py_is_all_right(machine, found):
    machine.mpi()
    machine.mpiexec("")
    told = found(check_libraries, machine.situation())
    assert {finding.state for finding in told.values()} == {"ok"}
    assert told[MPI].found == "Fake MPI 1.0, through mpi4py"


def test_serial_h5py_is_noted_where_mpi_is(machine, found):
    machine.mpi(parallel=False)
    told = found(check_libraries, machine.situation())[H5PY]
    assert told.state == "note" and "launch/setup.sh" in told.cure


def test_mpiexec_without_mpi4py_is_wrong_and_neither_of_them_is_a_serial_machine(machine, found):
    machine.mpi(parallel=False)
    machine.package("mpi4py", "raise ModuleNotFoundError(\"No module named 'mpi4py'\")")
    told = found(check_libraries, machine.situation())
    assert told[MPI].state == "note" and told[H5PY].state == "ok"
    machine.mpiexec("")
    told = found(check_libraries, machine.situation())[MPI]
    assert told.state == "wrong" and told.cure == "python -m pip install mpi4py"


def test_mpi4py_without_a_library_is_wrong_where_mpiexec_is(machine, found):
    machine.mpi()
    machine.mpiexec("")
    machine.package("mpi4py", "raise RuntimeError('cannot load MPI library\\nlong story')")
    told = found(check_libraries, machine.situation())[MPI]
    assert told.state == "wrong" and told.found == "mpi4py cannot be loaded: cannot load MPI library"


def test_two_mpi_libraries_in_one_process_are_wrong(machine, found, tmp_path):
    libm = next(
        (line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/libm.so" in line),
        None,
    )
    if libm is None:
        pytest.skip("needs a small library to load under other names")
    for name in ("libmpi.so.40", "libmpich.so.12"):
        shutil.copy(libm, tmp_path / name)
    machine.mpi()
    load = "\nimport ctypes; ctypes.CDLL({!r})\n"
    one, other = (load.format(str(tmp_path / name)) for name in ("libmpi.so.40", "libmpich.so.12"))
    for name, text in (("mpi4py", one), ("h5py", other)):
        path = machine.packages / f"{name}.py"
        path.write_text(path.read_text() + text)
    told = found(check_libraries, machine.situation())[ONE]
    assert told.state == "wrong" and "libmpi.so.40" in told.found and "libmpich.so.12" in told.found


def test_an_h5py_that_ends_the_process_is_wrong_and_its_mpi_is_still_told(machine, found):
    machine.mpi()
    machine.package("h5py", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    told = found(check_libraries, machine.situation())
    assert told[MPI].state == "ok"
    assert told[H5PY].state == "wrong" and "SIGSEGV" in told[H5PY].found


def test_a_library_without_room_for_its_variables_is_preloaded(machine, found):
    machine.mpi()
    machine.package(
        "h5py", "raise ImportError('/opt/libgomp.so.1: cannot allocate memory in static TLS block')"
    )
    told = found(check_libraries, machine.situation())[H5PY]
    assert told.cure == "export LD_PRELOAD=/opt/libgomp.so.1"


def test_links_to_one_library_count_once_and_its_helpers_not_at_all(tmp_path):
    (tmp_path / "libmpi.so.40.1").touch()
    (tmp_path / "libmpi.so.40").symlink_to("libmpi.so.40.1")
    names = ("libmpi.so.40", "libmpi.so.40.1", "libmpi_cxx.so.40", "libmpi_mpifh.so.40")
    lines = [f"7f00-7f01 r-xp 00000000 08:01 42   {tmp_path / name}\n" for name in names]
    (tmp_path / "maps").write_text("".join(lines))
    assert mapped_libraries(str(tmp_path / "maps")) == [str(tmp_path / "libmpi.so.40.1")]
