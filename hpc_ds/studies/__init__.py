"""Studies: published work that one command reproduces, with its reference figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StudyCard:
    """What `hpc-ds studies` shows of a study; its module is imported only when it runs."""

    title: str
    source: str
    module: str
    reference: tuple[str, ...]
    """Figures to compare with, a line each."""


SCALES = ("quick", "full")
"""quick: minutes on two cores; full: the published size."""


def default_folder(study: str, scale: str) -> str:
    """Return the run folder of a study for which the user names none: scales do not share one."""
    return f"runs/{study}" if scale == SCALES[0] else f"runs/{study}-{scale}"


STUDIES = {
    "spectrum": StudyCard(
        title="How many peaks has the artificial spectrum? Exchange Monte Carlo, K = 1 to 5",
        source="Nagata, Sugita & Okada, Neural Networks 28 (2012) 82",
        module="hpc_ds.studies.spectrum",
        reference=(
            "log evidence, K = 1..5: 49.20, 147.58, 244.21, 243.97, 242.18 (independent C code, noise 0.1)",
            "probability, K = 3, 4, 5: 0.52, 0.41, 0.07",
            "true peaks: position 1.210, 1.455, 1.703; amplitude 0.587, 1.522, 1.183; precision 95.7, 146.8, 164.5",
        ),
    ),
    "noise-copies": StudyCard(
        title="What noise copies do to a small network: copies, jitter of weights, dropout",
        source="slides after Fujimoto, Fukushima & Murase, arXiv:2101.08156; function, noise and optimiser are ours",
        module="hpc_ds.studies.noise_copies.chain",
        reference=(
            "parameters of 1-2-2-1, 1-4-4-1, 1-9-9-1: 13, 33, 118",
            "said: 100 copies better than 1; bias jitter = input noise; dropout alike; sigmoid better; "
            "one hidden layer sticks",
        ),
    ),
    "neutron-star": StudyCard(
        title="From observed neutron stars to the equation of state: networks beside the exact posterior",
        source="Fujimoto, Fukushima & Murase, PRD 98 (2018) 023019 and PRD 101 (2020) 054016",
        module="hpc_ds.studies.neutron_star.chain",
        reference=(
            "RMS error of the radius at 0.6, 0.8, ... 1.8 solar masses, 15 stars of 0.1 Msun and 0.5 km: "
            "0.16 0.12 0.10 0.099 0.11 0.11 0.12 km",
            "parameters of the networks 30-60-40-40-5 and 56-60-40-40-5: 6145, 7705",
        ),
    ),
}
"""Every study by its name."""
