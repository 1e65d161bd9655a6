"""Backgrounds: which and how much is drawn per slot, and the blend is the one that the formula says."""

import cv2
import numpy as np
import pytest
import torch

from hubel.data.augment import Augment
from hubel.data.backgrounds import Backgrounds
from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.data.loader import Loader
from hubel.data.mixing import Mixing
from hubel.data.preprocess import Preprocess
from hubel.errors import UserError

PLAIN = Preprocess((12, 14), 3, (0.4,), (0.25,), "stretch")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(5):
        cv2.imwrite(str(tmp_path / f"{k}.png"), rng.integers(0, 256, (30, 40, 3)).astype(np.uint8))
    (tmp_path / "bad.png").write_bytes(b"\x89PNG nothing")
    return tmp_path


def test_blending_equals_the_loop(folder):
    found = Backgrounds.load(str(folder), 0.6, PLAIN, torch.device("cpu"))
    assert found.images.shape == (5, 3, 12, 14)
    images, slots = torch.rand(64, 3, 12, 14), np.arange(100, 164)
    which, share = found.draw(1, 2, slots)
    blended = found.apply(images, 1, 2, slots)
    for i in range(64):
        loop = (1 - share[i]) * images[i] + share[i] * found.images[which[i]]
        torch.testing.assert_close(blended[i], loop.float())
    assert (share == 0).mean() == pytest.approx(0.5, abs=0.2) and 0.4 < share.max() <= 0.6
    assert set(which) == set(range(5))
    np.testing.assert_array_equal(found.draw(1, 2, slots[10:20])[1], share[10:20])


@pytest.mark.parametrize(("channels", "depth"), [(1, 8), (3, 8), (1, 16)])
def test_noise(channels, depth):
    found = Backgrounds.load("noise", 0.5, Preprocess((30, 50), channels, depth=depth), torch.device("cpu"))
    assert found.images.shape == (64, channels, 30, 50)
    assert found.images.mean() == pytest.approx(0.5, abs=0.01) and 0.15 < found.images.std() < 0.22
    grain = found.images[3::4]  # of 8 pixels
    assert torch.equal(grain[:, :, :24:8, :48:8], grain[:, :, 7:24:8, 7:48:8])


def test_nothing_to_blend_with(tmp_path):
    for path, word in ((tmp_path / "gone", "no folder"), (tmp_path, "no picture")):
        with pytest.raises(UserError, match=word):
            Backgrounds.load(str(path), 0.5, PLAIN, torch.device("cpu"))


@pytest.mark.parametrize("path", ["resident", "decoded"])
def test_the_loader_blends(folder, path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 12, 14, 3)).astype(np.uint8)
    data = Dataset("small", ArrayImages(pixels), {"label": np.zeros(16, np.int64)}, ("a",))
    augment = Augment(mixing=Mixing(blend=0.6, backgrounds=str(folder)))
    order = np.arange(16)

    def seen(augment):
        with Loader(data, lambda i: data.take("label", i), PLAIN, augment=augment, seed=3, path=path) as loader:
            return list(loader.batches(order, 1, 8))

    found = Backgrounds.load(str(folder), 0.6, PLAIN, torch.device("cpu"))
    for k, (blended, plain) in enumerate(zip(seen(augment), seen(Augment()), strict=True)):
        assert blended.mix is None
        torch.testing.assert_close(blended.images, found.apply(plain.images, 3, 1, order[8 * k : 8 * k + 8]))
    for wrong in ({"blend": 2, "backgrounds": "noise"}, {"blend": 0.5}):
        with pytest.raises(UserError):
            Mixing(**wrong)
