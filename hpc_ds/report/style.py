"""The look of the page: the style sheet and the colours that it shares with the figures."""

from __future__ import annotations

from importlib.resources import files

from hpc_ds.report import svg

_SURFACES = (
    "--page:#ffffff;--line:#dde3e9;--mark:#fff4e0;",
    "--page:#12161b;--line:#303943;--mark:#33280f;",
)


def sheet() -> str:
    """Return the style sheet: colours of the light or dark scheme, then the rules; paper is always white."""
    light, dark = (surfaces + svg.variables(bool(index)) for index, surfaces in enumerate(_SURFACES))
    rules = files("hpc_ds.report").joinpath("style.css").read_text(encoding="utf-8")
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{rules}"
