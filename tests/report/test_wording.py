import math

import pytest

from hpc_ds.report import wording


def models(**probabilities):
    return [
        {
            "name": f"K={name[1:]}",
            "probability": share,
            "log_evidence": math.log(share) if share else -800.0,
            "log_evidence_error": 0.001,
            "verdict": {"trust": True, "text": "trust this"},
        }
        for name, share in probabilities.items()
    ]


def headline(**probabilities):
    return wording.verdict({"models": models(**probabilities)}).headline


def test_published_spectrum_is_told_without_forcing_a_winner():
    said = headline(k1=0.0, k2=0.0, k3=0.52, k4=0.41, k5=0.03)
    assert said == "3 peaks are the most probable (52 %), 4 cannot be excluded (41 %)."


def test_several_open_models_are_all_named():
    said = headline(k2=0.30, k3=0.60, k4=0.10)
    assert said == "3 peaks are the most probable (60 %), 2 (30 %) and 4 (10 %) cannot be excluded."


def test_clear_case_is_told_as_clear_and_never_as_certain():
    assert headline(k1=0.0, k2=1.0) == "2 peaks are by far the most probable (> 99.9 %)."


def test_one_peak_is_singular_and_a_faint_rival_unlikely():
    assert headline(k1=0.97, k2=0.03) == "1 peak is the most probable (97 %), 2 is unlikely (3.0 %)."


def test_equal_models_share_the_first_place():
    assert headline(k3=0.498, k4=0.499, k5=0.003) == "4 and 3 peaks are equally probable (50 % each)."


def test_best_of_many_is_not_called_probable_below_one_half():
    assert headline(k2=0.3, k3=0.4, k4=0.3).startswith(
        "3 peaks are the most probable, but not probable (40 %)"
    )


def test_models_of_other_names_are_quoted():
    known = [{"name": "line", "probability": 0.9}, {"name": "parabola", "probability": 0.1}]
    said = wording.verdict({"models": known}).headline
    assert said == "Model “line” is the most probable (90 %), “parabola” cannot be excluded (10 %)."


def test_single_model_is_not_said_to_win():
    lone = [{"name": "decay", "probability": 1.0, "log_evidence": -12.3456, "log_evidence_error": 0.12}]
    said = wording.verdict({"models": lone})
    assert said.headline == "One model was tried, “decay”: its log evidence is −12.35 ± 0.12."
    assert said.notes == ("decay: not judged.",)


def test_missing_probability_is_admitted():
    known = [{"name": "K=1", "probability": None}, {"name": "K=2", "probability": None}]
    assert "could not be worked out" in wording.verdict({"models": known}).headline


def test_close_race_within_the_sampling_error_is_a_note():
    known = models(k2=0.0, k3=0.55, k4=0.44, k5=0.01)
    known[1].update(log_evidence=244.2, log_evidence_error=0.3)
    known[2].update(log_evidence=244.0, log_evidence_error=0.4)
    (note,) = wording.verdict({"models": known}).notes
    assert note.startswith("The order of 3 and 4 is not settled by this run")
    assert "0.20 ± 0.50" in note


def test_best_at_the_edge_of_the_range_is_a_note():
    assert wording.verdict({"models": models(k1=0.1, k2=0.9)}).notes == (
        "More than 2 peaks were not tried, though 2 is the most probable: try a wider range.",
    )


def test_doubtful_sampling_is_told_only_where_it_matters():
    known = models(k1=0.0, k2=0.9, k3=0.095, k4=0.005)
    for entry in known:
        entry["verdict"] = {"trust": entry["name"] == "K=3", "text": "run longer: 3 round trips only"}
    assert wording.verdict({"models": known}).notes == ("2 peaks: run longer: 3 round trips only.",)


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "< 0.1 %"),
        (0.0009, "< 0.1 %"),
        (0.034, "3.4 %"),
        (0.5178, "52 %"),
        (0.9899, "99.0 %"),
        (1.0, "> 99.9 %"),
    ],
)
def test_percent_is_never_nought_nor_hundred(probability, text):
    assert wording.percent(probability) == text


@pytest.mark.parametrize(
    ("value", "resolution", "text"),
    [
        (1.20971, 0.0161, "1.210"),
        (-244.2134, 0.034, "−244.213"),
        (159.3, 12.0, "159"),
        (12345.6, 120.0, "12350"),
        (-0.0001, 0.1, "0.00"),
        (3.2e-9, 1e-10, "3.20×10⁻⁹"),
        (2.5e8, 1e6, "2.500×10⁸"),
        (0.125, None, "0.125"),
        (0.125, 0.0, "0.125"),
        (None, 0.1, "–"),
        (math.nan, 0.1, "–"),
    ],
)
def test_quantity_keeps_two_digits_of_the_error(value, resolution, text):
    assert wording.quantity(value, resolution) == text


def test_error_is_written_to_its_own_two_digits():
    assert wording.with_error(244.2134, 0.0342) == "244.213 ± 0.034"


def test_counts_are_grouped_by_a_narrow_space():
    assert wording.count(1234567) == "1\u202f234\u202f567"


def test_powers_of_ten_for_an_axis():
    assert [wording.power_of_ten(power) for power in (0, -1, -3, 12)] == ["1", "0.1", "10⁻³", "10¹²"]
