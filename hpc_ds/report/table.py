"""One table before anyone decided how it looks, and how it looks on the page and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table as RichTable


@dataclass(frozen=True)
class Cell:
    """One entry of a table."""

    text: str
    warn: bool = False
    """Whether the reader should look twice."""


@dataclass(frozen=True)
class Table:
    """Caption, header and rows, of which the first column is the name."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    prose: frozenset[int] = frozenset({0})
    """Columns of words that may wrap; the others are numbers."""
    short: frozenset[int] = frozenset()
    """Columns of single words, which need no room to wrap."""


def html(table: Table) -> str:
    """Write ``table`` as HTML that scrolls inside its own box where the window is narrow."""
    head = "".join(
        f'<th scope="col"{_align(index, table)}>{escape(text)}</th>'
        for index, text in enumerate(table.header)
    )
    body = "".join(_row(row, table) for row in table.rows)
    caption = escape(table.caption, quote=True)
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{caption}"><table>'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def for_terminal(table: Table) -> RichTable:
    """Draw ``table`` for a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=table.caption, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for index, text in enumerate(table.header):
        words = index in table.prose
        left = words or index in table.short
        drawn.add_column(text, justify="left" if left else "right", no_wrap=not words, overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(cell.text, style="yellow" if cell.warn else "") for cell in row))
    return drawn


def _row(row: Sequence[Cell], table: Table) -> str:
    first = f'<th scope="row">{escape(row[0].text)}</th>'
    rest = (
        f"<td{_align(index, table, cell.warn)}>{escape(cell.text)}</td>"
        for index, cell in enumerate(row)
        if index
    )
    return f"<tr>{first}{''.join(rest)}</tr>"


def _align(index: int, table: Table, warn: bool = False) -> str:
    kinds = {"words": index in table.prose, "short": index in table.short, "warn": warn}
    names = [name for name, is_so in kinds.items() if is_so]
    return f' class="{" ".join(names)}"' if names else ""
