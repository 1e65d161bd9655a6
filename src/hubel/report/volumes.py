"""A network drawn as volumes: a block per size of its maps, as high as the map, as thick as it has channels.

Layers in a row whose maps have one size are one block, which says how many of them have weights; a dense layer is a
bar. Heights go with the square root of the side, thicknesses with that of the channels: 1 and 600 are both seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hubel.report.svg import coordinate, element

HEIGHT = 170.0  # pixels of the tallest block's face
SLANT = 0.34  # of a face's depth, to the right and up
GAP = 26.0
THICKEST = 74.0
MOST = 24  # blocks of one drawing


@dataclass(frozen=True)
class Block:
    """Maps of one size: (channels, rows, columns), or (units,) of a dense layer, and how many layers have weights."""

    shape: tuple[int, ...]
    layers: int
    parameters: int
    multiplications: int

    @property
    def side(self) -> float:
        return max(self.shape[1:]) if len(self.shape) == 3 else 0.0


def blocks(document: Mapping[str, Any]) -> list[Block]:
    """The image, then a block for each size of maps, in the order of the pass."""
    found = [Block(tuple(document["input"]), 0, 0, 0)]
    for layer in document["layers"]:
        shape = tuple(layer["output"] or ())
        if len(shape) not in (1, 3) or (len(shape) == 1 and not layer["parameters"]):
            continue
        weighted = int(layer["parameters"] > 0 and layer["kind"] != "norm")
        costs = layer["parameters"], layer["multiplications"]
        last = found[-1]
        if len(shape) == 3 and last.shape[1:] == shape[1:] and len(found) > 1:
            found[-1] = Block(
                shape, last.layers + weighted, last.parameters + costs[0], last.multiplications + costs[1]
            )
        elif len(shape) == 1 and len(last.shape) == 1 and not weighted:
            continue
        else:
            found.append(Block(shape, weighted, *costs))
    return found


def drawing(document: Mapping[str, Any]) -> Markup:
    """The picture of a document of `hubel info`."""
    found = blocks(document)
    found = found if len(found) <= MOST else [*found[: MOST - 1], found[-1]]
    tallest = max(block.side for block in found) or 1.0
    widest = max(block.shape[0] for block in found)
    parts, x = [], 8.0
    top = HEIGHT * (1 + SLANT * 0.5) + 14
    for block in found:
        drawn, width = _block(block, x, top, tallest, widest)
        parts.append(drawn)
        x += width + GAP
    size = f"0 0 {coordinate(x)} {coordinate(top + 66)}"
    title = f"{document['model']}: " + ", then ".join("×".join(map(str, block.shape)) for block in found)
    return element("svg", *parts, class_="volumes", viewBox=size, role="img", aria_label=title, width=round(x))


def _block(block: Block, x: float, ground: float, tallest: float, widest: int) -> tuple[Markup, float]:
    """A box seen from the front: its face is the map, its thickness the channels. Its width with the words below."""
    thick = max(5.0, THICKEST * (block.shape[0] / widest) ** 0.5)
    if len(block.shape) == 1:
        height, depth, kind = HEIGHT * 0.62 * (block.shape[0] / widest) ** 0.5 + 8, 5.0, "dense"
        thick = 7.0
    else:
        height = max(7.0, HEIGHT * (block.side / tallest) ** 0.5)
        depth, kind = height * 0.5, "image" if not block.layers and x < 9 else "map"
    right, up = depth * SLANT * 1.6, depth * SLANT
    high = ground - height
    front = f"M{_p(x, ground)}V{coordinate(high)}H{coordinate(x + thick)}V{coordinate(ground)}Z"
    over = f"M{_p(x, high)}L{_p(x + right, high - up)}H{coordinate(x + thick + right)}L{_p(x + thick, high)}Z"
    side = f"M{_p(x + thick, ground)}V{coordinate(high)}L{_p(x + thick + right, high - up)}V{coordinate(ground - up)}Z"
    faces = [element("path", class_=f"{kind} {name}", d=d)
             for name, d in (("front", front), ("over", over), ("side", side))]  # fmt: skip
    words = [f"{block.shape[0]:,}", *([_side(block)] if len(block.shape) == 3 else ["units"])]
    words += (
        [f"{block.layers} layer{'s' if block.layers > 1 else ''}"] if block.layers and len(block.shape) == 3 else []
    )
    width = max(thick + right, 6.2 * max(map(len, words)) - 8)
    middle = x + (thick + right) / 2
    labels = [element("text", word, class_="label" if not i else "note", x=middle, y=ground + 18 + 15 * i,
                      text_anchor="middle") for i, word in enumerate(words)]  # fmt: skip
    return element("g", *faces, *labels), width


def _p(x: float, y: float) -> str:
    return f"{coordinate(x)},{coordinate(y)}"


def _side(block: Block) -> str:
    return f"{block.shape[1]}×{block.shape[2]}"
