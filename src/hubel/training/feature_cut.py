"""Where frozen layers end and those that learn begin, what learns then, and what forbids to compute the rest once.

    a head of layers in a row      features after the frozen ones, (B, F) as a rule; the others learn
    any other (of boxes, masks …)  features are the maps that it reads; the head learns as a whole

Mixed images change what is to be learnt. Objects and masks follow the matrix of a view (data/through.py); what an
elastic distortion did is in no matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Any

import numpy as np
from torch import Tensor, nn

from hubel.data.targets import columns_of
from hubel.models.base import Head, Network
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
        return 0 if alone and type(network).forward is Network.forward else None
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
    if columns and augment is not None and augment.geometric.elastic:
        return "an elastic distortion moves what is learnt"
    if cut is None:
        return "other layers than the head's last ones learn too, or the network is more than its maps and its head"
    if getattr(network, "margin", 0):
        return "the network wants to see beyond the border of the images that it judges"
    size = bytes_of_all(network, data, views)
    return f"they would take {size / 2**30:.1f} GB" if size > MOST else ""


def bytes_of_all(network: Any, data: Data, views: int) -> int:
    """Of the maps of all views of all images; 0 where features are vectors, which take little."""
    if isinstance(network.head, nn.Sequential):
        return 0
    images = len(np.unique(np.concatenate(list(data.splits.values())))) + (views - 1) * len(data.splits["train"])
    return images * bytes_of(network, data.plain.preprocess.size)


def bytes_of(network: Any, size: tuple[int, int]) -> int:
    """Of the maps float32 that the head reads of an image of `size`, for a network that states channels and strides."""
    channels = getattr(network, "channels", (0,))
    strides = getattr(network, "strides", ()) or (None,) * len(channels)
    places = [1 if stride is None else prod(ceil(side / stride) for side in size) for stride in strides]
    return 4 * sum(channels[i] * places[i] for i in positions_read(network.head, len(channels)))


def positions_read(head: nn.Module, count: int) -> list[int]:
    """Which of `count` maps a head reads, finest first; all of them where it doesn't say."""
    reads = getattr(head, "reads", None)
    return list(range(count)) if reads is None else sorted({i % count for i in reads})


def only_read(head: nn.Module, maps: list[Tensor]) -> tuple[Tensor, ...]:
    """The maps, without the channels of those that the head doesn't read: a size is left of them."""
    read = positions_read(head, len(maps))
    return tuple(x if i in read else x[:, :0].clone() for i, x in enumerate(maps))


class FromFeatures(nn.Module):
    """The layers of a network that learn, from the frozen features on. Its state is that of the whole network."""

    def __init__(self, network: nn.Module, cut: int):
        super().__init__()
        head: Any = network.head
        self.head = Head(*list(head.children())[cut:]) if isinstance(head, nn.Sequential) else head
        self.__dict__["whole"] = network  # no part of this module: saved, but neither moved nor trained with it

    def maps(self, features: tuple[Tensor, ...]) -> list[Tensor]:
        """As a network's, which a task may ask for: nothing lies between the features and them."""
        return list(features)

    def forward(self, features: tuple[Tensor, ...]) -> Any:
        return self.head(self.maps(features))

    def state_dict(self, *args: Any, **options: Any) -> Any:
        return self.__dict__["whole"].state_dict(*args, **options)

    def load_state_dict(self, *args: Any, **options: Any) -> Any:
        return self.__dict__["whole"].load_state_dict(*args, **options)
