"""The weight map of U-Net against a slow loop over all pixels and cells."""

import numpy as np
import pytest

from hubel.ops.border_weights import border_weights, cells_of


def slow(cells, w0, sigma):
    weights = np.zeros(cells.shape)
    places = [np.argwhere(cells == number) for number in np.unique(cells) if number]
    for y, x in np.ndindex(cells.shape):
        distances = sorted(np.hypot(*(one - (y, x)).T).min() for one in places)
        if cells[y, x] == 0 and len(distances) > 1:
            weights[y, x] = w0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))
    return weights


@pytest.mark.parametrize(("w0", "sigma"), [(10.0, 5.0), (3.0, 1.2)])
@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_slow_loop(seed, w0, sigma):
    rng = np.random.default_rng(seed)
    cells = np.zeros((40, 31), np.int32)
    for number in range(1, 7):
        y, x = rng.integers(0, 34), rng.integers(0, 25)
        cells[y : y + rng.integers(2, 8), x : x + rng.integers(2, 8)] = number
    assert np.abs(border_weights(cells, w0, sigma) - slow(cells, w0, sigma)).max() < 1e-5 * w0


def test_a_border_of_one_pixel_between_two_cells():
    cells = np.ones((9, 9), np.int32)
    cells[:, 4], cells[:, 5:] = 0, 2
    weights = border_weights(cells, 10, 5)
    assert weights[:, 4] == pytest.approx(10 * np.exp(-4 / 50)) and (weights[:, :4] == 0).all()


def test_one_cell_alone_has_no_border():
    cells = np.zeros((9, 9), np.int32)
    assert not border_weights(cells).any()
    cells[2:4, 2:4] = 1
    assert not border_weights(cells).any()


def test_cells_are_connected_regions_of_one_class():
    labels = np.array([[1, 0, 1, 2], [0, 1, 1, 2], [255, 0, 0, 0], [1, 1, 0, 255]], np.uint8)
    cells = cells_of(labels, background=0)
    assert ((cells == 0) == np.isin(labels, (0, 255))).all()
    groups = [np.flatnonzero(cells.ravel() == k).tolist() for k in np.unique(cells) if k]
    assert sorted(groups) == [[0], [2, 5, 6], [3, 7], [12, 13]]
