"""A network and a batch that are as small as they can be, in fp64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hubel.models.base import Head, Network
from hubel.tasks.base import Task
from hubel.types import Batch


class Small(Network):
    """Two smooth layers with the task's head, on images of side × side; counts how often its body runs."""

    def __init__(self, task: Task, side: int = 6, width: int = 7):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(side * side, width), nn.Tanh())
        self.channels, self.strides, self.passes = (width,), (), 0
        self.head = task.head(self)
        self.double()

    def maps(self, images: Tensor) -> list[Tensor]:
        self.passes += 1
        return [self.body(images)]

    def default_head(self, classes: int) -> nn.Module:
        return Head(nn.Linear(*self.channels, classes))


def make_batch(images: Tensor, targets: Any, index: Tensor | None = None) -> Batch:
    """Images (B, C, H, W) that were neither moved nor resized, each of weight 1."""
    n, sizes = len(images), torch.tensor(images.shape[2:])
    index = torch.arange(n) if index is None else index
    return Batch(images, targets, index, torch.ones(n), sizes.expand(n, 2), torch.eye(3).expand(n, 3, 3))


def assert_same(a: Any, b: Any, where: str = "state") -> None:
    """Bit for bit, in nested dicts and lists of tensors and plain values; the time that it took may differ."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            if key not in ("seconds", "images_per_second", "wait_share"):
                assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}.{i}")
    elif torch.is_tensor(a):
        assert torch.equal(a, b), where
    else:
        assert a == b or (a != a and b != b), where
