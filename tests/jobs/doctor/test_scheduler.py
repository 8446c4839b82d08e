"""The doctor knows where it is, and what SLURM and PJM leave out."""

import dataclasses
from pathlib import Path

import pytest

from hpc_ds.jobs.doctor.scheduler import LIMIT, NAME, PLUGIN, SHARE, VOLUMES, check_scheduler, plugins

LISTS = {
    "until 21": "printf 'srun: MPI types are...\\nsrun: none\\nsrun: pmix_v3\\nsrun: pmix\\n' >&2",
    "since 22": "printf 'MPI plugin types are...\\n\\tcray_shasta\\n\\tnone\\n\\tpmi2\\n\\tpmix\\nspecific pmix plugin "
    "versions available: pmix_v4\\n'",
}


def test_no_scheduler_is_all_right(machine, found):
    assert found(check_scheduler, machine.situation())[NAME].found == "none"


@pytest.mark.parametrize("version", LISTS)
def test_pmix_is_found_in_the_list_of_any_version(machine, found, version):
    machine.command("sbatch", "")
    machine.command("srun", LISTS[version])
    told = found(check_scheduler, machine.situation())
    assert told[NAME].found == "SLURM, outside of jobs: a login node"
    assert told[PLUGIN].state == "ok"
    assert (
        {"none", "pmix"}
        <= set(plugins(machine.situation()))
        <= {"none", "pmix", "pmix_v3", "pmi2", "cray_shasta"}
    )


def test_srun_without_pmix_is_noted(machine, found):
    machine.command("sbatch", "")
    machine.command("srun", "printf 'MPI plugin types are...\\n\\tnone\\n\\tpmi2\\n'")
    told = found(check_scheduler, machine.situation())[PLUGIN]
    assert told.state == "note" and "none, pmi2" in told.found and "pmi2" in told.cure


def test_srun_that_does_not_answer_is_noted(machine, found):
    machine.command("sbatch", "")
    machine.command("srun", "exit 1")
    assert found(check_scheduler, machine.situation())[PLUGIN].state == "note"


def test_what_srun_and_the_limit_need_is_noted_until_it_is_set(machine, found):
    machine.command("srun", LISTS["since 22"])
    job = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "12"}
    told = found(check_scheduler, machine.situation(**job))
    assert told[SHARE].cure == "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK"
    assert told[LIMIT].state == "note" and "squeue" in told[LIMIT].cure
    told = found(
        check_scheduler, machine.situation(**job, SRUN_CPUS_PER_TASK="12", SLURM_JOB_END_TIME="1800000000")
    )
    assert SHARE not in told and told[LIMIT].state == "ok"


def test_pjm_does_not_tell_its_limit(machine, found):
    told = found(check_scheduler, machine.situation(PJM_JOBID="7"))
    assert told[NAME].found == "PJM, inside a job"
    assert told[LIMIT].state == "note" and told[LIMIT].cure.startswith(
        "export HPC_DS_DEADLINE=$(( $(date +%s) +"
    )
    assert found(check_scheduler, machine.situation(PJM_JOBID="7", HPC_DS_DEADLINE="1"))[LIMIT].state == "ok"


def test_a_volume_that_the_job_does_not_name_is_noted(machine, found):
    def look(**variables):
        there = dataclasses.replace(machine.situation(**variables), folder=Path("/vol0004/group/run"))
        return found(check_scheduler, there)[VOLUMES]

    told = look(PJM_JOBID="7", PJM_LLIO_GFSCACHE="/vol0003")
    assert told.state == "note" and told.cure.startswith("#PJM -x PJM_LLIO_GFSCACHE=/vol0004")
    assert look(PJM_JOBID="7", PJM_LLIO_GFSCACHE="/vol0003:/vol0004").state == "ok"
