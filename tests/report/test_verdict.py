"""The verdict: honest about intervals, about which part was used, about what was not measured."""

import math

import numpy as np
import pytest
from reports import bare, full, regression

from hubel.metrics.interval import wilson
from hubel.report.page import Baseline, ClassRow
from hubel.report.verdict import difference, majority, remarks, verdict

S = "\u202f"


def report(train, dev, test=None, n=(1000, 400, 400), **changes):
    metrics = {"train": train, "dev": dev, "test": test}
    return bare(
        metrics={k: {"accuracy": v} for k, v in metrics.items() if v is not None},
        n=dict(zip(metrics, n, strict=True)),
        **changes,
    )


def test_difference_is_newcombes_and_covers():
    """Newcombe 1998, table II, 56/70 − 48/80: 0.0524 to 0.3339; and 95 % of simulated pairs."""
    low, high = difference(56 / 70, wilson(56, 70), 48 / 80, wilson(48, 80))
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    rng = np.random.default_rng(0)
    a, b = rng.binomial(1000, 0.97, 2000) / 1000, rng.binomial(360, 0.95, 2000) / 360
    bounds = [difference(p, wilson(1000 * p, 1000), q, wilson(360 * q, 360)) for p, q in zip(a, b, strict=True)]
    assert 0.93 < np.mean([low <= 0.02 <= high for low, high in bounds]) < 0.97


def test_a_gap_within_chance():
    text = verdict(report(0.98, 0.97, 0.975))
    assert text.startswith(f"97.5{S}% of 400 test images right (95{S}% interval 95.5–98.6{S}%); ")
    assert "the difference of 0.5 points to its training part" in text
    assert "within what 400 images can tell" in text and "overfits" not in text


def test_a_gap_beyond_chance():
    text = verdict(report(1.0, 0.9, 0.85))
    assert "better on its training part (100\u202f%) by 15.0 points" in text and "it overfits" in text


def test_a_gap_that_is_no_reason_to_act():
    """Many images tell 0.6 points from none, but not from half a point."""
    text = verdict(report(0.986, 0.98, 0.98, n=(100_000, 40_000, 40_000)))
    assert "by 0.6 points" in text and "not clearly enough to act on" in text and "overfits" not in text
    assert "overfits" in verdict(report(0.99, 0.98, 0.98, n=(100_000, 40_000, 40_000)))


def test_worse_in_training():
    text = verdict(report(0.7, 0.9, 0.9))
    assert "worse on its training part" in text and "augmentation" in text and "overfits" not in text


def test_dev_is_said_to_be_dev():
    text = verdict(report(0.98, 0.97))
    assert "97.0" in text and "dev images right" in text and "used for selection" in text
    assert "used for selection" not in verdict(report(0.98, 0.97, 0.975))


def test_nothing_measured():
    assert "not measured" in verdict(bare())
    assert "not measured" in verdict(report(0.98, None, None))
    assert "training part was not measured" in verdict(report(None, None, 0.9))
    assert "not measured" in verdict(report(0.98, math.nan, math.nan))


def test_train_from_the_history_is_said_so():
    rows = [
        {"epoch": 1, "train.accuracy": 0.5},
        {"epoch": 2, "train.accuracy": 0.91},
        {"epoch": 3, "train.accuracy": 0.99},
    ]
    text = verdict(report(None, None, 0.9, history=rows, best_epoch=2))
    assert f"91.0{S}%, averaged while it was learning" in text


def test_lower_is_better():
    text = verdict(regression(intervals={"test": {"mae": (0.45, 0.55)}, "train": {"mae": (0.38, 0.42)}}))
    assert text.startswith(f"Mean absolute error 0.5 on 50 test images (95{S}% interval 0.45–0.55)")
    assert "better on its training part (0.4) by 0.1 (0.0461–0.154)" in text and "overfits" in text
    text = verdict(regression(intervals={"test": {"mae": (0.3, 0.7)}, "train": {"mae": (0.3, 0.5)}}))
    assert "within what 50 images can tell" in text


def test_several_labels_are_called_by_their_metric():
    metrics = {"train": {"average_precision": 0.9}, "test": {"average_precision": 0.871}}
    data = bare(task="labels", primary="average_precision", metrics=metrics, n={"train": 500, "test": 120})
    assert verdict(data).startswith(f"Average precision 87.1{S}% on 120 test images (interval not measured); ")
    assert majority(data) is None


def test_without_an_interval_nothing_is_claimed():
    text = verdict(regression(intervals={}))
    assert "interval not measured" in text and "can't be told from chance" in text and "overfits" not in text


def test_majority_is_the_largest_class_of_training():
    data = full()  # train 40, 30, 30; test 20, 20, 20
    assert majority(data) == Baseline("always answering “cat”", pytest.approx(1 / 3))
    assert any("always answering “cat” scores 33.3" in text and "does not" not in text for text in remarks(data))


def test_no_better_than_the_baseline():
    data = full(metrics={"train": {"accuracy": 0.4}, "test": {"accuracy": 0.38}})
    assert "), not clearly better than always answering “cat” (33.3\u202f%); " in verdict(data)
    low = regression(baseline=Baseline("the mean", 0.5))
    assert ", not clearly better than the mean (0.5); " in verdict(low)
    far = regression(baseline=Baseline("the mean", 3.0))
    assert "not clearly" not in verdict(far) and "For comparison, the mean scores 3." in remarks(far)


def test_parts_of_the_error():
    assert any(
        "Of its 10.0\u202f% error, 8.0 points are there on the training" in t for t in remarks(report(0.92, 0.9, 0.9))
    )


def test_data_mismatch_and_variance():
    """Train 1 %, train-dev 9 %, dev 10 %: no mismatch. Train-dev 1.5 %, dev 10 %: mismatch."""
    n = {"train": 9000, "train-dev": 2000, "dev": 2000}

    def texts(inner):
        metrics = {"train": {"accuracy": 0.99}, "train-dev": {"accuracy": inner}, "dev": {"accuracy": 0.9}}
        return " ".join(remarks(bare(metrics=metrics, n=n)))

    assert "no sign of a data mismatch" in texts(0.91)
    assert "come from elsewhere (data mismatch)" in texts(0.985)


def test_dev_flattered_by_selection():
    assert any("flattered" in t for t in remarks(report(0.99, 0.98, 0.9)))
    assert not any("flattered" in t for t in remarks(report(0.99, 0.91, 0.9)))


def test_the_weakest_class_of_pixels_has_the_lowest_iou_not_the_lowest_recall():
    each = (("sky", 0.9, 0.9, (0.8, 0.95)), ("sign", 0.1, 0.5, (0.4, 0.6)), ("pole", 0.6, 0.2, (0.1, 0.3)))
    rows = [ClassRow(n, 1200, 0.9, r, 0.8, iou=u, iou_interval=i, recall_interval=(0, 1)) for n, r, u, i in each]
    said = next(t for t in remarks(full(per_class=rows, unit="pixels")) if "Weakest" in t)
    assert said.replace("\u202f", " ").replace("\u00a0", " ") == (
        "Weakest class: “pole”, IoU 20.0 %, interval 10.0–30.0 %; 60.0 % of its 1,200 pixels found."
    )


def test_weakest_class_calibration_and_looks():
    rows = [ClassRow(n, 20, 0.9, r, 0.8) for n, r in (("cat", 0.9), ("dog", 0.55), ("owl", 0.7))]
    text = " ".join(remarks(full(per_class=rows, test_looks=3)))
    assert "Weakest class: “dog”, 55.0" in text
    assert "too sure of itself by 5.0 points" in text  # 0.55 − 0.5 and 0.95 − 0.9
    assert "looked at 3 times" in text
