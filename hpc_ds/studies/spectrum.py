"""How many peaks does the published artificial spectrum show? Three made its 301 points, noise 0.1."""

from __future__ import annotations

from typing import Any

from hpc_ds.infer.model import Model
from hpc_ds.infer.models.spectrum import SpectrumOptions, spectrum_models
from hpc_ds.physics.spectra import nagata2012
from hpc_ds.store.table import Table

REFERENCE_FREE_ENERGY = {1: -49.204, 2: -147.575, 3: -244.208, 4: -243.968, 5: -242.180}
"""F(K) = -log evidence of the published data, from an independent C code (two seeds, means of both estimators)."""

_DRAWS = {"quick": 20_000, "full": 200_000}


def settings(scale: str) -> dict[str, Any]:
    """Return the sampler's settings for ``quick`` (a minute or two on two cores) or ``full``."""
    return {"draws": _DRAWS[scale], "tuning": 2_000 if scale == "quick" else 10_000}


def data() -> Table:
    """Return the published data set, made by its published recipe."""
    spectrum = nagata2012(0)
    return Table(
        x=spectrum.x,
        y=spectrum.y,
        sigma=None,
        x_name="x",
        y_name="y",
        path="published artificial spectrum (seed 0)",
    )


def models() -> list[Model]:
    """Return K = 1 to 5 peaks with the published priors and the known noise 0.1."""
    return spectrum_models(data(), SpectrumOptions(peaks=(1, 2, 3, 4, 5), priors="nagata2012", noise=0.1))
