"""Prediction in little memory: what is alive at once, against the sizes of maps; the same numbers to the last bit."""

import copy
import operator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel import names
from hubel.models.alive import peak_bytes
from hubel.models.cost import profile, skeleton
from hubel.models.resnet_cifar import resnet8
from hubel.models.surgery.fold import fold_batchnorm
from hubel.models.surgery.lean import images_at_once, lean, working_bytes
from hubel.models.surgery.taps import activations
from hubel.models.trace import without_values


def image(network, side, count=1):
    return torch.empty(count, 3, side, side, device=next(network.parameters()).device)


# How much -------------------------------------------------------------------------------------------------------------


def test_a_chain_has_what_a_layer_reads_and_what_it_writes():
    chain = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.ReLU(), nn.MaxPool2d(2))
    pixels, first, second, third = 4 * 3 * 100, 4 * 8 * 100, 4 * 5 * 100, 4 * 5 * 25
    images = image(chain, 10)
    assert peak_bytes(chain.eval(), images) == pixels + 2 * first  # a ReLU that writes elsewhere
    assert peak_bytes(lean(chain), images) == pixels + first + second
    only = nn.Sequential(*list(chain)[2:]).eval()
    assert peak_bytes(lean(only), torch.empty(1, 8, 10, 10)) == first + second + 3 * third  # with 8-byte positions


def test_values_are_counted_once_and_as_long_as_a_view_of_them_lives():
    class Views(nn.Module):
        def forward(self, x):
            y = (x + 1).flatten(1)[:, :10]  # 1,200 bytes stay for ten values
            return y.exp() + y

    assert peak_bytes(Views(), torch.empty(1, 3, 10, 10)) == 2 * 1200 + 2 * 40


@pytest.mark.parametrize(
    ("name", "most"), [("resnet50", 1.25), ("vgg16", 1.05), ("densenet121", 1.25), ("efficientnet_b0", 1.0)]
)
def test_folded_and_lean_it_is_near_the_two_largest_maps(name, most):
    function = names.resolve(names.MODELS, name)
    side = function.size
    with without_values():
        network = function(classes=10, input=(3, side, side)).eval()
    layers = sorted((layer.output_bytes for layer in profile(network, (3, side, side)).layers), reverse=True)
    plain = peak_bytes(network, image(network, side))
    found = peak_bytes(lean(fold_batchnorm(network).network), image(network, side))
    assert layers[0] < found <= (layers[0] + layers[1]) * most + 4 * 3 * side * side
    assert found <= plain
    assert 4 * found < sum(layers)
    assert found <= working_bytes(network, (3, side, side)) <= plain


def test_computed_values_take_what_was_foretold():
    network = resnet8(classes=5, input=(3, 16, 16), widths=(8, 12, 16)).eval()
    for made in (network, lean(network)):
        hollow = lean(skeleton(network)) if made is not network else skeleton(network)
        expected = peak_bytes(hollow, image(hollow, 16))  # there, norms give their statistics, too
        assert peak_bytes(made, image(network, 16)) == pytest.approx(expected, rel=0.01)


def test_a_limit_decides_how_many_images_run_together():
    network = resnet8(classes=5, input=(3, 16, 16), widths=(8, 12, 16)).eval()
    one = working_bytes(network, (3, 16, 16))
    assert [images_at_once(network, (3, 16, 16), limit) for limit in (0, one, 3 * one - 1, 3 * one)] == [1, 1, 2, 3]
    images = torch.randn(7, 3, 16, 16)
    with torch.no_grad():
        assert peak_bytes(lean(network, 3), images) < 3 * one + images.nbytes + 1000 < peak_bytes(lean(network), images)
        torch.testing.assert_close(lean(network, 3)(images), network(images))


# The same numbers -----------------------------------------------------------------------------------------------------


class Step(nn.Module):
    """A network of one function of a convolution's output x and the image."""

    def __init__(self, step):
        super().__init__()
        self.conv, self.act, self.drop, self.step = nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Dropout(), step
        self.norm, self.flat = nn.BatchNorm2d(4), nn.Flatten()
        self.register_buffer("shift", torch.randn(1, 4, 1, 1))

    def forward(self, images):
        return self.step(self, self.conv(images), images)


def add_in_place(a, b):
    a += b
    return a


STEPS = {
    "a value that is read again": lambda net, x, images: net.act(x) + x,
    "read again in a view": lambda net, x, images: (net.flat(x), net.act(x))[0] + net.flat(net.act(x)),
    "a view that is read later": lambda net, x, images: (lambda v, a: a.sum() + v)(x.view(-1), net.act(x)),
    "a layer that returns its input": lambda net, x, images: (lambda d: net.act(d) + x)(net.drop(x)),
    "both are one": lambda net, x, images: x + x,
    "one is a view of the other": lambda net, x, images: x.flatten(2) + x.transpose(2, 3).flatten(2),
    "overlapping parts": lambda net, x, images: (lambda v: v[:, :, 1:] + v[:, :, :-1])(torch.flatten(x, 2)),
    "the image alone": lambda net, x, images: torch.relu(images).sum() + net.act(x),
    "the image": lambda net, x, images: torch.relu(images).sum() + torch.relu(x) + images.mean(),
    "the image, passed on": lambda net, x, images: net.act(net.drop(images)).sum() + images.sum() + x,
    "a buffer": lambda net, x, images: net.act(net.shift + 0 * x) + torch.relu(net.shift),
    "a buffer alone": lambda net, x, images: torch.relu(net.shift) + x,
    "a sum that grows": lambda net, x, images: torch.relu(net.norm(x).mean((2, 3), keepdim=True)) + net.act(x),
    "a number first": lambda net, x, images: 2 * torch.sigmoid(x) + 1,
    "another type": lambda net, x, images: x.half() + net.act(x),
    "written over by the network itself": lambda net, x, images: add_in_place(net.norm(x), images[:, :1]) + x,
    "without what it returns": lambda net, x, images: (x.mul_(2), net.act(x))[1],
    "several answers": lambda net, x, images: [x, net.act(x), net.act(net.norm(x))],
    "the same layer twice": lambda net, x, images: net.act(net.act(x) - 1),
    "a function told to write over": lambda net, x, images: F.relu(net.norm(x), inplace=True) * torch.sigmoid(x),
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_written_over_that_is_still_read(step):
    torch.manual_seed(0)
    network, images = Step(STEPS[step]).eval(), torch.randn(2, 3, 5, 5)
    state, before = copy.deepcopy(network.state_dict()), images.clone()
    with torch.no_grad():
        expected, made = network(images), lean(network)
        for _ in range(2):
            found = made(images)
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert torch.equal(images, before)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert not network.act.inplace


def test_what_can_be_written_over_is():
    def written(step):
        network = Step(step).eval()
        runner = lean(network).forward.__closure__
        graphs = [cell.cell_contents.__self__ for cell in runner if hasattr(cell.cell_contents, "__self__")]
        nodes = next(one for one in graphs if hasattr(one, "graph")).graph.nodes
        return [node.target for node in nodes if "written_over" in str(node.target) or "_into" in str(node.target)]

    assert len(written(lambda net, x, images: net.act(x))) == 1
    assert len(written(lambda net, x, images: net.norm(x) + x)) == 1
    assert len(written(lambda net, x, images: net.act(x) * torch.sigmoid(images))) == 2
    assert written(lambda net, x, images: net.act(images)) == []


def test_maps_that_the_head_does_not_read_are_not_kept():
    class Fine(nn.Module):
        def forward(self, x):
            maps = [x + 1]
            for _ in range(5):
                maps.append(F.avg_pool2d(maps[-1], 1))
            return maps[-1].mean()

    images = torch.empty(1, 3, 10, 10)
    assert peak_bytes(Fine(), images) == 7 * 1200 + 4
    assert peak_bytes(lean(Fine().eval()), images) == 3 * 1200


# The network that comes out -------------------------------------------------------------------------------------------


def test_it_is_the_network_with_its_weights_and_gradients():
    network = resnet8(classes=5, input=(3, 16, 16), widths=(8, 12, 16)).eval()
    made, images = lean(network), torch.randn(2, 3, 16, 16)
    assert made.channels == network.channels
    assert dict(made.named_parameters()).keys() == dict(network.named_parameters()).keys()
    made(images).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    with torch.no_grad():
        network.head[1].bias.add_(1)
        assert torch.equal(made(images), network(images))
        twin = copy.deepcopy(made)
        twin.head[1].bias.add_(1)
        assert torch.equal(made(images), network(images))
        assert torch.equal(twin(images), twin.head(twin.maps(images)))
        assert not torch.equal(twin(images), network(images))
        assert torch.equal(fold_batchnorm(made).network(images), fold_batchnorm(network).network(images))
    assert lean(network.train())(images).shape == (2, 5)  # in training mode: as it is


def test_what_cannot_be_read_or_is_listened_to_runs_as_it_is():
    class Asking(nn.Module):
        def forward(self, x):
            return x * 2 if x.sum() > 0 else x

    images = torch.ones(2, 3, 4, 4)
    with torch.no_grad():
        assert torch.equal(lean(Asking().eval())(images), images * 2)
        network = Step(lambda net, x, images: net.act(net.norm(x))).eval()
        seen = []
        network.norm.register_forward_hook(lambda layer, given, output: seen.append(output))
        lean(network)(images)
        assert (seen[0] < 0).any() or torch.equal(seen[0], activations(network, images, ["norm"])["norm"])
        taps = activations(network, images, ["conv", "norm"])
        torch.testing.assert_close(seen[0], taps["norm"], rtol=0, atol=0)


def test_operators_that_write_over_are_known():
    from hubel.models.surgery.lean import _has_effects

    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    for made, effect in (
        (graph.call_function(operator.iadd, (x, 1)), True),
        (graph.call_method("add_", (x, 1)), True),
        (graph.call_function(torch.relu_, (x,)), True),
        (graph.call_function(operator.add, (x, 1)), False),
        (graph.call_method("mean", (x,)), False),
        (graph.call_function(F.interpolate, (x, 4)), False),
    ):
        assert _has_effects(made) is effect
