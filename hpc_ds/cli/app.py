"""The command's root, and what its verbs share: options, durations, lines on stderr."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel

from hpc_ds import __version__
from hpc_ds.runtime.errors import InputError

if TYPE_CHECKING:
    from hpc_ds.runtime.world import World

app = typer.Typer(
    name="hpc-ds",
    help="Data-driven science on a supercomputer and, unchanged, on a laptop. Parallel: mpiexec -n N hpc-ds ...",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Out = Annotated[str, typer.Option("--out", "-o", help="Run folder: everything the run writes lies there.")]
OutOrFile = Annotated[
    str | None, typer.Option("--out", "-o", help="Run folder: all that the run writes. Here or in --config.")
]
Config = Annotated[str | None, typer.Option(help="TOML file of these options; flags win (see hpc-ds init).")]
Time = Annotated[
    str | None, typer.Option(help="Stop in good order after this long, e.g. 90, 5m, 2:00:00; exit code 75.")
]


def setting(model: type[BaseModel], name: str, panel: str, *flags: str, **more: Any) -> Any:
    """Return the command-line option of a setting; its help is the setting's docstring."""
    field = model.model_fields[name]
    text = " ".join((field.description or "").split())
    shown = f" (default: {_shown(field.default)})" if field.default not in (None, (), False) else ""
    return typer.Option(
        *(flags or (f"--{name.replace('_', '-')}",)), help=text + shown, rich_help_panel=panel, **more
    )


def is_set(value: Any) -> bool:
    """Tell whether the user gave an option."""
    return value is not None and value not in ([], ())


def seconds(time: Any) -> float | None:
    """Return the seconds of ``--time``, None where it was not given."""
    from hpc_ds.runtime.deadline import parse_duration

    try:
        return None if time is None else parse_duration(str(time))
    except InputError as error:
        raise InputError(f"--time: {error}") from None


def teller(world: World) -> Callable[[str], None]:
    """Return a function that prints a line on stderr, on rank 0 only."""

    def tell(line: str) -> None:
        if world.is_root:
            typer.echo(f"hpc-ds: {line}", err=True)

    return tell


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"hpc-ds {__version__}")
        raise typer.Exit


def _shown(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
