"""Sphinx directives that print tables of options, settings, parameters, fields and exit codes from the code itself.

The manual holds no copy of them: what a table shows is what the package has.
"""

import importlib
import inspect
import math
import re

from docutils import nodes
from pydantic import BaseModel
from sphinx.util.docutils import SphinxDirective

LITERAL = re.compile(r"``(.+?)``|`(.+?)`")


class CodeTable(SphinxDirective):
    """A table whose rows come from `rows`; text between backquotes is set as code."""

    header: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()

    def run(self):
        return [table(self.header, self.widths, self.rows())]

    def rows(self):
        raise NotImplementedError


class SettingsTable(CodeTable):
    """The fields of a pydantic model: ``module.Model``, and the command whose flags set them if there is one."""

    required_arguments = 1
    optional_arguments = 1

    def run(self):
        model, command = load(self.arguments[0]), (*self.arguments, None)[1]
        if command is None:
            return [table(("option", "default", "meaning"), (22, 18, 60), model_rows(model))]
        header = ("setting", "flag", "default", "meaning")
        return [table(header, (18, 22, 12, 48), settings_rows(model, command))]


class CommandOptions(CodeTable):
    """The arguments and options of a command, from the command itself; the argument names it."""

    required_arguments = 1
    header = ("argument or option", "meaning")
    widths = (26, 74)

    def rows(self):
        for parameter in parameters_of(self.arguments[0]):
            name = flag_of(parameter) if parameter.param_type_name == "option" else parameter.name.upper()
            yield f"`{name}`", one_line(parameter.help)


class PriorFamilies(CodeTable):
    """Every family of priors: how it is written, its support, what it is."""

    header = ("prior", "support", "meaning")
    widths = (38, 18, 44)

    def rows(self):
        from hpc_ds.infer import priors

        for name, family in priors.FAMILIES.items():
            meaning = one_line(getattr(priors, name).__doc__).removeprefix("Return the ")
            yield f"`{name}({', '.join(family.names)})`", support(family), meaning


class Backgrounds(CodeTable):
    """Every background of a spectrum, and its parameters."""

    header = ("`--background`", "parameters")
    widths = (30, 70)

    def rows(self):
        from hpc_ds.infer.models.spectrum import BACKGROUNDS

        for name, parameters in BACKGROUNDS.items():
            yield f"`{name}`", ", ".join(f"`{parameter}`" for parameter in parameters) or "none"


class SimulatorParameters(CodeTable):
    """The parameters of a built-in simulator; its options can be given as ``name=value`` too."""

    required_arguments = 1
    optional_arguments = 9
    header = ("parameter", "by default")
    widths = (30, 70)

    def rows(self):
        for item in simulator_of(self.arguments).space.variables:
            units = f" {item.units}" if item.units else ""
            law = item.describe()
            yield f"`{item.name}`", f"fixed at `{law[6:-1]}`{units}" if item.is_fixed else f"`{law}`{units}"


class SimulatorFields(CodeTable):
    """The fields of a built-in simulator and their shapes."""

    required_arguments = 1
    optional_arguments = 9
    header = ("field", "axes", "shape by default")
    widths = (26, 44, 30)

    def rows(self):
        layout = simulator_of(self.arguments).layout
        for item in layout.fields:
            axes = [
                *(["time"] if item.time_varying else []),
                *layout.dims(item.name),
                *["component"] * item.rank,
            ]
            yield f"`{item.name}`", ", ".join(axes), " × ".join(map(str, layout.shape(item.name)))


class ExitCodes(CodeTable):
    """Exit codes, from the docstrings of their constants."""

    header = ("exit code", "meaning")
    widths = (12, 88)

    def rows(self):
        from hpc_ds.runtime import errors

        pattern = re.compile(r'^EXIT_\w+ = (\d+)\n"""(.+?)"""', re.MULTILINE | re.DOTALL)
        for code, meaning in pattern.findall(inspect.getsource(errors)):
            yield code, one_line(meaning)


def load(path):
    """Return what a dotted path names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def model_rows(model):
    """Yield name, default and meaning of each field of a model."""
    for name, field in model.model_fields.items():
        yield f"`{name}`", default_of(field), one_line(field.description)


def settings_rows(model, command):
    """Yield name, flag, default and meaning of each field of a model, all of which a command sets."""
    flags = {option.name: flag_of(option) for option in options_of(command)}
    for name, default, meaning in model_rows(model):
        yield name, f"`{flags[name.strip('`')]}`", default, meaning


def default_of(field):
    """Write a default as TOML and the command have it; a dash where there is none that could be written."""
    if field.is_required():
        return "needed"
    value = field.default
    if value in (None, (), [], {}, "") or isinstance(value, BaseModel):
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | list):
        return f"`{','.join(map(str, value))}`"
    return f"`{value:.4g}`" if isinstance(value, float) else f"`{value}`"


def simulator_of(arguments):
    """Return a built-in simulator under options such as ``coefficient=log-normal``."""
    from hpc_ds.simulate.simulators import load_simulator

    name, *options = arguments
    return load_simulator(name, dict(option.split("=") for option in options))


def parameters_of(command):
    """Return the arguments and options of a command, without --help."""
    import typer

    from hpc_ds.cli import app

    return [one for one in typer.main.get_command(app).commands[command].params if one.name != "help"]


def options_of(command):
    return [one for one in parameters_of(command) if one.param_type_name == "option"]


def flag_of(option):
    return next(flag for flag in option.opts if flag.startswith("--"))


def support(family):
    """Write the support of a family in the names of its arguments."""
    twos, threes = (family.support(*[value] * len(family.names)) for value in (2.0, 3.0))
    if twos != threes:  # it moves with the arguments
        return "the value" if family.names == ("value",) else "low < x < high"
    return NAMED.get(twos) or f"{twos[0]:g} < x < {twos[1]:g}"


NAMED = {(-math.inf, math.inf): "all x", (0.0, math.inf): "x > 0"}


def one_line(text):
    return " ".join((text or "").split("\n\n")[0].split())


def table(header, widths, rows):
    """Return a docutils table of texts."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in widths), cols=len(widths))
    group += nodes.thead("", row_of(header))
    group += nodes.tbody("", *(row_of(row) for row in rows))
    return nodes.table("", group, classes=["colwidths-given"])


def row_of(texts):
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *inline(text))) for text in texts))


def inline(text):
    """Split a text into plain and code nodes."""
    start = 0
    for match in LITERAL.finditer(text):
        yield nodes.Text(text[start : match.start()])
        yield nodes.literal("", match[1] or match[2])
        start = match.end()
    yield nodes.Text(text[start:])


DIRECTIVES = {
    "settings-table": SettingsTable,
    "command-options": CommandOptions,
    "prior-families": PriorFamilies,
    "backgrounds-table": Backgrounds,
    "simulator-parameters": SimulatorParameters,
    "simulator-fields": SimulatorFields,
    "exit-codes": ExitCodes,
}


def setup(app):
    for name, directive in DIRECTIVES.items():
        app.add_directive(name, directive)
    return {"version": "1", "parallel_read_safe": True}
