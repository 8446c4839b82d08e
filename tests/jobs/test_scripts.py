"""Scripts: what stands in them for each scheduler, and that three judges find nothing wrong."""

import re
import subprocess

import pytest

from hpc_ds.jobs import local, pbs, pjm, slurm
from hpc_ds.jobs.lint import lint
from hpc_ds.jobs.submission import series

VARIETIES = {
    "slurm": ("slurm", {}),
    "slurm-chain": ("slurm", {"chain": 5, "nodes": 4, "ranks_per_node": 12, "threads": 4, "queue": "cpu"}),
    "slurm-requeue": ("slurm", {"chain": 3, "requeue": True}),
    "slurm-sweep": ("slurm", {"sweep": ["seed=1,2,3"], "at_once": 2, "chain": 2}),
    "slurm-staged": ("slurm", {"venv": "/opt/my venv", "stage_venv": True, "modules": ("gcc/12", "openmpi")}),
    "slurm-words": ("slurm", {"command": ("hpc-ds", "infer", "spectrum", "it's \u00e9.csv", "--out", "r 1")}),
    "fugaku": ("fugaku", {"group": "hp1", "nodes": 96, "chain": 3, "volumes": ("/vol0003", "/vol0004")}),
    "fugaku-staged": ("fugaku", {"group": "hp1", "venv": "/vol0004/x/venv", "stage_venv": True}),
    "wisteria-sweep": ("wisteria-o", {"group": "g", "sweep": ["seed=1,2,3,4,5,6,7,8,9,10,11"]}),
    "pjm-chained-sweep": ("pjm", {"sweep": ["seed=1,2,3"], "chain": 2, "at_once": 2}),
    "miyabi": ("miyabi-g", {"group": "g", "chain": 2, "threads": 8}),
    "local": ("local", {"chain": 3, "ranks_per_node": 2, "setup": ("ulimit -n 4096",)}),
}


@pytest.fixture(params=VARIETIES, ids=str)
def texts(request, make):
    where, given = VARIETIES[request.param]
    return [each.text for each in series(make(where, **given))]


def directives(text, head):
    return [line.removeprefix(f"{head} ") for line in text.splitlines() if line.startswith(head)]


# ---- three judges ---------------------------------------------------------------------------------------------------


def test_bash_finds_no_fault(texts):
    for text in texts:
        done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_shellcheck_finds_nothing_at_all(texts, shellcheck):
    for text in texts:
        done = subprocess.run([shellcheck, "-"], input=text, text=True, capture_output=True)
        assert done.stdout == ""


def test_our_own_lint_finds_nothing(texts):
    assert [problem for text in texts for problem in lint(text)] == []


# ---- SLURM ----------------------------------------------------------------------------------------------------------


def test_slurm_asks_for_what_the_job_says(make):
    job = make("slurm", nodes=4, ranks_per_node=12, threads=4, queue="cpu", group="acc", seconds=129600.0)
    asked = directives(slurm.render(job), "#SBATCH")
    wanted = [
        "--nodes=4",
        "--ntasks-per-node=12",
        "--cpus-per-task=4",
        "--threads-per-core=1",
        "--time=1-12:00:00",
        "--partition=cpu",
    ]
    assert [
        line for line in [*wanted, "--account=acc", "--open-mode=append", "--requeue"] if line not in asked
    ] == []


def test_all_that_a_slurm_job_says_lies_in_its_folder(make):
    job = make("slurm")
    asked = directives(slurm.render(job), "#SBATCH")
    assert [line for line in asked if "output" in line or "error" in line] == [
        f'--output="{job.folder}/%x.%j.out"'
    ]


def test_srun_gets_its_cores_since_22_05_and_its_mpi_plugin(make):
    text = slurm.render(make("slurm", nodes=2, ranks_per_node=3, threads=4))
    assert re.search(r"srun --ntasks=6 .*--cpus-per-task=4 .*--mpi=pmix", text)
    assert "export SRUN_CPUS_PER_TASK=4" in text and "srun --mpi=list" in text
    assert "export OMP_NUM_THREADS=4" in text


def test_notice_goes_to_the_batch_shell_with_time_to_spare(make):
    assert "--signal=B:USR1@120" in directives(slurm.render(make("slurm")), "#SBATCH")
    assert "--signal=B:USR1@60" in directives(slurm.render(make("slurm", seconds=240.0)), "#SBATCH")
    assert "--signal=B:USR1@300" in directives(slurm.render(make("slurm", notice=300.0)), "#SBATCH")


def test_a_sweep_is_an_array_held_back_by_slurm_itself(make):
    job = make("slurm", sweep=["seed=1,2,3"], at_once=2)
    asked = directives(slurm.render(job), "#SBATCH")
    assert "--array=0-2%2" in asked and any(line.endswith('%x.%A_%a.out"') for line in asked)


def test_slurm_links_wait_for_each_other_and_know_their_number(make):
    job = make("slurm", chain=3)
    assert slurm.command(job, "job.sh", 1, "") == ["sbatch", "--parsable", "job.sh", "1"]
    assert slurm.command(job, "job.sh", 2, "17") == [
        "sbatch",
        "--parsable",
        "--dependency=afterany:17",
        "job.sh",
        "2",
    ]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("17\n", "17"),
        ("17;cluster\n", "17"),
        ("sbatch: Welcome to 2026\n17\n", "17"),
        ("Submitted batch job 17\n", "17"),
        ("Submitted batch job 17 on cluster abc\n", "17"),
        ("no job 17 today", None),
        ("", None),
    ],
)
def test_the_id_is_found_in_what_sbatch_says(said, found):
    assert slurm.job_id(said) == found


# ---- PJM ------------------------------------------------------------------------------------------------------------


def test_fugaku_gets_group_unit_volumes_and_no_empty_files(make):
    text = pjm.render(
        make("fugaku", group="hp1", nodes=2, ranks_per_node=4, threads=12, volumes=("/vol0003", "/vol0004"))
    )
    asked = directives(text, "#PJM")
    wanted = [
        "-g hp1",
        '-L "rscgrp=small"',
        '-L "node=2"',
        '-L "elapse=02:00:00"',
        '--mpi "max-proc-per-node=4"',
    ]
    wanted += ["-x PJM_LLIO_GFSCACHE=/vol0003:/vol0004", "-L rscunit=rscunit_ft01"]
    assert [line for line in wanted if line not in asked] == []
    assert "export PLE_MPI_STD_EMPTYFILE=off" in text
    assert re.search(r"-stdout-proc\s+\S*/output\.%j/%/1000r/stdout", text.replace("\\\n", " "))


def test_wisteria_says_its_threads_and_shares_a_sweep_among_eight_jobs(make):
    job = make("wisteria-o", group="g", threads=12, sweep=["seed=" + ",".join(map(str, range(20)))])
    asked = directives(pjm.render(job), "#PJM")
    assert "--omp thread=12" in asked
    assert pjm.command(job, "job.sh", 1, "") == ["pjsub", "-z", "jid", "--bulk", "--sparam", "0-7", "job.sh"]
    assert "points=20 tasks=8" in pjm.render(job)


def test_pjm_links_are_steps_of_one_job(make):
    job = make("pjm", chain=3)
    assert pjm.command(job, "job.sh", 1, "")[3:] == ["--step", "--sparam", "sn=1", "job.sh"]
    assert pjm.command(job, "job.sh", 3, "64856_2")[3:] == [
        "--step",
        "--sparam",
        "jid=64856,sn=3,sd=ec==0:all:2",
        "job.sh",
    ]


def test_a_chained_sweep_of_pjm_has_a_step_job_for_each_task(make):
    planned = series(make("pjm", sweep=["seed=1,2,3"], chain=2, at_once=2))
    assert [(each.script.name, each.links) for each in planned] == [("job-0.sh", 2), ("job-1.sh", 2)]
    assert "task=1 points=3 tasks=2" in planned[1].text


def test_logs_of_links_and_points_go_to_files_of_their_own(make):
    assert any(line.endswith('%n.%j.out"') for line in directives(pjm.render(make("pjm")), "#PJM"))
    assert any(line.endswith('%n.%J.out"') for line in directives(pjm.render(make("pjm", chain=2)), "#PJM"))


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("64856\n", "64856"),
        ("64856_1\n", "64856_1"),
        ("[INFO] PJM 0000 pjsub Job 1334958 submitted.\n", "1334958"),
        (" [INFO.] PJM 0000 pjsub Job 64856_0 submitted.\n", "64856_0"),
        ("Notice of 3 December 2026\n[INFO] PJM 0000 pjsub Job 1334958 submitted.\n", "1334958"),
        ("[ERR.] PJM 0057 pjsub node=400 is greater than the upper limit (384).", None),
    ],
)
def test_the_id_is_found_in_what_pjsub_says(said, found):
    assert pjm.job_id(said) == found


def test_unverified_entries_are_said_in_the_script(make):
    assert "Not verified on the machine: step_end: unverified" in pjm.render(make("pjm", chain=2))
    assert "step_end" not in pjm.render(make("pjm")).partition("#PJM")[0]
    assert "Not verified" not in slurm.render(make("slurm"))


# ---- the others -----------------------------------------------------------------------------------------------------


def test_pbs_has_select_walltime_and_group(make):
    job = make("miyabi-g", group="gx", nodes=2, ranks_per_node=4, threads=8, chain=2)
    asked = directives(pbs.render(job), "#PBS")
    assert [
        line for line in ("-q regular-g", "-W group_list=gx", "-l walltime=02:00:00") if line not in asked
    ] == []
    assert "-l select=2:mpiprocs=4:ompthreads=8" in asked
    assert pbs.command(job, "job.sh", 2, "12.host")[:3] == ["qsub", "-W", "depend=afterany:12.host"]
    assert pbs.job_id("12.host\n") == "12.host"


def test_pbs_is_asked_for_cores_where_nodes_are_shared(make):
    shared = make("miyabi-c", group="g").machine.model_copy(update={"shared_nodes": True})
    job = make(machine=shared, group="g", nodes=2, ranks_per_node=4, threads=8)
    assert "-l select=2:ncpus=32:mpiprocs=4:ompthreads=8" in directives(pbs.render(job), "#PBS")


def test_a_local_job_of_one_rank_needs_no_launcher(make):
    assert "mpiexec" not in local.render(make("local"))
    assert "mpiexec -n 2" in local.render(make("local", ranks_per_node=2))


def test_staging_unpacks_once_a_node_and_calls_the_interpreter_that_was_staged(make):
    text = slurm.render(make("slurm", nodes=3, ranks_per_node=8, venv="/opt/venv", stage_venv=True))
    assert re.search(r"srun --ntasks=3 --ntasks-per-node=1 .*tar -xf '\$job/venv.tar'", text)
    assert 'command=(python "$staged/bin/hpc-ds" infer' in text and "/opt/venv" not in text
    fugaku = pjm.render(make("fugaku", group="g", venv="/vol0004/venv", stage_venv=True))
    assert "/home/system/tool/dir_transfer -l" in fugaku and "tar" not in fugaku.partition("#PJM")[2].replace(
        "start", ""
    )
    wisteria = pjm.render(
        make("wisteria-o", group="g", nodes=2, ranks_per_node=4, venv="/v", stage_venv=True)
    )
    assert re.search(r"^mpiexec -n 8 bash -c .*tar -xf", wisteria, re.MULTILINE)  # 2 might be on one node


def test_ranks_of_another_program_may_outlive_the_first_by_more_than_a_minute(make):
    assert "--wait=60" in slurm.render(make("slurm"))
    other = slurm.render(make("slurm", command=("./farm", "--all"), ranks_per_node=4))
    assert "--wait" not in other
    inside = slurm.render(make("slurm", command=("apptainer", "exec", "hpc-ds.sif", "hpc-ds", "doctor")))
    assert "--wait=60" in inside
