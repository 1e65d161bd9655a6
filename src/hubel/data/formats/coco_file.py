"""One COCO JSON file, cut into its entries without reading them: views into the file, no copies.

JSON has no word for NaN and infinity, yet Python writes them: they become text of the same length, so that the entry
they stand in is found out later and all others are read as usual.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from msgspec import DecodeError, Raw, Struct, ValidationError
from msgspec.json import Decoder

from hubel.data.formats.coco_log import Log
from hubel.errors import UserError

MAX_BYTES = 2**34
BOM = b"\xef\xbb\xbf"
TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?Infinity|NaN', re.DOTALL)
SPOKEN = {b"NaN": b'"N"', b"Infinity": b'"Infini"', b"-Infinity": b'"-Infini"'}


class Document(Struct):
    """The three lists, unread."""

    images: Raw = Raw(b"null")
    annotations: Raw = Raw(b"null")
    categories: Raw = Raw(b"null")


class Cut(Struct):
    """The entries of each list, unread."""

    images: list[Raw]
    annotations: list[Raw]
    categories: list[Raw] = []


def cut(path: Path, log: Log) -> Cut:
    """Raises UserError where the file is no JSON, has no list of images, or is COCO of another kind."""
    data = _bytes(path)
    try:
        found = Decoder(Cut).decode(data)  # at once, where all is as it should be
    except (DecodeError, UnicodeDecodeError, RecursionError):
        found = _piece_by_piece(path, data, log)
    _check_kind(path, found.annotations)
    return found


def _piece_by_piece(path: Path, data: bytes, log: Log) -> Cut:
    try:
        document = _document(path, data)
    except DecodeError as fault:
        if isinstance(fault, ValidationError):
            raise UserError(_no_document(path, data)) from fault
        data, count = _spoken(data)
        if not count:
            raise UserError(_malformed(path, data, fault)) from fault
        log.add(
            "not JSON", f"NaN or Infinity stands in it {count:,} times, which JSON has no word for",
            "Write null, or leave the entry out: other programs refuse the file.",
        )  # fmt: skip
        document = _document(path, data, last=True)
    if bytes(document.images) == b"null":
        raise UserError(f'{path} has no list "images", so it is no COCO data set. Give the JSON with the ground truth.')
    return Cut(*(_entries(path, name, getattr(document, name)) for name in ("images", "annotations", "categories")))


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is larger than {MAX_BYTES / 2**30:.0f} GiB. Split it into several files.")
        data = path.read_bytes()
    except OSError as fault:
        raise UserError(f"{path} can't be read: {fault.strerror}. Check its permissions.") from fault
    return data[len(BOM) :] if data.startswith(BOM) else data


def _document(path: Path, data: bytes, last: bool = False) -> Document:
    try:
        return Decoder(Document).decode(data)
    except RecursionError as fault:
        raise UserError(f"{path} is nested too deeply to be COCO JSON. Check what wrote it.") from fault
    except UnicodeDecodeError as fault:
        raise UserError(f"{path} is not UTF-8 text: {fault}. Save it as UTF-8.") from fault
    except DecodeError as fault:
        if last and not isinstance(fault, ValidationError):
            raise UserError(_malformed(path, data, fault)) from fault
        if last:
            raise UserError(_no_document(path, data)) from fault
        raise


def _spoken(data: bytes) -> tuple[bytes, int]:
    count = 0

    def speak(match: re.Match[bytes]) -> bytes:
        nonlocal count
        word = match.group()
        count += word in SPOKEN
        return SPOKEN.get(word, word)

    if b"NaN" in data or b"Infinity" in data:
        data = TOKENS.sub(speak, data)
    return data, count


def _malformed(path: Path, data: bytes, fault: Exception) -> str:
    if not data.strip():
        return f"{path} is empty. Save or copy it again."
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return f"{path}, line 1: this is UTF-16, expected UTF-8. Save it as UTF-8."
    place = re.search(r"\(byte (\d+)\)", str(fault))
    if place is None:
        lines = data.count(b"\n") + 1
        return f"{path}, line {lines}: the file ends in the middle of its JSON. Save or copy it again."
    at = int(place[1])
    line, column = data.count(b"\n", 0, at) + 1, at - (data.rfind(b"\n", 0, at) + 1)
    reason = str(fault).replace(place[0], "").removeprefix("JSON is malformed: ").strip()
    around = data[max(0, at - 20) : at + 20].decode("utf-8", "backslashreplace")
    return f"{path}, line {line}, byte {column}: this is no JSON, {reason} near {around!r}. Correct it there."


def _no_document(path: Path, data: bytes) -> str:
    start = data.lstrip()[:1]
    if start == b"[" and b'"image_id"' in data[: 2**16]:
        return (
            f"{path} is a list of detections, as a detector writes its results, and no data set: it has no images and "
            "no classes. Give the JSON with the ground truth."
        )
    return f'{path} is no COCO JSON: expected an object {{"images": …, "annotations": …, "categories": …}}.'


def _entries(path: Path, name: str, raw: Raw) -> list[Raw]:
    try:
        return Decoder(list[Raw] | None).decode(raw) or []
    except (DecodeError, RecursionError) as fault:
        raise UserError(f'{path}: "{name}" should be a list of objects: {fault}.') from fault


def _check_kind(path: Path, annotations: list[Raw]) -> None:
    first = _first(annotations)
    if "segments_info" in first:
        raise UserError(
            f"{path} is COCO's panoptic JSON: its masks are in PNG files. Give the instances JSON of the same images, "
            "or the PNG files as a folder images/ and a folder masks/."
        )
    if "caption" in first and "category_id" not in first:
        raise UserError(
            f"{path} is COCO's captions JSON: sentences about images, no objects. Give the instances or the keypoints "
            "JSON of the same images."
        )


def _first(annotations: list[Raw]) -> dict:
    try:
        found = json.loads(bytes(annotations[0])) if annotations else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
