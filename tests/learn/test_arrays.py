"""Plain arrays of a user's are a data set: what their axes mean, which rows train, and what is amiss."""

import h5py
import numpy as np
import pytest

from hpc_ds.learn.dataset import available_splits, open_dataset, open_inputs
from hpc_ds.learn.settings import make_settings
from hpc_ds.runtime.errors import InputError
from hpc_ds.store.split import split_codes

RNG = np.random.default_rng(1)


def opened(path, split="train", **values):
    return open_dataset(path, split, make_settings(values))


def read(dataset, samples=(0, 2)):
    inputs = np.zeros((len(samples), *dataset.input_shape))
    classes = dataset.task == "classify"
    targets = np.zeros(len(samples), np.int64) if classes else np.zeros((len(samples), *dataset.target_shape))
    dataset.read(np.asarray(samples), inputs, targets)
    return inputs, targets


def saved(path, compressed=False, **arrays):
    if path.suffix == ".npz":
        (np.savez_compressed if compressed else np.savez)(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file.create_dataset(name, data=values, **({"chunks": True} if compressed else {}))
    return path


def normal(*shape):
    return RNG.normal(size=shape)


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
@pytest.mark.parametrize("compressed", [False, True])
def test_rows_are_split_by_a_hash_of_their_number(tmp_path, name, compressed):
    x, y = normal(50, 8, 8) > 0, normal(50, 8, 8)
    path = saved(tmp_path / name, compressed, x=x, y=y)
    assert available_splits(path) == ("train", "valid", "test")
    for code, split in enumerate(available_splits(path)):
        rows = np.flatnonzero(split_codes(np.arange(50)) == code)
        dataset = opened(path, split)
        assert len(dataset) == len(rows)
        assert (dataset.task, dataset.input_shape, dataset.target_shape) == ("fields", (1, 8, 8), (1, 8, 8))
        inputs, targets = read(dataset, np.arange(len(rows))[::-1])
        assert np.array_equal(inputs[:, 0], x[rows[::-1]])
        assert np.array_equal(targets[:, 0], y[rows[::-1]])


@pytest.mark.parametrize(
    ("shapes", "selected", "input_shape", "target_shape", "task"),
    [
        ({"x": (16,), "y": (17, 16)}, {}, (1, 16), (17, 16), "fields"),
        ({"x": (16,), "y": (17, 16)}, {"target": "y:-1"}, (1, 16), (1, 16), "fields"),
        ({"x": (17, 16)}, {"input": "x", "target": "x", "window": "3,1"}, (3, 16), (1, 16), "fields"),
        ({"x": (3, 8, 8), "y": (8, 8)}, {}, (3, 8, 8), (1, 8, 8), "fields"),
        ({"x": (3, 8, 8), "y": ()}, {}, (3, 8, 8), (1,), "scalars"),
        ({"x": (2, 4, 4, 4), "y": (4, 4, 4)}, {}, (2, 4, 4, 4), (1, 4, 4, 4), "fields"),
        ({"x": (5,), "y": ()}, {}, (5,), (1,), "scalars"),
        ({"x": (5,), "y": (3,)}, {}, (5,), (3,), "scalars"),
        ({"x": (5,), "y": (5,)}, {}, (1, 5), (1, 5), "fields"),
        ({"x": (5,), "y": (5,)}, {"task": "scalars"}, (5,), (5,), "scalars"),
        ({"x": (4, 12), "y": ()}, {"input": "x::"}, (4, 12), (1,), "scalars"),
        ({"x": (4, 12), "y": ()}, {}, (1, 4, 12), (1,), "scalars"),
        ({"x": (8, 8), "c": (2,), "y": (8, 8)}, {"input": "x,c"}, (3, 8, 8), (1, 8, 8), "fields"),
        ({"a": (8, 8), "b": ()}, {"input": "a", "target": "b"}, (1, 8, 8), (1,), "scalars"),
    ],
)
def test_what_the_axes_of_arrays_mean(tmp_path, shapes, selected, input_shape, target_shape, task):
    path = saved(tmp_path / "a.npz", **{name: normal(30, *shape) for name, shape in shapes.items()})
    dataset = opened(path, **selected)
    assert (dataset.input_shape, dataset.target_shape, dataset.task) == (input_shape, target_shape, task)


@pytest.mark.parametrize("labels", [np.arange(60) % 3, np.array(["ape", "bear", "cat"])[np.arange(60) % 3]])
@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_labels_are_whole_numbers_or_words(tmp_path, labels, name):
    stored = labels.astype("S") if name == "a.h5" and labels.dtype.kind == "U" else labels
    dataset = opened(saved(tmp_path / name, x=normal(60, 8, 8), y=stored))
    rows = np.flatnonzero(split_codes(np.arange(60)) == 0)
    assert dataset.target_names == tuple(map(str, np.unique(labels)))
    assert np.array_equal(dataset.labels(), rows % 3)
    assert np.array_equal(read(dataset)[1], rows[[0, 2]] % 3)


def test_words_of_variable_length_are_labels(tmp_path):
    words = np.array(["ape", "polar bear"] * 30, dtype=object)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = normal(60, 4)
        file.create_dataset("y", data=words, dtype=h5py.string_dtype())
    assert opened(tmp_path / "a.h5").target_names == ("ape", "polar bear")


@pytest.mark.parametrize("pattern", ["{name}_{split}", "{split}_{name}", "{split}/{name}"])
def test_splits_may_have_names(tmp_path, pattern):
    path = tmp_path / ("a.h5" if "/" in pattern else "a.npz")
    sizes = {"train": 6, "val": 3, "test": 2}
    arrays = {
        pattern.format(name=name, split=split): normal(size, 4, 4)
        for split, size in sizes.items()
        for name in ("x", "y")
    }
    saved(path, **arrays)
    assert [len(opened(path, split)) for split in ("train", "valid", "test")] == [6, 3, 2]
    first = arrays[pattern.format(name="y", split="val")]
    assert np.array_equal(read(opened(path, "valid"))[1][:, 0], first[[0, 2]])


def test_splits_may_have_files(tmp_path):
    for split, size in (("train", 6), ("test", 3)):
        saved(tmp_path / f"darcy_{split}_16.npz", x=normal(size, 4, 4), y=normal(size, 4, 4))
    path = tmp_path / "darcy_train_16.npz"
    assert available_splits(path) == ("train", "test")
    assert (len(opened(path)), len(opened(path, "test"))) == (6, 3)
    with pytest.raises(InputError, match="no valid split; there are train, test"):
        opened(path, "valid")


def test_a_split_that_gets_no_row_is_none(tmp_path):
    path = saved(tmp_path / "a.npz", x=normal(3, 4, 4), y=normal(3, 4, 4))
    codes = set(split_codes(np.arange(3)).tolist())
    assert available_splits(path) == tuple(("train", "valid", "test")[code] for code in sorted(codes))


def test_new_inputs_count_all(tmp_path):
    path = saved(tmp_path / "a.npz", x=normal(30, 16), y=normal(30, 17, 16))
    selection = opened(path).selection
    x = normal(7, 16)
    dataset = open_inputs(saved(tmp_path / "new.npz", x=x), selection)
    inputs = np.zeros((7, *dataset.input_shape))
    dataset.read(np.arange(7), inputs)
    assert np.array_equal(inputs[:, 0], x)


@pytest.mark.parametrize(
    ("arrays", "selected", "message"),
    [
        ({"x": (9, 8, 8), "y": (8, 8, 8)}, {}, "different numbers of samples: 9 of x, 8 of y"),
        ({"a": (9, 8)}, {}, "no arrays 'x' and 'y'; name --input and --target of a"),
        ({"x": (9, 8), "y": (9, 8)}, {"input": "xx"}, "no array 'xx'"),
        ({"x": (9, 8, 8), "y": (9, 6, 6)}, {}, "array 'y' has 6 x 6 after the sample: the grid is 8 x 8"),
        ({"x": (9, 16), "y": (9, 17, 16)}, {"target": "y:17"}, "time 17 is out of range"),
        ({"x": (2, 8), "y": (2, 8)}, {"split": "test"}, "no samples in the test split: the file has 2 rows"),
        ({"x": (), "y": (9, 8)}, {}, "'x' is a single number"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays, selected, message):
    path = saved(tmp_path / "a.npz", **{name: normal(*shape) for name, shape in arrays.items()})
    split = selected.pop("split", "train")
    with pytest.raises(InputError, match=message):
        opened(path, split, **selected)


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_files_that_are_none_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"no such thing" * 100)
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        opened(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        opened(tmp_path / "other.npz")


@pytest.mark.needs_data
def test_the_files_of_neuraloperator_are_read(data_folder):
    folder = data_folder / "pde_neuralop"
    darcy = opened(folder / "darcy_train_16.npz")
    assert (len(darcy), darcy.input_shape, darcy.target_shape) == (1000, (1, 16, 16), (1, 16, 16))
    assert len(opened(folder / "darcy_train_16.npz", "test")) == 50
    burgers = opened(folder / "burgers_train_16.npz", input="x", target="y:-1")
    inputs, targets = read(burgers)
    with np.load(folder / "burgers_train_16.npz") as archive:
        assert np.array_equal(inputs[:, 0], archive["x"][[0, 2]])
        assert np.array_equal(targets[:, 0], archive["y"][[0, 2], -1])
