"""Drawn tissue: thin borders that keep every two cells apart, the same image whatever the count, any size."""

import pickle

import cv2
import numpy as np
import pytest

from hubel.data.membranes import Tissue, _nearest, membranes
from hubel.errors import UserError
from hubel.parts import load_dataset


def test_image_and_mask_are_the_same_whatever_the_count():
    few, many = membranes(2, "40x56", seed=3), membranes(9, (40, 56), seed=3)
    assert few.images.read(1).shape == (40, 56, 1)
    assert np.array_equal(few.images.read(1), many.images.read(1))
    assert np.array_equal(few.annotations["mask"].read(1), many.annotations["mask"].read(1))
    other = membranes(2, "40x56", seed=4)
    assert not np.array_equal(few.images.read(1), other.images.read(1))
    assert few.images.digest() != other.images.digest() and few.hash() != other.hash()


def test_borders_keep_all_cells_apart():
    tissue = Tissue(seed=1, height=96, width=120, cell=16, thickness=2)
    for i in range(4):
        owner, labels = tissue.cells(i).owner, tissue.labels(i)
        count, regions = cv2.connectedComponents(labels.astype(np.uint8), connectivity=4)
        assert count > 20
        for k in range(1, count):
            assert len(np.unique(owner[regions == k])) == 1


def test_owner_and_distance_equal_a_search_over_all_centres():
    rng, step = np.random.default_rng(0), 10.0
    centres = (np.moveaxis(np.mgrid[:12, :11], 0, -1) + rng.uniform(0.1, 0.9, (12, 11, 2)) - 3) * step
    place = rng.uniform(0, (55, 45), (30, 40, 2))
    found = _nearest(place, np.floor(place / step).astype(int) + 3, centres, np.zeros(132, bool))
    flat = centres.reshape(-1, 2)
    for y, x in np.ndindex(30, 40):
        squares = np.square(flat - place[y, x]).sum(1)
        owner = squares.argmin()
        lines = (squares - squares[owner]) / np.maximum(2 * np.hypot(*(flat - flat[owner]).T), 1e-9)
        lines[owner] = np.inf
        assert found.owner[y, x] == owner
        assert found.distance[y, x] == pytest.approx(lines.min(), abs=1e-3)
        assert lines[found.other[y, x]] == pytest.approx(lines.min(), abs=1e-3)


@pytest.mark.parametrize(("thickness", "low", "high"), [(1, 0.8, 2.2), (4, 3.2, 5.0)])
def test_borders_are_as_thin_as_asked(thickness, low, high):
    """Area of the borders over the length of the lines in their middle."""
    tissue = Tissue(seed=1, height=200, width=200, cell=40, thickness=thickness)
    cells = tissue.cells(0)
    border = (cells.distance <= thickness / 2) & ~cells.missing[cells.owner]
    lines = (cells.owner[:, 1:] != cells.owner[:, :-1]).sum() + (cells.owner[1:] != cells.owner[:-1]).sum()
    assert low < border.sum() / (lines * np.pi / 4) < high


def test_borders_are_darker_than_cells_and_some_hardly_so():
    data = membranes(3, 128)
    images = np.stack([data.images.read(i)[..., 0] for i in range(3)]).astype(float)
    masks = np.stack([data.annotations["mask"].read(i) for i in range(3)])
    assert images[masks == 1].mean() > images[masks == 0].mean() + 10
    assert 0.6 < (masks == 1).mean() < 0.9


def test_parts_classes_and_words():
    data = load_dataset("membranes:count=10,size=32x48,cell=12")
    assert data.classes == ("border", "cell") and data.annotations["mask"].classes == data.classes
    assert {name: part.tolist() for name, part in data.splits.items()} == {
        "train": [0, 1, 2, 5, 6, 7], "dev": [3, 8], "test": [4, 9],
    }  # fmt: skip
    again = pickle.loads(pickle.dumps(data.images))
    assert np.array_equal(again.read(7), data.images.read(7)) and data.images.read(7).shape == (32, 48, 1)


def test_numbers_out_of_range_are_named():
    for options in ({"size": 8}, {"size": "12 by 3"}, {"cell": 4}, {"thickness": 20}, {"count": 0}):
        with pytest.raises(UserError, match="membranes"):
            membranes(**options)
