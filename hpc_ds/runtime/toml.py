"""Read a TOML file, or say in one line why not."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hpc_ds.runtime.errors import InputError


def read_toml(path: str | Path, flag: str = "") -> dict[str, Any]:
    """Return what the TOML file `path` holds.

    Parameters
    ----------
    path : str or Path
        The file.
    flag : str
        Begins the message, e.g. ``--config``.

    Raises
    ------
    InputError
        The file is missing, cannot be read or is no TOML.
    """
    where = f"{flag} {path}".strip()
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{where}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: no TOML: {error}") from None
