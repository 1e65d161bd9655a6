"""The limit: the tightest loop by hand with hubel's settings, and nothing beside the training: no metrics, no bar."""

from __future__ import annotations

import contextlib
import ctypes

import numpy as np
import torch
from torch.nn import functional as F
from turns import Turns
from work import MOMENTUM, RATE, Work


def limit(work: Work, turns: Turns) -> None:
    """The tightest loop: images resident as padded bytes, mirrored ones beside them, so that a batch is one gather."""
    from hubel.training.auto_machine import native_bf16

    keep_memory()
    bf16, _ = native_bf16(work.device)
    network = work.module().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM, fused=True)
    windows = Windows(work)
    labels = torch.from_numpy(work.labels).to(work.device)
    device, count = work.device.partition(":")[0], len(work.labels)
    while True:
        turns.begin()
        order = np.random.permutation(count)
        targets = labels[torch.from_numpy(order).to(work.device)]
        for low in range(0, count, work.batch):
            images = windows.batch(order[low : low + work.batch])
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                logits = network(images)
            loss = F.cross_entropy(logits.float(), targets[low : low + work.batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        turns.end(count)


def keep_memory() -> None:
    """glibc gives freed blocks back to the system at each step and faults them in again: a third of the time."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        library.mallopt(-4, 0)  # M_MMAP_MAX: none but from the heap


class Windows:
    """Random shifts and mirrors by the cheapest means: a window into the padded image or into its mirror image."""

    def __init__(self, work: Work):
        s, (self.channels, self.height, self.width) = work.shift, work.shape
        both = np.concatenate([work.images, work.images[:, :, ::-1]])
        padded = np.pad(both, ((0, 0), (s, s), (s, s), (0, 0)), mode="reflect")  # (2N, H + 2s, W + 2s, C)
        self.count, self.moves, self.device = len(work.images), 2 * s + 1, work.device
        mean, std = (np.tile(v, self.width) for v in work.statistics())
        self.scale = torch.from_numpy(1 / (255 * std)).to(self.device)
        self.shift = torch.from_numpy(-mean / std).to(self.device)
        self.padded = padded
        (image, row, pixel), places = padded.strides[:3], (2 * self.count, self.moves, self.moves)
        if self.device == "cpu":  # a row of a window is one item
            item = np.dtype((np.void, self.width * self.channels))
            first = padded.reshape(-1)[: self.width * self.channels].view(item)
            self.view = np.lib.stride_tricks.as_strided(first, (*places, self.height), (image, row, pixel, row))
        else:
            shape = (*places, self.height, self.width * self.channels)
            self.view = torch.from_numpy(padded).to(self.device).as_strided(shape, (image, row, pixel, row, 1))

    def batch(self, rows: np.ndarray) -> torch.Tensor:
        """(B,) -> (B, C, H, W) float32, channels_last."""
        rows = rows + self.count * np.random.randint(0, 2, len(rows))
        y, x = np.random.randint(0, self.moves, (2, len(rows)))
        if self.device == "cpu":
            pixels = torch.from_numpy(self.view[rows, y, x].view(np.uint8))
        else:
            pixels = self.view[tuple(torch.from_numpy(i).to(self.device) for i in (rows, y, x))]
        values = pixels.reshape(len(rows), self.height, -1).float().mul_(self.scale).add_(self.shift)
        return values.view(len(rows), self.height, self.width, self.channels).permute(0, 3, 1, 2)
