"""Where frozen layers end and those that learn begin, what learns then, and what forbids to compute the rest once.

    a head of layers in a row     features after the frozen ones, (B, F) as a rule; the others learn
    any other head (a box's, several tasks')     features are the coarsest map (B, F, h, w); the head learns as a whole

Mixed images change what is to be learnt. Objects follow the matrix of a view (data/through.py); masks would be read
again, and what an elastic distortion did is in no matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Any

import numpy as np
from torch import Tensor, nn

from hubel.data.objects import Objects
from hubel.data.targets import columns_of
from hubel.models.base import Head
from hubel.training.feed import Data

MOST = 2**31  # bytes of all views of all images, which stand in memory


def cut_of(network: nn.Module, head: Sequence[str]) -> int | None:
    """How many layers of `network.head` come before those that learn, `head`; None where it can't be cut there."""
    layers = getattr(network, "head", None)
    if not isinstance(layers, nn.Module) or not hasattr(network, "maps"):
        return None
    own = [name for name, _ in layers.named_parameters()]
    if not isinstance(layers, nn.Sequential):
        alone = set(head) == {f"head.{name}" for name in own}
        return 0 if alone and getattr(layers, "coarsest_only", False) else None
    places = [int(name.split(".")[1]) for name in head if name.startswith("head.") and name.split(".")[1].isdigit()]
    if len(places) != len(head) or not places:
        return None
    after = [f"head.{name}" for name in own if int(name.split(".")[0]) >= min(places)]
    return min(places) if set(after) == set(head) else None


def obstacle(network: Any, cut: int | None, data: Data, views: int) -> str:
    """Why `views` views can't be computed once for a head that is cut at `cut`; "" where they can."""
    augment, learnt = data.train.augment, data.splits["train"]
    if augment is not None and not (augment.mixing.plain and augment.collage.plain):
        return "images are mixed with others"
    columns = columns_of(data.train.targets(learnt[:1]))
    if not all(isinstance(column, Objects) for column in columns):
        return "what is learnt are pixels, which move with the image"
    if columns and augment is not None and augment.geometric.elastic:
        return "an elastic distortion moves what is learnt"
    if cut is None:
        return "the head reads more than the coarsest map, or other layers learn too"
    images = len(np.unique(np.concatenate(list(data.splits.values())))) + (views - 1) * len(learnt)
    size = 0 if isinstance(network.head, nn.Sequential) else images * bytes_of(network, data.plain.preprocess.size)
    return f"they would take {size / 2**30:.1f} GB" if size > MOST else ""


def bytes_of(network: Any, size: tuple[int, int]) -> int:
    """Of the coarsest map (F, h, w) float32 of an image of `size`, for a network that states channels and strides."""
    strides, channels = getattr(network, "strides", ()), getattr(network, "channels", (0,))
    return 4 * channels[-1] * prod(ceil(side / strides[-1]) for side in size) if strides else 4 * channels[-1]


class FromFeatures(nn.Module):
    """The layers of a network that learn, from the frozen features on. Its state is that of the whole network."""

    def __init__(self, network: nn.Module, cut: int):
        super().__init__()
        head: Any = network.head
        self.head = Head(*list(head.children())[cut:]) if isinstance(head, nn.Sequential) else head
        self.__dict__["whole"] = network  # no part of this module: saved, but neither moved nor trained with it

    def maps(self, features: Tensor) -> list[Tensor]:
        """As a network's, which a task may ask for: nothing lies between the features and them."""
        return [features]

    def forward(self, features: Tensor) -> Any:
        return self.head(self.maps(features))

    def state_dict(self, *args: Any, **options: Any) -> Any:
        return self.__dict__["whole"].state_dict(*args, **options)

    def load_state_dict(self, *args: Any, **options: Any) -> Any:
        return self.__dict__["whole"].load_state_dict(*args, **options)
