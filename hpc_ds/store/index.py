"""One HDF5 file through which all samples of a training set look like one: virtual data sets over the data files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_ds.store import well
from hpc_ds.store.split import SPLITS
from hpc_ds.store.swap import DATA
from hpc_ds.store.well_file import Header, Item, read_header, read_own


def write_index(path: str | os.PathLike[str], data: Path, names: Sequence[str]) -> None:
    """Write the index of the given data files, with one mapping a file and data set.

    It has the groups of a data file, with the samples of all files in the given order, and in the group ``hpc_ds``
    their ``design_index`` and ``split`` (0 train, 1 valid, 2 test). It names the files ``data/...``, relative to its
    own folder, which can be moved as a whole; a file that is not there reads as NaN.

    Parameters
    ----------
    path : str or Path
        The index.
    data : Path
        Where the data files are now; in the end they must lie in ``data/`` beside the index.
    names : list of str
        Data files below, e.g. ``train/burgers_train_0000.h5``, at least one.

    Raises
    ------
    OSError
        HDF5 cannot write.
    """
    files = [data / name for name in names]
    headers = [read_header(file) for file in files]
    counts = [header.samples for header in headers]
    sources = [f"{DATA}/{name}" for name in names]
    with h5py.File(path, "w", libver=("earliest", "latest"), track_order=True) as index:
        with h5py.File(files[0], "r") as first:
            _copy_attrs(first, index)
            first.copy("dimensions", index)
            first.copy("boundary_conditions", index)
            index.attrs["n_trajectories"] = np.int64(sum(counts))
            for group in ("scalars", "t0_fields", "t1_fields", "t2_fields"):
                _copy_attrs(first[group], index.create_group(group))
            for item in [*headers[0].fields.values(), *headers[0].scalars.values()]:
                _write_virtual(index, item, sources, headers)
                _copy_attrs(first[item.path], index[item.path])
        own = index.create_group(well.OWN)
        indices = [read_own(file, "design_index") for file in files]
        own["design_index"] = np.concatenate([one for one in indices if one is not None])
        own["split"] = np.repeat(_splits(files), counts)


def _splits(files: Sequence[Path]) -> NDArray[np.int8]:
    names = [str(name) for name in SPLITS]
    return np.array([names.index(file.parent.name) for file in files], dtype=np.int8)


def _write_virtual(index: h5py.File, item: Item, names: Sequence[str], headers: Sequence[Header]) -> None:
    rest = item.shape[1:]
    layout = h5py.VirtualLayout((sum(header.samples for header in headers), *rest), item.dtype)
    start = 0
    for name, header in zip(names, headers):
        source = h5py.VirtualSource(name, item.path, (header.samples, *rest), item.dtype)
        layout[start : start + header.samples] = source
        start += header.samples
    fill: Any = np.nan if item.dtype.kind == "f" else None
    index.create_virtual_dataset(item.path, layout, fillvalue=fill)


def _copy_attrs(source: Any, target: Any) -> None:
    for name in source.attrs:
        kind = source.attrs.get_id(name).dtype
        target.attrs.create(name, source.attrs[name], dtype=kind)
