import html
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser

import h5py
import pytest

import hpc_ds.report as report
from hpc_ds.runtime.errors import InputError

VOID = {"meta", "link", "br", "img", "image"}
FIGURES = {"line": 8, "plane": 9, "space": 8, "scalars": 9, "classes": 9}


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
    return text.replace("&nbsp;", " ").replace("\u202f", " ")


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
def pages(trained):
    """The pages of all kinds of training, to be read only."""
    return {name: page(folder) for name, folder in trained.items()}


@pytest.mark.parametrize("name", FIGURES)
def test_page_is_whole_and_needs_nothing_from_outside(pages, name):
    outline = Outline(pages[name])
    assert [one for one, times in Counter(outline.ids).items() if times > 1] == []
    assert set(outline.references) <= set(outline.ids)
    assert all(address.startswith(("#", "data:")) for address in outline.addresses)
    assert "<script" not in pages[name] and "@import" not in pages[name]
    assert "://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", pages[name])


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_labelled_and_captioned(pages, name):
    pictures = re.findall(r"<figure>(.*?)</figure>", pages[name], re.S)
    assert len(pictures) == FIGURES[name]
    assert all(
        re.search(r'<svg class="plot" role="img" aria-label="[^"]+" viewBox="', item) for item in pictures
    )
    assert all(re.search(r"<figcaption>\w.*\.</figcaption>", item) for item in pictures)


def test_page_is_small_and_the_same_every_time(trained, pages):
    assert page(trained["plane"]) == pages["plane"]
    assert max(map(len, pages.values())) < 3e5


def test_verdict_tells_the_metric_on_the_unseen_split_first(pages):
    assert "<h1>fno trained on burgers</h1>" in pages["line"]
    assert '<p class="verdict">fno: relative L2 error 0.0155 on 60 test samples.</p>' in pages["line"]
    assert '<p class="verdict">resnet18: accuracy 87.5 % on 300 test samples.</p>' in pages["classes"]
    assert "<ul class=notes>" not in pages["line"]


def test_facts_tell_size_time_ranks_and_reduction(pages):
    facts = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", pages["line"]))
    assert facts["Parameters"] == "287 425"
    assert facts["Epochs"] == "20 of 20 (epoch 18 kept, by relative L2 error)"
    assert facts["Training took"] == "1 min 35 s on 4 ranks"
    assert facts["Gradients"] == "reproducible, 8 lanes"


def test_metrics_stand_in_a_table_by_split(pages):
    rows = table(pages["scalars"], "What the network reaches")
    assert rows == [
        ["metric", "test", "valid"],
        ["root mean square error", "0.03", "0.03"],
        ["R²", "0.96", "0.96"],
    ]


def test_shown_samples_are_the_extremes_and_the_median(trained, pages):
    rows = table(pages["line"], "Which test samples are drawn")[1:]
    with h5py.File(trained["line"] / "evaluation.h5") as file:
        errors = sorted(zip(file["test/error"][()], file["test/sample"][()], strict=True))
    expected = [errors[0], errors[29], errors[-1]]
    assert [row[1].replace(" ", "") for row in rows] == [str(sample) for _, sample in expected]
    assert [float(row[2]) for row in rows] == pytest.approx([error for error, _ in expected], rel=1e-3)


def test_error_is_laid_against_the_parameter_that_explains_it(pages):
    assert re.search(r"The error goes most with viscosity: rank correlation 0\.\d\d\.", pages["line"])


def test_third_dimension_is_cut_in_the_middle_and_the_caption_says_where(pages):
    assert "Of the whole field the slice at x = 0.5 m." in pages["space"]
    assert "the slice at" not in pages["plane"]


def test_coverage_of_honest_error_bars_is_near_what_is_stated(pages):
    rows = table(pages["scalars"], "How often the truth lies within")
    assert [row[0] for row in rows[1:]] == ["drag", "lift"]
    assert all(abs(float(cell.split()[0]) - 90) < 8 for cell in (row[3] for row in rows[1:]))


def test_classes_are_counted_as_by_hand(trained, pages):
    with h5py.File(trained["classes"] / "evaluation.h5") as file:
        label, answer = file["test/label"][()], file["test/probability"][()].argmax(axis=1)
    right = (label == answer).sum()
    assert f"Right: {right} of 300 ({100 * right / 300:.1f} %)." in pages["classes"]
    rows = {row[0]: row[1:] for row in table(pages["classes"], "Class by class")[1:]}
    assert list(rows) == ["quiet", "onset", "crash"]
    crash = (answer == 2) & (label == 2)
    expected = [(label == 2).sum(), crash.sum() / (answer == 2).sum(), crash.sum() / (label == 2).sum()]
    assert [float(cell) for cell in rows["crash"][:3]] == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    ("state", "note", "said"),
    [
        (
            "stopped",
            "the time limit is near",
            "Stopped after 7 of 20 epochs of fno: run the same command again.",
        ),
        ("running", None, "Killed after 7 of 20 epochs of fno: run the same command again."),
        (
            "failed",
            "StorageError: disk full",
            "Ended by an error after 7 of 20 epochs of fno: run the same command again.",
        ),
    ],
)
def test_unfinished_training_shows_what_there_is(fake_training, state, note, said):
    training = fake_training().history(done=7)
    training.state(state, note)
    text = page(training.folder)
    assert said in text and text.count("<svg") == 4
    assert (note or "") in text


LOSS = "TrainingFailure: epoch 8, step 3: the loss of sample 17 (train) is nan"


@pytest.mark.parametrize(
    ("note", "settings", "advice"),
    [
        (
            LOSS,
            {},
            "the same command would fail again; continue with --on-trouble roll-back, or begin in a new --out "
            "with a lower --learning-rate or --clip; if the sample named below is at fault, mend the data.",
        ),
        (
            f"{LOSS}; it was rolled back 5 times before",
            {"clip": 1.0},
            "begin in a new --out with a lower --learning-rate or a smaller --clip; if the sample",
        ),
        (
            f"{LOSS}; the epoch began without --on-trouble roll-back",
            {},
            "begin in a new --out with a lower --learning-rate or --clip, or with --on-trouble roll-back; if",
        ),
        ("InputError: data/train_0.h5: cannot be read", {}, "mend the input (see below), then run the same"),
    ],
)
def test_advice_after_an_error_is_of_its_kind(fake_training, note, settings, advice):
    training = fake_training(**settings).history(done=7)
    training.state("failed", note)
    said = re.search(r'<p class="verdict">(.*?)</p>', page(training.folder)).group(1)
    assert said.startswith("Ended by an error after 7 of 20 epochs of fno: ") and advice in said


def test_kept_epoch_says_which_metric_chose_it_beside_another_metric(fake_training):
    training = fake_training().history()
    file = training.folder / "history.json"
    history = json.loads(file.read_text())
    history["epochs"][0]["valid"]["rmse"] = 1e-4
    file.write_text(json.dumps(history))
    text = page(training.finish(metrics={"valid": {"rmse": 0.1}}))
    best = "Root mean square error of the validation: at its best 0.0001 in epoch 1."
    assert f"{best} Dashed: epoch 18, whose network is kept, chosen by relative L2 error." in text


@pytest.mark.parametrize(
    ("key", "told"),
    [("coverage_68", "Truth within the 68 % band of"), ("sharpness", "Mean spread of")],
)
def test_metric_whose_best_lies_between_has_no_best_epoch(fake_training, key, told):
    training = fake_training().history()
    file = training.folder / "history.json"
    history = json.loads(file.read_text())
    for one in history["epochs"]:
        one["valid"][key] = 0.5 + one["epoch"] / 100
    file.write_text(json.dumps(history))
    text = page(training.finish(metrics={"valid": {key: 0.7}}))
    value = "70.0 %" if key == "coverage_68" else "0.7"
    assert f"{told} the validation: {value} in epoch 20, the last." in text


def test_continued_training_tells_all_ranks_and_the_latest_command(fake_training):
    training = fake_training().history()
    provenance = json.loads((training.folder / "provenance.json").read_text())
    first, later = ({"ranks": ranks, "command": ["hpc-ds", "learn", f"on-{ranks}"]} for ranks in (1, 2))
    training.write("provenance.json", {**provenance, **first, "sessions": [first, first, later]})
    text = page(training.finish())
    assert "<dd>1 min 35 s on 1 rank, then 2 ranks</dd>" in text
    assert "<dt>command</dt><dd>hpc-ds learn on-2</dd>" in text and "on-1<" not in text
    assert "<dt>ranks</dt><dd>1 rank, then 2 ranks</dd>" in text


def test_training_that_has_only_begun_has_a_page(fake_training):
    text = page(fake_training().folder)
    assert "Killed after 0 of 20 epochs of fno" in text and "<svg" not in text


def test_roll_backs_are_told_and_marked(fake_training):
    trouble = {"epoch": 5, "step": 44, "what": "loss NaN at sample 17", "factor": 0.5}
    text = page(fake_training().history(troubles=[trouble]).fields().finish())
    assert (
        "In epoch 5 (step 44): loss NaN at sample 17. The training went back to the beginning of the" in text
    )
    assert "with 0.5 of the learning rate" in text
    assert "orange: where the training went back to the beginning of an epoch." in text
    assert "snapshot" not in text


def test_early_stop_says_why(fake_training):
    text = page(fake_training().history(done=12).fields().finish(note="no better validation for 4 epochs"))
    assert "It ended after 12 of 20 epochs: no better validation for 4 epochs." in text


def test_members_of_an_ensemble_are_listed(fake_training):
    training = fake_training(members=3).history()
    for number in range(3):
        (training.folder / f"members/{number:03d}").mkdir(parents=True)
        training.history(folder=f"members/{number:03d}")
    rows = table(page(training.fields().finish()), "The networks of the ensemble")
    assert [row[0] for row in rows[1:]] == ["000", "001", "002"]
    assert rows[0][3] == "relative L2 error"


def test_panels_of_an_ensemble_say_that_they_show_its_first_network(fake_training):
    training = fake_training("mlp", "scalars", members=2)
    for number in range(2):
        (training.folder / f"members/{number:03d}").mkdir(parents=True)
        training.history(folder=f"members/{number:03d}")
    text = page(training.finish(best_epoch=None))
    for beginning in (
        "R² of the validation",
        "Learning rate over the epochs",
        "Norm of the gradient, of an epoch",
    ):
        caption = re.search(rf"<figcaption>({beginning}.*?)</figcaption>", text).group(1)
        assert ", of the first network of the ensemble" in caption


def test_damaged_evaluation_is_told_and_the_rest_shown(fake_training):
    training = fake_training().history().fields()
    (training.folder / "evaluation.h5").write_bytes(b"no HDF5 at all")
    text = page(training.finish())
    assert "evaluation.h5" in text and text.count("<svg") == 4


def test_nan_errors_do_not_stop_the_report(fake_training):
    training = fake_training().history().fields()
    with h5py.File(training.folder / "evaluation.h5", "r+") as file:
        file["test/error"][3] = float("nan")
    assert "59 test samples" in page(training.finish())


def test_page_of_another_engine_is_refused(fake_training):
    folder = fake_training().history().finish()
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"format": 2}))
    with pytest.raises(InputError, match="format 2; this version reads 1"):
        report.build(folder)


def test_report_needs_neither_torch_nor_mpi(trained, tmp_path, plain_environment):
    import subprocess
    import sys

    shutil.copytree(trained["line"], tmp_path / "run")
    code = (
        "import sys, hpc_ds.report as r; assert 'h5py' not in sys.modules;"
        f"r.build({str(tmp_path / 'run')!r}); print([m for m in ('torch', 'numba', 'dask') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=plain_environment)
    assert done.stdout.strip() == "[]", done.stderr


def test_terminal_shows_verdict_and_metrics(trained):
    from rich.console import Console

    from hpc_ds.report.training.reader import load
    from hpc_ds.report.training.tables import terminal

    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal(load(trained["line"])))
    text = console.export_text()
    assert "fno: relative L2 error 0.0155 on 60 test samples." in text
    assert "root mean square error" in text
