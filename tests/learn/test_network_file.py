import json
import os

import numpy as np
import pytest
import torch

from hpc_ds.learn.dataset import open_dataset
from hpc_ds.learn.network_file import load_network, save_network
from hpc_ds.learn.networks import build_network
from hpc_ds.learn.normaliser import Normaliser
from hpc_ds.learn.predictor import Predictor, describe
from hpc_ds.learn.settings import make_settings
from hpc_ds.runtime.errors import InputError

OWN = """
import torch
class Times(torch.nn.Module):
    grid_free = True
    def __init__(self, factor):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(float(factor)))
    def forward(self, x):
        return self.factor * x
def times(inputs, outputs, factor=2.0):
    return Times(factor)
"""


@pytest.fixture
def fields(tmp_path):
    """A data set of one field on 16 points."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=3 * x)
    return open_dataset(tmp_path / "data.npz", "train", make_settings({"task": "fields"}))


@pytest.fixture
def own(tmp_path, fields):
    """A network of the user's own that doubles, between normalisers that it does not notice."""
    (tmp_path / "net.py").write_text(OWN)
    reference = f"{tmp_path / 'net.py'}:times"
    return predictor(reference, {"factor": 2.0}, fields)


def predictor(reference, options, dataset, spread=False, dtype=torch.float32):
    card = describe(reference, options, dataset, spread)
    network = build_network(reference, options, card.input_shape, card.output_shape, card.task, card.axes)
    normalisers = [Normaliser([0.5], [2.0]), Normaliser([-1.0], [4.0])]
    if card.task == "classify":
        normalisers[1] = Normaliser.identity()
    return Predictor(card, network.to(dtype), *normalisers).eval()


@pytest.fixture
def mlp(fields):
    torch.manual_seed(3)
    return predictor("mlp", {"layers": [8]}, fields)


def test_predictor_takes_and_gives_physical_units(own):
    x = torch.linspace(-1, 1, 32).reshape(2, 1, 16)
    assert torch.allclose(own(x), 2 * (x - 0.5) / 2 * 4 - 1)


def test_saved_network_predicts_the_same_bits(tmp_path, mlp):
    save_network(tmp_path / "network", mlp, {"valid": {"relative_l2": 0.1}})
    x = torch.randn(5, 1, 16)
    loaded = load_network(tmp_path / "network")
    assert torch.equal(loaded(x), mlp(x))
    assert loaded.metrics == {"valid": {"relative_l2": 0.1}} and len(loaded.identity) == 64
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert loaded.card.input_names == ("x",) and loaded.card.axes[0].name == "x"


def test_network_is_found_from_the_run_folder(tmp_path, mlp):
    save_network(tmp_path / "run" / "network", mlp)
    assert load_network(tmp_path / "run").card.reference == "mlp"


def test_double_precision_survives(tmp_path, fields):
    net = predictor("mlp", {"layers": [8]}, fields, dtype=torch.float64)
    save_network(tmp_path / "network", net)
    x = torch.randn(3, 1, 16, dtype=torch.float64)
    loaded = load_network(tmp_path / "network")
    assert loaded.dtype == torch.float64 and torch.equal(loaded(x), net(x))


def test_loading_leaves_torchs_random_numbers_alone(tmp_path, mlp):
    save_network(tmp_path / "network", mlp)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_network(tmp_path / "network")
    assert torch.equal(torch.rand(3), expected) and torch.get_default_dtype() == torch.float32


def test_weights_file_is_a_plain_state_dict(tmp_path, mlp):
    save_network(tmp_path / "network", mlp)
    state = torch.load(tmp_path / "network" / "weights.pt", weights_only=True)
    assert set(state) == set(mlp.state_dict())
    assert {name.partition(".")[0] for name in state} == {"network", "input", "target"}


def test_card_says_all_that_a_reader_needs(tmp_path, mlp):
    save_network(tmp_path / "network", mlp)
    card = json.loads((tmp_path / "network" / "network.json").read_text())
    assert card["inputs"] == {"shape": [1, 16], "names": ["x"]}
    assert card["targets"] == {"shape": [1, 16], "names": ["y"]}
    assert card["format"] == 1 and card["torch"] == torch.__version__ and card["classes"] is None
    assert card["parameters"] == sum(p.numel() for p in mlp.network.parameters())
    assert card["selection"]["input"] == [["x", "", ""]] and card["axes"][0]["periodic"] is False


def test_gaussian_network_gives_its_spread_in_physical_units(fields):
    net = predictor("mlp", {"layers": []}, fields, spread=True)
    for parameter in net.network.parameters():
        torch.nn.init.zeros_(parameter)
    values, spread = net.with_spread(torch.randn(2, 1, 16))
    assert values.shape == spread.shape == (2, 1, 16)
    assert torch.equal(values, torch.full_like(values, -1.0))
    assert torch.equal(spread, torch.full_like(spread, 4.0))


def test_classes_come_as_probabilities(tmp_path):
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(60, 4)).astype("f4"), y=np.arange(60) % 3)
    data = open_dataset(tmp_path / "data.npz", "train", make_settings({"task": "classify"}))
    net = predictor("mlp", {"layers": [4]}, data)
    save_network(tmp_path / "network", net)
    probability = load_network(tmp_path / "network")(torch.randn(7, 4))
    assert probability.shape == (7, 3) and torch.allclose(probability.sum(1), torch.ones(7))
    assert load_network(tmp_path / "network").card.target_names == ("0", "1", "2")


@pytest.mark.parametrize("shape", [(2, 2, 16), (2, 1, 8), (2, 16)])
def test_inputs_of_another_shape_are_refused(mlp, shape):
    with pytest.raises(ValueError, match="the network takes 1 x 16"):
        mlp(torch.zeros(shape))


def test_network_free_of_the_grid_takes_other_grids(own):
    assert own(torch.zeros(2, 1, 50)).shape == (2, 1, 50)
    with pytest.raises(ValueError, match=r"takes 1 x 16 \(any grid\)"):
        own(torch.zeros(2, 2, 16))


def test_own_network_is_built_from_its_file(tmp_path, own, monkeypatch):
    save_network(tmp_path / "network", own)
    monkeypatch.chdir("/")
    x = torch.randn(2, 1, 16)
    assert torch.equal(load_network(tmp_path / "network")(x), own(x))


def test_own_network_of_another_text_is_refused(tmp_path, own):
    save_network(tmp_path / "network", own)
    (tmp_path / "net.py").write_text(OWN + "# more\n")
    with pytest.raises(InputError, match="changed since the network was trained"):
        load_network(tmp_path / "network")
    (tmp_path / "net.py").unlink()
    with pytest.raises(InputError, match="is gone; bring it back, or say in 'reference'"):
        load_network(tmp_path / "network")


def drop(name):
    return lambda folder: (folder / name).unlink()


def text(content):
    return lambda folder: (folder / "network.json").write_text(content)


def changed(**values):
    def change(folder):
        card = json.loads((folder / "network.json").read_text())
        (folder / "network.json").write_text(json.dumps(card | values))

    return change


def flip(folder):
    data = bytearray((folder / "weights.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "weights.pt").write_bytes(data)


def foreign(content):
    """Put other weights in the place, with their right hash."""

    def change(folder):
        import hashlib

        content(folder / "weights.pt")
        digest = hashlib.sha256((folder / "weights.pt").read_bytes()).hexdigest()
        changed(weights={"file": "weights.pt", "sha256": digest})(folder)

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop("network.json"), r"no trained network there \(no network.json\); give the folder of --out"),
        (drop("weights.pt"), "weights.pt: no such file, though network.json is there"),
        (text("{"), "network.json: damaged, no network"),
        (text("[1]"), "no network of hpc-ds learn"),
        (changed(format=2), "format 2, this version knows 1: update hpc_ds"),
        (changed(inputs={"shape": [1, 16]}), "not all of a network is there"),
        (changed(weights=None), "not all of a network is there"),
        (changed(reference="mlpp"), "did you mean 'mlp'"),
        (changed(options={"layers": [9]}), "not the weights of mlp: size mismatch for network"),
        (flip, r"weights.pt: damaged, or not the weights that network.json describes"),
        (foreign(lambda file: file.write_bytes(b"no weights")), "cannot be read as weights"),
        (foreign(lambda file: torch.save([1, 2], file)), "holds no table of weights by name"),
        (foreign(lambda file: torch.save({"a": torch.ones(1)}, file)), "input.mean is missing"),
    ],
)
def test_every_damage_is_told_in_one_line(tmp_path, mlp, damage, message):
    save_network(tmp_path / "network", mlp)
    damage(tmp_path / "network")
    with pytest.raises(InputError, match=message) as caught:
        load_network(tmp_path / "network")
    assert "\n" not in str(caught.value)


def test_pickled_code_is_never_run(tmp_path, mlp):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'run'}",)

    save_network(tmp_path / "network", mlp)
    foreign(lambda file: torch.save({"input.mean": Evil()}, file))(tmp_path / "network")
    with pytest.raises(InputError, match="cannot be read as weights"):
        load_network(tmp_path / "network")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_kill_at_any_moment_leaves_the_older_network_or_the_new_one(tmp_path, mlp, fields, monkeypatch, kept):
    """The steps of a save are: weights beside, card, rename; a kill lets only the first of them happen."""
    folder, x = tmp_path / "network", torch.randn(2, 1, 16)
    save_network(folder, mlp)
    torch.manual_seed(9)
    newer = predictor("mlp", {"layers": [8]}, fields)
    steps, replace = [], os.replace

    def counted(*names):
        if len(steps) == kept:
            raise KeyboardInterrupt
        steps.append(names)
        replace(*names)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted)
        if kept < 3:
            with pytest.raises(KeyboardInterrupt):
                save_network(folder, newer)
        else:
            save_network(folder, newer)
    expected = mlp if kept == 1 else newer
    assert torch.equal(load_network(folder)(x), expected(x))
    latest = predictor("mlp", {"layers": [8]}, fields)
    with monkeypatch.context() as patch:
        patch.setattr("torch.save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save_network(folder, latest)
    assert torch.equal(load_network(folder)(x), expected(x))
