"""Draw with matplotlib, and hand back SVG fit for a page: scalable, labelled, in the page's colours."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = (5.2, 3.9)
"""Size in inches of a figure as wide as the page; drawn small so that its text survives a telephone."""

HALF = (4.4, 2.9)
"""Size in inches of a figure that shares the width with another one."""

PALETTE = {
    "ink": ("#1b2430", "#e8ebef"),
    "muted": ("#5d6875", "#9aa5b1"),
    "grid": ("#e3e7ec", "#2d343d"),
    "data": ("#7b8794", "#8f9ba8"),
    "good": ("#0b7a5b", "#3fc79a"),
    "warn": ("#b45309", "#f2b04c"),
    "accent": ("#0a5fa8", "#6bb3f0"),
    "c1": ("#0072b2", "#4fa8e0"),
    "c2": ("#d55e00", "#f08a3c"),
    "c3": ("#009e73", "#35c79b"),
    "c4": ("#b5548f", "#df8fbd"),
    "c5": ("#c98a00", "#edb730"),
    "c6": ("#3fa3d9", "#8fd0f5"),
    "c7": ("#6a4fb3", "#a892ea"),
    "c8": ("#6f6a1a", "#c4bc5a"),
}
"""Role -> (colour on light, on dark). The components keep apart for colour-blind eyes (Okabe & Ito)."""

COMPONENTS = tuple(light for role, (light, _) in PALETTE.items() if re.fullmatch(r"c\d", role))
"""Colours of peak 1, 2, ...; they repeat after the last."""


def colour(role: str) -> str:
    """Return the colour to draw ``role`` with; on the page it follows the reader's light or dark scheme."""
    return PALETTE[role][0]


def component(index: int) -> str:
    """Return the colour of the component number ``index``, counted from 0."""
    return COMPONENTS[index % len(COMPONENTS)]


def render(
    paint: Callable[..., None], *arguments: Any, key: str, label: str, size: tuple[float, float] = WIDE
) -> str:
    """Let ``paint(figure, *arguments)`` draw and return one ``<svg>`` element.

    Parameters
    ----------
    paint
        Draws on the empty figure that it is given.
    key
        A name unique on the page; it keeps the identifiers of two figures apart and the output reproducible.
    label
        What the figure shows, for readers who hear the page.
    size
        Width and height in inches.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_settings(key)):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure, *arguments)
        return tidy(_svg(figure), key, label)


def variables(dark: bool) -> str:
    """Write the palette as declarations of CSS variables."""
    return "".join(f"--{role}:{colours[dark]};" for role, colours in PALETTE.items())


def tidy(text: str, key: str, label: str) -> str:
    """Turn a stand-alone SVG file into an element of a page.

    The fixed width and height go, identifiers are made unique by ``key``, colours become CSS variables, fonts
    are left to the page, coordinates are cut to hundredths of a point and images of few colours get a palette.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", text, flags=re.S)
    text = re.sub(r"<defs>\s*</defs>", "", text)
    text = text.replace("xlink:href", "href")
    view = re.search(r'viewBox="([^"]*)"', text)
    spoken = f'role="img" aria-label="{escape(label, quote=True)}"'
    opening = f'<svg class="plot" {spoken} viewBox="{view[1] if view else ""}">'
    text = re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1)
    text = _unique(text, key)
    text = re.sub(r"data:image/png;base64,([^\"]*)", _smaller, text)
    text = re.sub(r'\b(d|transform|x|y|points)="([^"]*)"', _shorter, text)
    text = re.sub(r"font: (?:(\d{3}) )?([\d.]+)px [^;\"]*", _font, text)
    for role, (light, _) in PALETTE.items():
        text = text.replace(light, f"var(--{role},{light})")
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def _settings(key: str) -> Any:
    ink, muted, grid = colour("ink"), colour("muted"), colour("grid")
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": key,
        "font.family": ["DejaVu Sans"],
        "font.size": 9,
        "text.parse_math": False,
        "axes.unicode_minus": True,
        "axes.formatter.useoffset": False,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "savefig.dpi": 160,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": muted,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": grid,
        "grid.linewidth": 0.6,
        "xtick.color": muted,
        "ytick.color": muted,
        "xtick.labelcolor": ink,
        "ytick.labelcolor": ink,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "path.simplify": True,
    }


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _unique(text: str, key: str) -> str:
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))

    def rename(match: re.Match[str]) -> str:
        return f' id="{key}-{match[1]}"' if match[1] in used else ""

    text = re.sub(r' id="([^"]+)"', rename, text)
    return re.sub(r'(href="#|url\(#)([^")]+)', rf"\g<1>{key}-\2", text)


def _shorter(match: re.Match[str]) -> str:
    digits = 4 if match[1] == "transform" else 2
    numbers = re.sub(
        r"-?\d+\.\d+", lambda number: f"{float(number[0]):.{digits}f}".rstrip("0").rstrip("."), match[2]
    )
    return f'{match[1]}="{re.sub(chr(10), " ", numbers).strip()}"'


def _smaller(match: re.Match[str]) -> str:
    """Write an opaque image of at most 256 colours, as colour maps make them, with a palette: the same in a quarter."""
    import numpy as np
    from PIL import Image

    data = base64.b64decode(match[1])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    if pixels[..., 3].min() < 255:
        return match[0]
    colours, places = np.unique(pixels[..., :3].reshape(-1, 3), axis=0, return_inverse=True)
    if len(colours) > 256:
        return match[0]
    indexed = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8), "P")
    indexed.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    indexed.save(buffer, "png", optimize=True)
    shortest = min(buffer.getvalue(), data, key=len)
    return f"data:image/png;base64,{base64.b64encode(shortest).decode()}"


def _font(match: re.Match[str]) -> str:
    weight = f"font-weight: {match[1]}; " if match[1] else ""
    return f"{weight}font-size: {match[2]}px"
