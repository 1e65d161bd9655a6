"""Checkpoints: a file of tensors (safetensors) and a file of everything else (JSON), never pickle.

A save writes `<serial>.safetensors`, then `<serial>.json`, each under a temporary name, synced and renamed. The JSON
carries the SHA-256 of the tensors and of its own body: it is the moment at which the checkpoint exists. The one
before is kept, so a process killed (or a disk filled) at any instant leaves at least one that loads.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from hubel.errors import UserError
from hubel.training.atomic import sweep, write_atomically

SCHEMA = 1
FOREIGN = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")


def save(folder: Path, state: Mapping[str, Any], keep: int = 2) -> Path:
    """Write a nested dict of tensors and plain values; returns the path of the JSON file.

    Raises UserError where the disk is full or the folder can't be written; earlier checkpoints stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    serial = max((int(p.stem) for p in folder.glob("*.json") if p.stem.isdigit()), default=0) + 1
    tensors: dict[str, Tensor] = {}
    tree = _pack(state, "", tensors)
    data = tensors_to_bytes(tensors)
    body = {"schema": SCHEMA, "tensors": hashlib.sha256(data).hexdigest(), "tree": tree}
    path = folder / f"{serial:08d}.json"
    try:
        write_atomically(path.with_suffix(".safetensors"), data)
        write_atomically(path, json.dumps({"sha256": _digest(body), **body}).encode())
    finally:
        if not path.exists():  # a fault, or Ctrl-C, between the two
            path.with_suffix(".safetensors").unlink(missing_ok=True)
    for old in sorted(folder.glob("*.json"))[:-keep]:
        old.unlink(missing_ok=True)
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    return path


def load(folder: Path) -> dict[str, Any]:
    """The newest checkpoint that is whole. Raises UserError, naming each file that is not, where none is."""
    faults = []
    for path in sorted(folder.glob("*.json"), reverse=True):
        try:
            return _read(path)
        except (OSError, ValueError, KeyError, safetensors.SafetensorError) as fault:
            faults.append(f"{path.name}: {fault}")
    foreign = [p.name for p in folder.glob("*") if p.suffix in FOREIGN] if folder.is_dir() else []
    if foreign:
        raise UserError(
            f"{folder} holds {foreign[0]}: a pickle can run code, so hubel never opens one. "
            "Expected <serial>.safetensors and <serial>.json, as hubel writes them."
        )
    found = "; ".join(faults) or "the folder is empty or missing"
    raise UserError(f"No whole checkpoint in {folder} ({found}). Train again, or copy the folder from a backup.")


def clean(folder: Path) -> None:
    """Remove temporaries, and halves of pairs, that a killed process left behind."""
    if not folder.is_dir():
        return
    sweep(folder)
    for path in folder.glob("*.safetensors"):
        if not path.with_suffix(".json").exists():
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict) or not {"sha256", "schema", "tensors", "tree"} <= content.keys():
        raise ValueError("not a checkpoint of hubel")
    body = {key: content[key] for key in ("schema", "tensors", "tree")}
    if content["schema"] > SCHEMA:
        raise ValueError(f"written by a newer hubel (schema {content['schema']}, this one reads {SCHEMA})")
    data = path.with_suffix(".safetensors").read_bytes()
    if _digest(body) != content["sha256"] or hashlib.sha256(data).hexdigest() != content["tensors"]:
        raise ValueError("its hash does not match: damaged")
    return _unpack(content["tree"], tensors_from_bytes(data))


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Tensors go to `tensors` under a path-like name; the rest becomes JSON that `_unpack` restores exactly."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format).contiguous()
        last = value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last)
        return {"$tensor": name, "channels_last": last and not value.is_contiguous()}
    if isinstance(value, Mapping):
        items = [
            [_key(key), _pack(item, f"{name}/{key}" if name else str(key), tensors)] for key, item in value.items()
        ]
        return {"$dict": items}
    if isinstance(value, (list, tuple)):
        kind = "$tuple" if isinstance(value, tuple) else "$list"
        return {kind: [_pack(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{name} is a {type(value).__name__}; a checkpoint holds tensors, numbers, text, lists and dicts")


def _key(key: Any) -> str | int:
    if isinstance(key, (str, int)) and not isinstance(key, bool):
        return key
    raise TypeError(f"a key is a {type(key).__name__}; a checkpoint's dicts have text or whole numbers as keys")


def _unpack(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "$tensor" in tree:
        tensor = tensors[tree["$tensor"]]
        return tensor.to(memory_format=torch.channels_last) if tree["channels_last"] else tensor
    if "$float" in tree:
        return float(tree["$float"])
    if "$dict" in tree:
        return {key: _unpack(item, tensors) for key, item in tree["$dict"]}
    items = [_unpack(item, tensors) for item in tree["$tuple" if "$tuple" in tree else "$list"]]
    return tuple(items) if "$tuple" in tree else items
