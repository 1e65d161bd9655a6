"""The contract of a network: maps from fine to coarse, and a head that reads them.

images (B, C, H, W) -> maps: a list of (B, channels[i], H / strides[i], W / strides[i]), finest first
                    -> head(maps): raw outputs, (B, K) for the family's own classifier
"""

from __future__ import annotations

from torch import Tensor, nn


class Head(nn.Sequential):
    """Layers that read the coarsest map only."""

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

    def maps(self, images: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def fit(self, images: Tensor) -> None:
        """Before training: measure what is not learnt by descent, on normalised training images (N, C, H, W)."""

    def default_head(self, classes: int) -> nn.Module:
        """The family's own classifier: takes the list of maps, returns (B, classes)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.maps(images))
