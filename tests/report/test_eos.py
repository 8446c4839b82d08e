"""The section of a run on neutron stars: its figures, sentences and tables, and the wording of the whole page."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

import hpc_ds.report as report
from hpc_ds.report import eos, tables
from hpc_ds.report.compare import compare_runs

STARS = [
    {"name": "J0030+0451", "kind": "pulse profile", "form": "errors", "mass": 1.34, "mass_errors": [0.16, 0.15],
     "radius": 12.71, "radius_errors": [1.19, 1.14], "source": "Riley et al. 2019", "method": "ST+PST"},
    {"name": "J0348+0432", "kind": "mass", "form": "errors", "mass": 2.01, "mass_errors": [0.04, 0.04],
     "radius": None, "radius_errors": None, "source": "Antoniadis et al. 2013", "method": ""},
    {"name": "X7", "kind": "", "form": "grid", "mass": 1.38952, "mass_errors": [0.43, 0.43],
     "radius": 10.83, "radius_errors": [1.4, 1.4], "source": "", "method": ""},
]  # fmt: skip


def quantiles(middle: np.ndarray, width: float) -> np.ndarray:
    return np.stack([middle + width * step for step in (-2.0, -1.0, 0.0, 1.0, 2.0)])


@pytest.fixture
def run(fake_run):
    """Return the folder of a run with 3 and 5 segments, the latter the more probable."""
    rng, models = np.random.default_rng(0), []
    for segments, share in ((3, 0.4), (5, 0.6)):
        mass, density = np.linspace(0.6, 2.6, 81), np.geomspace(151.5, 1211.7, 64)
        radius = quantiles(12.0 - 0.5 * (mass - 1.4) ** 2, 0.4)
        radius[:, mass > 2.2] = np.nan
        groups = {
            "posterior": {
                f"sound_speed_squared[{i + 1}]": rng.uniform(0.1, 0.9, (1, 400)) for i in range(segments)
            },
            "mass_radius": {
                "mass": mass,
                "radius": radius,
                "prior_radius": quantiles(13.0 + 0.0 * mass, 0.9),
            },
            "pressure_density": {
                "energy_density": density,
                "pressure": 2.0 * (density / 151.5) ** 2.6 * np.ones((5, 1)),
                "prior_pressure": np.stack(
                    [2.0 * (density / 151.5) ** power for power in (2, 2.2, 2.6, 2.8, 3)]
                ),
            },
            "information": {"gain": np.ones(segments)},
            **fake_run._ladder(),
        }
        entry = fake_run._model(f"{segments} segments", groups, -34.0 - segments, share)
        entry["derived"] = {
            "radius[1.4]": {"mean": 11.98, "sd": 0.41, "2.5%": 11.2, "97.5%": 12.8},
            "maximum_mass": {"mean": 2.21, "sd": 0.12, "2.5%": 2.0, "97.5%": 2.5},
        }
        entry["evidence"]["thermodynamic_integration"] = None  # part of the prior is impossible
        entry |= {"prior_share": 0.5, "prior_share_error": 0.01}
        entry["information_gain"] = [1.5, 0.9, 0.6, 0.1, -0.01][:segments]
        models.append(entry)
    folder = fake_run._finish("neutron-star", models, "5 segments", 3, "x", "y")
    summary = json.loads((folder / "summary.json").read_text())
    summary["data"] = {"path": "data/stars.toml", "n": 3}
    summary["options"] = {"segments": [3, 5], "least_maximum_mass": 1.97, "causal": True}
    summary["observations"] = STARS
    fake_run.write("summary.json", json.dumps(summary))
    return folder


@pytest.fixture
def summary(run):
    return json.loads((run / "summary.json").read_text())


def page(folder):
    return report.build(folder).read_text(encoding="utf-8").replace("&nbsp;", " ")


def test_estimator_without_an_answer_is_left_out(summary):
    table = tables.estimators(summary)
    assert [row[-1] for row in rows(table)] == ["–", "–"] and rows(table)[0][1] == "−37.000"


def test_pairs_are_of_parameters_by_their_short_names(run):
    text = page(run)
    assert ">c₁²<" in text and ">c² 1<" not in text and ">sound_speed_squared 1<" not in text


def rows(table):
    return [[cell.text for cell in row] for row in table.rows]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("data/stars.toml", "What do 3 stars of stars.toml tell"),
        ("observed", "What do 3 observed stars tell"),
        ("3 published stars", "What do 3 published stars tell"),
    ],
)
def test_question_names_the_stars_once(summary, path, asked):
    run = SimpleNamespace(summary=summary, data_path=path)
    assert eos.question(run) == f"{asked} of dense matter?"


def test_page_asks_of_matter_and_draws_it(run):
    text = page(run)
    assert "What do 3 stars of stars.toml tell of dense matter?" in text
    assert (
        "How many" not in text
        and "number of peaks" not in text
        and "Data points" not in text
        and "<dt>Stars</dt><dd>3</dd>" in text
    )
    assert text.index('id="matter"') < text.index('id="models"') < text.index('id="parameters"')
    for model in ("3 segments", "5 segments"):
        bands = f"prior and posterior of {model}"
        assert f'aria-label="Radius and mass of three observed stars with the bands of {bands}"' in text
        assert f'aria-label="Pressure against energy density: {bands}"' in text
    for number in ("three", "five"):
        assert f'aria-label="Information gained about each of {number} segments, in bits"' in text
    assert ">J0030+0451<" in text and "<title>X7: 1.39 ± 0.43 solar masses, 10.83 ± 1.4 km</title>" in text
    assert "(pulse profiles: diamonds, masses only: triangles and others: dots)" in text
    assert "A triangle at the edge" in text and "exact posterior" not in text and "networks" not in text
    assert ">5.3–8<" in text  # the upper one of five segments


def test_segments_end_where_the_run_says(run, summary, fake_run):
    summary["options"]["density_ratio"] = 32.0
    fake_run.write("summary.json", json.dumps(summary))
    text = page(run)
    assert ">16–32<" in text and ">5.3–8<" not in text
    assert "(4 and 5, above 8 times nuclear density)" in text


def test_information_below_zero_is_none(run):
    text = page(run)
    assert "give 1.50, 0.90, 0.60, 0.10 and 0 bits" in text
    assert "−0.01" not in text


def test_other_runs_have_no_such_section(fake_run):
    assert 'id="matter"' not in page(fake_run.spectrum(numbers=(2,)))


def test_hardly_constrained_segments_are_named(summary):
    lines = eos.sentences(summary, summary["models"][1])
    assert lines[0].startswith(
        "The radius of a star of 1.4 solar masses is 11.98 ± 0.41 km (95 %: 11.20 to 12.80) and"
    )
    assert "(4 and 5, above 3.5 times nuclear density) are hardly constrained" in lines[1]
    assert "Every segment is constrained" in eos.sentences(summary, summary["models"][0])[1]
    assert eos.sentences({**summary, "model": "spectrum"}, summary["models"][1]) == []


def test_evidence_given_the_cuts_is_larger_by_the_share_that_meets_them(summary):
    table = eos.cuts(summary)
    assert "a maximum mass of 1.97 and no sound faster than light" in table.caption
    name, evidence, share, given = rows(table)[0]
    assert (name, share) == ("3 segments", "50.0 ± 1.0 %")
    assert evidence == "−37.000 ± 0.031"
    assert given == "−36.307 ± 0.037"  # + ln 2; the errors .031 and .01 / .5 together
    for entry in summary["models"]:
        del entry["prior_share"]
    assert eos.cuts(summary) is None


@pytest.mark.parametrize(
    ("share", "error", "told"),
    [
        (1.0, 0.0005, "over 99.9 %"),
        (0.999, 0.002, "over 99.7 %"),
        (1.0, 0.0, "100 %"),
        (0.995, 0.0016, "99.50 ± 0.16 %"),
    ],
)
def test_a_share_of_one_within_its_error_is_told_by_its_lower_end(summary, share, error, told):
    summary["models"][0] |= {"prior_share": share, "prior_share_error": error}
    assert rows(eos.cuts(summary))[0][2] == told


def test_stars_are_told_with_errors_and_sources(run):
    body = page(run).partition("<caption>The stars</caption>")[2].partition("</table>")[0]
    told = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("<tr>")[2:]]
    assert told == [
        ["J0030+0451", "1.34 −0.16 +0.15", "12.71 −1.19 +1.14", "Riley et al. 2019", "pulse profile; ST+PST"],
        ["J0348+0432", "2.01 ± 0.04", "–", "Antoniadis et al. 2013", "mass"],
        ["X7", "1.39 ± 0.43", "10.83 ± 1.4", "–", "grid of likelihoods"],
    ]


def test_terminal_tells_the_same(summary):
    from rich.console import Console

    console = Console(width=150, record=True)
    console.print(tables.terminal(summary))
    told = console.export_text()
    assert "What the cuts leave" in told and "(4 and 5, above 3.5" in told


def test_comparison_lists_radius_and_heaviest_star(run):
    told = compare_runs(str(run), str(run))
    assert "5 segments radius[1.4]" in told and "5 segments maximum_mass" in told


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 400])
def test_report_is_whole_in_chromium(browser, run, width):
    path = report.build(run)
    seen = browser.visit(path, width)
    assert seen["inner"] == width and seen["page"] <= width
    assert all(box["height"] > 50 and box["left"] >= 0 and box["right"] <= width for box in seen["boxes"])
    assert seen["smallest"] >= 6.0
    assert browser.complaints() == [] and browser.requests(path) == []
