"""Fixed filters, and the two ways to slide one over an image.

    correlation   G(r, c) = Σ_u Σ_v w(u, v) I(r + u, c + v)     what networks call a convolution
    convolution   G(r, c) = Σ_u Σ_v w(u, v) I(r − u, c − v)     the filter turned by 180°; it commutes and associates

u and v count from the filter's centre. The two agree for filters that a half turn leaves alone (Gaussian), and differ
in sign for derivatives. (…, H, W) by (h, w) -> (…, H, W), or (…, H − h + 1, W − w + 1) without padding.

A derivative filter is a central difference along one axis times a smoothing across it, so that noise weighs less:

    prewitt   1  1  1      sobel   1  2  1      scharr   3  10  3      times  −1  0  1

Scharr's weights (B. Jähne et al. 1999, Handbook of Computer Vision, volume 2) make the length of the gradient depend
least on its direction. gaussian: w(u, v) ∝ exp(−(u² + v²) / 2σ²), with the sum 1.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.errors import UserError
from hubel.ops.padding import check_padding, pad

SMOOTHING = {"prewitt": (1.0, 1.0, 1.0), "sobel": (1.0, 2.0, 1.0), "scharr": (3.0, 10.0, 3.0)}
ACROSS, DOWN = -1, -2  # the axes of an image


def prewitt(axis: int = ACROSS) -> Tensor:
    """(3, 3) float64: positive where the image gets brighter along `axis` (−1: to the right, −2: downwards)."""
    return _derivative("prewitt", axis)


def sobel(axis: int = ACROSS) -> Tensor:
    """As `prewitt`; its smoothing is nearer to a Gaussian."""
    return _derivative("sobel", axis)


def scharr(axis: int = ACROSS) -> Tensor:
    """As `sobel`, with weights that treat all directions most alike."""
    return _derivative("scharr", axis)


def _derivative(name: str, axis: int) -> Tensor:
    difference = torch.tensor((-1.0, 0.0, 1.0), dtype=torch.float64)
    across = torch.outer(torch.tensor(SMOOTHING[name], dtype=torch.float64), difference)
    if axis not in (ACROSS, DOWN):
        raise UserError(f"A derivative filter needs the axis {ACROSS} (across) or {DOWN} (down), got {axis}.")
    return across if axis == ACROSS else across.T.contiguous()


def gaussian(sigma: float, reach: float = 4.0) -> Tensor:
    """(2L + 1, 2L + 1) float64 with L = round(reach · sigma): standard deviation `sigma` pixels, above 0; sum 1."""
    if sigma <= 0:
        raise UserError(f"A Gaussian needs a standard deviation above 0 pixels, got {sigma}.")
    side = math.floor(reach * sigma + 0.5)
    weights = torch.exp(-0.5 * (torch.arange(-side, side + 1, dtype=torch.float64) / sigma) ** 2)
    weights /= weights.sum()
    return torch.outer(weights, weights)


def correlate(images: Tensor, kernel: Tensor, padding: str = "mirror") -> Tensor:
    """The kernel (h, w) as it is, laid over every place of images (…, H, W) of floating-point numbers.

    `padding`: "valid", "zero", "mean" or "mirror"; all but the first keep the size and need odd h and w. Raises
    UserError for other paddings and shapes.
    """
    check_padding(padding)
    height, width = _checked(images, kernel, padding)
    padded = pad(images.reshape(-1, 1, *images.shape[-2:]), (height // 2, width // 2), padding)  # (n, 1, H', W')
    found = F.conv2d(padded, kernel.to(images)[None, None])
    return found.view(*images.shape[:-2], *found.shape[-2:])


def convolve(images: Tensor, kernel: Tensor, padding: str = "mirror") -> Tensor:
    """`correlate` with the kernel turned by 180°."""
    return correlate(images, kernel.flip(-2, -1), padding)


def gradient(images: Tensor, derivative: str = "sobel", padding: str = "mirror") -> tuple[Tensor, Tensor]:
    """(across, down), each (…, H, W): the change of the values per pixel, by "prewitt", "sobel" or "scharr"."""
    if derivative not in SMOOTHING:
        raise UserError(f"Option 'derivative' needs one of {', '.join(SMOOTHING)}, got '{derivative}'.")
    unit = 2 * sum(SMOOTHING[derivative])  # what the filter answers to a slope of 1 per pixel
    across, down = (correlate(images, _derivative(derivative, axis) / unit, padding) for axis in (ACROSS, DOWN))
    return across, down


def edges(images: Tensor, derivative: str = "sobel", padding: str = "mirror") -> Tensor:
    """(…, H, W): the length √(across² + down²) of the gradient. Where an image is flat nothing flows back."""
    across, down = gradient(images, derivative, padding)
    flat = (across == 0) & (down == 0)  # there the length has no derivative, and torch's would be NaN
    return torch.hypot(across.masked_fill(flat, 1), down).masked_fill(flat, 0)


def _checked(images: Tensor, kernel: Tensor, padding: str) -> tuple[int, int]:
    """The kernel's height and width."""
    if kernel.ndim != 2 or images.ndim < 2 or not images.is_floating_point():
        raise UserError(f"A filter (h, w) goes over images (…, H, W) of floating-point numbers; got "
                        f"{tuple(kernel.shape)} over {tuple(images.shape)}, {images.dtype}.")  # fmt: skip
    height, width = kernel.shape
    if padding != "valid" and not (height % 2 and width % 2):
        raise UserError(f"A filter of {height}×{width} has no centre; give it odd sides, or padding 'valid'.")
    if padding == "valid" and (height > images.shape[-2] or width > images.shape[-1]):
        raise UserError(f"A filter of {height}×{width} doesn't fit into {images.shape[-2]}×{images.shape[-1]} pixels.")
    return height, width
