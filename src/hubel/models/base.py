"""The contract of a network: maps from fine to coarse, and a head that reads them.

images (B, C, H, W) -> maps: a list of (B, channels[i], H / strides[i], W / strides[i]), finest first
                    -> head(maps): raw outputs, (B, K) for the family's own classifier,
                                   (B, K, h, w) for a head that gives scores for every pixel
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.dense_heads import FusedScores, PlacedScores
from hubel.nn.pooling import GlobalAveragePool


class Head(nn.Sequential):
    """Layers that read the coarsest map only."""

    reads = (-1,)  # of any head: the positions of the maps it reads; of the others only sizes count. None: all are read

    def forward(self, maps: list[Tensor]) -> Tensor:
        return super().forward(maps[-1])


class Network(nn.Module):
    """Base of every network of hubel. A subclass sets `channels` and `strides` and defines `maps` and `default_head`.

    A network whose features keep no place (MLP) has empty `strides`, and its one map is (B, F).
    What `forward` returns never depends on `self.training`; auxiliary heads are a method, `auxiliary(maps)`.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    head: nn.Module
    margin: int = 0  # scores for every pixel cover the image without so many pixels on each side

    def maps(self, images: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def fit(self, images: Tensor) -> None:
        """Before training: measure what is not learnt by descent, on normalised training images (N, C, H, W)."""

    def default_head(self, classes: int) -> nn.Module:
        """The family's own classifier: takes the list of maps, returns (B, classes)."""
        raise NotImplementedError

    def image_head(self, outputs: int) -> nn.Module:
        """Numbers of the whole image: takes the list of maps, returns (B, outputs)."""
        return self.default_head(outputs)

    def dense_head(self, outputs: int) -> nn.Module:
        """Scores for every pixel: takes the list of maps, returns (B, outputs, h, w), as a rule coarser than the image.

        Raises UserError where the features keep no place.
        """
        if not self.strides:
            raise UserError(
                f"{type(self).__name__} reads all pixels into one vector, in which nothing has a place any more, so it "
                "can't give scores for every pixel. Choose a network of convolutions, such as --model resnet18."
            )
        starts: Any = getattr(self, "starts", None)
        if starts is not None:
            return PlacedScores(self.channels, outputs, starts, self.strides)
        return FusedScores(self.channels, outputs)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.maps(images))


class DenseNetwork(Network):
    """The family's own head scores every pixel: a subclass defines `dense_head`."""

    def default_head(self, classes: int) -> nn.Module:
        return self.dense_head(classes)

    def image_head(self, outputs: int) -> nn.Module:
        """The mean of the coarsest map, and a linear layer."""
        return Head(GlobalAveragePool(), nn.Linear(self.channels[-1], outputs))
