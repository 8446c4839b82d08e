"""Weights from elsewhere: what is taken, what is adapted, and what is refused in one line."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
import torch
from torch import nn

from hpc_ds.learn.networks import build_network
from hpc_ds.learn.pretrained import freeze, load_pretrained
from hpc_ds.runtime.errors import InputError


def resnet(channels=3, outputs=5, task="classify", **options):
    return build_network("resnet18", options, (channels, 32, 32), (outputs,), task)


def efficientnet(channels=3, outputs=5, **options):
    return build_network("efficientnet-b0", options, (channels, 32, 32), (outputs,), "classify")


def saved(state, path):
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def learned():
    """A network whose statistics are no longer those of a new one."""
    torch.manual_seed(1)
    network = resnet().train()
    network(torch.randn(4, 3, 32, 32))
    return network.eval()


def refusal(call, *arguments):
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_all_of_the_same_network_is_taken(learned, tmp_path):
    path = saved(learned.state_dict(), tmp_path / "w.pth")
    network = resnet()
    told = load_pretrained(network, path)
    assert (told.adapted, told.new, told.unused) == ((), (), ())
    assert set(told.taken) == set(learned.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(network.eval()(x), learned(x))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_equal_channels_give_what_equal_colours_gave(learned, tmp_path, channels):
    path = saved(learned.state_dict(), tmp_path / "w.pth")
    network = resnet(channels)
    told = load_pretrained(network, path)
    assert told.adapted == ("conv1.weight",)
    grey = torch.randn(2, 1, 32, 32)
    one, three = grey.expand(-1, channels, -1, -1), grey.expand(-1, 3, -1, -1)
    assert torch.allclose(network.eval()(one), learned(three), rtol=1e-4, atol=1e-5)


def test_a_head_of_other_classes_is_begun_anew(learned, tmp_path):
    path = saved(learned.state_dict(), tmp_path / "w.pth")
    network = resnet(outputs=2, task="scalars")
    drawn = network.fc.weight.clone()
    told = load_pretrained(network, path)
    assert (told.new, told.unused) == (("fc.weight", "fc.bias"), ("fc.weight", "fc.bias"))
    assert torch.equal(network.fc.weight, drawn)
    assert torch.equal(network.layer4[1].bn2.running_var, learned.layer4[1].bn2.running_var)
    assert str(told) == (
        f"{path}: 120 tensors taken; fc.weight, fc.bias begun anew; fc.weight, fc.bias of the file not used"
    )


def test_a_layer_is_taken_as_a_whole_or_not_at_all(tmp_path):
    state = efficientnet(outputs=5).state_dict()
    state["classifier.1.bias"] = torch.ones(7)  # the weight alone would fit
    network = efficientnet(outputs=5)
    assert load_pretrained(network, saved(state, tmp_path / "w.pth")).new == (
        "classifier.1.weight",
        "classifier.1.bias",
    )


@pytest.mark.parametrize("heads", [("torchvision", "dense"), ("dense", "torchvision")])
def test_the_trunk_goes_from_one_head_to_the_other(tmp_path, heads):
    there, here = (efficientnet(head=head) for head in heads)
    told = load_pretrained(here, saved(there.state_dict(), tmp_path / "w.pth"))
    assert all(name.startswith("classifier.") for name in (*told.new, *told.unused)) and told.new
    assert all(torch.equal(a, b) for a, b in zip(here.features.parameters(), there.features.parameters()))


def test_layers_of_the_head_that_fit_are_taken(tmp_path):
    there, here = efficientnet(outputs=5, head="dense"), efficientnet(outputs=2, head="dense")
    told = load_pretrained(here, saved(there.state_dict(), tmp_path / "w.pth"))
    assert told.new == ("classifier.4.weight", "classifier.4.bias")
    assert torch.equal(here.classifier[1].weight, there.classifier[1].weight)


def test_inceptions_auxiliary_classifier_is_left_aside(tmp_path):
    def inception(**options):
        with torch.device("meta"):  # to draw 24 million weights takes longer than the test
            network = build_network("inception-v3", options, (3, 75, 75), (2,), "classify").to_empty(
                device="cpu"
            )
        network.load_state_dict(
            {name: torch.ones_like(tensor) for name, tensor in network.state_dict().items()}
        )
        return network

    path = saved(inception(aux_logits=True).state_dict(), tmp_path / "w.pth")
    told = load_pretrained(inception(), path)
    assert told.new == () and {name.split(".")[0] for name in told.unused} == {"AuxLogits"}


@pytest.mark.parametrize("wrap", ["model", "state_dict", "module.", "network."])
def test_wrapped_weights_are_found(learned, tmp_path, wrap):
    state = learned.state_dict()
    if wrap == "network.":  # weights.pt of a training
        state = {
            "input.mean": torch.zeros(3),
            "input.std": torch.ones(3),
            **{wrap + k: v for k, v in state.items()},
        }
    elif wrap == "module.":
        state = {wrap + k: v for k, v in state.items()}
    else:
        state = {wrap: state, "epoch": 3}
    network = resnet()
    assert len(load_pretrained(network, saved(state, tmp_path / "w.pt")).taken) == 122
    assert torch.equal(network.layer1[0].conv1.weight, learned.layer1[0].conv1.weight)


def test_files_without_counters_are_whole(learned, tmp_path):
    state = {k: v for k, v in learned.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert load_pretrained(resnet(), saved(state, tmp_path / "w.pt")).new == ()


def test_precision_stays_the_networks(learned, tmp_path):
    path = saved(learned.state_dict(), tmp_path / "w.pt")
    network = resnet().double()
    load_pretrained(network, path)
    assert network.conv1.weight.dtype == torch.float64
    assert torch.equal(network.conv1.weight, learned.conv1.weight.double())


def test_a_users_network_has_its_last_layer_for_a_head(tmp_path):
    def own(outputs):
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, outputs))

    there, here = own(3), own(2)
    told = load_pretrained(here, saved(there.state_dict(), tmp_path / "w.pt"))
    assert told.new == ("2.weight", "2.bias") and torch.equal(here[0].weight, there[0].weight)


def test_weights_of_another_network_name_the_first_keys(learned, tmp_path):
    path = saved(learned.state_dict(), tmp_path / "w.pt")
    told = refusal(load_pretrained, efficientnet(), path)
    assert "weights of another network" in told
    assert re.search(r"missing \(features\.0\.0\.weight, .* and \d+ more\)", told)
    assert re.search(r"unexpected \(conv1\.weight, bn1\.weight, bn1\.bias and \d+ more\)", told)


def test_another_size_of_the_same_kind_names_the_shapes(learned, tmp_path):
    path = saved(learned.state_dict(), tmp_path / "w.pt")
    network = build_network("resnet50", {}, (3, 32, 32), (5,), "classify")
    told = refusal(load_pretrained, network, path)
    assert "layer1.0.conv1.weight 64 x 64 x 3 x 3, not 64 x 64 x 1 x 1" in told
    told = refusal(load_pretrained, resnet(stem="small"), path)
    assert told.endswith("1 of another shape (conv1.weight 64 x 3 x 7 x 7, not 64 x 3 x 3 x 3)")


def test_a_refused_file_leaves_the_network_as_it_was(learned, tmp_path):
    state = learned.state_dict()
    del state["layer4.1.bn2.weight"]
    network = resnet()
    before = copy.deepcopy(network.state_dict())
    refusal(load_pretrained, network, saved(state, tmp_path / "w.pt"))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


class Own(nn.Module):
    """Pickled as a whole: reading it would run this file's code."""


def test_files_that_hold_no_weights_are_refused(learned, tmp_path):
    def written(name, data):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    whole = saved(learned.state_dict(), tmp_path / "whole.pt").read_bytes()
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    nan = learned.state_dict()
    nan["layer1.0.conv1.weight"] = torch.full_like(nan["layer1.0.conv1.weight"], torch.nan)
    for path, words in (
        (tmp_path / "nowhere.pt", "no such file"),
        (tmp_path, "no such file"),
        (written("empty.pt", b""), "empty"),
        (written("text.pt", b"these are no weights"), "cannot be read as weights"),
        (written("half.pt", whole[: len(whole) // 2]), "cannot be read as weights"),
        (tmp_path / "arrays.npz", "cannot be read as weights"),
        (saved(Own(), tmp_path / "code.pt"), "holds pickled code"),
        (saved([torch.zeros(3)], tmp_path / "list.pt"), "holds list, no table of weights"),
        (saved({"epoch": 3}, tmp_path / "epoch.pt"), "holds dict, no table of weights"),
        (saved({}, tmp_path / "nothing.pt"), "no table of weights"),
        (saved(nan, tmp_path / "nan.pt"), "layer1.0.conv1.weight holds numbers that are not finite"),
    ):
        told = refusal(load_pretrained, resnet(), path)
        assert told.startswith(f"{path}: ") and words in told, told


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_torchscript_program_is_told_apart(tmp_path):
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "program.pt"))
    assert "TorchScript" in refusal(load_pretrained, nn.Linear(2, 2), tmp_path / "program.pt")


# Freezing


def test_frozen_parts_stay_bit_for_bit(learned):
    network = copy.deepcopy(learned)
    frozen = freeze(network, ["conv1", "bn1", "layer1", "layer2.0"])
    assert frozen[0] == "conv1.weight" and "layer2.0.bn2.bias" in frozen and "layer2.1.bn2.bias" not in frozen
    before = copy.deepcopy(network.state_dict())
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        network.train()
        network(torch.randn(4, 3, 32, 32)).square().mean().backward()
        optimiser.step()
    parts = ("conv1.", "bn1.", "layer1.", "layer2.0.")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]) is name.startswith(parts), name


def test_copies_stay_frozen_too(learned):
    network = copy.deepcopy(learned)
    freeze(network, ["bn1"])
    twin = copy.deepcopy(network).train()
    twin(torch.randn(4, 3, 32, 32))
    assert torch.equal(twin.bn1.running_mean, learned.bn1.running_mean)
    assert not torch.equal(twin.layer1[0].bn1.running_mean, learned.layer1[0].bn1.running_mean)


def test_a_beginning_ends_at_a_dot():
    network = nn.Sequential(*[nn.Linear(2, 2) for _ in range(11)])
    assert freeze(network, ["1"]) == ("1.weight", "1.bias")


def test_a_beginning_that_nothing_has_is_refused(learned):
    network = copy.deepcopy(learned)
    assert "--freeze layer5: no parameter begins so; did you mean 'layer" in refusal(
        freeze, network, ["layer5"]
    )
    assert "did you mean 'layer1.1'" in refusal(freeze, network, ["layer1.11"])
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_something_must_be_left_to_learn(learned):
    network = copy.deepcopy(learned)
    parts = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
    assert "nothing is left to be learned" in refusal(freeze, network, parts)
    assert all(parameter.requires_grad for parameter in network.parameters())
