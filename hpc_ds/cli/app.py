"""The command's root, and what its verbs share: options, durations, lines on stderr."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer
from pydantic import BaseModel

from hpc_ds import __version__
from hpc_ds.runtime.errors import InputError

if TYPE_CHECKING:
    from hpc_ds.runtime.world import World

F = TypeVar("F", bound=Callable[..., None])

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


def named_values(values: list[str] | dict[str, Any]) -> dict[str, Any]:
    """Read ``name=value`` texts; a value is what it would be in TOML, but a date or a table is a text."""
    if isinstance(values, dict):
        return values
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--option '{text}': write name=value, such as resolution=256")
        found[name.strip().replace("-", "_")] = _toml_value(value.strip())
    return found


def takes(model: type[BaseModel], panels: Mapping[str, Sequence[str]]) -> Callable[[F], F]:
    """Give a verb one option for each setting of `model`, in place of its ``**given``.

    Parameters
    ----------
    model : type of BaseModel
        Its fields become options that are None where the user gave none; their docstrings are the help.
    panels : mapping of str to sequence of str
        Names of fields by the heading under which help shows them.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        hints = get_type_hints(function, include_extras=True)
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        parameters = [each.replace(annotation=hints[each.name]) for each in own]
        for panel, names in panels.items():
            parameters += [_parameter(model, name, panel) for name in names]
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        function.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": None}
        return function

    return decorate


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


def _toml_value(text: str) -> Any:
    import tomllib

    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, str | int | float | list) else text


def _parameter(model: type[BaseModel], name: str, panel: str) -> inspect.Parameter:
    """Return the parameter that makes typer offer a setting."""
    wanted = model.model_fields[name].annotation
    kinds = [kind for kind in (bool, int, float) if wanted in (kind, kind | None)]
    kind = kinds[0] if kinds else str
    flag = name.replace("_", "-")
    flags = (f"--{flag}/--no-{flag}",) if kind is bool else ()
    annotation = Annotated[kind | None, setting(model, name, panel, *flags)]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
