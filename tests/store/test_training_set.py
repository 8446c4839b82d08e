"""A training set is read back as it was simulated, one piece at a time or many, in this process or another."""

import multiprocessing
import pickle

import h5py
import numpy as np
import pytest

from hpc_ds.runtime.errors import InputError
from hpc_ds.store.split import split_codes
from hpc_ds.store.training_set import TrainingSet, read_statistics

N = 40
TRAIN = [int(index) for index in np.arange(N)[split_codes(np.arange(N)) == 0]]


@pytest.fixture(scope="module")
def folder(zoo, tmp_path_factory):
    path = tmp_path_factory.mktemp("set")
    zoo.write_set(path, np.arange(N), per_file=7)
    return path


@pytest.fixture
def train(folder):
    with TrainingSet(folder) as opened:
        yield opened


def whole(zoo, index, name):
    """The field of a sample on the whole grid, as a reader gives it."""
    values = zoo.sample(index)[name]
    expand = {"inflow": np.s_[:, None, :], "bed": np.s_[:, None], "drift": np.s_[:, None, None, :]}
    grid = {"inflow": (5, 6, 4), "bed": (6, 4), "drift": (5, 6, 4, 2)}
    return np.broadcast_to(values[expand[name]], grid[name]) if name in grid else values


def test_it_knows_what_it_holds(train, zoo):
    assert len(train) == len(TRAIN) > 14  # several files
    assert train.name == "zoo"
    assert list(train.axes) == ["x", "y"]
    assert np.allclose(train.axes["y"], zoo.layout.axes[1].coordinates)
    assert np.allclose(train.times, zoo.layout.times.coordinates)
    assert set(train.fields) | set(train.scalars) == {
        *(field.name for field in zoo.layout.fields),
        "viscosity",
        "scheme",
    }
    assert train.shape("velocity") == (5, 6, 4, 2)
    assert train.shape("bed") == (6, 4)
    assert train.shape("energy") == (5,)
    assert "train" in repr(train)


@pytest.mark.parametrize(
    "name",
    ["energy", "vorticity", "velocity", "strain", "mask", "inflow", "bed", "drift", "score"],
)
def test_every_kind_of_field_comes_back(train, zoo, name):
    for place in (0, 6, 7, len(TRAIN) - 1):
        assert np.array_equal(train.read(name, place), whole(zoo, TRAIN[place], name))
    everything = train.read(name)
    assert np.array_equal(everything, [whole(zoo, index, name) for index in TRAIN])


@pytest.mark.parametrize(
    "samples",
    [
        slice(2, 5),
        slice(None, None, 3),
        slice(5, 25, 4),
        slice(None, None, -1),
        slice(20, 3, -5),
        [3, 1, 29, -1],
    ],
)
@pytest.mark.parametrize("times", [slice(None), slice(1, 4), slice(0, 5, 2), 2, -1])
def test_any_samples_at_any_times(train, zoo, samples, times):
    chosen = np.array(TRAIN)[samples]
    expected = [zoo.sample(index)["velocity"][times] for index in chosen]
    assert np.array_equal(train.read("velocity", samples, times), expected)


def test_no_sample_is_an_empty_array(train):
    assert train.read("velocity", slice(3, 3)).shape == (0, 5, 6, 4, 2)
    assert train.read("velocity", [], slice(0, 2)).shape == (0, 2, 6, 4, 2)


def test_one_sample_is_a_read_only_view_of_the_file(train):
    values = train.read("vorticity", 3)
    assert not values.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 0.0


def test_parameters_come_with_their_words(train, zoo):
    expected = zoo.columns(TRAIN)
    assert np.array_equal(train.parameters["viscosity"], expected["viscosity"].astype(np.float32))
    assert list(train.parameters["scheme"]) == list(expected["scheme"])


def test_the_design_index_of_each_sample_is_known(train):
    assert list(train.design_index) == TRAIN


def test_windows_cover_every_start_of_every_sample(train, zoo):
    windows = train.windows(2, 1)
    assert len(windows) == len(TRAIN) * 3
    window = windows[3 * 8 + 2]
    sample = zoo.sample(TRAIN[8])
    assert window["input_fields"].shape == (2, 6, 4, 1 + 1 + 2 + 2 + 4)
    assert np.array_equal(window["input_fields"][..., 0], sample["vorticity"][2:4])
    assert np.array_equal(window["output_fields"][..., 2:4], sample["velocity"][4:5])
    assert np.array_equal(window["output_fields"][..., 6:], sample["strain"][4:5].reshape(1, 6, 4, 4))
    assert np.array_equal(window["constant_fields"][..., 0], sample["mask"])
    assert np.array_equal(window["input_scalars"][:, 0], sample["energy"][2:4])
    assert np.array_equal(window["constant_scalars"][2:], [sample["score"]])


def test_windows_can_stride(train, zoo):
    window = train.windows(1, 1, stride=4)[5]
    sample = zoo.sample(TRAIN[5])["vorticity"]
    assert np.array_equal(window["output_fields"][0, ..., 0], sample[4])


def test_windows_end_like_a_sequence(train):
    windows = train.windows(4, 1)
    assert sum(1 for _ in windows) == len(TRAIN)
    assert np.array_equal(windows[-1]["input_fields"], windows[len(TRAIN) - 1]["input_fields"])
    with pytest.raises(IndexError):
        windows[len(TRAIN)]


def test_windows_longer_than_a_sample_are_refused(train):
    with pytest.raises(InputError, match="windows of 6 times do not fit: the samples have 5"):
        train.windows(5, 1)


def test_it_travels_to_another_process(train, zoo):
    train.read("velocity", 0)
    other = pickle.loads(pickle.dumps(train))
    assert np.array_equal(other.read("velocity", 5), zoo.sample(TRAIN[5])["velocity"])


def test_a_forked_process_reads_on_its_own(train, zoo):
    train.read("velocity", 0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.starmap(train.read, [("velocity", place) for place in range(6)])
    assert np.array_equal(found, [zoo.sample(index)["velocity"] for index in TRAIN[:6]])


def test_it_can_be_read_on_after_close(train):
    before = train.read("velocity", 0)
    train.close()
    assert np.array_equal(train.read("velocity", 0), before)


def chunked(source, target):
    """Copy a file with compressed chunks, and with the axes left out along which a field does not vary."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        for name in old:
            old.copy(name, new)
        for name, value in old.attrs.items():
            new.attrs[name] = value
        for name in ("t0_fields/vorticity", "t1_fields/velocity"):
            attrs = dict(new[name].attrs)
            del new[name]
            values = old[name][()]
            dataset = new.create_dataset(name, data=values, chunks=(1, *values.shape[1:]), compression="gzip")
            dataset.attrs.update(attrs)
        for name, values, flags in (
            ("t0_fields/bed", old["t0_fields/bed"][:, :, 0], [True, False]),
            ("t0_fields/inflow", old["t0_fields/inflow"][:, :, :1], [False, True]),
        ):
            del new[name]
            new[name] = values
            new[name].attrs.update(old[name].attrs)
            new[name].attrs["dim_varying"] = flags


def test_compressed_files_and_narrow_fields_of_others_are_read_too(folder, zoo, tmp_path):
    (tmp_path / "data" / "train").mkdir(parents=True)
    for path in sorted((folder / "data" / "train").iterdir()):
        chunked(path, tmp_path / "data" / "train" / path.name)
    with TrainingSet(tmp_path) as train:
        assert train.fields["velocity"].offset is None
        for name in ("velocity", "bed", "inflow", "strain"):
            assert np.array_equal(train.read(name, 9), whole(zoo, TRAIN[9], name))
            backwards = [whole(zoo, TRAIN[place], name) for place in range(12, 3, -2)]
            assert np.array_equal(train.read(name, slice(12, 3, -2)), backwards)
        assert train.windows(2, 1)[7]["input_fields"].shape == (2, 6, 4, 10)
        again = pickle.loads(pickle.dumps(train))
        assert np.array_equal(again.read("velocity", 1), train.read("velocity", 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda train: train.read("pressure", 0), "neither a field nor a scalar of zoo: it has vorticity"),
        (lambda train: train.read("mask", 0, slice(0, 2)), "does not vary in time"),
        (lambda train: train.read("mask", 400), "400 is out of range"),
    ],
)
def test_what_is_not_there_is_said(train, change, message):
    with pytest.raises((KeyError, IndexError), match=message):
        change(train)


def test_a_split_that_is_not_there_is_said(folder, tmp_path):
    with pytest.raises(InputError, match=r"no data files in data/tset; there are test, train, valid"):
        TrainingSet(folder, "tset")
    with pytest.raises(InputError, match="hpc-ds merge"):
        TrainingSet(tmp_path)


def test_files_that_do_not_belong_together_are_refused(folder, zoo, tmp_path):
    place = tmp_path / "data" / "train"
    place.mkdir(parents=True)
    zoo.write_file(place / "a.h5", [0, 1])
    type(zoo)(nx=8).write_file(place / "b.h5", [2, 3])
    with pytest.raises(InputError, match=r"its grid is not that of a\.h5"):
        TrainingSet(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    place = tmp_path / "data" / "train"
    place.mkdir(parents=True)
    (place / "a.h5").write_bytes(b"text")
    with pytest.raises(InputError, match="cannot be opened as HDF5"):
        TrainingSet(tmp_path)
    with h5py.File(place / "a.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="not in The Well's layout"):
        TrainingSet(tmp_path)


def test_statistics_are_read(tmp_path):
    (tmp_path / "stats.yaml").write_text("mean: {u: 0.5, v: [1.0, 2.0]}\nstd:\n  u: 1.0\n")
    found = read_statistics(tmp_path / "stats.yaml")
    assert found["mean"]["u"] == 0.5
    assert found["mean"]["v"].tolist() == [1.0, 2.0]
    (tmp_path / "stats.yaml").write_text("just text")
    with pytest.raises(InputError, match="holds no statistics"):
        read_statistics(tmp_path / "stats.yaml")
