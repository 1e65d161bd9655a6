"""Parts of large images: the same pixels as the whole image has, whatever the file."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from hubel.data.decode import decode
from hubel.data.regions import Parts, mirrored, regions
from hubel.errors import UserError

HEIGHT, WIDTH = 150, 210
WINDOWS = [(0, HEIGHT, 0, WIDTH), (0, 1, 0, 1), (60, 131, 65, 209), (149, 150, 209, 210), (30, 32, 0, WIDTH)]


def picture(channels=3, depth=8):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 2**depth, (15, 21, channels)).astype(np.uint8 if depth == 8 else np.uint16)
    return np.ascontiguousarray(small.repeat(10, 0).repeat(10, 1))


def same_as_decoded(path):
    whole, found = decode(path), regions(path)
    assert found.size == whole.shape[:2] and found.channels == whole.shape[2]
    for y0, y1, x0, x1 in WINDOWS:
        y1, x1 = min(y1, found.size[0]), min(x1, found.size[1])
        y0, x0 = min(y0, y1 - 1), min(x0, x1 - 1)
        part = found.read(y0, y1, x0, x1)
        assert part.dtype == whole.dtype and np.array_equal(part, whole[y0:y1, x0:x1])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "WEBP", "GIF"])
def test_common_files(tmp_path, form):
    Image.fromarray(picture()).save(tmp_path / "a", form)
    same_as_decoded(tmp_path / "a")


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_modes(tmp_path, mode):
    image = Image.fromarray(picture()).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(picture(1)[..., 0]))
    image.save(tmp_path / "a", "TIFF" if mode == "CMYK" else "PNG", **({"transparency": 3} if mode == "P" else {}))
    same_as_decoded(tmp_path / "a")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_turned_photographs(tmp_path, orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture()).save(tmp_path / "a", form, exif=exif)
    same_as_decoded(tmp_path / "a")


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits(tmp_path, channels):
    cv2.imwrite(str(tmp_path / "a.png"), picture(channels, 16))
    cv2.imwrite(str(tmp_path / "a.tif"), picture(channels, 16))
    same_as_decoded(tmp_path / "a.png")
    same_as_decoded(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
def test_strips_of_tiff(tmp_path, compression):
    Image.fromarray(picture()).save(tmp_path / "a.tif", compression=compression, strip_size=210 * 3 * 16)
    with Image.open(tmp_path / "a.tif") as image:
        assert isinstance(Parts.of(tmp_path / "a.tif", image), Parts)
    same_as_decoded(tmp_path / "a.tif")


def write_tiles(path, image, side, compression, order="<"):
    """A tiled TIFF, each tile compressed by Pillow as a strip of its own."""
    tags, contents = None, []
    for y in range(0, image.shape[0], side):
        for x in range(0, image.shape[1], side):
            tile = np.zeros((side, side, image.shape[2]), image.dtype)
            part = image[y : y + side, x : x + side]
            tile[: part.shape[0], : part.shape[1]] = part
            stream = io.BytesIO()
            Image.fromarray(tile if image.shape[2] == 3 else tile[..., 0]).save(
                stream, "TIFF", compression=compression, strip_size=2**20
            )
            with Image.open(io.BytesIO(stream.getvalue())) as one:
                tags, (start,), (length,) = one.tag_v2, one.tag_v2[273], one.tag_v2[279]
            contents.append(stream.getvalue()[start : start + length])
    starts = np.cumsum([8, *map(len, contents)])
    directory = TiffImagePlugin.ImageFileDirectory_v2(ifh=b"II*\0\0\0\0\0")
    for tag in (258, 259, 262, 277, 284, 347):
        if tag in tags:
            directory.tagtype[tag], directory[tag] = tags.tagtype[tag], tags[tag]
    for tag, value in ((256, image.shape[1]), (257, image.shape[0]), (322, side), (323, side),
                       (324, tuple(starts[:-1].tolist())), (325, tuple(map(len, contents)))):  # fmt: skip
        directory.tagtype[tag], directory[tag] = 4, value
    end = int(starts[-1])
    path.write_bytes(b"II*\0" + end.to_bytes(4, "little") + b"".join(contents) + directory.tobytes(end))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_tiles_of_tiff_are_decoded_one_by_one(tmp_path, compression, channels):
    write_tiles(tmp_path / "a.tif", picture(channels), 64, None if compression == "raw" else compression)
    with Image.open(tmp_path / "a.tif") as image:
        parts = Parts.of(tmp_path / "a.tif", image)
    assert parts is not None and len(parts.offsets) == 12
    parts.read(70, 80, 70, 80)
    assert list(parts.decoded) == [5]
    same_as_decoded(tmp_path / "a.tif")


def test_decoded_tiles_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr("hubel.data.regions.KEPT", 2 * 64 * 64 * 3)
    write_tiles(tmp_path / "a.tif", picture(), 64, "tiff_lzw")
    with Image.open(tmp_path / "a.tif") as image:
        parts = Parts.of(tmp_path / "a.tif", image)
    assert np.array_equal(parts.read(0, HEIGHT, 0, WIDTH), picture())
    assert len(parts.decoded) == 2


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident pages of files are read from /proc")
def test_what_was_read_of_an_array_on_disk_does_not_stay_in_memory(tmp_path):
    """48 MB read in parts: fewer than 12 MB of mapped files are resident afterwards that were not before."""

    def resident():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile")) / 1024

    np.save(tmp_path / "large.npy", np.ones((4000, 4000, 3), np.uint8))
    image, before = regions(tmp_path / "large.npy"), resident()
    assert sum(int(image.read(y, y + 500, 0, 4000).sum()) for y in range(0, 4000, 500)) == 48_000_000
    assert resident() - before < 12


def test_arrays_on_disk_are_mapped(tmp_path):
    np.save(tmp_path / "a.npy", picture(1)[..., 0])
    found = regions(tmp_path / "a.npy")
    assert found.channels == 1 and np.array_equal(found.read(3, 9, 5, 12), picture(1)[3:9, 5:12])


def test_beyond_the_image_it_is_mirrored():
    pixels = picture()[:20, :7]
    found = mirrored(regions(pixels), -9, 31, -15, 20)
    assert np.array_equal(found, np.pad(pixels, ((9, 11), (15, 13), (0, 0)), mode="reflect"))
    assert np.array_equal(mirrored(regions(pixels[:1, :1]), -2, 3, 0, 4), np.tile(pixels[:1, :1], (5, 4, 1)))
    assert np.array_equal(mirrored(regions(pixels), 30, 33, 2, 4), np.pad(pixels, ((0, 13), (0, 0), (0, 0)),
                                                                         mode="reflect")[30:33, 2:4])  # fmt: skip


def test_too_many_pixels_are_refused_unless_allowed(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", picture())
    for name in ("a.png", "a.npy"):
        with pytest.raises(UserError, match="--large"):
            regions(tmp_path / name, max_pixels=1000)
    assert regions(tmp_path / "a.png", max_pixels=HEIGHT * WIDTH).size == (HEIGHT, WIDTH)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    (tmp_path / "a.npy").write_bytes(b"no array")
    np.save(tmp_path / "b.npy", np.zeros((4, 4)))
    for name, words in (("a.png", "not an image"), ("a.npy", "can't be read as an array"), ("b.npy", "float64")):
        with pytest.raises(UserError, match=words):
            regions(tmp_path / name)


def test_a_tile_that_is_cut_off_is_an_error_that_names_the_file(tmp_path):
    write_tiles(tmp_path / "a.tif", picture(), 64, "tiff_lzw")
    with Image.open(tmp_path / "a.tif") as image:
        start = image.tag_v2[324][5]
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[start : start + 40] = b"\xff" * 40
    (tmp_path / "a.tif").write_bytes(data)
    found = regions(tmp_path / "a.tif")
    found.read(0, 10, 0, 10)
    with pytest.raises(UserError, match=r"a\.tif"):
        found.read(70, 80, 70, 80)
