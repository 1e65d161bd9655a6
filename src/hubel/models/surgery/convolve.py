"""A classifier that slides: its head on flat vectors becomes convolutions, so that a larger image gives a map.

    one window (B, C, H, W) -> (B, K)          a larger image (B, C, H', W') -> (B, K, h, w)

Row r, column c of the map is what the classifier says of the window that begins at pixel (r s, c s), s the stride of
the coarsest map; all windows share the work where they overlap. Exactly so without padding: a padded network sees
zeros at the border of a window that is cut out, and the neighbouring pixels where it slides. `slide` shows both.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import Head
from hubel.models.options import Size
from hubel.models.surgery.matrices import dense_to_conv
from hubel.nn.pooling import AdaptiveAveragePool, GlobalAveragePool, GlobalMaxPool

AVERAGES = (GlobalAveragePool, AdaptiveAveragePool, nn.AdaptiveAvgPool2d)
MAXIMA = (GlobalMaxPool, nn.AdaptiveMaxPool2d)


@torch.no_grad()
def convolutionalise(network: nn.Module, input: Size) -> nn.Module:
    """A copy of `network` in evaluation mode that takes images of `input` (C, H, W) or larger, and gives a map.

    Dense layers become convolutions (the first as large as the map it reads, the others 1×1), a global pooling one
    with a window of that size. Raises UserError for a head that isn't a chain of layers on the coarsest map.
    """
    found: Any = copy.deepcopy(network).eval()
    head, x = _checked_head(found), _map_of(found, input)
    layers: list[nn.Module] = []
    for layer in _flat(head):
        new = _sliding(layer, tuple(x.shape[1:]))
        if new is not None:
            layers.append(new.eval())
            x = new(x)
    found.head = Head(*layers).eval()
    return found


def _checked_head(network: Any) -> Head:
    head = getattr(network, "head", None)
    if not isinstance(head, Head):
        raise UserError(
            f"The head of {type(network).__name__} is no chain of layers on the coarsest map, so it can't be made to "
            "slide. Give the network a head of class hubel.models.base.Head."
        )
    if not network.strides:
        raise UserError(f"{type(network).__name__} reads the pixels as a flat vector; it has no map to slide over.")
    return head


def _map_of(network: Any, input: Size) -> Tensor:
    """The coarsest map of one blank image of `input` (C, H, W); statistics of batch norm don't move."""
    like, training = next(network.parameters()), network.training
    found = network.eval().maps(torch.zeros(1, *input, device=like.device, dtype=like.dtype))[-1]
    network.train(training)
    return found


@torch.no_grad()
def head_in_place(network: nn.Module, input: Size) -> Head:
    """The head of a classifier for images of `input` (C, H, W), less its last dense layer, as layers on a map.

    (B, C, h, w) -> (B, F, h, w), any h and w: a dense layer of n×n cells is a convolution with padding, and global
    pooling falls away, so that each cell speaks for its own surroundings. Names and the number of layers stay those of
    the head. `network` keeps its own. Raises UserError as `convolutionalise` does.
    """
    layers = _checked_head(copy.deepcopy(network))
    x = _map_of(network, input)
    last = [layer for layer in layers.modules() if isinstance(layer, nn.Linear)][-1:]
    for chain, name, layer in [*_places(layers)]:
        new = nn.Identity() if layer in last else _sliding(layer, tuple(x.shape[1:])) or nn.Identity()
        x = new.eval()(x)
        if isinstance(new, nn.Conv2d) and isinstance(layer, nn.Linear):
            new.padding = tuple((n - 1) // 2 for n in new.kernel_size) if new.kernel_size[0] % 2 else "same"
        chain[name] = nn.Identity() if isinstance(layer, AVERAGES + MAXIMA) else new
    return layers.train()


def _places(chain: nn.Sequential) -> list[tuple[nn.Sequential, int, nn.Module]]:
    """(chain, position, layer) for the layers of nested chains, in order."""
    return [inner for i, layer in enumerate(chain)
            for inner in (_places(layer) if isinstance(layer, nn.Sequential) else [(chain, i, layer)])]  # fmt: skip


def _flat(chain: nn.Sequential) -> list[nn.Module]:
    """The layers of nested chains, in order."""
    return [inner for layer in chain for inner in (_flat(layer) if isinstance(layer, nn.Sequential) else [layer])]


def _sliding(layer: nn.Module, shape: tuple[int, ...]) -> nn.Module | None:
    """What does on a map (C, h, w) what `layer` does on one window of it; None where nothing is to be done."""
    size = (shape[1], shape[2])
    if isinstance(layer, nn.Flatten):
        return None
    if isinstance(layer, nn.Linear):
        return dense_to_conv(layer, (shape[0], *size))
    if isinstance(layer, nn.BatchNorm1d):
        return _in_2d(layer)
    if isinstance(layer, AVERAGES + MAXIMA):
        return _pool(layer, size)
    return layer


def _in_2d(norm: nn.BatchNorm1d) -> nn.BatchNorm2d:
    found = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    like = next(iter(norm.state_dict().values()), None)
    found = found if like is None else found.to(like.device, like.dtype)
    found.load_state_dict(norm.state_dict())
    return found


def _pool(layer: nn.Module, size: tuple[int, int]) -> nn.Module | None:
    """Global pooling over one window; an adaptive one that leaves a window as it is falls away."""
    wanted = _pair(getattr(layer, "output_size", getattr(layer, "side", 1)))
    if wanted == size:
        return None
    if wanted != (1, 1):
        raise UserError(
            f"The network pools a map of {size[0]}×{size[1]} to {wanted[0]}×{wanted[1]} before its head, and that "
            f"can't slide. Give an input for which the map has {wanted[0]}×{wanted[1]} cells."
        )
    return nn.AvgPool2d(size, 1) if isinstance(layer, AVERAGES) else nn.MaxPool2d(size, 1)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


@dataclass(frozen=True)
class Slid:
    """One image looked at in both ways, each (B, K, h, w)."""

    map: Tensor  # the convolutionalised network on the whole image
    crops: Tensor  # the network on every window, cut out

    @property
    def difference(self) -> float:
        """The largest difference, in units of logits: rounding only, unless the network pads."""
        return float((self.map - self.crops).abs().max())


@torch.no_grad()
def slide(network: nn.Module, input: Size, images: Tensor) -> Slid:
    """`network`, made for `input` (C, H, W), on larger images (B, C, H', W'), all at once and window by window.

    Raises UserError for images that are smaller than `input`.
    """
    if min(images.shape[2] - input[1], images.shape[3] - input[2]) < 0:
        raise UserError(
            f"The window of {input[1]}×{input[2]} pixels doesn't fit into {images.shape[2]}×{images.shape[3]}."
        )
    sliding: Any = convolutionalise(network, input)
    whole = sliding(images)
    step = sliding.strides[-1]
    before = network.training
    network.eval()
    down, across = (range(0, size - own + 1, step) for size, own in zip(images.shape[2:], input[1:], strict=True))
    rows = [[network(images[:, :, y : y + input[1], x : x + input[2]]) for x in across] for y in down]
    network.train(before)
    crops = torch.stack([torch.stack(row, -1) for row in rows], -2)  # (B, K, h, w)
    h, w = (min(a, b) for a, b in zip(whole.shape[2:], crops.shape[2:], strict=True))
    return Slid(whole[:, :, :h, :w], crops[:, :, :h, :w])
