import numpy as np
import pytest
import torch

from hpc_ds.studies.noise_copies.network import STANDARD, Jitter
from hpc_ds.studies.noise_copies.noise import TOGETHER, Noise
from hpc_ds.studies.noise_copies.problem import POINTS
from hpc_ds.studies.noise_copies.variants import (
    ALL_LAYERS,
    BIAS,
    COPIES,
    DROPOUT,
    EVERY,
    FIRST_LAYER,
    FRESH,
    LARGE,
    NOISE,
    NONE,
    Variant,
)

UNITS = (0, 1, 2)


def noise(treatment, units=UNITS, seed=4):
    return Noise(Variant(LARGE, treatment), seed, units)


def parts(jitter: Jitter):
    found = [jitter.inputs, *jitter.shifts, *jitter.factors, jitter.kept]
    return [one for one in found if one is not None]


@pytest.mark.parametrize("treatment", EVERY, ids=lambda one: one.name)
def test_a_units_noise_does_not_depend_on_its_company_nor_on_the_order_of_steps(treatment):
    together, alone = noise(treatment), noise(treatment, units=[2])
    forwards = [parts(together.at(step)) for step in range(2 * TOGETHER)]
    for step in (2 * TOGETHER - 1, 3, TOGETHER):
        for whole, one in zip(forwards[step], parts(alone.at(step)), strict=True):
            assert torch.equal(whole[2:], one)


@pytest.mark.parametrize("treatment", EVERY[1:], ids=lambda one: one.name)
def test_units_seeds_and_treatments_have_noise_of_their_own(treatment):
    here, other = parts(noise(treatment).at(0))[-1], parts(noise(treatment, seed=5).at(0))[-1]
    assert not torch.equal(here[0], here[1])
    assert not torch.equal(here, other)


def test_training_without_noise_is_not_disturbed():
    assert parts(noise(NONE).at(17)) == []


def test_fixed_copies_come_back_and_fresh_noise_does_not():
    copies, fresh = noise(COPIES[1]), noise(FRESH)
    assert torch.equal(copies.at(3).inputs, copies.at(13).inputs)
    assert not torch.equal(copies.at(3).inputs, copies.at(4).inputs)
    assert not torch.equal(fresh.at(3).inputs, fresh.at(13).inputs)
    assert torch.equal(noise(COPIES[0]).at(0).inputs, noise(COPIES[0]).at(999).inputs)


def test_a_hundred_copies_are_a_hundred_different_ones_with_the_noise_asked_for():
    copies = noise(COPIES[2])
    values = torch.stack([copies.at(step).inputs for step in range(100)]).numpy()
    assert values.shape == (100, len(UNITS), POINTS)
    assert len(np.unique(values)) == values.size
    assert values.std() == pytest.approx(STANDARD * NOISE, rel=0.04)  # four standard errors of 6000 draws
    assert abs(values.mean()) < 4 * STANDARD * NOISE / values.size**0.5


@pytest.mark.parametrize(
    ("treatment", "shifts", "factors"),
    [
        (BIAS, [(3, 1)], []),
        (FIRST_LAYER, [(3, 1)], [(3, 9, 1)]),
        (ALL_LAYERS, [(3, 1), (3, 9), (3, 9)], [(3, 9, 1), (3, 9, 9), (3, 1, 9)]),
    ],
    ids=lambda one: getattr(one, "name", None),
)
def test_jitter_reaches_the_layers_that_it_names(treatment, shifts, factors):
    jitter = noise(treatment).at(0)
    assert [tuple(one.shape) for one in jitter.shifts] == shifts
    assert [tuple(one.shape) for one in jitter.factors] == factors
    assert jitter.inputs is None and jitter.kept is None


def test_dropout_silences_a_tenth_and_keeps_the_mean():
    masks = noise(DROPOUT)
    kept = torch.stack([masks.at(step).kept for step in range(50)]).numpy()
    assert set(np.unique(kept)) == {0.0, 1 / 0.9}
    assert (kept == 0).mean() == pytest.approx(0.1, abs=4 * (0.09 / kept.size) ** 0.5)
