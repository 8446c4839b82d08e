import json
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest

import hpc_ds.report as report
from hpc_ds.report import figures
from hpc_ds.runtime.errors import InputError

VOID = {"meta", "link", "br", "img"}


class Outline(HTMLParser):
    """Collects identifiers, references and text, and notices tags that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.references, self.open, self.addresses = [], [], [], []
        self.feed(text)

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
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def published(published_run):
    """The page of K = 1..5, to be read only."""
    return page(published_run)


def page(folder):
    return report.build(folder).read_text(encoding="utf-8").replace("&nbsp;", " ")


def test_page_lies_in_the_run_folder_and_says_the_verdict_first(fake_run):
    folder = fake_run.spectrum(numbers=(3, 4))
    path = report.build(folder)
    assert path == folder / "report.html"
    text = page(folder)
    body = text[text.index("<body>") :]
    assert body.index("3 peaks are the most probable (56 %)") < body.index("<svg")
    assert not list(folder.glob("*.tmp*"))


def test_page_is_well_formed_and_identifiers_are_unique(published):
    outline = Outline(published)
    assert outline.open == []
    assert [name for name, times in Counter(outline.ids).items() if times > 1] == []
    inside = {address[1:] for address in outline.addresses if address.startswith("#")}
    assert inside | set(outline.references) <= set(outline.ids)


def test_page_needs_nothing_from_outside(published):
    outline = Outline(published)
    assert all(address.startswith(("#", "data:")) for address in outline.addresses)
    assert "<script" not in published and "@import" not in published
    assert "://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", published)


def test_page_is_small_and_the_same_every_time(fake_run, published):
    assert page(fake_run.spectrum()) == published
    assert len(published) < 3e6


def test_long_data_stay_small(fake_run):
    assert len(page(fake_run.spectrum(numbers=(3,), stretch=40))) < 1e6


def test_every_figure_is_labelled_and_captioned(published):
    pictures = re.findall(r"<figure>(.*?)</figure>", published, re.S)
    assert (
        len(pictures) == 5 + 2 + 5 + 2 * 5 + 1
    )  # fits, evidence and probability, pairs, ladders, round trips
    assert all(
        re.search(r'<svg class="plot" role="img" aria-label="[^"]+" viewBox="', item) for item in pictures
    )
    assert all(re.search(r"<figcaption>\w.*\.</figcaption>", item) for item in pictures)


def test_only_the_best_model_is_open(published):
    assert re.findall(r"<details( open)?><summary>(\d) peaks?<", published) == [
        ("", "1"), ("", "2"), (" open", "3"), ("", "4"), ("", "5"),
    ]  # fmt: skip


def test_models_of_any_name_are_compared(fake_run):
    folder = fake_run.spectrum(numbers=(2, 3))
    renamed = (folder / "summary.json").read_text().replace("K=2", "a line that never ends at all")
    fake_run.write("summary.json", renamed.replace("K=3", "parabola"))
    text = page(folder)
    assert "Which model describes nagata2012.csv?" in text
    assert ">a line that never e…<" in text


def test_user_model_without_curves_shows_pairs_of_at_most_six_parameters(fake_run):
    text = page(fake_run.user_model(count=8))
    assert 'id="fit"' not in text
    assert "rate_5" in text and text.count(">rate_7<") == 1  # in the table only


def test_a_fit_without_components_is_drawn_along_the_axis_it_names(fake_run):
    text = page(fake_run.line())
    assert "with the fit of 1 + x, and its residuals" in text
    assert ">fitted volt<" in text
    assert "coloured areas" not in text


def test_closed_form_stands_between_the_evidence_and_the_models(fake_run):
    text = page(fake_run.line())
    places = [text.index(f'id="{name}"') for name in ("models", "closed-form", "parameters")]
    assert places == sorted(places)
    assert text.count("sampler, closed form (difference in standard errors)") == 2 * (
        1 + 2
    )  # caption and label
    assert "false-positive rate is how often" in text


def test_reason_for_no_closed_form_is_on_the_page(fake_run):
    text = page(fake_run.line(missing={"x": "the noise is estimated"}))
    assert "No closed form of “x”: the noise is estimated." in text


def test_page_of_a_spectrum_has_no_closed_form(published):
    assert "closed form" not in published


def test_model_without_posterior_file_keeps_its_numbers(fake_run):
    folder = fake_run.spectrum(numbers=(2, 3))
    (folder / "posterior" / "K=2.h5").unlink()
    assert "147.570" in page(folder)


def test_ladder_padded_with_nothing_is_left_out(fake_run):
    folder = fake_run.user_model(count=2)
    with h5py.File(folder / "posterior" / "decay.h5", "a") as file:
        for name in ("beta", "rejection", "barrier"):
            file[f"ladder/{name}"][:] = np.nan
    text = page(folder)
    assert "Share of swaps" not in text and "adds up" not in text


def test_names_from_outside_are_escaped(fake_run):
    text = page(fake_run.spectrum(numbers=(3,), x_name="<script>alert(1)</script>", y_name="a $ b $ & c"))
    assert "<script" not in text
    assert "a $ b $ &amp; c" in text


def test_unfinished_run_says_so(fake_run):
    folder = fake_run.spectrum(numbers=(3,))
    fake_run.write("state.json", json.dumps({"state": "stopped", "note": "time limit"}))
    assert "run the same command again to finish it. (time limit)" in page(folder)


def test_provenance_is_told_in_full(fake_run):
    folder = fake_run.spectrum(numbers=(3,))
    text = page(folder)
    for item in (
        "hpc-ds infer spectrum data/nagata2012.csv --peaks 1:5",
        "cn1042",
        "0123abcd",
        "numpy 2.4.6",
    ):
        assert item in text


@pytest.mark.parametrize(
    ("name", "descends"),
    [
        ("BE/eV", True),
        ("BE_eV", True),
        ("Binding energy (eV)", True),
        ("beta", False),
        ("NUMBER", False),
        ("x", False),
    ],
)
def test_binding_energies_decrease_to_the_right(name, descends):
    assert figures.descends(name) is descends


def test_numbers_of_the_evidence_stand_above_error_bars(monkeypatch):
    from matplotlib.figure import Figure

    drawn = Figure()
    monkeypatch.setattr("hpc_ds.report.svg.render", lambda paint, *what, **_: paint(drawn, *what))
    values, errors = [-3.2, -2.1, -2.4], [0.9, 0.6, None]
    told = zip("abc", values, errors, strict=True)
    figures.evidence(
        {"models": [{"name": a, "log_evidence": b, "log_evidence_error": c} for a, b, c in told]}
    )
    texts = {text.get_text(): text.xy[1] for text in drawn.axes[0].texts}
    assert texts == pytest.approx({"−1.1": -2.3, "highest": -1.5, "−0.30": -2.4})


def test_thinned_curves_keep_a_peak_of_one_point():
    fit = np.zeros((5, 20_000))
    fit[:, 12_345] = 1.0
    kept = figures.thinned({"x": np.arange(20_000.0), "fit": fit, "background": np.zeros_like(fit)})
    assert kept["x"].size < 1000
    assert kept["fit"].max() == 1.0
    assert kept["x"][[0, -1]].tolist() == [0.0, 19_999.0]


def refusal(folder):
    with pytest.raises(InputError) as caught:
        report.build(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert not (folder / "report.html").exists()
    return message


def test_missing_folder_is_refused(tmp_path):
    assert "no such folder" in refusal(tmp_path / "nowhere")


def test_foreign_folder_is_refused(tmp_path):
    assert "no run folder" in refusal(tmp_path)


def test_run_without_results_is_refused_naming_its_state(tmp_path):
    (tmp_path / "state.json").write_text('{"state": "running"}')
    assert "no results yet (state: running)" in refusal(tmp_path)


def test_run_of_another_engine_is_refused(tmp_path):
    (tmp_path / "summary.json").write_text('{"format": 1, "kind": "bake"}')
    assert "'bake'" in refusal(tmp_path)


def test_later_format_is_refused(tmp_path):
    (tmp_path / "summary.json").write_text('{"format": 2, "kind": "infer", "models": [{}]}')
    assert "format 2" in refusal(tmp_path)


def test_damaged_summary_is_refused_naming_the_line(tmp_path):
    (tmp_path / "summary.json").write_text('{\n"format": oops}')
    assert "summary.json: line 2" in refusal(tmp_path)


def test_damaged_posterior_is_refused_naming_the_file(fake_run):
    folder = fake_run.spectrum(numbers=(3,))
    (folder / "posterior" / "K=3.h5").write_bytes(b"no HDF5")
    assert "K=3.h5" in refusal(folder)


def test_parameters_that_do_not_vary_are_not_paired(fake_run):
    folder = fake_run.user_model(count=2)
    with h5py.File(folder / "posterior" / "decay.h5", "a") as file:
        file["posterior/rate_1"][:] = 1.0
    assert "Posterior of rate_0: median" in page(folder)


def test_import_is_cheap():
    heavy = {"matplotlib", "rich", "h5py", "scipy", "mpi4py", "numba"}
    code = f"import sys, hpc_ds.report; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
