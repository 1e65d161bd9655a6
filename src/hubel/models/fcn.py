"""Fully convolutional networks: a classifier whose dense layers slide, its scores enlarged by layers. arXiv:1411.4038.

    32s: s = enlarged32(w_32 · top)        16s: enlarged16(up2(w_32 · top) + w_16 · map_16)
     8s: enlarged8(up2(up2(w_32 · top) + w_16 · map_16) + w_8 · map_8)

image (B, C, H, W) -> [image, maps at strides 2 … 16, top (B, F, ⌈H / 32⌉, ⌈W / 32⌉)] -> scores (B, K, H, W)

`top` is what the classifier's head makes of the coarsest map before its last layer: VGG's dense layers of 4,096 units
as a 7×7 and a 1×1 convolution. up and enlarged are transposed convolutions, each class for itself, which begin as
bilinear interpolation and learn. At 8 and 16 the last map of that stride is read, where the paper takes pool3 and
pool4, one block earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import DenseNetwork, Network
from hubel.models.options import Size, wants
from hubel.models.surgery.convolve import head_in_place
from hubel.models.unet import covering, without_head
from hubel.models.vgg import vgg16
from hubel.nn.pointwise import Pointwise

CLASSIFIER_SIDE = 224  # pixels, where a classifier doesn't say what it wants


class BilinearUp(nn.Module):
    """(B, K, h, w) -> (B, K, factor · h, factor · w) by a transposed convolution that begins as bilinear.

    A row and a column of copies on each side, cut off afterwards, keep the border as bright as the rest.
    """

    def __init__(self, channels: int, factor: int):
        super().__init__()
        self.spread = nn.ConvTranspose2d(
            channels, channels, 2 * factor, factor, padding=factor + factor // 2, groups=channels, bias=False
        )
        with torch.no_grad():
            self.spread.weight.copy_(bilinear_filter(factor).expand_as(self.spread.weight))

    def forward(self, x: Tensor) -> Tensor:
        return self.spread(F.pad(x, (1, 1, 1, 1), mode="replicate"))


def bilinear_filter(factor: int) -> Tensor:
    """(2 · factor, 2 · factor): a pyramid, 1 − |distance| / factor along each axis, from the middle; `factor` even."""
    side = 1 - ((torch.arange(2 * factor) + 0.5) / factor - 1).abs()
    return side[:, None] * side


class FusedUp(nn.Module):
    """The head: scores of the maps at `strides[i]`, finest first, fused; the rest of the way enlarged at once."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], read: Sequence[int], outputs: int):
        super().__init__()
        self.reads = tuple(read)
        self.scores = nn.ModuleList(Pointwise(channels[i], outputs) for i in read)
        steps = [strides[b] // strides[a] for a, b in pairwise(read)]
        self.ups = nn.ModuleList(BilinearUp(outputs, step) for step in steps)
        self.enlarge = BilinearUp(outputs, strides[read[0]])

    def forward(self, maps: list[Tensor]) -> Tensor:
        *finer, total = (score(maps[i]) for score, i in zip(self.scores, self.reads, strict=True))
        for up, own in zip(reversed(self.ups), reversed(finer), strict=True):
            total = own + up(total)[:, :, : own.shape[2], : own.shape[3]]
        height, width = maps[0].shape[2:]
        return self.enlarge(total)[:, :, :height, :width]


class FCN(DenseNetwork):
    """`classifier` with its head on the map; scores from the strides down to `finest`.

    Maps: the image, for its size, then those of the classifier, the coarsest one behind the head's layers.
    """

    def __init__(self, outputs: int, channels: int, classifier: Network, side: int, finest: int):
        super().__init__()
        top = head_in_place(classifier, (channels, side, side))
        self.encoder = without_head(classifier)
        self.encoder.head = top  # under the names that its weights have
        width = top.eval()(_blank(classifier, channels, side)).shape[1]
        top.train()
        self.channels, self.strides = (channels, *classifier.channels[:-1], width), (1, *classifier.strides)
        self.reads = _last_of(self.strides, finest)
        self.head = self.default_head(outputs)

    def maps(self, images: Tensor) -> list[Tensor]:
        found = covering(self.encoder, images)
        return [images, *found[:-1], self.encoder.head(found)]

    def fit(self, images: Tensor) -> None:
        self.encoder.fit(images)

    def dense_head(self, outputs: int) -> nn.Module:
        return FusedUp(self.channels, self.strides, self.reads, outputs)


@torch.no_grad()
def _blank(network: Network, channels: int, side: int) -> list[Tensor]:
    """A map as large as it takes to know the channels behind the head."""
    like = next(network.parameters())
    return [torch.zeros(1, network.channels[-1], 1, 1, device=like.device, dtype=like.dtype)]


def _last_of(strides: Sequence[int], finest: int) -> tuple[int, ...]:
    """Positions of the last map of each stride from `finest` on; UserError where none has that stride."""
    if finest not in strides:
        raise UserError(
            f"An FCN that reads stride {finest} needs a classifier with such a map; this one has the strides "
            f"{', '.join(map(str, strides[1:]))}. Choose another encoder, or fcn32s."
        )
    last = {stride: i for i, stride in enumerate(strides)}
    return tuple(i for stride, i in sorted(last.items()) if stride >= finest)


def _build(classes: int, input: Size, encoder: Callable[..., Network], finest: int | None) -> FCN:
    """`finest` None: the coarsest map alone."""
    side = getattr(encoder, "size", None) or CLASSIFIER_SIDE
    classifier = encoder(classes=1, input=(input[0], side, side))
    return FCN(classes, input[0], classifier, side, finest or max(classifier.strides, default=1))


@wants(None)
def fcn32s(*, classes: int, input: Size, encoder: Callable[..., Network] = vgg16) -> FCN:
    """Scores of the coarsest map, enlarged 32 times; 134 M parameters on VGG-16.

    For an input (C, H, W) of any size. `encoder`: a classifier of the zoo. Raises UserError for one without a map.
    """
    return _build(classes, input, encoder, None)


@wants(None)
def fcn16s(*, classes: int, input: Size, encoder: Callable[..., Network] = vgg16) -> FCN:
    """Scores of the maps at strides 32 and 16, fused. Options as in `fcn32s`."""
    return _build(classes, input, encoder, 16)


@wants(None)
def fcn8s(*, classes: int, input: Size, encoder: Callable[..., Network] = vgg16) -> FCN:
    """Scores of the maps at strides 32, 16 and 8, fused. Options as in `fcn32s`."""
    return _build(classes, input, encoder, 8)
