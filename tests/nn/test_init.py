"""The variance that each initialiser promises, and what it keeps constant through many layers."""

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.models.mlp import mlp
from hubel.nn.init import INITIALISERS, fans, he, he_linear, initialise

N_IN, N_OUT = 300, 500
VARIANCE = {
    "zero": 0.0,
    "normal": 0.01**2,
    "xavier": 2 / (N_IN + N_OUT),
    "he": 2 / N_IN,
    "lecun": 1 / N_IN,
    "dirac": 2 / N_IN,  # a dense layer
}


@pytest.mark.parametrize("name", INITIALISERS)
def test_variance_of_a_dense_layer(name):
    layer = nn.Linear(N_IN, N_OUT)
    initialise(layer, name, seed=0)
    tolerance = 5 * (2 / (N_IN * N_OUT)) ** 0.5  # five standard errors of a sample variance
    assert layer.weight.var().item() == pytest.approx(VARIANCE[name], rel=tolerance, abs=1e-12)
    assert abs(layer.weight.mean().item()) <= 5 * (VARIANCE[name] / (N_IN * N_OUT)) ** 0.5
    assert not layer.bias.any()


@pytest.mark.parametrize("layer, n_in, n_out", [
    (nn.Conv2d(8, 12, 3), 8 * 9, 12 * 9),
    (nn.Conv2d(8, 12, (3, 5), groups=4), 2 * 15, 3 * 15),
    (nn.ConvTranspose2d(8, 12, 3), 8 * 9, 12 * 9),
    (nn.Linear(8, 12), 8, 12),
])  # fmt: skip
def test_fans_count_connections(layer, n_in, n_out):
    assert fans(layer) == (n_in, n_out)


def test_variance_of_a_convolution_and_of_a_gain():
    layer = nn.Conv2d(64, 96, 5)
    initialise(layer, "he", seed=0)
    assert layer.weight.var().item() == pytest.approx(2 / (64 * 25), rel=0.02)
    initialise(layer, "lecun", seed=0, gain=5 / 3)
    assert layer.weight.var().item() == pytest.approx(25 / 9 / (64 * 25), rel=0.02)


def test_sigma_is_a_standard_deviation():
    layer = nn.Linear(N_IN, N_OUT)
    initialise(layer, "normal", seed=0, sigma=0.1)
    assert layer.weight.std().item() == pytest.approx(0.1, rel=0.02)


def test_a_seed_repeats_and_the_global_generator_is_left_alone():
    networks = [nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5)) for _ in range(2)]
    before = torch.get_rng_state()
    for network in networks:
        initialise(network, "he", seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(a, b)
    initialise(networks[1], "he", seed=8)
    assert not torch.equal(networks[0][0].weight, networks[1][0].weight)


def test_the_memory_format_changes_nothing():
    plain, last = nn.Conv2d(4, 6, 3), nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
    for layer in (plain, last):
        initialise(layer, "xavier", seed=0)
    assert torch.equal(plain.weight, last.weight)
    assert last.weight.is_contiguous(memory_format=torch.channels_last)


def test_normalisation_layers_start_at_scale_one_and_shift_zero():
    norm = nn.BatchNorm2d(4)
    nn.init.constant_(norm.weight, 3)
    nn.init.constant_(norm.bias, 3)
    norm(torch.randn(8, 4, 2, 2))
    initialise(nn.Sequential(norm), "he", seed=0)
    assert norm.weight.eq(1).all()
    assert not norm.bias.any()
    assert not norm.running_mean.any()


def test_dirac_convolutions_pass_their_input_through():
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 5)
    layer = nn.Conv2d(6, 9, 3, padding=1)
    initialise(layer, "dirac", seed=0)
    assert torch.equal(layer(x)[:, :6], x)
    assert layer.weight[6:].ne(0).all()  # filters of zeros would never learn
    grouped = nn.Conv2d(6, 6, 3, padding=1, groups=3)
    initialise(grouped, "dirac", seed=0)
    assert torch.equal(grouped(x), x)


def test_an_unknown_name_is_refused():
    with pytest.raises(UserError, match="did you mean 'xavier'"):
        initialise(nn.Linear(2, 2), "xavir")


LAYERS = 50


def dense(width=128):
    return nn.Linear(width, width, bias=False)


def convolution(width=48):
    """Around a torus: at a border with zeros a little of the signal is lost in every layer."""
    return nn.Conv2d(width, width, 3, padding=1, padding_mode="circular", bias=False)


def through(make, activation, name, gain=1.0, networks=4):
    """(networks, LAYERS + 1): the mean square of the signal at the input, where it is near 1, and after each layer."""
    generator = torch.Generator().manual_seed(999)  # other numbers than the weights'
    layer, found = make(), torch.zeros(networks, LAYERS + 1)
    shape = (64, layer.in_features) if isinstance(layer, nn.Linear) else (4, layer.in_channels, 6, 6)
    for network in range(networks):
        x = torch.randn(shape, generator=generator)
        found[network, 0] = x.pow(2).mean()
        for i in range(LAYERS):
            initialise(layer, name, seed=1000 * network + i, gain=gain)
            x = activation(layer(x)).detach()
            found[network, i + 1] = x.pow(2).mean()
    return found


def growth(found):
    """The factor of a layer: the mean over all layers of all networks; its standard error is 1 to 2 % here."""
    return (found[:, 1:] / found[:, :-1]).mean().item()


BOTH = pytest.mark.parametrize("make", [dense, convolution])


@BOTH
def test_lecun_and_xavier_keep_the_variance_through_50_linear_layers(make):
    for name in ("lecun", "xavier"):  # equal for square layers
        found = through(make, nn.Identity(), name)
        assert growth(found) == pytest.approx(1, abs=0.04)
        assert 0.2 < found[:, -1].mean() < 5


def test_xavier_keeps_the_gradient_where_layers_widen_and_narrow():
    """A layer that widens fourfold: xavier's compromise between signal and gradient, against lecun's signal."""
    gains = {}
    for name in ("xavier", "lecun"):
        layer = nn.Linear(100, 400, bias=False)
        initialise(layer, name, seed=0)
        x = torch.randn(1000, 100, requires_grad=True)
        y = layer(x)
        (gradient,) = torch.autograd.grad(y, x, torch.randn_like(y))
        gains[name] = (y.var().item(), gradient.var().item())
    assert gains["xavier"] == pytest.approx((0.4, 1.6), rel=0.1)
    assert gains["lecun"] == pytest.approx((1.0, 4.0), rel=0.1)


@BOTH
def test_he_keeps_the_second_moment_through_50_relu_layers_and_xavier_halves_it(make):
    """E[relu(z)^2] = Var(z) / 2: the signal behind the ReLU keeps its mean square only with 2 / n_in."""
    he, xavier = through(make, nn.ReLU(), "he"), through(make, nn.ReLU(), "xavier")
    assert growth(he) == pytest.approx(1, abs=0.07)
    assert 0.02 < he[:, -1].mean() < 50  # narrow layers wander around the mean that they keep
    assert growth(xavier) == pytest.approx(0.5, abs=0.035)
    assert xavier[:, -1].mean() < 1e-12


@BOTH
def test_tanh_needs_the_gain_of_five_thirds(make):
    """Without it the signal fades like 1 / depth; with it it settles (at a mean square near 0.42)."""
    with_gain, without = (through(make, nn.Tanh(), "lecun", gain).mean(0) for gain in (5 / 3, 1.0))
    assert 0.9 < with_gain[-1] / with_gain[10] < 1.1
    assert with_gain[-1] == pytest.approx(0.42, abs=0.04)
    assert without[-1] / without[10] < 0.4
    assert without[-1] < 0.04


def train_a_little(network, steps=5):
    images, targets = torch.randn(32, 1, 2, 3), torch.arange(32) % 3
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), targets).backward()
        optimizer.step()


def test_zero_weights_never_break_symmetry():
    torch.manual_seed(0)
    network = mlp(classes=3, input=(1, 2, 3), hidden=(8,), activation="sigmoid")
    initialise(network, "zero")
    train_a_little(network)
    hidden = network.features[1]
    assert hidden.weight.any()  # it did learn something
    assert (hidden.weight - hidden.weight[:1]).abs().max() < 1e-6  # but for what a machine's sums round
    initialise(network, "normal", seed=0)
    train_a_little(network)
    assert (hidden.weight - hidden.weight[:1])[1:].abs().amax(1).gt(1e-3).all()


@pytest.mark.parametrize("layer, n_in", [
    (lambda: he(nn.Conv2d(8, 300, 5)), 200),
    (lambda: he(nn.Conv2d(8, 300, 5, groups=4, bias=False)), 50),
    (lambda: he_linear(150, 400), 150),
    (lambda: he_linear(150, 400, sigma=0.01), 20_000),
])  # fmt: skip
def test_layers_that_start_by_he(layer, n_in):
    torch.manual_seed(0)
    found = layer()
    assert float(found.weight.std()) == pytest.approx((2 / n_in) ** 0.5, rel=0.03)
    assert abs(float(found.weight.mean())) < 0.02 * (2 / n_in) ** 0.5
    assert found.bias is None or not found.bias.any()
    with torch.device("meta"):
        assert layer().weight.is_meta
