"""Load what a user's own Python file defines, given as ``path/to/file.py:name``."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown


def load_object(reference: str, what: str) -> Any:
    """Return the object that ``path/to/file.py:name`` names.

    The file's own folder is searched for its imports, after everything that is installed.

    Parameters
    ----------
    reference : str
        ``path/to/file.py:name``.
    what : str
        What is looked for, with its article, e.g. ``a model``.

    Raises
    ------
    InputError
        In one line: no such file or name, or an exception while the file runs, with its line.
    """
    path, _, name = reference.rpartition(":")
    module = _module(Path(path), what)
    found = getattr(module, name, None)
    if found is None:
        own = [
            key
            for key, value in vars(module).items()
            if not key.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
        raise InputError(
            f"{path}: no '{name}' in it; {unknown(name, own, 'there')}; give file.py:name of {what}"
        )
    return found


def source_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file, by which a run knows another text of it (`InputError` if it cannot be read)."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def in_one_line(path: str | Path, error: BaseException) -> str:
    """Return what was raised in a user's file, in one line with the last line of the file that was reached."""
    told = f"{path}: {type(error).__name__}: {' '.join(str(error).split())}"
    if isinstance(error, SyntaxError):  # says its line itself
        return told
    own = str(Path(path).resolve())
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if str(Path(frame.filename).resolve()) == own
    ]
    return f"{told} (line {lines[-1]})" if lines else told


def _module(path: Path, what: str) -> ModuleType:
    if not path.is_file():
        raise InputError(f"{path}: no such file; {what} is given as file.py:name")
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    if module_spec is None or module_spec.loader is None:
        raise InputError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules.setdefault(path.stem, module)
    beside = str(path.resolve().parent)
    if beside not in sys.path:  # its own imports; last, so that nothing there can hide an installed package
        sys.path.append(beside)
    try:
        module_spec.loader.exec_module(module)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except SystemExit as error:
        raise InputError(
            f"{path}: ends Python while it is imported; put what runs it below if __name__ == '__main__'"
        ) from error
    except Exception as error:
        raise InputError(in_one_line(path, error)) from error
    return module
