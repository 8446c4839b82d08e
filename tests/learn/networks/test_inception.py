"""Inception-v3 is torchvision's, entry by entry and number by number, and the plasma study's by its size."""

from __future__ import annotations

import pytest
import torch

from hpc_ds.learn.networks import build_network, count_parameters
from hpc_ds.runtime.errors import InputError

# First logits of torchvision 0.29.2 for the weights and images of conftest.py, in float64; then with transform_input.
LOGITS = {
    False: [[1.389943279, 0.8019460944, 0.1389295966], [1.419625947, 0.7828115861, 0.08510323993]],
    True: [[1.340213949, 0.7529010223, 0.1351997375], [1.431509192, 0.7944433124, 0.1014395149]],
}


def on_meta(options, outputs=1000):
    with torch.device("meta"):
        return build_network("inception-v3", options, (3, 299, 299), (outputs,), "classify")


def test_entries_are_torchvisions(shapes_of, torchvision_shapes):
    theirs = torchvision_shapes["inception_v3"]
    assert shapes_of("inception-v3", {"aux_logits": True}, (3, 299, 299), (1000,)) == theirs
    without = {name: shape for name, shape in theirs.items() if not name.startswith("AuxLogits.")}
    assert shapes_of("inception-v3", {}, (3, 299, 299), (1000,)) == without


def test_number_of_parameters_is_torchvisions():
    assert count_parameters(on_meta({"aux_logits": True})) == 27_161_264
    assert count_parameters(on_meta({})) == 23_834_568


def test_the_dense_head_has_the_published_number_of_parameters():
    """23,904,035 for three classes, where Keras counts running statistics and its normalisations have no scale."""
    network = on_meta({"head": "dense"}, 3)
    running = sum(b.numel() for name, b in network.named_buffers() if name.endswith(("_mean", "_var")))
    scales = sum(p.numel() for name, p in network.named_parameters() if name.endswith(".bn.weight"))
    assert count_parameters(network) - scales + running == 23_904_035
    assert count_parameters(network) - scales - count_parameters(network.fc) == 21_768_352
    assert (running, scales) == (34_432, 17_216)


@pytest.mark.parametrize("imagenet_scale", [False, True])
def test_outputs_are_torchvisions(imagenet_scale, patterned, waves):
    # patterned: the pattern goes by the entries' numbers in order, of which AuxLogits' are the first.
    options = {"aux_logits": True, "imagenet_scale": imagenet_scale}
    network = patterned(build_network("inception-v3", options, (3, 96, 96), (1000,), "classify"))
    with torch.no_grad():
        found = network(waves(96))[:, :3]
    assert torch.allclose(found, torch.tensor(LOGITS[imagenet_scale], dtype=torch.float64), rtol=1e-6)


def test_the_auxiliary_classifier_is_kept_but_not_trained():
    network = build_network("inception-v3", {"aux_logits": True}, (1, 75, 75), (2,), "classify")
    frozen = {name.split(".")[0] for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {"AuxLogits"}
    with pytest.raises(InputError, match="without the option aux_logits"):
        build_network("inception-v3", {}, (1, 75, 75), (2,), "classify").with_auxiliary(
            torch.zeros(1, 1, 75, 75)
        )


def test_the_smallest_image_ends_as_one_point():
    network = build_network("inception-v3", {}, (1, 75, 75), (2,), "classify").eval()
    shapes = []
    network.Mixed_7c.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    with torch.no_grad():
        network(torch.zeros(1, 1, 75, 75))
    assert shapes == [(1, 2048, 1, 1)]
