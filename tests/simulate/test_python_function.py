"""A user's own function as a simulator: declared in Python or in TOML."""

import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.simulate.simulators import load_simulator
from hpc_ds.store.layout import Boundary

PLAIN = """
import numpy as np

def simulate(parameters, rng):
    x = np.arange(8) / 8
    return {"u": parameters["speed"] * x + np.zeros((3, 1)), "load": rng.random()}
"""

DECLARATIONS = """
constraints = ["speed < 2"]
grid_type = "cartesian"

[parameters.speed]
distribution = "uniform(0, 3)"
units = "m/s"

[axes.x]
low = 0.0
high = 1.0
size = 8
endpoint = false
units = "m"

[times]
values = [0.0, 0.5, 2.0]
units = "s"

[fields.u]
units = "m/s"

[fields.load]
dims = []
time_varying = false

[boundaries.x]
kind = "periodic"
dims = ["x"]

[attributes]
title = "a line"
"""

DECORATED = """
import numpy as np
from hpc_ds.simulate import declare
from hpc_ds.store.layout import Axis, Boundary, Field

@declare(
    parameters={"speed": {"bounds": [0, 1], "units": "m/s"}, "modes": {"integer": [1, 4]},
                "scheme": {"choices": ["upwind", "central"]}},
    axes={"x": np.linspace(0, 1, 5), "y": {"values": [0.0, 1.0, 4.0]}},
    times=np.arange(3.0),
    fields=[Field("flow", 1, units="m/s"), Field("stress", 2, symmetric=True), Field("height", dims=("y",))],
    boundaries=[Boundary("WALL", ("x", "y"))],
)
def flow(parameters, rng):
    return {}

@declare(parameters={}, fields={"u": {"time_varying": False}}, ranks=2)
def parallel(parameters, rng, comm):
    return {"u": comm.size}

@declare(parameters={"a": {"bounds": [0, 1]}}, fields={"u": {"time_varying": False}}, block=4)
def batched(parameters, rngs):
    return [{"u": one["a"]} for one in parameters]
"""


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write_file


def test_function_with_declarations_in_toml_is_a_simulator(write):
    found = load_simulator(f"{write('line.py', PLAIN)}:simulate", {}, write("space.toml", DECLARATIONS))
    assert found.name == "line"
    assert found.space.names == ("speed",)
    layout = found.layout
    assert layout.shape("u") == (3, 8)
    assert layout.shape("load") == ()
    assert layout.columns == found.space.columns
    assert layout.times.coordinates.tolist() == [0.0, 0.5, 2.0]
    np.testing.assert_array_equal(layout.axes[0].coordinates, np.arange(8) / 8)
    assert layout.boundaries == (Boundary("PERIODIC", ("x",)),)
    assert layout.attributes == {"title": "a line"}
    fields = found.simulate({"speed": 2.0}, np.random.default_rng(0))
    assert layout.checked(fields)["u"].shape == (3, 8)


def test_identity_is_that_of_the_file(write):
    space = write("space.toml", DECLARATIONS)
    path = write("line.py", PLAIN)
    first = load_simulator(f"{path}:simulate", {}, space).identity
    assert load_simulator(f"{path}:simulate", {}, space).identity == first
    write("line.py", PLAIN + "# another\n")
    assert load_simulator(f"{path}:simulate", {}, space).identity != first


def test_identity_covers_what_the_file_imports_from_beside_it(write):
    space = write("space.toml", DECLARATIONS)
    write("friction_of_line.py", "drag = 1\n")
    path = write("line.py", "from friction_of_line import drag\n" + PLAIN)
    first = load_simulator(f"{path}:simulate", {}, space).identity
    write("friction_of_line.py", "drag = 2\n")
    assert load_simulator(f"{path}:simulate", {}, space).identity != first


def test_decorated_function_needs_no_file(write):
    found = load_simulator(f"{write('own.py', DECORATED)}:flow")
    assert found.name == "flow"
    assert found.space.names == ("speed", "modes", "scheme")
    assert found.layout.shape("flow") == (3, 5, 3, 2)
    assert found.layout.shape("stress") == (3, 5, 3, 2, 2)
    assert found.layout.shape("height") == (3, 3)
    assert found.simulate({}, None) == {}


def test_function_on_ranks_or_blocks_is_taken_as_declared(write):
    path = write("own.py", DECORATED)
    parallel, batched = load_simulator(f"{path}:parallel"), load_simulator(f"{path}:batched")
    assert (parallel.ranks, parallel.block, parallel.simulate_block) == (2, 1, None)
    assert (batched.ranks, batched.block, batched.simulate) == (1, 4, None)
    assert [one["u"] for one in batched.simulate_block([{"a": 1}, {"a": 2}], [])] == [1, 2]


def test_own_space_replaces_parameters_by_name(write):
    path = write("own.py", DECORATED)
    space = write("space.toml", "[parameters.speed]\nbounds = [0.2, 0.3]\n[parameters]\nmodes = 2\n")
    found = load_simulator(f"{path}:flow", {}, space)
    columns = found.space.from_unit(np.random.default_rng(0).random((50, found.space.dimension)))
    assert columns["speed"].min() >= 0.2
    assert columns["speed"].max() <= 0.3
    assert set(columns["modes"]) == {2}
    assert set(columns["scheme"]) == {"upwind", "central"}
    assert found.layout.columns[0].units == "m/s"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[parameters.sped]\nbounds = [0, 1]",
            "no parameter 'sped'; did you mean 'speed'? those of flow are",
        ),
        ("[parameters.speed]\nbounds = [1, 0]", "parameter 'speed': bounds = "),
        ("[parameters.speed]\nbounds = [0, 1]\nunits = 'km/h'", "units 'km/h'; the simulator takes 'm/s'"),
        (
            "[parameters.modes]\nbounds = [1, 2]",
            "parameter 'modes': a number from 1 to 2; integers are needed",
        ),
        ("[parameters.scheme]\nchoices = ['upwin']", "one of upwin; one of upwind, central is needed"),
        ("[parameters.scheme]\nbounds = [1, 2]", "one of upwind, central is needed"),
        ("[parameters.speed]\nchoices = ['fast']", "one of fast; a number from 0 to 1 is needed"),
        ("constraints = ['sped < 1']", "no parameter 'sped'"),
        ("parameters = 3", "for each is needed"),
        ("[field.u]\n", "no key 'field'; did you mean 'fields'"),
    ],
)
def test_own_space_that_does_not_fit_is_told(write, text, told):
    with pytest.raises(InputError, match=told.replace("?", r"\?")) as caught:
        load_simulator(f"{write('own.py', DECORATED)}:flow", {}, write("space.toml", text))
    assert "space.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[axes.x]", "[axis.x]", "no key 'axis'; did you mean 'axes'"),
        ("size = 8\n", "", r"\[axes.x\]: no size"),
        ("size = 8", "size = 0", "axes.x.size = 0; an integer"),
        ("high = 1.0", "high = -1.0", "low must be less than high"),
        ("high = 1.0", "high = nan", "a finite number is needed"),
        ("endpoint = false", "endpoint = 0", "true or false is needed"),
        ("endpoint = false", "periodic = true", "no key 'periodic'"),
        ("[0.0, 0.5, 2.0]", "[0.0, 0.5, 0.5]", "must be finite numbers that increase"),
        ("[0.0, 0.5, 2.0]", "['now']", "numbers that increase are needed"),
        ("dims = []", "dims = ['y']", "must be among"),
        ("dims = []", "dims = 'x'", "a list of names is needed"),
        ("dims = []", "rank = 3", "0 \\(scalar\\), 1"),
        ("dims = []", "symmetric = true", "only a tensor"),
        ("dims = []", "unit = 'm'", "no key 'unit'; did you mean 'units'"),
        ('"periodic"', '"periodc"', "did you mean 'PERIODIC'"),
        ('kind = "periodic"\n', "", r"\[boundaries.x\]: no kind"),
        ('grid_type = "cartesian"', 'grid_type = "polar"', "grid_type = 'polar'"),
        ('grid_type = "cartesian"', "block = 0", "block = 0; an integer of at least 1"),
        (
            'grid_type = "cartesian"',
            "ranks = 2",
            r"takes \(parameters, rng\); \(parameters, rng, comm\) is needed",
        ),
        ('grid_type = "cartesian"', "ranks = 2\nblock = 2", "only one of them"),
        ("[fields.u]", "[fields.speed]", "'speed' is declared twice"),
    ],
)
def test_declaration_that_is_wrong_is_told(write, old, new, told):
    assert old in DECLARATIONS
    with pytest.raises(InputError, match=told) as caught:
        load_simulator(
            f"{write('line.py', PLAIN)}:simulate", {}, write("space.toml", DECLARATIONS.replace(old, new, 1))
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            PLAIN,
            r"declares no parameters; write @hpc_ds.simulate.declare\(.* or \[parameters.NAME\] in a file",
        ),
        ("simulate = 3", "found 3; a function simulate"),
        ("class simulate:\n    pass", "found the class simulate"),
        ("def simulate():\n    pass", "declares no parameters"),
        ("def simulat(parameters, rng):\n    pass", "no 'simulate' in it; did you mean 'simulat'"),
        ("def simulate(options):\n    return 3", "must return a Simulator, found 3"),
        ("def simulate(options):\n    return 1 / 0", r"ZeroDivisionError: division by zero \(line 2\)"),
        (
            "from hpc_ds.simulate import declare\n@declare(field={})\ndef simulate(a, b): pass",
            r"own.py: declare\(...\): no key 'field'; did you mean 'fields'",
        ),
        (
            "from hpc_ds.simulate import declare\n@declare(parameters={}, fields={'u': {}})\n"
            "def simulate(a): pass",
            r"takes \(a\); \(parameters, rng\) is needed",
        ),
        (
            "from hpc_ds.simulate import declare\n@declare(parameters={})\ndef simulate(a, b): pass",
            "declares no fields",
        ),
    ],
)
def test_file_that_is_no_simulator_is_told(write, text, told):
    with pytest.raises(InputError, match=told) as caught:
        load_simulator(f"{write('own.py', text)}:simulate")
    assert "own.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_function_takes_no_options(write):
    with pytest.raises(InputError, match="option 'resolution'; this simulator has none"):
        load_simulator(f"{write('own.py', DECORATED)}:flow", {"resolution": 3})


BUILD = """
from hpc_ds.simulate.parameters import ParameterSpace
from hpc_ds.simulate.simulator import Simulator
from hpc_ds.store.layout import Axis, Field, Layout, axis

def build(options):
    size = options.get("size", 4)
    space = ParameterSpace.from_dict({"a": {"bounds": [0, 1]}})
    layout = Layout("built", (axis("x", 0, 1, size),), axis("time", 0, 1, 2), (Field("u"),))
    return Simulator("built", space, layout, simulate=lambda p, rng: {}, options={"size": size})

whole = build({})
"""


def test_function_of_options_builds_a_simulator(write):
    path = write("own.py", BUILD)
    found = load_simulator(f"{path}:build", {"size": 9})
    assert found.layout.shape("u") == (2, 9)
    assert found.options == {"size": 9}
    assert "sha256" in found.identity
    assert load_simulator(f"{path}:whole").layout.shape("u") == (2, 4)
    narrowed = load_simulator(f"{path}:whole", {}, write("space.toml", "[parameters.a]\nbounds = [0.5, 1]"))
    assert narrowed.space.to_dict()["parameters"]["a"]["bounds"] == [0.5, 1.0]
