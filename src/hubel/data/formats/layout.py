"""Folders of images beside folders of what belongs to them: images/ + labels/, images/ + masks/, once or in each part.

ROOT/images/… + ROOT/labels/…, with or without parts below both (images/train + labels/train), or
ROOT/<part>/images + ROOT/<part>/labels. An image and its partner have the same path below the two folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from hubel.data.dataset import SPLITS
from hubel.data.findings import Finding
from hubel.data.formats.fence import Fence, printable
from hubel.data.formats.folder import SPLITS as FOLDERS
from hubel.data.formats.walk import folders, is_image, natural, scan
from hubel.data.images import FileImages, PackedNames, survey
from hubel.errors import UserError

GLANCE = 2000  # entries that recognising looks at
PART_NAMES = {"train-dev": "train-dev", "unsplit": ""} | FOLDERS  # of files and folders -> the part that they mean


@dataclass(frozen=True)
class Pair:
    """A folder of images and its partner, relative to the root; `part` as the folder above them is called, or ""."""

    part: str
    images: str
    partner: str


def pairs(root: Path, partners: Sequence[str], endings: tuple[str, ...]) -> list[Pair]:
    """All pairs below the root, where a partner holds a file with one of the endings; [] where none does.

    A part that has only images, such as a test part whose answers are not given out, is a pair with an empty partner.
    """
    found, bare = [], []
    for folder in [root, *(f for f in subfolders(root) if f.name.lower() in PART_NAMES)]:
        below = {f.name.lower(): f for f in subfolders(folder)}
        if "images" not in below:
            continue
        part = "" if folder == root else folder.name
        images = str(below["images"].relative_to(root))
        partner = next((below[p] for p in partners if p in below and holds(below[p], endings)), None)
        if partner is not None:
            found.append(Pair(part, images, str(partner.relative_to(root))))
        elif part:
            bare.append(Pair(part, images, str(PurePosixPath(images).parent / partners[0])))
    return found + bare if found else []


def subfolders(folder: Path) -> list[Path]:
    """Folders directly below; [] where there are none or they can't be listed."""
    try:
        return folders(folder) if folder.is_dir() else []
    except UserError:
        return []


def holds(folder: Path, endings: tuple[str, ...], deep: bool = True) -> bool:
    """Whether a file with one of the endings is among the first few entries, level by level."""
    return any(name.lower().endswith(endings) for name in _glance(folder, deep))


def _glance(folder: Path, deep: bool) -> Iterator[str]:
    level, seen = [str(folder)], 0
    for _ in range(4 if deep else 1):
        below: list[str] = []
        for one in level:
            try:
                with os.scandir(one) as entries:
                    for entry in entries:
                        seen += 1
                        if seen > GLANCE:
                            return
                        if entry.is_dir():
                            below.append(entry.path)
                        elif not entry.name.startswith("."):
                            yield entry.name
            except OSError:
                continue
        level = below


@dataclass
class Gathered:
    """Images of a data set while it is read: each once, in the order of the parts, with what went wrong."""

    fence: Fence
    names: list[str] = field(default_factory=list)  # relative to the root
    positions: dict[str, int] = field(default_factory=dict)
    parts: dict[str, list[int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, part: str = "", said_by: str = "", line: int = 0) -> None:
        """An image, and the part that it is in. One that may not be opened, or is there twice, becomes a finding."""
        if name not in self.positions:
            fault = self.fence.fault(name)
            if fault:
                self.refuse(name, fault, said_by, line)
                return
            self.positions[name] = len(self.names)
            self.names.append(name)
        position = self.positions[name]
        if part:
            self.parts.setdefault(part, []).append(position)

    def may_open(self, name: str) -> bool:
        """Whether the file is there, and inside; one that is there but leads outside becomes a finding."""
        fault = self.fence.fault(name)
        if fault == "outside":
            self.refuse(name, fault)
        return not fault

    def refuse(self, name: str, fault: str, said_by: str = "", line: int = 0) -> None:
        self.findings.append(refusal(name, fault, said_by, line))

    def add_folder(self, folder: str, part: str = "", deep: bool = True) -> list[str]:
        """All images below a folder, in natural order; gives their names. Parts are as the folders below say."""
        root = Path(self.fence.root)
        if not self.fence.inside(folder):
            self.refuse(folder, "outside")
            return []
        names = scan(root / folder, root).files if deep else direct_images(root / folder, root)
        names = [os.path.normpath(name) for name in names]
        kinds: dict[str, dict[str, str]] = {}
        parts: dict[str, str] = {}
        for name in names:
            above, _, last = name.rpartition("/")
            if above not in kinds:
                kinds[above] = self.fence.kinds(above) or {}
                parts[above] = part or part_below(name, folder)
            if kinds[above].get(last) == "file" and name not in self.positions:  # plain, in a folder that is inside
                self.positions[name] = len(self.names)
                self.names.append(name)
            self.add(name, parts[above])
        return names

    def splits(self) -> dict[str, np.ndarray]:
        """Positions of each part, rising, each once; images listed twice and parts that overlap are named."""
        found = {}
        for part in (name for name in SPLITS if name in self.parts):
            index, counts = np.unique(np.array(self.parts[part], dtype=np.int64), return_counts=True)
            found[part] = index
            self._name(index[counts > 1], f"twice in the {part} part", "Remove one of the two entries.")
        for k, (part, index) in enumerate(found.items()):
            for other in list(found)[k + 1 :]:
                both = np.intersect1d(index, found[other])
                self._name(
                    both, f"in {part} and in {other}", "Keep each image in one part only: scores would be too good."
                )
        return found

    def _name(self, positions: np.ndarray, what: str, action: str) -> None:
        if len(positions):
            first, count = int(positions[0]), len(positions)
            reason = f"{count:,} images are {what}" if count > 1 else f"the image is {what}"
            self.findings.append(Finding("listed twice", printable(self.names[first]), reason, action, image=first))

    def images(self, channels: int | None, max_pixels: int) -> FileImages:
        """The files, read with as many channels and bits as those that were looked at have."""
        root = self.fence.root
        paths = [os.path.join(root, name) for name in self.names]  # noqa: PTH118
        seen, depth = survey(paths, max_pixels=max_pixels)
        if depth == 16:
            self.notes.append("16 bits per value are kept")
        return FileImages(root, PackedNames.pack(self.names), channels or seen, depth, max_pixels, bool(channels))

    def label(self, position: int) -> str:
        return printable(self.names[position])


def refusal(name: str, fault: str, said_by: str = "", line: int = 0) -> Finding:
    """The finding for a file that was not opened."""
    reason, action = {
        "outside": ("leads outside the data set's folder and is not opened", "Copy the file into the folder."),
        "missing": ("there is no such file", "Add the file, or remove the entry."),
        "no file": ("this is no regular file", "Replace it by a file, or remove the entry."),
    }[fault]
    kind = {"outside": "outside folder"}.get(fault, "missing file")
    shown = printable(name)
    reason = f"'{shown}': {reason}" if said_by else reason
    return Finding(kind, printable(said_by) or shown, reason, action, line, severity="error")


def direct_images(folder: Path, root: Path) -> list[str]:
    """Images directly in the folder, relative to the root, in natural order."""
    try:
        entries = sorted(os.scandir(folder), key=lambda e: natural(e.name))
    except OSError as fault:
        raise UserError(f"{folder} can't be read: {os.strerror(fault.errno or 0)}. Check its permissions.") from fault
    return [os.path.relpath(entry.path, root) for entry in entries if is_image(entry)]


def part_below(name: str, folder: str) -> str:
    """The part that the first folder below `folder` says, as in images/train/a.jpg; "" where it says none."""
    below = PurePosixPath(name).relative_to(folder).parts
    return PART_NAMES.get(below[0].lower(), "") if len(below) > 1 else ""
