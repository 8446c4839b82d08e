"""Learning rates are those of torch's own schedulers, as functions of the step."""

import pytest
import torch
from torch.optim import lr_scheduler

from hpc_ds.learn.schedules import ENDLESS, cosine, make_schedule, one_cycle, staircase
from hpc_ds.learn.settings import Settings

PEAK = 0.01


def rates_of_torch(make, steps, rate=PEAK):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = make(optimiser)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


def schedule(steps_per_epoch=10, **options):
    made = make_schedule(Settings(learning_rate=PEAK, **options), steps_per_epoch)
    return [made(step) for step in range(options["epochs"] * steps_per_epoch)]


def test_cosine_is_torchs():
    expected = rates_of_torch(lambda o: lr_scheduler.CosineAnnealingLR(o, 50), 50)
    assert schedule(epochs=5, schedule="cosine") == pytest.approx(expected, rel=1e-10)


def test_cosine_after_warm_up_is_torchs():
    def warmed(optimiser):
        rise = lr_scheduler.LambdaLR(optimiser, lambda step: (step + 1) / 8)
        fall = lr_scheduler.CosineAnnealingLR(optimiser, 42)
        return lr_scheduler.SequentialLR(optimiser, [rise, fall], milestones=[8])

    rates = schedule(epochs=5, schedule="cosine", warmup=8)
    expected = rates_of_torch(warmed, 50)
    assert rates[:8] == pytest.approx([PEAK * (step + 1) / 8 for step in range(8)])
    assert rates == pytest.approx(expected, rel=1e-9)


def test_step_is_torchs():
    expected = rates_of_torch(lambda o: lr_scheduler.StepLR(o, 20, gamma=0.3), 60)
    assert schedule(epochs=6, schedule="step", step_every=2, step_factor=0.3) == pytest.approx(expected)


def test_constant_is_the_peak_after_warm_up():
    assert schedule(epochs=1, schedule="constant", warmup=2) == [PEAK / 2] + [PEAK] * 9


@pytest.mark.parametrize("steps", [10, 37, 1000])
def test_one_cycle_is_torchs(steps):
    def cycle(optimiser):
        return lr_scheduler.OneCycleLR(optimiser, PEAK, steps, cycle_momentum=False)

    rates = schedule(steps_per_epoch=steps, epochs=1, schedule="one-cycle")
    assert rates == pytest.approx(rates_of_torch(cycle, steps), rel=1e-9)


def test_warm_up_of_one_cycle_is_the_length_of_its_rise():
    rates = schedule(epochs=10, schedule="one-cycle", warmup=20)
    assert max(range(100), key=rates.__getitem__) == 19 and rates[19] == pytest.approx(PEAK)


@pytest.mark.parametrize("name", sorted(ENDLESS))
def test_endless_schedules_do_not_know_how_many_epochs_there_are(name):
    assert schedule(epochs=9, schedule=name)[:30] == schedule(epochs=3, schedule=name)


def test_known_points():
    assert (
        cosine(0, 2.0, 10) == 2.0 and cosine(5, 2.0, 10) == pytest.approx(1.0) and cosine(10, 2.0, 10) == 0.0
    )
    assert [staircase(step, 8.0, 2, 0.5) for step in range(5)] == [8.0, 8.0, 4.0, 4.0, 2.0]
    assert one_cycle(0, 1.0, 11, 4.0) == pytest.approx(0.04) and one_cycle(3, 1.0, 11, 4.0) == 1.0
    assert one_cycle(10, 1.0, 11, 4.0) == pytest.approx(4e-6)


@pytest.mark.parametrize("name", ["cosine", "step", "constant", "one-cycle"])
def test_no_step_is_out_of_range(name):
    made = make_schedule(Settings(learning_rate=PEAK, epochs=1, schedule=name, warmup=5), 1)
    assert all(0.0 <= made(step) <= PEAK for step in range(50))
