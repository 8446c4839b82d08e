"""Read what the study of noise copies left in its run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from hpc_ds.report.record import Record, finished_study
from hpc_ds.runtime.errors import InputError

Entry = Mapping[str, Any]
"""One item of ``summary["variants"]``."""


@dataclass(frozen=True)
class Comparison(Record):
    """A finished study."""

    curves: Mapping[str, np.ndarray]
    """``results.npz``: x, truth, points, values and ``prediction/NAME`` of each variant."""

    @property
    def variants(self) -> Sequence[Entry]:
        """All variants, in the order in which they were listed."""
        return self.summary["variants"]

    @property
    def claims(self) -> Sequence[Mapping[str, Any]]:
        """What is said of the variants, and how the comparison came out."""
        return self.summary["claims"]

    @property
    def main(self) -> list[Entry]:
        """The variants of the network that is compared in every way, at one strength of noise."""
        chosen = [one for one in self.variants if one["network"] == self.summary["main"]]
        usual = {one["treatment"]: one["amount"] for one in reversed(chosen)}
        return [one for one in chosen if one["amount"] == usual[one["treatment"]]]

    @cached_property
    def gains(self) -> Mapping[str, Mapping[str, Any]]:
        """Each variant against the same network without noise, by name."""
        return {one["variant"]: one for one in self.summary["gains"]}

    def find(self, network: str, treatment: str, copies: int = 0) -> Entry | None:
        """Return the first variant that is so; None where there is none."""
        wanted = (network, treatment, copies)
        found = (one for one in self.variants if (one["network"], one["treatment"], one["copies"]) == wanted)
        return next(found, None)

    def prediction(self, one: Entry) -> np.ndarray:
        """Return the answers (seeds, grid) of a variant."""
        return self.curves[f"prediction/{one['name']}"]


def load(folder: Path) -> Comparison:
    """Read the study in `folder`.

    Raises
    ------
    InputError
        It is no run folder of this study, is not finished, or holds a damaged file.
    """
    record = finished_study(folder)
    file = record.folder / "results.npz"
    try:
        with np.load(file, allow_pickle=False) as found:
            curves = {name: found[name] for name in found.files}
    except (OSError, BadZipFile, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give the study's command again") from error
    return Comparison(**vars(record), curves=curves)
