import io

import pytest
from rich.console import Console

from hpc_ds.report import exact, tables


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def printed(summary):
    out = io.StringIO()
    Console(file=out, width=80).print(tables.terminal(summary))
    return out.getvalue()


def test_difference_of_the_evidences_is_told_in_errors_and_marked_where_it_is_large(line_summary):
    table = exact.evidence(line_summary)
    assert texts(table) == [
        ["x", "−55.460 ± 0.031", "−55.451", "−0.3"],
        ["1 + x", "5.230 ± 0.031", "5.106", "4.0"],
    ]
    assert [row[-1].warn for row in table.rows] == [False, True]


def test_moments_are_told_to_their_monte_carlo_error(line_summary):
    entry = line_summary["models"][0]
    entry["parameters"]["slope"].update(mean=1.4021, sd=0.0512, ess=900.0)
    (row,) = texts(exact.parameters(line_summary, entry))
    assert row == ["slope", "1.4021", "1.4000", "1.2", "0.0512", "0.0500"]


def test_moments_of_unknown_precision_still_stand_beside_each_other(line_summary):
    entry = line_summary["models"][0]
    entry["parameters"]["slope"].update(mean=1.4021, sd=0.0512, ess=None)
    assert texts(exact.parameters(line_summary, entry)) == [
        ["slope", "1.402", "1.400", "–", "0.051", "0.050"]
    ]


def test_choice_shows_both_differences_and_both_rates(line_summary):
    assert texts(exact.choice(line_summary)) == [
        ["1 + x or x", "60.690 ± 0.044", "60.557", "87 %", "0.078 %"]
    ]
    assert "only where all priors" not in exact.meaning(line_summary)


def test_rates_that_are_not_known_are_explained(line_summary):
    comparison = line_summary["closed_form"]["comparisons"][0]
    comparison.update(selection_probability=None, false_positive_rate=None)
    assert texts(exact.choice(line_summary))[0][3:] == ["–", "–"]
    assert "known only where all priors are uniform" in exact.meaning(line_summary)


def test_a_missing_closed_form_says_why_once_for_each_reason(line_summary):
    reason = "the noise is estimated"
    line_summary["closed_form"] = {"models": [], "comparisons": [], "missing": {"x": reason, "1 + x": reason}}
    assert exact.missing(line_summary) == ["No closed form of “x” and “1 + x”: the noise is estimated."]
    assert "No closed form of “x” and “1 + x”" in printed(line_summary)
    assert "ΔF" not in printed(line_summary)


def test_terminal_of_80_columns_shows_the_closed_form_in_full(line_summary):
    text = printed(line_summary)
    for told in (
        "60.690 ± 0.044",
        "0.078 %",
        "−55.451",
        "Parameters of 1 + x: sampler, closed form",
        "exp(ΔF) to 1",
    ):
        assert told in text
    assert "…" not in text


@pytest.mark.parametrize("table", [exact.evidence, exact.choice, exact.meaning, exact.missing])
def test_models_without_a_closed_form_show_nothing(summary, table):
    assert not table(summary)
    assert exact.parameters(summary, summary["models"][0]) is None
