"""Every metric against scikit-learn on random data, absent classes and unanswered classes included."""

import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from hubel.metrics.confusion import Classes, averages, confusion_matrix, f1, per_class, rank
from hubel.metrics.labels import Labels, average_precision
from hubel.metrics.numbers import Numbers
from hubel.ops import losses
from hubel.types import Term


def nothing(predictions, targets, weights) -> Term:
    return losses.term(torch.zeros(len(weights)), weights)


def answers(kind: str, classes: int = 6, n: int = 200):
    draws = np.random.default_rng(KINDS.index(kind))
    truth, found = draws.integers(0, classes, n), draws.integers(0, classes, n)
    found = np.where(draws.random(n) < 0.5, truth, found)
    if kind == "class absent":
        truth[truth == 2] = 3
    elif kind == "class never answered":
        found[found == 4] = 0
    elif kind == "class neither asked nor answered":
        truth[truth == 1], found[found == 1] = 0, 0
    elif kind == "one answer":
        found[:] = 5
    return truth, found


KINDS = ("random", "class absent", "class never answered", "class neither asked nor answered", "one answer")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_confusion_and_averages_equal_scikit_learn(kind: str, weighted: bool):
    truth, found = answers(kind)
    w = np.random.default_rng(1).random(len(truth)) * 2 if weighted else np.ones(len(truth))
    matrix = confusion_matrix(torch.tensor(truth), torch.tensor(found), 6, torch.tensor(w)).numpy()
    np.testing.assert_allclose(matrix, reference.confusion_matrix(truth, found, labels=range(6), sample_weight=w))
    table = per_class(matrix)
    expected = reference.precision_recall_fscore_support(
        truth, found, labels=range(6), sample_weight=w, zero_division=0
    )
    for ours, theirs in zip(table.values(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)
    for average in ("macro", "weighted"):
        expected = reference.precision_recall_fscore_support(
            truth, found, average=average, sample_weight=w, zero_division=0
        )
        for name, theirs in zip(("precision", "recall", "f1"), expected, strict=False):
            assert averages(matrix)[f"{average}_{name}"] == pytest.approx(theirs)


@pytest.mark.parametrize("classes", [3, 10, 25])
def test_classes_metric_equals_scikit_learn(classes: int):
    draws = np.random.default_rng(0)
    p, truth, w = draws.random((80, classes)), draws.integers(0, classes, 80), draws.random(80)
    p[np.arange(80), truth] += 0.3
    metric = Classes(classes, lambda p: p.argmax(1), nothing, lambda p: p)
    for i in range(0, 80, 30):
        metric.update(*(torch.tensor(part[i : i + 30]) for part in (p, truth, w)))
    found = metric.compute()
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, p.argmax(1), sample_weight=w))
    assert ("top5" in found) == (classes >= 20)
    if classes >= 20:
        expected = reference.top_k_accuracy_score(truth, p, k=5, labels=range(classes), sample_weight=w)
        assert found["top5"] == pytest.approx(expected)


def test_rank_counts_ties_in_the_order_of_the_classes():
    scores = torch.tensor([[0.3, 0.3, 0.4], [0.3, 0.3, 0.4], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    assert rank(scores, torch.tensor([0, 1, 0, 2])).tolist() == [1, 2, 0, 2]


def test_a_network_that_tells_no_class_apart_has_a_top5_of_5_in_k():
    metric = Classes(20, lambda p: p.argmax(1), nothing, lambda p: p)
    metric.update(torch.ones(20, 20), torch.arange(20))
    assert metric.compute()["top5"] == pytest.approx(5 / 20)


def test_f1_of_the_notes():
    assert f1(0.66, 0.8) == pytest.approx(0.72, abs=5e-3)
    assert f1(0.66, 0.1) == pytest.approx(0.17, abs=5e-3)
    assert f1(0.0, 0.0) == 0
    assert f1(np.array([0.0, 1.0]), np.array([0.0, 1.0])).tolist() == [0, 1]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_average_precision_equals_scikit_learn(ties: bool, weighted: bool):
    draws = np.random.default_rng(5)
    for _ in range(20):
        scores, truth = draws.random(40), draws.random(40) < 0.3
        scores = scores.round(1) if ties else scores
        w = draws.random(40) if weighted else np.ones(40)
        truth[0] = True
        expected = reference.average_precision_score(truth, scores, sample_weight=w)
        assert average_precision(scores, truth.astype(float), w) == pytest.approx(expected)


def test_average_precision_does_not_depend_on_the_order_of_equal_scores():
    truth = np.array([1.0, 0, 0, 1])
    assert average_precision(np.ones(4), truth) == average_precision(np.ones(4), truth[::-1]) == 0.5


def test_average_precision_without_positives_is_not_measured():
    assert np.isnan(average_precision(np.ones(3), np.zeros(3)))


def labels_metric() -> Labels:
    return Labels(lambda p: p > 0.5, nothing, lambda p: p)


def test_labels_metric_equals_scikit_learn():
    draws = np.random.default_rng(2)
    p, truth, w = draws.random((90, 5)), (draws.random((90, 5)) < 0.4).astype(float), draws.random(90)
    p[:, 3] = 0.1  # never answered
    truth[:, 4] = 0  # never present
    metric = labels_metric()
    for i in range(0, 90, 40):
        metric.update(*(torch.tensor(part[i : i + 40]) for part in (p, truth, w)))
    found, answered = metric.compute(), p > 0.5
    for average in ("macro", "micro"):
        expected = reference.f1_score(truth, answered, average=average, sample_weight=w, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(expected)
    assert found["exact_match"] == pytest.approx(reference.accuracy_score(truth, answered, sample_weight=w))
    each = [reference.average_precision_score(truth[:, k], p[:, k], sample_weight=w) for k in range(4)]
    assert found["average_precision"] == pytest.approx(np.mean(each))
    np.testing.assert_allclose(metric.per_class()["average_precision"][:4], each)
    assert np.isnan(metric.per_class()["average_precision"][4])
    expected = [np.average(truth[:, k] == answered[:, k], weights=w) for k in range(5)]
    assert found["label_accuracy"] == pytest.approx(np.mean(expected))


def test_unknown_labels_are_counted_nowhere():
    truth = torch.tensor([[1.0, np.nan], [0.0, 1.0], [np.nan, np.nan]])
    p = torch.tensor([[0.9, 0.9], [0.8, 0.2], [0.9, 0.9]])
    metric = labels_metric()
    metric.update(p, truth)
    table = metric.per_class()
    assert table["precision"].tolist() == [0.5, 0]
    assert table["recall"].tolist() == [1, 0]
    assert table["support"].tolist() == [1, 1]
    found = metric.compute()
    assert found["label_accuracy"] == pytest.approx(1 / 3)
    assert found["exact_match"] == pytest.approx(2 / 3)  # of its known labels, none of the third is wrong


@pytest.mark.parametrize("offset", [0, 1e6])
def test_numbers_metric_equals_scikit_learn(offset: float):
    draws = np.random.default_rng(4)
    truth = draws.normal(size=(70, 2)) * (1, 5) + offset
    found, w = truth + draws.normal(size=(70, 2)), draws.random(70)
    metric = Numbers(("a", "b"), lambda p: p, nothing)
    for i in range(0, 70, 30):
        metric.update(*(torch.tensor(part[i : i + 30]) for part in (found, truth, w)))
    values = metric.compute()
    assert values["mae"] == pytest.approx(reference.mean_absolute_error(truth, found, sample_weight=w))
    assert values["r2"] == pytest.approx(reference.r2_score(truth, found, sample_weight=w), rel=1e-6)
    squares = reference.mean_squared_error(truth, found, sample_weight=w, multioutput="raw_values")
    assert values["rmse"] == pytest.approx(np.sqrt(squares).mean())
    each = reference.r2_score(truth, found, sample_weight=w, multioutput="raw_values")
    assert [values["r2.a"], values["r2.b"]] == pytest.approx(each, rel=1e-6)


def test_r2_of_equal_targets_is_not_measured():
    metric = Numbers(("a",), lambda p: p, nothing)
    metric.update(torch.rand(5, 1), torch.full((5, 1), 3.0))
    assert np.isnan(metric.compute()["r2"])


@pytest.mark.parametrize("make", [
    lambda: Classes(12, lambda p: p.argmax(1), nothing, lambda p: p), labels_metric,
    lambda: Numbers(tuple(f"n{i}" for i in range(12)), lambda p: p, nothing),
])  # fmt: skip
def test_parts_from_other_processes_add_up(make):
    draws = torch.Generator().manual_seed(0)
    p = torch.rand(60, 12, generator=draws)
    targets = (torch.rand(60, 12, generator=draws) < 0.4).double() * 3e5
    whole, merged = make(), make()
    if isinstance(whole, Classes):
        targets = targets.argmax(1)
    elif isinstance(whole, Labels):
        targets = (targets > 0).float()
    whole.update(p, targets)
    for start in range(0, 60, 25):
        part = make()
        part.update(p[start : start + 25], targets[start : start + 25])
        merged.merge(part.state())
    assert merged.compute() == pytest.approx(whole.compute(), rel=1e-9, nan_ok=True)


def test_empty_metrics_are_nan_without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in (labels_metric(), Numbers(("a", "b"), lambda p: p, nothing),
                       Classes(3, lambda p: p.argmax(1), nothing)):  # fmt: skip
            assert all(np.isnan(v) for v in metric.compute().values())
