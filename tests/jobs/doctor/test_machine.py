"""Threads, memory, files, packages and preloaded libraries: each trouble is found, and none where there is none."""

from importlib import metadata

import pytest

from hpc_ds.jobs.doctor.host import FILES, SHARED, check_open_files, check_shared_memory
from hpc_ds.jobs.doctor.packages import NAME as PACKAGES
from hpc_ds.jobs.doctor.packages import check_packages
from hpc_ds.jobs.doctor.preload import NAME as PRELOAD
from hpc_ds.jobs.doctor.preload import check_preload
from hpc_ds.jobs.doctor.situation import Situation
from hpc_ds.jobs.doctor.threads import NAME as THREADS
from hpc_ds.jobs.doctor.threads import TORCH, VARIABLES, check_threads, check_torch

TORCH_MODULE = """
from types import SimpleNamespace
__version__ = "2.9"
version = SimpleNamespace(cuda={cuda!r}, hip=None)
cuda = SimpleNamespace(is_available=lambda: {devices} > 0, device_count=lambda: {devices})
get_num_threads = lambda: {threads}
"""


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    monkeypatch.setattr(Situation, "cores", 4)


def one_thread(**others):
    return dict.fromkeys(VARIABLES, "1") | others


# ---- threads and torch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks, threads", [(1, "4"), (4, "1"), (2, "2"), (2, "2,8")])
def test_threads_that_fit_are_all_right(machine, found, ranks, threads):
    situation = machine.situation(ranks, **one_thread(OMP_NUM_THREADS=threads))
    assert found(check_threads, situation)[THREADS].state == "ok"


def test_more_threads_than_cores_are_noted_with_the_number_that_fits(machine, found):
    told = found(check_threads, machine.situation(2, **one_thread(OMP_NUM_THREADS="4")))[THREADS]
    assert told.state == "note" and told.found == "OMP_NUM_THREADS=4 with 2 ranks is 8 threads on 4 cores"
    assert told.cure == "export OMP_NUM_THREADS=2"


def test_more_ranks_than_cores_are_noted(machine, found):
    told = found(check_threads, machine.situation(64, **one_thread()))[THREADS]
    assert told.state == "note" and "64 ranks on 4 cores take turns" in told.found


def test_the_ranks_of_a_machine_are_those_that_the_scheduler_names(machine):
    assert machine.situation(SLURM_NTASKS_PER_NODE="3").ranks == 3
    assert machine.situation(PJM_PROC_BY_NODE="4").ranks == 4
    assert machine.situation(2, PJM_PROC_BY_NODE="4").ranks == 2


def test_torch_is_told_with_what_it_was_built_for(machine, found):
    machine.package("torch", TORCH_MODULE.format(cuda=None, devices=0, threads=1))
    told = found(check_torch, machine.situation(4), accelerators=())[TORCH]
    assert told.state == "ok" and told.found == "2.9, built for CPU"
    machine.package("torch", TORCH_MODULE.format(cuda="12.6", devices=2, threads=1))
    told = found(check_torch, machine.situation(4), accelerators=("/",))[TORCH]
    assert told.state == "ok" and told.found == "2.9, built for CUDA 12.6, sees 2 devices"


@pytest.mark.parametrize("cuda, told", [(None, "training will not use it"), ("12.6", "sees no device")])
def test_a_device_that_torch_does_not_use_is_noted(machine, found, cuda, told):
    machine.package("torch", TORCH_MODULE.format(cuda=cuda, devices=0, threads=1))
    finding = found(check_torch, machine.situation(), accelerators=("/",))[TORCH]
    assert finding.state == "note" and told in finding.found and finding.cure


def test_too_many_threads_of_torch_are_noted(machine, found):
    machine.package("torch", TORCH_MODULE.format(cuda=None, devices=0, threads=4))
    told = found(check_torch, machine.situation(2), accelerators=())[TORCH]
    assert told.state == "note" and told.cure == "export OMP_NUM_THREADS=2"


def test_no_torch_is_noted_and_a_broken_one_is_wrong(machine, found):
    machine.package("torch", "raise ModuleNotFoundError(\"No module named 'torch'\")")
    assert found(check_torch, machine.situation())[TORCH].state == "note"
    machine.package("torch", "raise ImportError('libcudart.so.12: cannot open shared object file')")
    told = found(check_torch, machine.situation())[TORCH]
    assert told.state == "wrong" and "libcudart" in told.found and told.cure


# ---- what the operating system grants ---------------------------------------------------------------------------


def test_a_low_limit_of_open_files_is_noted_with_the_limit_that_can_be_had(machine, found):
    def look(soft, hard):
        return found(check_open_files, machine.situation(), limit=lambda what: (soft, hard))[FILES]

    assert look(256, 4096).cure == "ulimit -n 1024"
    assert look(256, 512).cure == "ulimit -n 512"
    assert look(1024, 1024).state == look(-1, -1).state == "ok"


@pytest.mark.parametrize("ranks, state", [(1, "ok"), (4, "note"), (32, "wrong")])
def test_shared_memory_must_do_for_all_ranks_of_the_machine(machine, found, monkeypatch, ranks, state):
    monkeypatch.setattr("os.statvfs", lambda path: type("Found", (), {"f_bavail": 64, "f_frsize": 1 << 20}))
    told = found(check_shared_memory, machine.situation(ranks))[SHARED]
    assert told.state == state and bool(told.cure) is (state != "ok")


def test_no_shared_memory_is_wrong(machine, found, tmp_path):
    assert found(check_shared_memory, machine.situation(), folder=tmp_path / "shm")[SHARED].state == "wrong"


# ---- packages and preloaded libraries ---------------------------------------------------------------------------


def versions(**known):
    def version(name):
        if name not in known:
            raise metadata.PackageNotFoundError(name)
        return known[name]

    return version


REQUIREMENTS = ("numpy>=1.26", "arviz<1,>=0.20", 'torch>=2.3; extra == "learn"', 'pytest>=8; extra == "dev"')


def test_versions_within_their_bounds_are_all_right(machine, found):
    known = versions(numpy="2.4.6", arviz="0.22", torch="2.13.0+cpu")
    told = found(check_packages, machine.situation(), REQUIREMENTS, known)[PACKAGES]
    assert told.state == "ok"


def test_a_package_that_all_need_is_wrong_when_too_old_or_absent(machine, found):
    known = versions(numpy="1.24.1", torch="2.3")
    told = found(check_packages, machine.situation(), REQUIREMENTS, known)[PACKAGES]
    assert told.state == "wrong"
    assert told.found == "numpy is 1.24.1, asked for is >=1.26; arviz is not here"
    assert told.cure == "python -m pip install 'numpy>=1.26' 'arviz<1,>=0.20'"


def test_a_package_of_one_engine_is_noted_and_those_of_developers_are_not(machine, found):
    known = versions(numpy="2.0", arviz="0.22")
    told = found(check_packages, machine.situation(), REQUIREMENTS, known)[PACKAGES]
    assert told.state == "note" and told.found == "torch is not here, for hpc-ds learn"


def test_the_bounds_are_those_of_the_package(machine, found):
    told = found(check_packages, machine.situation(), None, versions())[PACKAGES]
    assert told.state == "wrong" and "numpy is not here" in told.found and "pytest" not in told.found


def test_preloaded_libraries_that_are_missing_are_noted(machine, found, tmp_path):
    there = tmp_path / "there.so"
    there.touch()
    told = found(check_preload, machine.situation(LD_PRELOAD=f"{there}:/gone/lib.so"))[PRELOAD]
    assert told.state == "note" and told.cure == f"export LD_PRELOAD={there}"
    assert found(check_preload, machine.situation(LD_PRELOAD="/gone.so"))[PRELOAD].cure == "unset LD_PRELOAD"
    assert found(check_preload, machine.situation(LD_PRELOAD=str(there)))[PRELOAD].state == "ok"


def test_the_pmix_of_fujitsu_is_asked_for_where_it_is(machine, found, tmp_path):
    pmix = tmp_path / "libpmix.so"
    assert found(check_preload, machine.situation(), pmix=str(pmix))[PRELOAD].state == "ok"
    pmix.touch()
    told = found(check_preload, machine.situation(), pmix=str(pmix))[PRELOAD]
    assert told.state == "note" and told.cure == f"export LD_PRELOAD={pmix}"
    assert (
        found(check_preload, machine.situation(LD_PRELOAD=str(pmix)), pmix=str(pmix))[PRELOAD].state == "ok"
    )
