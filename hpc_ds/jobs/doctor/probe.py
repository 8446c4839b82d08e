"""What the doctor's children do: load one heavy library, and print what it says as lines of JSON."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

_MPI_LIBRARY = re.compile(
    r"(/\S*/libmpi(?:ch)?(?:_(?:cray|gnu|intel|nvidia|amd|aocc)\w*)?\.so\S*)$", re.MULTILINE
)
_INDEX = "*.nbi"


def tell_mpi() -> None:
    """Tell which MPI mpi4py loads, without initialising it, and whether h5py brings another one.

    Two lines, because h5py on the HDF5 of another MPI may end the process.
    """
    try:
        import mpi4py

        mpi4py.rc.initialize = mpi4py.rc.finalize = False
        from mpi4py import MPI
    except (ImportError, RuntimeError, OSError) as error:
        _print(mpi_error=_reason(error))
    else:
        _print(
            mpi=MPI.Get_library_version().splitlines()[0].strip("\0 "),
            vendor=MPI.get_vendor()[0],
            libraries=mapped_libraries(),
        )
    try:
        import h5py
    except (ImportError, OSError) as error:
        _print(h5py_error=_reason(error))
    else:
        _print(h5py=h5py.__version__, parallel=bool(h5py.get_config().mpi), libraries=mapped_libraries())


def tell_kernels() -> None:
    """Tell where numba keeps compiled kernels, whether that can be written, and what lies there."""
    import numba

    from hpc_ds.runtime import compiled

    folder = Path(numba.config.CACHE_DIR)
    package = Path(compiled.__file__).parents[1]
    sources = [path for pattern in compiled._COMPILED_FILES for path in package.glob(pattern)]
    newest = max(path.stat().st_mtime for path in sources)
    kept = list(folder.rglob(_INDEX))
    siblings = [path for path in folder.parent.glob("compiled-*") if path != folder]
    _print(
        numba=numba.__version__,
        folder=str(folder),
        named_after_sources=folder.name.startswith("compiled-"),
        trouble=_write_trouble(folder),
        kernels=len(kept),
        older=sum(path.stat().st_mtime < newest for path in kept),
        leftovers=[str(path) for path in siblings] if folder.name.startswith("compiled-") else [],
        leftover_bytes=sum(each.stat().st_size for path in siblings for each in path.rglob("*.nb?")),
    )


def tell_torch() -> None:
    """Tell what torch was built for and what it sees."""
    try:
        import torch
    except (ImportError, OSError) as error:
        _print(torch_error=_reason(error))
        return
    _print(
        torch=torch.__version__,
        built_for=f"CUDA {torch.version.cuda}" if torch.version.cuda else _rocm(torch) or "CPU",
        devices=torch.cuda.device_count() if torch.cuda.is_available() else 0,
        threads=torch.get_num_threads(),
    )


def tell_rank() -> None:
    """Initialise MPI as a rank, and tell of how many."""
    from mpi4py import MPI

    _print(rank=MPI.COMM_WORLD.Get_rank(), size=MPI.COMM_WORLD.Get_size(), vendor=MPI.get_vendor()[0])


def mapped_libraries(maps: str = "/proc/self/maps") -> list[str]:
    """Return the MPI libraries in this process, each once, by the files that their links lead to."""
    try:
        text = Path(maps).read_text()
    except OSError:
        return []
    return sorted({os.path.realpath(path) for path in _MPI_LIBRARY.findall(text)})


def _write_trouble(folder: Path) -> str:
    """Return why no file can be made in `folder`; empty if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _rocm(torch: Any) -> str:
    return f"ROCm {torch.version.hip}" if getattr(torch.version, "hip", None) else ""


def _reason(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _print(**answer: Any) -> None:
    # One write a line, so that ranks do not print into each other's lines.
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    {"mpi": tell_mpi, "kernels": tell_kernels, "torch": tell_torch, "rank": tell_rank}[sys.argv[1]]()
