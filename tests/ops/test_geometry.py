"""3×3 matrices move points and pixels where they say."""

import numpy as np
import pytest
import torch
from warps import turn, warp_loop

from hubel.errors import UserError
from hubel.ops import geometry as g


@pytest.mark.parametrize("border", g.BORDERS)
@pytest.mark.parametrize("matrix", [turn(0.3, 2.3, -1.6), turn(-0.2, 0, 1, 0.01), g.scaling(1.5, 0.8)])
def test_warp_batch_equals_the_loop(border, matrix):
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.uint8)
    got = g.warp_batch(torch.from_numpy(image)[None], matrix[None], (8, 10), border)
    assert got.dtype == torch.uint8
    loop = warp_loop(image, matrix, (8, 10), border)
    assert np.abs(got[0].numpy() - loop).max() <= 0.51  # rounding


def test_warp_batch_keeps_16_bits():
    image = np.random.default_rng(0).integers(0, 2**16, (6, 6, 1)).astype(np.int32)
    got = g.warp_batch(torch.from_numpy(image)[None], turn(0.1)[None], (6, 6), "edge")
    assert got.dtype == torch.int32
    assert np.abs(got[0].numpy() - warp_loop(image, turn(0.1), (6, 6), "edge")).max() <= 1


def test_each_image_has_its_own_matrix():
    images = torch.arange(2 * 4 * 4).view(2, 4, 4, 1).to(torch.uint8)
    matrices = np.stack([np.eye(3), g.translation(1, 2)])
    got = g.warp_batch(images, matrices, (4, 4))
    assert torch.equal(got[0], images[0])
    assert torch.equal(got[1, 2:, 1:], images[1, :2, :3])
    assert not got[1, :2].any() and not got[1, :, :1].any()


def test_compose_acts_from_first_to_last():
    """Move by (2, 0), then mirror in a width of 10: the point 1 goes to 3, then to 7."""
    matrix = g.compose(g.translation(2, 0), g.mirror(10))
    assert g.move_points(np.array([[1.0, 5.0]]), matrix).tolist() == [[7.0, 5.0]]
    other = g.compose(g.mirror(10), g.translation(2, 0))
    assert g.move_points(np.array([[1.0, 5.0]]), other).tolist() == [[11.0, 5.0]]


def test_points_through_perspective_and_batches():
    matrices = np.stack([turn(0.4, 1, 2, 0.02), g.resizing((10, 20), (5, 5))])
    points = np.array([[[1.0, 2.0], [3.0, 4.0]], [[20.0, 10.0], [0.0, 0.0]]])
    got = g.move_points(points, matrices)
    assert got.shape == (2, 2, 2)
    assert got[1].tolist() == [[5.0, 5.0], [0.0, 0.0]]
    x, y, w = matrices[0] @ [3.0, 4.0, 1.0]
    np.testing.assert_allclose(got[0, 1], [x / w, y / w])


def test_builders_take_arrays():
    assert g.translation(np.arange(4), 1).shape == (4, 3, 3)
    flips = g.mirror(8, np.array([True, False]))
    assert g.move_points(np.array([[3.0, 1.0]]), flips).tolist() == [[[5.0, 1.0]], [[3.0, 1.0]]]


def test_whole_pixels():
    matrices = np.stack([g.compose(g.translation(2, -3), g.mirror(8)), g.scaling(1, -1)])
    signs, offsets = g.whole_pixels(matrices)
    assert signs.tolist() == [[-1, 1], [1, -1]] and offsets.tolist() == [[6, -3], [0, 0]]
    for matrix in (g.translation(0.5, 0), g.scaling(2, 1), turn(1e-3), turn(0, perspective=1e-3), turn(np.pi / 2)):
        assert g.whole_pixels(np.stack([np.eye(3), matrix])) is None


@pytest.mark.parametrize("border", g.BORDERS)
def test_border_index_equals_a_loop(border):
    row = np.arange(1, 5)
    modes = {"zero": "constant", "mirror": "symmetric", "edge": "edge"}
    index = g.border_index(np.arange(-10, 14), 4, border)
    got = np.where(index < 0, 0, row[index])
    np.testing.assert_array_equal(got, np.pad(row, 10, mode=modes[border]))


def test_unknown_border():
    with pytest.raises(UserError, match="did you mean 'mirror'"):
        g.warp_batch(torch.zeros(1, 2, 2, 1), np.eye(3)[None], (2, 2), "miror")
