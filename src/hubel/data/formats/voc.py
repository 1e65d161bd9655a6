"""Pascal VOC: an XML file of boxes for each image, and lists of the images of each part.

JPEGImages/ID.jpg, Annotations/ID.xml, ImageSets/Main/{train,val,test,trainval}.txt; also images/ + annotations/, or
XML files beside the images (labelling tools), each in ROOT or in ROOT/<part>. SegmentationClass/ID.png becomes the
column "mask"; where there is no XML file at all, the data set has no objects. Coordinates: `voc_xml`; a coordinate of 0
anywhere says that they count from 0, the notes tell.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.decode import MAX_PIXELS
from hubel.data.findings import Finding
from hubel.data.formats.fence import Fence, printable
from hubel.data.formats.layout import PART_NAMES, Gathered, holds, subfolders
from hubel.data.formats.parts import read_lists
from hubel.data.formats.voc_masks import FOLDER, masks_column
from hubel.data.formats.voc_objects import class_names, content, pack_objects, read_annotations
from hubel.data.formats.voc_write import write
from hubel.data.formats.voc_xml import Refused, parse
from hubel.data.formats.walk import natural
from hubel.errors import UserError

__all__ = ["read", "recognise", "write"]

IMAGES = ("jpegimages", "images", "imgs", "img")
COMMON = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
LOOKS = 5  # XML files that recognising opens
XMLS = ("annotations", "xmls", "xml", "labels")


@dataclass(frozen=True)
class Shelf:
    """Where images and their XML files are, relative to the root; `part` as the folder above them is called, or "".
    `xmls` is "" where there are masks only."""

    part: str
    images: str
    xmls: str


def recognise(path: Path) -> str | None:
    """Why this is a VOC data set, or None: XML files that begin as annotations do, and images."""
    if not path.is_dir():
        return None
    home = _home(path)
    found = _shelves(home) if home else []
    if found and not found[0].xmls:
        return f"images in {found[0].images}, masks in {FOLDER}"
    return f"XML annotations in {printable(found[0].xmls)}" if found else None


def read(
    path: Path, *, channels: int | None = None, max_pixels: int = MAX_PIXELS, origin: int | None = None
) -> Dataset:
    """The data set. `origin`: 0 or 1, what the files count pixels from, where they don't tell.

    Raises UserError where there are no images, or `origin` is something else.
    """
    if origin not in (None, 0, 1):
        raise UserError(f"origin is 0 or 1, what the first pixel of a row is called; got {origin}.")
    home = _home(path)
    if home is None:
        years = ", ".join(folder.name for folder in _editions(path))
        raise UserError(f"{path} holds several VOC data sets: {years}. Open one of them.")
    found = Gathered(Fence(home))
    described = any(shelf.xmls for shelf in _shelves(home))
    xmls = _gather(found, home)
    if not found.names:
        raise UserError(f"{path}: XML annotations, but no images beside them or in JPEGImages. Add the images.")
    read_in = read_annotations(found, xmls)
    read_lists(found, ("ImageSets/Main", "ImageSets/Segmentation", "ImageSets"))
    classes, numbers = class_names(found, home, read_in)
    splits = found.splits()
    images = found.images(channels, max_pixels)
    columns: dict[str, Any] = {"objects": pack_objects(found, xmls, read_in, numbers, origin)} if described else {}
    sizes = np.array([one.size if one else (0, 0) for one in read_in], dtype=np.int64).reshape(-1, 2)
    columns |= {"declared_size": sizes} if sizes.any() else {}
    mask = masks_column(found, home, images, classes)
    columns |= {"mask": mask} if mask is not None else {}
    classes = classes if described or mask is None else mask.classes
    return Dataset(
        printable(Path(found.fence.root).name), images, columns, classes, splits, source=str(path.resolve()),
        format="voc", notes=tuple(found.notes), findings=tuple(found.findings),
    )  # fmt: skip


# Where things are ----------------------------------------------------------------------------------------------


def _editions(path: Path) -> list[Path]:
    return [folder for folder in subfolders(path) if (folder / "Annotations").is_dir()]


def _home(path: Path) -> Path | None:
    """The folder itself, or the only VOC20xx in a VOCdevkit; None where there are several."""
    if _shelves(path):
        return path
    below = _editions(path)
    return below[0] if len(below) == 1 else (None if below else path)


def _shelves(root: Path) -> list[Shelf]:
    """All below the root; with them parts that have only images, such as a test part without its answers."""
    found, bare = [], []
    for folder in [root, *(f for f in subfolders(root) if f.name.lower() in PART_NAMES)]:
        below = {f.name.lower(): f for f in subfolders(folder)}
        images = [below[name] for name in IMAGES if name in below]
        boxes = [f for name in XMLS if name in below for f in (below[name] / "xmls", below[name])]
        pictures = next((f for f in images if holds(f, COMMON)), folder)
        xml = next((f for f in boxes if _has_annotations(f, deep=True)), None)
        xml = folder if xml is None and _has_annotations(folder, deep=False) else xml
        part = "" if folder == root else folder.name
        shelf = Shelf(part, str(pictures.relative_to(root)), str((xml or pictures).relative_to(root)))
        if xml is not None:
            found.append(shelf)
        elif part and holds(pictures, COMMON):
            bare.append(shelf)
    if not found and _bare_masks(root):
        return [Shelf("", next(f.name for f in subfolders(root) if f.name.lower() == IMAGES[0]), "")]
    return found + bare if found else []


def _bare_masks(root: Path) -> bool:
    """JPEGImages/ and SegmentationClass/ without Annotations/."""
    below = {f.name.lower(): f for f in subfolders(root)}
    return IMAGES[0] in below and holds(below[IMAGES[0]], COMMON) and holds(root / FOLDER, (".png",))


def _has_annotations(folder: Path, deep: bool) -> bool:
    """Whether one of the first XML files is an annotation; `deep`: those in folders below count."""
    if not holds(folder, (".xml",), deep):
        return False
    seen = 0
    for base, folders, files in os.walk(folder):
        for name in sorted(name for name in files if name.lower().endswith(".xml"))[:LOOKS]:
            seen += 1
            if _begins_right(Path(base, name)):
                return True
        if seen >= LOOKS or not deep:
            return False
        folders.sort()
    return False


def _begins_right(file: Path) -> bool:
    try:
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            return b"<annotation" in opened.read(2048)
    except OSError:
        return False


def _gather(found: Gathered, home: Path) -> dict[int, str]:
    """All images, and {position: its XML file}; XML files without an image are named."""
    xmls: dict[int, str] = {}
    for shelf in _shelves(home):
        part = PART_NAMES.get(shelf.part.lower(), "")
        names = found.add_folder(shelf.images, part, deep=shelf.images != shelf.xmls and shelf.images != ".")
        own = {_key(name, shelf.images): found.positions[name] for name in reversed(names) if name in found.positions}
        files = _xml_files(Path(found.fence.root), shelf.xmls) if shelf.xmls else []
        for file in files:
            image = own.get(_key(file, shelf.xmls))
            image = image if image is not None else _by_filename(found, file, shelf)
            if image is None:
                reason, action = "an annotation of an image that is not there", "Add the image, or remove the file."
                found.findings.append(Finding("missing file", printable(file), reason, action))
            elif image in xmls:
                reason = f"{found.label(image)} is described by {printable(xmls[image])} already"
                found.findings.append(Finding("listed twice", printable(file), reason, "Keep one of them.", 0, image))
            else:
                xmls[image] = file
        what = f", the {part} part" if part else ""
        described = f"{len(files):,} XML files in {shelf.xmls}{what}" if shelf.xmls else "no XML files"
        found.notes.append(f"VOC: {len(names):,} images in {shelf.images}, {described}")
    if xmls:
        _without(found, xmls)
    return xmls


def _key(name: str, folder: str) -> str:
    path = PurePosixPath(name)
    return str((path if folder == "." else path.relative_to(folder)).with_suffix(""))


def _xml_files(root: Path, folder: str) -> list[str]:
    """Relative to the root, in natural order; below the folder, but not below the root itself."""
    path = root / folder
    names: list[str] = []
    for base, folders, files in os.walk(path):
        names += [os.path.relpath(os.path.join(base, f), root) for f in files if f.lower().endswith(".xml")]  # noqa: PTH118
        if any(f.lower() in (*IMAGES, *PART_NAMES) for f in folders):
            break  # XML files beside images: those of other folders are not ours
    return sorted(names, key=natural)


def _by_filename(found: Gathered, file: str, shelf: Shelf) -> int | None:
    """The image that a file of another name says it describes."""
    data = content(found.fence, file)
    try:
        said = parse(data).values.get("filename", "") if isinstance(data, bytes) else ""
    except Refused:
        return None
    relative = found.fence.relative(said.replace("\\", "/"), shelf.images) if said else None
    return found.positions.get(relative) if relative else None


def _without(found: Gathered, xmls: dict[int, str]) -> None:
    """Images without an annotation: for VOC that is no statement that they show nothing."""
    bare = [i for i in range(len(found.names)) if i not in xmls]
    if len(bare) > len(found.names) // 2:
        found.notes.append(f"{len(bare):,} images have no XML file: they count as images without objects")
        return
    for i in bare:
        reason, action = "no XML file: it counts as an image without objects", "Add the file, or remove the image."
        found.findings.append(Finding("missing annotation", found.label(i), reason, action, 0, i))
