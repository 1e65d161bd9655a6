"""A picture of an explanation: the image, the map laid over it with its box, and a bar that says what colours mean.

The map's colours run from 0 to its largest value (viridis, which the colour-blind read alike); what is below 0 speaks
against the class and has the colour of 0. Under the map the image is grey, so that every colour is the map's.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 384  # pixels: small images are enlarged to it
LARGEST = 1024
OPACITY = 0.6
BAR, GAP, TEXT = 18, 14, 15  # pixels: width of the bar, space between parts, height of letters
INK, PAPER, UNSEEN = (20, 20, 20), (255, 255, 255), (120, 120, 120)


def picture(
    image: np.ndarray, heat: np.ndarray, box: Sequence[float] | None, title: str, share: float | None = None
) -> Image.Image:
    """Of an image (H, W, C) uint8 or uint16 and its map (H', W'), NaN where nothing was seen; `box` in image pixels.

    `share` marks on the bar where the map was cut to give the box.
    """
    plain, factor = enlarged(image)
    size = plain.shape[1], plain.shape[0]
    over = laid_over(plain, cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR))
    mark = ImageDraw.Draw(shown := Image.fromarray(over))
    if box is not None:
        _draw_box(mark, [float(v) * factor for v in box], size)
    return _sheet(Image.fromarray(plain), shown, title, float(np.nanmax(heat, initial=0)), share)


def enlarged(image: np.ndarray) -> tuple[np.ndarray, float]:
    """(H, W, C) uint8 or uint16 -> (h, w, 3) uint8 of a size to look at, and by what its sides were multiplied."""
    factor = _factor(image.shape[0], image.shape[1])
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    return _resized(_eight_bits(image), size), factor


def laid_over(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 and (H, W) -> (H, W, 3) uint8."""
    top = max(float(np.nanmax(heat, initial=0)), 1e-12)
    levels = (np.clip(np.nan_to_num(heat) / top, 0, 1) * 255).round().astype(np.uint8)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None].repeat(3, 2).astype(np.float32)
    mixed = OPACITY * _colours(levels) + (1 - OPACITY) * grey
    seen = np.isfinite(heat)[:, :, None]
    return np.where(seen, mixed, 0.5 * grey + 0.5 * np.array(UNSEEN)).round().astype(np.uint8)


def _colours(levels: np.ndarray) -> np.ndarray:
    """(H, W) uint8 -> (H, W, 3) uint8."""
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def _factor(height: int, width: int) -> float:
    longer = max(height, width)
    return SIDE / longer if longer < SIDE else min(1.0, LARGEST / longer)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    smaller = size[0] < image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_NEAREST)


def _eight_bits(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8."""
    image = (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image
    return np.ascontiguousarray(image.repeat(3, 2) if image.shape[2] == 1 else image)


def _draw_box(draw: ImageDraw.ImageDraw, box: list[float], size: tuple[int, int]) -> None:
    """White on black, so that it shows on anything."""
    x0, y0, x1, y1 = box[0], box[1], min(box[2], size[0]) - 1, min(box[3], size[1]) - 1
    for width, colour in ((6, (0, 0, 0)), (2, (255, 255, 255))):
        grown = (width - 2) / 2
        draw.rectangle([x0 - grown, y0 - grown, max(x0, x1) + grown, max(y0, y1) + grown], outline=colour, width=width)


def _sheet(plain: Image.Image, shown: Image.Image, title: str, top: float, share: float | None) -> Image.Image:
    """Image, map and bar in a row, the title above."""
    font = ImageFont.load_default(TEXT)
    width, height = plain.size
    wide = 2 * width + 3 * GAP + BAR + 84
    lines = _wrapped(title, font, wide - GAP)
    head = GAP + len(lines) * (TEXT + 5)
    sheet = Image.new("RGB", (wide, height + head + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(lines):
        draw.text((GAP // 2, GAP // 2 + i * (TEXT + 5)), line, INK, font)
    sheet.paste(plain, (GAP // 2, head))
    sheet.paste(shown, (GAP // 2 + width + GAP, head))
    x = GAP // 2 + 2 * (width + GAP)
    ramp = np.linspace(255, 0, height).round().astype(np.uint8)[:, None].repeat(BAR, 1)
    sheet.paste(Image.fromarray(_colours(ramp)), (x, head))
    draw.rectangle([x - 1, head - 1, x + BAR, head + height], outline=INK)
    marks = {1.0: f"{top:.3g}", 0.5: f"{top / 2:.3g}", 0.0: "0 or less"}
    marks |= {share: f"{share * top:.2g} cut"} if share else {}
    for level, word in marks.items():
        y = head + (1 - level) * (height - 1)
        draw.line([x + BAR, y, x + BAR + 5, y], INK)
        draw.text((x + BAR + 8, min(max(y - TEXT // 2 - 1, head - 4), head + height - TEXT)), word, INK, font)
    return sheet


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Lines that fit, broken at spaces; what is longer than a line stays long."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
