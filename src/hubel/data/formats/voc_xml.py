"""One Pascal VOC annotation file <-> the objects of one image.

VOC counts pixels from 1 and its boxes name the first and the last pixel inside, so that in edges (pixel i spans
i … i + 1, from 0) a box is (xmin − 1, ymin − 1, xmax, ymax). Files that count from 0 hold edges: (xmin, ymin, xmax,
ymax). Numbers are read as decimals and rounded once, so that every box comes back bit for bit.
"""

from __future__ import annotations

import decimal
import re
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape

from hubel.data.objects import DIFFICULT, OCCLUDED, TRUNCATED

CORNERS = ("xmin", "ymin", "xmax", "ymax")
FLAGS = {"difficult": DIFFICULT, "truncated": TRUNCATED, "occluded": OCCLUDED}
READ = {"name", "bndbox", *FLAGS, *(f"bndbox/{corner}" for corner in CORNERS)}
MARK = "PASCAL VOC"  # how <source><annotation> of the files begins that surely count from 1
DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")
CONTEXT = decimal.Context(prec=400, traps=[])
MAX_DEPTH = 32


class Refused(Exception):
    """What makes a file no annotation; the reason, and its line."""

    def __init__(self, reason: str, line: int = 0):
        super().__init__(reason)
        self.reason, self.line = reason, line


@dataclass
class Thing:
    """One object as it is written."""

    line: int
    values: dict[str, str] = field(default_factory=dict)  # {"name": …, "bndbox/xmin": …}

    @property
    def flags(self) -> int:
        return sum(bit for name, bit in FLAGS.items() if self.values.get(name, "").lower() in ("1", "true", "yes"))

    def unread(self) -> set[str]:
        """What it says beyond class, box and flags: "pose", "part" …"""
        return {
            key.split("/", 1)[0]
            for key, text in self.values.items()
            if key not in READ and text not in ("", "Unspecified")
        }


@dataclass
class Annotation:
    """One file: of its own fields the text, of its objects the lines too."""

    values: dict[str, str] = field(default_factory=dict)  # {"filename": …, "size/width": …}
    things: list[Thing] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as the file says; 0 where it does not."""
        return self._whole("size/height"), self._whole("size/width")

    def _whole(self, key: str) -> int:
        text = self.values.get(key, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def parse(data: bytes) -> Annotation:
    """The file's fields. Raises Refused for what is no XML in UTF-8, declares entities, or is no annotation."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise Refused("not UTF-8; save it with that encoding", data[: fault.start].count(b"\n") + 1) from fault
    for word in ("<!DOCTYPE", "<!ENTITY"):
        if word in text:
            line = text[: text.index(word)].count("\n") + 1
            raise Refused(f"{word} is not read, because such files can pull in others", line)
    return _Walk().run(text)


class _Walk:
    """What expat calls for each element."""

    def __init__(self) -> None:
        self.found = Annotation()
        self.path: list[str] = []
        self.text: list[str] = []
        self.parser: Any = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text.append

    def run(self, text: str) -> Annotation:
        try:
            self.parser.Parse(text, True)
        except (expat.ExpatError, ValueError) as fault:  # ValueError: text that can't be handed over
            reason = expat.ErrorString(fault.code) if isinstance(fault, expat.ExpatError) else str(fault)
            raise Refused(f"no valid XML ({reason})", getattr(fault, "lineno", 0)) from fault
        return self.found

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self.path and tag != "annotation":
            raise Refused(f"expected <annotation>, found <{tag[:40]}>", self.parser.CurrentLineNumber)
        self.path.append(tag)
        if len(self.path) > MAX_DEPTH:
            raise Refused(f"more than {MAX_DEPTH} levels", self.parser.CurrentLineNumber)
        if self.path[1:] == ["object"]:
            self.found.things.append(Thing(self.parser.CurrentLineNumber))
        self.text.clear()

    def end(self, tag: str) -> None:
        inner = len(self.path) > 2 and self.path[1] == "object"
        values = self.found.things[-1].values if inner else self.found.values
        key = "/".join(self.path[2:] if inner else self.path[1:])
        values.setdefault(key, "".join(self.text).strip())
        self.path.pop()
        self.text.clear()


# Numbers -------------------------------------------------------------------------------------------------------


def edge(text: str, less: int) -> float:
    """The number that a text is, less 0 or 1, rounded once. ValueError where it is none."""
    if text.isascii() and text.isdigit() and len(text) < 16:
        return float(int(text) - less)
    if DECIMAL.fullmatch(text):
        with decimal.localcontext(CONTEXT):
            return float(decimal.Decimal(text) - less)
    if "_" in text:
        raise ValueError(text)
    return float(text) - less


def corner(value: float, more: int) -> str:
    """The shortest text that `edge` gives back as `value`."""
    if abs(value) < 2**53 and value == int(value):
        return str(int(value) + more)
    text = repr(value)
    if not DECIMAL.fullmatch(text):  # NaN and infinity
        return text
    with decimal.localcontext(CONTEXT):
        return str(decimal.Decimal(text) + more)


# Writing -------------------------------------------------------------------------------------------------------


def render(filename: str, size: tuple[int, int, int], segmented: bool, things: list[str]) -> str:
    """The file of one image of height, width, channels; `things` are from `render_object`."""
    height, width, channels = size
    return (
        f"<annotation>\n\t<filename>{escape(filename)}</filename>\n"
        f"\t<source>\n\t\t<database>Unknown</database>\n"
        f"\t\t<annotation>{MARK}, pixels from 1</annotation>\n\t</source>\n"
        f"\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n\t\t<depth>{channels}</depth>\n\t</size>\n"
        f"\t<segmented>{int(segmented)}</segmented>\n{''.join(things)}</annotation>\n"
    )


def render_object(name: str, flags: int, box: list[float]) -> str:
    """One object with the edges x0, y0, x1, y1, counted from 1."""
    corners = [corner(value, more) for value, more in zip(box, (1, 1, 0, 0), strict=True)]
    marks = "".join(f"\t\t<{flag}>{int(flags & bit > 0)}</{flag}>\n" for flag, bit in FLAGS.items())
    places = "".join(f"\t\t\t<{key}>{text}</{key}>\n" for key, text in zip(CORNERS, corners, strict=True))
    return (
        f"\t<object>\n\t\t<name>{escape(name)}</name>\n\t\t<pose>Unspecified</pose>\n{marks}"
        f"\t\t<bndbox>\n{places}\t\t</bndbox>\n\t</object>\n"
    )
