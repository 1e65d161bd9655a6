"""A file of weights -> its tensors, by a loader that runs no code; a pickle is converted once, to the user's cache.

.safetensors holds tensors and a few words. .pth is a pickle, which may run anything that its author liked:
`torch.load(weights_only=True)` builds tensors and plain containers and refuses the rest.
"""

from __future__ import annotations

import pickle
import re
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hubel.data.places import cache_folder
from hubel.errors import UserError
from hubel.models.download import hash_of

INSIDE = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.")  # of wrappers: DataParallel, torch.compile, Lightning
OLD = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)\.")  # torchvision's DenseNets, before names had no dots

Tensors = tuple[dict[str, Tensor], Mapping[str, str]]


def read_tensors(path: Path) -> Tensors:
    """({name: tensor}, what the file says of itself). Raises UserError where it is damaged or holds other things."""
    if path.suffix == ".safetensors":
        return _read_safe(path)
    converted = cache_folder() / "weights" / "converted" / f"{hash_of(path)}.safetensors"
    if converted.exists():
        try:
            return _read_safe(converted)
        except UserError:  # a damaged cache costs time only
            converted.unlink(missing_ok=True)
    tensors = clean(_unpickle(path))
    _keep(converted, tensors)
    return tensors, {}


def _read_safe(path: Path) -> Tensors:
    try:
        with safe_open(path, framework="pt") as file:
            return clean({name: file.get_tensor(name) for name in file.keys()}), file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as fault:
        raise UserError(f"{path} is no whole .safetensors file: {fault}. Download or copy it anew.") from fault


def _unpickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():  # of how it is pickled: what can't be read is said below
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as fault:
        reason = re.sub(r"\s+", " ", str(fault).partition("Please file")[0])
        refused = re.search(r"GLOBAL (\S+)", reason)
        raise UserError(
            f"{path} is not read: " + (f"it would run {refused[1]}, and " if refused else "")
            + "hubel reads tensors only, since a pickle can run any code. Save its state dict alone, best as "
            ".safetensors: safetensors.torch.save_file(network.state_dict(), 'net.safetensors')."
        ) from fault  # fmt: skip
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as fault:
        first = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise UserError(f"{path} is no whole file of weights: {first} Download or copy it anew.") from fault


def clean(found: Any) -> dict[str, Tensor]:
    """The state dict in what was read, without the prefixes of wrappers; contiguous, each with memory of its own."""
    state = _state(found)
    if state is None:
        raise UserError(f"There is no state dict in the file, which holds {_words(found)}. Save network.state_dict().")
    tensors = {str(name): value for name, value in state.items() if torch.is_tensor(value)}
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return {OLD.sub(r"\1\2.", name): value.detach().clone().contiguous() for name, value in tensors.items()}


def _state(found: Any) -> Mapping[str, Any] | None:
    """The mapping to tensors in `found`, maybe under one of the names of INSIDE."""
    if not isinstance(found, Mapping):
        return None
    inner = (_state(found[key]) for key in INSIDE if key in found)
    own = found if any(torch.is_tensor(value) for value in found.values()) else None
    return next((state for state in inner if state is not None), own)


def _words(found: Any) -> str:
    if isinstance(found, Mapping):
        return f"a dictionary of {', '.join(map(str, list(found)[:5])) or 'nothing'}"
    return f"one {type(found).__name__}"


def _keep(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Best effort: what can't be kept is read from the pickle again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".hubel-") as folder:
            temporary = Path(folder) / path.name
            save_file(dict(tensors), temporary)
            temporary.replace(path)
    except (OSError, SafetensorError):
        return
