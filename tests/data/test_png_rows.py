"""PNG files written row by row: Pillow reads back what was written."""

import numpy as np
import pytest
from PIL import Image

from hubel.data.decode import decode
from hubel.data.png_rows import PngRows

RNG = np.random.default_rng(0)


def test_numbers_with_a_palette(tmp_path):
    numbers, palette = RNG.integers(0, 256, (57, 33)).astype(np.uint8), RNG.integers(0, 256, (256, 3)).astype(np.uint8)
    file = PngRows(tmp_path / "a.png", 57, 33, palette)
    for start in range(0, 57, 10):
        file.write(numbers[start : start + 10])
    file.close()
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P" and np.array_equal(np.asarray(image), numbers)
        assert np.array_equal(np.asarray(image.convert("RGB")), palette[numbers])


def test_colours(tmp_path):
    pixels = RNG.integers(0, 256, (20, 33, 3)).astype(np.uint8)
    file = PngRows(tmp_path / "a.png", 20, 33)
    file.write(pixels[:1])
    file.write(pixels[1:1])
    file.write(pixels[1:])
    file.close()
    assert np.array_equal(decode(tmp_path / "a.png"), pixels)


def test_rows_that_do_not_fit_are_refused(tmp_path):
    file = PngRows(tmp_path / "a.png", 4, 5)
    with pytest.raises(ValueError, match="do not fit"):
        file.write(np.zeros((5, 5, 3), np.uint8))
    file.close()
