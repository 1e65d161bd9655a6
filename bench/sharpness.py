"""How sharp a crop is that is turned: PSNR in dB against the same by a float64 Lanczos resampling.

A square part of a 1 / f photograph, 1 to 3 times as large as the target, onto 64 × 64 pixels, turned by up to 15
degrees about its middle; judged inside the circle that all of them show. hubel resamples once; the others, as their
pipelines do, resize first and turn then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from data_material import SIZE, photograph

from hubel.data.geometric import turning
from hubel.ops.geometry import compose, scaling, translation
from hubel.ops.resize import warp

SIDE = 64
Turned = Callable[[np.ndarray, float], np.ndarray]  # the part (S, S, 3) and the angle -> (SIDE, SIDE, 3)


def cases(count: int) -> Iterator[tuple[np.ndarray, tuple[int, int, int], float]]:
    """Image (H, W, 3), the part's x, y and side, and the angle."""
    random = np.random.default_rng(5)
    for _ in range(count):
        image, side = photograph(random), int(SIDE * random.uniform(1, 3))
        reach = 3 * math.ceil(side / SIDE) + side // 4  # what the reference and the corners read outside
        x, y = (int(random.integers(reach, length - side - reach)) for length in SIZE[::-1])
        yield image, (x, y, side), math.radians(random.uniform(-15, 15))


def matrix_of(part: tuple[int, int, int], angle: float) -> np.ndarray:
    """(3, 3) image -> target."""
    x, y, side = part
    turned = compose(translation(-SIDE / 2, -SIDE / 2), turning(np.array(angle)), translation(SIDE / 2, SIDE / 2))
    return compose(translation(-x, -y), scaling(SIDE / side, SIDE / side), turned)


def lanczos(image: np.ndarray, matrix: np.ndarray, factor: float) -> np.ndarray:
    """(SIDE, SIDE, 3) float64: three lobes, each `factor` source pixels wide."""

    def weights(place: np.ndarray, first: np.ndarray) -> np.ndarray:  # (N, reach)
        t = (first[:, None] + steps - place[:, None]) / factor
        found = np.where(abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)
        return found / found.sum(1, keepdims=True)

    steps = np.arange(2 * math.ceil(3 * factor) + 2)
    i, j = np.indices((SIDE, SIDE)).reshape(2, -1) + 0.5
    x, y = (np.linalg.inv(matrix) @ np.stack([j, i, np.ones(i.size)]))[:2] - 0.5
    x0, y0 = (np.floor(place).astype(int) - len(steps) // 2 + 1 for place in (x, y))
    wide, high = weights(x, x0), weights(y, y0)
    rows, columns = (np.clip(p0[:, None] + steps, 0, n - 1) for p0, n in zip((y0, x0), image.shape[:2], strict=True))
    out = sum(
        high[:, k, None] * np.einsum("nk,nkc->nc", wide, image[rows[:, k, None], columns].astype(float))
        for k in range(len(steps))
    )
    return np.clip(out, 0, 255).reshape(SIDE, SIDE, 3)


def with_opencv(part: np.ndarray, angle: float) -> np.ndarray:
    """As albumentations: RandomResizedCrop, then Affine, both bilinear."""
    small = cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    middle = (SIDE / 2 - 0.5, SIDE / 2 - 0.5)
    turned = cv2.getRotationMatrix2D(middle, -math.degrees(angle), 1)
    return cv2.warpAffine(small, turned, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def with_torchvision(part: np.ndarray, angle: float) -> np.ndarray:
    """RandomResizedCrop with antialiasing, then RandomAffine, bilinear."""
    from torchvision.transforms.v2 import InterpolationMode, functional

    tensor = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)
    small = functional.resize(tensor, [SIDE, SIDE], antialias=True)
    bilinear = InterpolationMode.BILINEAR
    turned = functional.affine(small, math.degrees(angle), [0, 0], 1.0, [0.0, 0.0], interpolation=bilinear)
    return turned.permute(1, 2, 0).numpy()


def sharpness(peers: dict[str, Turned], count: int = 24) -> dict[str, list[float]]:
    """{name: dB, one per image}, hubel first."""
    y, x = np.indices((SIDE, SIDE)) + 0.5 - SIDE / 2
    circle = np.hypot(x, y) < SIDE / 2 - 2
    values: dict[str, list[float]] = {}
    for image, part, angle in cases(count):
        x0, y0, side = part
        matrix = matrix_of(part, angle)
        exact = lanczos(image, matrix, side / SIDE)
        found = {"hubel": warp(image, matrix, (SIDE, SIDE), "mirror")}
        found |= {name: turned(image[y0 : y0 + side, x0 : x0 + side], angle) for name, turned in peers.items()}
        for name, out in found.items():
            error = np.mean((out[circle] - exact[circle]) ** 2)
            values.setdefault(name, []).append(float(10 * np.log10(255**2 / error)))
    return values
