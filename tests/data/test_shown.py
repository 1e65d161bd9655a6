"""What the network sees of an image that has other proportions, counted pixel by pixel."""

import numpy as np
import pytest

from hubel.data.preprocess import Preprocess


def counted(preprocess, height, width):
    """(share of the source that no target pixel's centre is near, share of target pixels that show nothing)."""
    matrix = preprocess.matrix(height, width)
    y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    tx, ty = matrix[0, 0] * x + matrix[0, 2], matrix[1, 1] * y + matrix[1, 2]
    h, w = preprocess.size
    cut = 1 - ((tx >= 0) & (tx <= w) & (ty >= 0) & (ty <= h)).mean()
    v, u = np.meshgrid(np.arange(h) + 0.5, np.arange(w) + 0.5, indexing="ij")
    sx, sy = (u - matrix[0, 2]) / matrix[0, 0], (v - matrix[1, 2]) / matrix[1, 1]
    return cut, 1 - ((sx >= 0) & (sx <= width) & (sy >= 0) & (sy <= height)).mean()


@pytest.mark.parametrize("policy", ["crop", "letterbox", "stretch", "none"])
@pytest.mark.parametrize("source", [(100, 400), (400, 100), (64, 64), (50, 60), (300, 301)])
def test_shares(policy, source):
    preprocess = Preprocess((64, 64), 3, policy=policy)
    shown = preprocess.shown(*source)
    cut, bars = counted(preprocess, *source)
    assert shown.cut_off == pytest.approx(cut, abs=0.01) and shown.bars == pytest.approx(bars, abs=0.02)
    assert (shown.source, shown.size) == (source, (64, 64))


@pytest.mark.parametrize(
    ("policy", "source", "words"),
    [
        ("crop", (400, 1600), "1600 x 400 pixels: 75 % is cut off, left and right"),
        ("crop", (1600, 400), "400 x 1600 pixels: 75 % is cut off, above and below"),
        ("letterbox", (400, 1600), "1600 x 400 pixels: 75 % of what the network sees is black bars, above and below"),
        ("stretch", (400, 1600), "1600 x 400 pixels: it is stretched, 4 times higher than it was"),
        ("stretch", (900, 300), "300 x 900 pixels: it is stretched, 3 times wider than it was"),
        ("crop", (64, 64), "64 x 64 pixels: the whole picture is seen"),
        ("crop", (640, 640), "640 x 640 pixels: the whole picture is seen"),
    ],
)
def test_words(policy, source, words):
    shown = Preprocess((64, 64), 3, policy=policy).shown(*source)
    assert shown.words() == words
    assert shown.notable == ("whole" not in words)
