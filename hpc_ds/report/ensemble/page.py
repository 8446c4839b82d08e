"""Assemble the report of a simulation run."""

from __future__ import annotations

from html import escape
from pathlib import Path

from hpc_ds.report import wording
from hpc_ds.report.ensemble import coverage, pictures, tables, timing
from hpc_ds.report.ensemble import wording as words
from hpc_ds.report.ensemble.reader import Ensemble, load
from hpc_ds.report.ensemble.samples import Gallery, gallery
from hpc_ds.report.frame import beside, document, figure, header, provenance, section
from hpc_ds.report.table import Table
from hpc_ds.report.table import html as as_html
from hpc_ds.runtime.amounts import size_text

MOST_FIELDS = 6
"""Fields that are drawn; the tables have all."""


def html(folder: Path) -> str:
    """Return the page for the simulation run in `folder`, finished or not.

    Raises
    ------
    InputError
        If `folder` is no run folder, is another engine's, or holds a damaged file.
    """
    run = load(folder)
    said = words.verdict(run)
    sections = [
        _fields(run, gallery(run)),
        _design(run),
        _times(run),
        _failures(run),
        _set(run),
        provenance(run),
    ]
    return document(run, said.headline, header(f"Training set: {run.title}", said, (), _facts(run)), sections)


def _facts(run: Ensemble) -> dict[str, str]:
    seconds = timing.known(run)
    design = str(run.settings.get("design") or run.summary.get("design", {}).get("kind") or "–")
    seed = run.settings.get("seed", run.summary.get("design", {}).get("seed"))
    size = sum(one.size for one in run.splits)
    return {
        "Samples": f"{wording.count(len(run.done))} of {wording.count(run.asked)}",
        "Design": Path(design).name if seed is None else f"{Path(design).name}, seed {seed}",
        "A sample takes": words.seconds(float(seconds.mean())) if seconds.size else "–",
        "Computing time": words.seconds(float(seconds.sum())) if seconds.size else "–",
        "On disk": size_text(size) if size else "–",
    }


def _fields(run: Ensemble, chosen: Gallery | None) -> str:
    if chosen is None or run.layout is None:
        return ""
    drawn = pictures.drawable(run.layout)
    parts = [f"<p>{escape(_chosen(chosen))}</p>", as_html(tables.shown(run, chosen))]
    for place, field in enumerate(drawn[:MOST_FIELDS]):
        svg, caption = pictures.draw(run.layout, field, chosen, f"field-{place}")
        parts.append(f"<h3>{escape(field.name)}</h3>\n{figure(svg, caption)}")
    if len(drawn) > MOST_FIELDS:
        left = wording.spoken([field.name for field in drawn[MOST_FIELDS:]])
        parts.append(f"<p>{escape(f'Not drawn: {left}.')}</p>")
    return section("fields", "What the samples look like", *parts)


def _chosen(chosen: Gallery) -> str:
    if chosen.looked_at == len(chosen.shown):
        return f"All samples that are done, from weak to strong by the rms of {chosen.guide}."
    return (
        f"From a weak to a strong sample, by the rms of {chosen.guide} among "
        f"{wording.count(chosen.looked_at)} samples that were looked at."
    )


def _design(run: Ensemble) -> str:
    parts = _shown(tables.parameters(run))
    if coverage.varied(run):
        parts.append(figure(coverage.draw(run), coverage.caption(run)))
    return section("design", "What was asked, and what is covered", *parts) if parts else ""


def _times(run: Ensemble) -> str:
    parts = []
    if timing.known(run).size >= timing.FEWEST:
        drawn = [figure(timing.histogram(run), timing.histogram_caption(run))]
        found = timing.dependence(run)
        if found is not None:
            drawn.append(figure(timing.against(run, found), timing.against_caption(run, found)))
        parts.append(beside(*drawn))
    rate = timing.rate(run.progress)
    if rate is not None:
        parts.append(figure(timing.over_time(rate), timing.over_time_caption(rate)))
    return section("times", "How the run went", *parts) if parts else ""


def _failures(run: Ensemble) -> str:
    if not run.failures:
        return ""
    told = (
        "<p>Each lies in <code>failed/</code> with its parameters, its traceback and the end of what it "
        "printed.</p>"
    )
    return section(
        "failures", "What failed", *_shown(tables.failure_kinds(run)), as_html(tables.failures(run)), told
    )


def _set(run: Ensemble) -> str:
    parts = [
        *_shown(tables.fields(run)),
        *_shown(tables.splits(run)),
        *_shown(tables.statistics(run)),
        *_reading(run),
    ]
    return section("set", "What the set holds", *parts) if parts else ""


def _reading(run: Ensemble) -> list[str]:
    """Show how to read the set, with the names that it has."""
    if not run.splits or run.layout is None:
        return []
    split = max(run.splits, key=lambda one: one.samples).name
    field = pictures.drawable(run.layout)[0]
    lines = [
        "from hpc_ds.store.training_set import TrainingSet",
        "",
        f"data = TrainingSet({str(run.folder)!r}, {split!r})",
        f"{field.name} = data.read({field.name!r}, 0)    # {_shape(run.layout.shape(field.name))} of float32",
        "parameters = data.parameters    # one array for each",
    ]
    steps = run.layout.times.size
    if steps > 1:
        lines.append("window = data.windows(1, 1)[0]    # one time to learn from, the next one to predict")
    well = [
        "from the_well.data import WellDataset",
        "from the_well.data.normalization import ZScoreNormalization",
        "",
        f"data = WellDataset(path={str(run.folder)!r}, well_split_name={split!r},",
        f"                   n_steps_input=1, n_steps_output={min(1, steps - 1)},",
        "                   use_normalization=True, normalization_type=ZScoreNormalization)",
    ]
    return [
        "<h3>How to read it</h3>\n<p>With this package, without copies:</p>\n",
        f"<pre><code>{escape(chr(10).join(lines))}</code></pre>\n",
        "<p>With the reader of The Well:</p>\n",
        f"<pre><code>{escape(chr(10).join(well))}</code></pre>\n",
    ]


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _shown(table: Table | None) -> list[str]:
    return [] if table is None else [as_html(table)]
