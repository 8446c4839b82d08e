"""Turn a run folder into one HTML page that a person can read, print and send.

`build` writes ``report.html`` into the folder. The modules beside this one make the page of infer runs, those in
`hpc_ds.report.ensemble` that of simulation runs, those in `hpc_ds.report.training` that of trainings, and
`hpc_ds.report.study` finds that of a study; `hpc_ds.report.frame` and `hpc_ds.report.record` are what all pages share.
Importing this package is cheap: matplotlib and rich are loaded when they draw.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from hpc_ds.report.record import kind_of
from hpc_ds.runtime.atomic import write_text

__all__ = ["PAGES", "build"]

PAGES = {
    "infer": "hpc_ds.report.page",
    "simulate": "hpc_ds.report.ensemble.page",
    "learn": "hpc_ds.report.training.page",
    "study": "hpc_ds.report.study",
}
"""The module that makes the page of each kind of run, by its function ``html(folder)``."""


def build(folder: str | Path) -> Path:
    """Write ``report.html`` into the run folder `folder` and return its path.

    Only what the run left there is read. The page replaces an older one in one step, so that a reader never meets half
    of it.

    Raises
    ------
    hpc_ds.runtime.errors.InputError
        If `folder` is no run folder, is of a kind that has no report, has no results yet, or holds a damaged file.
    """
    path = Path(folder)
    # A folder that does not say its kind is refused by any of the pages, in good words.
    page = import_module(PAGES.get(kind_of(path), PAGES["infer"]))
    text = page.html(path)
    target = path / "report.html"
    write_text(target, text)
    return target
