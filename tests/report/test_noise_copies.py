import json
import re
from html import unescape

import numpy as np
import pytest

from hpc_ds.report.noise_copies import html
from hpc_ds.report.noise_copies.reader import load
from hpc_ds.report.noise_copies.wording import concluded, judged, over_networks, verdict
from hpc_ds.runtime.errors import InputError

SEEDS = 60
TREATMENTS = (
    ("none", 0, 0.0),
    ("copies", 1, 0.02),
    ("copies", 100, 0.02),
    ("bias", 0, 0.02),
    ("dropout", 0, 0.1),
)
VERDICTS = {"better": (0.8, 0.7, 0.9), "worse": (1.3, 1.2, 1.4), "open": (1.0, 0.9, 1.1)}


def comparison(outcome):
    ratio, low, high = VERDICTS[outcome]
    return {"wins": 20, "seeds": SEEDS, "ratio": ratio, "low": low, "high": high, "verdict": outcome}


def entry(rng, widths, activation, kind, copies, amount, stuck=0):
    test, train = rng.uniform(0.05, 0.2, SEEDS), rng.uniform(0.001, 0.1, SEEDS)
    name = f"{'-'.join(map(str, widths))} {activation}"
    quartiles = [
        dict(zip(("25%", "median", "75%"), np.quantile(one, (0.25, 0.5, 0.75)))) for one in (test, train)
    ]
    return {
        "name": f"{name} {kind}-{copies} {amount}",
        "network": name,
        "widths": widths,
        "activation": activation,
        "parameters": 118,
        "treatment": kind,
        "copies": copies,
        "amount": amount,
        "test": quartiles[0],
        "train": quartiles[1],
        "stuck": stuck,
        "dead": 0,
        "errors": {"test": test.tolist(), "train": train.tolist()},
    }


def write(folder, outcome="better", claims=("better", "worse", "open"), seeds=SEEDS, stuck=0, strengths=()):
    """Write a run folder as the study leaves it, its numbers drawn at random."""
    rng = np.random.default_rng(5)
    variants = [entry(rng, (1, 9, 9, 1), "leaky-relu", *one) for one in TREATMENTS]
    variants[0]["stuck"] = stuck
    variants += [entry(rng, (1, 9, 9, 1), "leaky-relu", "copies", 100, amount) for amount in strengths]
    variants += [entry(rng, (1, 2, 2, 1), "relu", *one) for one in (TREATMENTS[0], TREATMENTS[2])]
    plain = {one["network"]: one for one in variants if one["treatment"] == "none"}
    said = [(one, expected) for one in claims for expected in ("better", "same")]
    summary = {
        "format": 1,
        "kind": "study",
        "study": "noise-copies",
        "title": "Noise & copies",
        "source": "a table <of> ours",
        "points": 20,
        "seeds": seeds,
        "steps": 4000,
        "main": "1-9-9-1 leaky-relu",
        "stuck_above": 0.5,
        "variants": variants,
        "gains": [
            {"variant": one["name"], **comparison(outcome)}
            for one in variants
            if one is not plain[one["network"]]
        ],
        "claims": [
            {
                "said": f"{one} as {expected}",
                "expected": expected,
                "variant": "",
                "other": "",
                **comparison(one),
            }
            for one, expected in said
        ],
    }
    x = np.linspace(0, 1, 201)
    curves = {f"prediction/{one['name']}": rng.normal(0, 0.1, (SEEDS, 201)) for one in variants}
    places = rng.random((SEEDS, 20))
    np.savez(folder / "results.npz", x=x, truth=x, points=places, values=places, **curves)
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "config.toml").write_text('study = "noise-copies"\n')
    return folder


def page(folder):
    return unescape(html(folder)).replace("\xa0", " ").replace("\u202f", " ")


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (
            "better",
            "lower the test error of 1-9-9-1 leaky ReLU: 0.80 times that without noise (95 %: 0.70 to 0.90).",
        ),
        (
            "worse",
            "raise the test error of 1-9-9-1 leaky ReLU: 1.30 times that without noise (95 %: 1.20 to 1.40).",
        ),
        ("open", "make no clear difference to the test error of 1-9-9-1 leaky ReLU: 1.00 times"),
    ],
)
def test_the_headline_follows_the_numbers(tmp_path, outcome, said):
    text = page(write(tmp_path, outcome))
    assert f"100 noise copies of 20 exact points {said}" in text
    assert text.count("exact points") == 2  # title of the page and verdict


def test_the_claims_are_judged_by_their_intervals(tmp_path):
    study = load(write(tmp_path))
    found = {claim["said"]: judged(claim) for claim in study.claims}
    assert found == {
        "better as better": "yes",
        "better as same": "no: better",
        "worse as better": "no: worse",
        "worse as same": "no: worse",
        "open as better": "left open",
        "open as same": "no difference found",
    }
    assert concluded(study).startswith(
        "Of 6 things that are said of these networks, the numbers bear out 1, contradict 3 and leave 1 open; "
        "where two are said to do the same, no difference was found in 1."
    )


def test_the_networks_that_gain_are_named(tmp_path):
    assert "Of all: 100 noise copies lower the test error of" in page(write(tmp_path))
    assert over_networks(load(write(tmp_path))) == (
        "100 noise copies lower the test error of 1-9-9-1 leaky ReLU and 1-2-2-1 ReLU."
    )
    assert over_networks(load(write(tmp_path, "open"))) == (
        "100 noise copies make no clear difference in 2 of 2 networks."
    )


def test_every_variant_is_in_the_table_with_its_numbers(tmp_path):
    folder = write(tmp_path)
    text, study = page(folder), load(folder)
    body = next(part for part in re.findall(r"<table>.*?</table>", text, re.S) if "Every variant" in part)
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)[1:]
    assert len(rows) == len(study.variants)
    for row, one in zip(rows, study.variants):
        assert f"{one['test']['median']:.4f}" in row and f"{one['train']['median']:.4f}" in row
    assert "1 noise copy, s = 0.02" in rows[1] and "dropout of 10 %" in rows[4]
    assert "0.800 (0.700–0.900)" in rows[1] and "–" in rows[0]


def test_the_page_stands_alone_and_is_the_same_each_time(tmp_path):
    folder = write(tmp_path, strengths=(0.005, 0.04))
    raw = html(folder)
    assert raw == html(folder)
    assert raw.startswith("<!doctype html>") and not re.search(r'(href|src)="(?!#|data:)', raw)
    assert raw.count("<svg") == 7
    assert "Noise &amp; copies" in raw and "a table &lt;of&gt; ours" in raw
    names = re.findall(r' id="([^"]+)"', raw)
    assert len(names) == len(set(names))


def test_the_strength_is_drawn_only_where_there_are_several(tmp_path):
    assert "standard deviation s of the noise" not in page(write(tmp_path))
    assert "standard deviation s of the noise" in page(write(tmp_path, strengths=(0.01,)))


def test_few_seeds_and_stuck_trainings_are_told_first(tmp_path):
    assert verdict(load(write(tmp_path))).notes == ()
    notes = verdict(load(write(tmp_path, seeds=20, stuck=7))).notes
    assert notes[0].startswith("20 seeds leave all but large differences open")
    assert notes[1].startswith(
        "7 of 20 trainings of 1-9-9-1 leaky ReLU are stuck in a local minimum without noise, 0 with 100 noise copies"
    )


def test_other_strengths_are_not_taken_for_the_usual_one(tmp_path):
    study = load(write(tmp_path, strengths=(0.005,)))
    assert [one["amount"] for one in study.main] == [0.0, 0.02, 0.02, 0.02, 0.1]


def test_the_seeds_shown_stand_at_the_quartiles():
    from hpc_ds.report.noise_copies.pictures import at_quartiles

    assert at_quartiles({"errors": {"test": [0.5, 0.1, 0.3, 0.2, 0.4]}}) == [3, 2, 4]


def test_an_unfinished_or_damaged_study_is_refused_in_one_line(tmp_path):
    write(tmp_path)
    (tmp_path / "results.npz").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"results\.npz: cannot be read"):
        html(tmp_path)
    (tmp_path / "summary.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        html(tmp_path)
