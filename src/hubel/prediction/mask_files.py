"""What is written of a mask: an index PNG, an overlay, COCO run lengths, COCO polygons, and what its numbers mean.

    OUT/masks/NAME.png       8-bit palette: the number of the class, 255 where there is none
    OUT/overlays/NAME.png    the image in grey under the colours of its classes, its longer side at most 4,096
                             pixels; what is "background" stays as it is
    OUT/coco.json            one run-length mask for each class of an image, but for "background"
    OUT/polygons.json        one closed line for each connected region; a hole is cut open along an edge of pixels
    OUT/images/              the images themselves, where asked for: OUT is then a data set
    OUT/data.yaml            names, colours and the ignored value of the index PNGs

PNGs are written from top to bottom as rows come in: a large mask need not be in memory at once.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from msgspec import json

from hubel.data.formats.copies import save_png
from hubel.data.masks import IGNORE
from hubel.data.outlines import polygon_entries, run_entries
from hubel.data.pixels import convert
from hubel.data.png_rows import PngRows
from hubel.data.yaml_file import write_yaml
from hubel.errors import UserError, close_to
from hubel.ops.palette import BACKGROUND, COLOURS, PALETTE, overlay, plain_class
from hubel.training.atomic import make_folder

KINDS = ("mask", "overlay", "coco", "polygons", "images")
USUAL = ("mask", "overlay")
OVERLAY = 4096  # pixels on the longer side of an overlay; larger images are thinned out


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """UserError for a kind of file that there is not."""
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"Files of a mask are {', '.join(KINDS)}; got '{kind}'{close_to(kind, KINDS)}")
    return tuple(dict.fromkeys(kinds))


def colours_of(classes: int) -> np.ndarray:
    """(K, 3) uint8: the colour of each class, as on every page."""
    return np.array(PALETTE, np.uint8)[np.arange(classes) % COLOURS]


def palette_of(classes: int) -> np.ndarray:
    """(256, 3) uint8: the classes in their colours, everything else black."""
    table = np.zeros((256, 3), np.uint8)
    table[:classes] = colours_of(classes)
    return table


# A folder of them ------------------------------------------------------------------------------------------------


class MaskFolder:
    """Masks in a new or empty folder; `close` writes what is about all of them."""

    def __init__(self, out: str | Path, classes: Sequence[str], kinds: Sequence[str] = USUAL):
        self.kinds = check_kinds(kinds)
        self.out, self.classes = Path(out), tuple(classes)
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise UserError(f"{out} is there already. Name a new folder for the masks.")
        self._names: set[str] = set()
        self._images: list[dict[str, Any]] = []
        self._entries: dict[str, list[dict[str, Any]]] = {"coco": [], "polygons": []}

    def __enter__(self) -> Self:
        make_folder(self.out)
        return self

    def __exit__(self, kind: type | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        if fault is None:
            self.close()

    def add(self, name: str, image: Any, bands: Iterator[tuple[int, np.ndarray]]) -> dict[str, Any]:
        """Write one image's files: {"files": {kind: path}, "pixels": (K,) of each class}.

        `image` is what data/regions.py gives; bands (y, (h, W) uint8) come from top to bottom.
        """
        height, width = image.size
        stem, files = self._stem(name), {}
        whole = np.empty((height, width), np.uint8) if {"coco", "polygons"} & set(self.kinds) else None
        mask = self._png("masks", stem, height, width) if "mask" in self.kinds else None
        plain = plain_class(self.classes)
        shown = _Overlay(self._place("overlays", stem), height, width, plain) if "overlay" in self.kinds else None
        counts = np.zeros(256, np.int64)
        for y, band in bands:
            counts += np.bincount(band.ravel(), minlength=256)
            if mask is not None:
                mask.write(band)
            if shown is not None:
                shown.write(y, band, image)
            if whole is not None:
                whole[y : y + len(band)] = band
        for kind, made in (("mask", mask), ("overlay", shown)):
            if made is not None:
                made.close()
                files[kind] = str(self._place(f"{kind}s", stem))
        if whole is not None:
            files |= self._outlined(name, stem, whole)
        if "images" in self.kinds:
            files["images"] = self._copied(name, stem, image)
        return {"files": files, "pixels": counts[: len(self.classes)]}

    def close(self) -> None:
        if "mask" in self.kinds:
            settings: dict[str, Any] = {"names": dict(enumerate(self.classes))}
            settings["colors"] = dict(enumerate(colours_of(len(self.classes)).tolist()))
            write_yaml(self.out / "data.yaml", settings | {"ignore": [IGNORE]})
        for kind, entries in self._entries.items():
            if kind in self.kinds:
                known = [{"id": k + 1, "name": name} for k, name in enumerate(self.classes) if name != BACKGROUND]
                numbered = [{"id": i + 1, **entry} for i, entry in enumerate(entries)]
                document = {"images": self._images, "annotations": numbered, "categories": known}
                (self.out / f"{kind}.json").write_bytes(json.encode(document))

    def _stem(self, name: str) -> str:
        """A file's name without its ending; a number is added where two are called alike."""
        plain = re.sub(r"[^\w.\-]+", "_", Path(name).stem).strip("._") or "image"
        stem, number = plain, 2
        while stem.casefold() in self._names:
            stem, number = f"{plain}-{number}", number + 1
        self._names.add(stem.casefold())
        return stem

    def _place(self, folder: str, stem: str) -> Path:
        (self.out / folder).mkdir(exist_ok=True)
        return self.out / folder / f"{stem}.png"

    def _png(self, folder: str, stem: str, height: int, width: int) -> PngRows:
        return PngRows(self._place(folder, stem), height, width, palette_of(len(self.classes)))

    def _copied(self, name: str, stem: str, image: Any) -> str:
        """The file as it is; of what is no file of an image format its pixels."""
        source, place = Path(name), self._place("images", stem)
        if source.is_file() and source.suffix.lower() not in ("", ".npy"):
            place = place.with_suffix(source.suffix)
            shutil.copyfile(source, place)
        else:
            save_png(image.read(0, image.size[0], 0, image.size[1]), place)
        return str(place)

    def _outlined(self, name: str, stem: str, labels: np.ndarray) -> dict[str, str]:
        number, files = len(self._images) + 1, {}
        ending = Path(name).suffix if Path(name).suffix.lower() not in ("", ".npy") else ".png"
        height, width = labels.shape
        self._images.append({"id": number, "file_name": f"{stem}{ending}", "height": height, "width": width})
        for kind, entries_of in (("coco", run_entries), ("polygons", polygon_entries)):
            if kind in self.kinds:
                for k in np.unique(labels).tolist():
                    if k < len(self.classes) and self.classes[k] != BACKGROUND:
                        common = {"image_id": number, "category_id": k + 1, "iscrowd": 0}
                        self._entries[kind] += [common | entry for entry in entries_of(labels, k)]
                files[kind] = str(self.out / f"{kind}.json")
        return files


class _Overlay:
    """Every n-th pixel of every n-th row, under the colours of their classes; the class `plain` stays as it is."""

    def __init__(self, path: Path, height: int, width: int, plain: int | None):
        self.plain = plain
        self.every = -(-max(height, width) // OVERLAY)
        self._rows = PngRows(path, -(-height // self.every), -(-width // self.every))

    def write(self, y: int, band: np.ndarray, image: Any) -> None:
        n = self.every
        for start in range(-y % n, len(band), max(n, 256 // n * n)):
            stop = min(start + max(n, 256 // n * n), len(band))
            pixels = convert(image.read(y + start, y + stop, 0, band.shape[1])[::n, ::n], 3, 8)
            numbers = band[start:stop:n, ::n]
            self._rows.write(overlay(pixels, numbers, self.plain))

    def close(self) -> None:
        self._rows.close()
