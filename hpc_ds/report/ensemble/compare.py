"""Two simulation runs side by side: the same samples, the same bytes, and where not, how far apart."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_ds.report import wording
from hpc_ds.report.ensemble.reader import Ensemble, load
from hpc_ds.store.layout import Layout


@dataclass(frozen=True)
class Difference:
    """How far one field differs between two runs, over the samples that both have."""

    field: str
    largest: float
    """Largest absolute difference of two values."""
    sample: int
    """Where it is."""
    scale: float
    """Largest absolute value of the field in the samples that were compared."""


def compare(first: str | Path, second: str | Path) -> str:
    """Return the comparison of two simulation runs as a table in plain text.

    Samples are compared by their checksums; only those that differ are read.

    Raises
    ------
    InputError
        One of them is no simulation run.
    """
    runs = load(first), load(second)
    lines = [f"{'':24} {'first':>22} {'second':>22}"]
    lines += [_row(label, [tell(run) for run in runs]) for label, tell in _FACTS]
    lines += ["", *_designs(*runs), *_files(*runs), *_samples(*runs)]
    return "\n".join(lines)


def differences(first: Ensemble, second: Ensemble, indices: Sequence[int]) -> list[Difference]:
    """Read the samples `indices` of two runs of one layout and return the largest difference of each field.

    Samples that one of the runs holds damaged are left out.
    """
    assert first.layout is not None
    largest = {item.name: (0.0, -1) for item in first.layout.fields}
    scale = dict.fromkeys(largest, 0.0)
    for index, one, two in _pairs(first, second, first.layout, indices):
        for name in largest:
            a, b = one[name].astype(np.float64), two[name].astype(np.float64)
            distance = float(np.max(np.abs(a - b)))
            scale[name] = max(scale[name], float(np.max(np.abs(a))), float(np.max(np.abs(b))))
            if distance > largest[name][0]:
                largest[name] = (distance, index)
    return [Difference(name, *found, scale[name]) for name, found in largest.items()]


def _pairs(
    first: Ensemble, second: Ensemble, layout: Layout, indices: Sequence[int]
) -> Iterator[tuple[int, dict[str, np.ndarray], dict[str, np.ndarray]]]:
    from hpc_ds.store.moments import Moments
    from hpc_ds.store.shard import DamagedRow
    from hpc_ds.store.sources import SourceReader

    assert first.sources is not None and second.sources is not None
    one, two = (
        {item.name: np.empty(layout.shape(item.name), np.float32) for item in layout.fields} for _ in range(2)
    )
    unused = np.empty((Moments(layout).channels, 2))
    with SourceReader(first.sources, layout) as left, SourceReader(second.sources, layout) as right:
        for index in indices:
            try:
                left.read_into(index, one, unused)
                right.read_into(index, two, unused)
            except DamagedRow:
                continue
            yield index, one, two


def _designs(first: Ensemble, second: Ensemble) -> list[str]:
    """Say whether the samples that both designs have are the same points."""
    if first.design is None or second.design is None:
        return []
    ours, theirs = first.design, second.design
    if list(ours.columns) != list(theirs.columns):
        return [f"design: other parameters: {', '.join(ours.columns)}; {', '.join(theirs.columns)}"]
    common = min(ours.n, theirs.n)
    for name, values in ours.columns.items():
        apart = np.flatnonzero(values[:common] != theirs.columns[name][:common])
        if apart.size:
            index = int(apart[0])
            return [
                f"design: differs in {apart.size} of {common} samples, first in sample {index}: "
                f"{name} = {values[index]} and {theirs.columns[name][index]}"
            ]
    return [f"design: the same, {common} samples in both"]


def _files(first: Ensemble, second: Ensemble) -> list[str]:
    """Say which files of the training sets are equal, byte for byte."""
    if not (first.splits and second.splits):
        return []
    ours, theirs = (
        {file.relative_to(run.folder) for split in run.splits for file in split.files}
        for run in (first, second)
    )
    common = sorted(ours & theirs)
    equal = [name for name in common if filecmp.cmp(first.folder / name, second.folder / name, shallow=False)]
    alone = len(ours ^ theirs)
    lines = [f"data files: {len(equal)} of {len(common)} equal byte for byte"]
    lines += [f"  differs: {name}" for name in common if name not in equal]
    return lines + ([f"  only in one of them: {alone}"] if alone else [])


def _samples(first: Ensemble, second: Ensemble) -> list[str]:
    """Say how many samples both have, how many of these are equal, and how far the others are apart."""
    if first.sources is None or second.sources is None or first.layout is None or second.layout is None:
        return []
    ours, theirs = (run.sources.indices for run in (first, second) if run.sources is not None)
    common = np.intersect1d(ours, theirs).tolist()
    lines = [
        f"samples in both: {len(common)}, only in the first: {ours.size - len(common)}, "
        f"only in the second: {theirs.size - len(common)}"
    ]
    if _shapes(first.layout) != _shapes(second.layout):
        return [*lines, f"fields: {_shapes(first.layout)}; {_shapes(second.layout)}: cannot be compared"]
    apart = [index for index in common if first.sources.crc(index) != second.sources.crc(index)]
    lines.append(f"equal, bit for bit: {len(common) - len(apart)} of {len(common)}")
    return lines + (_told(differences(first, second, apart)) if apart else [])


def _told(found: Sequence[Difference]) -> list[str]:
    lines = [f"{'largest difference':24} {'absolute':>14} {'of the largest value':>22} {'sample':>8}"]
    for item in found:
        share = wording.quantity(item.largest / item.scale) if item.scale else "–"
        place = str(item.sample) if item.largest else "–"
        lines.append(f"{item.field:24} {wording.quantity(item.largest):>14} {share:>22} {place:>8}")
    return lines


def _shapes(layout: Layout) -> str:
    return ", ".join(f"{item.name} {layout.shape(item.name)}" for item in layout.fields)


def _row(label: str, cells: Sequence[str]) -> str:
    return f"{label:24} {wording.clipped(cells[0], 22):>22} {wording.clipped(cells[1], 22):>22}".rstrip()


_FACTS: tuple[tuple[str, Callable[[Ensemble], str]], ...] = (
    ("simulator", lambda run: run.simulator),
    ("state", lambda run: run.state or "–"),
    ("samples asked", lambda run: str(run.asked)),
    ("done", lambda run: str(len(run.done))),
    ("failed", lambda run: str(len(run.failures))),
    ("design", lambda run: Path(str(run.settings.get("design", "–"))).name),
    ("seed", lambda run: str(run.settings.get("seed", "–"))),
)
