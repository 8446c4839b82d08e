"""The manual: its examples run, its commands exist, its tables and texts are complete."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
PYTHON = re.compile(r"^```python\n(# (\S+\.py)\n.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = ["--draws", "100", "--tuning", "64"]
# Like the installed command, and unlike python -c, -P does not find modules in the working directory.
HPC_DS = [sys.executable, "-P", "-c", "from hpc_ds.cli import main; main()"]

EXAMPLES = {name: text for page in PAGES for text, name in PYTHON.findall(page.read_text())}
MODELS = {
    "decay.py": "model",
    "decay_batched.py": "model",
    "decay_compiled.py": "model",
    "lifetimes.py": "models",
    "half_life.py": "model",
}
"""Examples that `hpc-ds infer` runs, with the name after the colon; Python runs the others."""
DATA = [name for name in EXAMPLES if name.startswith("make_")]
SCRIPTS = [name for name in EXAMPLES if name not in MODELS and name not in DATA]


def run(command, folder, environment):
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def environment(plain_environment):
    paths = [str(REPOSITORY), plain_environment.get("PYTHONPATH", "")]
    return {**plain_environment, "PYTHONPATH": ":".join(filter(None, paths)), "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def manual(tmp_path_factory, environment):
    """A folder with all examples of the manual, their data, and the run that they read."""
    folder = tmp_path_factory.mktemp("manual")
    for name, text in EXAMPLES.items():
        (folder / name).write_text(text)
    for name in DATA:
        run([sys.executable, name], folder, environment)
    arguments = ["infer", "spectrum", "data.csv", "--peaks", "3", "--out", "runs/my-spectrum"]
    run([*HPC_DS, *arguments, *SMALL], folder, environment)
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_manual_runs(manual, environment, name):
    arguments = ["infer", f"{name}:{MODELS[name]}", "decay.csv", "--out", f"runs/{Path(name).stem}"]
    assert "report:" in run([*HPC_DS, *arguments, *SMALL], manual, environment)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_of_the_manual_runs(manual, environment, name):
    assert run([sys.executable, name], manual, environment).strip()


def test_the_three_forms_of_a_model_are_one_model(manual, monkeypatch):
    import numpy as np

    from hpc_ds.infer.model import load_models
    from hpc_ds.store.table import read_columns

    monkeypatch.chdir(manual)
    _, data = read_columns("decay.csv")
    theta = np.array([7.0, 1.4, 0.3])
    forms = {form: load_models(f"decay{form}.py:model", data)[0] for form in ("", "_batched", "_compiled")}
    values = [
        forms[""].log_likelihood(theta, data),
        forms["_batched"].log_likelihood(np.tile(theta, (8, 1)), data)[5],
        forms["_compiled"].log_likelihood(theta, data),
    ]
    assert values == pytest.approx([values[0]] * 3, rel=1e-12)


def commands():
    """All `hpc-ds ...` lines of the manual, without what stands before the command."""
    for page in PAGES:
        for block in SHELL.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                at = next((i for i, word in enumerate(words) if Path(word).name == "hpc-ds"), None)
                if at is not None:
                    yield pytest.param(words[at + 1 :], id=f"{page.name}: {' '.join(words[at + 1 :])}")


@pytest.mark.parametrize("words", list(commands()))
def test_every_command_of_the_manual_is_one(words):
    import typer

    from hpc_ds.cli import app

    command = typer.main.get_command(app).commands[words[0]]
    arguments = words[1 : words.index(">")] if ">" in words else words[1:]
    command.make_context(words[0], arguments)


def test_settings_table_covers_all_settings(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "docs" / "_extensions"))
    pytest.importorskip("sphinx")
    from tables_from_code import SettingsTable

    from hpc_ds.infer.settings import Settings

    rows = list(SettingsTable.rows(None))
    assert [row[0].strip("`") for row in rows] == list(Settings.model_fields)
    assert all(row[1].startswith("`--") and len(row[3]) > 10 for row in rows)


def test_every_family_of_priors_has_its_row(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "docs" / "_extensions"))
    pytest.importorskip("sphinx")
    from tables_from_code import PriorFamilies

    supports = {row[0].strip("`").partition("(")[0]: row[1] for row in PriorFamilies.rows(None)}
    from hpc_ds.infer.priors import FAMILIES

    assert set(supports) == set(FAMILIES)
    assert supports["normal"] == "all x"
    assert supports["gamma"] == "x > 0"
    assert supports["beta"] == "0 < x < 1"
    assert supports["uniform"] == "low < x < high"


def test_every_move_is_described():
    from hpc_ds.infer.explorers import COMPONENT_MOVES, GENERIC_MOVES

    page = (REPOSITORY / "docs" / "infer.md").read_text()
    assert [name for name in {*COMPONENT_MOVES, *GENERIC_MOVES} if f"| `{name}` |" not in page] == []


def test_every_key_of_the_summary_is_described(manual):
    import json

    summary = json.loads((manual / "runs" / "my-spectrum" / "summary.json").read_text())
    page = (REPOSITORY / "docs" / "files.md").read_text()
    assert [key for key in {*summary, *summary["models"][0]} if f"`{key}`" not in page] == []


def test_links_between_pages_lead_somewhere():
    link = re.compile(r"\]\(((?!https?:)[^)#\s]+)(?:#[^)]*)?\)")
    broken = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in link.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []
