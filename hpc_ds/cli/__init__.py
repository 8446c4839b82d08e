"""The command `hpc-ds`: one short function a verb."""

from __future__ import annotations

import sys
from typing import Any

import typer

from hpc_ds.cli import doctor, infer, jobs, learn, scaling, simulate, study, verbs  # noqa: F401  (each adds its verbs; help lists them in the order of import)
from hpc_ds.cli.app import app
from hpc_ds.runtime.errors import EXIT_BAD_INPUT, InputError

__all__ = ["app", "main"]

# typer carries its own click since 0.29 and used the package before: the class is found through typer's own.
_USAGE_ERROR: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def main() -> None:
    """Run the command; on any error of one rank all ranks end."""
    from hpc_ds.runtime.leaving import guarded
    from hpc_ds.runtime.threads import limit_threads

    limit_threads(1)
    sys.exit(guarded(_command))


def _command() -> int:
    """Run the command and return its exit code; what typer finds wrong is bad input like any other."""
    try:
        return int(app(standalone_mode=False) or 0)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except _USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return EXIT_BAD_INPUT
        raise InputError(error.format_message()) from None
