"""A user's torch dataset as ours."""

import numpy as np
import pytest
import torch
from PIL import Image

from hubel.data.python import from_torch, to_array
from hubel.errors import UserError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 6, 3)).astype(np.uint8)
GREY = RGB[:, :, 0]


class Own(torch.utils.data.Dataset):
    classes = ("ant", "bee", "cat")

    def __init__(self, images, targets):
        self.images, self.targets = images, targets

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.targets[i]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(RGB), RGB),
        (Image.fromarray(GREY), GREY[..., None]),
        (RGB, RGB),
        (GREY, GREY[..., None]),
        (torch.from_numpy(RGB).permute(2, 0, 1), RGB),
        (torch.from_numpy(RGB).permute(2, 0, 1).float() / 255, RGB),
        (torch.from_numpy(GREY), GREY[..., None]),
        (RGB.astype(np.uint16) * 3, RGB.astype(np.uint16) * 3),
        (torch.from_numpy(GREY).double()[None] / 65535, GREY[..., None].astype(np.uint16)),
    ],
)
def test_kinds_of_images(image, expected):
    found = to_array(image)
    assert found.dtype == expected.dtype and np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("a.png", "got str"),
        (np.zeros((4, 4, 2), np.uint8), "C 1 or 3"),
        (torch.randn(3, 4, 4), "before normalisation"),
    ],
)
def test_what_is_no_image(image, message):
    with pytest.raises(UserError, match=message):
        to_array(image)


def test_labels_and_classes():
    found = from_torch(Own([RGB, GREY, GREY], [2, torch.tensor(0), np.int32(1)]), "bugs")
    assert (found.name, found.format, found.classes) == ("bugs", "python", ("ant", "bee", "cat"))
    assert found.annotations["label"].tolist() == [2, 0, 1]
    assert (found.images.channels, found.images.depth) == (3, 8)
    assert np.array_equal(found.images.read(1), np.repeat(GREY[..., None], 3, 2))
    assert found.images.sizes(2).tolist() == [[5, 6]] * 2
    assert found.hash() == from_torch(Own([RGB, GREY, GREY], [2, 0, 1]), "x").hash()
    assert found.hash() != from_torch(Own([RGB, RGB, RGB], [2, 0, 1]), "x").hash()


def test_other_targets_and_splits():
    plain = [(RGB, 0.5), (RGB, 1.5), (RGB, 2.5)]
    assert from_torch(plain).annotations["numbers"].tolist() == [[0.5], [1.5], [2.5]]
    rows = [(RGB, torch.tensor([1, 1, 0])), (RGB, torch.tensor([0, 0, 1]))]
    assert from_torch(rows).annotations["labels"].tolist() == [[1, 1, 0], [0, 0, 1]]
    parts = from_torch(Own([RGB] * 4, [0, 1, 2, 0]), splits={"train": [0, 1, 2], "test": [3]})
    assert parts.splits["test"].tolist() == [3]


def test_a_random_dataset_stays_random():
    class Random(Own):
        def __getitem__(self, i):
            return RNG.random((4, 4, 3)), 0 if i else 1

    found = from_torch(Random([0] * 4, None))
    assert not np.array_equal(found.images.read(0), found.images.read(0))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (iter([]), "map-style"),
        ([], "empty"),
        ([RGB, RGB], r"\[0\] is ndarray; expected \(image, target\)"),
        ([(RGB, 0), (RGB, [0, 1])], "different shapes"),
        ([(RGB, -1), (RGB, 0)], "-1 … 0"),
        (Own([RGB, RGB], [0, 3]), "names 3"),
    ],
)
def test_refusals(dataset, message):
    with pytest.raises(UserError, match=message):
        from_torch(dataset, "mine")
