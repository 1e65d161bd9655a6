"""Identities between losses, likelihoods and gradients, in numbers."""

import numpy as np
import pytest
import torch
from small_parts import Small
from task_examples import batch_of, dataset
from torch import nn

from hubel.ops import losses
from hubel.tasks.binary import Binary
from hubel.tasks.classification import Classification
from hubel.tasks.labels import Labels
from hubel.tasks.perceptron import Perceptron
from hubel.tasks.regression import Regression
from hubel.training.step import Trainee, gradients, value

DATA = dataset()


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def some(*shape, grad=False):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=grad)


def test_two_layer_gradients_by_hand_equal_autograds():
    """dZ2 = A2 − Y, dW2 = dZ2·A1ᵀ/m, db2 = mean dZ2, dZ1 = W2ᵀdZ2 ∘ g'(Z1), dW1 = dZ1·Xᵀ/m, db1 = mean dZ1."""
    task = Classification(DATA.classes)
    network, batch = Small(task), batch_of(task, DATA)
    gradients(Trainee(network, task), batch)
    first, second = network.body[1], network.head[0]
    x = batch.images.flatten(1).T  # (features, m): examples in columns
    m = x.shape[1]
    with torch.no_grad():
        a1 = torch.tanh(first.weight @ x + first.bias[:, None])
        a2 = (second.weight @ a1 + second.bias[:, None]).softmax(0)
        y = nn.functional.one_hot(batch.targets, 12).double().T
        dz2 = a2 - y
        dz1 = second.weight.T @ dz2 * (1 - a1**2)
    torch.testing.assert_close(second.weight.grad, dz2 @ a1.T / m)
    torch.testing.assert_close(second.bias.grad, dz2.mean(1))
    torch.testing.assert_close(first.weight.grad, dz1 @ x.T / m)
    torch.testing.assert_close(first.bias.grad, dz1.mean(1))


def test_softmax_of_the_notes():
    predictions = Classification(("a", "b", "c")).predict(nn.Identity(), None, torch.tensor([[2.0, 1.0, 0.1]]))
    assert predictions.probabilities[0].tolist() == pytest.approx([0.659, 0.242, 0.099], abs=5e-4)


def test_derivative_of_softmax_is_diag_p_minus_ppt():
    z = some(5)
    p = z.softmax(0)
    found = torch.autograd.functional.jacobian(lambda z: z.softmax(0), z)
    torch.testing.assert_close(found, torch.diag(p) - torch.outer(p, p))


def test_fresh_network_with_small_weights_has_loss_ln_k():
    task = Classification(DATA.classes)
    network = Small(task)
    nn.init.zeros_(network.head[0].weight)
    nn.init.zeros_(network.head[0].bias)
    assert value(task.loss(network, batch_of(task, DATA))["cross_entropy"]).detach().item() == pytest.approx(np.log(12))


def test_gaussian_likelihood_is_least_squares():
    """−ln p under N(y; z, σ²) is (z − y)²/2σ² and a constant: same gradient up to the scale 1/2σ²."""
    task = Regression().fitted(DATA, np.arange(len(DATA)))
    z, batch = some(len(DATA), 2, grad=True), batch_of(task, DATA)
    mean, deviation = (torch.tensor(row).double() for row in task.statistics[:2])
    known = ~batch.targets.isnan()
    t = ((batch.targets - mean) / deviation)[known]
    sigma = 0.7
    likelihood = -torch.distributions.Normal(z[known], sigma).log_prob(t).mean()
    ours = value(task.loss(lambda images: z, batch)["squared_error"])
    (a,), (b,) = torch.autograd.grad(likelihood, z), torch.autograd.grad(ours, z)
    torch.testing.assert_close(a, b / (2 * sigma**2))


def test_least_squares_solution_is_the_one_of_numpy():
    """A linear network trained on squared error ends where lstsq is."""
    x, y = some(30, 4), some(30)
    w = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    newton = torch.func.hessian(lambda w: losses.squared(x @ w, y).mean())(w.detach())
    (gradient,) = torch.autograd.grad(losses.squared(x @ w, y).mean(), w)
    solution = np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)[0]
    np.testing.assert_allclose((-torch.linalg.solve(newton, gradient)).numpy(), solution)


@pytest.mark.parametrize("target", [0, 1])
def test_bernoulli_likelihood_is_binary_cross_entropy(target: int):
    z, y = some(20), torch.full((20,), float(target))
    expected = -torch.distributions.Bernoulli(logits=z).log_prob(y.double())
    torch.testing.assert_close(losses.binary_cross_entropy(z, y), expected)


def test_sigmoid_is_the_softmax_of_two_and_tanh_the_sigmoid_of_twice():
    z, y = some(24), torch.arange(24) % 2
    two = losses.cross_entropy(torch.stack([torch.zeros_like(z), z], 1), y)
    torch.testing.assert_close(losses.binary_cross_entropy(z, y), two)
    task = Binary(("no", "yes"), output="tanh")
    predictions = task.predict(lambda images: z[:, None], type("B", (), {"images": z}))
    torch.testing.assert_close(predictions.probabilities, (1 + z.tanh()) / 2)


def test_tanh_squared_is_the_square_between_tanh_and_plus_minus_one():
    task = Binary(("no", "yes"), target="pair", output="tanh", error="squared")
    batch, z = batch_of(task, DATA), some(len(DATA), 1)
    expected = ((z[:, 0].tanh() - (2.0 * batch.targets - 1)) ** 2).mean()
    torch.testing.assert_close(value(task.loss(lambda images: z, batch)["squared_error"]), expected)


def test_gaussian_prior_on_the_weights_is_l2():
    """−ln N(w; 0, s²) = ‖w‖²/2s² and a constant, whose gradient w/s² is an L2 penalty with λ = 1/s²."""
    w, s = some(6, grad=True), 0.3
    (prior,) = torch.autograd.grad(-torch.distributions.Normal(0.0, s).log_prob(w).sum(), w)
    optimizer = torch.optim.SGD([w], lr=1.0, weight_decay=1 / s**2)
    before = w.detach().clone()
    w.grad = torch.zeros_like(w)
    optimizer.step()
    torch.testing.assert_close(before - w.detach(), prior)


def test_signed_distance_from_a_hyperplane():
    """(wᵀx + w₀)/‖w‖ is the length from the foot of the perpendicular, positive on the side that w points to."""
    w, w0, x = some(3), 0.4, some(10, 3)
    signed = (x @ w + w0) / w.norm()
    foot = x - signed[:, None] * w / w.norm()
    torch.testing.assert_close(foot @ w + w0, torch.zeros(10).double())
    torch.testing.assert_close((x - foot).norm(dim=1), signed.abs())
    assert ((x - foot) @ w * signed > 0).all()


def test_perceptron_loss_is_proportional_to_the_distance_of_the_misclassified():
    w, w0, x = some(3), 0.4, some(40, 3)
    z, t = x @ w + w0, torch.where(torch.arange(40) % 2 == 0, 1, -1)
    wrong = torch.sign(z) != t
    torch.testing.assert_close(losses.perceptron(z, t).sum(), ((z.abs() / w.norm())[wrong]).sum() * w.norm())


@pytest.mark.parametrize("start", ["zero", "random"])
def test_descending_d_one_example_at_a_time_is_the_perceptron_rule(start: str):
    task = Perceptron(("no", "yes"), target="pair")
    batch = batch_of(task, DATA)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 1)).double()
    if start == "zero":
        nn.init.zeros_(network[1].weight)
        nn.init.zeros_(network[1].bias)
    w, w0, rate, mistakes = network[1].weight.detach().clone()[0], float(network[1].bias.detach()), 0.5, 0
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    for i in [*range(len(DATA)), *range(len(DATA))]:
        x, t = batch.images[i].flatten(), 2 * int(batch.targets[i]) - 1
        answer = 1 if float(w @ x) + w0 > 0 else -1
        if answer != t:
            w, w0, mistakes = w + rate * t * x, w0 + rate * t, mistakes + 1
        optimizer.zero_grad()
        gradients(Trainee(network, task), batch.part(i, i + 1))
        optimizer.step()
        torch.testing.assert_close(network[1].weight.detach()[0], w)
        assert float(network[1].bias.detach()) == pytest.approx(w0)
    assert mistakes > 5


def test_huge_errors_pull_with_bounded_force_under_huber_only():
    z = torch.tensor([1e3, 1e6], requires_grad=True)
    (bounded,) = torch.autograd.grad(losses.huber(z, torch.zeros(2), 1.0).sum(), z)
    (free,) = torch.autograd.grad(losses.squared(z, torch.zeros(2)).sum(), z)
    assert bounded.tolist() == [1, 1]
    assert free.tolist() == [2e3, 2e6]


def test_the_prior_is_the_best_constant():
    """With the last weights at 0 and the bias at the prior, no shift of the bias lowers the loss."""
    task = Labels(DATA.classes)
    network, batch = Small(task), batch_of(task, DATA)
    nn.init.zeros_(network.head[0].weight)
    task.prepare(network, DATA, np.arange(len(DATA)))
    gradients(Trainee(network, task), batch)
    assert network.head[0].bias.grad.abs().max() < 1e-6
