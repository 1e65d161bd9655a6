"""Tiles of a large image against the whole image: equal where no layer pads, near where layers do."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.data.preprocess import Preprocess
from hubel.data.regions import mirrored, regions
from hubel.errors import UserError
from hubel.models.base import Network
from hubel.prediction.tiling import Tiling, Voter, _answers, _Looking, labels, masks_of, plan, scale_of
from hubel.predictions import Predictions
from hubel.rebuild import Parts
from hubel.tasks.base import Task
from hubel.tasks.segmentation import Segmentation

CLASSES = ("sky", "sea", "land", "boat")


@dataclass(frozen=True)
class Maps(Predictions):
    probabilities: Tensor


@dataclass(frozen=True)
class Pixels(Task):
    """As small as a task of pixels can be."""

    classes: tuple[str, ...] = CLASSES
    name = "pixels"
    dense = True

    @property
    def width(self):
        return len(self.classes)

    def predict(self, network, batch, outputs=None):
        outputs = network(batch.images) if outputs is None else outputs
        size = [side - 2 * getattr(network, "margin", 0) for side in batch.images.shape[2:]]
        return Maps(F.interpolate(outputs, size, mode="bilinear", align_corners=False).softmax(1))


class Layers(Network):
    """Convolutions with `padding`, a pooling, and an enlargement: strides 2, and a margin where nothing is padded."""

    def __init__(self, padding: int, channels: int = 3):
        super().__init__()
        torch.manual_seed(0)
        self.channels, self.strides, self.margin = (8,), (2,), 0 if padding else 4
        self.first, self.second = nn.Conv2d(channels, 8, 3, padding=padding), nn.Conv2d(8, 8, 3, padding=padding)
        self.last = nn.Conv2d(8, len(CLASSES), 1)

    def forward(self, images):
        x = self.first(images).relu()
        x = self.second(F.max_pool2d(x, 2)).relu()
        x = self.last(F.interpolate(x, scale_factor=2.0))  # (B, K, H − 6, W − 6) without padding
        return x if self.margin == 0 else x[:, :, 1:-1, 1:-1]


def parts(padding=0, side=38, policy="none", channels=3, typical=None):
    network = Layers(padding, channels).eval()
    preprocess = Preprocess((side, side), channels, mean=(0.5,), std=(0.25,), policy=policy)
    return Parts(network, Pixels(), preprocess, torch.device("cpu"), CLASSES, "fp32", None, typical)


def photo(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


def looking(found, chosen):
    return _Looking(Voter(replace(found, preprocess=chosen.geometry)), chosen, getattr(found.network, "margin", 0))


def blended(found, image, chosen):
    """(K, H, W) probabilities, put together from the blocks."""
    from hubel.ops.tiles import joined

    out = torch.full((len(CLASSES), *chosen.grid.size), torch.nan)
    answers = _answers([looking(found, chosen)], image, 2)
    for y, x, block in joined(chosen.grid, answers):
        out[:, y : y + block.shape[1], x : x + block.shape[2]] = block
    return out


def whole(found, pixels, margin):
    """The network once over the whole image, mirrored at its edge."""
    (height, width), images = pixels.shape[:2], regions(pixels)
    high, wide = height + height % 2, width + width % 2  # poolings take even sides
    seen = mirrored(images, -margin, high + margin, -margin, wide + margin)
    with torch.no_grad():
        scores = found.network(found.preprocess.normalise(torch.from_numpy(seen[None])))
    return scores[0, :, :height, :width].softmax(0)


@pytest.mark.parametrize("join", ["blend", "cut"])
@pytest.mark.parametrize("overlap", [None, 0, 6, 15])
@pytest.mark.parametrize("size", [(100, 77), (20, 130), (38, 38), (9, 5)])
def test_without_padding_tiles_equal_the_whole_image(size, overlap, join):
    found, pixels = parts(), photo(*size)
    chosen = plan(found, size, Tiling(tile=38, overlap=overlap, join=join))
    assert (blended(found, regions(pixels), chosen) - whole(found, pixels, 4)).abs().max() < 1e-5


def test_a_margin_that_is_too_small_is_seen_by_the_test_above():
    found, pixels = parts(), photo(100, 77)
    found.network.margin = 3
    chosen = plan(found, (100, 77), Tiling(tile=38))
    with pytest.raises(UserError, match="tiles need"):
        list(_answers([looking(_ignoring(found), chosen)], regions(pixels), 1))


def _ignoring(found):
    """A task that answers with what the network gives, whatever its margin is said to be."""

    class Raw(Pixels):
        def predict(self, network, batch, outputs=None):
            return Maps(outputs.softmax(1))

    return replace(found, task=Raw())


def test_with_padding_the_middle_of_tiles_equals_the_whole_image():
    found, pixels = parts(padding=1), photo(96, 128)
    chosen = plan(found, (96, 128), Tiling(tile=32, overlap=16, join="cut"))
    assert (blended(found, regions(pixels), chosen) - whole(found, pixels, 0)).abs().max() < 1e-5
    near = plan(found, (96, 128), Tiling(tile=32, overlap=2, join="cut"))
    assert (blended(found, regions(pixels), near) - whole(found, pixels, 0)).abs().max() > 1e-3


def test_blending_comes_nearer_to_the_whole_image_than_tiles_side_by_side():
    found, pixels = parts(padding=1), photo(96, 128)
    truth = whole(found, pixels, 0)
    errors = []
    for overlap in (0, 8):
        chosen = plan(found, (96, 128), Tiling(tile=32, overlap=overlap))
        errors.append(float((blended(found, regions(pixels), chosen) - truth).square().mean()))
    assert errors[1] < errors[0] / 3


def test_bands_hold_the_most_probable_class_from_top_to_bottom():
    found, pixels = parts(), photo(100, 77)
    chosen, _, bands = masks_of([Voter(found)], regions(pixels), Tiling(tile=38), "eager")
    mask, last = np.full((100, 77), 255, np.uint8), 0
    for y, band in bands:
        assert y == last
        last, mask[y : y + len(band)] = y + len(band), band
    assert last == 100 and chosen.tiles == 12
    assert (mask == whole(found, pixels, 4).argmax(0).numpy()).all()


@pytest.mark.parametrize("side", [38, 44], ids=["tiles lie alike", "other tiles"])
def test_several_networks_are_averaged(side):
    pixels, one, other = photo(100, 77), parts(), parts(side=side)
    torch.manual_seed(1)
    for network in (one.network, other.network):
        torch.nn.init.normal_(network.last.weight, std=2.0)
        torch.nn.init.zeros_(network.last.bias)
    plans = [plan(one, (100, 77), Tiling(tile=38)), plan(other, (100, 77), Tiling(tile=side))]
    way, bands = labels([Voter(one), Voter(other)], regions(pixels), plans)
    mask, truths = np.concatenate([band for _, band in bands]), [whole(found, pixels, 4) for found in (one, other)]
    assert way.name == "eager" and (plans[0].grid == plans[1].grid) == (side == 38)
    assert (mask == (truths[0] + truths[1]).argmax(0).numpy()).mean() > 0.999
    assert all((mask == truth.argmax(0).numpy()).mean() < 0.95 for truth in truths)


def test_views_of_a_tile_with_a_margin_are_moved_back():
    found, pixels = replace(parts(), task=Segmentation(CLASSES)), photo(100, 77)
    chosen = plan(found, (100, 77), Tiling(tile=38))
    image = regions(pixels)
    looker = _Looking(Voter(replace(found, preprocess=chosen.geometry), "mirror"), chosen, 4)
    for window in (chosen.grid.window(0, 0), chosen.grid.window(1, 1)):
        seen = torch.from_numpy(mirrored(image, window.y0 - 4, window.y1 + 4, window.x0 - 4, window.x1 + 4)[None])
        with torch.no_grad():
            plain, flipped = (found.network(found.preprocess.normalise(s)).softmax(1) for s in (seen, seen.flip(2)))
        assert (looker.says(image, [window], 0) - (plain + flipped.flip(3)) / 2).abs().max() < 1e-5


@pytest.mark.parametrize("path", ["folded", "fused"])
def test_faster_ways_keep_the_margin(path):
    found, pixels = parts(), photo(60, 77)
    way, bands = labels([Voter(found)], regions(pixels), [plan(found, (60, 77), Tiling(tile=38))], path)
    assert way.name == path
    mask = np.concatenate([band for _, band in bands])
    assert (mask == whole(found, pixels, 4).argmax(0).numpy()).mean() > 0.99


def test_an_image_is_seen_at_the_scale_of_the_training():
    found = parts(padding=1, side=32, policy="crop", typical=(64, 128))
    assert scale_of(found, None) == (0.5, 0.5) and scale_of(found, 0.25) == (0.25, 0.25)
    chosen = plan(found, (640, 512), Tiling(tile=32))
    assert chosen.grid.side == (64, 64) and chosen.geometry.size == (32, 32)
    flat = np.full((640, 512, 3), 90, np.uint8)
    flat[:, 256:] = 200
    mask = np.concatenate([band for _, band in labels([Voter(found)], regions(flat), [chosen], "eager")[1]])
    small = np.full((320, 256, 3), 90, np.uint8)
    small[:, 128:] = 200
    expected = whole(found, small, 0).argmax(0).numpy().repeat(2, 0).repeat(2, 1)
    assert mask.shape == (640, 512) and (mask == expected).mean() > 0.97


def test_a_run_that_does_not_say_its_scale_asks_for_it():
    with pytest.raises(UserError, match="--scale 1"):
        plan(parts(padding=1, policy="crop"), (64, 64), Tiling())


def test_grey_and_colour_become_what_the_network_takes():
    found = parts(channels=1)
    _, bands = labels([Voter(found)], regions(photo(50, 50)), [plan(found, (50, 50), Tiling(tile=38))], "eager")
    assert np.concatenate([band for _, band in bands]).shape == (50, 50)


def test_numbers_out_of_range_are_named():
    for wrong, words in (({"tile": 0}, "'tile'"), ({"overlap": -1}, "'overlap'"), ({"scale": 0.0}, "'scale'")):
        with pytest.raises(UserError, match=words):
            Tiling(**wrong)
    with pytest.raises(UserError, match="more than 8"):
        plan(parts(), (64, 64), Tiling(tile=8))
    with pytest.raises(UserError, match="overlap"):
        plan(parts(), (640, 64), Tiling(tile=38, overlap=20))
