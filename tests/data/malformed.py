"""Malformed and unusual image files, made from good ones: what the tests sample and the bench goes through.

`cases()` gives (name, content, wanted): "named" must be a finding, "honest" must be a finding or decode as Pillow
does, "exact" must be a finding or have the good file's pixels, any other word is the kind of the finding.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, features

CUTS = 32
FLIPS = 48


@dataclass(frozen=True)
class Case:
    name: str
    content: bytes
    wanted: str
    origin: str = ""  # the good file that it was made from


def photo(width=96, height=72, seed=0) -> Image.Image:
    """Smooth colours and a little noise."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height), 3)
    noise = random.integers(-12, 13, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse).astype(int) + noise, 0, 255).astype(np.uint8))


def saved(image: Image.Image, form: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def good() -> dict[str, bytes]:
    """{name: content} of whole files, one of each kind."""
    image = photo()
    files = {
        "base.jpg": saved(image, "JPEG", quality=88),
        "progressive.jpg": saved(image, "JPEG", quality=88, progressive=True),
        "restart.jpg": saved(image, "JPEG", quality=88, restart_marker_rows=2),
        "grey.jpg": saved(image.convert("L"), "JPEG"),
        "colour.png": saved(image, "PNG"),
        "grey.png": saved(image.convert("L"), "PNG"),
        "picture.gif": saved(image, "GIF"),
        "picture.bmp": saved(image, "BMP"),
        "raw.tif": saved(image, "TIFF"),
        "deflate.tif": saved(image, "TIFF", compression="tiff_deflate"),
        "lzw.tif": saved(image, "TIFF", compression="tiff_lzw"),
        "picture.ppm": saved(image, "PPM"),
    }
    if features.check("webp"):
        files |= {"lossy.webp": saved(image, "WEBP"), "lossless.webp": saved(image, "WEBP", lossless=True)}
    if features.check("jpg_2000"):
        files["picture.jp2"] = saved(image, "JPEG2000")
    if features.check("avif"):
        files["picture.avif"] = saved(image, "AVIF")
    return files


def cases(seed: int = 0) -> Iterator[Case]:
    """About 2,000, the same for the same seed."""
    files = good()
    random = np.random.default_rng(seed)
    for name, content in files.items():
        yield from _truncated(name, content)
        yield from _zeroed(name, content)
        yield from _flipped(name, content, random)
        yield from _renamed(name, content)
    yield from _bombs()
    yield from _odd()
    yield from _no_images(random)


def large() -> dict[str, bytes]:
    """{name: content} of whole files of 12 million pixels, as telephones make them."""
    image = photo(4000, 3000)
    return {"big.jpg": saved(image, "JPEG", quality=88), "big_progressive.jpg": saved(image, "JPEG", progressive=True),
            "big.png": saved(image, "PNG", compress_level=1)}  # fmt: skip


def large_cases(seed: int = 0) -> Iterator[Case]:
    """The same damage to large files, some of it."""
    random = np.random.default_rng(seed)
    for name, content in large().items():
        yield from list(_truncated(name, content))[:: CUTS // 4]
        yield from list(_zeroed(name, content))[::4]
        yield from list(_flipped(name, content, random))[:: FLIPS // 4]


def _strict(name: str) -> bool:
    """Whether the format itself tells that something is missing."""
    return name.endswith((".jpg", ".png"))


def _truncated(name: str, content: bytes) -> Iterator[Case]:
    for k in range(CUTS):
        wanted = "named" if _strict(name) or k == 0 else "honest"
        yield Case(f"cut{k:02}-{name}", content[: len(content) * k // CUTS], wanted, name)


def _zeroed(name: str, content: bytes) -> Iterator[Case]:
    """From k/16 on zero bytes: what a disk leaves of a file that was never flushed."""
    for k in range(16):
        start = len(content) * k // 16
        wanted = "named" if _strict(name) or k == 0 else "honest"
        yield Case(f"zero{k:02}-{name}", content[:start] + bytes(len(content) - start), wanted, name)


def _flipped(name: str, content: bytes, random: np.random.Generator) -> Iterator[Case]:
    """One bit, and a run of random bytes."""
    wanted = "exact" if name.endswith(".png") else "honest"
    for k in range(FLIPS):
        data = bytearray(content)
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        yield Case(f"bit{k:02}-{name}", bytes(data), wanted, name)
    for k in range(FLIPS // 2):
        data = bytearray(content)
        at = int(random.integers(len(data)))
        data[at : at + 16] = random.bytes(len(data[at : at + 16]))
        yield Case(f"run{k:02}-{name}", bytes(data), wanted, name)


def _renamed(name: str, content: bytes) -> Iterator[Case]:
    stem, ending = name.rsplit(".", 1)
    other = "png" if ending != "png" else "jpg"
    yield Case(f"{ending}-{stem}.{other}", content, "wrong ending", name)


# Bombs -------------------------------------------------------------------------------------------------------------


def png(width: int, height: int, colour: int, rows: bytes, depth: int = 8, extra: bytes = b"") -> bytes:
    """A PNG of compressed rows, whatever its header says."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(count: int) -> bytes:
    """Compressed zero bytes, without having them all."""
    packer, out, block = zlib.compressobj(9), [], bytes(2**20)
    while count > 0:
        out.append(packer.compress(block[: min(count, len(block))]))
        count -= len(block)
    return b"".join([*out, packer.flush()])


def _bombs() -> Iterator[Case]:
    bomb = "decompression bomb"
    yield Case("claims.png", png(60_000, 60_000, 2, zeros(1000)), bomb)
    yield Case("wide.png", png(2**31 - 1, 1, 0, zeros(1000)), bomb)
    yield Case("full.png", png(12_000, 12_000, 2, zeros(12_000 * (3 * 12_000 + 1))), bomb)
    yield Case("grey_full.png", png(13_000, 13_000, 0, zeros(13_000 * 13_001)), bomb)
    small = zlib.compress(b"".join(b"\0" + bytes(48) for _ in range(16)))
    text = chunk(b"zTXt", b"a\0\0" + zeros(300_000_000))
    yield Case("text.png", png(16, 16, 2, small, extra=text), "honest")
    profile = chunk(b"iCCP", b"a\0\0" + zeros(300_000_000))
    yield Case("profile.png", png(16, 16, 2, small, extra=profile), "honest")
    gif = bytearray(saved(photo(8, 8), "GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    yield Case("claims.gif", bytes(gif), bomb)
    bmp = bytearray(saved(photo(8, 8), "BMP"))
    bmp[18:26] = struct.pack("<ii", 50_000, 50_000)
    yield Case("claims.bmp", bytes(bmp), bomb)
    jpeg = bytearray(saved(photo(16, 16), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    yield Case("claims.jpg", bytes(jpeg), bomb)
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 12_000, 12_000)
    yield Case("below_limit.jpg", bytes(jpeg), "named")
    yield Case("scans.jpg", _scans(2800, 1000), bomb)
    yield Case("claims.ppm", b"P6 40000 40000 255\n" + bytes(300), bomb)
    yield Case("below_limit.ppm", b"P6 13000 13000 255\n" + bytes(300), "named")
    yield Case("claims.tif", _tiff(60_000, 60_000), bomb)
    yield Case("below_limit.tif", _tiff(12_000, 12_000), "named")


def _scans(side: int, count: int) -> bytes:
    """A progressive JPEG whose last scan stands there again and again: each goes over all pixels."""
    data = saved(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    table = data.rindex(b"\xff\xc4", 0, last)
    start = table if table > data.rindex(b"\xff\xda", 0, last) else last
    return data[:-2] + data[start:-2] * count + data[-2:]


def _tiff(width: int, height: int) -> bytes:
    """A little TIFF that claims a size."""
    data = bytearray(saved(Image.new("L", (7, 5)), "TIFF"))
    for tag, value in ((256, width), (257, height)):
        at = data.index(struct.pack("<H", tag), 8)
        data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, value)
    return bytes(data)


# Unusual, and no images ----------------------------------------------------------------------------------------------


def _odd() -> Iterator[Case]:
    image = photo()
    yield Case("print.jpg", saved(image.convert("CMYK"), "JPEG"), "CMYK")
    yield Case("print.tif", saved(image.convert("CMYK"), "TIFF"), "CMYK")
    deep = np.arange(72 * 96, dtype=np.uint16).reshape(72, 96) * 9
    yield Case("deep.png", saved(Image.fromarray(deep), "PNG"), "16 bits")
    yield Case("deep.tif", saved(Image.fromarray(deep), "TIFF"), "16 bits")
    rgb16 = zlib.compress(b"".join(b"\0" + bytes(range(48)) * 2 for _ in range(16)))
    yield Case("deep_colour.png", png(16, 16, 2, rgb16, depth=16), "16 bits")
    yield Case("glass.png", saved(image.convert("RGBA"), "PNG"), "transparency")
    yield Case("few.png", saved(image.convert("P"), "PNG"), "palette")
    yield Case("bit.png", saved(image.convert("1"), "PNG"), "one bit")
    frames = [photo(seed=k) for k in range(3)]
    yield Case("moving.gif", saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), "animation")
    yield Case("moving.png", saved(frames[0], "PNG", save_all=True, append_images=frames[1:]), "animation")
    if features.check("webp"):
        yield Case("moving.webp", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]), "animation")
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield Case(f"turned{orientation}.jpg", saved(image, "JPEG", exif=exif), "turned")
    floats = Image.fromarray(np.linspace(0, 1, 72 * 96, dtype=np.float32).reshape(72, 96))
    yield Case("floats.tif", saved(floats, "TIFF"), "named")
    wide = Image.fromarray((np.arange(72 * 96, dtype=np.int32) * 1000).reshape(72, 96))
    yield Case("wide.tif", saved(wide, "TIFF"), "named")


def _no_images(random: np.random.Generator) -> Iterator[Case]:
    yield Case("empty.jpg", b"", "named")
    for k, size in enumerate((1, 2, 3, 10, 100, 5000)):
        yield Case(f"zeros{k}.png", bytes(size), "named")
        yield Case(f"noise{k}.jpg", random.bytes(size), "named")
    yield Case("page.jpg", b"<!DOCTYPE html><html><title>404 Not Found</title></html>", "named")
    yield Case("words.png", b"this is no image\n" * 40, "named")
    yield Case("vector.png", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "named")
    yield Case("archive.jpg", zlib.compress(b"abc" * 1000), "named")
    yield Case("pointer.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "named")
    for start in (
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"II*\0",
        b"RIFF\x10\0\0\0WEBP",
        b"P6\n",
    ):
        yield Case(f"start{start[:2].hex()}.jpg", start, "named")
        yield Case(f"start{start[:2].hex()}_noise.jpg", start + random.bytes(400), "named")
