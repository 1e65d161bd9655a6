"""Costs against loops, known figures and two independent counters; shapes against torch itself.

fvcore and torchinfo count the same multiply-adds for convolutions and dense layers. What differs, and is taken out
here: fvcore also counts batch norm, pooling and upsampling; torchinfo counts batch norm and each layer's bias.
"""

import copy
import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel.models.airbench import airbench
from hubel.models.cost import multiply_adds, profile
from hubel.models.lenet import lenet5
from hubel.models.resnet_cifar import resnet8, resnet20
from hubel.models.trace import _Operations, tensors
from hubel.nn.local import LocallyConnected2d
from hubel.nn.stochastic_depth import StochasticDepth


class Functional(nn.Module):
    """A sum, a concatenation and a product that no module stands for."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1, bias=False)
        self.mix = nn.Parameter(torch.randn(8, 6))
        self.never = nn.Linear(5, 5)

    def forward(self, x):
        y = torch.cat([F.relu(self.a(x) + self.b(x)), self.b(x)], 1)
        return F.adaptive_avg_pool2d(y, 1).flatten(1) @ self.mix


NETWORKS = {
    "lenet5": (lambda: lenet5(classes=10, input=(3, 32, 32)), 32),
    "resnet8": (lambda: resnet8(classes=5, input=(3, 32, 32), widths=(8, 12, 16)), 32),
    "resnet20": (lambda: resnet20(classes=10, input=(3, 32, 32)), 32),
    "airbench": (lambda: airbench(classes=10, input=(3, 32, 32), widths=(8, 12, 16)), 32),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, stride=2), nn.ReLU(), nn.Conv2d(6, 4, (1, 5))), 15),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), 9),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 25, 7)), 5),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_multiplications_are_those_of_fvcore_and_torchinfo(name):
    fvcore, torchinfo = pytest.importorskip("fvcore.nn"), pytest.importorskip("torchinfo")
    make, side = NETWORKS[name]
    network, image = make().eval(), torch.zeros(1, 3, side, side)
    found = profile(network, (3, side, side))
    counter = fvcore.FlopCountAnalysis(network, image).unsupported_ops_warnings(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = counter.by_operator()
    assert found.multiplications == sum(theirs[kind] for kind in ("conv", "linear", "matmul", "addmm", "bmm"))
    rows = torchinfo.summary(network, input_data=image, verbose=0).summary_list
    leaves = [row for row in rows if row.is_leaf_layer and isinstance(row.module, (nn.modules.conv._ConvNd, nn.Linear))]
    if name != "transposed":  # torchinfo multiplies by the places of the output, though each input is spread once
        biases = sum(row.module.bias.numel() * math.prod(row.output_size[2:]) for row in leaves
                     if row.module.bias is not None)  # fmt: skip
        assert found.multiplications == sum(row.macs for row in leaves) - biases
    assert found.parameters == sum(p.numel() for p in network.parameters())


class LooksAtValues(nn.Module):
    """Can't run without values: then a copy runs on a blank image."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x if float(x.sum()) > -1 else x + 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_alone_tell_the_same_as_a_pass_with_values(name):
    make, side = NETWORKS[name]
    network = make()
    hollow, real = (profile(n, (3, side, side)) for n in (network, LooksAtValues(network)))
    layers = [layer for layer in real.layers if layer.name.startswith("network") and layer.output is not None]
    for a, b in zip(hollow.layers, layers, strict=True):
        assert a.name == b.name.removeprefix("network").removeprefix(".")
        same = (
            "output",
            "parameters",
            "multiplications",
            "output_bytes",
            "activation_bytes",
            "training_bytes",
            "field",
        )
        assert all(getattr(a, one) == getattr(b, one) for one in same), a.name


def test_inference_mode_hides_no_multiplication():
    count = multiply_adds(resnet8(classes=10, input=(3, 32, 32)), (3, 32, 32))
    with torch.inference_mode():
        assert multiply_adds(resnet8(classes=10, input=(3, 32, 32)), (3, 32, 32)) == count > 1e8


def test_transposed_convolution_multiplies_each_input_by_each_weight():
    """A loop over 3 channels of 4×5 inputs, 2 filters of 3×3 each."""
    assert multiply_adds(nn.ConvTranspose2d(3, 2, 3, stride=2), (3, 4, 5)) == 3 * 4 * 5 * 2 * 9


def test_known_figures_of_layers():
    """10 filters of 3×3×3: 280 parameters; 6×6 by 3×3 gives 4×4; 6×6×3 to 4×4×5: 2,160 and 672 multiplications."""
    assert profile(nn.Conv2d(3, 10, 3), (3, 6, 6)).layers[0].parameters == 280
    assert profile(nn.Conv2d(3, 5, 3), (3, 6, 6)).layers[0].output == (5, 4, 4)
    assert multiply_adds(nn.Conv2d(3, 5, 3), (3, 6, 6)) == 2160
    assert multiply_adds(nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 5, 1)), (3, 6, 6)) == 672


def test_dense_local_and_shared_weights():
    """7 inputs, 3 hidden units, width 3: 21 weights dense, 9 local, 3 shared."""
    dense = nn.Sequential(nn.Flatten(), nn.Linear(7, 3, bias=False))
    local = LocallyConnected2d(1, 1, (1, 7), (1, 3), stride=(1, 2), bias=False)
    shared = nn.Conv2d(1, 1, (1, 3), stride=(1, 2), bias=False)
    assert [profile(net, (1, 1, 7)).parameters for net in (dense, local, shared)] == [21, 9, 3]
    assert [multiply_adds(net, (1, 1, 7)) for net in (dense, local, shared)] == [21, 9, 9]


def test_an_inception_branch():
    """32 filters of 5×5 on 28×28×192: 120 M multiplications; behind a 1×1 bottleneck of 16 channels 12.4 M."""
    direct = nn.Conv2d(192, 32, 5, padding=2)
    narrow = nn.Sequential(nn.Conv2d(192, 16, 1), nn.Conv2d(16, 32, 5, padding=2))
    assert multiply_adds(direct, (192, 28, 28)) == 28 * 28 * 32 * 25 * 192 == 120_422_400
    assert multiply_adds(narrow, (192, 28, 28)) == 28 * 28 * 16 * 192 + 28 * 28 * 32 * 25 * 16 == 12_443_648


def test_functions_are_layers_too_and_every_parameter_stands_once():
    found = profile(Functional(), (3, 6, 6))
    rows = {layer.name: layer for layer in found.layers}
    assert list(rows) == ["a", "b", "add()", "relu()", "b#2", "cat()", "adaptive_avg_pool2d()", "matmul()", "never"]
    assert rows["matmul()"].multiplications == 8 * 6
    assert rows["b#2"].parameters == 0 and rows["b"].parameters == 12
    assert rows["add()"].parameters == 48  # weights that the network owns itself stand at its first function
    assert rows["never"].output is None and found.idle_parameters == 30
    assert found.parameters == sum(layer.parameters for layer in found.layers) == 112 + 12 + 48 + 30


def test_memory_of_a_small_network_by_hand():
    """Per image in float32; the convolution's outputs are 8 × 8 × 4 values."""
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                           nn.Dropout(0.5), nn.Linear(64, 10))  # fmt: skip
    found = profile(layers, (3, 8, 8))
    image, maps, pooled = 3 * 64 * 4, 4 * 64 * 4, 4 * 16 * 4
    assert [one.output_bytes for one in found.layers] == [maps, maps, maps, pooled, 0, 0, 40]
    assert [one.activation_bytes for one in found.layers] == [maps, maps, 0, pooled, 0, 0, 40]
    assert found.output_bytes == image + 3 * maps + pooled + 40
    assert found.activation_bytes == image + 2 * maps + pooled + 40
    # the image, the norm's input, the output of ReLU, its winners' places (8 bytes each), the mask, the dropped values
    assert [one.training_bytes for one in found.layers] == [image, maps, maps, 2 * pooled, 0, pooled, pooled]


def test_what_works_in_place_takes_no_memory():
    plain, inplace = (nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=flag)) for flag in (False, True))
    assert [one.output_bytes for one in profile(plain, (1, 4, 4)).layers] == [128, 128]
    assert [one.output_bytes for one in profile(inplace, (1, 4, 4)).layers] == [128, 0]
    assert profile(plain, (1, 4, 4)).training_bytes == profile(inplace, (1, 4, 4)).training_bytes == 64 + 128


def test_pooling_keeps_a_quarter_and_has_no_parameters():
    layer = profile(nn.MaxPool2d(2), (3, 8, 8)).layers[0]
    assert (layer.parameters, layer.multiplications, layer.output_bytes) == (0, 0, 3 * 64 * 4 // 4)


def test_kinds_add_up():
    found = profile(resnet20(classes=10, input=(3, 32, 32)), (3, 32, 32))
    assert found.by_kind("parameters") == {"convolution": 267_696, "dense": 650, "norm": 1_376, "other": 0}
    assert sum(found.by_kind("multiplications").values()) == found.multiplications == 40_551_040


def test_nothing_changes():
    layer = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), StochasticDepth(0.5))
    layer[1].eval()
    before, state = copy.deepcopy(layer.state_dict()), torch.get_rng_state()
    for network in (layer, LooksAtValues(layer)):
        assert profile(network, (1, 5, 5)).training_bytes is not None
    assert layer.training and not layer[1].training and not layer[0]._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_a_network_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"can't run on|expected input"):
        profile(nn.Conv2d(3, 4, 3), (1, 8, 8))


OPERATIONS = {
    "convolution": lambda x: F.conv2d(x, torch.zeros(6, 2, 3, 2, device=x.device), None, (2, 1), (1, 2), (1, 2), 2),
    "transposed": lambda x: F.conv_transpose2d(x, torch.zeros(4, 3, 3, 3, device=x.device), None, 2, 1, 1, 2),
    "max_pool": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True, return_indices=True),
    "max_pool over the end": lambda x: F.max_pool2d(x, 2, 3, ceil_mode=True),
    "avg_pool": lambda x: F.avg_pool2d(x, (3, 2), None, (1, 0)),
    "avg_pool up": lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, (3, 2), return_indices=True),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "group_norm": lambda x: F.group_norm(x, 2),
    "response norm": lambda x: F.local_response_norm(x, 3),
    "mean": lambda x: x.mean((2, 3), keepdim=True),
    "sum": lambda x: x.sum(),
    "amax": lambda x: x.amax((-1, -2)),
    "max": lambda x: x.flatten(2).max(2),
    "cat": lambda x: torch.cat([x, x[:, :1]], 1),
    "matrix": lambda x: torch.einsum("bchw,kc->bkhw", x, torch.zeros(3, 4, device=x.device)),
    "product": lambda x: x.flatten(2) @ x.flatten(2).mT,
    "baddbmm": lambda x: torch.baddbmm(x[:, :1, :1, :4].flatten(2), x.flatten(2), x.flatten(2).mT),
    "pad": lambda x: F.pad(x, (1, 2, 3, -1, 2, 0)),
    "reflect": lambda x: F.pad(x, (1, 2, 3, 0), mode="reflect"),
    "repeat": lambda x: F.pad(x, (1, 2, 3, 0), mode="replicate"),
    "unfold": lambda x: F.unfold(x, (3, 2), dilation=(1, 2), padding=1, stride=(2, 1)),
    "softmax": lambda x: F.log_softmax(x.softmax(1), 2),
    "gate": lambda x: x * x.mean((2, 3), keepdim=True) + x[0, 0],
    "compare": lambda x: torch.where(x > 0, x, x * 2),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "hardswish": F.hardswish,
    "dropout": lambda x: F.dropout(x, 0.5),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_shapes_are_those_of_torch(name):
    found = {}
    for device in ("cpu", "meta"):
        with torch.no_grad(), _Operations(lambda *seen: None):
            found[device] = tensors(OPERATIONS[name](torch.zeros(2, 4, 9, 11, device=device)))
    assert [t.device.type for t in found["meta"]] == ["meta"] * len(found["cpu"])
    assert [(t.shape, t.dtype) for t in found["meta"]] == [(t.shape, t.dtype) for t in found["cpu"]]


def test_shapes_that_do_not_fit_are_refused():
    x = torch.empty(2, 4, 9, 11, device="meta")
    for wrong in (
        lambda: x + torch.empty(3, 1, 1, device="meta"),
        lambda: torch.cat([x, x[:, :, 1:]], 1),
        lambda: x.flatten(2) @ x.flatten(2),
        lambda: F.max_pool2d(x, 12),
        lambda: F.conv2d(x, torch.empty(1, 4, 10, 1, device="meta")),
    ):
        with torch.no_grad(), _Operations(lambda *seen: None), pytest.raises(RuntimeError):
            wrong()
