"""The awkward tasks plug into the trainer as it is: epochs, dev scores, resume, cut batches, two processes.

What differs from a usual task is in the task alone (proofs.py); the loop has not heard of any of them.
"""

import math

import pytest
import torch
from proof_loops import ALL, MASKS, STEPS, SUMS, make_loop, one_of_two
from small_parts import assert_same

from hubel.recipe import RegularizeOptions
from hubel.training import checkpoint
from hubel.training.callbacks import Callback


class StopAt(Callback):
    def __init__(self, step: int):
        self.step = step

    def on_step(self, loop, losses):
        loop.stop = loop.step == self.step


def last(folder):
    return checkpoint.load(folder / "checkpoints" / "last")


@pytest.mark.parametrize("name", ALL)
def test_trains_scores_and_keeps_the_best(name, tmp_path):
    loop = make_loop(name, tmp_path)
    before = {key: value.clone() for key, value in loop.network.state_dict().items()}
    loop.run()
    assert len(loop.history) == 3 and loop.step == 3 * loop.steps_per_epoch
    assert all(math.isfinite(row["train.loss"]) for row in loop.history)
    moved = [key for key, value in loop.network.state_dict().items() if not torch.equal(value, before[key])]
    assert moved == list(before), "every weight is trained"
    objective = loop.task.primary
    scores = [row[f"dev.{objective.metric}"] for row in loop.history]
    assert loop.judge.best == (max(scores) if objective.higher_is_better else min(scores))
    assert checkpoint.load(tmp_path / "checkpoints" / "best")["score"] == loop.judge.best
    if name != "GAN":  # its players pull in opposite directions
        assert loop.history[-1]["train.loss"] < loop.history[0]["train.loss"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("step", [2, 4])
def test_resumed_in_mid_epoch_it_ends_bit_for_bit_the_same(name, step, tmp_path):
    make_loop(name, tmp_path / "whole").run()
    cut = make_loop(name, tmp_path / "cut", [StopAt(step)])
    cut.run()
    assert cut.step == step and last(tmp_path / "cut")["position"]["step"] == step
    rest = make_loop(name, tmp_path / "cut")
    rest.restore(last(tmp_path / "cut"))
    rest.run()
    assert_same(last(tmp_path / "whole"), last(tmp_path / "cut"))


@pytest.mark.parametrize("name", SUMS)  # triplets are mined in the pass: cut, it is another loss
@pytest.mark.parametrize("micro", [1, 4])
def test_micro_batches_follow_the_whole_batch(name, micro, tmp_path):
    cut = last_of(name, tmp_path / "cut", micro_batch=micro)
    assert_follows(last_of(name, tmp_path / "whole"), cut, but=unmeasured(name))


def last_of(name, folder, **options):
    make_loop(name, folder, **options).run()
    return last(folder)


def unmeasured(name):
    """Of a batch that is cut no pass gives the training metric of masks; the losses are there all the same."""
    return {f"train.{key}" for key in MASKS.train_metric().compute()} if name == "segmentation" else set()


def assert_follows(whole, other, but=frozenset()):
    assert whole["position"] == other["position"] and whole["position"]["step"] == 3 * STEPS
    for part in ("network", "ema"):
        values = (whole[part], other[part]) if part == "network" else (whole["ema"]["average"], other["ema"]["average"])
        for key, value in values[0].items():
            torch.testing.assert_close(values[1][key], value, rtol=1e-4, atol=1e-5, msg=lambda m, k=key: f"{k}: {m}")
    for a, b in zip(whole["history"], other["history"], strict=True):
        names = [key for key in a if key.startswith(("train.", "dev.")) and key not in but]
        assert "train.loss" in names
        assert [a[key] for key in names] == pytest.approx([b[key] for key in names], rel=1e-3)


def test_each_player_is_clipped_by_its_own_gradient(tmp_path):
    """The generator's loss reaches the critic's weights too; their gradient must not count in its norm."""
    largest, rate = 1e-3, 0.02
    loop = make_loop("GAN", tmp_path, [StopAt(1)], regularize=RegularizeOptions(clip_norm=largest))
    before = {key: value.clone() for key, value in loop.network.state_dict().items()}
    loop.run()
    for player in ("critic", "generator"):
        moved = [(loop.network.state_dict()[k] - v).flatten() for k, v in before.items() if k.startswith(player)]
        assert float(torch.cat(moved).norm()) == pytest.approx(rate * largest, rel=1e-3), player


@pytest.mark.processes
def test_two_processes_follow_one(tmp_path):
    torch.multiprocessing.spawn(one_of_two, args=(str(tmp_path),), nprocs=2)
    for name in SUMS:
        whole = last_of(name, tmp_path / name)
        for micro in (None, 1):
            assert_follows(whole, last(tmp_path / f"{name} {micro}"), but=unmeasured(name) if micro else set())
