"""Words of a shell script: quoted, in ASCII only, and what is refused because it is not."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable

from hpc_ds.runtime.errors import InputError

DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
"""Characters that look like the hyphen of an option and are none."""

_DASH_FIRST = re.compile(f"-?[{DASHES}]")


def quote(word: str) -> str:
    r"""Return `word` as one word of bash, in ASCII: ``$'caf\xc3\xa9'`` where it has other characters."""
    if word.isascii():
        return shlex.quote(word)
    body = "".join(_escaped(byte) for byte in word.encode("utf-8", "surrogateescape"))
    return f"$'{body}'"


def joined(words: Iterable[str]) -> str:
    """Return `words` as they are typed in bash."""
    return " ".join(quote(word) for word in words)


def refuse_dashes(words: Iterable[str]) -> None:
    """Refuse a word that begins with a dash which is no ASCII hyphen.

    Raises
    ------
    InputError
        It names the word, the character and what was probably meant.
    """
    for word in words:
        if _DASH_FIRST.match(word):
            wrong = next(letter for letter in word if letter in DASHES)
            stem = word.lstrip("-" + DASHES)
            meant = ("-" if len(stem.partition("=")[0]) == 1 else "--") + stem
            raise InputError(
                f"'{word}' begins with {unicodedata.name(wrong)} (U+{ord(wrong):04X}), which is no hyphen: "
                f"type {meant} anew, copied text often carries such dashes"
            )


def plain_text(text: str, what: str) -> str:
    """Return `text` if it can stand in a directive of a script: ASCII, one line, no double quotes.

    Raises
    ------
    InputError
        It cannot; `what` names the option.
    """
    strange = [
        letter for letter in text if not letter.isascii() or not letter.isprintable() or letter in "\"'\\`$"
    ]
    if strange:
        raise InputError(
            f"{what} '{text}': {strange[0]!r} cannot stand in a job script's directives; use ASCII letters"
        )
    return text


def _escaped(byte: int) -> str:
    letter = chr(byte)
    if letter in "'\\":
        return f"\\{letter}"
    return letter if 32 <= byte < 127 else f"\\x{byte:02x}"
