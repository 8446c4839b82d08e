import io

from rich.console import Console

from hpc_ds.report import table, tables


def test_evidence_table_holds_every_model_in_the_order_asked_for(summary):
    table = tables.evidence(summary)
    assert [row[0].text for row in table.rows] == ["K=1", "K=2", "K=3", "K=4", "K=5"]
    assert [cell.text for cell in table.rows[2]] == [
        "K=3",
        "244.200",
        "0.031",
        "−244.200",
        "52 %",
        "trust this",
    ]


def test_parameter_table_warns_of_few_draws_and_chains_that_disagree(summary):
    entry = summary["models"][2]
    entry["parameters"]["noise"].update(ess=80.0, r_hat=1.08)
    entry["parameters"]["position[1]"].update(ess=None, r_hat=None)
    rows = {row[0].text: row for row in tables.parameters(entry).rows}
    assert [cell.warn for cell in rows["noise"][6:]] == [True, True]
    assert [cell.text for cell in rows["position[1]"][6:]] == ["–", "–"]
    assert not any(cell.warn for cell in rows["position[2]"])


def test_derived_quantities_follow_the_parameters(summary):
    entry = summary["models"][0]
    entry["derived"] = {"area[1]": entry["parameters"]["amplitude[1]"]}
    assert tables.parameters(entry).rows[-1][0].text == "area[1]"


def test_untrusted_model_is_marked(summary):
    summary["models"][0]["verdict"] = {"trust": False, "text": "run longer: 3 round trips only"}
    judged = [row[-1] for row in tables.evidence(summary).rows]
    assert [cell.warn for cell in judged] == [True, False, False, False, False]


def test_round_trips_are_compared_with_theory(summary):
    rows = {row[0].text: row[1:] for row in tables.diagnostics(summary).rows}
    assert {cell.text for cell in rows["round trips of theory / %"]} == {"62"}


def test_lone_model_has_no_probability_to_speak_of(summary):
    summary["models"] = summary["models"][:1]
    assert tables.evidence(summary).rows[0][4].text == "–"


def test_html_of_a_table_escapes_names_from_outside(summary):
    summary["models"][0]["name"] = "<b>&"
    assert "&lt;b&gt;&amp;" in table.html(tables.evidence(summary))


def test_terminal_shows_verdict_models_and_the_best_models_parameters(summary):
    out = io.StringIO()
    Console(file=out, width=100).print(tables.terminal(summary))
    text = out.getvalue()
    assert "3 peaks are the most probable (52 %)" in text
    assert "244.200 ± 0.031" in text
    assert "position[3]" in text and "position[4]" not in text


def test_terminal_takes_brackets_in_names_literally(summary):
    summary["models"][2]["name"] = summary["best"] = "[red]"
    out = io.StringIO()
    Console(file=out, width=100).print(tables.terminal(summary))
    assert "[red]" in out.getvalue()
