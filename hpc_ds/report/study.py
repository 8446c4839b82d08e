"""Find the page of a study: every study has one of its own."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from hpc_ds.report.record import finished_study
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown

__all__ = ["PAGES", "html"]

PAGES = {
    "neutron-star": "hpc_ds.report.neutron_star.page",
    "noise-copies": "hpc_ds.report.noise_copies",
}
"""The module that makes the page of each study, by its function ``html(folder)``."""


def html(folder: Path) -> str:
    """Return the page for the study in `folder`.

    Raises
    ------
    InputError
        It is no run folder of a study, is not finished, is of a study that has no page, or holds a damaged file.
    """
    path = Path(folder)
    study = str(finished_study(path).summary.get("study"))
    if study not in PAGES:
        raise InputError(f"{path / 'summary.json'}: study '{study}': {unknown(study, PAGES)}")
    return str(import_module(PAGES[study]).html(path))
