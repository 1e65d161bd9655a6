"""Draws done to pixels: one resampling, then colour and texture; after normalisation what is erased.

Images (B, H, W, C) or (H, W, C); rectangles (B, 4) int32: x0, y0, x1, y1, half open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hubel.data.augment import Augment, Draws
from hubel.data.photometric import Look, apply_look
from hubel.ops import colour, elastic, neighbourhood
from hubel.ops.geometry import warp_batch, whole_pixels
from hubel.ops.move import move_batch
from hubel.ops.resize import scratch, warp


def apply_image(image: np.ndarray, draws: Draws, row: int = 0, out: np.ndarray | None = None) -> np.ndarray:
    """(H, W, C) uint8 or uint16 -> (h, w, C): smoothed where it shrinks, at most one warp; colours, texture.

    Written into `out`, C-contiguous, where it is given and that saves a copy.
    """
    control = None if draws.control is None else draws.control[row]
    return apply_from(image, draws.matrices[row], control, draws, row, out)


def apply_from(
    image: np.ndarray,
    matrix: np.ndarray,
    control: np.ndarray | None,
    draws: Draws,
    row: int = 0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The same from pixels of another density: `matrix` and `control` in place of those of the draws."""
    look, into = draws.look, out
    if look.colour is not None and image.dtype == np.uint8:  # always a second step: the first need not leave the cache
        into = scratch("moved", (*draws.size, image.shape[2]))
    if control is not None:
        image = elastic.warp(image, matrix, control, draws.size, draws.border, into)
    else:
        image = warp(image, matrix, draws.size, draws.border, into)
    return image if look.plain else apply_look(image, look, row, out)


def apply_batch(images: Tensor, draws: Draws) -> Tensor:
    """(B, H, W, C) -> (B, h, w, C) of the same dtype, on the images' device: geometry, colours, texture."""
    return look_batch(move_batch_as(images, draws), draws.look)


def move_batch_as(images: Tensor, draws: Draws) -> Tensor:
    """The geometry alone. Whole-pixel shifts and mirrors copy pixels; anything else is one bilinear resampling.

    On the CPU what turns or bends is done image by image, as the decoded path does it; on other devices, and for
    random crops, at once and without area reduction.
    """
    exact = whole_pixels(draws.matrices) if draws.control is None else None
    if exact is not None and not (exact[0][:, 1] < 0).any():
        return move_batch(images, exact[0][:, 0] < 0, exact[1], draws.size, draws.border)
    if draws.turned and images.device.type == "cpu":
        still = replace(draws, look=Look())
        return _each(
            images, lambda image, row, out: apply_image(image, still, row, out), (*draws.size, images.shape[3])
        )
    if draws.control is not None:
        return elastic.warp_batch(images, draws.matrices, draws.control, draws.size, draws.border)
    return warp_batch(images, draws.matrices, draws.size, draws.border)


def look_batch(images: Tensor, look: Look) -> Tensor:
    """Colours and texture of uint8, or of int32 images of 16 bits; on the CPU image by image, as `apply_look`.

    On other devices at once; what has no batched form (see `not_at_once`) is a ValueError.
    """
    if look.plain:
        return images
    if images.device.type == "cpu":
        return _each(images, lambda image, row, out: apply_look(image, look, row, out), tuple(images.shape[1:]))
    return look_at_once(images, look)


def look_at_once(images: Tensor, look: Look) -> Tensor:
    """The batched form, on any device."""
    if look.sharpen is not None or look.quality is not None:
        raise ValueError("sharpening and JPEG are done image by image, on the CPU")
    top = 255 if images.dtype == torch.uint8 else 65535
    if look.colour is not None:
        images = colour.apply_batch(images, look.colour, top)
    tables = look.tables
    if tables is not None:
        images = _through_tables(images, tables, top)
    if look.blur is not None:
        images = neighbourhood.blur_batch(images, look.blur, top)
    if look.noise is not None and look.noise_place is not None:
        images = neighbourhood.noise_batch(images, look.noise, look.noise_place, top)
    return images


def _through_tables(images: Tensor, tables: np.ndarray, top: int) -> Tensor:
    if top != 255:
        raise ValueError("solarise and posterise of 16 bits are done image by image, on the CPU")
    table = torch.from_numpy(tables).to(images.device)  # (B, 256)
    return table.gather(1, images.flatten(1).long()).view(images.shape)


def _each(images: Tensor, function: Callable[..., np.ndarray], shape: tuple[int, ...]) -> Tensor:
    """`function(image, row, out)` of every image, which may use `out`; 16 bits travel as int32."""
    array = images.numpy()
    deep = array.dtype != np.uint8
    out = np.empty((len(array), *shape), dtype=np.uint16 if deep else np.uint8)
    for row, image in enumerate(array.astype(np.uint16) if deep else array):
        into = out[row]
        found = function(image, row, into)
        if found is not into:
            into[:] = found
    return torch.from_numpy(out.astype(array.dtype) if deep else out)


def not_at_once(augment: Augment, device: torch.device, depth: int) -> str:
    """Why these changes can't be done to a batch on that device, but only image by image; "" where they can."""
    if device.type == "cpu":
        return ""
    if augment.chosen is not None or augment.texture.jpeg:
        return "sharpening and JPEG are done image by image, by the processor"
    if depth == 16 and (augment.texture.solarise or augment.texture.posterise):
        return "solarising and posterising 16 bits is done image by image, by the processor"
    return ""


# After normalisation -------------------------------------------------------------------------------------------


def erase(images: Tensor, rectangles: np.ndarray) -> Tensor:
    """Set the rectangles (B, 4) of normalised images (B, C, H, W) to zero, the mean colour, in place."""
    if not (rectangles[:, 2] > rectangles[:, 0]).any():
        return images
    return _erase_slices(images, rectangles) if images.device.type == "cpu" else _erase_mask(images, rectangles)


def _erase_slices(images: Tensor, rectangles: np.ndarray) -> Tensor:
    """On the CPU slices of numpy take a third of the time of a mask."""
    pixels = images.permute(0, 2, 3, 1).numpy()
    for image, (x0, y0, x1, y1) in zip(pixels, rectangles.tolist(), strict=True):
        image[y0:y1, x0:x1] = 0
    return images


def _erase_mask(images: Tensor, rectangles: np.ndarray) -> Tensor:
    x0, y0, x1, y1 = torch.from_numpy(rectangles).to(images.device).T[:, :, None]  # (B, 1) each
    y, x = (torch.arange(n, device=images.device) for n in images.shape[2:])
    inside = ((y >= y0) & (y < y1))[:, None, :, None] & ((x >= x0) & (x < x1))[:, None, None, :]
    return images.masked_fill_(inside, 0)
