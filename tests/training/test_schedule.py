"""Schedules against torch's schedulers where they are the same, and against their equations elsewhere."""

import itertools
import math
import pickle

import pytest
import torch
from torch.optim import lr_scheduler

from hubel.errors import UserError
from hubel.recipe import SCHEDULES, ScheduleOptions
from hubel.training.schedule import SHAPES, create_schedule

N, EPOCH = 60, 10  # steps, steps per epoch


def ours(steps=N, per_epoch=EPOCH, **options):
    schedule = create_schedule(ScheduleOptions(**options), steps, per_epoch)
    return [schedule(t) for t in range(steps)]


def torchs(make, steps=N):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def close(a, b):
    return a == pytest.approx(b, rel=1e-9, abs=1e-12)


def test_every_name_has_a_shape():
    assert set(SHAPES) == set(SCHEDULES)


@pytest.mark.parametrize("options, make", [
    ({"name": "constant"}, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    ({"name": "step", "gamma": 0.3, "every": 2}, lambda o: lr_scheduler.StepLR(o, 20, gamma=0.3)),
    ({"name": "step", "gamma": 0.3, "every": 0.7}, lambda o: lr_scheduler.StepLR(o, 7, gamma=0.3)),
    ({"name": "cosine"}, lambda o: lr_scheduler.CosineAnnealingLR(o, N)),
    ({"name": "cosine", "final": 0.1}, lambda o: lr_scheduler.CosineAnnealingLR(o, N, eta_min=0.1)),
    ({"name": "linear"}, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=N)),
    ({"name": "linear", "final": 0.2}, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, total_iters=N)),
    ({"name": "onecycle", "final": 4e-6}, lambda o: lr_scheduler.OneCycleLR(o, 1.0, N, cycle_momentum=False)),
    ({"name": "onecycle", "final": 4e-6, "peak": 0.5},
     lambda o: lr_scheduler.OneCycleLR(o, 1.0, N, pct_start=0.5, cycle_momentum=False)),
])  # fmt: skip
def test_equal_to_torch(options, make):
    assert close(ours(**options), torchs(make))


@pytest.mark.parametrize("cycles, steps", [(1, 60), (3, 60), (4, 30), (7, 60), (5, 5)])
def test_cyclic_is_cosine_again_and_again(cycles, steps):
    lengths = [math.ceil((i + 1) * steps / cycles) - math.ceil(i * steps / cycles) for i in range(cycles)]
    expected = [factor for n in lengths for factor in ours(n, name="cosine", final=0.1)]
    assert close(ours(steps, name="cyclic", cycles=cycles, final=0.1), expected)
    schedule = create_schedule(ScheduleOptions(name="cyclic", cycles=cycles), steps, EPOCH)
    endings = {t: schedule.cycle_ending(t) for t in range(steps + 9) if schedule.cycle_ending(t)}
    assert endings == {sum(lengths[: i + 1]) - 1: i + 1 for i in range(cycles)}


def test_cycles_begin_after_the_warm_up():
    schedule = create_schedule(ScheduleOptions(name="cyclic", cycles=2, warmup=1), 30, EPOCH)
    assert [t for t in range(30) if schedule.cycle_ending(t)] == [19, 29]
    assert schedule(10) == schedule(20) == 1 and create_schedule(ScheduleOptions(), 9, 3).cycle_ending(8) == 0


def test_more_cycles_than_steps_are_refused():
    with pytest.raises(UserError, match="cycles' is 5, but the training has only 4 steps"):
        create_schedule(ScheduleOptions(name="cyclic", cycles=5), 4, 4)


def test_exponential_equals_torch_at_each_epoch():
    found = ours(6, 1, name="exponential", gamma=0.7)
    assert close(found, torchs(lambda o: lr_scheduler.ExponentialLR(o, 0.7), 6))
    fine = ours(name="exponential", gamma=0.7)
    assert close(fine[::EPOCH], found)
    assert close(fine[5] / fine[4], 0.7 ** (1 / EPOCH))


def test_inverse_is_one_over_t():
    """alpha = alpha_0 / (1 + decay rate * epoch)."""
    found = ours(name="inverse", gamma=0.5)
    assert close(found[::EPOCH], [1 / (1 + 0.5 * epoch) for epoch in range(6)])


def test_warm_up_rises_in_a_line_from_zero_and_the_shape_begins_behind_it():
    found = ours(name="cosine", warmup=2, final=0.1)
    assert close(found[:20], [(t + 1) / 21 for t in range(20)])
    assert close(found[20:], ours(N - 20, name="cosine", final=0.1))
    assert found[20] == max(found) == 1
    assert all(b > a for a, b in itertools.pairwise(found[:21]))


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_factor_is_in_the_unit_interval_and_only_the_peak_is_one(name):
    found = ours(name=name)
    assert all(0 <= factor <= 1 and math.isfinite(factor) for factor in found)
    assert max(found) == 1
    assert found[0] > 0, "the first step must move"


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_short_trainings(name, steps):
    assert all(0 <= factor <= 1 for factor in ours(steps, 1, name=name))


@pytest.mark.parametrize("name", ["cosine", "linear", "onecycle"])
def test_the_end_is_final_and_stays_so(name):
    schedule = create_schedule(ScheduleOptions(name=name, final=0.25), N, EPOCH)
    assert close([schedule(N), schedule(N + 100)], [0.25, 0.25])


def test_it_is_a_pure_function_that_can_be_pickled():
    schedule = create_schedule(ScheduleOptions(name="onecycle"), N, EPOCH)
    copy = pickle.loads(pickle.dumps(schedule))
    assert [copy(t) for t in reversed(range(N))][::-1] == [schedule(t) for t in range(N)]


def test_no_name_is_constant():
    assert ours() == [1.0] * N


def test_a_warm_up_as_long_as_the_training_is_refused():
    with pytest.raises(UserError, match="warmup' is 6 epochs, but the training has only 6"):
        create_schedule(ScheduleOptions(name="cosine", warmup=6), N, EPOCH)
