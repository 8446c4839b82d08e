"""Tell TensorBoard how a training goes, where the package tensorboard is installed."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

_SILENT = frozenset({"epoch", "step"})
"""Entries of a record that say when it is, not how it goes."""


class Events:
    """Writes one point a curve and epoch into TensorBoard's event files; does nothing without that package.

    Parameters
    ----------
    folder : str or Path
        Where the event files go; made when the first point is written.

    Examples
    --------
    >>> events = Events("runs/fno/events")                                              # doctest: +SKIP
    >>> events.epoch({"epoch": 1, "train_loss": 0.3, "valid": {"relative_l2": 0.2}})    # doctest: +SKIP
    >>> events.close()                                                                  # doctest: +SKIP
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = os.fspath(folder)
        self._writer: Any = None
        self._wanted = importlib.util.find_spec("tensorboard") is not None

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Write the numbers of one epoch's `record` (see ``history.json``) as points at ``record["epoch"]``.

        A table within it gives curves such as ``valid/relative_l2``; what is no number is left out.
        """
        try:
            writer = self._opened()
            if writer is not None:
                for name, value in _numbers(record):
                    writer.add_scalar(name, value, int(record["epoch"]))
                writer.flush()
        except (
            ImportError,
            OSError,
        ):  # half an installation, a full disk: a training does not end for its logs
            self._wanted, self._writer = False, None

    def close(self) -> None:
        """Write what is left; may be called twice."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _opened(self) -> Any:
        if self._writer is None and self._wanted:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(self._folder)
        return self._writer


def _numbers(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, Real) and not isinstance(value, bool) and key not in _SILENT:
            yield f"{prefix}{key}", float(value)
