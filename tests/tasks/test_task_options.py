"""Options are checked where they are given, data where it is met; what `fitted` measures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_parts import Small, make_batch
from task_examples import CLASSES, batch_of, dataset
from torch import nn

from hubel.data.shapes import shapes
from hubel.errors import UserError
from hubel.tasks.binary import Binary
from hubel.tasks.classification import Classification
from hubel.tasks.hierarchical import Hierarchical, TwoLevel
from hubel.tasks.joint import Joint
from hubel.tasks.labels import Labels
from hubel.tasks.one_of_k import balanced
from hubel.tasks.perceptron import Perceptron
from hubel.tasks.prior import write_prior
from hubel.tasks.regression import NumberPredictions, Regression
from hubel.tasks.segmentation import Segmentation
from hubel.types import Batch, select

DATA = dataset()
TRAIN = DATA.splits["train"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Classification(CLASSES, smoothing=1.0), "'smoothing' needs a number from 0 and below 1; got 1"),
        (lambda: Classification(CLASSES, smoothing="a"), "'smoothing'.*got a"),
        (lambda: Classification(CLASSES, class_weights=(1.0,)), "'class_weights' needs 12 numbers of at least 0"),
        (lambda: Classification(CLASSES, class_weights=3), "'class_weights' needs 12 numbers.*got 3"),
        (lambda: Classification(("a", "b"), class_weights=(0, 0)), "'class_weights' needs 2"),
        (lambda: Classification(("a", "b"), class_weights=(1, 2), balance=True), "both weigh"),
        (lambda: Binary(("a", "b"), output="relu"), "'output' is one of sigmoid, tanh; got 'relu'"),
        (lambda: Binary(("a", "b"), threshold=0), "'threshold' needs a number above 0"),
        (lambda: Labels(("a", "b"), positive_weights=(1, 0)), "'positive_weights' needs 2 numbers above 0"),
        (lambda: Hierarchical(("a", "b"), clusters=3), "'clusters' needs a whole number from 1 to 2"),
        (lambda: Hierarchical(("a", "b"), clusters="x"), "'clusters'.*got x"),
        (lambda: Regression(error="mae"), "'error' is one of mse, huber, bins; got 'mae'"),
        (lambda: Regression(error="bins", bins=1), "'bins' needs a whole number of at least 2"),
        (lambda: Regression(error="huber", delta=-1.0), "'delta' needs a number above 0"),
        (lambda: Regression(delta=2.0), "'delta' applies to error 'huber' only, not to 'mse'"),
        (lambda: Regression(error="huber", bins=5), "'bins' applies to error 'bins' only"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, message: str):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_classification_is_torchs_cross_entropy_with_these_options(smoothing: float, weighted: bool):
    c = tuple(1.0 + k for k in range(12)) if weighted else None
    task, batch = Classification(CLASSES, smoothing=smoothing, class_weights=c), batch_of(Classification(CLASSES), DATA)
    logits = Small(task)(batch.images)
    expected = nn.functional.cross_entropy(
        logits, batch.targets, None if c is None else torch.tensor(c).double(), label_smoothing=smoothing
    )
    term = task.loss(lambda images: logits, batch)["cross_entropy"]
    torch.testing.assert_close(term.sum / term.count, expected)


@pytest.mark.parametrize(
    ("task", "column"),
    [(Hierarchical(CLASSES, class_weights=(0.0, 3.0) * 6), "label"),
     (Binary(("a", "b"), target="pair", class_weights=(1.0, 3.0)), "pair")],
)  # fmt: skip
def test_class_weights_are_the_weights_of_a_mean(task, column: str):
    network, batch = Small(task), batch_of(task, DATA)
    plain = replace(task, class_weights=None)
    each = [plain.loss(network, batch.part(i, i + 1))["cross_entropy"].sum.item() for i in range(len(DATA))]
    c = np.array(task.class_weights)[DATA.annotations[column]]
    term = task.loss(network, batch)["cross_entropy"]
    assert (term.sum / term.count).item() == pytest.approx(np.average(each, weights=c))


def test_weights_of_present_labels_multiply_their_nats():
    positive = tuple(0.5 + k for k in range(12))
    task, batch = Labels(CLASSES, positive_weights=positive), batch_of(Labels(CLASSES), DATA)
    logits, known = Small(task)(batch.images), ~batch.targets.isnan()
    nats = nn.functional.binary_cross_entropy_with_logits(
        logits, batch.targets.nan_to_num().double(), pos_weight=torch.tensor(positive).double(), reduction="none"
    )
    term = task.loss(lambda images: logits, batch)["cross_entropy"]
    torch.testing.assert_close(term.sum / term.count, nats[known].mean())


@pytest.mark.parametrize("options", [{"error": "mse"}, {"error": "huber", "delta": 0.3}])
def test_regression_is_torchs_loss_of_standardised_targets(options):
    task = Regression(**options).fitted(DATA, TRAIN)
    batch = batch_of(task, DATA)
    outputs, known = Small(task)(batch.images), ~batch.targets.isnan()
    mean, deviation = (torch.tensor(row).double() for row in task.statistics[:2])
    pair = outputs[known], ((batch.targets - mean) / deviation)[known]
    expected = (
        nn.functional.mse_loss(*pair) if options["error"] == "mse" else nn.functional.huber_loss(*pair, delta=0.3)
    )
    (term,) = task.loss(lambda images: outputs, batch).values()
    torch.testing.assert_close(term.sum / term.count, expected)


def changed(**columns):
    return replace(DATA, annotations={**DATA.annotations, **columns})


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        (Classification(("a",)), DATA, "at least two classes"),
        (Classification(("a", "b", "c")), DATA, r"classes 0 … 2; it also holds 3, 4"),
        (Classification(CLASSES, target="numbers"), DATA, "one whole number for each image"),
        (Binary(("a", "b", "c"), target="pair"), DATA, "exactly two classes"),
        (Labels(("a", "b")), DATA, r"shape \(24, 2\).*it has shape \(24, 12\)"),
        (Labels(CLASSES), changed(labels=np.full((24, 12), 0.5, np.float32)), "0, 1 or NaN"),
        (Regression(), changed(numbers=np.zeros((24, 1), np.int64)), "floating point numbers of shape"),
        (Regression(), changed(numbers=np.full((24, 1), np.inf, np.float32)), "finite numbers"),
        (Regression(names=("a",)), DATA, "1 names were given for 2 numbers"),
    ],
)
def test_data_that_does_not_fit_is_refused(task, data, message: str):
    with pytest.raises(UserError, match=message):
        task.accepts(data)


def test_balanced_weights_give_each_class_the_same_say():
    counts = np.array([10, 5, 0, 25])
    weights = balanced(counts)
    assert (counts * weights)[[0, 1, 3]] == pytest.approx([40 / 3] * 3)
    assert weights[2] == 1
    task = Classification(CLASSES, balance=True).fitted(DATA, TRAIN)
    assert task.class_weights == pytest.approx(balanced(np.bincount(DATA.annotations["label"][TRAIN], minlength=12)))


def test_fitting_looks_at_the_training_part_only():
    numbers = DATA.annotations["numbers"].copy()
    numbers[DATA.splits["dev"]] = 1e9
    changed_labels = DATA.annotations["labels"].copy()
    changed_labels[DATA.splits["dev"]] = 1
    other = changed(numbers=numbers, labels=changed_labels)
    for task in (Regression(), Labels(CLASSES, balance=True)):
        assert task.fitted(DATA, TRAIN) == task.fitted(other, TRAIN)


def test_fitting_leaves_out_what_could_not_be_read():
    numbers = DATA.annotations["numbers"].copy()
    numbers[3] = 1e9
    other = changed(numbers=numbers).without(np.array([3]), ())
    expected = Regression().fitted(DATA, np.delete(TRAIN, 3))
    assert Regression().fitted(other, TRAIN).statistics == expected.statistics


def test_regression_statistics_are_mean_deviation_and_range():
    y = DATA.annotations["numbers"][TRAIN].astype(float)
    found = Regression().fitted(DATA, TRAIN)
    assert found.names == ("number 1", "number 2")
    for ours, theirs in zip(found.statistics, (np.nanmean, np.nanstd, np.nanmin, np.nanmax), strict=True):
        assert ours == pytest.approx(theirs(y, axis=0))


def test_regression_answers_in_the_units_of_the_targets():
    task = Regression().fitted(DATA, TRAIN)
    y = DATA.take("numbers", TRAIN).double()
    mean, deviation = (torch.tensor(row).double() for row in task.statistics[:2])
    batch = Batch(y, y, *[torch.ones(len(y))] * 4)
    found = task.predict(lambda images: (images - mean) / deviation, batch)
    torch.testing.assert_close(found.values, y, equal_nan=True)
    row = task.describe(found, 0)
    assert row["prediction"] == f"number 1: {y[0, 0]:.4g}, number 2: {y[0, 1]:.4g}"  # a name may end in a digit


def test_bins_answer_their_expected_value():
    task = Regression(error="bins", bins=3, statistics=((0.0,), (1.0,), (10.0,), (20.0,)), names=("x",))
    logits = torch.tensor([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]]).log()
    found = task.predict(nn.Identity(), Batch(logits, None, *[torch.ones(2)] * 4))
    assert found.values[:, 0].tolist() == pytest.approx([0.2 * 10 + 0.5 * 15 + 0.3 * 20, 10])


def test_regression_with_equal_targets_trains():
    task = Regression(error="bins").fitted(changed(numbers=np.full((24, 1), 7.0, np.float32)), TRAIN)
    assert task.statistics == ((7.0,), (1.0,), (7.0,), (8.0,))
    with pytest.raises(UserError, match="was not fitted"):
        Regression(names=("x",)).scores(NumberPredictions(torch.ones(2, 1)), torch.ones(2, 1))


def test_threshold_moves_the_answer():
    predictions = Binary(("a", "b")).predict(nn.Identity(), None, torch.tensor([[0.0], [2.0], [-2.0]]))
    assert Binary(("a", "b"), threshold=0.4).decide(predictions).tolist() == [1, 1, 0]
    assert Binary(("a", "b"), threshold=0.9).decide(predictions).tolist() == [0, 0, 0]
    found = Labels(("a", "b", "c")).predict(nn.Identity(), None, torch.tensor([[0.0, 2.0, -2.0]]))
    assert Labels(("a", "b", "c"), threshold=0.1).decide(found).tolist() == [[True, True, True]]


def test_prior_is_written_through_a_fixed_scale():
    class Scale(nn.Module):
        factor = 0.25

        def forward(self, x):
            return self.factor * x

    head = nn.Sequential(nn.Linear(4, 2), Scale())
    write_prior(head, np.array([1.0, -2.0]))
    assert head(torch.zeros(1, 4))[0].tolist() == pytest.approx([1.0, -2.0])
    before = head[0].bias.clone()
    write_prior(head, np.array([1.0, 2.0, 3.0]))  # another width: left alone
    assert torch.equal(head[0].bias, before)


def test_two_levels_cost_about_two_roots():
    last = TwoLevel(3, 1000)
    assert last.clusters.out_features == 32
    assert last.weight.shape == (32, 32, 3)
    assert last(torch.zeros(1, 3)).shape == (1, 1000)


def test_hierarchical_needs_a_head_that_it_made():
    task = Hierarchical(CLASSES)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(36, 12)).double()
    with pytest.raises(UserError, match="whose head it made"):
        task.loss(plain, batch_of(task, DATA))

    class NoLinear(Small):
        def default_head(self, classes):
            return nn.Identity()

    with pytest.raises(UserError, match="NoLinear has none"):
        NoLinear(task)


def test_hierarchical_learns_what_flat_softmax_learns():
    for task in (Classification(CLASSES), Hierarchical(CLASSES)):
        network, batch = Small(task), batch_of(task, DATA)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
        for _ in range(60):
            optimizer.zero_grad()
            term = task.loss(network, batch)["cross_entropy"]
            (term.sum / term.count).backward()
            optimizer.step()
        metric = task.metric()
        metric.update(task.predict(network, batch), batch.targets)
        assert metric.compute()["accuracy"] == 1


@pytest.mark.parametrize("classes", [3, 25])
def test_the_metric_of_a_training_gives_all_but_the_loss(classes):
    """The perceptron has no probabilities to rank by, and top-5 counts from 20 classes on."""
    names = tuple(f"class {k}" for k in range(classes))
    random = torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(40, classes, generator=random), torch.arange(40) % classes
    weights = torch.rand(40, generator=random)
    for task in (Classification(names), Perceptron(names)):
        predictions = task.predict(None, None, outputs)
        whole, light = task.metric(), task.train_metric()
        for metric in (whole, light):
            metric.update(predictions, targets, weights)
        expected = whole.compute()
        assert expected.pop("loss") > 0
        assert light.compute() == expected
        assert ("top5" in expected) == (classes >= 20)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_rare_classes_of_pixels_count_more_by_a_power_of_how_rare_they_are(power):
    data = shapes(count=6, size=32, classes=3, kind="segmentation").with_splits({"train": np.arange(6)})
    pixels = sum(np.bincount(data.annotations["mask"].read(i).ravel(), minlength=256)[:4] for i in range(6))
    present = pixels > 0
    found = Segmentation(data.classes, inverse_frequency=power).fitted(data, np.arange(6))
    if not power:
        assert found.class_weights is None
        return
    wanted = (pixels.sum() / (present.sum() * pixels[present])) ** power
    np.testing.assert_allclose(np.array(found.class_weights)[present], wanted, rtol=1e-9)
    given = Segmentation(data.classes, class_weights=(1.0, 2.0, 3.0, 4.0), inverse_frequency=power)
    assert given.fitted(data, np.arange(6)).class_weights == (1.0, 2.0, 3.0, 4.0)


def test_accuracy_is_a_ratio_of_sums():
    """Over any rows, some of them twice, weighed, and without those whose target is not valid, it is the metric's."""
    torch.manual_seed(0)
    classes, n = ("x", "y", "z"), 12
    task = Joint({"kind": Classification(classes), "other": Classification(classes)})
    valid = torch.arange(n) % 4 > 0
    targets = {name: {"target": torch.randint(0, 3, (n,)), "valid": valid} for name in task.tasks}
    batch = replace(make_batch(torch.zeros(n, 1, 2, 2), targets), weights=torch.rand(n))
    found = task.predict(nn.Identity(), batch, {name: torch.randn(n, 3) for name in task.tasks})
    above, below = task.ratio(found, targets)
    for rows in (torch.arange(n), torch.randint(0, n, (n,))):
        metric = task.metric()
        metric.update(found.take(rows), select(targets, rows), batch.weights[rows])
        share = (above * batch.weights)[rows].sum() / (below * batch.weights)[rows].sum()
        assert metric.compute()["kind.accuracy"] == pytest.approx(float(share), rel=1e-5)


def test_the_best_single_number_is_the_median_of_the_training_part():
    """Absolute errors 1, 1 and 3 of the judged part against the median 2 of 1, 2, 9 (the 50 has weight 0)."""
    details = {"scatter": {"truth": np.array([[1.0], [3.0], [5.0]])}}
    learnt, weights = torch.tensor([[1.0], [2.0], [9.0], [50.0]]), torch.tensor([1.0, 1.0, 1.0, 0.0])
    words, score = Regression(1).constant(details, learnt, weights)
    assert "median" in words and score == pytest.approx(5 / 3)
