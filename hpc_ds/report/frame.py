"""What every report has around its content: head, verdict, facts, sections, figures, provenance and footer."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from hpc_ds.report import style
from hpc_ds.report.record import Record
from hpc_ds.report.wording import Verdict

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(record: Record, title: str, header: str, sections: Iterable[str]) -> str:
    """Return a whole page that needs no network, no script and no other file."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style.sheet()}</style>\n</head>\n<body>\n"
        f"{header}\n<main>\n{''.join(sections)}</main>\n{_footer(record)}\n</body>\n</html>\n"
    )


def header(question: str, said: Verdict, notes: Sequence[str], facts: Mapping[str, str]) -> str:
    """Return the top of the page: what was asked, the verdict, what to know before believing it, some facts."""
    items = "".join(f"<li>{unbroken(note)}</li>" for note in (*notes, *said.notes))
    cells = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in facts.items()
    )
    return (
        f"<header>\n<h1>{escape(question)}</h1>\n"
        f'<p class="verdict">{unbroken(said.headline)}</p>\n'
        f"{f'<ul class=notes>{items}</ul>' if items else ''}"
        f'<dl class="facts">{cells}</dl>\n</header>'
    )


def section(name: str, heading: str, *parts: str) -> str:
    """Return a section under a heading."""
    return f'<section id="{name}">\n<h2>{escape(heading)}</h2>\n{"".join(parts)}</section>\n'


def figure(svg: str, caption: str) -> str:
    """Return a figure with its caption."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>\n"


def beside(*figures: str) -> str:
    """Return figures that stand beside each other where there is room."""
    return f'<div class="two">{"".join(figures)}</div>'


def unbroken(text: str) -> str:
    """Escape `text` and keep "4 (41 %)" on one line."""
    return re.sub(r" (?=\(|%)", "&nbsp;", escape(text))


def provenance(record: Record, facts: Mapping[str, str] | None = None) -> str:
    """Return where the run comes from: `facts` of the engine, then what lets a reader do it again."""
    told = {**(facts or {}), **_told(record.provenance)}
    items = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in told.items() if value)
    config = (
        f"<details><summary>Configuration</summary><div><pre>{escape(record.config)}</pre></div></details>"
        if record.config
        else ""
    )
    return section("provenance", "Where it comes from", f'<dl class="provenance">{items}</dl>', config)


def _told(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Write the items of the provenance that a reader needs to do it again, in that order."""
    command, versions = provenance.get("command", ""), provenance.get("versions", {})
    sessions = provenance.get("sessions", [])
    later = [
        f"{item.get('started')} on {item.get('host')}, {item.get('ranks')} ranks" for item in sessions[1:]
    ]
    return {
        "command": command if isinstance(command, str) else shlex.join(map(str, command)),
        "seed": _known(provenance.get("seed")),
        "started": _known(provenance.get("started")),
        "continued": "; ".join(later),
        "host": _known(provenance.get("host")),
        "ranks": _known(provenance.get("ranks")),
        "git revision": _known(provenance.get("git")),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
    }


def _known(value: Any) -> str:
    return "" if value is None else str(value)


def _footer(record: Record) -> str:
    version = record.provenance.get("versions", {}).get("hpc_ds", "")
    return f"<footer>Written by hpc-ds {escape(str(version))}.</footer>"
