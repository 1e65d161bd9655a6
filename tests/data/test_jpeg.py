"""The fast lane of JPEG: the same pixels as `decode`, the same refusals; what is not plain does not enter."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

import hubel.data.jpeg
from hubel.data.decode import BadImage, decode
from hubel.data.jpeg import plain_file, plain_jpeg


def photo(height=75, width=101, channels=3, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (height // 6 + 2, width // 6 + 2, channels)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)


def jpeg(image=None, mode="RGB", **options):
    image = photo() if image is None else image
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).convert(mode).save(file, "JPEG", **({"quality": 90} | options))
    return file.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(exif=exif)


PLAIN = {
    "baseline": jpeg(),
    "progressive": jpeg(progressive=True),
    "4:4:4": jpeg(subsampling=0),
    "4:2:2": jpeg(subsampling=1),
    "grey": jpeg(photo(channels=1), "L"),
    "one pixel": jpeg(photo(1, 1)),
    "profile": jpeg(icc_profile=b"x" * 300),
    "comment": jpeg(comment=b"\xff\xd9 no end"),
    "restarts": cv2.imencode(".jpg", photo(), [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes(),
    **{f"turned {n}": turned(n) for n in range(1, 9)},
    "turned wrongly": turned(77),
    "xmp": jpeg(xmp=b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PLAIN)
def test_same_pixels_as_decode(name, channels):
    found = plain_jpeg(PLAIN[name])
    expected = decode(PLAIN[name], channels)
    assert found.size == expected.shape[:2]
    assert np.array_equal(found.read(channels), expected)


def test_what_is_not_plain():
    png = io.BytesIO()
    Image.fromarray(photo()).save(png, "PNG")
    twelve = bytearray(PLAIN["baseline"])
    twelve[twelve.index(b"\xff\xc0") + 4] = 12
    lossless = PLAIN["baseline"].replace(b"\xff\xc0", b"\xff\xc3")
    for data in (
        b"",
        b"\xff\xd8",
        png.getvalue(),
        jpeg(mode="CMYK"),
        bytes(twelve),
        lossless,
        b"\xff\xd8\xff" + b"\xff" * 99,
    ):
        assert plain_jpeg(data) is None


def test_too_large_before_it_is_decoded():
    with pytest.raises(BadImage, match="101 x 75 pixels"):
        plain_jpeg(PLAIN["baseline"], max_pixels=7000)


@pytest.mark.parametrize("name", ["baseline", "progressive", "grey", "restarts"])
def test_truncation_is_seen_as_decode_sees_it(name):
    """At every place where a file can end: both refuse, or the header is not even there."""
    data = PLAIN[name]
    for end in range(2, len(data), max(1, len(data) // 150)):
        found = plain_jpeg(data[:end])
        if found is not None:
            with pytest.raises(BadImage):
                found.read(3)
        with pytest.raises(BadImage):
            decode(data[:end])


def test_flipped_bits():
    """Where `decode` refuses, so does the fast lane, or it is not entered; where both read, they read the same."""
    rng = np.random.default_rng(4)
    refused = read = 0
    for name in ("baseline", "progressive", "grey"):
        for _ in range(120):
            data = bytearray(PLAIN[name])
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
            lanes = [
                _outcome(lambda d=bytes(data): plain_jpeg(d).read(3)),
                _outcome(lambda d=bytes(data): decode(d, 3)),
            ]
            refused += lanes[1] is None
            if lanes[0] is not None and lanes[1] is not None:
                assert np.array_equal(*lanes), name
                read += 1
    assert refused and read > 200


def _outcome(read):
    try:
        return read()
    except (BadImage, AttributeError):  # no plain JPEG: None has no `read`
        return None


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("orientation", [1, 6])
def test_scaled_pixels_are_means(scale, orientation):
    """About the mean of scale × scale pixels; their geometry is exactly 1 / scale."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = plain_jpeg(jpeg(cv2.GaussianBlur(photo(96, 160), (0, 0), 3), exif=exif))
    assert found.scale(scale) == found.scale(scale + 0.5) == scale
    small, whole = found.read(3, scale), found.read(3).astype(float)
    h, w = small.shape[:2]
    assert (h * scale, w * scale) == whole.shape[:2] == found.size
    means = whole.reshape(h, scale, w, scale, 3).mean((1, 3))
    assert np.abs(small - means).mean() < 3
    others = np.roll(means, 1, axis=1)
    assert np.abs(small - means).mean() < 0.5 * np.abs(small - others).mean()


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"subsampling": 1}, {"quality": 30}, {"optimize": True}])
def test_first_rows_are_those_of_the_whole(options, scale, capfd, monkeypatch):
    """The same bits, less decoded, and not a word about what is left out."""
    found = plain_jpeg(jpeg(photo(301, 203), **options))
    whole, decoded = found.read(3, scale), []
    read = hubel.data.jpeg._decoded
    monkeypatch.setattr(hubel.data.jpeg, "_decoded", lambda *a: decoded.append(read(*a)) or decoded[-1])
    for rows in range(1, len(whole) + 1, 7):
        part = found.read(3, scale, rows)
        assert rows <= len(part) and np.array_equal(part, whole[: len(part)]), rows
    assert min(map(len, decoded)) < 8 and len(decoded) == len(range(1, len(whole) + 1, 7))  # none twice
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", PLAIN)
def test_rows_that_can_not_be_read_alone(name, capfd):
    """Progressive, restarted, turned, small: then all are decoded, without a word."""
    found = plain_jpeg(PLAIN[name])
    for rows in (1, 20, 60):
        part = found.read(3, 1, rows)
        assert np.array_equal(part, found.read(3)[: len(part)]) and len(part) >= min(rows, found.size[0])
    assert capfd.readouterr() == ("", "")


def test_first_rows_of_what_has_something_behind_its_end(capfd):
    """A second picture, as some cameras append."""
    data = jpeg(photo(200, 160))
    found = plain_jpeg(data + jpeg(photo(64, 64, seed=1)))
    assert np.array_equal(found.read(3, 1, 50), plain_jpeg(data).read(3)[:50])
    assert capfd.readouterr() == ("", "")


def test_first_rows_of_damaged_files():
    """Cut short and given an end, or with flipped bits: refused as the whole is, or the same pixels."""
    rng, same = np.random.default_rng(5), 0
    data = jpeg(photo(200, 160))
    for k in range(300):
        bad = bytearray(data)
        if k % 3:
            bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        else:
            bad = bad[: rng.integers(700, len(bad))] + b"\xff\xd9"
        whole = _outcome(lambda d=bytes(bad): plain_jpeg(d).read(3))
        part = _outcome(lambda d=bytes(bad): plain_jpeg(d).read(3, 1, 80))
        assert (whole is None) == (part is None)
        if whole is not None:
            assert np.array_equal(part, whole[: len(part)])
            same += 1
    assert same > 200


def test_scales_that_are_allowed():
    whole = plain_jpeg(PLAIN["baseline"])  # 75 × 101
    assert [whole.scale(s) for s in (0.3, 1, 1.99, 2, 3.9, 4, 7.9, 8, 50)] == [1, 1, 1, 2, 2, 4, 4, 8, 8]
    assert whole.read(3, 8).shape == (10, 13, 3)
    assert plain_jpeg(PLAIN["turned 6"]).scale(8) == 1  # odd sides: a half column would come first


def test_files(tmp_path):
    (tmp_path / "a.jpg").write_bytes(PLAIN["grey"])
    (tmp_path / "b.jpg").write_bytes(b"hello")
    assert plain_file(tmp_path / "a.jpg").components == 1
    assert plain_file(tmp_path / "b.jpg") is None and plain_file(tmp_path / "c.jpg") is None
