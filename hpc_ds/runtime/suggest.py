"""What to say of a name that is not known: the nearest one, and all that there are."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(word: str, known: Iterable[str], what: str = "known") -> str:
    """Return the end of a message about the unknown name `word`: ``did you mean 'viscosity'? known are ...``.

    Parameters
    ----------
    word : str
        The name that was found.
    known : iterable of str
        The names that there are.
    what : str
        What those are, as in ``known are a, b``.
    """
    names = list(known)
    near = get_close_matches(word.lower(), [name.lower() for name in names], n=1, cutoff=0.6)
    meant = [name for name in names if near and name.lower() == near[0]]
    question = f"did you mean '{meant[0]}'? " if meant else ""
    return f"{question}{what} are {', '.join(names)}" if names else f"{what}: none"
