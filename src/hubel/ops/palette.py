"""The colours of classes: class k has colour k on every page and in every picture; 255 is no class.

The first 12 have clear hues and differ in lightness too: any two of them are at least 21.9 apart in CIEDE2000 for
normal sight, 12.8 for protanopia, deuteranopia and tritanopia; over the same part of a photo 16.3 and 8.3, over a
darker and a brighter part 11.4 and 3.3; what is just seen is about 1 (tests/ops/test_palette.py). Each later colour is
the one farthest from all before it, mostly another lightness: 8.9 for 24, 6.6 for 40. bench/palette.py found them. What
is called "background" keeps the image's own colours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_WORDS = """
    0000fc fce000 1cfcfc 8c1c1c fca88c 8ca8fc 70a800 fc548c a854fc 703870 008c70 8c7038 bbaabb ccddcc 006655 776699
    8888bb 114444 ccffbb 2255bb 4411aa 00aa99 889955 dd0066 77ccee 77cc44 885500 556644 eeee88 663333 aabbaa 557777
    ddccdd 778800 3377bb cc99cc 99ddaa bbffee dd8877 4444ff 992299 661177 771144 668888 334400 8888ee 7799aa aa2233
    cc5588 337766 335555 aa4488 446666 aadd66 99aa55 aa8888 2233cc bb44cc ddff55 ffddff 997777 667755 992255 cc0022
    887799 99ffcc 779933 556677 aa99dd 8833dd 888855 66cc88 bb44aa ddaadd ddaa11 bb8899 1100cc aa4444 774444 771122
    33ddcc ccdd99 aabb66 99bbff 881188 662255 557722 eecc22 00bbaa 115599 ee66cc ddbbbb ff88bb 664466 cceeee 99aa99
    669966 88ddff 446633 cc5544 bb66aa bb3377 ffaacc ffccbb cc66dd bbee66 77aa77 cc99aa 553344 884411 cc88bb aa5588
    445533 88bb99 ee3300 6666dd aaaa88 bb5555 886666 ddffaa dddd88 ee7744 2299cc aa2288 99ccaa ccaacc 8899ff aacc66
    3377ff 7766aa cc77aa aaeedd 4433aa 66aa66 bb7777 558866 ccddee 77eebb 9922bb aacc99 443366 99bb77 778899 885577
    774477 ff5500 880000 aa2255 dd66bb 5555ff ddbbdd 55ffaa 2211dd 663377 008899 665522 ee77dd ee44cc 884488 338844
    ffaaee cc3333 ffddaa ccaa99 cc33bb eeaa44 aaaaee 007799 ee33bb aa9944 7722dd 77ff33 ddcc88 334433 dd66ee 88ffdd
    77dd77 990000 8811ee 4444cc 99ccff 77bbbb 5588dd aaff99 770088 dd99dd dd7766 7744aa 88cc77 ee8822 ee0099 334466
    663355 ddccee ffdddd aa3366 aa8822 661199 ff55aa 990033 ff6633 996655 bbaa44 dd6688 ddcc55 ccdd44 6622bb 11dd99
    dd00aa ccff77 aacccc bb22cc bbeeff 6688ff 775566 776633 5500bb 55aa44 aa00aa eeeecc aa7733 cc88ee 449988 dd0044
    ddbb00 cc55dd bbbb88 ddeebb 887744 00cc55 ddccaa aa11ee 006688 004488 aaaa66 663366 77ee77 880077 8844dd 333399
    225544 eeee55 bb5522 bbee99 669900 7777bb 66ff77 aa2244 bb6666 dd4477 33ccaa 99dddd aaff66 bb0022 7700aa
"""
PALETTE = tuple((int(word[:2], 16), int(word[2:4], 16), int(word[4:], 16)) for word in _WORDS.split())
COLOURS = len(PALETTE)
STRENGTH = 0.6  # of a colour over a photo
GREY = (0.299, 0.587, 0.114)  # of red, green and blue in the lightness of a photo (ITU-R BT.601)
BACKGROUND = "background"  # a class of this name has no colour in pictures


def colours_of(labels: np.ndarray) -> np.ndarray:
    """(H, W) uint8 numbers of classes -> (H, W, 3) uint8; 255 (no class) is black."""
    return np.array([*PALETTE, (0, 0, 0)], np.uint8)[labels]


def css() -> str:
    """The rules that give .k0, .k1 … their colour, as three numbers in --k."""
    return "".join(f".k{k}{{--k:{r} {g} {b}}}" for k, (r, g, b) in enumerate(PALETTE)) + "\n"


def overlay(image: np.ndarray, labels: np.ndarray, plain: int | None = None) -> np.ndarray:
    """The image (H, W, C) uint8, grey, under the colours of its classes (H, W) uint8.

    Hues are those of the classes alone, whatever colour the photo has there. No class (255) and the class `plain` have
    no colour: there the image stays as it is.
    """
    image = np.repeat(image, 3, 2) if image.shape[2] == 1 else image
    grey = image.astype(np.float32) @ np.array(GREY, np.float32)
    mixed = grey[..., None] * (1 - STRENGTH) + colours_of(labels).astype(np.float32) * STRENGTH
    bare = (labels == 255) | (labels == (255 if plain is None else plain))
    return np.where(bare[..., None], image, np.rint(mixed)).astype(np.uint8)


def plain_class(classes: Sequence[str]) -> int | None:
    """The number of the class that is drawn without a colour, where there is one."""
    return list(classes).index(BACKGROUND) if BACKGROUND in classes else None


WRONG = (214, 39, 40)


def compared(image: np.ndarray, truth: np.ndarray, answer: np.ndarray, plain: int | None = None) -> np.ndarray:
    """(H, W, C) and two label maps (H, W) -> truth, answer and wrong pixels side by side, (H, 3 W + 2 gaps, 3)."""
    gap = np.full((image.shape[0], max(2, image.shape[1] // 60), 3), 255, np.uint8)
    grey = np.repeat(image.mean(2, keepdims=True) * 0.6 + 80, 3, 2).astype(np.uint8)
    wrong = np.where(((truth != answer) & (truth != 255))[..., None], np.array(WRONG, np.uint8), grey)
    return np.concatenate([overlay(image, truth, plain), gap, overlay(image, answer, plain), gap, wrong], 1)
