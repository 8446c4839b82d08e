"""Read a training set with The Well's own package, in an environment of its own, and compare it with ours."""

import itertools
import sys
import warnings

import numpy as np
import torch
from the_well.data import WellDataset
from the_well.data.normalization import RMSNormalization, ZScoreNormalization

from hpc_ds.store.training_set import TrainingSet

warnings.simplefilter("error")  # the reader warns of what it only half supports
warnings.simplefilter("ignore", FutureWarning)  # of xarray


def compare(folder, split, n_in, n_out):
    """All windows of both readers are equal: fields, scalars, constant ones."""
    theirs = WellDataset(path=folder, well_split_name=split, n_steps_input=n_in, n_steps_output=n_out)
    with TrainingSet(folder, split) as ours:
        windows = ours.windows(n_in, n_out)
        assert len(theirs) == len(windows)
        for place in range(len(windows)):
            sample, window = theirs[place], windows[place]
            for key in (
                "input_fields",
                "output_fields",
                "constant_fields",
                "input_scalars",
                "output_scalars",
            ):
                assert (key in sample) == (key in window), key
                if key in window:
                    assert np.array_equal(sample[key].numpy(), window[key]), (split, place, key)
            assert np.array_equal(sample["constant_scalars"].numpy(), window["constant_scalars"])
    return theirs


def compare_metadata(theirs, folder, split):
    with TrainingSet(folder, split) as ours:
        assert theirs.metadata.dataset_name == ours.name
        assert sum(theirs.metadata.n_trajectories_per_file) == len(ours)
        assert theirs.metadata.spatial_resolution == tuple(len(axis) for axis in ours.axes.values())
        names = {*theirs.core_field_names, *theirs.core_constant_field_names}
        assert names == set(ours.fields)
        grid = theirs[0]["space_grid"].numpy()
        for dim, axis in enumerate(ours.axes.values()):
            assert np.array_equal(np.unique(grid[..., dim]), axis)
        assert torch.equal(theirs[0]["boundary_conditions"], torch.tensor([[2.0, 2.0], [0.0, 1.0]]))


def compare_statistics(folder):
    """Normalised fields are those that our statistics give."""
    with TrainingSet(folder) as ours:
        stats = ours.statistics
        for kind in (ZScoreNormalization, RMSNormalization):
            theirs = WellDataset(
                path=folder, well_split_name="train", use_normalization=True, normalization_type=kind
            )
            fields = theirs[1]["input_fields"].numpy()
            names = [name for name, item in ours.fields.items() if item.time_varying]
            expected = []
            for name in names:
                values = ours.read(name, 0, slice(1, 2)).astype(np.float64)
                centre = stats["mean"][name] if kind is ZScoreNormalization else 0.0
                scale = stats["std" if kind is ZScoreNormalization else "rms"][name]
                flat = (values - centre) / np.maximum(scale, 1e-4)
                expected.append(flat.reshape(*flat.shape[:3], -1))
            assert np.allclose(fields, np.concatenate(expected, axis=-1), rtol=1e-5, atol=1e-5)


def main(folder):
    for split in ("train", "valid", "test"):
        for n_in, n_out in itertools.product((1, 3), (1, 2)):
            theirs = compare(folder, split, n_in, n_out)
        compare_metadata(theirs, folder, split)
    compare_statistics(folder)
    loader = torch.utils.data.DataLoader(theirs, batch_size=2, num_workers=0)
    assert sum(len(batch["input_fields"]) for batch in loader) == len(theirs)
    dataset = theirs.to_xarray(backend="numpy")
    assert dataset.sizes["sample"] == sum(theirs.metadata.n_trajectories_per_file)
    print("equal")


if __name__ == "__main__":
    main(sys.argv[1])
