"""A head for J points: every place of the last map votes for each of them. arXiv:1711.08229, with offsets.

    joint_j = Σ_p softmax_p(s_j) · (x_p + o_j(p))       x_p the place's own centre, o_j(p) in fractions of the image

A dense layer after global pooling has forgotten where things are; a vote says how far a joint is from its place (o)
and how much the place knows of it (s), so the answer moves with the object. Each place is told the mean of the map.

maps: (B, F, h, w) the last -> (B, 2·J) x and y of each joint, fractions of the image's width and height.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 128  # channels of the hidden layer


class JointVotes(nn.Module):
    """Reads maps whose last has `channels`; gives 2·`joints` numbers."""

    reads = (-1,)

    def __init__(self, channels: int, joints: int):
        super().__init__()
        self.joints = joints
        self.near = nn.Conv2d(channels, WIDTH, 3, padding=1)
        self.whole = nn.Linear(channels, WIDTH)
        self.votes = nn.Conv2d(WIDTH, 3 * joints, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        hidden = F.relu(self.near(x) + self.whole(x.mean((2, 3)))[:, :, None, None])
        votes = self.votes(hidden).float().flatten(2).unflatten(1, (3, self.joints))  # (B, 3, J, h·w)
        share, offsets = votes[:, :1].softmax(-1), votes[:, 1:]
        return (share * (centres(x)[:, None] + offsets)).sum(-1).transpose(1, 2).flatten(1)


def centres(x: Tensor) -> Tensor:
    """(2, h·w): x and y of the places of a map (B, F, h, w), fractions of its sides."""
    h, w = x.shape[2:]
    rows, columns = ((torch.arange(n, device=x.device) + 0.5) / n for n in (h, w))
    return torch.stack([columns.repeat(h), rows.repeat_interleave(w)])
