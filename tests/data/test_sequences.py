"""Frames of a video in two parts are told; numbered photos that don't follow each other are not."""

import numpy as np
import pytest

from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.data.looks import Looks
from hubel.data.quality import copy_findings


class Named(ArrayImages):
    def name(self, i: int) -> str:
        return f"frames/{'walk' if i < 30 else 'park'}_{7 * i:05d}.png"


def scenes(moving: bool) -> np.ndarray:
    """Sixty pictures of 32 × 32: a window that moves over two large scenes, or places anywhere in them."""
    draws = np.random.default_rng(0)
    large = [np.kron(draws.integers(0, 256, (30, 30)), np.ones((16, 16))).astype(np.uint8) for _ in range(2)]
    places = [3 * (i % 30) if moving else int(draws.integers(0, 400)) for i in range(60)]
    return np.stack([large[i // 30][at : at + 32, at : at + 32] for i, at in enumerate(places)])[..., None]


def findings(moving: bool, parts: dict[str, np.ndarray]) -> list:
    data = Dataset("frames", Named(scenes(moving)), {}, (), parts)
    return [one for one in copy_findings(data, Looks.of(data.images)) if one.kind == "sequence leak"]


SPREAD = {"train": np.r_[0:20, 30:60], "dev": np.arange(20, 30)}


def test_a_video_in_two_parts_is_told_once_with_the_frames_that_meet():
    (found,) = findings(True, SPREAD)
    assert "'walk…'" in found.reason and "20 in train, 10 in dev" in found.reason
    assert (found.other, found.image) == (19, 20) and "score on dev" in found.action


@pytest.mark.parametrize(
    ("moving", "parts"), [(False, SPREAD), (True, {"train": np.arange(30), "dev": np.arange(30, 60)}), (True, {})]
)
def test_photos_in_any_order_and_whole_videos_are_not(moving, parts):
    assert findings(moving, parts) == []
