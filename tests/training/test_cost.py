"""Multiply-adds against figures that are known."""

from torch import nn

from hubel.models.lenet import lenet5
from hubel.training.cost import multiply_adds


def test_lenet5():
    first, second = 28 * 28 * 6 * 25, 10 * 10 * 16 * 6 * 25
    assert (
        multiply_adds(lenet5(classes=10, input=(1, 32, 32)), (1, 32, 32)) == first + second + 400 * 120 + 120 * 84 + 840
    )


def test_depthwise_separable():
    """6×6×3 to 4×4×5: 4·4·3·9 + 4·4·5·3 = 672."""
    layers = nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 5, 1))
    assert multiply_adds(layers, (3, 6, 6)) == 672
    assert multiply_adds(nn.Conv2d(3, 5, 3), (3, 6, 6)) == 2160


def test_nothing_changes():
    layer = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    multiply_adds(layer, (1, 5, 5))
    assert layer.training and layer[1].num_batches_tracked == 0 and not layer[0]._forward_hooks
