"""What the values of masks mean: numbers of every kind, colours, palettes, and what data.yaml says of them."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_sets import INDEX, RNG, often, photo, read_all, save_image

from hubel.data.formats import masks
from hubel.errors import UserError


@pytest.mark.parametrize("kind", ["grey", "palette", "sixteen", "rgb", "rgba"])
def test_numbers_of_every_kind(masked, kind):
    values = Image.fromarray(INDEX)
    if kind == "palette":
        values.putpalette(RNG.integers(0, 256, 768).astype(np.uint8).tobytes())
    elif kind == "sixteen":
        values = Image.fromarray(INDEX.astype(np.uint16))
    elif kind in ("rgb", "rgba"):
        values = values.convert(kind.upper())
    found = masks.read(masked({"a": values}, "names: [x, y, z]"))
    column = found.annotations["mask"]
    assert column.read(0).tolist() == [[0, 1, 2], [2, 255, 255]]
    assert column.strange(0) == {7: 1} and column.ignore == (255,)


def test_sixteen_bits_with_values_above_255(masked):
    values = np.array([[300, 0], [65535, 1000]], np.uint16)
    found = masks.read(masked({"a": values}, "names: {300: road, 1000: sky}\nignore: [0, 65535]"))
    assert found.classes == ("road", "sky") and read_all(found) == {"a": [[0, 255], [255, 1]]}
    unnamed = masks.read(masked({"a": values}, name="b"))
    assert unnamed.classes == ("0", "300", "1000", "65535")


def test_few_bits(tmp_path):
    """PNG of 2 and 4 bits: Pillow spreads grey values over 0 … 255, the file has 0 … 3 and 0 … 15."""
    for bits, values in ((2, [0, 1, 2, 3]), (4, [0, 3, 14, 15])):
        row = sum(value << (4 - 1 - k) * bits for k, value in enumerate(values)).to_bytes(4 * bits // 8, "big")
        head = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n"
        for name, body in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")):
            data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        root = tmp_path / str(bits)
        save_image(root / "images/a.png", photo(1, 4))
        (root / "masks").mkdir()
        (root / "masks/a.png").write_bytes(data)
        found = masks.read(root, names=[str(k) for k in range(16)])
        assert read_all(found) == {"a": [values]}


@pytest.mark.parametrize(
    ("values", "yaml", "classes", "expected"),
    [
        ([[0, 255]], None, ("background", "foreground"), [[0, 1]]),
        ([[0, 1]], None, ("background", "foreground"), [[0, 1]]),
        ([[0, 255]], "names: [skin, mole]", ("skin", "mole"), [[0, 1]]),
        ([[0, 255]], "names: [mole]", ("background", "mole"), [[0, 1]]),
        ([[0, 1]], "names: [mole]", ("background", "mole"), [[0, 1]]),
        ([[0, 255]], "names: [skin, mole]\nignore: 255", ("skin", "mole"), [[0, 255]]),
        ([[0, 255]], "names: {0: skin, 255: mole}", ("skin", "mole"), [[0, 1]]),
        ([[0, 2, 255]], None, ("0", "1", "2"), [[0, 2, 255]]),
        ([[0, 2, 255]], "names: [a, b, c]\nignore: []", ("a", "b", "c"), [[0, 2, 255]]),
        ([[0, 2, 4]], "names: [a, b, c, d, e]\nignore: 2", ("a", "b", "d", "e"), [[0, 255, 3]]),
    ],
)
def test_meaning_of_numbers(masked, values, yaml, classes, expected):
    found = masks.read(masked({"a": np.array(values, np.uint8)}, yaml))
    assert found.classes == classes and read_all(found) == {"a": expected}


def test_one_bit(masked):
    found = masks.read(masked({"a": Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")}, "names: [no, yes]"))
    assert found.classes == ("no", "yes") and read_all(found) == {"a": [[0, 1]]}


COLOURS = np.array([[[128, 0, 0], [0, 128, 64]], [[0, 0, 0], [9, 9, 9]]], np.uint8)


def test_colours(masked):
    yaml = "names: [road, sky]\ncolors: [[128, 0, 0], '#008040']\nignore: [0, 0, 0]\n"
    found = masks.read(masked({"a": COLOURS}, yaml))
    column = found.annotations["mask"]
    assert found.classes == ("road", "sky") and read_all(found) == {"a": [[0, 1], [255, 255]]}
    assert column.strange(0) == {0x090909: 1} and column.colours.tolist() == [[128, 0, 0], [0, 128, 64]]
    again = masks.read(
        masked({"a": COLOURS}, name="b"), names=["road", "sky"], colors=["128,0,0", (0, 128, 64)], ignore="#000000"
    )
    assert read_all(again) == read_all(found)


def test_colours_without_names(masked):
    found = masks.read(masked({"a": COLOURS}))
    assert found.classes == ("#000000", "#008040", "#090909", "#800000")
    assert read_all(found) == {"a": [[3, 1], [0, 2]]}
    with pytest.raises(UserError, match="Give `colors`"):
        masks.read(masked({"a": COLOURS}, "names: [a, b]", name="b"))


def test_a_palette_whose_numbers_mean_nothing(masked):
    """Programs that save coloured masks with a palette number the colours as they come: colours decide."""
    picture = Image.fromarray(COLOURS[:1]).convert("P", palette=Image.Palette.ADAPTIVE)
    assert sorted(np.unique(np.asarray(picture))) == [0, 1]
    found = masks.read(masked({"a": picture}, "names: [sky, road]\ncolors: ['#008040', '#800000']"))
    assert read_all(found) == {"a": [[1, 0]]}


def test_colours_to_draw_index_masks_with(masked):
    picture = Image.fromarray(INDEX)
    picture.putpalette(RNG.integers(0, 256, 768).astype(np.uint8).tobytes())
    found = masks.read(masked({"a": picture}, "names: [x, y, z]\ncolors: ['#010203', '#040506', '#070809']"))
    assert found.annotations["mask"].read(0).tolist() == [[0, 1, 2], [2, 255, 255]]
    assert found.annotations["mask"].colours.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_names_of_classes_txt(masked):
    root = masked({"a": INDEX})
    (root / "classes.txt").write_text("x\r\ny\n\nz\n")
    assert masks.read(root).classes == ("x", "y", "z")


@pytest.mark.parametrize(
    ("values", "yaml", "words"),
    [
        (INDEX, "names: x", "names must be"),
        (INDEX, "names: [x]\nignore: many", "ignore is a value"),
        (INDEX, "names: [x]\nignore: -1", "ignore is a value"),
        (INDEX, "names: [x]\nignore: 0", "0 classes"),
        (INDEX, "names: [x]\ncolors: [red]", "a colour is"),
        (COLOURS, "names: [x, y]\ncolors: ['#000000']", "2 names but 1 colors"),
        (COLOURS, "names: [x, y]\ncolors: ['#000000', '#000000']", "the same colour"),
        (np.full((2, 2), 255, np.uint8), "ignore: 255", "name no class"),
        (photo(90, 90), None, "a photograph"),
    ],
)
def test_settings_that_cannot_be_understood(masked, values, yaml, words):
    with pytest.raises(UserError, match=words):
        masks.read(masked({"a": values}, yaml))


def test_settings_that_are_anything(masked):
    root = masked({"a": INDEX})

    @often
    @given(st.one_of(st.binary(max_size=40), st.text("names:colorigt {}[],#0123-'\n", max_size=50).map(str.encode)))
    def check(content):
        (root / "data.yaml").write_bytes(content)
        try:
            assert masks.read(root).annotations["mask"].read(0).shape == (2, 3)
        except UserError as fault:
            assert str(root) in str(fault) or "data.yaml" in str(fault)

    check()
