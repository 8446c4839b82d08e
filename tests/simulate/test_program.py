"""External programs as simulators: real ones, in awk, sh, C and Python, with known answers."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import netcdf_file

from hpc_ds.runtime.errors import InputError
from hpc_ds.simulate import scratch
from hpc_ds.simulate.outputs import Output, OutputError, Reader
from hpc_ds.simulate.program import ProgramError
from hpc_ds.simulate.simulator import Retry, Skip, Stop
from hpc_ds.simulate.simulators import load_simulator

DECLARED = """
[parameters.speed]
distribution = "uniform(0, 2)"

[axes.x]
low = 0.0
high = 3.0
size = 4

[fields.u]
time_varying = false
"""

AWK = """
command = ["awk", "-f", "{input}"]
scratch = "scratch"
keep = "KEEP"

[inputs]
"line.awk" = "line.awk.template"

[exit]
retry = [75, 76]
skip = [3]
fail = [9]

[output.u]
file = "u.txt"
columns = 1
"""

TEMPLATE = """BEGIN { for (i = 0; i < 4; i++) printf "%d %.17g\\n", i, i * {speed} > "u.txt"; print "{{speed}}" }\n"""

RNG = np.random.default_rng


@pytest.fixture
def write(tmp_path):
    (tmp_path / "scratch").mkdir()

    def write_file(name, text):
        file = tmp_path / name
        file.write_text(textwrap.dedent(text))
        if file.read_text().startswith("#!"):
            file.chmod(0o755)
        return str(file)

    return write_file


@pytest.fixture
def awk(write):
    def load(template=TEMPLATE, keep="never"):
        write("line.awk.template", template)
        return load_simulator(write("solver.toml", AWK.replace("KEEP", keep) + DECLARED))

    return load


def left_behind(tmp_path):
    return sorted(item.name for item in (tmp_path / "scratch").iterdir())


def test_program_gets_all_digits_and_its_text_is_read(awk, tmp_path):
    found = awk()
    speed = 0.1 + 2**-40
    fields = found.layout.checked(found.simulate({"speed": speed}, RNG(0)))
    np.testing.assert_array_equal(found.simulate({"speed": speed}, RNG(0))["u"], np.arange(4) * speed)
    assert fields["u"].shape == (4,)
    assert found.name == "solver"
    assert left_behind(tmp_path) == []


def test_kept_directories_show_what_was_run(awk, tmp_path):
    awk(keep="always").simulate({"speed": 1.5}, RNG(0))
    (kept,) = left_behind(tmp_path)
    assert kept.startswith("hpc-ds-kept-")
    inside = tmp_path / "scratch" / kept
    assert "i * 1.5" in (inside / "line.awk").read_text()
    assert (inside / "stdout.txt").read_text() == "{speed}\n"


@pytest.mark.parametrize(
    ("code", "error"), [(75, Retry), (76, Retry), (3, Skip), (9, Stop), (1, ProgramError), (77, ProgramError)]
)
def test_exit_codes_say_what_becomes_of_the_sample(awk, tmp_path, code, error):
    failing = (
        f'BEGIN {{ print "first" > "/dev/stderr"; print "{{speed}} is bad" > "/dev/stderr"; exit {code} }}\n'
    )
    with pytest.raises(error, match=f"^awk: exit code {code}: 1.25 is bad\nfirst\n1.25 is bad$"):
        awk(failing).simulate({"speed": 1.25}, RNG(0))
    assert left_behind(tmp_path) == []


def test_failed_directory_is_kept_if_asked_and_the_error_says_where(awk, tmp_path):
    with pytest.raises(ProgramError) as caught:
        awk("BEGIN { x = {speed}; exit 1 }", keep="failed").simulate({"speed": 1.0}, RNG(0))
    (kept,) = left_behind(tmp_path)
    assert caught.value.__notes__ == [f"kept in {tmp_path}/scratch/{kept}"]
    assert "nothing was said" in str(caught.value)


def test_program_that_writes_nothing_is_a_failed_sample(awk):
    with pytest.raises(OutputError, match=r"field 'u': the program wrote no u\.txt"):
        awk("BEGIN { x = {speed} }").simulate({"speed": 1.0}, RNG(0))


def test_crash_names_its_signal_and_a_kill_from_outside_is_tried_again(write):
    text = """
    command = ["sh", "-c", "kill -{number} $$"]
    [output.u]
    file = "u.npy"
    [parameters.number]
    choices = [11, 9]
    [fields.u]
    """
    found = load_simulator(write("solver.toml", text))
    with pytest.raises(ProgramError, match="sh: ended by SIGSEGV"):
        found.simulate({"number": 11}, RNG(0))
    with pytest.raises(Retry, match="sh: ended by SIGKILL"):
        found.simulate({"number": 9}, RNG(0))


def test_command_takes_values_formats_seed_links_stdin_and_environment(write, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "3")
    write("mesh.dat", "7\n")
    write("in.template", "from stdin {speed:.2f}\n")
    write(
        "run.sh",
        """\
        #!/bin/sh
        read line
        echo "$line|$1|$2|$MODE|${OMPI_COMM_WORLD_RANK:-none}|$(cat mesh.dat)|$(basename "$3")|$PWD" > said
        echo "$4" > seed.txt
        """,
    )
    text = """
    command = ["./run.sh", "{speed}", "{name}", "{here}/run.sh", "{seed}"]
    stdin = "in"
    links = ["mesh.dat"]
    scratch = "scratch"
    keep = "always"
    inputs = { in = "in.template" }
    environment = { MODE = "quick" }
    [output.seed]
    file = "seed.txt"
    reshape = []
    [parameters.name]
    choices = ["a b", "c;d"]
    [parameters.speed]
    bounds = [0, 1]
    [fields.seed]
    time_varying = false
    """
    path = write("solver.toml", text)
    found = load_simulator(path)
    seed = found.simulate({"speed": 0.125, "name": "c;d"}, RNG(4))["seed"]
    assert seed == RNG(4).integers(2**31)
    assert found.simulate({"speed": 0.125, "name": "c;d"}, RNG(4))["seed"] == seed
    kept = next((Path(path).parent / "scratch").iterdir())
    said = (kept / "said").read_text().strip().split("|")
    assert said[:-1] == ["from stdin 0.12", "0.125", "c;d", "quick", "none", "7", "run.sh"]
    assert said[-1].startswith(str(kept.parent))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")
def test_compiled_solver_gives_the_known_answer(write, tmp_path):
    source = write(
        "heat.c",
        """
        #include <math.h>
        #include <stdio.h>
        int main(int argc, char **argv) {
            double k, u[32];
            FILE *in = fopen("heat.in", "r"), *out = fopen("u.bin", "wb");
            if (fscanf(in, " diffusivity = %lf", &k) != 1) return 4;
            for (int j = 0; j < 32; j++) u[j] = exp(-k) * sin(2 * M_PI * j / 32.0);
            FILE *text = fopen("u.txt", "w");
            for (int j = 0; j < 32; j++) fprintf(text, "%.17g\\n", u[j]);
            return out == 0;
        }
        """,
    )
    subprocess.run(["gcc", source, "-o", tmp_path / "heat", "-lm"], check=True)
    write("heat.template", "diffusivity = {k}\n")
    text = """
    command = ["./heat"]
    [inputs]
    "heat.in" = "heat.template"
    [output.u]
    file = "u.txt"
    [parameters.k]
    bounds = [0, 1]
    [axes.x]
    low = 0
    high = 1
    size = 32
    endpoint = false
    [fields.u]
    time_varying = false
    """
    found = load_simulator(write("heat.toml", text))
    k = 1 / 3
    np.testing.assert_allclose(
        found.simulate({"k": k}, RNG(0))["u"], np.exp(-k) * np.sin(2 * np.pi * np.arange(32) / 32), rtol=1e-15
    )
    (tmp_path / "heat").write_bytes(b"\x7fELF another")
    assert load_simulator(str(tmp_path / "heat.toml")).identity != found.identity


NAMES = """
command = ["sh", "{here}/run.sh", "--table={here}/table.dat", "{speed}"]
links = ["mesh.dat", "tables"]
environment = { CHEMISTRY = "./chemistry.dat" }

[output.u]
file = "u.txt"
"""


def test_identity_covers_every_file_that_is_named(write, tmp_path):
    (tmp_path / "tables").mkdir()
    names = ("run.sh", "table.dat", "mesh.dat", "tables/one", "chemistry.dat")
    for name in names:
        write(name, "first")
    path = write("named.toml", NAMES + DECLARED)
    seen = [load_simulator(path).identity]
    for name in (*names, "tables/two"):
        write(name, "second")
        seen.append(load_simulator(path).identity)
        assert seen[-1] != seen[-2], name
    write("stranger", "second")
    assert load_simulator(path).identity == seen[-1]


# one line for what is wrong


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"awk", ', '"no-such-program", ', "command: 'no-such-program' is no program that can be run"),
        ('"awk", ', '"./missing", ', "command: './missing' is no program"),
        ('"{input}"', '"{inptu}"', r"command, line 3: no value 'inptu' for {inptu}; did you mean 'input'"),
        ('"{input}"', '"{speed:q}"', "command, line 3: {speed:q}: Unknown format code"),
        ('command = ["awk", "-f", "{input}"]', "", "command"),
        ('command = ["awk", "-f", "{input}"]', "command = []", "command"),
        ('command = ["awk", "-f", "{input}"]', 'command = "awk"', "command 'awk'"),
        ("keep", "keeep", "no key 'keeep'; did you mean 'keep'"),
        ('"KEEP"', '"sometimes"', "keep 'sometimes'"),
        ("line.awk.template", "nowhere", "inputs: .*nowhere: No such file"),
        ('"line.awk" =', '"../line.awk" =', "inputs: '../line.awk'; a name in the working directory"),
        ('scratch = "scratch"', 'scratch = "nowhere"', "scratch: .*nowhere; a folder that can be written"),
        ('scratch = "scratch"', 'stdin = "x"', "stdin = 'x'; one of inputs is needed: line.awk"),
        ('scratch = "scratch"', 'links = ["x"]', "links: .*x: no such file"),
        ("retry = [75, 76]", 'retry = "75"', "exit.retry"),
        ("retry", "retries", "exit.retries"),
        ("[output.u]", "[output.v]", r"no \[output.u\]"),
        ('file = "u.txt"', 'file = "/tmp/u.txt"', "output: '/tmp/u.txt'"),
        ('file = "u.txt"', "", "output.u.file"),
        ("[parameters.speed]", "[parameters.sped]", "no value 'speed' for {speed}; did you mean 'sped'"),
        ("[parameters.speed]", "[parameters.seed]", "parameter 'seed': input, workdir, here, seed mean"),
        (
            "[axes.x]",
            "[parameters.b]\nbounds = [0, 1]\n[axes.x]",
            "parameter 'b' does not reach the program; write {b} into",
        ),
        ("[fields.u]", "[field.u]", "no key 'field'"),
        ('distribution = "uniform(0, 2)"', "bounds = [2, 0]", "parameter 'speed': bounds"),
        ("size = 4", "size = 4.5", "axes.x.size"),
    ],
)
def test_file_that_is_wrong_is_told_in_one_line(write, old, new, told):
    write("line.awk.template", TEMPLATE)
    assert old in AWK + DECLARED
    text = (AWK + DECLARED).replace(old, new, 1).replace("KEEP", "never")
    with pytest.raises(InputError, match=told) as caught:
        load_simulator(write("solver.toml", text))
    assert "solver.toml" in str(caught.value) or "line.awk.template" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_template_that_is_wrong_is_told_with_its_line(awk):
    with pytest.raises(
        InputError, match=r"line.awk.template, line 2: no value 'sped' for {sped}; did you mean"
    ):
        awk("BEGIN {\nx = {sped} }\n")


def test_template_without_a_parameter_is_told(awk):
    with pytest.raises(InputError, match="parameter 'speed' does not reach the program"):
        awk("BEGIN { }")


def test_options_are_refused(awk, tmp_path):
    awk()
    with pytest.raises(InputError, match="option 'n'; a program has none"):
        load_simulator(str(tmp_path / "solver.toml"), {"n": 1})


def test_own_space_replaces_that_of_the_file(awk, write, tmp_path):
    awk()
    space = write("space.toml", "[parameters.speed]\nbounds = [0.2, 0.4]")
    found = load_simulator(str(tmp_path / "solver.toml"), {}, space)
    assert found.space.to_dict()["parameters"]["speed"]["bounds"] == [0.2, 0.4]


# output readers

VALUES = np.arange(12.0).reshape(3, 4)


def read(tmp_path, **said):
    return Reader("u", Output(**said))(tmp_path)


def test_text_is_read_with_commas_headers_and_fortran_exponents(tmp_path):
    (tmp_path / "a.txt").write_text("title\n# comment\n1, 2.5D+01\n3, -4d-1\n")
    np.testing.assert_array_equal(read(tmp_path, file="a.txt", skip=1), [[1, 25], [3, -0.4]])
    np.testing.assert_array_equal(read(tmp_path, file="a.txt", skip=1, columns=1), [25, -0.4])
    np.testing.assert_array_equal(read(tmp_path, file="a.txt", skip=1, columns=[1, 0]), [[25, 1], [-0.4, 3]])


def test_numbers_are_put_into_shape(tmp_path):
    np.savetxt(tmp_path / "u.dat", VALUES.ravel())
    np.testing.assert_array_equal(read(tmp_path, file="u.dat", reshape=[3, 4]), VALUES)
    fortran = read(tmp_path, file="u.dat", reshape=[4, 3], order="F", transpose=[1, 0])
    np.testing.assert_array_equal(fortran, VALUES)


def test_arrays_are_read(tmp_path):
    np.save(tmp_path / "u.npy", VALUES)
    np.savez(tmp_path / "u.npz", u=VALUES, v=-VALUES)
    with h5py.File(tmp_path / "u.h5", "w") as file:
        file["u"] = VALUES
        file["group/v"] = -VALUES
    for name in ("u.npy", "u.npz", "u.h5"):
        np.testing.assert_array_equal(read(tmp_path, file=name), VALUES)
    np.testing.assert_array_equal(read(tmp_path, file="u.npz", dataset="v"), -VALUES)
    np.testing.assert_array_equal(read(tmp_path, file="u.h5", dataset="group/v"), -VALUES)


def test_packed_netcdf_is_unpacked_in_both_formats(tmp_path):
    packed = np.array([[0, 1], [2, -99]], dtype=np.int16)
    with netcdf_file(tmp_path / "old.nc", "w") as file:
        file.createDimension("x", 2)
        file.createDimension("y", 2)
        variable = file.createVariable("u", "i2", ("x", "y"))
        variable[:] = packed
        variable.scale_factor, variable.add_offset, variable._FillValue = 0.5, 10.0, np.int16(-99)
        file.createVariable("v", "f4", ("x",))[:] = [1.5, 2.5]
    with h5py.File(tmp_path / "new.nc", "w") as file:
        file["u"] = packed
        file["u"].attrs.update(scale_factor=[0.5], add_offset=10.0, _FillValue=np.int16([-99]))
        file["v"] = np.float32([1.5, 2.5])
    for name in ("old.nc", "new.nc"):
        np.testing.assert_array_equal(read(tmp_path, file=name), [[10, 10.5], [11, np.nan]])
        np.testing.assert_array_equal(read(tmp_path, file=name, dataset="v"), [1.5, 2.5])
        assert read(tmp_path, file=name, dataset="v").dtype.isnative


@pytest.mark.parametrize(
    ("content", "said", "told"),
    [
        (b"", {"file": "u.txt"}, "no numbers in it"),
        (b"1 2\n3\n", {"file": "u.txt"}, "u.txt, as text"),
        (b"1 two\n", {"file": "u.txt"}, "u.txt, as text"),
        (b"1 2\n", {"file": "u.txt", "columns": 5}, "u.txt, as text"),
        (b"1 2\n", {"file": "u.txt", "reshape": [3]}, "cannot reshape"),
        (b"1 2\n", {"file": "u.txt", "transpose": [0, 2]}, "u.txt, as text"),
        (b"junk", {"file": "u.npy"}, "u.npy, as npy"),
        (b"junk", {"file": "u.npz"}, "u.npz, as npz"),
        (b"junk", {"file": "u.h5"}, "u.h5, as hdf5"),
        (b"junk", {"file": "u.nc"}, "u.nc, as netcdf"),
        (b"CDFjunk", {"file": "u.nc"}, "u.nc, as netcdf"),
        (None, {"file": "u.h5"}, "the program wrote no u.h5"),
    ],
)
def test_output_that_is_not_as_announced_is_told(tmp_path, content, said, told):
    if content is not None:
        (tmp_path / said["file"]).write_bytes(content)
    with pytest.raises(OutputError, match=told) as caught:
        read(tmp_path, **said)
    assert "\n" not in str(caught.value)


def test_missing_dataset_is_told_with_those_there(tmp_path):
    np.savez(tmp_path / "u.npz", v=VALUES)
    with pytest.raises(OutputError, match="no 'u' in it; there are v"):
        read(tmp_path, file="u.npz")


# what a killed process leaves

KILLED = """
import os, sys
import numpy as np
from hpc_ds.simulate.simulators import load_simulator
found = load_simulator(sys.argv[1])
print(os.getpid(), flush=True)
found.simulate({"speed": 1.0}, np.random.default_rng(0))
"""

SLEEPER = """
command = ["./sleeper.sh", "{speed}"]
scratch = "scratch"
[output.u]
file = "u.txt"
"""


def test_program_dies_with_its_process_and_the_next_one_removes_what_it_left(write, tmp_path, monkeypatch):
    write("sleeper.sh", "#!/bin/sh\necho $$ > ../../pid.tmp; mv ../../pid.tmp ../../pid; exec sleep 600\n")
    path = write("solver.toml", SLEEPER + DECLARED)
    process = subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE)
    pid_file = tmp_path / "pid"
    wait_for(pid_file.exists)
    program = int(pid_file.read_text())
    (workdir,) = left_behind(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not Path(f"/proc/{program}").exists() or "Z" in stat_of(program))

    young = tmp_path / "scratch" / workdir
    with scratch.new_scratch(str(tmp_path / "scratch"), "never"):
        assert young.exists()  # it may be one that is just being made
    os.utime(young, (time.time() - 3600,) * 2)
    monkeypatch.setattr(scratch, "_swept", set())
    with scratch.new_scratch(str(tmp_path / "scratch"), "never") as own:
        assert not young.exists()
        os.utime(own, (time.time() - 3600,) * 2)
        monkeypatch.setattr(scratch, "_swept", set())
        with scratch.new_scratch(str(tmp_path / "scratch"), "never"):
            assert own.exists()  # in use
    assert left_behind(tmp_path) == []


def stat_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "Z"


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
