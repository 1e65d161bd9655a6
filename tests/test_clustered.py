"""Clustering as a baseline for masks: what it must find, its bound, and the command."""

import json

import numpy as np
import pytest

from hubel import cli
from hubel.baselines.clustered import SMALLEST, descriptions, histogram, named, pixel_baseline, regions_of
from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.errors import UserError
from hubel.ops.clustering import kmeans

CLASSES = ("grass", "water", "sand")
COLOURS = np.array([[40, 130, 40], [30, 60, 180], [220, 200, 120]])


class Given:
    """A column of masks from Python."""

    classes = CLASSES

    def __init__(self, masks):
        self.masks = masks

    def __len__(self):
        return len(self.masks)

    def read(self, i):
        return self.masks[i]

    def take(self, index):
        return Given(self.masks[index])

    def digest(self):
        return self.masks.tobytes()


def fields(count=20, side=32, seed=0):
    """Patches of three colours, a strip of unlabelled pixels in each."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, 3, (count, 2, 2)).repeat(side // 2, 1).repeat(side // 2, 2).astype(np.uint8)
    images = COLOURS[masks] + rng.normal(0, 6, (count, side, side, 3))
    masks[:, :3] = 255
    splits = {"train": np.arange(10), "dev": np.arange(10, 15), "test": np.arange(15, count)}
    return Dataset("fields", ArrayImages(images.clip(0, 255).astype(np.uint8)), {"mask": Given(masks)}, CLASSES, splits)


def test_classes_that_differ_in_colour_are_found():
    found = pixel_baseline(fields())
    assert found.metrics["test"]["miou"] > 0.97 and found.best_match["test"]["miou"] > 0.97
    assert found.images == 10 and set(found.metrics) == {"train", "dev", "test"}
    assert set(found.metrics["test"]) == {"miou", "pixel_accuracy", *(f"iou.{name}" for name in CLASSES)}


def test_names_are_those_of_most_training_pixels_and_the_bound_is_never_below():
    image = fields().images.read(0).astype(np.float32) / 255
    truth = fields().annotations["mask"].read(0)
    regions = regions_of(image, kmeans)
    counts = histogram(regions, truth, 3)
    for k in range(regions.max() + 1):
        expected = [((regions == k) & (truth == c)).sum() for c in range(3)]
        assert counts[k].tolist() == expected
    described, votes = descriptions(image, regions), np.random.default_rng(0).integers(0, 9, (40, 3))
    known = np.random.default_rng(1).standard_normal((40, described.shape[1])).astype(np.float32)
    for row, answer in zip(described, named(described, known, votes), strict=True):
        alike = np.argsort(((known - row) ** 2).sum(1))[:5]
        assert answer == votes[alike].sum(0).argmax()
    scores = pixel_baseline(fields(seed=4), images=2)
    assert all(
        scores.best_match[part]["pixel_accuracy"] >= scores.metrics[part]["pixel_accuracy"] for part in scores.metrics
    )


def test_small_regions_join_what_is_beside_them():
    image = np.zeros((20, 30, 3), np.float32)
    image[:, 15:] = 1
    image[5, 5] = 1
    regions = regions_of(image, kmeans)
    assert np.bincount(regions.ravel()).min() >= SMALLEST and regions[5, 5] == regions[0, 0] != regions[0, 29]


def test_large_images_are_cut_on_a_smaller_one(monkeypatch):
    monkeypatch.setattr("hubel.baselines.clustered.LARGEST", 16)
    image = fields().images.read(0).astype(np.float32) / 255
    regions = regions_of(image, kmeans)
    assert regions.shape == (32, 32)
    assert np.array_equal(np.unique(regions), np.arange(regions.max() + 1))


def test_the_command_takes_masks_by_itself(capsys):
    words = ["baseline", "shapes:kind=segmentation,count=12,size=24", "--json"]
    assert cli.main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["method"] == "kmeans" and 0 < found["metrics"]["test"]["miou"] <= found["best_match"]["test"]["miou"]
    assert cli.main([*words, "--method", "kmean"]) == 2
    assert "did you mean 'kmeans'" in capsys.readouterr().err
    assert cli.main([*words, "--features", "hog"]) == 2
    assert cli.main(["baseline", "digits", "--method", "graph"]) == 2


def test_data_without_masks_is_refused():
    with pytest.raises(UserError, match="has no masks"):
        pixel_baseline("digits")
