"""Samples of a training set come with channels first as they were simulated, and what is amiss is one line."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from hpc_ds.learn.dataset import available_splits, open_dataset, open_inputs
from hpc_ds.learn.settings import make_settings
from hpc_ds.runtime.errors import InputError
from hpc_ds.store.split import split_codes

PHASES = ("linear", "nonlinear", "saturated")


def opened(place, split="train", **values):
    return open_dataset(place, split, make_settings(values))


def read(dataset, samples, dtype=np.float32):
    samples = np.asarray(samples)
    inputs = np.full((len(samples), *dataset.input_shape), np.nan, dtype)
    classes = dataset.task == "classify"
    targets = (
        np.zeros(len(samples), np.int64)
        if classes
        else np.full((len(samples), *dataset.target_shape), np.nan, dtype)
    )
    dataset.read(samples, inputs, targets)
    return inputs, targets


def test_channels_come_first_and_in_the_order_of_the_selection(flow, flow_set):
    folder, train = flow_set
    dataset = opened(folder, input="velocity:0:2,nu,bed,u:1,phase", target="velocity.y:-1,u:-1")
    assert dataset.input_names == (
        *("velocity.x:0", "velocity.y:0", "velocity.x:1", "velocity.y:1"),
        *("nu", "bed", "u:1", "phase=linear", "phase=nonlinear", "phase=saturated"),
    )
    assert dataset.target_names == ("velocity.y:4", "u:4")
    assert dataset.input_shape == (10, 6, 6)
    assert dataset.target_shape == (2, 6, 6)
    assert len(dataset) == len(train) > 7  # several files
    order = np.random.default_rng(1).permutation(len(train))
    inputs, targets = read(dataset, order)
    for row, index in enumerate(train[order]):
        sample = flow.sample(index)
        velocity = np.moveaxis(sample["velocity"][:2], -1, 1).reshape(4, 6, 6)
        assert np.array_equal(inputs[row, :4], velocity)
        assert np.all(inputs[row, 4] == np.float32(0.1 * (index + 1)))
        assert np.array_equal(inputs[row, 5], np.broadcast_to(sample["bed"][:, None], (6, 6)))
        assert np.array_equal(inputs[row, 6], sample["u"][1])
        assert np.array_equal(inputs[row, 7:, 0, 0], np.eye(3)[index % 3])
        assert np.array_equal(targets[row], [sample["velocity"][-1, ..., 1], sample["u"][-1]])


def test_large_samples_are_read_like_small_ones(flow, flow_set, monkeypatch):
    dataset = opened(flow_set[0], input="velocity:1:4:2,bed,energy:0", target="u")
    small = read(dataset, [5, 17, 3])
    monkeypatch.setattr("hpc_ds.learn.channels._SMALL", 0)
    for one, other in zip(small, read(dataset, [5, 17, 3])):
        assert np.array_equal(one, other)


def test_compressed_files_give_the_same(flow, flow_set, tmp_path):
    folder, _ = flow_set
    packed = tmp_path / "packed"
    shutil.copytree(folder, packed)
    for path in packed.rglob("data/*/*.h5"):
        with h5py.File(path, "r+") as file:
            for name in ("u", "velocity"):
                group = file["t0_fields" if name == "u" else "t1_fields"]
                values, attrs = group[name][()], dict(group[name].attrs)
                del group[name]
                group.create_dataset(name, data=values, chunks=True, compression="gzip")
                group[name].attrs.update(attrs)
    settings = {"input": "velocity:0,u:1:3", "target": "u:-1"}
    everything = np.arange(30)
    expected = read(opened(folder, **settings), everything)
    dataset = opened(packed, **settings)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda samples: read(dataset, samples), np.array_split(everything, 10)))
    for side in (0, 1):
        assert np.array_equal(np.concatenate([pair[side] for pair in found]), expected[side])


def test_numbers_alone_are_features(flow, flow_set):
    folder, train = flow_set
    dataset = opened(folder, input="nu,energy:0:3", target="energy:-1")
    assert (dataset.task, dataset.input_shape, dataset.target_shape) == ("scalars", (4,), (1,))
    inputs, targets = read(dataset, [9, 2])
    assert np.array_equal(inputs[1, 1:], flow.sample(train[2])["energy"][:3])
    assert targets[0] == flow.sample(train[9])["energy"][-1]


def test_classes_have_the_words_of_the_choice(flow_set):
    folder, train = flow_set
    dataset = opened(folder, target="phase")
    assert (dataset.task, dataset.target_shape, dataset.target_names) == ("classify", (3,), PHASES)
    assert np.array_equal(dataset.labels(), train % 3)
    assert np.array_equal(read(dataset, [4, 1])[1], train[[4, 1]] % 3)


def test_whole_numbers_are_classes_where_that_is_the_task(flow_set):
    folder, train = flow_set
    assert opened(folder, target="count").task == "scalars"
    dataset = opened(folder, target="count", task="classify")
    assert dataset.target_names == ("0", "1", "2", "3")
    assert np.array_equal(dataset.labels(), train % 4)
    with pytest.raises(InputError, match=r"--target nu: holds numbers such as 0\.\d+, no classes"):
        opened(folder, target="nu", task="classify")


def test_a_class_that_a_split_lacks_is_named(flow, tmp_path):
    flow.write(tmp_path / "few", 12)
    codes = split_codes(np.arange(12))
    missing = [PHASES[place] for place in range(3) if not (np.flatnonzero(codes == 1) % 3 == place).any()]
    with pytest.raises(InputError, match=f"no sample of class {', '.join(missing)} in the valid split"):
        opened(tmp_path / "few", "valid", target="phase")


def test_windows_are_all_pieces_of_successive_times(flow, flow_set):
    folder, train = flow_set
    dataset = opened(folder, input="u,bed,nu", target="u", window="2,1")
    assert dataset.input_names == ("u:t-1", "u:t", "bed", "nu")
    assert dataset.target_names == ("u:t+1",)
    assert len(dataset) == 3 * len(train)
    inputs, targets = read(dataset, [3 * 11 + 2, 0])
    u = flow.sample(train[11])["u"]
    assert np.array_equal(inputs[0, :2], u[2:4])
    assert np.array_equal(targets[0], u[4:5])
    assert dataset.where(3 * 11 + 2).endswith("row 4, window from time 2")


def test_a_window_may_predict_a_number(flow, flow_set):
    folder, train = flow_set
    dataset = opened(folder, input="u", target="nu", window="2,1")
    assert len(dataset) == 4 * len(train)  # nothing follows the window but the number
    assert read(dataset, [4 * 5 + 3])[1] == np.float32(0.1 * (train[5] + 1))


def test_buffers_may_be_double_and_axes_are_known(flow_set):
    dataset = opened(flow_set[0], input="u:0", target="u:-1")
    assert np.array_equal(read(dataset, [1], np.float64)[0], read(dataset, [1])[0])
    assert [(axis.name, axis.periodic, axis.units) for axis in dataset.axes] == [
        ("x", True, "m"),
        ("y", False, "m"),
    ]
    assert np.allclose(dataset.axes[0].coordinates, np.arange(6) / 6)


def test_new_data_need_only_have_the_inputs(flow, flow_set):
    folder, _ = flow_set
    selection = opened(folder, target="phase", input="u:0").selection
    path = next((folder / "data" / "test").glob("*.h5"))
    for place in (folder, path):
        dataset = open_inputs(place, selection)
        inputs = np.zeros((1, *dataset.input_shape), np.float32)
        dataset.read(np.array([0]), inputs)
        test = np.flatnonzero(split_codes(np.arange(40)) == 2)
        assert np.array_equal(inputs[0, 0], flow.sample(test[0])["u"][0])


def test_splits_that_are_not_there_are_said(flow, flow_set, tmp_path):
    assert available_splits(flow_set[0]) == ("train", "valid", "test")
    flow.write(tmp_path / "raw", 6, merged=False)
    with pytest.raises(InputError, match="the samples are not merged yet; hpc-ds merge"):
        opened(tmp_path / "raw")
    shutil.copytree(flow_set[0], tmp_path / "part")
    shutil.rmtree(tmp_path / "part" / "data" / "valid")
    with pytest.raises(InputError, match="no samples in data/valid; there are train, test"):
        opened(tmp_path / "part", "valid")
    with pytest.raises(InputError, match="no such folder"):
        opened(tmp_path / "nothing")
    with pytest.raises(InputError, match="is one data file of a training set; give the folder"):
        opened(next(flow_set[0].glob("data/train/*.h5")))


def test_a_file_that_is_cut_off_is_refused_when_it_is_opened(flow_set, tmp_path):
    shutil.copytree(flow_set[0], tmp_path / "cut")
    path = max((tmp_path / "cut" / "data" / "train").glob("*.h5"))
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 4096)
    with pytest.raises(InputError, match=path.name):
        opened(tmp_path / "cut")


def test_a_file_that_has_gone_is_one_line(flow_set, tmp_path):
    shutil.copytree(flow_set[0], tmp_path / "gone")
    dataset = opened(tmp_path / "gone", input="u:0", target="u:-1")
    path = max((tmp_path / "gone" / "data" / "train").glob("*.h5"))
    path.unlink()
    with pytest.raises(InputError, match=f"{path.name}: cannot be read"):
        read(dataset, [len(dataset) - 1])


def test_files_with_other_numbers_of_times_join_in_windows_only(flow, flow_set, tmp_path):
    shutil.copytree(flow_set[0], tmp_path / "both")
    longer = type(flow)(nt=7)
    longer.write(tmp_path / "longer", 10)
    source = next((tmp_path / "longer" / "data" / "train").glob("*.h5"))
    shutil.copy(source, tmp_path / "both" / "data" / "train" / "zz.h5")
    with pytest.raises(InputError, match=r"zz\.h5: has 7 times where the first file .* has 5: only --window"):
        opened(tmp_path / "both", input="u:0", target="u:-1")
    dataset = opened(tmp_path / "both", input="u", target="u", window="3,1")
    assert len(dataset) == 2 * len(flow_set[1]) + 4 * int((split_codes(np.arange(10)) == 0).sum())
    assert np.array_equal(
        read(dataset, [len(dataset) - 1])[1][0, 0],
        longer.sample(np.flatnonzero(split_codes(np.arange(10)) == 0)[-1])["u"][6],
    )
