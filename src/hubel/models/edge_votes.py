"""A head for one box: every place of the last map votes for each of its four edges.

    edge_k = Σ_p softmax_p(s_k)·(x_p + o_k(p))    k: left, upper, right, lower; x_p the place's own centre

A place says how far an edge is from itself (o) and how much it knows of it (s). Unlike a dense layer after global
pooling it keeps places, and moves its answer with the object: the expectation over a heat map, arXiv:1711.08229, with
the offsets of a detector. Where an edge is depends on the whole object, which may be larger than what one place sees,
so each place is also told the mean of the map. Everything is a fraction of the image's width or height.

maps: (B, F, h, w) the last -> (B, 4) centre and sides bx, by, bw, bh; (B, 5) with z before them, the logit of whether
there is an object.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.ops.boxes import to_centre

WIDTH = 128  # channels of the hidden layer


class EdgeVotes(nn.Module):
    """Reads maps whose last has `channels`; `presence` adds the logit."""

    reads = (-1,)

    def __init__(self, channels: int, presence: bool = False):
        super().__init__()
        self.near = nn.Conv2d(channels, WIDTH, 3, padding=1)
        self.whole = nn.Linear(channels, WIDTH)
        self.votes = nn.Conv2d(WIDTH, 8, 1)
        self.presence = nn.Linear(WIDTH, 1) if presence else None

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        hidden = F.relu(self.near(x) + self.whole(x.mean((2, 3)))[:, :, None, None])
        scores, offsets = self.votes(hidden).float().flatten(2).split(4, 1)  # (B, 4, h·w) each
        edges = (scores.softmax(-1) * (centres(x) + offsets)).sum(-1)
        box = to_centre(edges)
        return box if self.presence is None else torch.cat([self.presence(hidden.amax((2, 3))).float(), box], 1)


def centres(x: Tensor) -> Tensor:
    """(4, h·w): where the places of a map (B, F, h, w) lie, as x, y, x, y."""
    h, w = x.shape[2:]
    rows, columns = ((torch.arange(n, device=x.device) + 0.5) / n for n in (h, w))
    xy = torch.stack([columns.repeat(h), rows.repeat_interleave(w)])
    return torch.cat([xy, xy])
