"""Every update rule against its equations, decay and penalties, Muon's flattening, and exact saving."""

import copy
import json
import math

import pytest
import safetensors.torch
import torch
from torch import nn

from hubel.errors import UserError
from hubel.models.lenet import lenet5
from hubel.models.mlp import mlp
from hubel.options import APPLIES_OPTIMIZER
from hubel.recipe import OPTIMIZERS, OptimizerOptions
from hubel.training.optim import DEFAULTS, create_optimizer, hidden_weights


class Quadratic(nn.Module):
    """L(w) = sum of a w^2 / 2 - b w, a convex bowl with curvatures from 0.1 to 3; the gradient is a w - b."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.w = nn.Parameter(torch.randn(3, 4, dtype=torch.float64))
        self.a, self.b = torch.linspace(0.1, 3, 12, dtype=torch.float64).view(3, 4), torch.randn(3, 4).double()

    def loss(self):
        return (self.a * self.w**2 / 2 - self.b * self.w).sum()

    def gradient(self, w):
        return self.a * w - self.b


def descend(network, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        network.loss().backward()
        optimizer.step()
    return network.w.detach()


# The rules, written out. Each takes (w, g, state, t, options) and returns the new w; t counts from 1. ---------------


def sgd(w, g, s, t, o):
    return w - o["lr"] * g


def velocity(g, s, o):
    beta, dampening = o.get("momentum", 0.9), o.get("dampening", 0.0)
    s["v"] = beta * s["v"] + (1 - dampening) * g if "v" in s else g
    return s["v"]


def momentum(w, g, s, t, o):
    return w - o["lr"] * velocity(g, s, o)


def nesterov(w, g, s, t, o):
    return w - o["lr"] * (g + o.get("momentum", 0.9) * velocity(g, s, o))


def rmsprop(w, g, s, t, o):
    alpha, eps = o.get("alpha", 0.99), o.get("eps", 1e-8)
    s["s"] = alpha * s.get("s", 0) + (1 - alpha) * g**2
    return w - o["lr"] * g / (s["s"].sqrt() + eps)


def adam(w, g, s, t, o):
    beta1, beta2, eps = o.get("beta1", 0.9), o.get("beta2", 0.999), o.get("eps", 1e-8)
    s["v"] = beta1 * s.get("v", 0) + (1 - beta1) * g  # raw moments are kept ...
    s["s"] = beta2 * s.get("s", 0) + (1 - beta2) * g**2
    v, second = s["v"] / (1 - beta1**t), s["s"] / (1 - beta2**t)  # ... and copies corrected
    return w - o["lr"] * v / (second.sqrt() + eps)


RULES = {"sgd": sgd, "momentum": momentum, "nesterov": nesterov, "rmsprop": rmsprop, "adam": adam, "adamw": adam}
CASES = [
    ("sgd", {"lr": 0.1}),
    ("momentum", {"lr": 0.1}),
    ("momentum", {"lr": 0.1, "momentum": 0.8, "dampening": 0.8}),
    ("nesterov", {"lr": 0.05, "momentum": 0.95}),
    ("rmsprop", {"lr": 0.01}),
    ("rmsprop", {"lr": 0.01, "alpha": 0.9, "eps": 0.1}),
    ("adam", {"lr": 0.05}),
    ("adam", {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "eps": 0.1}),
    ("adamw", {"lr": 0.05}),
]


@pytest.mark.parametrize("penalty", [{"weight_decay": 0.0}, {"weight_decay": 0.1}, {"l2": 0.1, "weight_decay": 0.0}])
@pytest.mark.parametrize("name, options", CASES)
def test_each_rule_equals_its_equation(name, options, penalty):
    """l2 is added to the gradient; weight_decay shrinks the weights by lr * weight_decay and leaves the gradient."""
    network = Quadratic()
    w, state, o = network.w.detach().clone(), {}, options | penalty
    for t in range(1, 21):
        g = network.gradient(w) + o.get("l2", 0) * w
        w = RULES[name](w * (1 - o["lr"] * o["weight_decay"]), g, state, t, o)
    found = descend(network, create_optimizer(network, OptimizerOptions(name=name, **options, **penalty)), 20)
    torch.testing.assert_close(found, w, rtol=1e-6, atol=1e-6)


def test_dampened_momentum_is_the_weighted_average_and_otherwise_the_rate_differs_by_one_minus_beta():
    """v = beta v + (1 - beta) g, both started at the first gradient, against v = beta v + g."""
    beta, gradients = 0.9, torch.randn(200, 3, 4, dtype=torch.float64) + 1
    steps = {}
    for dampening in (0.0, beta):
        network = Quadratic()
        optimizer = create_optimizer(
            network, OptimizerOptions(name="momentum", lr=1.0, momentum=beta, dampening=dampening)
        )
        for g in gradients:
            before = network.w.detach().clone()
            network.w.grad = g.clone()
            optimizer.step()
            steps[dampening] = before - network.w.detach()
    average = gradients[0]
    for g in gradients[1:]:
        average = beta * average + (1 - beta) * g
    torch.testing.assert_close(steps[beta], average)
    torch.testing.assert_close(steps[0.0], average / (1 - beta), rtol=1e-6, atol=1e-6)


def test_adam_is_momentum_and_rmsprop_with_bias_correction():
    """On one gradient that repeats, the corrected moments are exact from the first step: it moves by lr * sign(g)."""
    network = Quadratic()
    optimizer = create_optimizer(network, OptimizerOptions(name="adam", lr=0.01))
    before, g = network.w.detach().clone(), torch.randn(3, 4).double()
    for _ in range(5):
        network.w.grad = g.clone()
        optimizer.step()
    torch.testing.assert_close(before - network.w.detach(), 5 * 0.01 * g.sign(), rtol=1e-6, atol=1e-7)
    (moments,) = optimizer.state_dict()["state"].values()
    torch.testing.assert_close(moments["exp_avg"], g * (1 - 0.9**5))  # raw, as promised


# Decay and penalties -------------------------------------------------------------------------------------------------


KEPT = ["0.weight", "2.weight", "4.weight"]  # of the network below: what is decayed


def decayed(**options):
    """By how much a step of zero gradient shrinks each parameter of a network with biases and batch norm."""
    torch.manual_seed(0)
    convs = (nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    network = nn.Sequential(*convs, nn.Flatten(), nn.Linear(3, 2), nn.LayerNorm((2, 1)))
    for p in network.parameters():
        nn.init.uniform_(p, 1, 2)
        p.grad = torch.zeros_like(p)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    create_optimizer(network, OptimizerOptions(**options)).step()
    return {name: (p.detach() / before[name]).mean().item() for name, p in network.named_parameters()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_is_one_minus_rate_times_decay_for_weights_only(name):
    ratios = decayed(name=name, lr=0.1, weight_decay=0.5)
    for parameter, ratio in ratios.items():
        assert ratio == pytest.approx(0.95 if parameter in KEPT else 1.0), parameter
    every = decayed(name=name, lr=0.1, weight_decay=0.5, decay_all=True)
    assert all(ratio == pytest.approx(0.95) for ratio in every.values())


def test_l2_leaves_biases_and_norms_alone_too():
    ratios = decayed(name="sgd", lr=0.1, l2=0.5)
    assert [name for name, ratio in ratios.items() if ratio < 0.99] == KEPT
    assert all(ratio == pytest.approx(0.95) for ratio in decayed(name="sgd", lr=0.1, l2=0.5, decay_all=True).values())


def test_decay_follows_the_rate_of_the_moment():
    network = Quadratic()
    optimizer = create_optimizer(network, OptimizerOptions(name="adamw", lr=0.1, weight_decay=0.5))
    optimizer.param_groups[0]["lr"] = optimizer.param_groups[0]["initial_lr"] * 0.25
    before = network.w.detach().clone()
    network.w.grad = torch.zeros_like(before)
    optimizer.step()
    torch.testing.assert_close(network.w.detach(), before * (1 - 0.025 * 0.5))


def test_groups_know_their_first_rate_and_whether_penalties_reach_them():
    network = mlp(classes=3, input=(1, 2, 2), hidden=(4,), norm="batch")
    optimizer = create_optimizer(network, OptimizerOptions(name="sgd", lr=0.3))
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.3, 0.3]
    assert [[p.ndim for p in group["params"]] for group in optimizer.param_groups] == [[2, 2], [1, 1, 1]]
    assert [group["penalised"] for group in optimizer.param_groups] == [True, False]


# Which parameters ----------------------------------------------------------------------------------------------------


def test_frozen_parameters_and_those_of_another_player_stay():
    network = mlp(classes=3, input=(1, 2, 2), hidden=(4,))
    network.features[1].bias.requires_grad_(False)
    mine = {id(p) for p in network.features.parameters()}
    optimizer = create_optimizer(network, OptimizerOptions(name="sgd"), only=mine)
    assert [id(p) for group in optimizer.param_groups for p in group["params"]] == [id(network.features[1].weight)]
    with pytest.raises(UserError, match="nothing to train"):
        create_optimizer(network, OptimizerOptions(name="sgd"), only=set())


def test_a_parameter_without_a_gradient_stays_and_may_get_one_later():
    for name in OPTIMIZERS:
        network = mlp(classes=3, input=(1, 2, 2), hidden=(4, 4))
        optimizer = create_optimizer(network, OptimizerOptions(name=name, lr=0.1, weight_decay=0.1))
        late, early = network.features[3].weight, network.features[1].weight
        before = late.detach().clone()
        for _ in range(2):
            early.grad = torch.ones_like(early)
            optimizer.step()
        assert torch.equal(late, before), name
        late.grad = torch.ones_like(late)
        optimizer.step()
        assert not torch.equal(late, before), name


def test_a_late_first_gradient_starts_its_velocity_as_an_early_one_does():
    for dampening in (0.0, 0.9):
        network = mlp(classes=3, input=(1, 2, 2), hidden=(4,))
        options = OptimizerOptions(name="momentum", lr=0.1, momentum=0.9, dampening=dampening)
        optimizer = create_optimizer(network, options)
        early, late = network.features[1].weight, network.head[0].weight
        early.grad = torch.ones_like(early)
        optimizer.step()
        before, late.grad = late.detach().clone(), torch.randn_like(late)
        optimizer.step()
        torch.testing.assert_close(late.detach(), before - 0.1 * late.grad)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_memory_format_of_weights_and_gradients_changes_nothing(name):
    """Fused kernels pair numbers by address: a gradient of other strides than its weight would be misread."""
    results = []
    for weight_format, gradient_format in [(torch.contiguous_format, torch.contiguous_format),
                                           (torch.contiguous_format, torch.channels_last),
                                           (torch.channels_last, torch.contiguous_format),
                                           (torch.channels_last, torch.channels_last)]:  # fmt: skip
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.Conv2d(6, 5, 3))
        network.to(memory_format=weight_format)
        optimizer = create_optimizer(network, OptimizerOptions(name=name, lr=0.1))
        for _ in range(3):
            for p in network.parameters():
                g = torch.randn(p.shape)
                p.grad = g.to(memory_format=gradient_format) if p.ndim == 4 else g
            optimizer.step()
        results.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])


# Muon ----------------------------------------------------------------------------------------------------------------


def test_muon_takes_the_hidden_weights_of_a_network():
    network = lenet5(classes=10, input=(1, 32, 32))
    assert [tuple(p.shape) for p in hidden_weights(network)] == [(16, 6, 5, 5), (120, 400), (84, 120)]
    optimizer = create_optimizer(network, OptimizerOptions(name="muon"))
    muon, adam = optimizer.parts
    assert [type(part).__name__ for part in optimizer.parts] == ["FlatMuon", "Adam"]
    count = sum(p.numel() for part in (muon, adam) for group in part.param_groups for p in group["params"])
    assert count == 61_706
    plain = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 5))
    assert hidden_weights(plain) == [plain[1].weight]


def test_muon_without_hidden_layers_is_refused():
    """It would be AdamW under another name."""
    for network in (nn.Sequential(nn.Linear(2, 3)), mlp(classes=3, input=(1, 4, 4), hidden=(5,))):
        with pytest.raises(UserError, match="there are none"):
            create_optimizer(network, OptimizerOptions(name="muon"))


def test_muon_steps_are_orthogonal_and_of_adamw_size():
    """From one gradient, W moves by lr * 0.2 sqrt(max(N, F)) * O with nearly equal singular values in O."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3), nn.Conv2d(16, 1, 3))
    weight = network[1].weight
    optimizer = create_optimizer(network, OptimizerOptions(name="muon", lr=0.1, weight_decay=0.0))
    before, gradient = weight.detach().clone(), torch.randn(16, 8, 3, 3)
    weight.grad = gradient.clone()
    optimizer.step()
    step = (before - weight.detach()).flatten(1) / (0.1 * 0.2 * math.sqrt(72))
    singular = torch.linalg.svdvals(step)
    assert 0.6 < singular.min() < singular.max() < 1.3
    u, _, v = torch.linalg.svd(gradient.flatten(1), full_matrices=False)
    agreement = (step * (u @ v)).sum() / (step.norm() * (u @ v).norm())
    assert agreement > 0.98
    assert step.mul(0.2 * math.sqrt(72)).pow(2).mean().sqrt() == pytest.approx(0.2, rel=0.2)


def test_muon_equals_torchs_on_a_matrix():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 6), nn.Linear(6, 2))
    other = copy.deepcopy(network[1].weight)
    ours = create_optimizer(network, OptimizerOptions(name="muon", lr=0.1, momentum=0.9, weight_decay=0.3))
    torchs = torch.optim.Muon([other], lr=0.1, momentum=0.9, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        other.grad = torch.randn(6, 4)
        network[1].weight.grad = other.grad.clone()
        ours.step()
        torchs.step()
    torch.testing.assert_close(network[1].weight, other)


# Saving --------------------------------------------------------------------------------------------------------------


def train(network, optimizer, steps, first=0):
    for t in range(first, first + steps):
        generator = torch.Generator().manual_seed(t)
        images, targets = torch.randn(8, 1, 16, 16, generator=generator), torch.arange(8) % 3
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] / (1 + 0.1 * t)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), targets).backward()
        optimizer.step()


def fresh(name, layout=torch.contiguous_format):
    torch.manual_seed(0)
    network = lenet5(classes=3, input=(1, 16, 16)).to(memory_format=layout)
    return network, create_optimizer(network, OptimizerOptions(name=name, lr=0.01, weight_decay=0.1))


def through_files(state, folder):
    """As a checkpoint does it: tensors in safetensors, everything else in JSON."""
    tensors = {f"{p}/{k}": v for p, entries in state["state"].items() for k, v in entries.items()}
    assert all(isinstance(v, torch.Tensor) for v in tensors.values())
    safetensors.torch.save_file(tensors, folder / "state.safetensors")
    (folder / "state.json").write_text(json.dumps(state["groups"]))
    found = {}
    for key, tensor in safetensors.torch.load_file(folder / "state.safetensors").items():
        parameter, entry = key.split("/")
        found.setdefault(parameter, {})[entry] = tensor
    return {"state": found, "groups": json.loads((folder / "state.json").read_text())}


@pytest.mark.parametrize("stop", [0, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_saved_and_loaded_it_goes_on_bit_for_bit(name, layout, stop, tmp_path):
    network, optimizer = fresh(name, layout)
    train(network, optimizer, stop)
    weights, saved = copy.deepcopy(network.state_dict()), through_files(optimizer.state_dict(), tmp_path)
    train(network, optimizer, 4, stop)

    resumed, other = fresh(name, layout)
    train(resumed, other, 1)  # whatever it held before is forgotten
    resumed.load_state_dict(weights)
    other.load_state_dict(saved)
    train(resumed, other, 4, stop)
    for (key, a), b in zip(network.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b), key


def test_the_saved_peak_of_the_rate_wins_over_the_options():
    network, optimizer = fresh("adam")
    other = create_optimizer(network, OptimizerOptions(name="adam", lr=0.5))
    other.load_state_dict(optimizer.state_dict())
    assert [group["initial_lr"] for group in other.param_groups] == [0.01, 0.01]


def test_the_state_of_another_network_or_rule_is_refused():
    network, lenet = fresh("adam")
    train(network, lenet, 1)
    other = create_optimizer(mlp(classes=3, input=(1, 4, 4), hidden=(5,)), OptimizerOptions(name="adam"))
    muon = create_optimizer(network, OptimizerOptions(name="muon"))
    for optimizer in (other, muon):
        with pytest.raises(UserError, match="belongs to another network or another update rule"):
            optimizer.load_state_dict(lenet.state_dict())


# Options -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options, message", [
    ({"name": "adamm"}, "did you mean 'adam'"),
    ({"name": "nesterov", "momentum": 0.0}, "Nesterov looks ahead"),
])  # fmt: skip
def test_impossible_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        create_optimizer(nn.Linear(2, 2), OptimizerOptions(**options))


def test_every_name_has_defaults_that_apply_to_it():
    assert set(DEFAULTS) == set(OPTIMIZERS)
    for name, defaults in DEFAULTS.items():
        assert set(defaults) - {"beta1", "beta2", "eps"} <= APPLIES_OPTIMIZER[name]
