"""Networks are found by name, in a user's file or in a package, and refuse in one line what they cannot take."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

import hpc_ds.learn.networks as networks
from hpc_ds.learn.networks import BUILT_IN, build_network, count_parameters, network_names, network_options
from hpc_ds.runtime.errors import InputError

FILE = """
import torch
from torch import nn

def linear(inputs, outputs, width=8):
    flat = 1
    for size in inputs:
        flat *= size
    return nn.Sequential(nn.Flatten(), nn.Linear(flat, width), nn.Linear(width, outputs[0]))

def needs(inputs, outputs, width):
    return linear(inputs, outputs, width)

def open_ended(inputs, outputs, **options):
    return linear(inputs, outputs, **options)

def alone(inputs):
    return linear(inputs, (1,))

def wrong_shape(inputs, outputs):
    return linear(inputs, (outputs[0] + 1,))

def no_network(inputs, outputs):
    return [1, 2]

def nothing_to_learn(inputs, outputs):
    return nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(outputs[0]))

def fails_forward(inputs, outputs):
    return nn.Linear(3, outputs[0])

def fails_when_built(inputs, outputs):
    return nn.Linear(inputs[7], outputs[0])

def lazy(inputs, outputs):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(outputs[0]), nn.Dropout(0.5))

class Pair(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs[0], outputs[0])

    def forward(self, x):
        return self.layer(x), x

not_callable = 3
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return lambda name: f"{path}:{name}"


def refusal(*arguments):
    with pytest.raises(InputError) as caught:
        build_network(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["mlp", "unet", "resnet18", "resnet50", "efficientnet-b0", "inception-v3"])
def test_every_kind_makes_a_network_of_the_shapes_asked_for(name):
    entry = BUILT_IN[name]
    grid = (80, 80) if entry.grids == (2,) else (16,) * max(entry.grids[0], 1)
    for task, outputs in (("fields", (3, *grid)), ("scalars", (3,)), ("classify", (3,))):
        if task in entry.tasks:
            with torch.device("meta"):
                network = build_network(name, {}, (2, *grid), outputs, task)
                assert network(torch.empty(2, 2, *grid)).shape == (2, *outputs)


def test_names_need_no_torch():
    code = (
        "import sys, hpc_ds.learn.networks as n; n.network_names(); "
        "print(sorted({'torch', 'numba', 'mpi4py', 'dask'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_told_the_nearest():
    told = refusal("resnet180", {}, (3, 64, 64), (2,), "classify")
    assert "did you mean 'resnet18" in told and "inception-v3" in told and "file.py:name" in told


def test_an_unknown_option_is_told_the_nearest():
    told = refusal("mlp", {"activaton": "relu"}, (4,), (2,), "scalars")
    assert told.startswith("mlp: option activaton: unknown; did you mean 'activation'?")
    assert "dropout" in refusal("mlp", {"dropout": 1.5}, (4,), (2,), "scalars")


def test_options_may_be_written_with_dashes():
    network = build_network("efficientnet-b0", {"stochastic-depth": "0.0"}, (1, 32, 32), (2,), "classify")
    assert {m.probability for m in network.modules() if hasattr(m, "probability")} == {0.0}


def test_what_the_name_says_cannot_be_set():
    assert "the name says it" in refusal("resnet18", {"layers": 50}, (3, 64, 64), (2,), "classify")


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "task", "words"),
    [
        ("resnet18", (3, 64), (2,), "classify", "takes a 2-d grid; the inputs, 3 x 64, have a 1-d grid"),
        ("efficientnet-b0", (7,), (2,), "scalars", "takes a 2-d grid; the inputs, 7, have no grid"),
        ("inception-v3", (3, 64, 80), (2,), "classify", "75 x 75"),
        ("unet", (3, 64, 64), (2,), "scalars", "learns fields, not scalars; mlp, resnet18"),
        ("resnet18", (3, 64, 64), (1, 64, 64), "fields", "learns classes or scalars, not fields; mlp, unet"),
        ("mlp", (1, 4, 4, 4, 4), (2,), "scalars", "takes a 1-d, 2-d or 3-d grid or no grid"),
        ("fno2d", (1, 64), (1, 64), "fields", "takes a 2-d grid"),
    ],
)
def test_data_that_a_network_cannot_take_are_refused(name, inputs, outputs, task, words):
    told = refusal(name, {}, inputs, outputs, task)
    assert told.startswith(f"{name}: ") and words in told


def test_a_users_function_is_called_with_shapes_and_options(own):
    network = build_network(own("linear"), {"width": 5}, (2, 3), (4,), "scalars")
    assert count_parameters(network) == 6 * 5 + 5 + 5 * 4 + 4
    assert count_parameters(build_network(own("open_ended"), {"width": 5}, (6,), (4,), "scalars")) == 59


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("wrong_shape", {}, "of two samples (2, 6) the network makes (2, 5); (2, 4) is needed"),
        ("no_network", {}, "gave list; a torch.nn.Module is needed"),
        ("nothing_to_learn", {}, "no parameter to be learned"),
        ("fails_forward", {}, "RuntimeError: mat1 and mat2"),
        ("fails_when_built", {}, "IndexError: tuple index out of range (line"),
        ("Pair", {}, "gives tuple; one tensor is needed"),
        ("not_callable", {}, "found int; a function (inputs, outputs, **options)"),
        ("alone", {}, "takes (inputs); a function (inputs, outputs, **options)"),
        ("needs", {}, "needs the option width"),
        ("linear", {"widht": 3}, "option widht: unknown; did you mean 'width'?"),
        ("lineer", {}, "no 'lineer' in it; did you mean 'linear'?"),
    ],
)
def test_a_users_function_that_does_not_fit_is_refused(own, name, options, words):
    assert words in refusal(own(name), options, (6,), (4,), "scalars")


def test_a_file_without_a_name_is_refused(own):
    path = own("x").rpartition(":")[0]
    assert "say which function of the file" in refusal(path, {}, (6,), (4,), "scalars")
    assert "no such file" in refusal("missing.py:build", {}, (6,), (4,), "scalars")


def test_the_trial_leaves_no_trace(own):
    torch.manual_seed(4)
    network = build_network(own("lazy"), {}, (6,), (4,), "scalars")
    after = torch.rand(3)
    assert network.training and network[1].weight.shape == (4, 6)
    torch.manual_seed(4)
    assert torch.equal(after, torch.rand(3))  # building drew nothing itself, the trial's draws do not count


def test_a_packages_network_is_found(monkeypatch):
    def offered(inputs, outputs, width=3):
        return nn.Sequential(nn.Linear(inputs[0], width), nn.Linear(width, outputs[0]))

    monkeypatch.setattr(networks, "plugin", lambda engine, name: offered if name == "theirs" else None)
    monkeypatch.setattr(networks, "plugin_names", lambda engine: ["theirs"])
    assert count_parameters(build_network("theirs", {"width": 2}, (5,), (1,), "scalars")) == 5 * 2 + 2 + 3
    assert network_names()[-1] == "theirs"
    assert "option depth: unknown" in refusal("theirs", {"depth": 2}, (5,), (1,), "scalars")


def test_a_complex_parameter_counts_twice():
    class Spectral(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 4, dtype=torch.complex64))
            self.bias = nn.Parameter(torch.zeros(4))

    assert count_parameters(Spectral()) == 2 * 12 + 4


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_option_is_described(name):
    fields = network_options(name).model_fields
    assert fields and all(field.description for field in fields.values())
    assert network_options("mine.py:build") is None


def test_the_same_seed_gives_the_same_weights():
    def weights(name, inputs, outputs, task):
        torch.manual_seed(7)
        return build_network(name, {}, inputs, outputs, task).state_dict()

    for arguments in (("resnet18", (1, 32, 32), (2,), "classify"), ("unet", (1, 16), (1, 16), "fields")):
        first, second = weights(*arguments), weights(*arguments)
        assert all(torch.equal(first[name], second[name]) for name in first)
