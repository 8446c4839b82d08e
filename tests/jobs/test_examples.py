"""The scripts of jobscripts/ are what the generator says, and nothing is wrong with them."""

import subprocess

import pytest

from hpc_ds.jobs import examples
from hpc_ds.jobs.lint import lint

SCRIPTS = examples.scripts()


def test_the_folder_holds_the_generator_s_scripts_and_no_others(repository):
    folder = repository / "jobscripts"
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.sh")}
    assert found == SCRIPTS, "run: python -m hpc_ds.jobs.examples"


def test_writing_gives_executable_files(tmp_path):
    written = examples.write(tmp_path)
    assert len(written) == len(SCRIPTS) and all(path.stat().st_mode & 0o111 for path in written)


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_shellcheck_and_our_lint_find_nothing(name, shellcheck):
    text = SCRIPTS[name]
    assert lint(text) == []
    for judge in (["bash", "-n"], [shellcheck, "-"]):
        done = subprocess.run(judge, input=text, text=True, capture_output=True)
        assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("name", examples.EXAMPLES)
def test_the_commands_are_such_as_hpc_ds_reads(name, make):
    from hpc_ds.cli.job_command import check_command

    check_command(make(command=("hpc-ds", *examples.EXAMPLES[name].command.split())))
