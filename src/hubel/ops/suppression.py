"""Non-maximum suppression: of boxes that overlap, the one with the highest score stays.

Greedy: the best box is kept, every other one whose IoU with it is above `most` falls away, and so on with what is left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hubel.ops.boxes import iou


def suppress(boxes: Tensor, scores: Tensor, most: float = 0.5, labels: Tensor | None = None) -> Tensor:
    """The positions that are kept, (n,) int64, by falling score; of equal scores the first box wins.

    `boxes` (N, 4) x0, y0, x1, y1, `scores` (N,); `labels` (N,): boxes of different classes leave each other alone.
    """
    rest = scores.argsort(descending=True, stable=True)
    kept: list[Tensor] = []
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(best)
        near = iou(boxes[best], boxes[rest]) > most
        rest = rest[~near] if labels is None else rest[~(near & (labels[rest] == labels[best]))]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.int64, device=boxes.device)
