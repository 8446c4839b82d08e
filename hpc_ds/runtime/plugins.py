"""Find what installed packages add to an engine, through their entry points."""

from __future__ import annotations

from hpc_ds.runtime.errors import InputError

GROUP = "hpc_ds.plugins"
"""Entry-point group; an entry ``ENGINE.NAME = package.module:object`` adds NAME to ``hpc-ds ENGINE``."""


def plugin(engine: str, name: str) -> object | None:
    """Return what an installed package offers as `name` to `engine` (``"infer"``, ``"simulate"``), or None.

    Raises
    ------
    InputError
        The package cannot be loaded.
    """
    from importlib.metadata import entry_points

    found = entry_points(group=GROUP, name=f"{engine}.{name}")
    if not found:
        return None
    entry = next(iter(found))
    try:
        return entry.load()
    except Exception as error:
        raise InputError(
            f"plug-in {entry.name} = {entry.value}: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from error


def plugin_names(engine: str) -> list[str]:
    """Return the names that installed packages add to `engine`, sorted."""
    from importlib.metadata import entry_points

    prefix = f"{engine}."
    return sorted(
        {
            entry.name.removeprefix(prefix)
            for entry in entry_points(group=GROUP)
            if entry.name.startswith(prefix)
        }
    )
