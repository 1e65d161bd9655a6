"""Segmentation without learning: pixels that go together form a region, and the regions are a partition of the image.

    k-means      pixels as points (L, a, b, s·y, s·x); each goes to the nearest of k means. Lloyd 1982
    mean shift   the same points climb to the modes of their density, within a bandwidth. Comaniciu and Meer 2002
    graph        neighbouring pixels are merged while the difference between two regions is at most that within them
                 plus scale / size. Felzenszwalb and Huttenlocher 2004, doi:10.1023/B:VISI.0000022288.19776.77

Images (H, W, C) float32 in [0, 1], C 1 or 3 -> (H, W) int64 numbers of regions, 0 … n − 1, each of which occurs.
Regions of "graph" are connected (by edges or corners of pixels); `connected` cuts those of the others apart.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from hubel.errors import UserError, close_to

FITTED = 4000  # pixels, evenly spaced, that means are fitted on
CLIMBED = 400  # pixels that climb to modes: their number counts squared
ROUNDS = 50  # at most, of k-means and of mean shift


def points_of(image: np.ndarray, place: float) -> np.ndarray:
    """(H · W, D) float32: L of CIELAB, and a and b of a colour image, in tens; row and column in shares · `place`."""
    height, width, channels = image.shape
    colour = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2LAB) / 10 if channels == 3 else image * 10
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    return np.concatenate([colour.reshape(height * width, -1), place * np.stack([y, x], -1).reshape(-1, 2)], 1)


def kmeans(image: np.ndarray, clusters: int = 8, place: float = 5.0, seed: int = 0) -> np.ndarray:
    """Regions of at most `clusters` means; `place` says how much nearness counts beside colour."""
    points = points_of(image, place)
    means = means_of(points[:: -(-len(points) // FITTED)], clusters, np.random.default_rng(seed))
    return numbered(squares(points, means).argmin(1).reshape(image.shape[:2]))


def means_of(points: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """(P, D) -> at most (clusters, D): Lloyd's algorithm from points that are drawn by their squared distance to those
    drawn before (k-means++, Arthur and Vassilvitskii 2007)."""
    means = points[rng.integers(len(points))][None]
    while len(means) < clusters:
        far = squares(points, means).min(1).clip(0).astype(np.float64)
        if far.sum() < 1e-9:  # fewer different points than clusters
            break
        means = np.concatenate([means, points[rng.choice(len(points), p=far / far.sum())][None]])
    for _ in range(ROUNDS):
        before, near = means, squares(points, means).argmin(1)
        means = np.stack([points[near == k].mean(0) if (near == k).any() else means[k] for k in range(len(means))])
        if np.abs(means - before).max() < 1e-4:
            break
    return means


def mean_shift(image: np.ndarray, bandwidth: float = 1.5, place: float = 5.0) -> np.ndarray:
    """Regions of the modes that pixels climb to; a larger `bandwidth` gives fewer."""
    points = points_of(image, place)
    modes = modes_of(points[:: -(-len(points) // CLIMBED)], bandwidth)
    return numbered(squares(points, modes).argmin(1).reshape(image.shape[:2]))


def modes_of(points: np.ndarray, bandwidth: float) -> np.ndarray:
    """(P, D) -> (M, D): each point moves to the mean of those within `bandwidth` until it stays; then what lies within
    one bandwidth of a mode with more points around belongs to that one."""
    places = points
    for _ in range(ROUNDS):
        within = (squares(places, points) <= bandwidth**2).astype(np.float32)
        before, places = places, within @ points / np.maximum(within.sum(1, keepdims=True), 1)
        if np.abs(places - before).max() < 1e-3:
            break
    crowd = (squares(places, points) <= bandwidth**2).sum(1)
    modes: list[np.ndarray] = []
    for one in places[np.argsort(-crowd, kind="stable")]:
        if not modes or squares(one[None], np.stack(modes)).min() > bandwidth**2:
            modes.append(one)
    return np.stack(modes)


def graph(image: np.ndarray, scale: float = 100.0, sigma: float = 0.8, smallest: int = 20) -> np.ndarray:
    """Regions by merging, after smoothing by `sigma` pixels; a larger `scale` gives larger ones, `smallest` at least.

    Raises UserError where scikit-image is not installed.
    """
    try:
        from skimage.segmentation import felzenszwalb
    except ImportError as fault:
        raise UserError(
            "Graph-based segmentation comes with scikit-image, which is not installed here: pip install scikit-image. "
            "Or choose kmeans or mean_shift."
        ) from fault
    return numbered(felzenszwalb(image, scale=scale, sigma=sigma, min_size=smallest, channel_axis=-1))


def connected(regions: np.ndarray) -> np.ndarray:
    """The same regions, cut apart where edges of pixels don't connect them."""
    out, count = np.zeros(regions.shape, np.int64), 0
    for number in np.unique(regions):
        many, parts = cv2.connectedComponents((regions == number).astype(np.uint8), connectivity=4)
        out[parts > 0] = parts[parts > 0] - 1 + count
        count += many - 1
    return out


def numbered(regions: np.ndarray) -> np.ndarray:
    """Any numbers -> 0 … n − 1, in their order."""
    return np.unique(regions, return_inverse=True)[1].reshape(regions.shape).astype(np.int64)


def squares(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(P, D), (K, D) -> (P, K) squared distances."""
    return np.square(points).sum(1)[:, None] - 2 * points @ centres.T + np.square(centres).sum(1)


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"kmeans": kmeans, "mean_shift": mean_shift, "graph": graph}


def method(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Raises UserError for a name that there is not."""
    if name not in METHODS:
        raise UserError(f"Clustering is by {', '.join(METHODS)}; got '{name}'{close_to(name, METHODS)}")
    return METHODS[name]
