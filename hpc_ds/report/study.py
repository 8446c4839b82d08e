"""Find the page of a study: every study has one of its own."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from hpc_ds.report.record import read_record
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
    record = read_record(path, "study")
    if not record.summary:
        state = record.state or "unknown"
        raise InputError(
            f"{path}: the study is not finished (state: {state}); run the same command again to finish it"
        )
    study = str(record.summary.get("study"))
    if study not in PAGES:
        raise InputError(f"{path / 'summary.json'}: study '{study}': {unknown(study, PAGES)}")
    return str(import_module(PAGES[study]).html(path))
