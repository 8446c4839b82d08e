"""The table of machines: what is known of each, how sure it is, and machines of the user's own."""

import numbers

import pytest

from hpc_ds.jobs.machines import machine, machines
from hpc_ds.runtime.errors import InputError

WRITTEN = ("name", "title", "dialect", "sources", "queue", "groups_refused", "launcher")


@pytest.fixture(autouse=True)
def no_user_file(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("HPC_DS_MACHINES", raising=False)


def figures(where):
    """Return the entries of a machine that somebody must have got from somewhere."""
    given = where.model_dump(exclude_defaults=True, exclude=set(WRITTEN))
    for key, value in given.items():
        if key in ("queues", "groups"):
            yield from (f"{key}.{name}" for name in value)
        elif isinstance(value, numbers.Number | bool | str | tuple | dict):
            yield key


@pytest.mark.parametrize("name", machines())
def test_every_figure_says_how_sure_it_is(name):
    where = machine(name)
    unsaid = [entry for entry in figures(where) if entry not in where.sources and entry != "domains"]
    assert unsaid == []
    assert all(text.partition(":")[0] in ("sure", "seen", "unverified") for text in where.sources.values())


def test_limits_depend_on_the_number_of_nodes():
    queue = machine("genkai-a").queues["a-batch"]
    assert [queue.longest(nodes) for nodes in (1, 2, 15, 128, 129)] == [
        "168:00:00",
        "96:00:00",
        "48:00:00",
        "6:00:00",
        None,
    ]


def test_a_user_s_machine_begins_as_a_copy_and_doubts_nothing_it_did_not_say(tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text(
        '[ours]\nlike = "slurm"\ncores = 64\nmpi = "pmi2"\n[ours.queues.short]\nlimits = [[4, "1:00:00"]]\n'
    )
    monkeypatch.setenv("HPC_DS_MACHINES", str(tmp_path / "own.toml"))
    ours = machine("ours")
    assert (ours.dialect, ours.launcher, ours.cores, ours.mpi) == ("slurm", "srun", 64, "pmi2")
    assert ours.queues["short"].longest(4) == "1:00:00"
    assert ours.doubts("mpi", "local_storage") == []


def test_the_user_s_folder_of_settings_is_found_without_a_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "hpc-ds").mkdir()
    (tmp_path / "hpc-ds" / "machines.toml").write_text('[ours]\ndialect = "pjm"\n')
    assert machine("ours").dialect == "pjm"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[ours]\ndialect = "lsf"\n', "ours.dialect 'lsf'"),
        ('[ours]\ndialect = "slurm"\ncoers = 3\n', "did you mean 'cores'"),
        ('[ours]\nlike = "slrum"\n', "did you mean 'slurm'"),
        ("ours = 3\n", "a table [ours]"),
        ("[ours\n", "no TOML"),
        ('[ours]\ndialect = "slurm"\n[ours.queues.a]\nlimits = [[1, "soon"]]\n', "soon"),
        (
            '[ours]\ndialect = "slurm"\ndirectives = ["--comment={ranks_per_node}"]\n',
            "threads, nodes or ranks",
        ),
        ('[ours]\ndialect = "pjm"\nvolumes = "/vol[0-9"\n', "no regular expression"),
    ],
)
def test_a_wrong_table_is_told_in_one_line(text, told, tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text(text)
    monkeypatch.setenv("HPC_DS_MACHINES", str(tmp_path / "own.toml"))
    with pytest.raises(InputError) as error:
        machine("slurm")
    assert told in str(error.value) and "own.toml" in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_named_and_not_there_is_told_with_the_variable(monkeypatch):
    monkeypatch.setenv("HPC_DS_MACHINES", "nosuch.toml")
    with pytest.raises(InputError, match=r"HPC_DS_MACHINES nosuch\.toml: No such file"):
        machine("slurm")


def test_an_unknown_machine_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'fugaku'"):
        machine("fugako")
