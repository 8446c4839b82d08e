"""Say in plain words, and in honestly rounded numbers, what a run found."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOT_EXCLUDED = 0.05
"""A model at least this probable "cannot be excluded" (the usual 5 %)."""

WORTH_NAMING = 0.01
"""A model less probable than this is left out of the verdict."""

Entry = Mapping[str, Any]
"""One item of ``summary["models"]``."""

_MISSING = "–"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Verdict:
    """What the page says first."""

    headline: str
    """One sentence that carries the probabilities."""
    notes: tuple[str, ...]
    """What the reader must know before believing the headline; empty when all is well."""


def verdict(summary: Mapping[str, Any]) -> Verdict:
    """Weigh the models of ``summary`` (the content of ``summary.json``) without forcing a winner."""
    ranked = ranking(summary["models"])
    if len(ranked) == 1:
        return Verdict(_alone(ranked[0]), tuple(_distrust(ranked)))
    notes = [*_unsettled(ranked), *_edge(ranked), *_distrust(ranked)]
    return Verdict(_headline(ranked), tuple(notes))


def ranking(models: Sequence[Entry]) -> list[Entry]:
    """Sort models by probability, the most probable first; equal ones keep their order."""
    return sorted(models, key=lambda entry: -(finite(entry.get("probability")) or 0.0))


def peaks(name: str) -> int | None:
    """Read the number of peaks from a model's name (``K=3`` is 3); None for any other name."""
    match = re.fullmatch(r"K=(\d+)", name)
    return int(match.group(1)) if match else None


def title(name: str) -> str:
    """Write a model's name for a heading: ``K=3`` becomes ``3 peaks``."""
    count = peaks(name)
    if count is None:
        return name
    return f"{count or 'no'} {'peak' if count == 1 else 'peaks'}"


def percent(probability: float | None) -> str:
    """Write a probability in per cent; none is ever told as 0 or 100, which no finite run can know."""
    if probability is None:
        return _MISSING
    if probability < 0.001:
        return "< 0.1 %"
    if probability > 0.999:
        return "> 99.9 %"
    if 0.095 <= probability <= 0.985:
        return f"{100 * probability:.0f} %"
    return f"{100 * probability:.1f} %"


def quantity(value: Any, resolution: Any = None) -> str:
    """Write ``value`` down to the second digit of ``resolution``, its uncertainty."""
    number, step = finite(value), finite(resolution)
    if number is None:
        return _MISSING
    if step is None or step <= 0:
        return _scientific(f"{number:.4g}")
    decimals = 1 - math.floor(math.log10(step))
    if decimals > 6 or abs(number) >= 1e7:
        digits = max(0, decimals + math.floor(math.log10(abs(number)))) if number else 1
        return _scientific(f"{number:.{min(digits, 12)}e}")
    rounded = round(number, decimals) + 0.0
    return _minus(f"{rounded:.{max(decimals, 0)}f}")


def with_error(value: Any, error: Any) -> str:
    """Write ``value ± error``, both to two digits of the error."""
    if finite(error) is None:
        return quantity(value)
    return f"{quantity(value, error)} ± {quantity(error, error)}"


def count(value: Any) -> str:
    """Write a number of things, thousands set apart by a narrow space."""
    number = finite(value)
    return _MISSING if number is None else _minus(f"{number:,.0f}".replace(",", "\u202f"))


def fraction(value: Any, decimals: int = 2) -> str:
    """Write a rate or ratio to a fixed number of decimals."""
    number = finite(value)
    return _MISSING if number is None else _minus(f"{number:.{decimals}f}")


def power_of_ten(exponent: int) -> str:
    """Write a power of ten for an axis: 1, 0.1, then 10⁻² and so on."""
    return {0: "1", -1: "0.1"}.get(exponent, f"10{str(exponent).translate(_SUPERSCRIPTS)}")


def finite(value: Any) -> float | None:
    """Return ``value`` as a float, or None where it is missing or not a finite number."""
    if value is None or isinstance(value, (str, bool)):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def clipped(text: str, length: int = 20) -> str:
    """Cut ``text`` to what fits beside an axis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def spoken(items: Sequence[str], word: str = "and") -> str:
    """Join items as in speech: ``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {word} {items[-1]}"


def heading(name: str) -> str:
    """Write a model's name to begin a sentence with: ``No peaks``, but a user's own name as it is."""
    text = title(name)
    return text if peaks(name) is None else text[:1].upper() + text[1:]


def trusted(entry: Entry) -> bool:
    """Tell whether the engine's own diagnostics trust this model's numbers."""
    return bool(entry.get("verdict", {}).get("trust", False))


def _headline(ranked: Sequence[Entry]) -> str:
    best = finite(ranked[0].get("probability"))
    if best is None:
        return "The probabilities of the models could not be worked out."
    level = [entry for entry in ranked if abs(_probability(entry) - best) < 0.005]
    if len(level) > 1:
        named = spoken([_short(entry) for entry in level])
        opening = f"{_unit(named, level)} are equally probable ({percent(best)} each)"
    else:
        strength = "by far the most probable" if best >= 0.99 else "the most probable"
        if best < 0.5:
            strength += ", but not probable"
        opening = f"{_subject(ranked[0])} {strength} ({percent(best)})"
    return _sentence(opening, _alternatives(ranked[len(level) :]))


def _alternatives(others: Sequence[Entry]) -> str:
    open_ones = [entry for entry in others if _probability(entry) >= NOT_EXCLUDED]
    if open_ones:
        return f"{_with_percent(open_ones)} cannot be excluded{_percent_of_one(open_ones)}"
    faint = [entry for entry in others if _probability(entry) >= WORTH_NAMING]
    if faint:
        verb = "is" if len(faint) == 1 else "are"
        return f"{_with_percent(faint)} {verb} unlikely{_percent_of_one(faint)}"
    return ""


def _with_percent(entries: Sequence[Entry]) -> str:
    if len(entries) == 1:
        return _short(entries[0])
    return spoken([f"{_short(entry)} ({percent(_probability(entry))})" for entry in entries])


def _percent_of_one(entries: Sequence[Entry]) -> str:
    return f" ({percent(_probability(entries[0]))})" if len(entries) == 1 else ""


def _sentence(*clauses: str) -> str:
    text = ", ".join(clause for clause in clauses if clause)
    return text + "."


def _subject(entry: Entry) -> str:
    number = peaks(entry["name"])
    if number is None:
        return f"Model “{entry['name']}” is"
    return f"{heading(entry['name'])} {'is' if number == 1 else 'are'}"


def _unit(named: str, entries: Sequence[Entry]) -> str:
    in_peaks = all(peaks(entry["name"]) is not None for entry in entries)
    return f"{named} peaks" if in_peaks else f"The models {named}"


def _short(entry: Entry) -> str:
    number = peaks(entry["name"])
    return f"“{entry['name']}”" if number is None else str(number)


def _alone(entry: Entry) -> str:
    evidence = with_error(entry.get("log_evidence"), entry.get("log_evidence_error"))
    name = f"“{entry['name']}”" if peaks(entry["name"]) is None else title(entry["name"])
    return f"One model was tried, {name}: its log evidence is {evidence}."


def _unsettled(ranked: Sequence[Entry]) -> list[str]:
    first, second = ranked[0], ranked[1]
    values = [
        finite(entry.get(key)) for entry in (first, second) for key in ("log_evidence", "log_evidence_error")
    ]
    if any(value is None for value in values) or _probability(second) < NOT_EXCLUDED:
        return []
    evidence_1, error_1, evidence_2, error_2 = (value or 0.0 for value in values)
    difference, error = abs(evidence_1 - evidence_2), math.hypot(error_1, error_2)
    if difference >= 2 * error:
        return []
    named = spoken([_short(first), _short(second)])
    return [
        f"The order of {named} is not settled by this run: their log evidences differ by "
        f"{with_error(difference, error)}, the error of the sampling. Run longer to settle it."
    ]


def _edge(ranked: Sequence[Entry]) -> list[str]:
    numbers = {entry["name"]: peaks(entry["name"]) for entry in ranked}
    if any(number is None for number in numbers.values()):
        return []
    largest = max(ranked, key=lambda entry: numbers[entry["name"]] or 0)
    if _probability(largest) < NOT_EXCLUDED:
        return []
    known = "is the most probable" if largest is ranked[0] else "cannot be excluded"
    most = title(largest["name"])
    return [f"More than {most} were not tried, though {_short(largest)} {known}: try a wider range."]


def _distrust(ranked: Sequence[Entry]) -> list[str]:
    doubtful = [entry for entry in ranked if not trusted(entry)]
    relevant = [entry for entry in doubtful if len(ranked) == 1 or _probability(entry) >= WORTH_NAMING]
    return [f"{heading(entry['name'])}: {advice(entry)}." for entry in relevant]


def advice(entry: Entry) -> str:
    """Return the engine's verdict on one model's sampling, e.g. ``run longer: 3 round trips only``."""
    return str(entry.get("verdict", {}).get("text") or "not judged").rstrip(".")


def _probability(entry: Entry) -> float:
    return finite(entry.get("probability")) or 0.0


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _scientific(text: str) -> str:
    mantissa, mark, exponent = text.partition("e")
    if not mark:
        return _minus(text)
    return f"{_minus(mantissa)}×10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
