"""Decoding: every kind of file gives the pixels that an independent reading gives, or BadImage with the reason."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from hubel.data.decode import BadImage, Header, decode, header
from hubel.data.pixels import convert, orient

pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated File Read")
RNG = np.random.default_rng(0)
RGB = cv2.resize(RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8), (28, 20), interpolation=cv2.INTER_CUBIC)
GREY = RGB[:, :, 1]


def encoded(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png(array, **options):
    return encoded(Image.fromarray(array), **options)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP"])
def test_lossless_formats_give_the_pixels(form):
    options = {"lossless": True} if form == "WEBP" else {}
    image = GREY if form == "GIF" else RGB
    data = encoded(Image.fromarray(image), form, **options)
    expected = image if image.ndim == 3 else image[:, :, None]
    assert np.array_equal(decode(data, channels=expected.shape[2]), expected)


@pytest.mark.parametrize("image", [RGB, GREY])
def test_jpeg_agrees_with_pillow(image):
    data = encoded(Image.fromarray(image), "JPEG", quality=90)
    assert np.array_equal(decode(data).squeeze(), np.asarray(Image.open(io.BytesIO(data))))


def test_a_path_and_a_wrong_extension_decode_by_content(tmp_path):
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(png(RGB))
    assert np.array_equal(decode(path), RGB)
    assert np.array_equal(decode(str(path)), RGB)
    assert header(path) == Header(20, 28, 3, 8)


def test_result_is_writable_memory_of_its_own():
    for data in (png(RGB), png(GREY), encoded(Image.fromarray(RGB), "JPEG")):
        decode(data)[0, 0] = 7


# Modes ---------------------------------------------------------------------------------------------------------


def over_white(colour, alpha):
    """The obvious loop, in exact arithmetic."""
    out = np.empty_like(colour)
    top = np.iinfo(colour.dtype).max
    for place in np.ndindex(colour.shape):
        a = int(alpha[place[:2]])
        out[place] = (int(colour[place]) * a + top * (top - a) + top // 2) // top
    return out


def test_alpha_is_laid_on_white():
    alpha = RNG.integers(0, 256, GREY.shape).astype(np.uint8)
    rgba = np.dstack([RGB, alpha])
    assert np.array_equal(decode(png(rgba)), over_white(RGB, alpha))
    la = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    assert np.array_equal(decode(encoded(la)), over_white(GREY[:, :, None], alpha))
    clear = np.dstack([RGB, np.zeros_like(GREY)])
    assert (decode(png(clear)) == 255).all()


def test_transparent_colour_of_a_grey_png():
    image = Image.fromarray(GREY)
    value = int(GREY[3, 3])
    expected = np.where(value == GREY, 255, GREY)
    assert np.array_equal(decode(encoded(image, transparency=value))[:, :, 0], expected)


def test_palette_with_and_without_transparency():
    colours = np.array([[10, 20, 30], [200, 100, 0], [0, 255, 0]], np.uint8)
    index = RNG.integers(0, 3, (9, 11)).astype(np.uint8)
    image = Image.frombytes("P", (11, 9), index.tobytes())
    image.putpalette(colours.tobytes())
    assert np.array_equal(decode(encoded(image)), colours[index])
    shown = colours.copy()
    shown[1] = 255
    assert np.array_equal(decode(encoded(image, transparency=1)), shown[index])


def test_one_bit():
    bits = RNG.integers(0, 2, (9, 11)).astype(bool)
    pixels = decode(encoded(Image.fromarray(bits)))
    assert np.array_equal(pixels[:, :, 0], bits * np.uint8(255))


def test_cmyk():
    cmyk = np.zeros((2, 3, 4), np.uint8)
    cmyk[0, 0] = (255, 0, 0, 0)  # cyan
    cmyk[1, 2] = (0, 0, 0, 255)  # black
    pixels = decode(encoded(Image.frombytes("CMYK", (3, 2), cmyk.tobytes()), "TIFF"))
    assert pixels[0, 0].tolist() == [0, 255, 255]
    assert pixels[1, 2].tolist() == [0, 0, 0]
    assert pixels[0, 1].tolist() == [255, 255, 255]
    jpeg = encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=100)
    assert np.abs(decode(jpeg).astype(int) - RGB).mean() < 8


def test_first_frame_of_an_animation():
    frames = [Image.fromarray(np.full((6, 6), v, np.uint8)) for v in (10, 200)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(data, 1) == 10).all()


# 16 bits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_grey_stays(form):
    deep = RNG.integers(0, 65536, (9, 11)).astype(np.uint16)
    data = encoded(Image.fromarray(deep), form)
    pixels = decode(data)
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels[:, :, 0], deep)
    assert header(data) == Header(9, 11, 1, 16)


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_sixteen_bit_colour_stays(extension):
    deep = RNG.integers(0, 65536, (9, 11, 3)).astype(np.uint16)
    data = cv2.imencode(extension, deep[:, :, ::-1])[1].tobytes()
    pixels = decode(data)
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, deep)
    assert header(data).depth == 16


def test_sixteen_bit_colour_with_alpha():
    deep = RNG.integers(0, 65536, (5, 6, 4)).astype(np.uint16)
    data = cv2.imencode(".png", deep[:, :, [2, 1, 0, 3]])[1].tobytes()
    assert np.array_equal(decode(data), over_white(deep[:, :, :3], deep[:, :, 3]))


def test_values_without_a_range_are_refused():
    with pytest.raises(BadImage, match="floating-point"):
        decode(encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))
    with pytest.raises(BadImage, match="outside"):
        decode(encoded(Image.fromarray(np.full((4, 4), 70000, np.int32)), "TIFF"))


# Conversions ---------------------------------------------------------------------------------------------------


def test_grey_from_colour_is_pillows():
    assert np.array_equal(decode(png(RGB), 1)[:, :, 0], np.asarray(Image.fromarray(RGB).convert("L")))
    assert np.array_equal(decode(png(GREY), 3), np.repeat(GREY[:, :, None], 3, 2))
    assert np.array_equal(convert(np.repeat(GREY[:, :, None], 3, 2), 1)[:, :, 0], GREY)
    white = np.full((1, 1, 3), 65535, np.uint16)
    assert convert(white, 1).item() == 65535


def test_depths():
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    deep = convert(every, 1, 16)
    assert deep.dtype == np.uint16 and deep.max() == 65535
    assert np.array_equal(convert(deep, 1, 8), every)
    all_deep = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    assert np.array_equal(convert(all_deep, 1, 8), np.round(all_deep / 257).astype(np.uint8))


# EXIF ----------------------------------------------------------------------------------------------------------

FLIPS = {  # stored -> upright, in numpy's words
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", FLIPS)
def test_exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = png(RGB, exif=exif)
    assert np.array_equal(decode(data), FLIPS[orientation](RGB))
    assert np.array_equal(orient(RGB, orientation), FLIPS[orientation](RGB))
    assert decode(data).shape[:2] == (header(data).height, header(data).width)
    photo = encoded(Image.fromarray(RGB), "JPEG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(photo)))
    assert np.array_equal(decode(photo), np.asarray(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_of_a_turned_tiff_has_its_size(orientation):
    """Pillow turns a TIFF while it loads it, and exchanges its sides when it opens it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(RGB), "TIFF", exif=exif)
    assert decode(data).shape[:2] == (header(data).height, header(data).width)


def test_a_broken_exif_block_leaves_the_image():
    data = encoded(Image.fromarray(RGB), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(data).shape == RGB.shape


# Damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("BMP", {}), ("GIF", {}), ("TIFF", {}), ("WEBP", {})],
)
def test_truncated_is_never_filled_in(form, options):
    """Cut anywhere: an error, or all the pixels, never some of them."""
    data = encoded(Image.fromarray(RGB), form, **options)
    whole = decode(data, 3)
    for length in range(1, len(data), max(1, len(data) // 97)):
        try:
            pixels = decode(data[:length], 3)
        except BadImage:
            continue
        assert length > len(data) * 0.9 and np.array_equal(pixels, whole), f"{length} of {len(data)} bytes"
    with pytest.raises(BadImage):
        decode(data[: len(data) // 2])


def test_jpeg_with_a_zeroed_tail():
    """A copy that was stopped on some file systems: right length, zeros at the end. Decoders accept it."""
    data = encoded(Image.fromarray(RGB).resize((200, 200)), "JPEG")
    hurt = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    with pytest.raises(BadImage, match="end marker"):
        decode(hurt)


def test_jpeg_with_bytes_after_its_end_is_whole():
    data = encoded(Image.fromarray(RGB), "JPEG")
    assert np.array_equal(decode(data + b"\xff\xda trailer of a phone"), decode(data))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am text", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "damaged|not an image|truncated"),
        (b"\xff\xd8\xff", "damaged|not an image|truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_what_is_no_image(content, reason, tmp_path):
    with pytest.raises(BadImage, match=reason):
        decode(content)
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(BadImage, match=reason):
        decode(tmp_path / "x.png")
    with pytest.raises(BadImage, match=reason):
        header(tmp_path / "x.png")


def test_damaged_data_inside():
    """One flipped bit anywhere in a PNG's pixels; some of these decode without an error."""
    data = png(RGB)
    start, stop = data.index(b"IDAT") + 4, data.index(b"IEND") - 8
    for at in range(start, stop, max(1, (stop - start) // 200)):
        hurt = bytearray(data)
        hurt[at] ^= 1 << at % 8
        with pytest.raises(BadImage, match="checksum"):
            decode(bytes(hurt))
    for at in (start + 10, (start + stop) // 2):
        with pytest.raises(BadImage):
            decode(data[:at] + bytes(20) + data[at + 20 :])


def test_damage_in_formats_without_checksums():
    """Compressed data that no longer decodes is met while decoding, not passed over."""
    data = encoded(Image.fromarray(RGB), "TIFF", compression="tiff_deflate")
    middle = len(data) // 3
    with pytest.raises(BadImage):
        decode(data[:middle] + bytes(40) + data[middle + 40 :])


def bomb(width, height):
    """A PNG of a few hundred bytes that claims any size."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_too_large_is_refused_before_memory_is_taken(tmp_path):
    for size in ((50_000, 50_000), (14_000, 14_000)):
        with pytest.raises(BadImage, match="too large"):
            decode(bomb(*size))
    (tmp_path / "bomb.png").write_bytes(bomb(50_000, 50_000))
    with pytest.raises(BadImage, match="too large"):
        header(tmp_path / "bomb.png")
    with pytest.raises(BadImage, match=r"too large: 28 x 20 pixels.*100"):
        decode(png(RGB), max_pixels=100)
    assert header(bomb(14_000, 14_000), max_pixels=10**9).width == 14_000  # a larger limit lifts Pillow's, too


def test_missing_and_unreadable(tmp_path, monkeypatch):
    with pytest.raises(BadImage, match="can't be read: No such file"):
        decode(tmp_path / "none.png")
    with pytest.raises(BadImage, match="can't be read"):
        decode(tmp_path)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(BadImage, match="can't be read: Permission denied"):
        decode(tmp_path / "secret.png")
