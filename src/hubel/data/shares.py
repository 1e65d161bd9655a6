"""Who reads what where several processes train: each a part of every batch; of a pack, each its own shards.

Process r has the examples of its shards, L_r, in the epoch's order; batch k of K takes the k-th of K nearly equal
pieces of every L_r, cut between pairs of slots. So batches differ by a few images in size, and nothing is read twice.
"""

from __future__ import annotations

import numpy as np


def parts_of(
    n: int, batch_size: int, start: int = 0, shard: tuple[int, int] = (0, 1), drop_last: bool = False
) -> list[np.ndarray]:
    """The slots of each batch from batch `start` on, of one process: (rank, world).

    A process takes a contiguous part of every global batch, cut between pairs of slots (mixing partners stay
    together). Where a last batch has fewer pairs than processes, some parts are empty.
    """
    rank, world = shard
    parts = []
    for low in range(start * batch_size, n, batch_size):
        high = min(low + batch_size, n)
        if drop_last and high - low < batch_size:
            break
        pairs = (high - low + 1) // 2
        first, last = (low + 2 * (pairs * r // world) for r in (rank, rank + 1))
        parts.append(np.arange(first, min(last, high)))
    return parts


def owned_parts(
    order: np.ndarray, owners: np.ndarray, batch_size: int, shard: tuple[int, int], drop_last: bool = False
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The epoch's order as it is read, and the slots in it of each batch that process `shard` = (rank, world) reads.

    `order` (n,) int64 positions; `owners` (N,) the process of each position. With `drop_last` there are as many
    batches as have full size.
    """
    rank, world = shard
    n = len(order)
    count = n // batch_size if drop_last else -(-n // batch_size)
    lists = [order[owners[order] == r] for r in range(world)]
    if drop_last and n:
        lists = [own[: 2 * (len(own) * count * batch_size // (2 * n))] for own in lists]
    cuts = [_cuts(len(own), count) for own in lists]
    pieces = [[own[cut[k] : cut[k + 1]] for own, cut in zip(lists, cuts, strict=True)] for k in range(count)]
    ends = np.cumsum([0, *(len(piece) for batch in pieces for piece in batch)])
    parts = [np.arange(ends[k * world + rank], ends[k * world + rank + 1]) for k in range(count)]
    return np.concatenate([order[:0], *(piece for batch in pieces for piece in batch)]), parts


def _cuts(length: int, count: int) -> np.ndarray:
    """(count + 1,) from 0 to `length`, even but for the last."""
    cuts = 2 * (np.arange(count + 1) * (length // 2) // max(1, count))
    cuts[-1] = length if count else 0
    return cuts
