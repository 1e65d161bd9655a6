"""Patch by patch, the slow way: a classifier looks at the surroundings of a pixel and says what the pixel is.

image (B, C, H, W) -> patches around every `step`-th pixel (B · h · w, C, patch, patch), beyond the border mirrored
                   -> the classifier's coarsest map, averaged: one map (B, F, h, w) -> 1×1 -> scores (B, K, h, w)

with h = ⌈H / step⌉. Neighbouring patches share nearly all of their pixels and none of their work: with `step` 1 an
image costs H · W classifications. It is the baseline that fully convolutional networks were measured against.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from hubel.errors import UserError
from hubel.models.base import DenseNetwork, Network
from hubel.models.convnet import convnet
from hubel.models.options import Size, check_size, wants
from hubel.models.unet import without_head


def patches(images: Tensor, patch: int, step: int) -> Tensor:
    """(B, C, H, W) -> (B · ⌈H / step⌉ · ⌈W / step⌉, C, patch, patch), around the middle of each tile of `step` pixels.

    Beyond the border lies the mirrored image, so `patch` is at most about twice a side. Raises UserError for more.
    """
    height, width = images.shape[2:]
    before = patch // 2 - step // 2
    behind = [-(-n // step) * step - step + patch - n - before for n in (height, width)]
    most = max(before, *behind)
    if most >= min(height, width):
        raise UserError(f"A patch of {patch} pixels reaches {most} beyond the border of an image of {height}×{width}. "
                        "Choose a smaller patch, or larger images.")  # fmt: skip
    framed = F.pad(images, (before, max(behind[1], 0), before, max(behind[0], 0)), mode="reflect")
    windows = framed.unfold(2, patch, step).unfold(3, patch, step)  # (B, C, h, w, patch, patch)
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


class Patchwise(DenseNetwork):
    """`encoder` on patches of `patch` pixels, one for every tile of `step` × `step`."""

    def __init__(self, outputs: int, encoder: Network, patch: int, step: int):
        super().__init__()
        self.encoder, self.patch, self.step = without_head(encoder), patch, step
        self.channels, self.strides = (encoder.channels[-1],), (step,)
        self.head = self.default_head(outputs)

    def maps(self, images: Tensor) -> list[Tensor]:
        h, w = (-(-n // self.step) for n in images.shape[2:])
        features = self.encoder.maps(patches(images, self.patch, self.step))[-1].mean((2, 3))  # (B h w, F)
        return [features.unflatten(0, (-1, h, w)).movedim(3, 1)]

    def fit(self, images: Tensor) -> None:
        self.encoder.fit(images)


@wants(None)
def patchwise(
    *, classes: int, input: Size, encoder: Callable[..., Network] = convnet, patch: int = 32, step: int = 4
) -> Patchwise:
    """A classifier on patches around every `step`-th pixel, for an input (C, H, W) of any size.

    `encoder`: a network of the zoo; `patch`: the side of what it sees, in pixels. Raises UserError for a patch below
    `step`, or much larger than the image.
    """
    if not 1 <= step <= patch:
        raise UserError(f"Options 'patch' and 'step' need 1 <= step <= patch, got {patch} and {step}.")
    check_size(f"patchwise with patches of {patch} pixels", input, patch // 2 + step)
    own = encoder(classes=1, input=(input[0], patch, patch))
    return Patchwise(classes, own, patch, step)
