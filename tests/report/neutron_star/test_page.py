import html
import json
import math
import re
import shutil
from collections import Counter
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest

import hpc_ds.report as report
from hpc_ds.physics.neutron_star.observed import OBSERVED
from hpc_ds.report.neutron_star.naming import measured, segments
from hpc_ds.report.neutron_star.reader import Estimate
from hpc_ds.report.neutron_star.wording import estimate, learnt
from hpc_ds.runtime.errors import InputError

VOID = {"meta", "link", "br", "img", "image"}
FIGURES = 13
RADIUS = "radius[1.4]"


class Outline(HTMLParser):
    """Collects identifiers and addresses, and notices tags that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.references, self.addresses, self.open = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src"):
                self.addresses.append(value)
            self.references += re.findall(r"url\(#([^)]+)\)", value or "")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page(folder):
    text = report.build(folder).read_text(encoding="utf-8")
    return plain(text)


def plain(text):
    return text.replace("&nbsp;", " ").replace("\u202f", " ").replace("\xa0", " ")


def prose(text):
    """Return what is read: no figures, no tags."""
    bare = re.sub(r"<(svg|style|table).*?</\1>", " ", text, flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", bare)))


def headline(text):
    return html.unescape(re.search(r'<p class="verdict">(.*?)</p>', text)[1])


def notes(text):
    return [html.unescape(note) for note in re.findall(r"<li>(.*?)</li>", text.partition("</header>")[0])]


def table(text, caption):
    """Return the rows of the table whose caption begins so, each a list of texts."""
    parts = re.findall(r"<table>.*?</table>", text, re.S)
    body = next((part for part in parts if f"<caption>{caption}" in part), "")
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)
    return [
        [html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)] for row in rows
    ]


def changed(part, **values):
    return {**part, **values}


@pytest.fixture
def told(monkeypatch):
    """Return a `page` that draws nothing, for what stands in words and tables."""
    monkeypatch.setattr("hpc_ds.report.svg.render", lambda *_, key, label, size=None: "<svg></svg>")
    return page


@pytest.fixture(scope="module")
def whole(studied):
    """The page of a whole study."""
    return page(studied)


@pytest.fixture(scope="module")
def summary(studied):
    return json.loads((studied / "summary.json").read_text())


def test_page_is_whole_and_needs_nothing_from_outside(whole):
    outline = Outline(whole)
    assert [one for one, times in Counter(outline.ids).items() if times > 1] == []
    assert set(outline.references) <= set(outline.ids)
    assert all(address.startswith(("#", "data:")) for address in outline.addresses)
    assert "<script" not in whole and "@import" not in whole
    assert "://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", whole)


def test_every_figure_is_labelled_and_captioned(whole):
    pictures = re.findall(r"<figure>(.*?)</figure>", whole, re.S)
    assert len(pictures) == FIGURES
    labelled = r'<svg class="plot" role="img" aria-label="[^"]+" viewBox="'
    assert all(re.search(labelled, item) for item in pictures)
    assert all(re.search(r"<figcaption>\w.*\.</figcaption>", item) for item in pictures)


def test_page_is_the_same_every_time_and_not_large(studied, whole):
    assert page(studied) == whole
    assert len(whole) < 6e5


def test_headline_tells_radius_interval_and_agreement(whole, summary):
    radius = summary["posterior"]["derived"][RADIUS]
    assert headline(whole).startswith(
        f"Fourteen observed stars put the radius of a star of 1.4 solar masses at {radius['mean']:.2f} km "
        f"(95 %: {radius['2.5%']:.2f} to {radius['97.5%']:.2f}); the networks agree within its spread"
    )


def test_headline_says_where_networks_and_posterior_differ(fake_study, told):
    posterior = fake_study.summary["posterior"]
    radius = {"mean": 9.1, "sd": 0.5, "2.5%": 8.1, "97.5%": 10.1}
    derived = changed(posterior["derived"], **{RADIUS: radius})
    network = float(np.interp(1.4, fake_study.compared["mass_radius"]["mass"], mean_of(fake_study)))
    text = told(fake_study.write(posterior=changed(posterior, derived=derived)))
    apart = (network - 9.1) / 0.5
    assert (
        f"the networks say {network:.2f} km, {apart:.2f} posterior standard deviations above it."
        in headline(text)
    )


def test_headline_says_that_only_a_speed_of_sound_differs(fake_study, told):
    text = told(fake_study.write(agreement={"difference": [0.1, -1.7, 0.2, 0.0, 0.1]}))
    assert "but not on the speed of sound in segment 2." in headline(text)
    assert "segment 2 differs most, by 1.70" in prose(text)
    row = table(text, "Squared speed of sound")[2]
    assert row[3] == "−1.70"


def test_headline_without_a_posterior_is_that_of_the_networks(fake_study, told):
    said = headline(told(fake_study.write(posterior=None)))
    assert "read by ten networks" in said and "there is no exact posterior to compare with." in said


def test_facts_tell_each_answer(whole, summary):
    facts = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", whole))
    every = summary["posterior_all"]["derived"][RADIUS]
    assert facts["R(1.4), every star"] == f"{every['mean']:.2f} ± {every['sd']:.2f} km"
    assert facts["Equations of state"] == str(summary["ensemble"]["accepted"])
    assert facts["Took"] == "26 min 24 s"


def test_radius_errors_stand_beside_the_published_row(whole, summary):
    rows = {row[0]: row[1:] for row in table(whole, "Root mean square error of the radius")}
    assert rows[""] == ["0.6", "0.8", "1.0", "1.2", "1.4", "1.6", "1.8"]
    assert rows["published"] == ["0.160", "0.120", "0.100", "0.099", "0.110", "0.110", "0.120"]
    assert rows["networks"] == ["0.155", "0.161", "0.158", "0.129", "0.125", "0.122", "0.129"]
    assert rows["networks / published"][:2] == ["0.97", "1.34"]
    assert rows["exact posterior mean"][0] == "0.140"
    assert rows["networks, same truths"] == [f"{one:.3f}" for one in summary["calibration"]["network"]["rms"]]
    assert rows["prior mean"] == [f"{one:.3f}" for one in summary["radius_error"]["prior_mean"]]
    assert "The networks err by 0.97 to 1.58 times what was published (geometric mean 1.20)" in prose(whole)


def test_a_row_that_is_missing_is_left_out_of_the_radius_errors(fake_study, told):
    part = changed(fake_study.summary["radius_error"], exact=None, network=[math.nan] + [0.2] * 6)
    rows = {row[0]: row[1:] for row in table(told(fake_study.write(radius_error=part)), "Root mean square")}
    assert "exact posterior mean" not in rows
    assert rows["networks"][:2] == ["–", "0.200"]


def test_evidence_is_told_with_and_without_the_cut(whole):
    rows = table(whole, "Evidence by number of segments")
    assert [row[0] for row in rows[1:]] == ["3 segments", "4 segments", "5 segments", "7 segments"]
    assert rows[1] == ["3 segments", "−34.060 ± 0.030", "51 %", "93.00 ± 0.30 %", "−33.987 ± 0.030"]
    assert math.isclose(-34.06 - math.log(0.93), -33.987, abs_tol=5e-4)


def test_segments_of_little_information_are_called_hardly_constrained(fake_study, told):
    posterior = changed(fake_study.summary["posterior"], information_gain=[3.1, 2.2, 0.7, 0.11, 0.04])
    text = told(fake_study.write(posterior=posterior))
    said = prose(text)
    assert "give 3.10, 2.20, 0.70, 0.11 and 0.04 bits" in said
    assert "The upper two segments (4 and 5, above 3.5 times nuclear density) are hardly constrained" in said
    assert [row[4] for row in table(text, "Squared speed of sound")[1:]] == [
        "3.10",
        "2.20",
        "0.70",
        "0.11",
        "0.04",
    ]


def test_information_below_zero_is_none(fake_study, told):
    posterior = changed(fake_study.summary["posterior"], information_gain=[3.1, 2.2, 0.7, -0.004, -0.12])
    text = told(fake_study.write(posterior=posterior))
    assert "give 3.10, 2.20, 0.70, 0 and 0 bits" in prose(text)
    assert [row[4] for row in table(text, "Squared speed of sound")[4:]] == ["0", "0"]


def test_published_numbers_are_told_as_published():
    for star in OBSERVED:
        below, above = star.mass_errors
        errors = f"± {below:g}" if below == above else f"−{below:g} +{above:g}"
        assert measured(vars(star), "mass") == f"{star.mass:g} {errors}"


def test_computed_numbers_end_at_the_third_digit_of_their_error():
    assert measured({"mass": 1.389523, "mass_errors": [0.43361, 0.51872]}, "mass") == "1.39 −0.434 +0.519"


def test_segments_of_much_information_are_not_called_so(fake_study, told):
    posterior = changed(fake_study.summary["posterior"], information_gain=[3.1, 2.2, 0.7, 0.6, 0.5])
    said = told(fake_study.write(posterior=posterior)).partition('id="speeds"')[2].partition("<figure>")[0]
    assert "Every segment is constrained by at least half a bit." in said
    assert "hardly constrained" not in said and "little" not in said


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (
            [3.0, 2.4, 0.7, 0.05, 0.32],
            "Of the upper two segments (4 and 5, above 3.5 times nuclear density) segment 4 is hardly constrained, "
            "and segment 5 is little: below 0.25 bits",
        ),
        (
            [3.0, 2.4, 0.7, 0.25, 0.49],
            "segments (4 and 5, above 3.5 times nuclear density) are little constrained:",
        ),
        (
            [3.0, 0.1, 0.7, 0.3, 0.6],
            "Segment 2 is hardly constrained, and segment 4 is little: below 0.25 bits",
        ),
        ([3.0, 2.4, 0.4, 0.9, 0.6], "Segment 3 is little constrained: below half a bit"),
    ],
)
def test_segments_below_half_a_bit_are_called_little_constrained(gain, said):
    assert said in learnt({"information_gain": gain}, None)


def test_width_of_the_upper_two_segments_is_told_beside_the_prior(whole, fake_study):
    prior, exact = (fake_study.compared["sound_speed"][name] for name in ("prior", "posterior"))
    ratio = (exact[3] - exact[1]) / (prior[3] - prior[1])
    told = f"upper two segments are {ratio[3]:.2f} and {ratio[4]:.2f} times as wide as under the prior"
    assert told in prose(whole)


def test_segments_are_equal_in_the_logarithm_of_density():
    assert segments(5) == ["1–1.5", "1.5–2.3", "2.3–3.5", "3.5–5.3", "5.3–8"]
    assert segments(3) == ["1–2", "2–4", "4–8"]


def test_band_of_the_bootstrap_is_called_too_narrow_by_the_numbers(whole, summary):
    network = summary["calibration"]["network"]
    shares = [one["coverage"][0] for one in network["quantities"]]
    said = prose(whole)
    assert f"holds the truth in {100 * np.median(shares):.0f} % of 60 mock truths" in said
    assert "where 68 % would be right. It is too narrow, as was published: their spread is" in said
    rows = table(whole, "Truths inside the bands")
    assert rows[1][0] == "c₁²" and rows[1][3] == f"{100 * shares[0]:.0f}"
    assert rows[13][:1] == ["max. mass"] and rows[13][3] == "–"


def test_band_of_the_bootstrap_that_is_right_is_said_to_be_so(fake_study, told):
    part = fake_study.summary["calibration"]
    quantities = [changed(one, coverage=[0.68, 0.95]) for one in part["network"]["quantities"]]
    network = changed(part["network"], quantities=quantities)
    said = prose(told(fake_study.write(calibration=changed(part, network=network))))
    assert "Here it is as wide as it should be" in said and "too narrow, as" not in said


def test_coverage_and_ranks_of_the_exact_posterior_are_told(whole, summary):
    part = summary["calibration"]
    shares = [[one["coverage"][level] for one in part["quantities"]] for level in (0, 1)]
    said = prose(whole)
    assert f"Of 60 mock truths the exact posterior has {100 * np.median(shares[0]):.0f} %" in said
    assert f"give or take {100 * part['coverage_error'][1]:.1f} points" in said
    assert "their ranks are uniform" in said
    assert table(whole, "Truths inside the bands")[1][1:3] == [f"{100 * one[0]:.0f}" for one in shares]


def test_ranks_that_are_not_uniform_are_told_at_the_top(fake_study, told):
    text = told(fake_study.write(calibration=changed(fake_study.summary["calibration"], uniform=False)))
    assert any("ranks of mock truths are not uniform" in note for note in notes(text))


def test_the_two_ways_to_a_posterior_are_compared(whole, summary):
    found = summary["calibration"]["exchange"]
    said = prose(whole)
    assert "For 20 of them the posterior was sampled by replica exchange too. The two agree" in said
    assert f"differ by {found['means_in_errors']['rms']:.2f} joint Monte Carlo errors" in said
    after = summary["calibration"]["effective"]["after"]
    assert f"{after['median']:,.0f} (at least {after['least']:,.0f})".replace(",", " ") in said


@pytest.mark.parametrize(
    ("errors", "truths", "said"),
    [
        (2.4, 2, "Two truths say little"),
        (0.9, 1, "One truth says little"),
        (2.4, 20, "The two do not agree"),
        (0.9, 20, "The two agree"),
    ],
)
def test_two_ways_are_judged_by_errors_and_number(fake_study, told, errors, truths, said):
    part = fake_study.summary["calibration"]
    apart = {"rms": errors, "largest": 2 * errors}
    exchange = changed(part["exchange"], truths=truths, means_in_errors=apart)
    assert said in prose(told(fake_study.write(calibration=changed(part, exchange=exchange))))


def test_prior_that_expected_another_radius_is_told(fake_study, told):
    said = prose(told(fake_study.write()))
    low, high = (np.interp(1.4, *curve_of(fake_study, row)) for row in (0, 4))
    assert (
        f"The prior alone says {low:.2f} to {high:.2f} km (95 %): the stars put the radius below all of that"
        in said
    )


@pytest.mark.parametrize(
    ("share", "said"), [(0.5, "the stars make that 2.0 times narrower"), (0.95, "The stars hardly narrow it")]
)
def test_how_much_the_stars_narrow_the_prior_is_told(fake_study, told, share, said):
    lower, middle, upper = (np.interp(1.4, *curve_of(fake_study, row)) for row in (1, 2, 3))
    radius = {"mean": middle, "sd": share * 0.5 * (upper - lower), "2.5%": middle, "97.5%": middle}
    posterior = fake_study.summary["posterior"]
    derived = changed(posterior["derived"], **{RADIUS: radius})
    assert said in prose(told(fake_study.write(posterior=changed(posterior, derived=derived))))


def test_every_star_is_named_in_figure_and_table_with_its_source(whole, fake_study):
    rows = table(whole, "Stars that networks and exact posterior are given")[1:]
    assert [row[0] for row in rows] == [star.name for star in fake_study.stars]
    assert rows[0][1:4] == ["1.46 ± 0.26", "12.35 ± 1.94", "Shaw et al. 2018, MNRAS 476, 4713"]
    others = {row[0]: row for row in table(whole, "Further stars")}
    assert others["J0348+0432"][2] == "–" and others["J0030+0451"][2] == "12.71 −1.19 +1.14"
    for star in fake_study.stars:
        assert re.search(rf"<title>{re.escape(star.name)}: [^<]* solar masses, [^<]* km \(", whole)
        assert re.search(rf"<text[^>]*>{re.escape(star.name)}</text>", whole)


def test_stages_are_told_with_size_and_time(whole):
    rows = {row[0]: row[1:] for row in table(whole, "What was done")}
    assert rows["networks, known errors"][0].startswith("ten networks 56-60-40-40-5, 7 705 parameters each")
    assert rows["equations of state"][1] == "31 s" and rows["calibration"][1] == "–"
    assert rows["exact posterior"][0] == "20 000 draws, worth 250 or more"


def test_samples_of_all_epochs_are_told_as_such(whole):
    rows = {row[0]: row[1] for row in table(whole, "What was done")}
    told = "1 960 equations of state, 3 920 000 noisy samples in all epochs, test error"
    assert all(told in rows[f"networks, {kind} errors"] for kind in ("fixed", "known"))


def test_a_skewed_prior_is_told_with_errors_below_and_above(whole, fake_study):
    lower, middle, upper = (float(np.interp(1.4, *curve_of(fake_study, row))) for row in (1, 2, 3))
    assert middle - lower > 2 * (upper - middle)  # no ± would be right
    told = f"{middle:.2f} −{middle - lower:.2f} +{upper - middle:.2f}"
    assert table(whole, "What they say")[1][1] == told


def test_equal_errors_are_told_once():
    assert estimate(Estimate(12.0, 0.5, errors=(0.501, 0.499))) == "12.00 ± 0.50"
    assert estimate(Estimate(12.0, 0.5, errors=(0.7, 0.3))) == "12.00 −0.70 +0.30"
    assert estimate(Estimate(12.0, 0.0)) == "12.00" and estimate(None) == "–"


def test_the_cut_of_the_prior_beside_every_star_is_told(whole, fake_study, told):
    said = "Grey: the prior with its cut at a maximum mass of 1.97 solar masses, which this posterior does not have"
    caption = prose(whole).partition("The same plane with")[2].partition("Pressure and density")[0]
    assert said in caption
    assert "with its cut" not in prose(told(fake_study.write(ensemble=None)))


def test_only_reports_that_were_built_are_linked(fake_study, told):
    folder = fake_study.write()
    for name in ("ensemble", "network-known"):
        (folder / name).mkdir()
    (folder / "network-known" / "report.html").write_text("<p>here</p>", encoding="utf-8")
    links = [one for one in Outline(told(folder)).addresses if not one.startswith(("#", "data:"))]
    assert links == ["network-known/report.html"]


def test_a_run_without_calibration_says_so(fake_study):
    folder = fake_study.write(calibration=None)
    shutil.rmtree(folder / "calibration")
    text = page(folder)
    assert "No calibration was made in this run." in prose(text)
    assert table(text, "What was done")[-1][:2] == ["calibration", "not done"]


def test_a_calibration_without_networks_and_exchange_says_so(fake_study):
    part = changed(fake_study.summary["calibration"], network=None, exchange=None)
    folder = fake_study.write(calibration=part)
    (folder / "calibration" / "calibration.h5").unlink()
    said = prose(page(folder))
    assert "The band of the networks was not tested in this run." in said
    assert "No truth was sampled by replica exchange as well." in said


def test_a_run_without_the_posterior_of_every_star_says_so(fake_study):
    folder = fake_study.write(posterior_all=None, observations_all=[])
    with h5py.File(folder / "comparison.h5", "r+") as file:
        for group in ("mass_radius", "pressure_density", "sound_speed"):
            del file[group]["posterior_all"]
    text = page(folder)
    assert "The posterior given every published star was not sampled in this run." in prose(text)
    assert len(re.findall("<figure>", text)) == FIGURES - 2


def test_tables_stand_without_the_file_of_curves(fake_study):
    folder = fake_study.write()
    (folder / "comparison.h5").unlink()
    text = page(folder)
    assert "there are no networks to compare with" in headline(text)
    assert len(table(text, "Squared speed of sound")) == 6 and 'id="pressure"' not in text


def test_bands_of_nothing_but_nan_count_as_missing(fake_study):
    folder = fake_study.write()
    with h5py.File(folder / "comparison.h5", "r+") as file:
        for group in ("mass_radius", "pressure_density", "sound_speed"):
            file[group]["posterior_all"][...] = np.nan
            file[group]["members"][...] = np.nan
    text = page(folder)
    assert "there are no networks to compare with" in headline(text)
    assert "Orange: ten networks" not in text and "Orange: the networks" in text  # of the calibration


@pytest.mark.parametrize("members", [1, 2])
def test_quick_runs_of_few_networks_are_told_to_be_rough(fake_study, members):
    folder = fake_study.write(scale="quick")
    with h5py.File(folder / "comparison.h5", "r+") as file:
        for group in ("mass_radius", "pressure_density", "sound_speed"):
            rows = file[group]["members"][:members]
            del file[group]["members"]
            file[group]["members"] = rows
    said = notes(page(folder))
    assert any("quick scale" in note for note in said)
    assert any(("one network:", "two networks:")[members - 1] in note for note in said)


def test_a_summary_of_the_bare_minimum_still_makes_a_page(tmp_path):
    bare = {"format": 1, "kind": "study", "study": "neutron-star"}
    (tmp_path / "summary.json").write_text(json.dumps(bare), encoding="utf-8")
    text = page(tmp_path)
    assert headline(text) == "This run says nothing of the radius of a neutron star."
    Outline(text)


def test_a_posterior_that_was_not_sampled_well_is_told_at_the_top(fake_study, told):
    verdict = {"trust": False, "text": "run longer: 3 round trips only"}
    text = told(fake_study.write(posterior=changed(fake_study.summary["posterior"], verdict=verdict)))
    assert "The exact posterior is not sampled well: run longer: 3 round trips only." in notes(text)


def test_hostile_names_stay_text(fake_study):
    name = '<img src="x" onerror="alert(1)">&'
    stars = [
        changed(one, name=name if place == 0 else one["name"])
        for place, one in enumerate(stars_of(fake_study))
    ]
    text = page(fake_study.write(observations=stars, title=name))
    Outline(text)
    assert "<img" not in text
    assert html.escape(name, quote=False).replace('"', "&quot;") in text


def test_another_study_or_a_damaged_folder_is_refused_in_one_line(fake_study, tmp_path):
    from hpc_ds.report.neutron_star.page import html as build

    def refused(folder, said):
        with pytest.raises(InputError) as caught:
            build(folder)
        assert "\n" not in str(caught.value) and said in str(caught.value)

    refused(tmp_path / "none", "no such folder")
    refused(tmp_path, "no run folder")
    folder = fake_study.write()
    (folder / "comparison.h5").write_bytes(b"nonsense")
    refused(folder, "comparison.h5: cannot be read as HDF5")
    folder = fake_study.write()
    with h5py.File(folder / "comparison.h5", "r+") as file:
        del file["mass_radius"]["prior"]
        file["mass_radius"]["prior"] = np.zeros((5, 3))
    refused(folder, "mass_radius/prior has shape (5, 3), not (5, 81)")
    folder = fake_study.write()
    (folder / "summary.json").unlink()
    refused(folder, "the study is not finished")


def mean_of(study):
    """Return the mean radius of the networks, NaN where one of them has none."""
    return study.compared["mass_radius"]["members"].mean(axis=0)


def curve_of(study, row):
    """Return masses and one quantile of the prior's radii."""
    group = study.compared["mass_radius"]
    return group["mass"], group["prior"][row]


def stars_of(study):
    return study.summary["observations"]
