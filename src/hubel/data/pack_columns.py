"""Annotations as plain arrays and JSON, and back: what a pack keeps of a dataset beside its pixels. No pickle.

Arrays are named by their place: "annotations.label", "objects.outlines.values.offsets", "splits.train"; None and
empty columns are left out, and come back as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from hubel.data.dataset import Bad, Dataset, is_array
from hubel.data.findings import Finding
from hubel.data.images import PackedNames
from hubel.data.objects import Objects, Skeleton
from hubel.data.ragged import Ragged
from hubel.errors import UserError

Arrays = dict[str, np.ndarray]


def flatten(dataset: Dataset) -> tuple[Arrays, dict[str, Any]]:
    """Everything but pixels and masks: (arrays, JSON-ready rest). UserError for a column of the user's own kind."""
    arrays: Arrays = {"weights": np.ascontiguousarray(dataset.weights)}
    for part, index in dataset.splits.items():
        arrays[f"splits.{part}"] = index
    for name, table in dataset.tables.items():
        arrays[f"tables.{name}"] = table
    skeletons: dict[str, Any] = {}
    for name, column in dataset.annotations.items():
        if is_array(column):
            arrays[f"annotations.{name}"] = column
        elif isinstance(column, Objects):
            arrays |= _objects(f"columns.{name}", column)
            skeletons[name] = None if column.skeleton is None else asdict(column.skeleton)
        elif not hasattr(column, "read"):
            raise UserError(f"{dataset.name}: the column '{name}' ({type(column).__name__}) can't be packed.")
    rest = {
        "name": dataset.name,
        "classes": list(dataset.classes),
        "traits": dict(dataset.traits),
        "notes": list(dataset.notes),
        "quarantine": [asdict(bad) for bad in dataset.quarantine],
        "findings": [asdict(finding) for finding in dataset.findings],
        "objects": skeletons,
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, rest


def rebuild(arrays: Mapping[str, np.ndarray], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Dataset` that `flatten` took apart. KeyError, TypeError, ValueError where one is missing."""
    columns: dict[str, Any] = _below(arrays, "annotations")
    for name, skeleton in rest["objects"].items():
        columns[name] = _as_objects(_below(arrays, f"columns.{name}"), skeleton)
    return {
        "annotations": columns,
        "splits": _below(arrays, "splits"),
        "tables": _below(arrays, "tables"),
        "weights": arrays["weights"],
        "classes": tuple(rest["classes"]),
        "traits": rest["traits"],
        "notes": tuple(rest["notes"]),
        "quarantine": tuple(Bad(**bad) for bad in rest["quarantine"]),
        "findings": tuple(Finding(**finding) for finding in rest["findings"]),
    }


def pack_names(prefix: str, names: PackedNames) -> Arrays:
    """Two arrays."""
    return {f"{prefix}.buffer": names.buffer, f"{prefix}.offsets": names.offsets}


def unpack_names(arrays: Mapping[str, np.ndarray], prefix: str) -> PackedNames:
    """The inverse of `pack_names`."""
    return PackedNames(arrays[f"{prefix}.buffer"], arrays[f"{prefix}.offsets"])


def _below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, Any]:
    start = prefix + "."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def _objects(prefix: str, column: Objects) -> Arrays:
    out: Arrays = {}
    for field in fields(column):
        value = getattr(column, field.name)
        if isinstance(value, np.ndarray):
            out[f"{prefix}.{field.name}"] = value
        elif isinstance(value, Ragged):
            out |= _ragged(f"{prefix}.{field.name}", value)
        elif isinstance(value, PackedNames):
            out |= pack_names(f"{prefix}.{field.name}", value)
    return out


def _ragged(prefix: str, value: Ragged) -> Arrays:
    inner = value.values
    below = _ragged(f"{prefix}.values", inner) if isinstance(inner, Ragged) else {f"{prefix}.values": inner}
    return {f"{prefix}.offsets": value.offsets, **below}


def _as_objects(arrays: Mapping[str, np.ndarray], skeleton: Mapping[str, Any] | None) -> Objects:
    columns: dict[str, Any] = {name: array for name, array in arrays.items() if "." not in name}
    for name in ("outlines", "runs"):
        if f"{name}.offsets" in arrays:
            columns[name] = _as_ragged(_below(arrays, name))
    if "files.offsets" in arrays:
        columns["files"] = unpack_names(arrays, "files")
    if skeleton is not None:
        edges = tuple((int(a), int(b)) for a, b in skeleton["edges"])
        columns["skeleton"] = Skeleton(tuple(skeleton["names"]), edges, tuple(skeleton["swaps"]))
    return Objects(**columns)


def _as_ragged(arrays: Mapping[str, np.ndarray]) -> Ragged:
    values = arrays["values"] if "values" in arrays else _as_ragged(_below(arrays, "values"))
    return Ragged(values, arrays["offsets"])
