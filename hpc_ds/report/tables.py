"""The numbers of a run as tables, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpc_ds.infer.diagnostics import ENOUGH_DRAWS, LARGEST_R_HAT
from hpc_ds.report import eos, exact, wording
from hpc_ds.report.table import Cell, Table, for_terminal
from hpc_ds.report.wording import Entry

if TYPE_CHECKING:
    from rich.console import Group


def terminal(summary: Mapping[str, Any]) -> Group:
    """Return what the terminal shows of ``summary``: the verdict, the models, the best model's parameters.

    What is known in closed form follows.

    Returns
    -------
    rich.console.Group
        To be printed with ``rich.print`` or ``Console.print``.
    """
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    said = wording.verdict(summary)
    best = best_entry(summary)
    parts: list[Any] = [Text(said.headline, style="bold"), for_terminal(models(summary))]
    if best.get("parameters"):
        parts.append(for_terminal(parameters(best)))
    known = (exact.evidence(summary), exact.parameters(summary, best), exact.choice(summary))
    parts += [for_terminal(table) for table in known if table is not None]
    if eos.about_matter(summary):
        parts += [for_terminal(table) for table in [eos.cuts(summary)] if table is not None]
    told = (exact.meaning(summary), *exact.missing(summary), *eos.sentences(summary, best))
    parts += [Text(line) for line in told if line]
    parts += [Padding(Text(f"! {note}", style="yellow"), (0, 0)) for note in said.notes]
    return Group(*parts)


def best_entry(summary: Mapping[str, Any]) -> Entry:
    """Return the item of ``summary["models"]`` that is named best, the most probable one by default."""
    named = [entry for entry in summary["models"] if entry["name"] == summary.get("best")]
    return named[0] if named else wording.ranking(summary["models"])[0]


def models(summary: Mapping[str, Any]) -> Table:
    """Tabulate name, log evidence, its error, probability and verdict of every model."""
    rows = [
        (
            Cell(entry["name"]),
            Cell(_evidence(entry)),
            Cell(wording.percent(_weighed(entry, summary))),
            _judged(entry),
        )
        for entry in summary["models"]
    ]
    return Table(
        "Models", ("model", "log evidence", "probability", "verdict"), tuple(rows), frozenset({0, 3})
    )


def evidence(summary: Mapping[str, Any]) -> Table:
    """Tabulate log evidence, error, free energy, probability and verdict of every model."""
    rows = []
    for entry in summary["models"]:
        error = entry.get("log_evidence_error")
        numbers = [
            wording.quantity(entry.get("log_evidence"), error),
            wording.quantity(error, error),
            wording.quantity(entry.get("free_energy"), error),
            wording.percent(_weighed(entry, summary)),
        ]
        rows.append((Cell(entry["name"]), *map(Cell, numbers), _judged(entry)))
    header = ("model", "log evidence", "error", "free energy", "probability", "verdict")
    return Table("Evidence (natural logarithms)", header, tuple(rows), frozenset({0, 5}))


def parameters(entry: Entry) -> Table:
    """Tabulate the posterior of one model: mean, sd, quantiles, effective draws, R-hat of each parameter."""
    header = ("parameter", "mean", "sd", "2.5 %", "50 %", "97.5 %", "ess", "R-hat")
    known = {**entry.get("parameters", {}), **entry.get("derived", {})}
    rows = [_parameter(name, values) for name, values in known.items()]
    return Table(f"Parameters of {entry['name']}", header, tuple(rows))


def estimators(summary: Mapping[str, Any]) -> Table:
    """Tabulate the same log evidence as several estimators find it; they agree where sampling was enough.

    Thermodynamic integration has no answer where part of the prior is impossible: its mean at β = 0 is unbounded.
    """
    columns = {
        "mbar": "MBAR",
        "stepping_stone_forward": "stepping stone, forward",
        "stepping_stone_backward": "stepping stone, backward",
        "thermodynamic_integration": "thermodynamic integration",
    }
    rows = []
    for entry in summary["models"]:
        values, error = entry.get("evidence", {}), entry.get("log_evidence_error")
        rows.append((Cell(entry["name"]), *(Cell(_estimator(values.get(key), error)) for key in columns)))
    return Table("Log evidence by four estimators", ("model", *columns.values()), tuple(rows))


def diagnostics(summary: Mapping[str, Any]) -> Table:
    """Tabulate how each model was sampled: a row for each figure, a column for each model."""
    whole = {
        "replicas": "replicas",
        "copies": "copies",
        "tuning_scans": "tuning scans",
        "scans": "measured scans",
    }
    rates = {"barrier": "barrier Λ", "min_swap_rate": "lowest swap rate", "mean_swap_rate": "mean swap rate"}
    known = [entry.get("diagnostics", {}) for entry in summary["models"]]
    told = {
        **{text: [wording.count(item.get(key)) for item in known] for key, text in whole.items()},
        **{text: [wording.fraction(item.get(key)) for item in known] for key, text in rates.items()},
        "round trips": [wording.count(item.get("round_trips")) for item in known],
        "round trips of theory / %": [wording.fraction(_hundredfold(efficiency(item)), 0) for item in known],
    }
    rows = tuple((Cell(name), *map(Cell, cells)) for name, cells in told.items())
    return Table("How each model was sampled", ("", *(entry["name"] for entry in summary["models"])), rows)


def efficiency(diagnostics: Mapping[str, Any]) -> float | None:
    """Return the round trips as a share of what theory allows on this ladder; None where unknown."""
    rate = wording.finite(diagnostics.get("round_trip_rate"))
    theory = wording.finite(diagnostics.get("round_trip_rate_theory"))
    return None if rate is None or not theory else rate / theory


def _parameter(name: str, values: Mapping[str, Any]) -> tuple[Cell, ...]:
    spread = values.get("sd")
    moments = [
        Cell(wording.quantity(values.get(key), spread)) for key in ("mean", "sd", "2.5%", "50%", "97.5%")
    ]
    ess, r_hat = wording.finite(values.get("ess")), wording.finite(values.get("r_hat"))
    return (
        Cell(name),
        *moments,
        Cell(wording.count(ess), warn=ess is not None and ess < ENOUGH_DRAWS),
        Cell(wording.fraction(r_hat, 3), warn=r_hat is not None and r_hat > LARGEST_R_HAT),
    )


def _estimator(value: Any, error: Any) -> str:
    return wording.quantity(wording.finite(value), error)


def _hundredfold(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _evidence(entry: Entry) -> str:
    return wording.with_error(entry.get("log_evidence"), entry.get("log_evidence_error"))


def _weighed(entry: Entry, summary: Mapping[str, Any]) -> float | None:
    """Return the model's probability, or None where it had no rival: then the number says nothing."""
    return wording.finite(entry.get("probability")) if len(summary["models"]) > 1 else None


def _judged(entry: Entry) -> Cell:
    return Cell(wording.advice(entry), warn=not wording.trusted(entry))
