"""Whole runs on real workers: the same bytes whatever computes them, growth, failures, damage, and what is refused."""

import hashlib
import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.errors import InputError
from hpc_ds.simulate import ClusterSettings, generate, merge_folder
from hpc_ds.store.check import check
from hpc_ds.store.design_file import read_design
from hpc_ds.store.journal import Journals
from hpc_ds.store.training_set import TrainingSet

SOLVER = """
import os
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))

def simulate(parameters, rng):
    with open(os.path.join(HERE, "computed"), "a") as file:
        file.write(f"{parameters['rate']!r}\\n")
    x, t = np.linspace(0, 1, 16), np.linspace(0, 1, 5)
    wave = np.sin(2 * np.pi * parameters["modes"] * x) * np.exp(-parameters["rate"] * t[:, None])
    return {"u": wave + 0.01 * rng.normal(size=wave.shape), "energy": (wave**2).mean(axis=1)}

def picky(parameters, rng):
    if parameters["modes"] == 2:
        raise ValueError("two modes are one too many")
    return simulate(parameters, rng)

def hopeless(parameters, rng):
    raise ValueError("never")

def without_licence(parameters, rng):
    if parameters["modes"] == 2 and os.path.exists(os.path.join(HERE, "no licence")):
        raise ValueError("no licence")
    return simulate(parameters, rng)
"""

BUILT = """
import numpy as np
from hpc_ds.simulate import ParameterSpace, Simulator
from hpc_ds.store.layout import Axis, Field, Layout

def build(options):
    def simulate(parameters, rng):
        return {"u": [options["reynolds"], parameters["a"]]}

    axis = Axis("x", np.array([0.0, 1.0]))
    layout = Layout("built", (axis,), Axis("time", np.zeros(1)), (Field("u", time_varying=False),))
    return Simulator("built", ParameterSpace.from_dict({"a": "uniform(0, 1)"}), layout, simulate)
"""

SPACE = """
[parameters.rate]
bounds = [0.5, 2]
units = "1/s"
[parameters.modes]
integer = [1, 4]
[axes.x]
low = 0
high = 1
size = 16
[times]
low = 0
high = 1
size = 5
[fields.u]
units = "m"
[fields.energy]
dims = []
[boundaries.x]
kind = "PERIODIC"
dims = ["x"]
"""

DECAY = """
import numpy as np
from hpc_ds.simulate import declare

T = np.linspace(0, 1, 5)

@declare(parameters={"rate": {"bounds": [0.5, 2], "units": "1/s"}}, times=T, fields={"mass": {"units": "kg"}})
def decay(parameters, rng):
    return {"mass": np.exp(-parameters["rate"] * T)}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "solver.py").write_text(SOLVER)
    (tmp_path / "space.toml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(place):
    def start(out, samples=12, function="simulate", processes=2, **more):
        cluster = ClusterSettings(processes=processes)
        return generate(
            f"solver.py:{function}",
            folder=out,
            parameters="space.toml",
            samples=samples,
            cluster=cluster,
            tell=lambda line: None,
            **more,
        )

    return start


def contents(folder: Path | str) -> dict[str, str]:
    """Hash what must not depend on who computed it."""
    root = Path(folder)
    files = [*sorted((root / "data").rglob("*.h5")), root / "stats.yaml"]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def stop_when_two_are_done(deadline: Deadline) -> None:
    while len(Journals.read("set").done) < 2:
        time.sleep(0.05)
    deadline.stop("signal SIGTERM")


def times_computed(place: Path) -> int:
    return len((place / "computed").read_text().splitlines())


def test_a_set_does_not_depend_on_the_workers_and_can_be_grown(run, place):
    outcome = run("one", 12, processes=1)
    assert (outcome.state, outcome.done, outcome.failed, outcome.missing) == ("done", 12, 0, 0)
    run("two", 5)
    before = times_computed(place)
    grown = run("two", 12)
    assert times_computed(place) - before == 7, "only the new samples are computed"
    assert grown.done == 12
    assert contents("one") == contents("two")
    assert [finding for finding in check("two") if finding.severity == "error"] == []


def test_what_is_computed_is_what_is_read(run):
    run("set", 12, split=(1, 0, 0))
    design = read_design("set")
    with TrainingSet("set", "train") as found:
        assert list(found.design_index) == list(range(12))
        values = found.read("energy", slice(None))
        t = np.linspace(0, 1, 5)
        for index in range(12):
            row = design.row(index)
            mean = np.mean(np.sin(2 * np.pi * row["modes"] * np.linspace(0, 1, 16)) ** 2)
            expected = mean * np.exp(-2 * row["rate"] * t)
            assert np.allclose(values[index], expected, rtol=1e-5), "closed form of the mean square"


def test_the_same_command_again_computes_nothing(run, place):
    run("set")
    before, files = times_computed(place), contents("set")
    again = run("set")
    assert times_computed(place) == before
    assert again.done == 12 and contents("set") == files


def test_failed_samples_are_left_out_and_told(run, place):
    outcome = run("set", 16, function="picky")
    bad = [index for index in range(16) if read_design("set").row(index)["modes"] == 2]
    assert outcome.failed == len(bad) > 0
    assert outcome.done == 16 - len(bad)
    summary = json.loads(Path("set/summary.json").read_text())
    assert summary["failure_kinds"] == {"raised": len(bad)}
    assert [item["index"] for item in summary["failures"]] == bad
    record = json.loads(Path(f"set/failed/{bad[0]:06d}.json").read_text())
    assert record["parameters"]["modes"] == 2 and "two modes" in record["traceback"]
    kept = np.concatenate(
        [
            TrainingSet("set", split).design_index
            for split in ("train", "valid", "test")
            if Path("set/data", split).exists()
        ]
    )
    assert sorted(kept) == [index for index in range(16) if index not in bad]
    before = times_computed(place)
    assert run("set", 16, function="picky").failed == len(bad)
    assert times_computed(place) == before, "they are not tried again by themselves"


def test_failed_samples_are_tried_again_when_asked(run, place):
    (place / "no licence").touch()
    first = run("set", 16, function="without_licence")
    failed = [index for index in range(16) if read_design("set").row(index)["modes"] == 2]
    assert first.failed == len(failed) > 0
    assert sorted(path.name for path in Path("set/failed").iterdir()) == [f"{i:06d}.json" for i in failed]
    (place / "no licence").unlink()
    before = times_computed(place)
    outcome = run("set", 16, function="without_licence", retry_failed=True)
    assert times_computed(place) - before == len(failed), "only those that failed"
    assert (outcome.done, outcome.failed) == (16, 0)
    assert list(Path("set/failed").iterdir()) == []
    assert Journals.read("set").failed == {}
    run("whole", 16, function="without_licence")
    assert contents("set") == contents("whole")


def test_an_ensemble_of_ordinary_differential_equations_has_times_only(place):
    (place / "decay.py").write_text(DECAY)

    def grow(out, samples):
        cluster = ClusterSettings(processes=2)
        return generate(
            "decay.py:decay", folder=out, samples=samples, cluster=cluster, tell=lambda line: None
        )

    assert grow("set", 6).done == 6
    assert grow("set", 12).done == 12
    grow("whole", 12)
    assert contents("set") == contents("whole")
    assert [finding for finding in check("set") if finding.severity == "error"] == []
    with TrainingSet("set", "train") as found:
        rates = found.parameters["rate"]
        mass = found.read("mass", slice(None))
        assert mass.shape[:2] == (len(rates), 5)
        assert np.allclose(
            mass.reshape(len(rates), 5), np.exp(-rates[:, None] * np.linspace(0, 1, 5)), rtol=1e-6
        )


def test_a_run_without_a_single_good_sample_ends_in_order(run):
    outcome = run("set", 6, function="hopeless")
    assert (outcome.state, outcome.done, outcome.failed) == ("done", 0, 6)
    assert not Path("set/data").exists()


def test_a_damaged_row_is_noticed_by_the_merge_and_computed_again(run, place):
    run("clean", 12)
    run("set", 12, keep_shards=True)
    sample = TrainingSet("clean", "train")
    first = next(iter(sample.design_index))
    entry = Journals.read("set").done[first]
    shard = Path("set/shards", f"{entry.shard}.h5")
    data = bytearray(shard.read_bytes())
    needle = sample.read("u", 0).tobytes()
    place_of = data.find(needle)
    assert place_of >= 0
    data[place_of] ^= 1
    shard.write_bytes(data)
    for path in sorted(Path("set/data").rglob("*.h5")):
        path.unlink()
    outcome = run("set", 12, keep_shards=True)
    assert outcome.done == 12
    assert contents("set") == contents("clean")


def test_a_set_whose_files_were_deleted_is_computed_again(run, place):
    run("set", 8)
    files = contents("set")
    for path in sorted(Path("set/data").rglob("*.h5")):
        path.unlink()
    before = times_computed(place)
    run("set", 8)
    assert times_computed(place) - before == 8
    assert contents("set") == files


def test_a_deadline_stops_in_order_and_the_same_command_goes_on(run, place):
    run("whole", 12)
    slow = (
        (place / "solver.py")
        .read_text()
        .replace("    x, t =", "    import time; time.sleep(0.4)\n    x, t =")
    )
    (place / "solver.py").write_text(slow)
    deadline = Deadline(None, environ={})
    threading.Thread(target=stop_when_two_are_done, args=(deadline,), daemon=True).start()
    stopped = run("set", 12, processes=1, deadline=deadline)
    assert stopped.state == "stopped" and 0 < stopped.done < 12
    assert not Path("set/data").exists()
    part = merge_folder("set")
    assert part.done == stopped.done and Path("set/data").exists()
    finished = run("set", 12, deadline=Deadline(100.0, environ={}))
    assert finished.state == "done" and finished.done == 12
    assert contents("set") == contents("whole")


def test_an_adaptive_set_is_the_same_when_it_is_grown(run):
    run("whole", 14, design="adaptive", generation=4, watch="energy")
    run("set", 6, design="adaptive", generation=4, watch="energy")
    run("set", 14, design="adaptive", generation=4, watch="energy")
    assert contents("whole") == contents("set")
    first, grown = read_design("whole"), read_design("set")
    assert all(np.array_equal(first.columns[name], grown.columns[name]) for name in first.columns)


def test_a_table_of_the_users_own(run, place):
    (place / "mine.csv").write_text("modes,rate\n1,0.5\n2,1.5\n4,2\n")
    outcome = run("set", None, design="mine.csv", split=(1, 0, 0))
    assert outcome.samples == 3
    assert list(TrainingSet("set", "train").parameters["rate"]) == [0.5, 1.5, 2.0]
    (place / "mine.csv").write_text("modes,rate\n1,0.5\n2,1.25\n4,2\n")
    with pytest.raises(
        InputError, match=r"sample 1 was computed with rate = 1.5, and the design now says 1.25"
    ):
        run("set", None, design="mine.csv")


def test_what_cannot_be_continued_is_refused_and_nothing_changes(run, place):
    run("set", 6, design="latin-hypercube")
    files = contents("set")
    with pytest.raises(InputError, match="cannot grow"):
        run("set", 12, design="latin-hypercube")
    with pytest.raises(InputError, match=r"--samples 3: .* of 6 samples, which can only grow"):
        run("set", 3, design="latin-hypercube")
    with pytest.raises(InputError, match="seed is 1 there and 2 here"):
        run("set", 6, design="latin-hypercube", seed=2)
    (place / "solver.py").write_text(SOLVER + "\n# another text\n")
    with pytest.raises(InputError, match="another configuration: identity"):
        run("set", 6, design="latin-hypercube")
    assert contents("set") == files


def test_a_set_larger_than_the_disk_is_refused(run, place):
    (place / "space.toml").write_text(SPACE.replace("size = 16", "size = 4000000"))
    with pytest.raises(InputError, match=r"need .* are free"):
        run("set", 10**6)
    assert not Path("set").exists()


def test_a_folder_that_vanishes_ends_the_run(place, run):
    import shutil

    gone = SOLVER.replace(
        "    x, t =", "    import shutil; shutil.rmtree(os.path.join(HERE, 'set'))\n    x, t ="
    )
    (place / "solver.py").write_text(gone)
    start = time.monotonic()
    with pytest.raises((OSError, InputError)):
        run("set", 6, processes=1)
    assert time.monotonic() - start < 60, "it does not hang"
    shutil.rmtree("set", ignore_errors=True)


def test_nothing_of_the_cluster_is_left(run):
    run("set", 6)
    mine = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    children = []
    for entry in mine:
        try:
            parent = entry.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            command = entry.joinpath("cmdline").read_text()
        except OSError:
            continue
        if parent == str(os.getpid()) and "hpc_ds" in command:
            children.append(command)
    assert children == []


def test_other_options_are_another_run(place, run):
    (place / "built.py").write_text(BUILT)
    words = {"folder": "built", "samples": 3, "tell": lambda line: None}
    generate("built.py:build", options={"reynolds": 100}, **words)
    with pytest.raises(InputError, match=r"options.reynolds is 100 there and 200 here"):
        generate("built.py:build", options={"reynolds": 200}, **words)


def test_a_factorial_design_that_constraints_thin_out_is_continued(run, place):
    (place / "space.toml").write_text("constraints = ['modes < 3']\n" + SPACE)
    outcome = run("set", 16, design="factorial")
    assert 0 < outcome.samples < 16
    before = times_computed(place)
    assert run("set", 16, design="factorial").samples == outcome.samples
    assert run("set", None, design="factorial").samples == outcome.samples
    assert times_computed(place) == before


def test_a_table_that_became_shorter_is_refused(run, place):
    (place / "mine.csv").write_text("modes,rate\n1,0.5\n2,1.5\n4,2\n")
    run("set", None, design="mine.csv")
    (place / "mine.csv").write_text("modes,rate\n1,0.5\n")
    with pytest.raises(InputError, match=r"rows; give it more|can only grow"):
        run("set", None, design="mine.csv")


def test_a_table_may_be_named_by_another_path(run, place, monkeypatch):
    (place / "mine.csv").write_text("modes,rate\n1,0.5\n2,1.5\n4,2\n")
    run("set", None, design="mine.csv")
    assert run("set", None, design=str(place / "mine.csv")).done == 3
