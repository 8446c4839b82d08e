"""What tests of the sampler share: sums of components built by hand, and a sampler that runs to its end."""

import importlib.util
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from hpc_ds.infer import priors as laws
from hpc_ds.infer.priors import Prior

PEAK_FIELDS = {
    "gaussian": ("amplitude", "position", "width"),
    "gaussian_precision": ("amplitude", "position", "precision"),
    "lorentzian": ("amplitude", "position", "width"),
    "pseudo_voigt": ("amplitude", "position", "width", "mixing"),
}
BACKGROUND_FIELDS = {
    "none": (),
    "constant": ("background_level",),
    "linear": ("background_level", "background_slope"),
    "exponential": ("background_amplitude", "background_decay"),
    "shirley": ("background_low", "background_step"),
}
PRIORS: Mapping[str, Prior] = {
    "amplitude": laws.gamma(4.0, 2.0),
    "position": laws.normal(1.5, 0.4),
    "width": laws.gamma(8.0, 16.0),
    "precision": laws.gamma(5.0, 0.25),
    "mixing": laws.beta(1.5, 2.0),
    "background_level": laws.uniform(3.0, 8.0),
    "background_slope": laws.uniform(-1.5, 1.5),
    "background_amplitude": laws.truncated_normal(5.0, 2.0, 2.0, 9.0),
    "background_decay": laws.lognormal(0.5, 0.4),
    "background_low": laws.uniform(0.5, 2.5),
    "background_step": laws.half_normal(1.0),
    "noise": laws.lognormal(-0.5, 0.3),
}


class Spectrum(NamedTuple):
    """A sum of components in the form of the kernels, with the names and priors of its parameters."""

    problem: object
    priors: dict[str, Prior]


@pytest.fixture(scope="session")
def make_spectrum():
    """Build a sum of peaks: `make_spectrum("gaussian", 2, "linear", "known", x, y, sigma=0.5, ordered=True)`.

    `noise` is known, estimated or poisson; `priors` replaces the default prior of a field (``"position"``)
    or of one parameter (``"position[1]"``).
    """
    return _make_spectrum


@pytest.fixture(scope="session")
def geweke(make_spectrum):
    """Return the module geweke.py, which tests in importlib mode cannot import."""
    spec = importlib.util.spec_from_file_location("geweke", Path(__file__).with_name("geweke.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["geweke"] = module  # numba looks its functions up there
    spec.loader.exec_module(module)
    module.make_spectrum = make_spectrum
    return module


class Sampled(NamedTuple):
    """One ladder of one model after a run: names in `hpc_ds.infer`."""

    ensemble: object
    slab: object
    evidence: object


@pytest.fixture(scope="session")
def run_sampler():
    """Sample models to the end: `run_sampler([model], draws=1000, tuning=256)` returns `Sampled` by name and copy.

    On one rank, whatever launched the tests.
    """
    from hpc_ds.infer.archive import Memory
    from hpc_ds.infer.evidence import estimate
    from hpc_ds.infer.sampler import Sampler
    from hpc_ds.infer.settings import Settings
    from hpc_ds.runtime.deadline import Deadline
    from hpc_ds.runtime.world import World

    def run(models, **settings):
        store = Memory()
        sampler = Sampler(models, Settings(**settings), World(), store, Deadline(environ={}))
        assert sampler.run()
        slabs = store.slabs(sampler.keys, sampler.settings.draws)
        return {
            key: Sampled(one, slabs[key], estimate(one.tuning.beta, slabs[key].energies))
            for key, one in zip(sampler.keys, sampler.ensembles)
        }

    return run


def _make_spectrum(
    shape: str,
    peaks: int,
    background: str,
    noise: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    sigma: float | np.ndarray = 1.0,
    ordered: bool = False,
    priors: Mapping[str, Prior] | None = None,
) -> Spectrum:
    from hpc_ds.infer.kernels import components as c

    chosen = {**PRIORS, **(priors or {})}
    names = [f"{field}[{k + 1}]" for k in range(peaks) for field in PEAK_FIELDS[shape]]
    names += [*BACKGROUND_FIELDS[background], *(["noise"] if noise == "estimated" else [])]
    own = {name: chosen.get(name, chosen[name.partition("[")[0]]) for name in names}
    kinds, first, owner = _components(shape, peaks, background, names)
    follows, precedes = _neighbours(names, [f"position[{k + 1}]" for k in range(peaks if ordered else 0)])
    encoded = [prior.encode() for prior in own.values()]
    x, y, weight, offset = _points(noise, x, y, sigma)
    problem = c.Problem(
        x=x,
        y=y,
        weight=weight,
        points=int(np.count_nonzero(weight)),
        centre=float(x.mean()),
        offset=offset,
        likelihood={"known": c.KNOWN, "estimated": c.ESTIMATED, "poisson": c.POISSON}[noise],
        noise=names.index("noise") if noise == "estimated" else -1,
        shirley=names.index("background_low") if background == "shirley" else -1,
        kind=np.array(kinds, dtype=np.int64),
        first=np.array(first, dtype=np.int64),
        owner=np.array(owner, dtype=np.int64),
        family=np.array([code for code, _ in encoded], dtype=np.int64),
        prior=np.array([row for _, row in encoded]),
        follows=follows,
        precedes=precedes,
    )
    return Spectrum(problem, own)


def _components(shape: str, peaks: int, background: str, names: Sequence[str]):
    from hpc_ds.infer.kernels import components as c

    kinds = [getattr(c, shape.upper())] * peaks
    first = [names.index(f"amplitude[{k + 1}]") for k in range(peaks)]
    owner = [k for k in range(peaks) for _ in PEAK_FIELDS[shape]]
    if background in ("constant", "linear"):
        kinds.append(c.CONSTANT)
        first.append(names.index("background_level"))
        owner.append(peaks)
    if background == "linear":
        kinds.append(c.SLOPE)
        first.append(names.index("background_slope"))
        owner.append(peaks + 1)
    if background == "exponential":
        kinds.append(c.EXPONENTIAL)
        first.append(names.index("background_amplitude"))
        owner += [peaks, peaks]
    return kinds, first, owner + [-1] * (len(names) - len(owner))


def _neighbours(names: Sequence[str], group: Sequence[str]):
    follows = np.full(len(names), -1, dtype=np.int64)
    precedes = follows.copy()
    for lower, upper in itertools.pairwise(group):
        follows[names.index(upper)] = names.index(lower)
        precedes[names.index(lower)] = names.index(upper)
    return follows, precedes


def _points(noise: str, x: np.ndarray, y: np.ndarray, sigma: float | np.ndarray):
    """Pad the data to whole blocks; the offset makes the log-likelihood normalised."""
    from scipy.special import gammaln

    from hpc_ds.infer.kernels.vector import BLOCK

    n = len(x)
    sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float64), (n,))
    padding = (0, -n % BLOCK)
    offset = -0.5 * n * np.log(2.0 * np.pi)
    weight = np.ones(n)
    if noise == "known":
        weight = sigma**-2.0
        offset -= float(np.log(sigma).sum())
    if noise == "poisson":
        offset = -float(gammaln(y + 1.0).sum())
    return np.pad(x, padding, "edge"), np.pad(y, padding), np.pad(weight, padding), offset
