"""Warps in float64, a matrix that turns, and something like a photograph: what the tests of this folder use."""

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


def photo(seed: int = 0, height: int = 300, width: int = 400, channels: int = 3) -> np.ndarray:
    """(H, W, C) uint8: amplitudes that fall with frequency as in photographs."""
    rng = np.random.default_rng(seed)
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    amplitude = 1 / np.maximum(np.hypot(y, x), 1 / width) ** 1.2
    fields = [
        np.fft.irfft2(amplitude * np.exp(2j * np.pi * rng.random(amplitude.shape)), (height, width)) for _ in "rgb"
    ]
    image = np.stack([128 + 50 * field / field.std() for field in fields], -1)
    return np.clip(image, 0, 255).astype(np.uint8)[:, :, :channels]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """In dB, for values up to 255."""
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-12)))


def lanczos(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], factor: float) -> np.ndarray:
    """(h, w, C) float64: of each target pixel the Lanczos mean (3 lobes, `factor` source pixels each) of the source.

    For affine matrices that show none but the source's inside.
    """

    def weights(place: np.ndarray, first: np.ndarray) -> np.ndarray:  # (N, reach)
        t = (first[:, None] + steps - place[:, None]) / factor
        found = np.where(abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)
        return found / found.sum(1, keepdims=True)

    steps = np.arange(2 * int(np.ceil(3 * factor)) + 2)
    i, j = np.indices(size) + 0.5
    inverse = np.linalg.inv(matrix)
    x, y = (inverse @ np.stack([j.ravel(), i.ravel(), np.ones(i.size)]))[:2] - 0.5
    x0, y0 = (np.floor(place).astype(int) - len(steps) // 2 + 1 for place in (x, y))
    wide, high = weights(x, x0), weights(y, y0)
    out = np.zeros((i.size, image.shape[2]))
    for step in steps:
        row = image[y0 + step][np.arange(i.size)[:, None], x0[:, None] + steps]  # (N, reach, C)
        out += high[:, step, None] * np.einsum("nk,nkc->nc", wide, row)
    return np.clip(out, 0, 255).reshape(*size, -1)
