import numpy as np
import pytest

from hpc_ds.report.compare import compare_runs
from hpc_ds.runtime.errors import InputError


def test_equal_runs_are_equal_bit_for_bit(fake_ensemble):
    folders = [fake_ensemble("burgers", 12, folder=name).run() for name in ("one", "two")]
    text = compare_runs(*map(str, folders))
    assert "design: the same, 12 samples in both" in text
    assert "3 of 3 equal byte for byte" in text
    assert "equal, bit for bit: 12 of 12" in text
    assert "largest difference" not in text


def test_largest_difference_of_each_field_is_told_with_its_sample(fake_ensemble):
    def change(index, fields):
        if index == 5:
            fields["velocity"][1, 2, 3, 0] += 0.25

    one = fake_ensemble("navier_stokes", 8, folder="one").run()
    two = fake_ensemble("navier_stokes", 8, folder="two").run(change=change)
    lines = {line.split()[0]: line.split() for line in compare_runs(str(one), str(two)).splitlines() if line}
    assert lines["velocity"][1] == "0.25" and lines["velocity"][3] == "5"
    assert lines["vorticity"][1] == "0"
    assert "equal, bit for bit: 7 of 8" in compare_runs(str(one), str(two))


def test_stopped_run_is_compared_over_the_samples_that_both_have(fake_ensemble):
    whole = fake_ensemble("burgers", 12, folder="one").run()
    part = fake_ensemble("burgers", 12, folder="two").run(done=range(4), state="stopped", merged=False)
    text = compare_runs(str(whole), str(part))
    assert "samples in both: 4, only in the first: 8, only in the second: 0" in text
    assert "equal, bit for bit: 4 of 4" in text


def test_other_designs_are_told(fake_ensemble):
    one = fake_ensemble("lorenz96", 8, folder="one", seed=1).run()
    two = fake_ensemble("lorenz96", 8, folder="two", seed=2).run()
    assert "design: differs in 8 of 8 samples, first in sample 0: F = " in compare_runs(str(one), str(two))


def test_other_simulators_are_not_subtracted(fake_ensemble):
    one, two = (fake_ensemble(name, 4, folder=name).run() for name in ("burgers", "lorenz96"))
    text = compare_runs(str(one), str(two))
    assert "design: other parameters" in text and "cannot be compared" in text


def test_runs_of_two_engines_are_refused(fake_ensemble, fake_run):
    one, two = fake_ensemble("lorenz96", 2, folder="sim").run(), fake_run.user_model(count=2)
    with pytest.raises(InputError, match=r"a run of infer, but .* is one of simulate"):
        compare_runs(str(one), str(two))


def test_largest_value_is_the_scale_of_a_difference(fake_ensemble):
    from hpc_ds.report.ensemble.compare import differences
    from hpc_ds.report.ensemble.reader import load

    def double(index, fields):
        fields["X"] = 2 * np.asarray(fields["X"])

    one = load(fake_ensemble("lorenz96", 3, folder="one").run())
    two = load(fake_ensemble("lorenz96", 3, folder="two").run(change=double))
    (found,) = differences(one, two, [0, 1, 2])
    assert found.largest == pytest.approx(found.scale / 2)
