"""Check a training set: The Well's rules for every file, its values, and for our own sets that nothing is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.store.check_format import check_format
from hpc_ds.store.check_values import check_values, pseudo_layout
from hpc_ds.store.design_file import FILE as DESIGN
from hpc_ds.store.design_file import Design, read_design
from hpc_ds.store.finding import Finding, Severity, listed
from hpc_ds.store.journal import Journals
from hpc_ds.store.moments import Moments
from hpc_ds.store.split import SPLITS, hashed
from hpc_ds.store.swap import DATA, NEXT, OLD, PART
from hpc_ds.store.training_set import check_kin, read_statistics
from hpc_ds.store.well_file import SUFFIXES, Header, data_files, read_header, read_own, words

# Relative to the standard deviation: ours are exact but for the order of sums, others were made in single precision.
_OWN_TOLERANCE = 1e-9
_TOLERANCE = 1e-3
# The Well's reader divides by no less.
_LEAST_STD = 1e-4


def check(folder: str | os.PathLike[str], *, values: bool = True) -> list[Finding]:
    """Check a training set in The Well's layout, ours or anybody's.

    Parameters
    ----------
    folder : str or Path
        Holds ``data/{train,valid,test}/*.h5`` and ``stats.yaml``.
    values : bool
        Read all values: what is not finite, frames that do not change, checksums, statistics. It takes as long as
        reading the files.

    Returns
    -------
    list of Finding
        Errors and warnings; empty if all is well.

    Raises
    ------
    InputError
        There is no data file at all.
    """
    root = Path(folder)
    files = {split: data_files(root, split) for split in SPLITS}
    if not any(files.values()):
        raise InputError(
            f"{root}: no data files in {', '.join(f'{DATA}/{split}' for split in SPLITS)}; is it merged?"
        )
    findings = list(_strange_places(root))
    headers: dict[str, list[Header]] = {split: [] for split in SPLITS}
    for split, paths in files.items():
        for path in paths:
            found = check_format(path, _place(root, path))
            findings += found
            if not any(finding.severity == "error" for finding in found):
                headers[split].append(read_header(path))
    everything = [header for each in headers.values() for header in each]
    findings += _kinship(root, everything)
    readable = not any(finding.severity == "error" for finding in findings)
    findings += _own_findings(root, headers)
    if readable and values:
        findings += _value_findings(root, headers)
    elif values:
        findings.append(Finding("warning", DATA, "the values were not checked: mend the errors first"))
    return findings


def _strange_places(root: Path) -> Iterator[Finding]:
    for name in (PART, NEXT, OLD):
        if (root / name).exists():
            yield Finding("warning", name, "a merge was interrupted; hpc-ds merge finishes it")
    for path in sorted((root / DATA).iterdir()):
        if path.name not in SPLITS:
            yield Finding(
                "warning", _place(root, path), f"is none of {', '.join(SPLITS)}: no reader looks at it"
            )
    for split in SPLITS:
        if not data_files(root, split):
            yield Finding("warning", f"{DATA}/{split}", "there are no samples in this split")
        for path in sorted((root / DATA / split).glob("*")):
            if path.suffix not in SUFFIXES:
                yield Finding(
                    "warning",
                    _place(root, path),
                    f"ends with none of {', '.join(SUFFIXES)}: not read",
                )


def _kinship(root: Path, headers: Sequence[Header]) -> Iterator[Finding]:
    for header in headers[1:]:
        try:
            check_kin(headers[0], header)
        except InputError as error:
            place = _place(root, header.path)
            yield Finding("error", place, str(error).removeprefix(f"{header.path}: "))
        if header.steps != headers[0].steps:
            yield Finding(
                "warning",
                _place(root, header.path),
                f"has {header.steps} times; the first file has {headers[0].steps}",
            )


# Of our own sets


def _own_findings(root: Path, headers: Mapping[str, Sequence[Header]]) -> Iterator[Finding]:
    """Check design indices: in order, once, in their split, and none missing."""
    indices: dict[str, NDArray[np.int64]] = {}
    for split, each in headers.items():
        found = [read_own(header.path, "design_index") for header in each]
        if any(one is None or len(one) != header.samples for one, header in zip(found, each)):
            if any(one is not None for one in found):
                yield Finding(
                    "error", f"{DATA}/{split}", "some files do not say of which design their samples are"
                )
            return
        indices[split] = np.concatenate([np.empty(0, np.int64), *(one for one in found if one is not None)])
        if (np.diff(indices[split]) <= 0).any():
            yield Finding("error", f"{DATA}/{split}", "its samples are not in the order of the design")
    everything = np.concatenate(list(indices.values()))
    twice = {int(index) for index, count in zip(*np.unique(everything, return_counts=True)) if count > 1}
    if twice:
        yield Finding("error", DATA, f"samples {listed(twice)} of the design are there more than once")
    yield from _splits(indices)
    yield from _twins(headers, everything)
    if (root / DESIGN).exists():
        design = read_design(root)
        yield from _missing(root, design, set(everything.tolist()))
        yield from _parameters(root, headers, design, indices)


def _splits(indices: Mapping[str, NDArray[np.int64]]) -> Iterator[Finding]:
    """Check that there are fractions that lead to these splits."""
    highest = -1.0
    for split, chosen in indices.items():
        numbers = hashed(chosen)
        wrong = chosen[numbers < highest]
        if len(wrong):
            yield Finding(
                "error", f"{DATA}/{split}", f"samples {listed(wrong.tolist())} belong to an earlier split"
            )
        highest = max(highest, *numbers.tolist(), -1.0)


def _twins(headers: Mapping[str, Sequence[Header]], everything: NDArray[np.int64]) -> Iterator[Finding]:
    """Remark on samples that are the same, bit for bit: the simulator may not use its parameters."""
    crcs, moments = (_own_rows(headers, name) for name in ("crc32", "moments"))
    if crcs is None or moments is None or not len(crcs) == len(moments) == len(everything):
        return
    _, inverse, counts = np.unique(crcs, return_inverse=True, return_counts=True)
    alike: dict[tuple[int, bytes], list[int]] = {}
    # Among a hundred thousand samples some have the checksum of another by chance, but not its moments.
    for row in np.flatnonzero(counts[inverse] > 1):
        alike.setdefault((int(crcs[row]), moments[row].tobytes()), []).append(int(everything[row]))
    twins = [same for same in alike.values() if len(same) > 1]
    if twins:
        yield Finding(
            "warning",
            DATA,
            f"{sum(map(len, twins))} samples equal another one, bit for bit, such as {listed(twins[0])} of the design",
        )


def _own_rows(headers: Mapping[str, Sequence[Header]], name: str) -> NDArray[Any] | None:
    """Return an own array of all files one after another; None if there is no file, or one that lacks it."""
    found = [read_own(header.path, name) for each in headers.values() for header in each]
    known = [one for one in found if one is not None]
    return np.concatenate(known) if found and len(known) == len(found) else None


def _missing(root: Path, design: Design, there: set[int]) -> Iterator[Finding]:
    failed = Journals.read(root).failed.keys()
    missing = set(range(design.n)) - there - failed
    if missing:
        message = f"{len(missing)} of {design.n} samples are neither there nor failed: {listed(missing)}"
        yield Finding("error", DATA, message)
    strange = {index for index in there if not 0 <= index < design.n}
    if strange:
        yield Finding("error", DATA, f"samples {listed(strange)} are beyond the design of {design.n}")


def _parameters(
    root: Path,
    headers: Mapping[str, Sequence[Header]],
    design: Design,
    indices: Mapping[str, NDArray[np.int64]],
) -> Iterator[Finding]:
    """Check that the parameters of the samples are those of the design."""
    for split, each in headers.items():
        start = 0
        for header in each:
            chosen = indices[split][start : start + header.samples]
            start += header.samples
            inside = (chosen >= 0) & (chosen < design.n)
            with h5py.File(header.path, "r") as file:
                for name in header.parameters:
                    if name in design.columns and f"scalars/{name}" in file:
                        dataset = file[f"scalars/{name}"]
                        wanted = _numbers(design.columns[name], words(dataset.attrs.get("choices", [])))
                        wrong = chosen[inside][dataset[inside] != wanted[chosen[inside]]]
                        if len(wrong):
                            message = f"differs from the design, for samples {listed(wrong.tolist())}"
                            yield Finding("error", f"{_place(root, header.path)}: scalars/{name}", message)


def _numbers(column: NDArray[Any], choices: Sequence[str]) -> NDArray[np.float32]:
    if column.dtype.kind in "biuf":
        return column.astype(np.float32)
    codes = {word: code for code, word in enumerate(choices)}
    return np.array([codes.get(str(word), -1) for word in column], dtype=np.float32)


# Values


def _value_findings(root: Path, headers: Mapping[str, Sequence[Header]]) -> Iterator[Finding]:
    moments: dict[str, list[NDArray[np.float64]]] = {split: [] for split in SPLITS}
    complete = True
    for split, each in headers.items():
        for header in each:
            findings, found = check_values(header, _place(root, header.path))
            yield from findings
            if found is None or not np.isfinite(found).all():
                complete = False
            else:
                moments[split].append(found)
    if complete:
        chosen = moments["train"] or [one for each in moments.values() for one in each]
        first = next(header for each in headers.values() for header in each)
        own = read_own(first.path, "design_index") is not None
        yield from _statistics(root, first, np.concatenate(chosen), own)


def _statistics(root: Path, header: Header, moments: NDArray[np.float64], own: bool) -> Iterator[Finding]:
    """Compare stats.yaml with the statistics of the training samples."""
    place = "stats.yaml"
    layout = pseudo_layout(header)
    try:
        stated = read_statistics(root / place)
    except InputError as error:
        yield Finding("error", place, str(error).removeprefix(f"{root / place}: "))
        return
    assert layout is not None  # there are moments
    right = Moments(layout).stats(moments)
    severity: Severity = "error" if own else "warning"
    for kind, fields in right.items():
        for name, value in fields.items():
            found = stated.get(kind, {}).get(name)
            scale = np.maximum(np.abs(right["rms" + ("_delta" if "_delta" in kind else "")][name]), 1e-30)
            if found is None or found.shape != np.shape(value):
                yield Finding(
                    "error", place, f"{kind} of {name} is missing or of another shape than {np.shape(value)}"
                )
            elif not (np.abs(found - value) <= (_OWN_TOLERANCE if own else _TOLERANCE) * scale).all():
                yield Finding(
                    severity, place, f"{kind} of {name} is {_plain(found)}; the files give {_plain(value)}"
                )
    for name, value in right["std"].items():
        if (np.asarray(value) < _LEAST_STD).any():
            message = f"std of {name} is {_plain(value)}; The Well's reader takes {_LEAST_STD} instead: scale the field"
            yield Finding("warning", place, message)


def _plain(value: Any) -> str:
    return json.dumps(np.vectorize(lambda one: float(f"{one:.6g}"))(np.asarray(value)).tolist())


def _place(root: Path, path: Path) -> str:
    return str(path.relative_to(root))
