"""Say in words, chosen by the numbers, what the stars tell and how far networks and exact posterior agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpc_ds.report.neutron_star.naming import edges, networks, number, stars
from hpc_ds.report.neutron_star.reader import CANONICAL, LOWER, UPPER, Estimate, Study
from hpc_ds.report.wording import (
    Verdict,
    advice,
    count,
    finite,
    fraction,
    quantity,
    spoken,
    trusted,
)

HARDLY = 0.25
"""Bits below which a segment is called hardly constrained: what is left is 84 % as wide as the prior."""

LITTLE = 0.5
"""Bits below which a segment that is not hardly constrained is called little constrained."""

NEAR = 1.0
"""Posterior standard deviations within which two answers agree."""

NARROW = 0.85
"""A posterior at least this share as wide as the prior hardly says more than it."""

FEW_NETWORKS = 5
"""A spread over fewer networks is itself uncertain by a third or more."""

_NOTHING = 0.005  # bits that round to none
_UPPER = 2  # segments, the highest ones, whose width is always told


def verdict(study: Study) -> Verdict:
    """Return the sentence that the numbers carry, and what to know before believing it."""
    exact, network = study.sampled(f"radius[{CANONICAL:g}]"), study.network_radius()
    given = stars(study.items("observations")).capitalize()
    if exact is None and network is None:
        return Verdict("This run says nothing of the radius of a neutron star.", tuple(_notes(study)))
    if exact is None:
        assert network is not None
        headline = (
            f"{given}, read by {networks(_members(study))}, put the radius of a star of {CANONICAL:g} solar masses at "
            f"{estimate(network)}\u00a0km; there is no exact posterior to compare with."
        )
        return Verdict(headline, tuple(_notes(study)))
    within = f" (95 %: {_between(exact)})" if exact.low is not None else ""
    told = f"{quantity(exact.mean, exact.sd)}\u00a0km{within}"
    opening = f"{given} put the radius of a star of {CANONICAL:g} solar masses at {told}"
    return Verdict(f"{opening}; {_agreed(study, exact, network)}.", tuple(_notes(study)))


def apart(exact: Estimate, network: Estimate) -> float:
    """Return how far the networks lie from the exact posterior, in its standard deviations."""
    return (network.mean - exact.mean) / exact.sd if exact.sd else math.inf


def agreement(study: Study) -> str:
    """Return sentences on how far networks and exact posterior agree; empty where one of them is missing."""
    exact, network = study.sampled(f"radius[{CANONICAL:g}]"), study.network_radius()
    if exact is None or network is None:
        return ""
    away = apart(exact, network)
    text = (
        f"At {CANONICAL:g} solar masses the networks' mean lies {fraction(abs(away), 2)} posterior standard deviations "
        f"{'above' if away > 0 else 'below'} the exact posterior's"
    )
    far = _furthest(study)
    if far is not None:
        text += f"; of the speeds of sound segment {far[0]} differs most, by {fraction(abs(far[1]), 2)}"
    ratio = network.sd / exact.sd if exact.sd else math.nan
    if network.sd > 0 and math.isfinite(ratio):
        text += (
            f". The spread of the networks is {fraction(ratio, 2)} times the posterior's standard deviation: it tells "
            "how much they differ from each other, not how far they may all be from the truth"
        )
    return f"{text}."


def narrowed(study: Study) -> str:
    """Say how much narrower than the prior the posterior is; empty where one of them is missing."""
    exact, prior = study.sampled(f"radius[{CANONICAL:g}]"), study.prior_radius()
    if exact is None or prior is None or prior.sd <= 0:
        return ""
    if (prior.low is not None and exact.mean < prior.low) or (
        prior.high is not None and exact.mean > prior.high
    ):
        side = "below" if exact.mean < prior.mean else "above"
        return (
            f"The prior alone says {_between(prior)}\u00a0km (95 %): the stars put the radius {side} all of that, "
            "where the prior expected little."
        )
    share, before = exact.sd / prior.sd, f"{estimate(prior)}\u00a0km"
    if share >= NARROW:
        return f"The stars hardly narrow it: the prior alone says {before}."
    return f"The prior alone says {before}: the stars make that {fraction(1 / share, 1)} times narrower."


def constrained(study: Study) -> str:
    """Say by the numbers which segments the stars constrain, and plainly which they hardly do."""
    told = learnt(study.part("posterior"), study.density_ratio)
    return f"{told} {_upper_widths(study)}".rstrip() if told else ""


def learnt(entry: Mapping[str, Any], ratio: float | None) -> str:
    """Say how much is learnt of each segment of a model, whose densities have this `ratio`; empty where unknown."""
    known = gains(entry)
    if not known:
        return ""
    told = spoken([bits(one) for one in known])
    return f"From the lowest density up the stars, and the cuts on the prior, give {told} bits. {_weak(known, ratio)}"


def radius_summary(study: Study) -> str:
    """Say how the networks' error of the radius compares with the published one."""
    ours, published, prior = (row(study, name) for name in ("network", "published", "prior_mean"))
    if not np.isfinite(ours).any():
        return "The networks' errors were not computed in this run."
    text = ""
    if published.shape == ours.shape:
        ratio = ours / published
        low, high = float(np.nanmin(ratio)), float(np.nanmax(ratio))
        text = (
            f"The networks err by {fraction(low)} to {fraction(high)} times what was published "
            f"(geometric mean {fraction(float(np.exp(np.nanmean(np.log(ratio)))))})"
        )
    if prior.shape == ours.shape and np.isfinite(prior).any():
        gain = prior / ours
        text += (
            f"{', and ' if text else 'The networks err '}{fraction(float(np.nanmin(gain)), 1)} to "
            f"{fraction(float(np.nanmax(gain)), 1)} times less than one who always answers with the prior's mean"
        )
    return f"{text}." if text else ""


def radius_caption(study: Study) -> str:
    """Return the caption of the figure of radius errors."""
    truths = study.part("radius_error").get("truths")
    known = study.part("calibration").get("truths")
    text = (
        f"Root mean square error of the radius over {count(truths)} mock truths of fifteen stars each, with errors of "
        "0.1 solar masses and 0.5 km: the mean of the networks, the published row (Fujimoto, Fukushima & Murase 2018), "
        "and always answering with the prior's mean."
    )
    if np.isfinite(row(study, "exact")).any():
        truths = f"{count(known)} of those truths" if known else "some of those truths"
        text += f" The exact posterior's mean, which is as good as any answer can be, is known of {truths}"
        text += "; the dashed line is the networks' error of just these." if same_truths(study).size else "."
    return text


def same_truths(study: Study) -> np.ndarray:
    """Return the networks' radius errors, (masses,) km, of the truths whose exact posterior is known; empty if none."""
    part = study.part("calibration").get("network")
    values = part.get("rms") if isinstance(part, Mapping) else None
    masses = study.part("radius_error").get("mass")
    known = isinstance(values, list) and isinstance(part, Mapping) and part.get("masses") == masses
    return _floats(values) if known else np.array([])


def estimate(one: Estimate | None) -> str:
    """Write a number with its error, or with those below and above it where they differ; – where it is missing."""
    if one is None:
        return "–"
    if one.sd <= 0:
        return fraction(one.mean)
    below, above = (quantity(error, one.sd) for error in one.errors or (one.sd, one.sd))
    value = quantity(one.mean, one.sd)
    return f"{value} ± {above}" if below == above else f"{value} −{below} +{above}"


def prior_of_all(study: Study) -> str:
    """Say that the prior that is drawn has a cut which the posterior given every star has not; empty without one."""
    least = finite(study.part("ensemble").get("least_maximum_mass"))
    if not least or study.bands("mass_radius", "prior") is None:
        return ""
    return (
        f"Grey: the prior with its cut at a maximum mass of {least:g} solar masses, which this posterior does not "
        "have: it is given the heavy pulsars themselves."
    )


def moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (n,) over members (members, n): NaN where half of them have no value."""
    known = np.isfinite(rows).sum(axis=0)
    safe = np.maximum(known, 1)
    mean = np.nansum(rows, axis=0) / safe
    square = np.nansum((rows - mean) ** 2, axis=0) / np.maximum(known - 1, 1)
    shown = 2 * known > len(rows)
    return np.where(shown, mean, np.nan), np.where(shown & (known > 1), np.sqrt(square), np.nan)


def row(study: Study, name: str) -> np.ndarray:
    """Return a row of the radius errors, (masses,) km; empty where it is missing."""
    values = study.part("radius_error").get(name)
    return _floats(values)


def gains(entry: Mapping[str, Any]) -> list[float]:
    """Return the information gained about each segment in bits; empty where it is missing.

    An estimate below zero is one of nothing learnt.
    """
    values = [finite(one) for one in entry.get("information_gain") or []]
    return [max(0.0, one) for one in values if one is not None] if None not in values else []


def bits(gain: float) -> str:
    """Write an information gain."""
    return fraction(gain) if gain >= _NOTHING else "0"


def _floats(values: Any) -> np.ndarray:
    """Return numbers as an array, NaN where there is none; an empty one where they are no list."""
    known = [finite(one) for one in values] if isinstance(values, list) else []
    return np.array([np.nan if one is None else one for one in known], dtype=float)


def _weak(known: Sequence[float], ratio: float | None) -> str:
    """Name the segments of which next to nothing is learnt, and those of which little is."""
    hardly = [place for place, one in enumerate(known) if one < HARDLY]
    little = [place for place, one in enumerate(known) if HARDLY <= one < LITTLE]
    if not hardly and not little:
        return "Every segment is constrained by at least half a bit."
    if len(hardly) == len(known):
        return "None of the segments is constrained to speak of: what is seen of them is the prior."
    nothing = (
        f"below {fraction(HARDLY)} bits the posterior is nearly the prior, and what any method draws there is mostly "
        "what was put in"
    )
    if not little:
        return f"{_upper(hardly, known, ratio) or _segments(hardly)} hardly constrained: {nothing}."
    if not hardly:
        told = _upper(little, known, ratio) or _segments(little)
        return f"{told} little constrained: below half a bit much of what is seen there is still the prior."
    both = sorted(hardly + little)
    opening = _upper(both, known, ratio).removesuffix(" are")
    told = _segments(hardly) if not opening else f"Of {_lower(opening)} {_lower(_segments(hardly))}"
    return (
        f"{told} hardly constrained, and {_lower(_segments(little))} little: {nothing}; below half a bit much of what "
        "is seen is still the prior."
    )


def _segments(places: Sequence[int]) -> str:
    return f"Segment {_named(places)} is" if len(places) == 1 else f"Segments {_named(places)} are"


def _upper(places: Sequence[int], known: Sequence[float], ratio: float | None) -> str:
    """Name two or more segments that are the upper ones; empty where they are not."""
    if len(places) < 2 or list(places) != list(range(len(known) - len(places), len(known))):
        return ""
    above = f"{edges(len(known), ratio)[places[0]]:.2g} times nuclear density"
    return f"The upper {number(len(places))} segments ({_named(places)}, above {above}) are"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _upper_widths(study: Study) -> str:
    """Say how wide the posteriors of the upper two segments are beside the prior; empty where that is not known."""
    prior, exact = study.bands("sound_speed", "prior"), study.bands("sound_speed", "posterior")
    if prior is None or exact is None or exact.shape[1] < _UPPER + 1:
        return ""
    ratio = ((exact[UPPER] - exact[LOWER]) / (prior[UPPER] - prior[LOWER]))[-_UPPER:]
    told = spoken([fraction(one) for one in ratio])
    return (
        f"The middle 68 % of the upper {number(_UPPER)} segments are {told} times as wide as under the prior."
    )


def _agreed(study: Study, exact: Estimate, network: Estimate | None) -> str:
    """Say whether the networks agree."""
    if network is None:
        return "there are no networks to compare with"
    said, away = f"{quantity(network.mean, exact.sd)}\u00a0km", apart(exact, network)
    if abs(away) >= NEAR:
        side = "above it" if away > 0 else "below it"
        return f"the networks say {said}, {fraction(abs(away))} posterior standard deviations {side}"
    far = _furthest(study)
    if far is not None and abs(far[1]) >= NEAR:
        return f"the networks agree on it ({said}), but not on the speed of sound in segment {far[0]}"
    return f"the networks agree within its spread ({said})"


def _furthest(study: Study) -> tuple[int, float] | None:
    """Return the segment in which networks and posterior differ most, and by how many standard deviations."""
    values = [finite(one) for one in study.part("agreement").get("difference") or []]
    known = [(place + 1, one) for place, one in enumerate(values) if one is not None]
    return max(known, key=lambda pair: abs(pair[1])) if known else None


def _notes(study: Study) -> list[str]:
    notes = []
    if study.summary.get("scale") == "quick":
        notes.append(
            "This is the quick scale: few equations of state, few networks, few draws. Numbers to rely on come from "
            "the full one."
        )
    members = _members(study)
    if 0 < members < FEW_NETWORKS:
        notes.append(f"The networks' spread is that of {networks(members)}: it is itself known only roughly.")
    for part, named in (("posterior", "exact posterior"), ("posterior_all", "posterior given every star")):
        entry = study.part(part)
        if entry.get("verdict") and not trusted(entry):
            notes.append(f"The {named} is not sampled well: {advice(entry)}.")
    if study.part("calibration") and not study.part("calibration").get("uniform", True):
        notes.append(
            "The exact posterior fails its own test: ranks of mock truths are not uniform (see below)."
        )
    return notes


def _members(study: Study) -> int:
    rows = study.members("mass_radius")
    return 0 if rows is None else len(rows)


def _between(one: Estimate) -> str:
    return f"{quantity(one.low, one.sd)} to {quantity(one.high, one.sd)}"


def _named(places: Sequence[int]) -> str:
    return spoken([str(place + 1) for place in places])
