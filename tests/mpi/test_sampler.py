"""The answer does not depend on the number of ranks: not one bit of any draw, nor of the log evidence."""

import math

import numpy as np
import pytest

from hpc_ds.infer import priors as laws
from hpc_ds.infer.archive import Memory
from hpc_ds.infer.evidence import estimate
from hpc_ds.infer.model import Model
from hpc_ds.infer.models.spectrum import SpectrumOptions, spectrum_models
from hpc_ds.infer.sampler import Sampler
from hpc_ds.infer.settings import Settings
from hpc_ds.physics.spectra import nagata2012
from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.world import World, get_world
from hpc_ds.store.table import Table

pytestmark = pytest.mark.mpi

X = np.linspace(-1.0, 2.0, 101)
DATA = np.array([X, 0.7 * X - 0.4 + 0.3 * np.sin(77.0 * X)])
PRIORS = {
    "slope": laws.normal(0.0, 5.0),
    "intercept": laws.uniform(-10.0, 10.0),
    "noise": laws.log_uniform(0.01, 10.0),
}


def of_one(theta, data):
    """Sums that compiled and plain NumPy order differently: what restores a state must be what explored."""
    residual = data[1] - theta[0] * data[0] - theta[1]
    return -0.5 * np.sum(residual * residual) / theta[2] ** 2 - residual.size * math.log(theta[2])


def of_many(theta, data):
    """A matrix product: its rounding may depend on the number of rows."""
    residual = data[1] - theta[:, :2] @ np.stack([data[0], np.ones_like(data[0])])
    return -0.5 * (residual**2).sum(axis=1) / theta[:, 2] ** 2 - data.shape[1] * np.log(theta[:, 2])


def compiled(name="compiled", **options):
    return Model(name, PRIORS, of_one, form="compiled", data=DATA, **options)


def batched(name="batched", **options):
    return Model(name, PRIORS, of_many, form="batched", data=DATA, **options)


def python(name="python", **options):
    return Model(name, PRIORS, of_one, form="python", data=DATA, **options)


def spectra(*peaks):
    x, y, _ = nagata2012()
    table = Table(x=x, y=y, sigma=None, x_name="x", y_name="y", path="artificial")
    return spectrum_models(table, SpectrumOptions(peaks=peaks, priors="nagata2012"))


JOBS = {
    "compiled, split": ([compiled()], {"replicas": 7}),
    "compiled, ladder chosen": ([compiled()], {}),
    "compiled, slices": ([compiled()], {"replicas": 5, "moves": ("slice",)}),
    "batched, split by blocks": ([batched(block=2)], {"replicas": 9}),
    "batched, one block": ([batched(block=8)], {"replicas": 6}),
    "batched, slices": ([batched(block=3)], {"replicas": 8, "moves": ("slice", "block")}),
    "python, split": ([python()], {"replicas": 5}),
    "components, split": (spectra(2), {"replicas": 10}),
    "components, every move": (
        spectra(2),
        {"replicas": 6, "moves": ("conditional", "metropolis", "peak", "relocate", "slice", "permute")},
    ),
    "components, several models and copies": (spectra(1, 2, 3), {"copies": 2}),
    "fewer replicas than ranks": ([compiled()], {"replicas": 2}),
    "one costs more than all others": (
        [compiled("dear", cost=1.0), compiled("cheap", cost=1e-3), batched(cost=1e-3, block=2)],
        {"replicas": 6},
    ),
    "all forms in two copies": (
        [compiled(), batched(block=4), python(), *spectra(1)],
        {"copies": 2, "replicas": 5},
    ),
}


@pytest.mark.parametrize("job", JOBS)
def test_chains_are_identical_on_this_number_of_ranks_and_on_one(job):
    models, settings = JOBS[job]
    world = get_world()
    alone = sample(models, settings, World()) if world.is_root else None
    together = sample(models, settings, world)
    if world.is_root:
        assert together.keys() == alone.keys()
        for name, array in alone.items():
            assert np.array_equal(together[name], array), name


def test_another_seed_gives_other_chains():
    """The comparison above can fail."""
    world, (models, settings) = get_world(), JOBS["compiled, split"]
    one, other = (sample(models, {**settings, "seed": seed}, world) for seed in (1, 2))
    if world.is_root:
        for name in ("draws", "energies", "log_prior", "stream", "evidence"):
            assert not np.array_equal(one[f"compiled/0: {name}"], other[f"compiled/0: {name}"]), name


def test_an_ensemble_is_really_split(monkeypatch):
    """The test above would say little if every ensemble stayed on one rank."""
    from hpc_ds.infer import sampler as module

    world, shared = get_world(), []
    make_pieces = module.make_pieces

    def watched(*arguments):
        pieces = make_pieces(*arguments)
        shared.extend(piece.is_shared for piece in pieces)
        return pieces

    monkeypatch.setattr(module, "make_pieces", watched)
    models, settings = JOBS["compiled, split"]
    sample(models, settings, world)
    assert all(shared) == (world.size > 1) and world.any(bool(shared))


def sample(models, settings, world):
    """Everything that a run leaves on rank 0, by name."""
    store = Memory()
    chosen = Settings(**{"draws": 120, "tuning": 112, "sweeps": 2, **settings})
    sampler = Sampler(models, chosen, world, store, Deadline(environ={}))
    assert sampler.run()
    if not world.is_root:
        return {}
    found = {}
    for key, one in zip(sampler.keys, sampler.ensembles):
        slab = store.slabs(sampler.keys, chosen.draws)[key]
        evidence = estimate(one.tuning.beta, slab.energies)
        found |= {f"{key}: {name}": array for name, array in one.arrays().items()}
        found |= {f"{key}: {name}": getattr(slab, name) for name in ("draws", "energies", "log_prior")}
        found[f"{key}: evidence"] = np.array([evidence.log_evidence, evidence.error])
    return found
