"""Kinds of image files that deserve a word, told from their headers: what is converted, left out or turned when read.

content of a file -> uint16 bits, one per kind; kinds that many images share are said once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from PIL import Image

from hubel.data.decode import orientation_of
from hubel.data.findings import Finding
from hubel.data.images import Images

ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "MPO": (".jpg", ".jpeg", ".mpo"), "PNG": (".png",),
    "GIF": (".gif",), "BMP": (".bmp", ".dib"), "DIB": (".bmp", ".dib"), "WEBP": (".webp",), "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"), "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx"), "AVIF": (".avif",),
}  # fmt: skip
MANY = 0.2  # of the images: what more of them share is said once
SEVERAL = 3  # images, and more: a few are named one by one, however few there are in all


@dataclass(frozen=True)
class Kind:
    """One kind: its bit, what it means, and what to do."""

    name: str
    reason: str
    action: str
    severity: str = "note"


KINDS = (
    Kind("CMYK", "colours for print (CMYK)", "They are converted to RGB without their profile; look at them, or save "
         "them as RGB with a program that knows the profile.", "warning"),
    Kind("16 bits", "16 bits per value", "Nothing: all bits are kept. Where the other images have 8, these are "
         "brought to the same scale."),
    Kind("transparency", "transparent pixels", "They are laid on white; lay them on another ground yourself where "
         "white is wrong."),
    Kind("palette", "a palette of colours", "Nothing: the colours are looked up. A file of class numbers is a mask and "
         "no image."),
    Kind("animation", "several frames", "Only the first frame is read; save the others as images of their own where "
         "they matter.", "warning"),
    Kind("turned", "stored turned, with an EXIF tag that says so", "Nothing for the image: it is turned upright. Boxes "
         "must be drawn on the upright image."),
    Kind("wrong ending", "its name ends otherwise than its content", "Nothing: the content counts. Rename it, since "
         "other programs go by the name.", "warning"),
    Kind("one bit", "black and white only, one bit per pixel", "Nothing: it is read as 0 and 255."),
)  # fmt: skip
BITS = {kind.name: np.uint16(1 << k) for k, kind in enumerate(KINDS)}


def odd_kinds(image: Image.Image, name: str, depth: int) -> int:
    """The bits of an image that Pillow has opened, whose file is called `name`; nothing is decoded."""
    found = {
        "CMYK": image.mode in ("CMYK", "YCCK", "LAB"),
        "16 bits": depth == 16,
        "transparency": image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info,
        "palette": image.mode in ("P", "PA"),
        "animation": image.format != "MPO" and bool(getattr(image, "is_animated", False)),
        "turned": orientation_of(image) != 1,
        "wrong ending": _ends_wrong(image.format or "", name),
        "one bit": image.mode == "1",
    }
    return sum(int(BITS[kind]) for kind, true in found.items() if true)


def _ends_wrong(form: str, name: str) -> bool:
    """A known ending of another format; a name without a telling one is none."""
    ending = os.path.splitext(name)[1].lower()  # noqa: PTH122, hot: a Path per file is slow
    known = {e for endings in ENDINGS.values() for e in endings}
    return ending in known and ending not in ENDINGS.get(form, ())


def odd_findings(images: Images, bits: np.ndarray) -> list[Finding]:
    """bits (N,) uint16 -> a finding per image and kind, or one for all where many share a kind."""
    found: list[Finding] = []
    for kind in KINDS:
        hit = np.flatnonzero(bits & BITS[kind.name])
        if len(hit) > max(SEVERAL, MANY * len(images)):
            reason = f"{len(hit):,} of {len(images):,} images: {kind.reason}"
            severity = "note" if kind.severity == "note" else "warning"
            found.append(Finding(kind.name, "", reason, kind.action, image=int(hit[0]), severity=severity))
            continue
        found += [
            Finding(kind.name, images.name(i), kind.reason, kind.action, image=i, severity=kind.severity)
            for i in hit.tolist()
        ]
    return found
