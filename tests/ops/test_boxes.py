"""Overlaps of boxes against a count of pixels, torchvision and gradients by differences."""

import numpy as np
import pytest
import torch
from parity import peers
from torch.autograd import gradcheck

from hubel.ops import boxes as B
from hubel.ops import geometry


def some(*shape, whole=False):
    """Boxes with area, many of which overlap."""
    draws = torch.Generator().manual_seed(sum(shape))
    low = torch.rand(*shape, 2, generator=draws, dtype=torch.float64) * 12
    high = low + 1 + torch.rand(*shape, 2, generator=draws, dtype=torch.float64) * 8
    found = torch.cat([low, high], -1)
    return found.round() if whole else found


def painted(box):
    """(24, 24) bool: the pixels of a box with whole edges."""
    x0, y0, x1, y1 = (int(v) for v in box)
    found = np.zeros((24, 24), bool)
    found[y0:y1, x0:x1] = True
    return found


def test_iou_counts_pixels():
    a, b = some(7, whole=True), some(5, whole=True)
    found = B.iou_matrix(a, b)
    for i in range(7):
        for j in range(5):
            one, other = painted(a[i]), painted(b[j])
            assert float(found[i, j]) == pytest.approx((one & other).sum() / (one | other).sum())
    assert ((found > 0) & (found < 1)).any() and (found == 0).any()
    torch.testing.assert_close(B.iou(a[:5], b), found[:5].diagonal())


def test_known_boxes():
    a = torch.tensor([0.0, 0.0, 2.0, 2.0])
    beside = torch.tensor([4.0, 0.0, 6.0, 2.0])  # around both: 6 x 2, of which 8 are covered; centres 4 apart
    assert float(B.iou(a, a)) == float(B.giou(a, a)) == float(B.diou(a, a)) == 1
    assert float(B.iou(a, beside)) == 0
    assert float(B.giou(a, beside)) == pytest.approx(-4 / 12)
    assert float(B.diou(a, beside)) == pytest.approx(-16 / 40)
    assert float(B.iou(a, torch.tensor([1.0, 0.0, 3.0, 2.0]))) == pytest.approx(2 / 6)
    inverted, point = torch.tensor([2.0, 2.0, 0.0, 0.0]), torch.zeros(4)
    assert float(B.area(inverted)) == 0 and float(B.iou(a, inverted)) == 0 and float(B.iou(point, point)) == 0


def test_equal_to_torchvision():
    peers.torchvision()
    from torchvision import ops

    a, b = some(9), some(4)
    torch.testing.assert_close(B.iou_matrix(a, b), ops.box_iou(a, b))
    torch.testing.assert_close(B.giou(a[:, None], b), ops.generalized_box_iou(a, b))
    torch.testing.assert_close(B.diou(a[:, None], b), ops.distance_box_iou(a, b), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(B.to_centre(a), ops.box_convert(a, "xyxy", "cxcywh"))


def test_forms_are_inverse_and_clip_cuts_each_image_at_its_own_edge():
    a = some(6)
    torch.testing.assert_close(B.to_edges(B.to_centre(a)), a)
    sizes = torch.tensor([[10, 5], [4, 30]])  # height, width
    found = B.clip(torch.tensor([[-1.0, -2.0, 7.0, 12.0], [3.0, 1.0, 31.0, 2.0]]), sizes)
    assert found.tolist() == [[0, 0, 5, 10], [3, 1, 30, 2]]
    assert B.clip(torch.tensor([-1.0, 0.0, 9.0, 9.0]), torch.tensor([6, 8])).tolist() == [0, 0, 8, 6]


@pytest.mark.parametrize("overlap", [B.iou, B.giou, B.diou])
def test_gradients(overlap):
    a, b = some(5).requires_grad_(), some(5).flip(0).requires_grad_()
    assert gradcheck(overlap, (a, b))


def test_boxes_apart_are_pulled_together_by_giou_and_diou_but_not_by_iou():
    box, target = torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([6.0, 0.0, 8.0, 2.0])
    for overlap, pulls in ((B.iou, False), (B.giou, True), (B.diou, True)):
        moving = box.clone().requires_grad_()
        overlap(moving, target).backward()
        assert bool(moving.grad[2] > 0) is pulls  # the right edge, towards the target


def test_a_box_moves_with_its_image():
    matrices = torch.from_numpy(
        np.stack([geometry.mirror(10), geometry.scaling(2, 0.5), geometry.translation(3, -1), np.eye(3)])
    )
    found = B.move(torch.tensor([[1.0, 2.0, 4.0, 8.0]]).expand(4, 4), matrices)
    assert found.tolist() == [[6, 2, 9, 8], [2, 1, 8, 4], [4, 1, 7, 7], [1, 2, 4, 8]]
    quarter = torch.tensor([[0.0, -1.0, 10.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # x' = 10 − y, y' = x
    assert B.move(torch.tensor([1.0, 2.0, 4.0, 8.0]), quarter).tolist() == [2, 1, 8, 4]
    half = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])  # the division by w
    assert B.move(torch.tensor([2.0, 2.0, 4.0, 8.0]), half).tolist() == [1, 1, 2, 4]
