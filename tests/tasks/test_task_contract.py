"""What every task promises: the trainer, the evaluation and the report rely on these and look no further."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_parts import Small
from task_examples import CLASSES, N, batch_of, dataset, reweighted, tasks

from hubel.data.dataset import Dataset
from hubel.errors import UserError
from hubel.predictions import Predictions
from hubel.tasks.base import Task
from hubel.tasks.binary import Binary
from hubel.tasks.joint import Joint
from hubel.tasks.labels import Labels
from hubel.tasks.perceptron import Perceptron
from hubel.tasks.regression import Regression
from hubel.tasks.together import rebuild
from hubel.training.step import Trainee, gradients, value
from hubel.types import Batch

TASKS = tasks()
DATA = dataset()


@pytest.fixture(params=TASKS, ids=str)
def task(request) -> Task:
    return TASKS[request.param]


def seen(task: Task) -> tuple[Small, Batch, Predictions]:
    network, batch = Small(task), batch_of(task, DATA)
    with torch.no_grad():
        return network, batch, task.predict(network, batch)


def test_takes_its_dataset_and_refuses_one_without_its_column(task: Task):
    task.accepts(DATA)
    empty = Dataset("bare", DATA.images, {}, CLASSES, {})
    with pytest.raises(UserError, match=r"bare.*columns: none"):
        task.accepts(empty)


def test_loss_is_finite_not_negative_and_reaches_the_head(task: Task):
    network = Small(task)
    terms = task.loss(network, batch_of(task, DATA))
    for name, term in terms.items():
        assert torch.isfinite(term.sum), name
        assert term.sum >= 0, name
        assert float(term.count) > 0, name
    sum(value(term) for term in terms.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_terms_add_up_however_a_batch_is_cut(task: Task, cut: int):
    network, batch = Small(task), batch_of(task, DATA)
    batch = reweighted(batch, torch.linspace(0, 2, N).double())
    with torch.no_grad():
        whole = task.loss(network, batch)
        parts = [task.loss(network, batch.part(i, i + cut)) for i in range(0, N, cut)]
    for name, term in whole.items():
        assert sum(float(p[name].sum) for p in parts) == pytest.approx(float(term.sum), rel=1e-9), name
        assert sum(float(p[name].count) for p in parts) == pytest.approx(float(term.count), rel=1e-9), name
        assert all(part[name].weight == term.weight for part in parts)


@pytest.mark.parametrize("micro", [1, 2, 3])
def test_accumulated_gradient_is_that_of_the_whole_batch(task: Task, micro: int):
    network = Small(task)
    batch = reweighted(batch_of(task, DATA), torch.linspace(0, 2, N).double())
    trainee = Trainee(network, task)
    gradients(trainee, batch)
    whole = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    gradients(trainee, batch, micro_batch=micro)
    for grad, parameter in zip(whole, network.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, grad, rtol=1e-6, atol=1e-9)


def test_examples_of_weight_zero_change_nothing(task: Task):
    network, batch, predictions = seen(task)
    weights = torch.ones(N)
    weights[::3] = 0
    kept = np.flatnonzero(weights.numpy())
    masked, few = task.loss(network, reweighted(batch, weights)), task.loss(network, batch_of(task, DATA, kept))
    for name, term in masked.items():
        torch.testing.assert_close(term.sum, few[name].sum)
        assert float(term.count) == pytest.approx(float(few[name].count))
    masked_metric, few_metric = task.metric(), task.metric()
    masked_metric.update(predictions, batch.targets, weights)
    few_metric.update(predictions.take(torch.from_numpy(kept)), batch_of(task, DATA, kept).targets)
    assert masked_metric.compute() == pytest.approx(few_metric.compute(), nan_ok=True)


def spoilt(targets):
    """Targets of the first example as a file that could not be read may have them."""
    if isinstance(targets, dict):
        return {name: {"target": spoilt(own["target"]), "valid": own["valid"]} for name, own in targets.items()}
    targets = targets.clone()
    targets[0] = torch.inf if targets.is_floating_point() else -1
    return targets


def test_what_an_example_of_weight_zero_holds_does_not_matter(task: Task):
    network, batch, predictions = seen(task)
    weights = torch.ones(N)
    weights[0] = 0
    bad = replace(batch, targets=spoilt(batch.targets), weights=weights)
    terms = task.loss(network, bad)
    sum(value(term) for term in terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
    for name, term in task.loss(network, reweighted(batch, weights)).items():
        torch.testing.assert_close(terms[name].sum, term.sum)
    metric, clean = task.metric(), task.metric()
    metric.update(predictions, bad.targets, weights)
    clean.update(predictions, batch.targets, weights)
    assert metric.compute() == pytest.approx(clean.compute(), nan_ok=True)


def test_a_batch_without_any_weight_gives_zero_not_nan(task: Task):
    network, batch = Small(task), reweighted(batch_of(task, DATA), torch.zeros(N))
    values = gradients(Trainee(network, task), batch)
    assert all(float(v) == 0 for v in values.values())
    assert all(p.grad is None or not p.grad.abs().any() for p in network.parameters())


def test_predictions_have_their_shapes_and_ranges(task: Task):
    network, batch, predictions = seen(task)
    assert isinstance(predictions, Predictions)
    assert len(predictions) == N
    arrays = predictions.arrays()
    assert arrays
    for name, array in arrays.items():
        assert len(array) == N, name
        assert np.isfinite(array).all(), name
        if name.endswith("probabilities"):
            assert array.min() >= 0, name
            assert array.max() <= 1, name
    outputs = network(batch.images)
    again = task.predict(network, batch, outputs)
    for name, array in again.arrays().items():
        np.testing.assert_allclose(array.astype(float), arrays[name], rtol=1e-9, err_msg=name)
    parts = [predictions.take(slice(0, 10)), predictions.take(slice(10, N))]
    assert type(predictions).cat(parts).arrays().keys() == arrays.keys()
    mean = type(predictions).mean([predictions, predictions])
    np.testing.assert_allclose(next(iter(mean.arrays().values())), next(iter(arrays.values())))


def right_and_wrong(task: Task, predictions):
    """Targets that agree with the predictions, and targets that don't."""
    if isinstance(task, Joint):
        pairs = {name: right_and_wrong(own, predictions.parts[name]) for name, own in task.tasks.items()}
        valid = torch.ones(N, dtype=torch.bool)
        return tuple({n: {"target": pair[i], "valid": valid} for n, pair in pairs.items()} for i in (0, 1))
    if isinstance(task, Regression):
        return predictions.values, predictions.values + 5
    answers = task.decide(predictions)
    if isinstance(task, Labels):
        return answers.float(), 1 - answers.float()
    return answers, (answers + 1) % len(task.classes)


def test_scores_are_larger_where_the_prediction_is_wrong(task: Task):
    _, batch, predictions = seen(task)
    right, wrong = (task.scores(predictions, targets) for targets in right_and_wrong(task, predictions))
    assert right.shape == wrong.shape == (N,)
    assert (wrong > right).all()
    assert torch.isfinite(task.scores(predictions, batch.targets)).all()


def test_metric_streams_merges_and_comes_back(task: Task):
    _, batch, predictions = seen(task)
    weights = torch.linspace(0, 2, N)
    whole, streamed, first, second, back = (task.metric() for _ in range(5))
    whole.update(predictions, batch.targets, weights)
    for start in range(0, N, 5):
        part, w = batch.part(start, start + 5), weights[start : start + 5]
        rows = predictions.take(slice(start, start + 5))
        streamed.update(rows, part.targets, w)
        (first if start < 12 else second).update(rows, part.targets, w)
    expected = whole.compute()
    assert task.primary.metric in expected
    assert streamed.compute() == pytest.approx(expected, rel=1e-6, nan_ok=True)
    back.update(predictions.take(slice(0, 4)), batch.part(0, 4).targets, weights[:4])  # forgotten by load
    back.load(first.state())
    back.merge(second.state())
    assert back.compute() == pytest.approx(expected, rel=1e-6, nan_ok=True)
    assert all(isinstance(v, torch.Tensor) and v.device.type == "cpu" for v in back.state().values())


def test_metric_loss_is_the_loss_of_training(task: Task):
    network, batch, predictions = seen(task)
    weights = torch.linspace(0, 2, N)
    with torch.no_grad():
        terms = task.loss(network, reweighted(batch, weights))
    metric = task.metric()
    metric.update(predictions, batch.targets, weights)
    assert metric.compute()["loss"] == pytest.approx(float(sum(value(t) for t in terms.values())), rel=1e-5)


def test_metric_that_saw_nothing_computes(task: Task):
    found = task.metric().compute()
    assert task.primary.metric in found


def test_words_and_details_are_plain_values(task: Task):
    _, batch, predictions = seen(task)
    for row in range(N):
        words = task.describe(predictions, row)
        assert json.loads(json.dumps(words)) == words
        assert isinstance(words["prediction"], str)
        assert isinstance(task.truth(batch.targets, row), str)
    details = task.details(predictions, batch.targets, batch.weights)
    assert set(details) <= {"confusion", "per_class", "calibration", "scatter"}
    json.dumps({k: v for k, v in details.items() if k not in ("confusion", "scatter")}, allow_nan=False)
    image = np.zeros((4, 4, 3), np.uint8)
    assert task.draw(image, predictions).shape == image.shape


def test_prediction_in_words_equals_the_truth_in_words_where_it_is_right(task: Task):
    _, _, predictions = seen(task)
    right, wrong = right_and_wrong(task, predictions)
    for row in range(N):
        assert task.describe(predictions, row)["prediction"] == task.truth(right, row)
        assert task.describe(predictions, row)["prediction"] != task.truth(wrong, row)


def test_settings_go_through_json(task: Task):
    settings = json.loads(json.dumps(task.settings()))
    assert rebuild(settings) == task
    settings.pop("name")
    again = type(task)(**settings)
    assert again == task
    assert again.width == task.width


def test_prepare_keeps_the_loss_finite_and_not_higher_for_sigmoids(task: Task):
    network, batch = Small(task), batch_of(task, DATA)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.mul_(1e-3)
        before = sum(float(value(t)) for t in task.loss(network, batch).values())
        task.prepare(network, DATA, DATA.splits["train"])
        after = sum(float(value(t)) for t in task.loss(network, batch).values())
    if isinstance(task, (Labels, Binary)):
        assert after < before
    elif isinstance(task, Perceptron):
        assert after == before


def test_the_loss_is_fp32_under_bf16_autocast(task: Task):
    network, batch = Small(task).float(), batch_of(task, DATA)
    batch = replace(batch, images=batch.images.float())
    with torch.autocast("cpu", torch.bfloat16):
        terms, predictions = task.loss(network, batch), task.predict(network, batch)
    assert all(term.sum.dtype == torch.float32 for term in terms.values())
    assert all(array.dtype == np.float32 for array in predictions.arrays().values())
