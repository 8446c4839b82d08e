import json
import os
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
import tomli_w

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.world import World
from hpc_ds.studies.noise_copies import blocks, chain, outcome
from hpc_ds.studies.noise_copies.chain import options, run
from hpc_ds.studies.noise_copies.training import Trained
from hpc_ds.studies.noise_copies.variants import (
    BIAS,
    COPIES,
    DROPOUT,
    FRESH,
    LARGE,
    NONE,
    SCALES,
    SMALL,
    Scale,
    Variant,
)

CHUNK = 40

SIZE = Scale(
    seeds=7,
    block=3,
    steps=2 * CHUNK + 5,
    variants=(
        *(Variant(LARGE, treatment) for treatment in (NONE, COPIES[2], COPIES[0], BIAS, FRESH, DROPOUT)),
        Variant(SMALL, NONE),
    ),
)
FEW = Scale(seeds=4, block=2, steps=CHUNK, variants=SIZE.variants[:3])
RUN = """
import sys, pathlib
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.world import get_world
from hpc_ds.studies.noise_copies import chain
from hpc_ds.studies.noise_copies.variants import *
none, copies = Variant(LARGE, NONE), [Variant(LARGE, COPIES[2]), Variant(LARGE, COPIES[0])]
scale = Scale(seeds=4, block=2, steps=int(sys.argv[2]), variants=(none, *copies))
assert chain.run(pathlib.Path(sys.argv[1]), scale, 3, get_world(), Deadline(environ={}), print)
"""


class Stops(Deadline):
    """Comes at a given look at it."""

    def __init__(self, looks):
        super().__init__(environ={})
        self.looks = looks

    def agreed(self, world):
        self.looks -= 1
        return self.looks < 0


def complete(folder, scale=FEW, deadline=None, tell=print):
    folder.mkdir(exist_ok=True)
    return run(folder, scale, 3, World(), deadline or Deadline(environ={}), tell)


def results(folder):
    return (folder / "summary.json").read_bytes(), (folder / outcome.CURVES).read_bytes()


@pytest.fixture(scope="module", autouse=True)
def short_chunks():
    """Let the deadline be asked every few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "CHUNK", CHUNK)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noise") / "whole"
    assert complete(folder)
    return results(folder)


def test_a_stopped_run_goes_on_and_ends_like_one_that_was_not_stopped(tmp_path, whole):
    stops = 0
    while not complete(tmp_path, deadline=Stops(4)):
        assert not (tmp_path / "summary.json").exists()
        stops += 1
    assert stops == 1  # six blocks with one look each
    assert results(tmp_path) == whole


def test_a_block_that_was_begun_is_begun_again(tmp_path):
    small = Scale(seeds=2, block=2, steps=3 * CHUNK, variants=FEW.variants[:2])
    assert complete(tmp_path / "a", small)
    assert not complete(tmp_path / "b", small, Stops(2))
    assert list((tmp_path / "b" / blocks.FOLDER).iterdir()) == []
    assert complete(tmp_path / "b", small)
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_a_killed_run_goes_on_and_ends_like_one_that_was_not_killed(tmp_path, plain_environment):
    # Steps enough that the kill comes in the middle.
    steps, folder = 800, tmp_path / "killed"
    folder.mkdir()
    child = subprocess.Popen([sys.executable, "-c", RUN, str(folder), str(steps)], env=plain_environment)
    place, end = folder / blocks.FOLDER, time.monotonic() + 100
    while not (place.is_dir() and any(place.glob("*.npz"))) and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert 1 <= len(list(place.glob("*.npz"))) < 6
    scale = Scale(seeds=4, block=2, steps=steps, variants=FEW.variants)
    assert complete(folder, scale) and complete(tmp_path / "whole", scale)
    assert results(folder) == results(tmp_path / "whole")


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_numbers_are_the_same_on_any_number_of_ranks(tmp_path, whole, mpiexec, ranks):
    ended = mpiexec(ranks, [sys.executable, "-c", RUN, tmp_path, FEW.steps])
    assert ended.returncode == 0, ended.stderr
    assert results(tmp_path) == whole


def test_a_damaged_block_is_told_and_trained_again(tmp_path, whole):
    assert complete(tmp_path)
    path = blocks.cut(FEW)[1].path(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "summary.json").unlink()
    lines = []
    assert complete(tmp_path, tell=lines.append)
    assert [line for line in lines if "damaged" in line and path.name in line]
    assert results(tmp_path) == whole


def test_seeds_that_do_not_fill_a_block_are_trained_too(tmp_path):
    assert complete(tmp_path, SIZE)
    found = json.loads((tmp_path / "summary.json").read_text())
    assert (found["kind"], found["study"], found["seeds"]) == ("study", "noise-copies", 7)
    assert [one["name"] for one in found["variants"]] == [variant.name for variant in SIZE.variants]
    assert all(len(one["errors"]["test"]) == 7 for one in found["variants"])
    assert {one["variant"] for one in found["gains"]} == {variant.name for variant in SIZE.variants[1:6]}
    said = [claim["said"] for claim in found["claims"]]
    assert len(said) == 4 and "dropout the same as 100 copies" in said
    with np.load(tmp_path / outcome.CURVES) as curves:
        assert curves["points"].shape == (7, 20)
        assert curves[f"prediction/{SIZE.variants[1].name}"].shape == (7, curves["x"].size)
    plain = found["variants"][0]
    assert plain["test"]["median"] == np.median(plain["errors"]["test"])


@pytest.mark.parametrize("scale", SCALES)
def test_the_configuration_holds_what_shapes_the_result_and_survives_its_file(scale):
    found = options(scale)
    assert found["points"] == 20 and len(found["variants"]) == len(SCALES[scale].variants)
    assert tomllib.loads(tomli_w.dumps(found)) == found


def test_no_two_blocks_share_a_file_and_together_they_are_all_seeds(tmp_path):
    for scale in SCALES.values():
        every = blocks.cut(scale)
        assert len({block.path(tmp_path) for block in every}) == len(every)
        assert sum(len(block.units) for block in every) == scale.seeds * len(scale.variants)


def trained(test, train=0.01, swing=1.0):
    test = np.asarray(test, float)
    full = np.full(test.shape, 1.0)
    return Trained(full * train, test, 0.3 * full, full * swing, np.zeros((test.size, 201), np.float32))


def test_a_comparison_finds_a_difference_where_there_is_one_and_none_where_there_is_not():
    rng = np.random.default_rng(1)
    base, scatter = rng.uniform(0.05, 0.2, 40), rng.normal(0, 0.3, 40)
    better = outcome.paired(trained(0.5 * base * np.exp(scatter)), trained(base))
    assert better["verdict"] == "better" and better["low"] < 0.5 * 1.2 and better["high"] < 1
    worse = outcome.paired(trained(base), trained(0.5 * base * np.exp(scatter)))
    assert worse["verdict"] == "worse"
    assert worse["wins"] + better["wins"] == worse["seeds"] == 40
    level = outcome.paired(trained(base * np.exp(np.linspace(-0.3, 0.3, 41)[:40])), trained(base))
    assert level["verdict"] == "open" and level["low"] < 1 < level["high"]


def test_the_interval_of_the_median_covers_it_as_often_as_it_says():
    # With 20 seeds the order statistics 6 and 15 (P = 0.9586, from the binomial distribution) are the bounds.
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(4000):
        found = outcome.paired(trained(np.exp(rng.standard_normal(20))), trained(np.ones(20)))
        inside += found["low"] <= 1 <= found["high"]
    assert inside / 4000 == pytest.approx(0.9586, abs=4 * (0.9586 * 0.0414 / 4000) ** 0.5)


def test_few_seeds_prove_nothing():
    found = outcome.paired(trained([0.1] * 4), trained([0.2] * 4))
    assert found["verdict"] == "open" and found["ratio"] == 0.5


def test_stuck_and_dead_trainings_are_counted():
    variant = Variant(LARGE, NONE)
    found = {variant: trained([0.1, 0.1], train=0.16, swing=0.0)}
    entry = outcome.summary(found, FEW)["variants"][0]
    assert (entry["stuck"], entry["dead"]) == (2, 2)
    entry = outcome.summary({variant: trained([0.1, 0.1], train=0.14)}, FEW)["variants"][0]
    assert (entry["stuck"], entry["dead"]) == (0, 0)
