import html
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser

import pytest

import hpc_ds.report as report
from hpc_ds.runtime.errors import InputError

VOID = {"meta", "link", "br", "img", "image"}
NAMES = ("burgers", "lorenz96", "navier_stokes")


class Outline(HTMLParser):
    """Collects identifiers, addresses and headings, and notices tags that are not closed."""

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
    return report.build(folder).read_text(encoding="utf-8").replace("&nbsp;", " ").replace("\u202f", " ")


def table(text, caption):
    """Return the rows of the table whose caption begins so, each a list of texts."""
    body = next(
        part for part in re.findall(r"<table>.*?</table>", text, re.S) if f"<caption>{caption}" in part
    )
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)
    return [
        [html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)] for row in rows
    ]


@pytest.fixture(scope="module")
def pages(finished):
    """The pages of all simulators, to be read only."""
    return {name: page(folder) for name, folder in finished.items()}


@pytest.mark.parametrize("name", NAMES)
def test_page_is_whole_and_needs_nothing_from_outside(pages, name):
    outline = Outline(pages[name])
    assert [one for one, times in Counter(outline.ids).items() if times > 1] == []
    assert {address[1:] for address in outline.addresses if address.startswith("#")} <= set(outline.ids)
    assert set(outline.references) <= set(outline.ids)
    assert all(address.startswith(("#", "data:")) for address in outline.addresses)
    assert "<script" not in pages[name] and "@import" not in pages[name]
    assert "://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", pages[name])


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_labelled_and_captioned(pages, name):
    pictures = re.findall(r"<figure>(.*?)</figure>", pages[name], re.S)
    assert len(pictures) == {"burgers": 5, "lorenz96": 5, "navier_stokes": 10}[name]
    assert all(
        re.search(r'<svg class="plot" role="img" aria-label="[^"]+" viewBox="', item) for item in pictures
    )
    assert all(re.search(r"<figcaption>\w.*\.</figcaption>", item) for item in pictures)


def test_page_is_small_and_the_same_every_time(finished, pages):
    assert page(finished["navier_stokes"]) == pages["navier_stokes"]
    assert len(pages["navier_stokes"]) < 3e5


def test_verdict_stands_first_and_counts_failures(pages):
    body = pages["burgers"][pages["burgers"].index("<body>") :]
    assert "<h1>Training set: Viscous Burgers equation</h1>" in body
    assert body.index("37 of 40 samples of burgers; 3 failed.") < body.index("<svg")
    assert "3 samples failed (2 raised and 1 timeout) and are left out of the set." in body


def test_complete_set_says_so_without_a_warning(fake_ensemble):
    text = page(fake_ensemble("lorenz96", 12).run())
    assert '<p class="verdict">12 samples of lorenz96, complete.</p>' in text
    assert "<ul class=notes>" not in text and 'id="failures"' not in text


def test_parameters_are_told_with_law_units_and_range(finished, pages):
    rows = {row[0]: row[1:] for row in table(pages["burgers"], "Parameters")[1:]}
    assert rows["viscosity"][:2] == ["m2/s", "log_uniform(0.01, 1)"]
    assert rows["amplitude"][:2] == ["–", "0.5 to 2"]
    assert rows["modes"] == ["–", "integer, 1 to 4", "1", "4"]
    assert rows["forcing"] == ["–", "one of none, white", "–", "–"]
    assert 0.01 <= float(rows["viscosity"][2]) < float(rows["viscosity"][3]) <= 1.0
    assert table(pages["navier_stokes"], "Parameters")[1][2] == "0.0001 to 0.01, logarithmic"


def test_failures_are_told_with_message_and_parameters(pages):
    rows = table(pages["lorenz96"], "Failed samples")
    assert [row[:3] for row in rows[1:]] == [
        ["3", "raised", "ValueError: step size too large"],
        ["11", "raised", "ValueError: step size too large"],
        ["17", "timeout", "ran longer than 30 s"],
    ]
    assert re.fullmatch(r"F = \d+\.\d+", rows[1][3])
    kinds = table(pages["lorenz96"], "Failures by kind")[1:]
    assert [row[:2] for row in kinds] == [["raised", "2"], ["timeout", "1"]]


def test_only_the_first_fifty_failures_are_told(fake_ensemble):
    failed = {index: ("raised", f"wrong {index}") for index in range(60)}
    text = page(fake_ensemble("lorenz96", 64).run(failed=failed))
    assert len(table(text, "The first 50 of 60 failures")) == 51
    assert "wrong 49" in text and "wrong 50" not in text


def test_hostile_messages_are_escaped(fake_ensemble):
    message = "</td><script>alert('$x^2$')</script> & \x1b[31m \u202e"
    text = page(fake_ensemble("burgers", 12).run(failed={2: ("raised", message)}))
    Outline(text)
    assert "<script" not in text and "&lt;script&gt;" in text


def test_splits_are_counted_as_they_lie_on_disk(finished, pages):
    rows = {row[0]: row[1:] for row in table(pages["burgers"], "Splits")[1:]}
    counts = {name: int(row[0]) for name, row in rows.items()}
    assert counts["all"] == 37 == counts["train"] + counts["valid"] + counts["test"]
    assert rows["all"][1] == str(len(list(finished["burgers"].glob("data/*/*.h5"))))


def test_statistics_have_a_row_for_each_component(pages):
    rows = {row[0]: row[1:] for row in table(pages["navier_stokes"], "Statistics")[1:]}
    assert list(rows) == ["vorticity", "velocity[1]", "velocity[2]", "energy", "drag", "mask", "profile"]
    assert all(float(value.replace("−", "-")) >= 0 for value in rows["energy"][:3])
    assert rows["drag"][3:] == ["–", "–", "–"]


def test_shown_samples_go_from_weak_to_strong(pages):
    rows = table(pages["lorenz96"], "The samples shown")[1:]
    strength = [float(row[2]) for row in rows]
    assert len(rows) == 4 and strength == sorted(strength)
    assert [row[1] for row in rows] == ["5 %", "35 %", "65 %", "95 %"]


def test_run_time_goes_with_the_parameter_that_makes_it(pages):
    assert re.search(r"The run time goes most with viscosity: rank correlation −0\.9\d\.", pages["burgers"])


def test_code_on_the_page_reads_the_set(pages):
    code = html.unescape(re.search(r"<pre><code>(from hpc_ds.*?)</code></pre>", pages["burgers"], re.S)[1])
    names = {}
    exec(code, names)
    assert names["u"].shape == (11, 128)
    assert set(names["parameters"]) == {"viscosity", "amplitude", "modes", "forcing"}
    assert names["window"]["input_fields"].shape == (1, 128, 1)


def test_provenance_and_later_sessions_are_told(pages):
    for item in (
        "hpc-ds simulate burgers --samples 40",
        "cn1042",
        "0123abcd",
        "on cn7, 32 ranks",
        "log_uniform",
    ):
        assert item in pages["burgers"]


def test_stopped_run_shows_its_samples_from_the_shards(fake_ensemble):
    run = fake_ensemble("navier_stokes", 50)
    text = page(run.run(done=range(12), state="stopped", merged=False))
    assert "Stopped at 12 of 50 samples: run the same command again." in text
    assert "not merged into a training set yet" in text
    assert "Samples of the design" not in text and ">not computed yet (38)<" in text
    assert text.count("<h3>") == 6 and "How to read it" not in text


def test_why_it_stopped_is_told(fake_ensemble):
    run = fake_ensemble()
    folder = run.run(done=range(5), state="stopped", merged=False)
    run.state("stopped", "time limit")
    assert "It stopped because: time limit" in page(folder)


def test_killed_run_without_summary_is_read_from_its_journals(fake_ensemble):
    folder = fake_ensemble().run(done=range(9), failed={20: ("killed", "5 workers died")}, state="running",
                                 merged=False, summary=False)  # fmt: skip
    assert "Killed at 10 of 40 samples (1 failed): run the same command again." in page(folder)


def test_run_without_any_sample_has_a_page(fake_ensemble):
    text = page(fake_ensemble().run(done=(), state="stopped", merged=False, summary=False))
    Outline(text)
    assert "Stopped at 0 of 40 samples" in text
    assert 'id="design"' in text and 'id="fields"' not in text


def test_run_where_all_samples_failed_has_a_page(fake_ensemble):
    failed = {index: ("invalid", "field 'u' holds 3 of 1408 values that are NaN") for index in range(8)}
    text = page(fake_ensemble("burgers", 8).run(failed=failed))
    assert "No sample of burgers: all 8 failed." in text
    assert "it returned NaN" in text and "How to read it" not in text


def test_single_sample_has_a_page(fake_ensemble):
    text = page(fake_ensemble("burgers", 1).run())
    assert "1 sample of burgers, complete." in text
    assert "All samples that are done" in text


@pytest.mark.parametrize(
    "name", ["design.h5", "journal", "failed", "progress.jsonl", "provenance.json", "stats.yaml"]
)
def test_page_survives_the_loss_of_a_part(finished, tmp_path, name):
    folder = tmp_path / "run"
    shutil.copytree(finished["burgers"], folder)
    lost = folder / name
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    text = page(folder)
    Outline(text)
    assert "samples of burgers" in text and text.count("<h3>") >= 1


def test_damaged_parts_are_told_and_left_out(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished["burgers"], folder)
    (folder / "design.h5").write_bytes(b"no HDF5")
    (folder / "stats.yaml").write_text("- not a table")
    text = page(folder)
    assert "design.h5" in text and "stats.yaml" in text
    assert 'id="fields"' in text


def test_contradicting_samples_are_told(fake_ensemble):
    run = fake_ensemble("burgers", 10)
    folder = run.run(merged=False)
    journal = next(folder.glob("journal/s1-host-1*"))
    event = json.loads(journal.read_text().splitlines()[0][9:]) | {"crc": 1, "row": 99}
    from hpc_ds.store.journal import Entry, Journal

    event.pop("event")
    again = Journal(folder, "s2-host-9")
    again.done(Entry(**event))
    again.close()
    assert "1 sample came out differently when computed a second time" in page(folder)


def refusal(folder):
    with pytest.raises(InputError) as caught:
        report.build(folder)
    assert "\n" not in str(caught.value)
    assert not (folder / "report.html").exists()
    return str(caught.value)


def test_later_format_is_refused(fake_ensemble):
    run = fake_ensemble()
    run.write("summary.json", {"format": 2, "kind": "simulate"})
    assert "format 2" in refusal(run.folder)


def test_damaged_configuration_is_refused_naming_the_file(fake_ensemble):
    run = fake_ensemble()
    run.text("config.toml", "samples = = 3")
    assert "config.toml" in refusal(run.folder)


def test_damaged_layout_is_refused_naming_the_file(fake_ensemble):
    run = fake_ensemble()
    run.write("layout.json", {"name": "x"})
    assert "layout.json" in refusal(run.folder)
