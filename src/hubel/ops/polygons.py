"""Polygons cut exactly: by half planes, hence by rectangles.

A ring (P, 2) float64 is closed from its last point to its first.
Cutting along a line sorts the crossings on it and joins them in pairs, so a concave ring falls into separate rings
without edges of no width between them, and self-crossing rings keep the even-odd meaning that they are drawn with.
"""

from __future__ import annotations

import numpy as np

Rings = list[np.ndarray]


def area(ring: np.ndarray) -> float:
    """Signed area (shoelace): above 0 where it runs clockwise on the screen, y pointing down."""
    if len(ring) < 3:
        return 0.0
    x, y = (ring - ring[0]).T  # from its own corner: no digits are lost far from the origin
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def total_area(rings: Rings) -> float:
    """Sum of the rings' absolute areas: rings are parts side by side."""
    return sum(abs(area(ring)) for ring in rings)


def bounds(rings: Rings) -> np.ndarray:
    """(4,) x0, y0, x1, y1 around all points; NaN where there is none."""
    if not rings:
        return np.full(4, np.nan)
    points = np.concatenate(rings)
    return np.concatenate([points.min(0), points.max(0)])


def cut(ring: np.ndarray, normal: np.ndarray, offset: float) -> Rings:
    """The parts of a ring (P, 2) with normal · p + offset ≥ 0, as separate rings."""
    height = ring @ normal + offset
    inside = height >= 0
    if inside.all():
        return [ring]
    if not inside.any():
        return []
    return _joined(*_chains(ring, height, inside), normal)


def _chains(ring: np.ndarray, height: np.ndarray, inside: np.ndarray) -> tuple[Rings, np.ndarray]:
    """What lies inside, as open chains from crossing to crossing; chain k has the crossings 2k and 2k + 1."""
    start = int(np.flatnonzero(~inside)[0])  # begin outside: then every chain is whole
    ring, height, inside = (np.roll(a, -start, axis=0) for a in (ring, height, inside))
    after = np.roll(inside, -1)
    entries, exits = np.flatnonzero(~inside & after), np.flatnonzero(inside & ~after)
    chains, crossings = [], []
    for first, last in zip(entries, exits, strict=True):
        ends = [_crossing(ring, height, int(k)) for k in (first, last)]
        chains.append(np.concatenate([ends[:1], ring[first + 1 : last + 1], ends[1:]]))
        crossings += ends
    return chains, np.array(crossings)


def _crossing(ring: np.ndarray, height: np.ndarray, k: int) -> np.ndarray:
    """Where the edge from point k to the next one meets the line."""
    after = (k + 1) % len(ring)
    share = height[k] / (height[k] - height[after])
    return ring[k] + share * (ring[after] - ring[k])


def _joined(chains: Rings, crossings: np.ndarray, normal: np.ndarray) -> Rings:
    """Chains joined along the line, where neighbouring crossings in pairs bound the inside, to closed rings."""
    along = np.argsort(crossings @ np.array([-normal[1], normal[0]]), kind="stable")
    partner = np.empty(len(along), dtype=np.int64)
    partner[along[0::2]], partner[along[1::2]] = along[1::2], along[0::2]
    left, rings = set(range(len(chains))), []
    while left:
        first = at = 2 * min(left)
        parts = []
        while True:
            k, backwards = divmod(at, 2)
            left.remove(k)
            parts.append(chains[k][::-1] if backwards else chains[k])
            at = int(partner[at ^ 1])  # to the chain's other end, and along the line
            if at == first:
                break
        rings.append(np.concatenate(parts))
    return rings


def clip(rings: Rings, box: tuple[float, float, float, float]) -> Rings:
    """The parts of rings inside the box x0, y0, x1, y1; those without any area are left out."""
    x0, y0, x1, y1 = box
    sides = ((1.0, 0.0, -x0), (-1.0, 0.0, x1), (0.0, 1.0, -y0), (0.0, -1.0, y1))
    for x, y, offset in sides:
        normal = np.array([x, y])
        rings = [part for ring in rings for part in cut(ring, normal, offset)]
    exact = (np.clip(ring, (x0, y0), (x1, y1)) for ring in rings)  # a crossing may lie a rounding error outside
    return [ring for ring in exact if area(ring)]


def refine(ring: np.ndarray, step: float) -> np.ndarray:
    """The same ring with more points, none more than `step` pixels from the next: before what bends straight edges."""
    lengths = np.linalg.norm(np.roll(ring, -1, 0) - ring, axis=1)
    pieces = np.maximum(1, np.ceil(lengths / step)).astype(np.int64)
    first = np.repeat(np.arange(len(ring)), pieces)
    share = (np.arange(len(first)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) / pieces[first]
    return ring[first] + share[:, None] * (ring[(first + 1) % len(ring)] - ring[first])


def rectangle(box: np.ndarray) -> np.ndarray:
    """(4,) x0, y0, x1, y1 -> its corners (4, 2)."""
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float64)
