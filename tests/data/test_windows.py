"""Prepared windows: the same bits as padding and mirroring each batch by itself."""

import itertools

import numpy as np
import pytest
import torch

from hubel.data import windows as module
from hubel.data.apply import apply_batch
from hubel.data.augment import Augment
from hubel.data.windows import Windows

N, H, W, SLOTS = 40, 7, 9, np.arange(300)


def images(channels: int = 3, kind: torch.dtype = torch.uint8) -> torch.Tensor:
    top = 256 if kind == torch.uint8 else 65_536
    return torch.randint(0, top, (N, H, W, channels), dtype=kind, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("shift", "flip", "border"),
    list(itertools.product((0, 1, 3), ("none", "random", "alternating"), ("zero", "mirror"))),
)
def test_the_same_bits_as_moving_each_batch(shift, flip, border):
    augment = Augment(shift=shift, flip=flip, border=border)
    rows = np.random.default_rng(1).integers(0, N, len(SLOTS))
    for channels, kind in ((1, torch.uint8), (3, torch.uint8), (3, torch.int32)):
        pixels = images(channels, kind)
        draws = augment.draw(5, 2, SLOTS, (H, W), (H, W), examples=rows)
        windows = Windows.of(pixels, augment)
        if not shift and flip == "none":
            assert windows is None
        else:
            got = windows.batch(rows, draws)
            assert got.dtype == kind
            assert torch.equal(got, apply_batch(pixels[torch.from_numpy(rows)], draws))


def test_none_for_crops_and_where_memory_is_short(monkeypatch):
    assert Windows.of(images(), Augment(shift=2, crop=(0.5, 1.0))) is None
    needed = 2 * N * (H + 4) * (W + 4) * 3
    augment = Augment(shift=2, flip="random")
    monkeypatch.setattr(module, "free_memory", lambda device: needed / module.SHARE - 1)
    assert Windows.of(images(), augment) is None
    monkeypatch.setattr(module, "free_memory", lambda device: needed / module.SHARE + 1)
    assert Windows.of(images(), augment).padded.nbytes == needed


def test_draws_of_another_augmentation_are_refused():
    windows, rows = Windows.of(images(), Augment(shift=1)), np.zeros(len(SLOTS), dtype=np.int64)
    for other in (Augment(shift=2), Augment(flip="random")):
        with pytest.raises(ValueError, match="margins"):
            windows.batch(rows, other.draw(0, 0, SLOTS, (H, W), (H, W)))
