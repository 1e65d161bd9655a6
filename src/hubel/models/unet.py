"""U-Net: an encoder, and a decoder that enlarges step by step and looks each time at the encoder's map of that size.

    y_n = map_n,   y_i = double([up(y_(i+1)), map_i])        arXiv:1505.04597, here with "same" padding

image (B, C, H, W) -> [image, maps of the encoder at strides 2, 4 … S] -> y (B, widths[-1], H / finest, W / finest)
                   -> (B, K, H / finest, W / finest)

Any network of the zoo with strides is an encoder; its classifier is left out. The decoder is the network's head, so
that a training that begins with the encoder's weights treats all of the decoder as new. Any size of image goes: it is
filled up with zeros, at the right and at the bottom, to a multiple of S, and the maps are cut back. `unet_valid` is
the network of the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import DenseNetwork, Network
from hubel.models.contracting import Contracting, double
from hubel.models.dense_heads import read_at
from hubel.models.options import Size, rates, wants, widths_of
from hubel.models.resnet import resnet18
from hubel.nn.activations import Activation, Unit
from hubel.nn.upsampling import Upsampling, upsampling

FINEST_WIDTH, WIDEST = 16, 256  # channels at stride 1, twice as many at 2 …, at most so many
UNIT = Unit(Activation("relu"), "batch")


class Step(nn.Module):
    """y (B, C, h, w), the side (H, W), the finer map (B, N, H, W) or None -> double([up(y), map]), (B, c_out, H, W)."""

    def __init__(self, up: Upsampling, finer: int, c_out: int):
        super().__init__()
        self.up = up
        self.mix = double(UNIT, up.channels + finer, c_out)

    def forward(self, y: Tensor, side: tuple[int, int], finer: Tensor | None) -> Tensor:
        large = self.up(y, side, finer)
        return self.mix(large if finer is None else torch.cat([large, finer], 1))


@dataclass(frozen=True)
class DecoderPlan:
    """`widths` of the decoder's steps, coarsest first: the last one repeats, and those that aren't needed are left out.
    None: by the stride, from 16 at 1 to 256 at 16 and above. An encoder of few strides so has none of the wide steps,
    which would cost most where maps are large.

    `upsampling`: one of nn/upsampling.py; `finest`: the stride of what comes out, 1 or 2 or 4 …; `dropout` of whole
    channels before the last layer.
    """

    widths: Sequence[int] | None = None
    upsampling: str = "nearest"
    finest: int = 1
    dropout: float = 0.0

    def width(self, step: int, stride: int) -> int:
        """Channels of a step, the first one 0, that gives a map of this stride."""
        if self.widths is None:
            return min(FINEST_WIDTH * stride, WIDEST)
        return self.widths[min(step, len(self.widths) - 1)]

    def __post_init__(self) -> None:
        if self.widths is not None:
            widths_of("widths", self.widths)
        rates("dropout", self.dropout, 1)
        if self.finest < 1 or self.finest & (self.finest - 1):
            raise UserError(f"Option 'finest' needs a power of two (1, 2, 4 …), got {self.finest}.")


class Decoder(nn.Module):
    """Reads maps of `channels` at `strides`, finest first, where stride 1 with 0 channels is the image: its size only.

    Of several maps with one stride the last is read; strides that no map has are enlarged through all the same.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], outputs: int, plan: DecoderPlan):
        super().__init__()
        self.of = {stride: i for i, stride in enumerate(strides)}  # the last one of each
        self.coarsest, self.finest = max(strides), plan.finest
        if plan.finest >= self.coarsest:
            raise UserError(f"Option 'finest' needs less than the encoder's last stride, {self.coarsest}; "
                            f"got {plan.finest}.")  # fmt: skip
        self.steps = nn.ModuleList()
        c_in = channels[self.of[self.coarsest]]
        for i, stride in enumerate(self._strides()):
            width = plan.width(i, stride)
            finer = channels[self.of[stride]] if stride in self.of else 0
            self.steps.append(Step(upsampling(plan.upsampling, c_in, finer), finer, width))
            c_in = width
        self.dropout = nn.Dropout2d(plan.dropout) if plan.dropout else nn.Identity()
        self.scores = nn.Conv2d(c_in, outputs, 3, padding=1)
        self.has_map = [bool(channels[self.of[s]]) if s in self.of else False for s in self._strides()]
        read = [self.of[s] for s, has in zip(self._strides(), self.has_map, strict=True) if has]
        self.reads = (*sorted(read), self.of[self.coarsest])

    def _strides(self) -> list[int]:
        """Of the steps: half of the coarsest, a quarter … the finest."""
        count = self.coarsest.bit_length() - self.finest.bit_length()
        return [self.coarsest >> (i + 1) for i in range(count)]

    def forward(self, maps: list[Tensor]) -> Tensor:
        height, width = maps[0].shape[2:]  # the image, or a map at its resolution
        y = maps[self.of[self.coarsest]]
        for step, stride, has_map in zip(self.steps, self._strides(), self.has_map, strict=True):
            side = (-(-height // stride), -(-width // stride))
            y = step(y, side, maps[self.of[stride]] if has_map else None)
        return self.scores(self.dropout(y))


class UNet(DenseNetwork):
    """`encoder` with `plan` for the decoder. Maps: the image, for its size, then those of the encoder.

    A map of the encoder at stride 1 takes the place of the image.
    """

    def __init__(self, outputs: int, channels: int, encoder: Network, plan: DecoderPlan):
        super().__init__()
        self.encoder, self.plan = without_head(encoder), plan
        self.images_first = encoder.strides[0] > 1
        own = ((channels,), (1,)) if self.images_first else ((), ())
        self.channels, self.strides = (*own[0], *encoder.channels), (*own[1], *encoder.strides)
        self.head = self.default_head(outputs)

    def maps(self, images: Tensor) -> list[Tensor]:
        found = covering(self.encoder, images)
        return [images, *found] if self.images_first else found

    def fit(self, images: Tensor) -> None:
        self.encoder.fit(images)

    def dense_head(self, outputs: int) -> nn.Module:
        read = (0, *self.channels[1:]) if self.images_first else self.channels
        return Decoder(read, self.strides, outputs, self.plan)


def without_head(encoder: Any) -> Network:
    """The network as an encoder: its classifiers are gone. Raises UserError where its features keep no place."""
    if not isinstance(encoder, Network) or not encoder.strides:
        raise UserError(
            f"{type(encoder).__name__} has no maps, so it can't be an encoder. Choose one of convolutions, such as "
            "resnet18 or efficientnet_lite0."
        )
    encoder.head = nn.Identity()
    for name in ("auxiliary_heads", "auxiliary_head"):
        if hasattr(encoder, name):
            setattr(encoder, name, nn.ModuleList())
    return encoder


def covering(encoder: Network, images: Tensor) -> list[Tensor]:
    """Maps (B, channels[i], ⌈H / s⌉, ⌈W / s⌉), s = strides[i], of which cell (r, c) is the tile from (r s, c s) on."""
    height, width = images.shape[2:]
    coarsest = max(encoder.strides)
    below, right = -height % coarsest, -width % coarsest
    maps = encoder.maps(F.pad(images, (0, right, 0, below)) if below or right else images)
    sides = [(-(-height // s), -(-width // s)) for s in encoder.strides]
    starts: Any = getattr(encoder, "starts", None)
    if starts is None or all(2 * start == s for start, s in zip(starts, encoder.strides, strict=True)):
        return [x[:, :, :h, :w] for x, (h, w) in zip(maps, sides, strict=True)]
    return [
        read_at(x, _centres(h, s, x), _centres(w, s, x), start, s)
        for x, (h, w), start, s in zip(maps, sides, starts, encoder.strides, strict=True)
    ]


def _centres(cells: int, stride: int, like: Tensor) -> Tensor:
    return (torch.arange(cells, device=like.device, dtype=like.dtype) + 0.5) * stride


@wants(None)
def unet(
    *,
    classes: int,
    input: Size,
    encoder: Callable[..., Network] = resnet18,
    widths: Sequence[int] | None = None,
    upsampling: str = "nearest",
    finest: int = 1,
    dropout: float = 0.0,
) -> UNet:
    """U-Net on any encoder of the zoo, for an input (C, H, W) of any size.

    `encoder`: a network of the zoo. `widths` of the decoder, coarsest first, by itself 256, 128, 64, 32, 16, of which
    an encoder of fewer strides has the last ones; `upsampling`: nearest, bilinear, nails,
    unpool, transposed or subpixel; `finest`: the stride of the scores (2 is faster, and coarser); `dropout` of
    channels before the last layer. Raises UserError for anything else.
    """
    own = encoder(classes=1, input=input)
    return UNet(classes, input[0], own, DecoderPlan(widths, upsampling, finest, dropout))


@wants(None)
def unet_plain(
    *,
    classes: int,
    input: Size,
    width: int = 32,
    depth: int = 4,
    upsampling: str = "transposed",
    dropout: float = 0.0,
) -> UNet:
    """The paper's U-Net with padding and batch norm: as large out as in.

    `width` of the first convolutions (64 in the paper), doubled at each of `depth` poolings.
    """
    (width,), (depth,) = widths_of("width", width), widths_of("depth", depth)
    own = Contracting(input[0], width, depth, UNIT)
    back = tuple(width * 2**i for i in reversed(range(depth)))
    return UNet(classes, input[0], own, DecoderPlan(back, upsampling, 1, dropout))
