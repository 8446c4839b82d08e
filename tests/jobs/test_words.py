"""Words of scripts: quoted for bash, ASCII, and no false dashes."""

import subprocess

import pytest

from hpc_ds.jobs.words import DASHES, joined, plain_text, quote, refuse_dashes
from hpc_ds.runtime.errors import InputError


@pytest.mark.parametrize(
    "word", ["plain", "two words", "it's", "$HOME", "a\nb", "café", "日本 'x' \\", "", "*", "\u00e91"]
)
def test_bash_reads_a_quoted_word_back(word):
    quoted = quote(word)
    told = subprocess.run(
        ["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True, env={"LC_ALL": "C"}
    )
    assert quoted.isascii() and told.stdout.decode() == word


def test_words_are_joined_as_they_are_typed():
    assert joined(["hpc-ds", "--out", "a b"]) == "hpc-ds --out 'a b'"


@pytest.mark.parametrize("dash", DASHES)
@pytest.mark.parametrize("word", ["{}nodes", "-{}nodes", "{}{}nodes=4"])
def test_a_false_dash_is_named_and_the_option_that_was_meant(dash, word):
    with pytest.raises(InputError, match="--nodes") as error:
        refuse_dashes(["hpc-ds", word.replace("{}", dash)])
    assert f"U+{ord(dash):04X}" in str(error.value)


def test_dashes_within_words_are_no_options():
    refuse_dashes(["--out", "runs/1\u20135", "-x", "--", "a-b"])


@pytest.mark.parametrize("text", ["caf\u00e9", 'a"b', "a\nb", "$(x)", "`x`"])
def test_directives_take_only_what_cannot_harm(text):
    with pytest.raises(InputError, match="--queue"):
        plain_text(text, "--queue")
    assert plain_text("gpu-a_1", "--queue") == "gpu-a_1"
