"""What all competitors learn: the same images, network, batch size and optimiser (SGD with momentum)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from networks import NETWORKS
from torch import nn
from torch.utils import data

MOMENTUM, RATE = 0.9, 0.02


@dataclass(frozen=True)
class Work:
    """What is to be learnt: images (N, H, W, C) uint8, labels (N,) int64."""

    network: str
    images: np.ndarray
    labels: np.ndarray
    batch: int
    epochs: int
    device: str = "cpu"

    @property
    def shape(self) -> tuple[int, int, int]:
        height, width, channels = self.images.shape[1:]
        return channels, height, width

    @property
    def shift(self) -> int:  # hubel's rule: an eighth of the side; 2 pixels in the recipe for Fashion-MNIST
        return 2 if self.shape[1] < 32 else self.shape[1] // 8

    def module(self) -> nn.Module:
        torch.manual_seed(0)
        return NETWORKS[self.network](classes=10, input=self.shape).to(self.device)

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation per channel, in [0, 1], of a sample."""
        some = self.images[:2000].reshape(-1, self.shape[0]) / 255
        return some.mean(0).astype(np.float32), some.std(0).astype(np.float32)


class Items(data.Dataset):
    """One normalised image and its label at a time, as the tutorials write it."""

    def __init__(self, work: Work):
        self.images, self.labels = work.images, work.labels
        self.mean, self.std = (torch.from_numpy(v)[:, None, None] for v in work.statistics())

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image = torch.from_numpy(self.images[i]).permute(2, 0, 1)
        return (image.float() / 255 - self.mean) / self.std, int(self.labels[i])
