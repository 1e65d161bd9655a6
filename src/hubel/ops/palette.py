"""The colours of classes: class k has colour k on every page and in every picture; 255 is no class.

The first 12 have clear hues and differ in lightness too: any two of them are at least 14.4 apart in CIEDE2000 for
normal sight, protanopia, deuteranopia and tritanopia alike, any two of the first 8 at least 15.7; what is just seen is
about 1 (tests/ops/test_palette.py). Each later colour is the one farthest from all before it, mostly another lightness:
8.9 for 24, 6.3 for 40. bench/palette.py found them. What is called "background" keeps the image's own colours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_WORDS = """
    7000fc fca88c 707000 c4a8fc 00fce0 fc388c 007054 e0e000 1ca8a8 8ca800 8c70fc a8008c 224400 554455 668855 ddff99
    553333 ddbbbb 228888 bbddff 8877bb ff77bb 446633 8844bb 888822 bb9966 770066 0022cc ddddbb cc1177 aa88dd 00cccc
    aacc55 555500 bbaa99 669988 8844ff 775566 aa5566 eeff33 005544 557744 ccffbb 7766aa ffeeff dd6677 bb7799 334422
    551199 99ee77 ee1155 77aacc 445533 880022 bb8844 aabb00 bb6677 555599 9955cc 773344 bbbbee 776677 994455 887733
    88dddd 8899ff eeaacc bbaa55 ffcccc 662255 77cc88 4444aa bb1133 6644dd 009999 773366 dd88aa cccc00 bbccaa 55bb77
    447766 ccdd99 556600 7788aa ccaaaa 336644 cc4488 ff8877 9977dd 774466 cc7766 88aabb ccff77 bb9999 889911 2233dd
    882255 886699 224477 bbdd55 99ffdd 7766ee cc55cc cc99dd 667755 99ccdd 772200 114433 8888ff 226677 665522 bbffcc
    887788 ccddee 997766 cc77bb 99aa88 99dd77 881177 ddaabb 338844 77aa99 779977 bb1188 88eecc ccee99 bb44aa 775544
    4488cc dd66aa bb99ee 443366 007777 ff44aa ddee55 bbccff 999955 339933 8899cc 0000ee 4433aa 886666 446699 ddccbb
    aacc99 ccccee 668877 555588 00cc77 8822ff bbeeff dd44bb ccaa44 aabbdd 997700 bb6699 5500bb aa4477 9944cc bbddaa
    bbeeaa 33ff33 cceeee 337733 2244cc ddaa66 880099 559966 aa2244 9900bb 00aa44 ee2222 dd5588 99ff88 bbffee 88bbaa
    552288 44bbdd 663322 bb7733 885588 664411 ffaa44 bb88ee aabb99 ee7755 777722 4477bb aa9988 44ddaa bb77ee aaffff
    22bb33 cc2244 4466dd 55eedd 4411aa bbbbff ff55ff 77ddee cc9933 aadd88 cc99bb aaee66 ff88cc 554466 8800cc 5544bb
    cc9988 cceebb 6655aa 885500 993322 cc0000 bbaaee eebb66 3377dd 1155ee ffeecc ff6699 772244 007755 bb5522 444499
    881188 cc99ff 770077 ddaa99 bbffaa 774455 8855ff 66dd66 9988cc bb33dd cc0099 ff9977 ddff66 0000dd 227799 cc3399
    ee1166 229977 77ccbb 773355 eebbaa 5522bb cc4455 448800 6699dd 444433 cc55aa 6600ee 9911ee 33cc11 dd9966
"""
PALETTE = tuple((int(word[:2], 16), int(word[2:4], 16), int(word[4:], 16)) for word in _WORDS.split())
COLOURS = len(PALETTE)
BACKGROUND = "background"  # a class of this name has no colour in pictures


def colours_of(labels: np.ndarray) -> np.ndarray:
    """(H, W) uint8 numbers of classes -> (H, W, 3) uint8; 255 (no class) is black."""
    return np.array([*PALETTE, (0, 0, 0)], np.uint8)[labels]


def css() -> str:
    """The rules that give .k0, .k1 … their colour, as three numbers in --k."""
    return "".join(f".k{k}{{--k:{r} {g} {b}}}" for k, (r, g, b) in enumerate(PALETTE)) + "\n"


def overlay(image: np.ndarray, labels: np.ndarray, plain: int | None = None, strength: float = 0.5) -> np.ndarray:
    """The image (H, W, C) uint8 under the colours of its classes (H, W); no class and the class `plain` have none."""
    image = np.repeat(image, 3, 2) if image.shape[2] == 1 else image
    mixed = image * (1 - strength) + colours_of(labels).astype(np.float32) * strength
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
