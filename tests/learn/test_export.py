import importlib.util
import json

import numpy as np
import pytest
import torch

from hpc_ds.learn.dataset import open_dataset
from hpc_ds.learn.export import export_network
from hpc_ds.learn.network_file import load_network, save_network
from hpc_ds.learn.networks import build_network
from hpc_ds.learn.normaliser import Normaliser
from hpc_ds.learn.predictor import Predictor, describe
from hpc_ds.learn.settings import make_settings
from hpc_ds.runtime.errors import InputError

NETWORKS = {
    "mlp": ("mlp", {"layers": [8]}, (5,), {"task": "scalars"}),
    "gaussian": ("mlp", {"layers": [8]}, (5,), {"task": "scalars", "loss": "gaussian"}),
    "classes": ("mlp", {"layers": [8]}, (5,), {"task": "classify"}),
    "resnet": ("resnet18", {}, (3, 32, 32), {"task": "classify"}),
    "unet": ("unet", {}, (1, 32, 32), {"task": "fields"}),
    "fno": ("fno", {"width": 8, "modes": 4}, (32,), {"task": "fields"}),
    "fno2d": ("fno", {"width": 8, "modes": 4}, (1, 16, 16), {"task": "fields"}),
}
SLOW = ("resnet", "unet")
CASES = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NETWORKS]

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript")),
    reason="needs the packages onnx and onnxscript",
)


@pytest.fixture
def trained(tmp_path):
    """Return a function that makes a run folder with one of `NETWORKS`."""

    def make(name, place="run/network"):
        reference, options, shape, settings = NETWORKS[name]
        rng = np.random.default_rng(1)
        x = rng.normal(2, 3, size=(40, *shape)).astype(np.float32)
        y = {"classify": np.arange(40) % 3, "scalars": x[:, :2], "fields": x}[settings["task"]]
        np.savez(tmp_path / "data.npz", x=x, y=y)
        data = open_dataset(tmp_path / "data.npz", "train", make_settings(settings))
        card = describe(reference, options, data, settings.get("loss") == "gaussian")
        network = build_network(reference, options, card.input_shape, card.output_shape, card.task, card.axes)
        channels = card.input_shape[0]
        target = Normaliser.identity()
        if card.task != "classify":
            target = Normaliser(np.full(card.target_shape[0], -1.0), np.full(card.target_shape[0], 2.0))
        predictor = Predictor(
            card, network, Normaliser(np.full(channels, 2.0), np.full(channels, 3.0)), target
        )
        save_network(tmp_path / place, predictor.eval())
        return tmp_path / "run"

    return make


@pytest.mark.parametrize("name", CASES)
def test_torch_export_gives_what_the_network_gives_for_any_batch(trained, tmp_path, name):
    run = trained(name)
    path = export_network(run, tmp_path / "network.pt2")
    module, predictor = torch.export.load(path).module(), load_network(run)
    for count in (1, 4):
        x = torch.randn(count, *predictor.card.input_shape)
        found, expected = module(x), predictor.with_spread(x)
        assert torch.allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)
        assert len(found) == (2 if name == "gaussian" else 1)


@needs_onnx
@pytest.mark.parametrize("name", CASES)
def test_onnx_file_is_sound_and_names_its_inputs_and_outputs(trained, tmp_path, name):
    import onnx

    model = onnx.load(export_network(trained(name), tmp_path / "network.onnx"))
    onnx.checker.check_model(model)
    assert [one.name for one in model.graph.input] == ["inputs"]
    first = "probability" if name in ("classes", "resnet") else "prediction"
    assert [one.name for one in model.graph.output] == [first, "spread"][: 2 if name == "gaussian" else 1]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_ensemble_is_exported_with_its_spread(trained, tmp_path):
    for number in range(2):
        torch.manual_seed(number)
        run = trained("mlp", f"run/members/{number:03d}/network")
    module = torch.export.load(export_network(run, tmp_path / "network.pt2")).module()
    mean, spread = module(torch.randn(3, 5))
    assert mean.shape == spread.shape == (3, 2) and bool((spread > 0).all())


def test_missing_packages_are_told_in_one_line(trained, tmp_path, monkeypatch):
    run, find = trained("mlp"), importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if "onnx" in name else find(name, *more)
    )
    message = r"needs the packages onnx and onnxscript: pip install onnx onnxscript; \.pt2 works without"
    with pytest.raises(InputError, match=message):
        export_network(run, tmp_path / "network.onnx")
    assert not (tmp_path / "network.onnx").exists()


def test_unknown_formats_and_taken_names_are_refused(trained, tmp_path):
    run = trained("mlp")
    with pytest.raises(
        InputError, match=r"network\.bin: unknown format; give a name that ends in \.pt2 or \.onnx"
    ):
        export_network(run, tmp_path / "network.bin")
    with pytest.raises(InputError, match="format 'torchscript': unknown; there are torch-export, onnx"):
        export_network(run, tmp_path / "network.bin", "torchscript")
    (tmp_path / "network.pt2").touch()
    with pytest.raises(InputError, match="is there already"):
        export_network(run, tmp_path / "network.pt2")


def test_export_that_says_something_else_is_not_written(trained, tmp_path, monkeypatch):
    import hpc_ds.learn.export as export

    reread = export._reread

    def wrong(data):
        right = reread(data)
        return lambda inputs: tuple(1.01 * one for one in right(inputs))

    monkeypatch.setattr(export, "_reread", wrong)
    with pytest.raises(InputError, match="it gives other values"):
        export_network(trained("mlp"), tmp_path / "network.pt2")
    assert not (tmp_path / "network.pt2").exists()


def test_network_that_cannot_be_traced_is_told_in_one_line(tmp_path, trained, monkeypatch):
    import hpc_ds.learn.export as export

    def refuse(*_):
        raise RuntimeError("Unsupported:\n data-dependent branch")

    monkeypatch.setattr(export, "_torch_export", refuse)
    with pytest.raises(
        InputError, match=r"cannot be written as torch-export \(Unsupported: data-dep"
    ) as caught:
        export_network(trained("mlp"), tmp_path / "network.pt2")
    assert "\n" not in str(caught.value)


def test_training_that_is_not_done_is_told(trained, tmp_path, capsys):
    run, lines = trained("mlp"), []
    state = {"format": 1, "kind": "learn", "state": "stopped", "note": None, "updated": ""}
    (run / "state.json").write_text(json.dumps(state))
    export_network(run, tmp_path / "network.pt2", tell=lines.append)
    assert len(lines) == 1 and "warning: " in lines[0] and "not done (stopped)" in lines[0]
    export_network(run, tmp_path / "again.pt2")
    assert capsys.readouterr().err == f"hpc-ds: {lines[0]}\n"


def test_ensemble_with_members_missing_is_not_exported(trained, tmp_path):
    run = trained("mlp", "run/members/000/network")
    (run / "config.toml").write_text("members = 2\n")
    with pytest.raises(InputError, match=r"1 of 2 members have no network yet \(001\)"):
        export_network(run, tmp_path / "network.pt2")
