"""Boxes: their forms, areas and overlaps, and losses of overlap.

    IoU = |A ∩ B| / |A ∪ B|                                   Jaccard 1912
    GIoU = IoU − |C \\ (A ∪ B)| / |C|,  C the box around both  arXiv:1902.09630
    DIoU = IoU − d² / c²,  d between centres, c across C       arXiv:1911.08287

A box is (x0, y0, x1, y1), its left, upper, right and lower edge, (0, 0) the image's top left corner; an inverted one
has no area. Functions of two boxes broadcast (..., 4) against (..., 4). Any unit; fp32 or fp64.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-12  # in place of an area or a length of 0


def to_centre(boxes: Tensor) -> Tensor:
    """(..., 4) edges x0, y0, x1, y1 -> centre and sides cx, cy, w, h."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def to_edges(boxes: Tensor) -> Tensor:
    """(..., 4) centre and sides cx, cy, w, h -> edges x0, y0, x1, y1."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Cut at the edges of images of `sizes` (..., 2) height and width."""
    high = sizes.to(boxes).flip(-1)
    return boxes.clamp(min=0).minimum(torch.cat([high, high], -1))


def move(boxes: Tensor, matrices: Tensor) -> Tensor:
    """The upright boxes around the four moved corners: (..., 4) by (..., 3, 3), see ops/geometry.py.

    Exact where rectangles stay rectangles (mirrors, resizes, shifts, quarter turns).
    """
    x, y = boxes[..., [0, 2, 2, 0]], boxes[..., [1, 1, 3, 3]]
    corners = torch.stack([x, y, torch.ones_like(x)], -1)  # (..., 4, 3)
    moved = (matrices.to(boxes)[..., None, :, :] * corners[..., None, :]).sum(-1)  # a matrix product may run in bf16
    points = moved[..., :2] / moved[..., 2:]
    return torch.cat([points.amin(-2), points.amax(-2)], -1)


def area(boxes: Tensor) -> Tensor:
    """(..., 4) -> (...)."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """(..., 4), (..., 4) -> (...) in [0, 1], box by box; 0 where both have no area."""
    return _overlap(a, b)[0]


def iou_matrix(a: Tensor, b: Tensor) -> Tensor:
    """(N, 4), (M, 4) -> (N, M): each of the one against each of the other."""
    return iou(a[:, None], b[None])


def giou(a: Tensor, b: Tensor) -> Tensor:
    """(..., 4), (..., 4) -> (...) in [−1, 1]: below 0 the farther apart two boxes are, where IoU is flat."""
    found, union = _overlap(a, b)
    around = area(_around(a, b))
    return found - (around - union) / around.clamp(min=TINY)


def diou(a: Tensor, b: Tensor) -> Tensor:
    """(..., 4), (..., 4) -> (...) in [−1, 1]: as GIoU, but it pulls the centres together."""
    apart = (to_centre(a) - to_centre(b))[..., :2].square().sum(-1)
    around = to_centre(_around(a, b))[..., 2:].square().sum(-1)
    return iou(a, b) - apart / around.clamp(min=TINY)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and the area of the union."""
    low, high = a[..., :2].maximum(b[..., :2]), a[..., 2:].minimum(b[..., 2:])
    common = (high - low).clamp(min=0).prod(-1)
    union = area(a) + area(b) - common
    return common / union.clamp(min=TINY), union


def _around(a: Tensor, b: Tensor) -> Tensor:
    """The smallest box that holds both."""
    return torch.cat([a[..., :2].minimum(b[..., :2]), a[..., 2:].maximum(b[..., 2:])], -1)


def inverse(matrices: Tensor) -> Tensor:
    """(..., 3, 3) -> what takes points back, up to a factor that homogeneous coordinates don't feel: the adjugate."""
    a, b, c = matrices.unbind(-2)
    return torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], -1)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """a × b in plain products: ONNX has no operator for it, nor for an inverse."""
    return a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]]
