"""A detector and a classifier of pixels plug into loader and loop as they are: mosaic, copy-paste, resume, workers."""

import math

import pytest
import torch
from proof_scenes import SCENES, TASKS, make_loop
from small_parts import assert_same
from test_proofs_in_the_loop import StopAt, last

from hubel.errors import UserError
from hubel.recipe import AugmentOptions
from hubel.tasks.labels import Labels


def run(name, folder, **options):
    loop = make_loop(name, folder, **options)
    with loop.data.train:
        loop.run()
    return loop


@pytest.mark.parametrize("name", TASKS)
def test_learns_from_scenes_of_several_images(name, tmp_path):
    """The dev part is of single images: what was learnt from scenes holds there."""
    loop = run(name, tmp_path, epochs=20)
    scores, losses = ([row[f"{part}.loss"] for row in loop.history] for part in ("dev", "train"))
    assert all(map(math.isfinite, scores)) and min(scores) < 0.85 * scores[0]
    assert losses[-1] < 0.8 * losses[0]
    plain = run(name, tmp_path / "plain", epochs=1, augment=AugmentOptions())
    drawn = run(name, tmp_path / "drawn", epochs=1)
    assert plain.history[0]["train.loss"] != drawn.history[0]["train.loss"]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("step", [2, 4])
def test_resumed_in_mid_epoch_it_ends_bit_for_bit_the_same(name, step, tmp_path):
    run(name, tmp_path / "whole")
    cut = make_loop(name, tmp_path / "cut")
    cut.callbacks.append(StopAt(step))
    cut.run()
    assert last(tmp_path / "cut")["position"]["step"] == step
    rest = make_loop(name, tmp_path / "cut", path="decoded")  # of images of the network's size: the same bits
    rest.restore(last(tmp_path / "cut"))
    rest.run()
    assert_same(last(tmp_path / "whole"), last(tmp_path / "cut"))


@pytest.mark.processes
@pytest.mark.parametrize("name", TASKS)
def test_paths_and_workers_change_nothing(name, tmp_path):
    run(name, tmp_path / "resident", epochs=2)
    for workers in (0, 1, 4):
        run(name, tmp_path / f"{workers}", path="decoded", workers=workers, epochs=2)
        assert_same(last(tmp_path / "resident"), last(tmp_path / f"{workers}"))


@pytest.mark.parametrize("name", TASKS)
def test_micro_batches_follow_the_whole_batch(name, tmp_path):
    whole = run(name, tmp_path / "whole", epochs=1).history[0]
    for micro in (1, 5):
        part = run(name, tmp_path / f"{micro}", epochs=1, micro_batch=micro).history[0]
        for key in ("train.loss", "dev.loss"):
            assert part[key] == pytest.approx(whole[key], rel=1e-3)


def test_a_task_with_one_label_per_image_says_why_not(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "labels", Labels(("a", "b", "c")))
    with pytest.raises(UserError, match=r"With augment\.mosaic and augment\.copy_paste.*'labels' has a target"):
        make_loop("labels", tmp_path)
    make_loop("boxes", tmp_path, augment=SCENES)


def test_what_can_not_be_cut_out_is_named(tmp_path, monkeypatch):
    class Corners(type(TASKS["boxes"])):
        def targets(self, dataset, index):
            from dataclasses import replace

            return replace(dataset.take("objects", index), outlines=None)

    monkeypatch.setitem(TASKS, "corners", Corners())
    with pytest.raises(UserError, match=r"augment\.copy_paste cuts objects out.*boxes alone"):
        make_loop("corners", tmp_path)
    loop = make_loop("corners", tmp_path, augment=AugmentOptions(mosaic=1.0))
    loop.run()
    assert torch.isfinite(torch.tensor(loop.history[-1]["train.loss"]))
