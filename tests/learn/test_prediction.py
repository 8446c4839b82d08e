import errno
import json

import h5py
import numpy as np
import pytest
import tomli_w
import torch

from hpc_ds.learn.dataset import open_dataset
from hpc_ds.learn.network_file import load_network, save_network
from hpc_ds.learn.networks import build_network
from hpc_ds.learn.normaliser import Normaliser
from hpc_ds.learn.prediction import predict
from hpc_ds.learn.predictor import Predictor, describe
from hpc_ds.learn.settings import make_settings
from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.world import World

OWN = """
import torch
class Own(torch.nn.Module):
    grid_free = True
    def __init__(self, factor, channels):
        super().__init__()
        self.factor, self.channels = torch.nn.Parameter(torch.tensor(float(factor))), channels
    def forward(self, x):
        return self.factor * x[:, : self.channels]
def times(inputs, outputs, factor=2.0):
    return Own(factor, outputs[0])
"""


class Run:
    """A run folder whose network multiplies its first input channels by a factor."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        (folder / "net.py").write_text(OWN)

    def data(self, name="data.npz", **arrays):
        path = self.folder / name
        if path.suffix == ".npz":
            np.savez(path, **arrays)
        else:
            with h5py.File(path, "w") as file:
                for key, values in arrays.items():
                    file[key] = values
        return path

    def train(self, data, factor=2.0, place="network", reference=None, options=None, **settings):
        dataset = open_dataset(data, "train", make_settings(settings))
        reference = reference or f"{self.folder / 'net.py'}:times"
        options = {"factor": factor} if options is None else options
        spread = settings.get("loss") == "gaussian"
        card = describe(reference, options, dataset, spread)
        network = build_network(reference, options, card.input_shape, card.output_shape, card.task, card.axes)
        predictor = Predictor(card, network, Normaliser.identity(), Normaliser.identity())
        save_network(self.folder / place, predictor)
        return self.folder

    def state(self, state, **config):
        """Make it look like what a training of that state leaves."""
        told = {"format": 1, "kind": "learn", "state": state, "note": None, "updated": ""}
        (self.folder / "state.json").write_text(json.dumps(told))
        (self.folder / "config.toml").write_text(tomli_w.dumps(config))

    def predict(self, data, **more):
        out = predict(self.folder, data, world=World(), **more)
        with h5py.File(out) as file:
            return {name: item[()] for name, item in file.items()}, dict(file.attrs)


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


def waves(samples=30, points=16, seed=1):
    return np.random.default_rng(seed).normal(size=(samples, points)).astype(np.float32)


@pytest.fixture
def doubled(run):
    """A run whose network doubles a field x to give the field y."""
    x = waves()
    run.train(run.data(x=x, y=2 * x), task="fields")
    return run


@pytest.mark.parametrize("name", ["new.npz", "new.h5"])
@pytest.mark.parametrize("key", ["x", "whatever"])
def test_inputs_are_found_by_name_or_because_they_are_alone(doubled, name, key):
    x = waves(7, seed=2)
    arrays, attributes = doubled.predict(doubled.data(name, **{key: x}))
    assert np.array_equal(arrays["prediction"], 2 * x[:, None])
    assert arrays["sample"].tolist() == list(range(7)) and "error" not in arrays
    assert attributes["kind"] == "prediction" and attributes["task"] == "fields"
    assert attributes["weights_sha256"].tolist() == [load_network(doubled.folder).identity]


def test_array_with_its_channel_axis_is_taken_too(doubled):
    x = waves(7, seed=2)
    arrays, _ = doubled.predict(doubled.data("new.npz", x=x[:, None]))
    assert np.array_equal(arrays["prediction"], 2 * x[:, None])


def test_other_grid_is_taken_by_a_network_that_is_free_of_it(doubled):
    x = waves(5, 64)
    arrays, _ = doubled.predict(doubled.data("fine.npz", x=x))
    assert arrays["prediction"].shape == (5, 1, 64)


def test_errors_are_stated_where_the_truth_is_known(doubled):
    x = waves(6)
    scale = np.linspace(1.0, 2.0, 6, dtype=np.float32)[:, None]
    arrays, _ = doubled.predict(doubled.data("new.npz", x=x, y=2 * x * scale))
    assert arrays["error"] == pytest.approx((scale[:, 0] - 1) / scale[:, 0], abs=1e-6)


def test_split_of_the_training_data_can_be_predicted(doubled):
    arrays, attributes = doubled.predict(doubled.folder / "data.npz", split="test")
    expected = len(open_dataset(doubled.folder / "data.npz", "test", make_settings({"task": "fields"})))
    assert len(arrays["sample"]) == expected < 30 and attributes["split"] == "test"


def test_bits_depend_on_the_block_alone(doubled):
    data = doubled.data("new.npz", x=waves(23))
    files = [predict(doubled.folder, data, out=doubled.folder / f"{n}.h5", batch=5) for n in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_classes_have_probabilities_and_an_answer(run):
    x = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    label = np.array(["calm", "storm", "rain"])[x.argmax(1)]
    run.train(run.data("data.h5", x=x, y=label.astype("S5")), factor=3.0, task="classify")
    arrays, _ = run.predict(run.data("new.npz", x=x[:9]))
    logits = torch.tensor(3.0 * x[:9])
    assert np.allclose(arrays["probability"], logits.softmax(1), atol=1e-6)
    assert np.array_equal(arrays["class"], x[:9].argmax(1))
    with h5py.File(run.folder / "predictions" / "new.h5") as file:
        assert list(file["probability"].attrs["names"]) == ["calm", "rain", "storm"]


def test_numbers_come_with_the_spread_of_the_network(run):
    x = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    run.train(run.data(x=x, y=x[:, :2]), task="scalars", loss="gaussian", factor=1.0)
    arrays, _ = run.predict(run.data("new.npz", x=x[:8]))
    assert np.allclose(arrays["prediction"], x[:8, :2])
    assert np.allclose(arrays["spread"], np.exp(0.5 * x[:8, 2:]), rtol=1e-6)


def test_ensemble_gives_mean_and_spread_of_its_members(run):
    x = waves()
    data = run.data(x=x, y=x)
    for number, factor in enumerate((1.0, 2.0, 4.5)):
        run.train(data, factor, f"members/{number:03d}/network", task="fields")
    arrays, attributes = run.predict(run.data("new.npz", x=x[:4]))
    assert np.allclose(arrays["prediction"], 2.5 * x[:4, None], atol=1e-6)
    assert np.allclose(arrays["spread"], np.std([1, 2, 4.5], ddof=1) * np.abs(x[:4, None]), atol=1e-6)
    assert len(attributes["weights_sha256"]) == 3


def test_members_of_different_kinds_are_no_ensemble(run):
    x = waves()
    run.train(run.data("a.npz", x=x, y=x), place="members/000/network", task="fields")
    run.train(run.data("b.npz", z=x, y=x), place="members/001/network", task="fields", input="z", target="y")
    with pytest.raises(InputError, match="another network than that of"):
        run.predict(run.folder / "a.npz")


@pytest.fixture
def marching(run):
    """A run whose network sees two times of a series and gives the next one, three times the first that it sees."""
    series = np.random.default_rng(1).normal(size=(20, 6, 8)).astype(np.float32)
    run.train(run.data(u=series), factor=3.0, input="u", target="u", window=(2, 1), task="fields")
    return run


def test_rollout_feeds_outputs_back_in_the_right_order(marching):
    start = waves(5, 16).reshape(5, 2, 8)
    arrays, attributes = marching.predict(marching.data("new.npz", u=start), rollout=4)
    times = [start[:, 0], start[:, 1]]
    for _ in range(4):
        times.append(3 * times[-2])
    assert arrays["prediction"].shape == (5, 4, 1, 8)
    assert np.allclose(arrays["prediction"][:, :, 0], np.stack(times[2:], axis=1))
    assert attributes["rollout"] == 4


def test_rollout_of_a_network_that_does_not_predict_its_inputs_is_refused(doubled):
    with pytest.raises(InputError, match=r"--rollout: .*trained without --window"):
        doubled.predict(doubled.folder / "data.npz", rollout=2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 2, 16), "f4")}, "samples of shape 2 x 16, but the network takes 1 x 16"),
        ({"a": np.zeros((3, 16), "f4"), "b": np.zeros((3, 16), "f4")}, "no array 'x'"),
        ({"x": np.zeros((0, 16), "f4")}, "no samples"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_work(doubled, arrays, message):
    with pytest.raises(InputError, match=message):
        doubled.predict(doubled.data("new.npz", **arrays))
    assert not (doubled.folder / "predictions").exists()


def test_missing_data_and_missing_networks_are_told(doubled, tmp_path):
    with pytest.raises(InputError, match=r"nothing.h5: no such file"):
        doubled.predict(tmp_path / "nothing.h5")
    with pytest.raises(InputError, match="give the folder of --out of hpc-ds learn"):
        predict(tmp_path / "no-run", tmp_path / "x.npz", world=World())


def test_nothing_is_overwritten(doubled):
    data = doubled.data("new.npz", x=waves(3))
    out = predict(doubled.folder, data, world=World())
    before = out.read_bytes()
    with pytest.raises(InputError, match=r"new.h5: is there already; remove it, or give another --out"):
        doubled.predict(data)
    assert out.read_bytes() == before


def test_killed_half_way_starts_over_cleanly(doubled, monkeypatch):
    from hpc_ds.learn.prediction_file import PredictionFile

    data, write, written = doubled.data("new.npz", x=waves(20)), PredictionFile.write, []

    def killed(self, *arguments):
        written.append(arguments)
        if len(written) > 3:
            raise KeyboardInterrupt
        write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(PredictionFile, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            doubled.predict(data, batch=4)
    assert [path.name for path in (doubled.folder / "predictions").iterdir()] == [".new.h5.part"]
    arrays, _ = doubled.predict(data, batch=4)
    assert np.array_equal(arrays["prediction"], 2 * waves(20)[:, None])
    assert [path.name for path in (doubled.folder / "predictions").iterdir()] == ["new.h5"]


def test_full_disk_is_told_and_nothing_has_the_files_name(doubled, monkeypatch):
    from hpc_ds.learn.prediction_file import PredictionFile

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PredictionFile, "write", full)
    with pytest.raises(StorageError, match=r"new.h5: cannot be written \(No space left on device\)"):
        doubled.predict(doubled.data("new.npz", x=waves(3)))
    assert not (doubled.folder / "predictions" / "new.h5").exists()


def test_file_opens_in_xarray_style_tools_with_named_axes(doubled):
    doubled.predict(doubled.data("new.npz", x=waves(3)))
    with h5py.File(doubled.folder / "predictions" / "new.h5") as file:
        assert list(file["prediction"].attrs["axes"]) == ["sample", "channel", "x"]
        assert list(file["prediction"].attrs["names"]) == ["y"]


@pytest.fixture
def ensemble(run):
    """A run with two networks that double and treble."""
    x = waves()
    data = run.data(x=x, y=x)
    for number, factor in enumerate((2.0, 3.0)):
        run.train(data, factor, f"members/{number:03d}/network", task="fields")
    return run


def test_ensemble_with_members_missing_is_refused(ensemble):
    ensemble.state("stopped", members=4)
    with pytest.raises(InputError, match=r"run: 2 of 4 members have no network yet \(002, 003\); the same"):
        ensemble.predict(ensemble.folder / "data.npz")
    ensemble.state("done", members=2)
    assert "spread" in ensemble.predict(ensemble.folder / "data.npz")[0]


@pytest.mark.parametrize(
    ("state", "told"), [("stopped", "stopped"), ("running", "killed"), ("failed", "failed"), ("done", "")]
)
def test_training_that_is_not_done_is_told(doubled, state, told):
    doubled.state(state, members=1)
    lines = []
    doubled.predict(doubled.data("new.npz", x=waves(3)), tell=lines.append)
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert len(warnings) == bool(told)
    assert not told or f"the training is not done ({told})" in warnings[0]


def test_samples_that_are_not_finite_are_counted_and_spoil_no_others(doubled):
    x = waves(9)
    y = 2.2 * x
    x[4, 3], x[7, 0] = np.nan, np.inf
    lines = []
    arrays, attributes = doubled.predict(doubled.data("new.npz", x=x, y=y), batch=2, tell=lines.append)
    assert attributes["not_finite"] == 2
    assert any("2 of 9 samples hold a NaN" in line and "the first is sample 4 (" in line for line in lines)
    assert np.flatnonzero(np.isnan(arrays["error"])).tolist() == [4, 7]
    assert np.nanmax(arrays["error"]) == pytest.approx(0.2 / 2.2, rel=1e-5)


def test_finite_samples_are_told_to_be_so(doubled):
    lines = []
    _, attributes = doubled.predict(doubled.data("new.npz", x=waves(5)), tell=lines.append)
    assert attributes["not_finite"] == 0 and not any("warning" in line for line in lines)


def test_own_data_of_the_training_are_predicted_where_it_did_not_see_them(doubled):
    data, lines = doubled.folder / "data.npz", []
    test = len(open_dataset(data, "test", make_settings({"task": "fields"})))
    doubled.state("done", data={"path": str(data)}, members=1)
    arrays, attributes = doubled.predict(data, tell=lines.append)
    assert len(arrays["sample"]) == test and attributes["split"] == "test"
    assert f"{test} samples of the test split (the training read the others; --split all" in lines[0]
    arrays, attributes = doubled.predict(data, split="all", out=doubled.folder / "all.h5")
    assert len(arrays["sample"]) == 30 and attributes["split"] == ""
    arrays, attributes = doubled.predict(doubled.data("other.npz", x=waves(30)))
    assert len(arrays["sample"]) == 30 and attributes["split"] == ""


def test_own_file_that_is_a_split_by_its_name_is_predicted_whole(run):
    x = waves()
    run.data("test.npz", x=x[:3], y=x[:3])
    data = run.data("train.npz", x=x, y=x)
    run.train(data, task="fields")
    run.state("done", data={"path": str(data)}, members=1)
    assert len(run.predict(data)[0]["sample"]) == 30


def test_unknown_split_is_refused(doubled):
    with pytest.raises(InputError, match="--split tset: unknown; there are train, valid, test, and all"):
        doubled.predict(doubled.folder / "data.npz", split="tset")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"whatever": np.zeros((3, 3, 20), "f4")},
            "samples of shape 3 x 20, but .* takes 2 x 16.* of x, viscosity",
        ),
        ({"x": np.zeros((3, 20), "f4"), "z": np.zeros((3, 20), "f4")}, "no array 'viscosity'"),
    ],
)
def test_complaint_is_of_the_reading_that_came_closest(run, arrays, message):
    x = waves()
    data = run.data(x=x, viscosity=x[:, 0], y=x)
    run.train(data, task="fields", input="x,viscosity", target="y")
    with pytest.raises(InputError, match=message):
        run.predict(run.data("new.npz", **arrays))


def test_rollout_has_its_error_by_step_while_the_data_last(marching):
    series = np.random.default_rng(2).normal(size=(3, 6, 8)).astype(np.float32)
    arrays, _ = marching.predict(marching.data("new.npz", u=series), rollout=5, batch=3)
    error = arrays["error"].reshape(3, 4, 5)
    for window in range(4):
        said = [series[:, window], series[:, window + 1]]
        for step in range(5):
            said.append(3 * said[-2])
            if window + 2 + step >= 6:
                assert np.isnan(error[:, window, step]).all()
                continue
            right = series[:, window + 2 + step]
            expected = np.linalg.norm(said[-1] - right, axis=1) / np.linalg.norm(right, axis=1)
            assert np.allclose(error[:, window, step], expected, rtol=1e-5)
