"""Every study has its page, and a folder that has none is refused in one line."""

import json

import pytest

import hpc_ds.report as report
from hpc_ds.report import study
from hpc_ds.runtime.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """Return a study's run folder that holds its state only."""
    state = {"format": 1, "kind": "study", "state": "running", "note": None}
    (tmp_path / "state.json").write_text(json.dumps(state), encoding="utf-8")
    return tmp_path


def write(folder, **summary):
    whole = {"format": 1, "kind": "study", **summary}
    (folder / "summary.json").write_text(json.dumps(whole), encoding="utf-8")


def refused(folder):
    with pytest.raises(InputError) as caught:
        report.build(folder)
    assert "\n" not in str(caught.value) and not (folder / "report.html").exists()
    return str(caught.value)


@pytest.mark.parametrize("name", study.PAGES)
def test_every_study_is_given_to_its_own_page(folder, monkeypatch, name):
    write(folder, study=name)
    asked = []

    class Page:
        @staticmethod
        def html(path):
            asked.append(path)
            return f"<p>{name}</p>"

    monkeypatch.setattr(study, "import_module", lambda module: asked.append(module) or Page)
    assert report.build(folder).read_text(encoding="utf-8") == f"<p>{name}</p>"
    assert asked == [study.PAGES[name], folder]


@pytest.mark.parametrize("module", study.PAGES.values())
def test_every_page_can_be_imported(module):
    assert callable(study.import_module(module).html)


def test_an_unfinished_study_is_told_to_go_on(folder):
    said = refused(folder)
    assert "the study is not finished (state: running); run the same command again" in said


def test_an_unknown_study_is_refused_with_the_nearest_name(folder):
    write(folder, study="neutron-stars")
    assert "study 'neutron-stars': did you mean 'neutron-star'?" in refused(folder)


def test_a_summary_of_another_kind_is_refused(folder):
    write(folder, study="neutron-star", kind="learn")
    with pytest.raises(InputError, match="kind is 'learn'; this report is for 'study' runs"):
        study.html(folder)


def test_a_damaged_summary_is_refused_with_its_line(folder):
    (folder / "summary.json").write_text('{"format": 1,\n "kind": ', encoding="utf-8")
    assert "summary.json: line 2 is no valid JSON" in refused(folder)
