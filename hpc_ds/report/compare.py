"""Two runs side by side, in plain text."""

from __future__ import annotations

import math
from typing import Any

from hpc_ds.report.reader import load
from hpc_ds.report.record import kind_of
from hpc_ds.report.wording import with_error
from hpc_ds.runtime.errors import InputError


def compare_runs(first: str, second: str) -> str:
    """Return two runs of one engine as a table.

    Of infer runs: the log evidence by model and the parameters of the first run's best model. Of simulation runs:
    whether they have the same samples, the same bytes, and the largest difference of each field.

    Raises
    ------
    InputError
        If one of them is no finished run, or they are of different engines.
    """
    kinds = [kind_of(path) for path in (first, second)]
    if all(kinds) and kinds[0] != kinds[1]:
        raise InputError(
            f"{second}: a run of {kinds[1]}, but {first} is one of {kinds[0]}; give two of one kind"
        )
    if "simulate" in kinds:
        from hpc_ds.report.ensemble.compare import compare

        return compare(first, second)
    return _compare_posteriors(first, second)


def _compare_posteriors(first: str, second: str) -> str:
    runs = [load(path).summary for path in (first, second)]
    lines = [f"{'':24} {'first':>22} {'second':>22} {'difference':>12}"]
    by_name = [{model["name"]: model for model in summary["models"]} for summary in runs]
    names = list(by_name[0]) + [name for name in by_name[1] if name not in by_name[0]]
    for name in names:
        found = [models.get(name) for models in by_name]
        lines.append(_row(f"log evidence {name}", [_evidence(model) for model in found]))
    best = runs[0]["best"]
    if all(best in models for models in by_name):
        parameters = [models[best]["parameters"] | models[best].get("derived", {}) for models in by_name]
        lines += [
            _row(
                f"{best} {name}",
                [(one[name]["mean"], one[name]["sd"]) if name in one else None for one in parameters],
            )
            for name in parameters[0]
        ]
    return "\n".join(lines)


def _evidence(model: dict[str, Any] | None) -> tuple[float, float] | None:
    return None if model is None else (model["log_evidence"], model["log_evidence_error"])


def _row(label: str, cells: list[tuple[float, float] | None]) -> str:
    shown = [with_error(*cell) if cell else "-" for cell in cells]
    difference = "-"
    if cells[0] and cells[1]:
        error = math.hypot(cells[0][1], cells[1][1])
        difference = f"{(cells[1][0] - cells[0][0]) / error:+.1f} sigma" if error > 0 else "-"
    return f"{label:24} {shown[0]:>22} {shown[1]:>22} {difference:>12}"
