"""Objects of a user's own file: found, or told in one line why not."""

import hashlib

import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.user_code import load_object, source_hash

SOUND = "import math\nfrom beside import seven\n\nanswer = 42\n\ndef simulate(parameters, rng):\n    return seven\n"


def write(tmp_path, text, name="own.py"):
    (tmp_path / name).write_text(text)
    return f"{tmp_path}/{name}"


def test_object_is_found_with_what_its_file_imports_from_beside_it(tmp_path):
    write(tmp_path, "seven = 7\n", "beside.py")
    path = write(tmp_path, SOUND)
    assert load_object(f"{path}:simulate", "a simulator")(None, None) == 7
    assert load_object(f"{path}:answer", "a number") == 42


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def simulate(\n", r"own.py: SyntaxError: .*line 1"),
        ("x = 1\ny = 1 / 0\n", r"own.py: ZeroDivisionError: division by zero \(line 2\)"),
        (
            "import no_such_package\n",
            r"own.py: ModuleNotFoundError: No module named 'no_such_package' \(line 1\)",
        ),
        ("def simulated():\n    pass\n", "no 'simulate' in it; did you mean 'simulated'"),
        ("import sys\nsys.exit(0)\n", "own.py: ends Python while it is imported"),
        ("raise ValueError('two\\nlines')\n", r"ValueError: two lines \(line 1\)"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, text, told):
    with pytest.raises(InputError, match=told) as caught:
        load_object(f"{write(tmp_path, text)}:simulate", "a simulator")
    assert "\n" not in str(caught.value)


def test_missing_file_is_told():
    with pytest.raises(InputError, match=r"nowhere\.py: no such file; a simulator is given as file\.py:name"):
        load_object("nowhere.py:simulate", "a simulator")


def test_hash_is_that_of_the_bytes(tmp_path):
    assert source_hash(write(tmp_path, "x")) == hashlib.sha256(b"x").hexdigest()
    with pytest.raises(InputError, match="No such file"):
        source_hash(tmp_path / "nowhere.py")


def test_hash_covers_what_is_imported_from_beside_the_file(tmp_path):
    (tmp_path / "parts").mkdir()
    write(tmp_path, "from . import deep\n", "parts/__init__.py")
    write(tmp_path, "from .. import nothing\n", "parts/deep.py")
    write(tmp_path, "import numpy\n", "beside.py")
    write(tmp_path, "", "stranger.py")
    path = write(tmp_path, "import math, parts\n\ndef late():\n    from beside import one\n")
    hashes = [source_hash(path)]
    for name in ("parts/__init__.py", "parts/deep.py", "beside.py", "own.py"):
        write(tmp_path, (tmp_path / name).read_text() + "# another text\n", name)
        hashes.append(source_hash(path))
    assert len(set(hashes)) == len(hashes), "each of them counts"
    write(tmp_path, "# another text\n", "stranger.py")
    load_object(f"{write(tmp_path, 'x = 1', 'stranger.py')}:x", "a number")
    assert source_hash(path) == hashes[-1], "what it does not import does not count, imported or not"


def test_hash_does_not_depend_on_where_the_folder_lies(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        write(folder, "one = 1\n", "beside.py")
        write(folder, "import beside\n")
    assert source_hash(tmp_path / "a" / "own.py") == source_hash(tmp_path / "b" / "own.py")
