"""Joints as they are seen: in pixels of the sources, and of the views of them that a network is shown.

A view is its source moved by a 3×3 matrix; where that mirrors, a left joint is a right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from hubel.metrics.pose import Posed
from hubel.ops.boxes import inverse
from hubel.predictions import Predictions
from hubel.types import Batch


@dataclass(frozen=True)
class PosePredictions(Predictions):
    """Joints in pixels of the source images; of a training batch in its own pixels, where its targets are."""

    joints: Tensor  # (B, J, 2) fp32 x, y
    confidence: Tensor | None = None  # (B, J) fp32 in [0, 1]
    error: Tensor | None = None  # (B, J) the loss of each joint, NaN where it is not labelled; None: nobody knows

    places: ClassVar[tuple[str, ...]] = ("error",)

    @classmethod
    def mean(cls, views: Sequence[Self]) -> Self:
        """Of the joints, each by its confidence."""
        found = super().mean(views)
        shares = [one.confidence for one in views if one.confidence is not None]
        if len(shares) < len(views):
            return found
        share = torch.stack(shares)[..., None] + 1e-6  # all of them unsure: each counts the same
        joints = (torch.stack([one.joints for one in views]) * share).sum(0) / share.sum(0)
        return replace(found, joints=joints)


def in_view(truth: Posed, batch: Batch, swaps: Sequence[int]) -> Posed:
    """True joints of the sources as the batch's images show them, which may be views: mirrors, crops."""
    there, size = truth.joints[..., :2], truth.joints.new_tensor(batch.input_size[::-1])
    moved = move_points(there, batch.matrices)
    shown = ((moved >= 0) & (moved <= size)).all(-1)
    joints = torch.cat([moved, torch.where(shown, truth.joints[..., 2], 0)[..., None]], -1)
    joints = torch.where(mirrors(batch.matrices)[:, None, None], joints[:, list(swaps)], joints)
    return replace(truth, joints=joints)


def in_source(
    joints: Tensor, confidence: Tensor | None, matrices: Tensor, swaps: Sequence[int]
) -> tuple[Tensor, Tensor | None]:
    """Through the matrices' inverses; where they mirror, a left joint is a right one."""
    joints = move_points(joints, inverse(matrices))
    order = np.argsort(swaps).tolist()
    if order == list(range(len(order))):
        return joints, confidence
    turned = mirrors(matrices)
    joints = torch.where(turned[:, None, None], joints[:, order], joints)
    if confidence is not None:
        confidence = torch.where(turned[:, None], confidence[:, order], confidence)
    return joints, confidence


def move_points(points: Tensor, matrices: Tensor) -> Tensor:
    """(B, J, 2) by (B, 3, 3); no matrix product, which autocast would do in bfloat16."""
    ends = torch.cat([points, torch.ones_like(points[..., :1])], -1)
    moved = (ends[:, :, None] * matrices.to(points)[:, None]).sum(-1)
    return moved[..., :2] / moved[..., 2:]


def mirrors(matrices: Tensor) -> Tensor:
    """(B,) bool: which of these affine maps (B, 3, 3) exchange left and right."""
    return matrices[:, 0, 0] * matrices[:, 1, 1] - matrices[:, 0, 1] * matrices[:, 1, 0] < 0
