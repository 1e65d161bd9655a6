"""A bilinear warp pixel by pixel, and a matrix that turns: what the tests of this folder compare with."""

import numpy as np


def warp_loop(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: str) -> np.ndarray:
    """Bilinear interpolation, pixel by pixel, in float64."""
    height, width, channels = image.shape
    out = np.zeros((*size, channels))
    inverse = np.linalg.inv(matrix)

    def pixel(y: int, x: int) -> np.ndarray:
        if border == "zero":
            inside = 0 <= y < height and 0 <= x < width
            return image[y, x].astype(float) if inside else np.zeros(channels)
        if border == "edge":
            return image[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]
        while not 0 <= y < height:
            y = -1 - y if y < 0 else 2 * height - 1 - y
        while not 0 <= x < width:
            x = -1 - x if x < 0 else 2 * width - 1 - x
        return image[y, x]

    for i in range(size[0]):
        for j in range(size[1]):
            x, y, w = inverse @ [j + 0.5, i + 0.5, 1]
            x, y = x / w - 0.5, y / w - 0.5
            x0, y0 = int(np.floor(x)), int(np.floor(y))
            fx, fy = x - x0, y - y0
            out[i, j] = (
                (1 - fy) * ((1 - fx) * pixel(y0, x0) + fx * pixel(y0, x0 + 1))
                + fy * ((1 - fx) * pixel(y0 + 1, x0) + fx * pixel(y0 + 1, x0 + 1))
            )  # fmt: skip
    return out


def turn(angle: float, x: float = 0.0, y: float = 0.0, perspective: float = 0.0) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, x], [s, c, y], [perspective, 0, 1]])
