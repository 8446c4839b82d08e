"""The time of an engine's unit of work on this machine, by a short run on one core."""

from __future__ import annotations

import time

from hpc_ds.runtime.errors import InputError


def unit(engine: str) -> tuple[float, str]:
    """Return the seconds of one unit, and what it was.

    Raises
    ------
    InputError
        The engine has none that can be timed without the user's own program.
    """
    if engine == "infer":
        return _scan(), "a replica's scan of three peaks on the published spectrum of 400 points"
    if engine == "learn":
        return _sample(), "a sample's forward and backward pass of fno (width 32, 12 modes) on 64 x 64 points"
    raise InputError(f"--measure: {engine} has no sample of its own; time one and give --unit SECONDS")


def _scan() -> float:
    from hpc_ds.infer.archive import Memory
    from hpc_ds.infer.models.spectrum import SpectrumOptions, spectrum_models
    from hpc_ds.infer.sampler import Sampler
    from hpc_ds.infer.settings import Settings
    from hpc_ds.physics.spectra import nagata2012
    from hpc_ds.runtime.deadline import Deadline
    from hpc_ds.runtime.world import World
    from hpc_ds.store.table import Table

    x, y, _ = nagata2012()
    table = Table(x=x, y=y, sigma=None, x_name="x", y_name="y", path="published")
    models = spectrum_models(table, SpectrumOptions(peaks=(3,), priors="nagata2012"))

    def seconds(draws: int) -> float:
        settings = Settings(draws=draws, tuning=16, replicas=24)
        sampler = Sampler(models, settings, World(), Memory(), Deadline(environ={}))
        begun = time.process_time()
        sampler.run()
        return time.process_time() - begun

    seconds(20)
    few, many = seconds(100), seconds(1100)
    return (many - few) / 1000 / 24


def _sample(batch: int = 16, goes: int = 3) -> float:
    import torch

    from hpc_ds.learn.networks import build_network

    torch.set_num_threads(1)
    network = build_network("fno", {"width": 32, "modes": 12}, (1, 64, 64), (1, 64, 64), "fields")
    x = torch.randn(batch, 1, 64, 64)
    found = []
    for _ in range(goes + 1):
        begun = time.process_time()
        network(x).square().mean().backward()
        found.append(time.process_time() - begun)
    return min(found[1:]) / batch
