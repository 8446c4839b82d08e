"""Load what a user's own Python file defines, given as ``path/to/file.py:name``."""

from __future__ import annotations

import ast
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
    """Return the SHA-256 of a file, by which a run knows another text of it.

    With a Python file goes what it imports from its own folder or below, and so on from there. The imports are read in
    the text: what else a process has imported, or has not yet, does not count.

    Raises
    ------
    InputError
        It cannot be read.
    """
    files = {"": _content(Path(path))}
    if Path(path).suffix == ".py":
        root = Path(path).resolve().parent
        files |= {file.relative_to(root).as_posix(): _content(file) for file in _neighbours(Path(path))}
    if len(files) == 1:
        return hashlib.sha256(files[""]).hexdigest()
    hashes = [f"{name}\0{hashlib.sha256(files[name]).hexdigest()}\n" for name in sorted(files)]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


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


_PACKAGE = Path(__file__).resolve().parents[1]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def _neighbours(path: Path) -> set[Path]:
    """Return the files in the folder of `path` or below that it imports, directly or not, without itself."""
    own = path.resolve()
    found: set[Path] = set()
    waiting = [own]
    while waiting:
        file = waiting.pop()
        for module in _imports(file, own.parent):
            if module not in found and module != own and not module.is_relative_to(_PACKAGE):
                found.add(module)
                waiting.append(module)
    return found


def _imports(file: Path, root: Path) -> set[Path]:
    """Return the files below `root` that the text of a Python file imports."""
    try:
        tree = ast.parse(_content(file))
    except (SyntaxError, ValueError):  # told where it is loaded
        return set()
    found: set[Path] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found |= _files(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            start = file.parents[min(node.level, len(file.parents)) - 1] if node.level else root
            parts = node.module.split(".") if node.module else []
            for alias in node.names:  # a name may be a module or stand in one
                found |= _files(start, [*parts, alias.name])
    return {path for path in found if path.is_relative_to(root)}


def _files(start: Path, parts: list[str]) -> set[Path]:
    """Return the files that run when the module `parts` is imported from the folder `start`."""
    found = set()
    for depth in range(len(parts) + 1):
        place = start.joinpath(*parts[:depth])
        candidates = [place / "__init__.py"] + ([place.with_suffix(".py")] if depth else [])
        found |= {one.resolve() for one in candidates if one.is_file()}
    return found
