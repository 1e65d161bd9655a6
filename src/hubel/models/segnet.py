"""SegNet: VGG's convolutions there and back; the maximum of a window is put back in its place. arXiv:1511.00561.

image (B, C, H, W) -> maps before each pooling: (B, 64, H, W), (B, 128, ⌊H / 2⌋, ⌊W / 2⌋) … (B, 512, ⌊H / 16⌋, …)
                   -> pooled, unpooled at the remembered places, convolved … -> scores (B, K, H, W)

The decoder is the encoder read backwards, batch norm and ReLU behind each convolution but the last, and has no skips:
all it is told of the fine maps is where the maxima stood. Those places are read from the maps before the pooling, which
backward keeps anyway. Any size goes: unpooling knows the size it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import DenseNetwork, Network
from hubel.models.options import Size, check_size, wants
from hubel.models.unet import without_head
from hubel.models.vgg import VGG, conv, vgg16_bn
from hubel.nn.unpooling import max_pool_places
from hubel.nn.upsampling import unpool_apart


class UnpoolingDecoder(nn.Module):
    """`widths` and `depths` of the encoder's stages, finest first: what each made, this undoes."""

    def __init__(self, widths: Sequence[int], depths: Sequence[int], outputs: int):
        super().__init__()
        self.stages = nn.ModuleList()
        for width, before, depth in zip(widths[1:], widths, depths[1:], strict=False):
            same = [layer for _ in range(depth - 1) for layer in conv(width, width, True)]
            self.stages.append(nn.Sequential(*same, *conv(width, before, True)))
        first = [layer for _ in range(depths[0] - 1) for layer in conv(widths[0], widths[0], True)]
        self.stages.insert(0, nn.Sequential(*first, nn.Conv2d(widths[0], outputs, 3, padding=1)))

    def forward(self, maps: list[Tensor]) -> Tensor:
        pooled, places = max_pool_places(maps[-1])
        y = self.stages[-1](unpool_apart(pooled, places, _side(maps[-1])))
        for stage, finer in zip(reversed(self.stages[:-1]), reversed(maps[:-1]), strict=True):
            y = stage(unpool_apart(y, max_pool_places(finer)[1], _side(finer)))
        return y


def _side(x: Tensor) -> tuple[int, int]:
    return x.shape[2], x.shape[3]


class SegNet(DenseNetwork):
    """`encoder`: a VGG; its dense layers are left out."""

    strides = (1, 2, 4, 8, 16)

    def __init__(self, outputs: int, encoder: VGG):
        super().__init__()
        self.depths, self.channels = _stages(encoder)
        self.encoder: Any = without_head(encoder)
        self.head = self.default_head(outputs)

    def maps(self, images: Tensor) -> list[Tensor]:
        x, found = images, []
        for layer in self.encoder.features[:-1]:  # the last pooling is the decoder's
            if isinstance(layer, nn.MaxPool2d):
                found.append(x)
            x = layer(x)
        return [*found, x]

    def dense_head(self, outputs: int) -> nn.Module:
        return UnpoolingDecoder(self.channels, self.depths, outputs)


def _stages(encoder: VGG) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How many convolutions stand before each pooling, and how many channels they give."""
    depths, widths, count, width = [], [], 0, 0
    for layer in encoder.features:
        if isinstance(layer, nn.Conv2d):
            count, width = count + 1, layer.out_channels
        elif isinstance(layer, nn.MaxPool2d):
            depths.append(count)
            widths.append(width)
            count = 0
    return tuple(depths), tuple(widths)


@wants(None)
def segnet(*, classes: int, input: Size, encoder: Callable[..., Network] = vgg16_bn) -> SegNet:
    """SegNet on the convolutions of VGG-16, 29.4 M parameters.

    For an input (C, H, W) of at least 32×32 pixels. `encoder`: vgg11 … vgg19, with or without batch norm. Raises
    UserError for another one.
    """
    check_size("segnet", input, 32)
    name = getattr(encoder, "__name__", str(encoder))
    if not name.startswith("vgg"):
        raise UserError(f"SegNet remembers the places of VGG's poolings, so its encoder is a VGG (vgg11 … vgg19_bn), "
                        f"not '{name}'. `unet` takes any network.")  # fmt: skip
    own: Any = encoder(classes=1, input=input, hidden=1)
    return SegNet(classes, own)
