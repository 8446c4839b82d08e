"""Models by name: built-in ones build the hypotheses that a command compares, packages may add more."""

from __future__ import annotations

PLUGINS = "hpc_ds.plugins"
"""Entry-point group of other packages; an entry ``infer.NAME = package.module:object`` adds the model NAME."""

BUILT_IN = {
    "spectrum": "sum of peaks on a background: how many, where, how wide, how strong",
    "linear": "straight lines and other sums of regressors, with their closed forms",
}
"""Names that `hpc-ds infer` knows, with what they are for."""


def plugin(name: str) -> object | None:
    """Return what an installed package offers as the model `name`: as an object of a user's own file, or None."""
    from importlib.metadata import entry_points

    found = entry_points(group=PLUGINS, name=f"infer.{name}")
    return next(iter(found)).load() if found else None
