"""The manual: its examples run, its commands exist, its tables and texts are complete."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
FILE = re.compile(r"^```(?:python|toml|text)\n(# (\S+\.(?:py|toml|txt))\n.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = ["--draws", "100", "--tuning", "64"]
# Like the installed command, and unlike python -c, -P does not find modules in the working directory.
HPC_DS = [sys.executable, "-P", "-c", "from hpc_ds.cli import main; main()"]

EXAMPLES = {name: text for page in PAGES for text, name in FILE.findall(page.read_text())}
MODELS = {
    "decay.py": "model",
    "decay_batched.py": "model",
    "decay_compiled.py": "model",
    "lifetimes.py": "models",
    "half_life.py": "model",
}
"""Examples that `hpc-ds infer` runs, with the name after the colon; Python runs the others."""
SIMULATIONS = {
    "wave.py": ["wave.py:wave"],
    "heat.py": ["heat.py:heat", "--parameters", "heat.toml"],
    "pendulums.py": ["pendulums.py:pendulums"],
    "careful.py": ["careful.py:careful"],
    "oscillator.toml": ["oscillator.toml"],
    "my_rule.py": [
        "lorenz96",
        "--option",
        "frames=21",
        "--design",
        "my_rule.py:Corners",
        "--generation",
        "4",
    ],
    "run.toml": ["lorenz96", "--config", "run.toml"],
}
"""Examples that `hpc-ds simulate` runs, and how."""
OF_FIELDS = ["data/burgers", "--input", "u:0", "--target", "u:-1"]
TRAININGS = {
    "my_network.py": ["my_network.py:small", *OF_FIELDS, "--option", "width=8"],
    "shift.py": ["mlp", *OF_FIELDS, "--augment", "shift.py:shift"],
}
"""Examples that `hpc-ds learn` runs, and how."""
IMAGES = ["resnet18", "images.npz", "--input", "image", "--target", "kind", "--option", "stem=small"]
BRIEFLY = ["--epochs", "1", "--batch", "16", "--lanes", "2"]
PARTS = ["oscillator.py"]
"""Examples that other examples run."""
SOME_FAIL = ["careful.py"]
DATA = [name for name in EXAMPLES if name.startswith("make_")]
FOR_RANKS = ["sum_over_ranks.py"]
"""Examples that one process alone cannot run."""
NOT_ALONE = {*MODELS, *SIMULATIONS, *TRAININGS, *PARTS, *DATA, *FOR_RANKS}
SCRIPTS = [name for name in EXAMPLES if name.endswith(".py") and name not in NOT_ALONE]
BURGERS = ["resolution=64", "solver_resolution=256", "step=0.01"]


def run(command, folder, environment, code=0):
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def environment(plain_environment):
    paths = [str(REPOSITORY), plain_environment.get("PYTHONPATH", "")]
    return {**plain_environment, "PYTHONPATH": ":".join(filter(None, paths)), "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def manual(tmp_path_factory, environment):
    """A folder with all examples of the manual, their data, and the runs that they read."""
    folder = tmp_path_factory.mktemp("manual")
    for name, text in EXAMPLES.items():
        (folder / name).write_text(text)
    for name in DATA:
        run([sys.executable, name], folder, environment)
    arguments = ["infer", "spectrum", "data.csv", "--peaks", "3", "--out", "runs/my-spectrum"]
    run([*HPC_DS, *arguments, *SMALL], folder, environment)
    options = [word for option in BURGERS for word in ("--option", option)]
    arguments = ["simulate", "burgers", "--samples", "24", *options, "--out", "data/burgers"]
    run([*HPC_DS, *arguments], folder, environment)
    run([*HPC_DS, "learn", *IMAGES, *BRIEFLY, "--out", "runs/images"], folder, environment)
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_manual_runs(manual, environment, name):
    arguments = ["infer", f"{name}:{MODELS[name]}", "decay.csv", "--out", f"runs/{Path(name).stem}"]
    assert "report:" in run([*HPC_DS, *arguments, *SMALL], manual, environment)


@pytest.mark.parametrize("name", SIMULATIONS)
def test_every_simulator_and_design_of_the_manual_runs(manual, environment, name):
    from hpc_ds.store.check import check

    out = f"sets/{Path(name).stem}"
    words = ["simulate", *SIMULATIONS[name], "--samples", "8", "--processes", "1", "--out", out]
    printed = run([*HPC_DS, *words], manual, environment, code=3 if name in SOME_FAIL else 0)
    assert "of 8 samples" in printed
    assert [finding for finding in check(manual / out) if finding.severity == "error"] == []


@pytest.mark.parametrize("name", TRAININGS)
def test_every_network_and_augmentation_of_the_manual_runs(manual, environment, name):
    words = ["learn", *TRAININGS[name], *BRIEFLY, "--out", f"trained/{Path(name).stem}"]
    assert "relative_l2" in run([*HPC_DS, *words], manual, environment)


@pytest.mark.parametrize("name", FOR_RANKS)
def test_every_simulator_for_several_ranks_of_the_manual_runs(manual, environment, mpiexec, name):
    from hpc_ds.store.check import check

    words = ["simulate", f"{name}:simulate", "--samples", "8", "--out", "sets/ranks"]
    result = mpiexec(3, [*HPC_DS, *words], cwd=manual, env=environment)
    assert (result.returncode, "8 of 8 samples" in result.stdout) == (0, True), result.stderr
    assert [finding for finding in check(manual / "sets/ranks") if finding.severity == "error"] == []


def test_parameter_spaces_of_the_manual_are_read():
    import tomllib

    from hpc_ds.simulate.design import make_design
    from hpc_ds.simulate.parameters import ParameterSpace

    said = tomllib.loads(EXAMPLES["space.toml"])
    space = ParameterSpace.from_dict(**said)
    assert len(make_design(space, "sobol", 100, 1)["rate"]) == 100


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


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("hpc_ds.infer.settings.Settings", "infer"),
        ("hpc_ds.simulate.settings.Settings", "simulate"),
        ("hpc_ds.simulate.settings.ClusterSettings", "simulate"),
    ],
)
def test_settings_tables_cover_all_settings(monkeypatch, path, command):
    monkeypatch.syspath_prepend(str(REPOSITORY / "docs" / "_extensions"))
    pytest.importorskip("sphinx")
    from tables_from_code import load, settings_rows

    model = load(path)
    rows = list(settings_rows(model, command))
    assert [row[0].strip("`") for row in rows] == list(model.model_fields)
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


def test_every_simulator_has_its_section():
    from hpc_ds.simulate.simulators import BUILT_IN

    page = (REPOSITORY / "docs" / "simulators.md").read_text()
    for name, module in BUILT_IN.items():
        parts = [
            f"\n## {name}\n",
            f"{{simulator-parameters}} {name}\n",
            f"{{simulator-fields}} {name}",
            f"{{settings-table}} {module}.Options\n",
        ]
        assert [part for part in parts if part not in page] == []


def test_every_kind_of_failure_is_described():
    from typing import get_args

    from hpc_ds.simulate.orders import FailureKind

    page = (REPOSITORY / "docs" / "simulate.md").read_text()
    assert [kind for kind in get_args(FailureKind) if f"\n| `{kind}` |" not in page] == []


def test_every_design_and_launcher_is_described():
    from typing import get_args

    from hpc_ds.simulate.design import KINDS, can_grow
    from hpc_ds.simulate.settings import Launcher

    page = (REPOSITORY / "docs" / "simulate.md").read_text()
    for kind in KINDS:
        (row,) = re.findall(rf"^\| `{kind}` \|.*$", page, re.MULTILINE)
        assert row.split("|")[3].strip().startswith("yes" if can_grow(kind) else "no")
    assert [name for name in get_args(Launcher) if f"\n| `{name}` |" not in page] == ["auto"]


def test_everything_that_can_be_declared_is_described():
    from hpc_ds.simulate.declarations import SECTIONS

    page = (REPOSITORY / "docs" / "own-simulator.md").read_text()
    assert [key for key in SECTIONS if f"\n| `{key}` |" not in page] == []


@pytest.mark.parametrize("folder", ["runs/my-spectrum", "data/burgers"])
def test_every_key_of_the_summary_is_described(manual, folder):
    import json

    summary = json.loads((manual / folder / "summary.json").read_text())
    models = summary.get("models", [{}])
    page = (REPOSITORY / "docs" / "files.md").read_text()
    assert [key for key in {*summary, *models[0]} if f"`{key}`" not in page] == []


def test_links_between_pages_lead_somewhere():
    link = re.compile(r"\]\(((?!https?:)[^)#\s]+)(?:#[^)]*)?\)")
    broken = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in link.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []
