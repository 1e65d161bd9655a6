"""Each loss against a loop over examples, and its gradient against differences."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from hubel.ops import losses


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def some(*shape, grad=False):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=grad)


def test_cross_entropy_with_smoothing_and_class_weights_equals_a_loop():
    logits, targets = some(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    c, eps = [0.5, 1.0, 2.0, 3.0], 0.2
    found = losses.cross_entropy(logits, targets, smoothing=eps, class_weights=torch.tensor(c))
    for i, (row, y) in enumerate(zip(logits.tolist(), targets.tolist(), strict=True)):
        total = sum(math.exp(z) for z in row)
        q = [(1 - eps) * (k == y) + eps / 4 for k in range(4)]
        expected = -sum(c[k] * q[k] * math.log(math.exp(z) / total) for k, z in enumerate(row))
        assert float(found[i]) == pytest.approx(expected)


def test_term_of_weighted_classes_is_torchs_weighted_mean():
    logits, targets, c = some(9, 3), torch.arange(9) % 3, torch.tensor([1.0, 2.0, 0.5]).double()
    term = losses.term(losses.cross_entropy(logits, targets, class_weights=c), torch.ones(9), scale=c[targets])
    for smoothing in (0.0, 0.1):
        values = losses.cross_entropy(logits, targets, smoothing=smoothing, class_weights=c)
        term = losses.term(values, torch.ones(9), scale=c[targets])
        expected = F.cross_entropy(logits, targets, weight=c, label_smoothing=smoothing)
        torch.testing.assert_close(term.sum / term.count, expected)


def test_term_sums_weighted_values_and_ignores_the_rest():
    values = torch.tensor([[1.0, 2.0], [3.0, math.nan], [math.inf, 5.0]])
    scale = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    term = losses.term(values, torch.tensor([2.0, 1.0, 0.0]), scale=scale)
    assert float(term.sum) == 2 * (1 + 2) + 3
    assert float(term.count) == 2 * 2 + 1


def test_binary_cross_entropy_equals_a_loop_and_survives_large_logits():
    logits, targets = some(5, 3), torch.tensor([[0, 1, 1]] * 5)
    found = losses.binary_cross_entropy(logits, targets, torch.tensor([1.0, 2.0, 3.0]))
    for i in range(5):
        for k, p in enumerate((1.0, 2.0, 3.0)):
            s = 1 / (1 + math.exp(-float(logits[i, k])))
            expected = -p * math.log(s) if targets[i, k] else -math.log(1 - s)
            assert float(found[i, k]) == pytest.approx(expected)
    torch.testing.assert_close(losses.binary_cross_entropy(torch.tensor([200.0, -200.0]), torch.tensor([0, 1])),
                               torch.tensor([200.0, 200.0]))  # fmt: skip


def test_squared_and_huber_equal_a_loop():
    z, t = some(50) * 3, some(50)
    for value, a, b in zip(losses.huber(z, t, 0.7).tolist(), z.tolist(), t.tolist(), strict=True):
        e = abs(a - b)
        assert value == pytest.approx(e * e / 2 if e <= 0.7 else 0.7 * (e - 0.35))
    for value, a, b in zip(losses.squared(z, t).tolist(), z.tolist(), t.tolist(), strict=True):
        assert value == pytest.approx((a - b) ** 2)


def test_perceptron_counts_misclassified_examples_only():
    z, t = torch.tensor([2.0, -2.0, 3.0, -3.0, 0.0, 0.0], requires_grad=True), torch.tensor([1, 1, -1, -1, 1, -1])
    found = losses.perceptron(z, t)
    assert found.tolist() == [0, 2, 3, 0, 0, 0]
    found.sum().backward()
    assert z.grad.tolist() == [0, -1, 1, 0, -1, 0]  # at 0 the answer is −1: a mistake for t = +1


def test_perceptron_of_many_is_the_distance_to_the_answer():
    z, y = some(20, 5), torch.arange(20) % 5
    expected = [max(row) - row[k] for row, k in zip(z.tolist(), y.tolist(), strict=True)]
    assert losses.perceptron_of_many(z, y).tolist() == pytest.approx(expected)


def test_soft_bins_keep_the_value_and_use_two_neighbours():
    low, high = torch.tensor([-1.0, 10.0]).double(), torch.tensor([1.0, 30.0]).double()
    values = low + (high - low) * torch.rand(40, 2).double()
    shares = losses.soft_bins(values, low, high, 6)
    centres = torch.stack([torch.linspace(float(a), float(b), 6) for a, b in zip(low, high, strict=True)]).double()
    torch.testing.assert_close((shares * centres).sum(-1), values)
    torch.testing.assert_close(shares.sum(-1), torch.ones(40, 2).double())
    assert int((shares > 0).sum(-1).max()) == 2
    outside = losses.soft_bins(torch.tensor([[-9.0, 99.0]]).double(), low, high, 6)
    assert outside[0, 0].tolist() == [1, 0, 0, 0, 0, 0]
    assert outside[0, 1].tolist() == [0, 0, 0, 0, 0, 1]


def test_bins_cross_entropy_equals_a_loop():
    logits, values = some(4, 1, 3), torch.tensor([[0.0], [0.25], [0.5], [0.9]]).double()
    shares = [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.2, 0.8]]  # centres 0, 0.5, 1
    found = losses.bins_cross_entropy(logits, values, torch.zeros(1), torch.ones(1))
    for i in range(4):
        total = sum(math.exp(z) for z in logits[i, 0].tolist())
        expected = -sum(
            q * math.log(math.exp(z) / total) for q, z in zip(shares[i], logits[i, 0].tolist(), strict=True)
        )
        assert float(found[i, 0]) == pytest.approx(expected)


def two_level(classes=7, clusters=3, features=4, grad=False):
    size = -(-classes // clusters)
    return some(5, features, grad=grad), some(5, clusters, grad=grad), some(clusters, size, features, grad=grad), some(
        clusters, size, grad=grad
    )  # fmt: skip


def test_two_levels_equal_a_loop_and_add_up_to_one():
    features, clusters, weight, bias = two_level()
    found = losses.two_level_log_probabilities(features, clusters, weight, bias, 7)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(5).double())
    for i in range(5):
        for k in range(7):
            c, members = k // 3, [j for j in range(7) if j // 3 == k // 3]
            own = {j: math.exp(float(weight[c, j % 3] @ features[i] + bias[c, j % 3])) for j in members}
            outer = math.exp(float(clusters[i, c])) / sum(math.exp(float(z)) for z in clusters[i])
            assert float(found[i, k].exp()) == pytest.approx(outer * own[k] / sum(own.values()))


def test_two_level_nats_are_those_of_all_classes():
    parts = two_level()
    targets = torch.tensor([0, 3, 6, 2, 5])
    found = losses.two_level_nats(*parts, 7, targets)
    torch.testing.assert_close(found, -losses.two_level_log_probabilities(*parts, 7)[torch.arange(5), targets])


def test_one_cluster_is_the_flat_softmax():
    features, clusters, weight, bias = two_level(classes=6, clusters=1)
    targets = torch.tensor([0, 1, 2, 3, 5])
    flat = F.cross_entropy(features @ weight[0].T + bias[0], targets, reduction="none")
    torch.testing.assert_close(losses.two_level_nats(features, clusters, weight, bias, 6, targets), flat)


def test_two_levels_can_express_every_softmax():
    """Cluster logits that are the log-sum-exp of their members' give the flat softmax over all classes."""
    features, _, weight, bias = two_level(classes=6, clusters=2)
    flat = torch.einsum("bf,csf->bcs", features, weight) + bias
    found = losses.two_level_log_probabilities(features, flat.logsumexp(2), weight, bias, 6)
    torch.testing.assert_close(found, flat.flatten(1).log_softmax(1))


def test_training_touches_the_targets_cluster_only():
    features, clusters, weight, bias = two_level(grad=True)
    losses.two_level_nats(features, clusters, weight, bias, 7, torch.tensor([0, 1, 0, 2, 1])).sum().backward()
    assert weight.grad[0].abs().sum() > 0
    assert weight.grad[1:].abs().sum() == 0


@pytest.mark.parametrize(
    "function",
    [
        lambda z: losses.cross_entropy(z, torch.tensor([0, 2, 1, 1]), smoothing=0.1, class_weights=torch.ones(3)),
        lambda z: losses.binary_cross_entropy(z, torch.tensor([[0, 1, 1]] * 4), 2.0),
        lambda z: losses.squared(z, torch.ones(4, 3)),
        lambda z: losses.huber(z, torch.ones(4, 3), 0.5),
        lambda z: losses.perceptron(z[:, 0], torch.tensor([1, -1, 1, -1])),
        lambda z: losses.perceptron_of_many(z, torch.tensor([0, 2, 1, 1])),
        lambda z: losses.bins_cross_entropy(z[:, None], torch.rand(4, 1).double() * 0 + 0.3, *torch.eye(2)[:, :1]),
    ],
)
def test_gradients(function):
    assert gradcheck(function, some(4, 3, grad=True))


def test_gradients_of_two_levels():
    targets = torch.tensor([0, 3, 6, 2, 5])
    assert gradcheck(lambda *parts: losses.two_level_nats(*parts, 7, targets), two_level(features=2, grad=True))
    assert gradcheck(lambda *parts: losses.two_level_log_probabilities(*parts, 7), two_level(features=2, grad=True))


def test_bf16_outputs_are_widened_before_the_exponential():
    logits = torch.tensor([[4.0, 0.0, -4.0]], dtype=torch.bfloat16)
    found = losses.cross_entropy(logits, torch.tensor([2]))
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(8 + math.log(1 + math.exp(-4) + math.exp(-8)), rel=1e-6)
    assert losses.binary_cross_entropy(logits, torch.zeros(1, 3)).dtype == torch.float32
