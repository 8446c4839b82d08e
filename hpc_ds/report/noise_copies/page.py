"""Assemble the page of the study of noise copies."""

from __future__ import annotations

from pathlib import Path

from hpc_ds.report.frame import beside, document, figure, header, provenance, section
from hpc_ds.report.noise_copies import pictures, tables
from hpc_ds.report.noise_copies import wording as words
from hpc_ds.report.noise_copies.reader import Comparison, Entry, load
from hpc_ds.report.table import html as as_html
from hpc_ds.report.wording import count


def html(folder: Path) -> str:
    """Return the page for the study in `folder`.

    Raises
    ------
    InputError
        It is no run folder of this study, is not finished, or holds a damaged file.
    """
    study = load(Path(folder))
    said = words.verdict(study)
    sections = [
        _fits(study),
        _errors(study),
        _over_fit(study),
        _claims(study),
        _all(study),
        provenance(study),
    ]
    title = study.summary.get("title") or "Noise copies"
    return document(study, said.headline, header(title, said, (), _facts(study)), sections)


def _facts(study: Comparison) -> dict[str, str]:
    summary = study.summary
    return {
        "Points given": f"{count(summary['points'])} for each seed",
        "Trainings": f"{count(len(study.variants))} variants, {count(summary['seeds'])} seeds each",
        "Steps": f"{count(summary['steps'])}, all points in each",
        "Source": str(summary.get("source") or "–"),
    }


def _pair(study: Comparison) -> tuple[Entry, Entry] | None:
    """Return the main network without noise and with most copies; None where one of them is missing."""
    plain = study.find(study.summary["main"], "none")
    copies = [one for one in study.main if one["treatment"] == "copies"]
    return (plain, max(copies, key=lambda one: one["copies"])) if plain and copies else None


def _fits(study: Comparison) -> str:
    pair = _pair(study)
    if pair is None:
        return ""
    plain, noisy = pair
    both = beside(
        figure(*pictures.together(study, plain, "c1", "fits-plain")),
        figure(*pictures.together(study, noisy, "c2", "fits-noisy")),
    )
    return section("fits", "The function and the fits", both, figure(*pictures.single(study, plain, noisy)))


def _errors(study: Comparison) -> str:
    names = [words.treatment(one) for one in study.main]
    label = "Test error of every seed, by what disturbs the training"
    told = (
        "A dot for each seed, its line the median. Every row has the same points and the same first weights."
    )
    network = words.network(study.main[0]) if study.main else ""
    parts = [figure(pictures.errors(study.main, names, "errors", label), f"{network}. {told}")]
    others = _across_networks(study)
    if others:
        both = [f"{words.network(one)}, {words.treatment(one)}" for one in others]
        label = "Test error of every seed, by network"
        caption = f"Other networks, in the same way. Of all: {words.over_networks(study)}"
        parts.append(figure(pictures.errors(others, both, "networks", label), caption))
    return section("errors", "Errors, seed by seed", *parts)


def _across_networks(study: Comparison) -> list[Entry]:
    """Return the variants of the other networks without noise and with most copies, network by network."""
    most = max((one["copies"] for one in study.variants), default=0)
    return [
        one
        for one in study.variants
        if one["network"] != study.summary["main"]
        and (one["treatment"], one["copies"]) in (("none", 0), ("copies", most))
    ]


def _over_fit(study: Comparison) -> str:
    pair = _pair(study)
    if pair is None:
        return ""
    plain, noisy = pair
    parts = [figure(*pictures.train_against_test(plain, noisy))]
    kind = (noisy["network"], noisy["treatment"], noisy["copies"])
    rows = [one for one in study.variants if (one["network"], one["treatment"], one["copies"]) == kind]
    if len(rows) > 1:
        parts.append(figure(*pictures.strengths(plain, rows)))
    return section("over-fit", "At the points and between them", beside(*parts))


def _claims(study: Comparison) -> str:
    if not study.claims:
        return ""
    told = (
        "<p>Two variants are compared seed by seed: the ratio is the median of the first one's test error by the "
        "other's, with its 95 % interval; a seed is won where the first errs less.</p>\n"
    )
    conclusion = f"<p>{words.concluded(study)}</p>\n{told}"
    return section(
        "claims", "What is said of it, and what came out", conclusion, as_html(tables.claims(study))
    )


def _all(study: Comparison) -> str:
    stuck = study.summary["stuck_above"]
    told = (
        "<p>Errors are root mean squares: against the function on a fine grid (test), and at the given points without "
        f"noise (training). Stuck: the training error is above {stuck:g} of the given values' standard deviation. "
        "Dead: the network gives the same answer everywhere. The ratio compares with the same network without noise, "
        "seed by seed.</p>\n"
    )
    return section("variants", "All variants", told, as_html(tables.variants(study)))
