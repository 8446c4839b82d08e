"""Commented files to start from: a parameter space, a Python function of one's own, an external program."""

from __future__ import annotations

from typing import Any

from hpc_ds.runtime.errors import InputError
from hpc_ds.simulate.parameters import ParameterSpace
from hpc_ds.simulate.simulators import load_simulator


def example(reference: str) -> str:
    """Return the text of a TOML file to start from.

    Parameters
    ----------
    reference : str
        A simulator, whose own parameters the file then has; ``path/to/file.py:name`` that need not exist yet, for which
        it declares everything; or ``program``, for an external program.

    Raises
    ------
    InputError
        No such simulator.
    """
    if reference == "program" or reference.endswith(".toml"):
        return PROGRAM
    try:
        simulator = load_simulator(reference)
    except InputError:
        if ":" not in reference:
            raise
        return FUNCTION.format(reference=reference)
    command = (
        f"hpc-ds simulate {reference} --parameters space.toml --samples 1000 --out data/{simulator.name}"
    )
    return (
        f"# Parameters of {simulator.name}, as they are by default.\n#\n#     {command}\n#\n{HINTS}\n"
        + _written(simulator.space)
    )


HINTS = """\
# Each parameter has one of
#   distribution = "normal(0, 1)"   uniform, log_uniform, normal, lognormal, truncated_normal, half_normal, half_cauchy,
#                                   exponential, gamma, inverse_gamma, beta, fixed
#   bounds = [0.1, 2.5]             a number between them; with scale = "log" on a logarithmic scale;
#                                   a bound can be a formula of other parameters: bounds = ["low", "2 * low"]
#   integer = [1, 8]                an integer, both ends included
#   choices = ["a", "b"]            one of a few words or numbers
# What is left out here stays as it is by default.
# Conditions that every sample satisfies stand here, above the first table:
# constraints = ["a + b <= 1.5", "a > 0 or b > 0"]
"""

FUNCTION = """\
# What the function in {reference} takes and gives.
#
#     hpc-ds simulate {reference} --parameters space.toml --samples 1000 --out data/mine
#
# The function gets one sample's parameters and the sample's own random numbers, and returns its fields:
#
#     import numpy as np
#
#     def simulate(parameters, rng):
#         x = np.arange(64) / 64
#         t = np.arange(11) / 10
#         wave = np.sin(2 * np.pi * (x - parameters["speed"] * t[:, None]))  # axes: time, then space
#         return {{"u": wave + parameters["noise"] * rng.standard_normal(wave.shape)}}
#
# The same can be said in Python, by @hpc_ds.simulate.declare(...) above the function.

# Conditions that every sample satisfies stand above the first table:
constraints = ["speed + noise <= 2"]

[parameters.speed]
distribution = "uniform(0.5, 2)"     # or normal(0, 1), log_uniform(1e-3, 1), ...
units = "m/s"

[parameters.noise]
bounds = [0, "0.1 * speed"]          # a number between bounds, which may be formulas of other parameters

# [parameters.modes]
# integer = [1, 8]                   # both ends included
# [parameters.scheme]
# choices = ["upwind", "central"]    # words or numbers

[axes.x]                             # one table for each spatial dimension, in the order of the arrays
low = 0.0
high = 1.0
size = 64
endpoint = false                     # periodic: the last point is not the first one again
units = "m"

[times]                              # left out if nothing varies in time
values = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
units = "s"

[fields.u]
units = "m/s"
rank = 0                             # 0 a scalar, 1 a vector, 2 a tensor: components are the last axes
# time_varying = true
# dims = ["x"]                       # the dimensions along which it varies, by default all

[boundaries.x]
kind = "periodic"                    # periodic, wall or open
dims = ["x"]
"""

PROGRAM = """\
# An external program as a simulator. Save as solver.toml, and
#
#     hpc-ds simulate solver.toml --samples 200 --out data/ext
#
# Each sample runs in an empty working directory of its own. Where the command and the templates have {name}, the
# program sees a value: a parameter (all its digits; {viscosity:12.5e} in a format of Python's), or
#   {input}    path of the first of the inputs         {workdir}  the working directory
#   {here}     folder of this file                     {seed}     a number for the program's own random numbers
# Write {{name}} for braces that are meant. This example needs awk only: it writes a wave of the given speed.

command = ["awk", "-f", "{input}"]     # the program and its arguments; no shell reads it
keep = "failed"                      # never, failed, always: whose working directories are kept, to look at
# stdin = "wave.awk"                 # one of the inputs, for a program that reads its standard input
# links = ["mesh.dat"]               # files beside this one that the program wants in its working directory
# scratch = "$SCRATCH"               # where the working directories are made; by default $TMPDIR or /tmp

[inputs]
"wave.awk" = "wave.awk.template"     # name in the working directory = template beside this file, for example:
#     BEGIN { pi = atan2(0, -1)
#             for (i = 0; i < 32; i++) print sin(2 * pi * (i / 32 - {speed})) > "u.txt" }

[exit]                               # what exit codes mean; any other one is a failed sample
success = [0]
retry = [75]                         # failed for a passing reason: run it again
skip = [3]                           # no answer for these parameters: set the sample aside
fail = []                            # something is wrong that all samples share: end the run

# [environment]
# OMP_NUM_THREADS = "1"

[output.u]                           # where each field is found
file = "u.txt"                       # text, .npy, .npz, .h5, .nc
# format = "text"                    # text, npy, npz, hdf5, netcdf, if the suffix does not say it
# dataset = "u"                      # of npz, HDF5 and NetCDF files
# columns = [1]                      # of text files, counted from 0; skip = 2 leaves out the first two lines
# reshape = [32, 32]                 # with order = "F" for Fortran's order
# transpose = [1, 0]

[parameters.speed]
distribution = "uniform(0.5, 2)"
units = "m/s"

[axes.x]
low = 0.0
high = 1.0
size = 32
endpoint = false
units = "m"

[fields.u]
units = "m/s"
time_varying = false

[boundaries.x]
kind = "periodic"
dims = ["x"]
"""


def _written(space: ParameterSpace) -> str:
    """Return a space as TOML."""
    data = space.to_dict()
    lines = [f"constraints = {_value(data['constraints'])}\n"] if data["constraints"] else []
    for name, said in data["parameters"].items():
        lines.append(f"[parameters.{name}]")
        lines += [f"{key} = {_value(value)}" for key, value in said.items()]
        lines.append("")
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value)}]"
    return (
        '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else repr(value)
    )
