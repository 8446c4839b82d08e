"""What can go wrong by name, and the exit codes that tell a shell about it."""

from __future__ import annotations

EXIT_DONE = 0
"""Everything asked for is done."""

EXIT_FAILURE = 1
"""Something broke that is not one of the cases below."""

EXIT_BAD_INPUT = 2
"""The input was refused before work started; nothing was written."""

EXIT_PARTLY = 3
"""Done, but some samples failed."""

EXIT_AGAIN = 75
"""Stopped in good order before the end; the same command continues (EX_TEMPFAIL of sysexits.h)."""


class InputError(Exception):
    """Bad input, told in one line: the file, line or key; what was found; what would be right."""


class StorageError(OSError):
    """A file could not be written: disk full, quota, size limit, permission or hardware.

    What the file held before is intact, and so is the run folder around it: once the cause is mended, the
    same command continues. ``str`` of the error is one line for the user.

    Parameters
    ----------
    number : int
        The ``errno`` that the operating system gave.
    reason : str
        The operating system's words for it.
    filename : str
        The file that was to be written.
    """

    def __init__(self, number: int, reason: str, filename: str) -> None:
        super().__init__(number, reason, filename)

    def __reduce__(self) -> tuple[type[StorageError], tuple[int | None, str | None, str]]:
        return type(self), (self.errno, self.strerror, self.filename)

    def __str__(self) -> str:
        return (
            f"{self.filename}: cannot be written ({self.strerror}); what it held before is kept: "
            "mend this (free space, quota, permission) and give the same command again"
        )
