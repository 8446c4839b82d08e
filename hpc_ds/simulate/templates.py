"""Texts with places for values: ``viscosity = {viscosity}`` in an input file or a command."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown

_PLACE = re.compile(r"\{(\{[A-Za-z_]\w*(?::[^{}\n]*)?\})\}|\{([A-Za-z_]\w*)(?::([^{}\n]*))?\}")


def places_of(text: str) -> set[str]:
    """Return the names for which `text` has a place."""
    return {found[2] for found in _PLACE.finditer(text) if found[2]}


def check_template(text: str, known: Collection[str], where: str, formatted: Mapping[str, Any]) -> None:
    """Refuse a template with a place for something that is not `known`, or a format that does not suit a value.

    Parameters
    ----------
    text : str
        The template.
    known : collection of str
        Names that it may have places for.
    where : str
        The file, for messages.
    formatted : mapping
        A value of each name, to try formats with.

    Raises
    ------
    InputError
        One line with the number of the template's line.
    """
    for found in _PLACE.finditer(text):
        name, form = found[2], found[3]
        line = text.count("\n", 0, found.start()) + 1
        if name is None:
            continue
        if name not in known:
            raise InputError(
                f"{where}, line {line}: no value '{name}' for {found[0]}; {unknown(name, known)}; "
                f"write {{{found[0]}}} for braces that are meant"
            )
        if form:
            try:
                format(formatted[name], form)
            except (ValueError, TypeError) as error:
                raise InputError(f"{where}, line {line}: {found[0]}: {error}") from None


def filled(text: str, values: Mapping[str, Any]) -> str:
    """Return `text` with its places filled.

    ``{name}`` becomes the value, of a float all its digits, ``{name:12.5e}`` the value in that format, and ``{{name}}``
    becomes ``{name}``. All other braces stay as they are.
    """

    def value_at(found: re.Match[str]) -> str:
        if found[1]:
            return found[1]
        value = values[found[2]]
        if found[3]:
            return format(value, found[3])
        return repr(value) if isinstance(value, float) else str(value)

    return _PLACE.sub(value_at, text)
