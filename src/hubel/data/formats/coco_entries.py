"""The entries of a COCO JSON as typed structures: a well-formed one is decoded straight into them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Point = tuple[float, float, float, float]
NO_ID = -1
NO_CLASS = -(2**63)  # a category_id that no file has


class RunLengths(Struct, gc=False):
    """A mask: counts as text or as numbers, of an image of size height, width."""

    counts: str | list[Count]
    size: tuple[Int64, Int64]


class Entry(Struct, gc=False):
    """One of "annotations"."""

    image_id: Int64
    category_id: Int64
    id: Int64 = NO_ID
    bbox: Point | None = None  # x, y, width, height
    area: float | None = None
    iscrowd: Int64 = 0
    segmentation: list[list[float]] | RunLengths | None = None
    keypoints: list[float] | None = None  # x, y, v of each


class ImageEntry(Struct, gc=False):
    """One of "images"."""

    id: Int64
    file_name: str
    height: Int64 | None = None
    width: Int64 | None = None


class Category(Struct, gc=False):
    """One of "categories"; skeleton: pairs of keypoints, counted from 1."""

    id: Int64
    name: str
    keypoints: list[str] | None = None
    skeleton: list[tuple[Int64, Int64]] | None = None
