"""Channels get mean 0 and spread 1, with the same bits however many ranks share the work."""

import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hpc_ds.learn.dataset import open_dataset
from hpc_ds.learn.normaliser import Normaliser, fit_normalisers
from hpc_ds.learn.settings import make_settings
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.world import World

ALONE = SimpleNamespace(world=World())


def fitted(place, group=ALONE, **values):
    settings = make_settings(values)
    return fit_normalisers(open_dataset(place, "train", settings), settings, group)


def arrays(path, **values):
    np.savez(path, **values)
    return path


class Ranks(World):
    """One of several ranks that are threads, as far as fitting goes."""

    def __init__(self, rank, size, box, barrier):
        super().__init__()
        self.rank, self.size, self._values, self._barrier = rank, size, box, barrier

    def allgather(self, value):
        self._values[self.rank] = value
        self._barrier.wait(30)
        values = list(self._values)
        self._barrier.wait(30)
        return values


def on_ranks(size, function):
    """Call ``function(group)`` on several ranks that are threads; return results or errors."""
    box, barrier, results = [None] * size, threading.Barrier(size), [None] * size

    def work(rank):
        try:
            results[rank] = function(SimpleNamespace(world=Ranks(rank, size, box, barrier)))
        except InputError as error:
            results[rank] = error

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 8), (5, 3, 4, 6)])
def test_normalised_and_back(dtype, shape):
    normaliser = Normaliser(np.array([1.0, -2.0, 1e3]), np.array([0.5, 4.0, 10.0]))
    x = torch.randn(shape, dtype=dtype)
    scaled = normaliser(x)
    assert scaled.dtype == dtype
    assert torch.allclose(scaled[:, 1], (x[:, 1] + 2.0) / 4.0)
    assert torch.allclose(normaliser.inverse(scaled), x, rtol=1e-5, atol=1e-4)


def test_the_identity_passes_classes_through():
    labels = torch.arange(4)
    assert Normaliser.identity()(labels) is labels
    assert Normaliser.identity().inverse(labels) is labels


def test_its_figures_are_in_the_state():
    normaliser = Normaliser([1.0, 2.0], [3.0, 4.0])
    state = normaliser.state_dict()
    assert set(state) == {"mean", "std"}
    other = Normaliser(np.zeros(2), np.ones(2))
    other.load_state_dict(state)
    assert torch.equal(other.std, normaliser.std)


def test_each_channel_is_normalised_over_all_training_samples(flow, flow_set):
    folder, train = flow_set
    inputs, targets = fitted(folder, input="velocity:0,nu,phase", target="u:-1,u:0")
    samples = [flow.sample(index) for index in train]
    velocity = np.array([sample["velocity"][0] for sample in samples], np.float64)
    assert np.allclose(inputs.mean[:2], velocity.mean(axis=(0, 1, 2)), rtol=1e-12)
    assert np.allclose(inputs.std[:2], velocity.std(axis=(0, 1, 2)), rtol=1e-12)
    nu = np.float32(0.1 * (train + 1)).astype(np.float64)
    assert np.allclose([inputs.mean[2], inputs.std[2]], [nu.mean(), nu.std()], rtol=1e-12)
    assert np.allclose(inputs.mean[3:], [(train % 3 == each).mean() for each in range(3)])
    last = np.array([sample["u"][-1] for sample in samples], np.float64)
    assert np.allclose([targets.mean[0], targets.std[0]], [last.mean(), last.std()], rtol=1e-12)


def test_whole_fields_have_the_figures_of_the_set(flow_set, monkeypatch):
    folder, _ = flow_set
    stats = open_dataset(folder, "train", make_settings({})).source.statistics
    read = []
    monkeypatch.setattr(
        "hpc_ds.learn.normaliser.measure_channels",
        lambda dataset, world: read.append(dataset.input_names) or (np.ones((1, 2)), np.ones((0, 2))),
    )
    inputs, targets = fitted(folder, input="velocity.y,bed,nu", target="u", window="2,1")
    assert read == [("nu",)]  # nothing is read for the others
    assert np.allclose(inputs.mean, [*[stats["mean"]["velocity"][1]] * 2, stats["mean"]["bed"], 1.0], rtol=0)
    assert np.allclose(targets.std, [stats["std"]["u"]], rtol=0)


def test_the_bits_do_not_depend_on_the_ranks(tmp_path, monkeypatch):
    monkeypatch.setattr("hpc_ds.learn.normaliser._BLOCK_SAMPLES", 7)
    rng = np.random.default_rng(1)
    path = arrays(
        tmp_path / "a.npz", x=100.0 + rng.normal(size=(100, 8, 8)), y=rng.normal(size=(100, 2, 8, 8))
    )
    expected = fitted(path)
    for size in (2, 3, 4):
        for found in on_ranks(size, lambda group: fitted(path, group)):
            for one, other in zip(expected, found):
                assert torch.equal(one.mean, other.mean)
                assert torch.equal(one.std, other.std)


def test_a_large_mean_does_not_spoil_the_spread(tmp_path):
    x = 1e8 + np.random.default_rng(1).normal(size=(2000, 3))
    inputs, _ = fitted(arrays(tmp_path / "a.npz", x=x, y=x[:, 0]))
    assert np.allclose(inputs.std, 1.0, atol=0.05)


def test_what_does_not_vary_keeps_its_spread(tmp_path):
    x = np.full((50, 2), 0.1, np.float32)
    x[:, 1] = np.arange(50)
    inputs, _ = fitted(arrays(tmp_path / "a.npz", x=x, y=x[:, 1]))
    assert inputs.std[0] == 1.0
    assert inputs.std[1] > 10.0


def test_classes_and_data_as_they_are_need_no_figures(flow_set):
    inputs, targets = fitted(flow_set[0], input="u:0", target="phase")
    assert len(inputs.mean) == 1
    assert len(targets.mean) == 0
    assert len(fitted(flow_set[0], input="u:0", target="u:-1", normalise=False)[0].mean) == 0


@pytest.mark.parametrize("side", ["x", "y"])
def test_a_nan_is_found_and_its_sample_named_on_all_ranks(tmp_path, side, monkeypatch):
    monkeypatch.setattr("hpc_ds.learn.normaliser._BLOCK_SAMPLES", 4)
    values = {name: np.zeros((60, 2, 8, 8)) for name in ("x", "y")}
    values[side][17, 1, 3, 3] = np.inf if side == "y" else np.nan
    path = arrays(tmp_path / "a.npz", **values)
    kind = "input" if side == "x" else "target"
    for error in on_ranks(3, lambda group: fitted(path, group)):
        assert isinstance(error, InputError)
        assert "a.npz, row 17: sample " in str(error)
        assert f"a NaN or an infinity in {kind} {side}:1" in str(error)


def test_a_file_that_one_rank_cannot_read_ends_all(flow_set, tmp_path):
    shutil.copytree(flow_set[0], tmp_path / "gone")
    settings = make_settings({"input": "u:0", "target": "u:-1"})
    dataset = open_dataset(tmp_path / "gone", "train", settings)
    path = max((tmp_path / "gone" / "data" / "train").glob("*.h5"))
    path.unlink()
    errors = on_ranks(2, lambda group: fit_normalisers(dataset, settings, group))
    assert all(f"{path.name}: cannot be read" in str(error) for error in errors)
