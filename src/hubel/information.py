"""What a network is and costs: by name, from a file, as an object, or out of a run. Nothing is trained or computed.

    info("vgg16")            one document: totals, and each layer's shape, cost and receptive field
    compare(["vgg16", "runs/photos-resnet8/1"])

A network is built without weights (on the device "meta"), so that even the largest answers in a moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from hubel import names
from hubel.data.decode import BadImage, decode
from hubel.data.preprocess import Preprocess
from hubel.errors import UserError, looked_for
from hubel.models import cost
from hubel.models.base import Network
from hubel.models.cost import Layer, Profile
from hubel.models.options import Size
from hubel.models.receptive_field import Field
from hubel.models.surgery.lean import working_bytes
from hubel.models.trace import without_values
from hubel.parts import make_plain_network
from hubel.rebuild import load_parts
from hubel.report import network_page, networks_page
from hubel.trained import Run

IMAGENET = 200  # pixels: a network that wants at least so many was made for ImageNet's 1,000 classes


@dataclass(frozen=True)
class Described:
    """A network for images of shape `input`, its cost, and of a run the score that decided."""

    name: str
    network: nn.Module
    input: Size
    classes: int | None
    profile: Profile
    maps: tuple[Field | None, ...]  # of a Network, finest first
    run: Mapping[str, Any] | None = None
    preprocess: Preprocess | None = None

    def peak(self) -> int | None:
        """Bytes of maps that are alive at once in a prediction; None where it can't run without values."""
        try:
            return working_bytes(self.network, self.input)
        except Exception:  # a network of the user's that asks for values
            return None

    def document(self) -> dict[str, Any]:
        """What `hubel info --json` prints: bytes and multiplications per image, sizes in pixels as [rows, columns]."""
        found = self.profile
        sums = {figure: found.by_kind(figure) for figure in ("parameters", "multiplications")}
        last = next((field for field in reversed(self.maps) if field is not None), None)
        return {
            "model": self.name,
            "input": list(self.input),
            "classes": self.classes,
            "parameters": found.parameters,
            "idle_parameters": found.idle_parameters,
            "multiplications": found.multiplications,
            "activation_bytes": found.activation_bytes,
            "output_bytes": found.output_bytes,
            "peak_bytes": self.peak(),
            "training_bytes": found.training_bytes,
            "kinds": {kind: {figure: sums[figure][kind] for figure in sums} for kind in cost.KINDS},
            "receptive_field": _field(last),
            "maps": [_field(field) for field in self.maps],
            "layers": [_layer(layer, found.multiplications) for layer in found.layers],
            **({"run": dict(self.run)} if self.run is not None else {}),
        }


def describe(name: Any, *, classes: int | None = None, input: Size | None = None, **options: Any) -> Described:
    """A network by name, file.py:Net, run folder, or as it is. `input` is (C, H, W): by default what it wants.

    Raises UserError for an unknown name, and where it can't take such an input.
    """
    if isinstance(name, str) and is_run(name):
        return _of_run(name, classes, input, options)
    if isinstance(name, nn.Module):
        network, title, wanted = name, type(name).__name__, None
    else:
        function = names.resolve(names.MODELS, name) if isinstance(name, str) else name
        title, wanted = str(name), getattr(function, "size", None)
        classes = classes or (1000 if isinstance(wanted, int) and wanted >= IMAGENET else 10)
        side = wanted if isinstance(wanted, int) else 32
        network = _built(name, function, options, classes, input or (3, side, side))
    side = wanted if isinstance(wanted, int) else 32
    input = input or (_channels(network), side, side)
    return _described(title, network, input, classes)


def info(name: Any, *, classes: int | None = None, input: Size | None = None, **options: Any) -> dict[str, Any]:
    """As a document: totals per image, and `layers`; see docs/info.md. Arguments and errors as in `describe`."""
    return describe(name, classes=classes, input=input, **options).document()


def write_page(found: Sequence[Described], path: str | Path, photo: str | Path | None = None) -> Path:
    """One page on a network (with the receptive fields on a photo), or one that compares several."""
    path = Path(path).expanduser().absolute()
    documents = [one.document() for one in found]
    image = None if photo is None else _fitted(found[0], photo)
    if len(found) == 1:
        return network_page.write(documents[0], path, image)
    return networks_page.write(documents, path)


# One network -----------------------------------------------------------------------------------------------------


def is_run(word: str) -> bool:
    """Whether a word names the folder of a run, not a network."""
    if word in names.MODELS or ".py:" in word or word.startswith("timm:"):
        return False
    return "/" in word or (Path(word) / "config.json").exists()


def _built(name: Any, function: Any, options: Mapping[str, Any], classes: int, input: Size) -> nn.Module:
    """Without weights where that is possible; a constructor that looks at values needs them."""
    try:
        with without_values():
            return make_plain_network(name, options, classes, input)
    except UserError:
        raise
    except Exception:
        return make_plain_network(name, options, classes, input)


def _channels(network: nn.Module) -> int:
    """Of the images that it takes: those of its first convolution, else 3."""
    return next((m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d)), 3)


def _described(title: str, network: nn.Module, input: Size, classes: int | None, **more: Any) -> Described:
    try:
        found = cost.profile(network, input)
        maps = tuple(cost.map_fields(network, input)) if isinstance(network, Network) and network.strides else ()
    except UserError:
        raise
    except Exception as fault:
        shape = "x".join(map(str, input))
        raise UserError(
            f"The network '{title}' fails on an image of {shape} (channels x height x width): {fault}. Give a size "
            "that it takes with --input CxHxW."
        ) from fault
    return Described(title, network, input, classes, found, maps or _deepest(found.layers), **more)


def _deepest(layers: Sequence[Layer]) -> tuple[Field | None, ...]:
    """Of a network without maps: the last field of each jump, while there are places."""
    found = {one.field.rows.jump: one.field for one in layers if one.field is not None and max(one.field.cells) > 1}
    return tuple(found.values())


def _of_run(place: str, classes: int | None, input: Size | None, options: Mapping[str, Any]) -> Described:
    if classes is not None or options:
        raise UserError(f"{place} is a run: its network is what it is. Leave --classes and --model.OPTION out.")
    run = Run.open(place)
    parts = load_parts(run.path, run.recipe)
    size = input or (parts.preprocess.channels, *parts.preprocess.size)
    split = next((part for part in ("test", "dev") if (run.primary or "") in run.metrics.get(part, {})), None)
    score = None if split is None else run.metrics[split][run.primary or ""]
    facts = {"path": str(run.path), "metric": run.primary, "split": split, "score": score}
    title = str(run.recipe.model).rpartition("/")[2]
    return _described(title, parts.network, size, len(parts.classes) or None, run=facts, preprocess=parts.preprocess)


def _fitted(found: Described, photo: str | Path) -> np.ndarray:
    """The photo as the network gets it: (H, W, C) uint8."""
    channels, height, width = found.input
    path = Path(photo).expanduser()
    if not path.exists():
        raise UserError(f"'{photo}' can't be read as an image: there is no such file{looked_for(path)}.")
    try:
        image = decode(path)
    except (BadImage, OSError) as fault:
        raise UserError(f"'{photo}' can't be read as an image: {fault}") from fault
    shown = 1 if channels == 1 else 3
    chosen = found.preprocess or Preprocess(size=(height, width), channels=shown)
    return replace(chosen, size=(height, width)).geometry(image)[0]


# As a document ---------------------------------------------------------------------------------------------------


def _layer(layer: Layer, total: int) -> dict[str, Any]:
    row = {key: value for key, value in asdict(layer).items() if key != "field"}
    row["output"] = None if layer.output is None else list(layer.output)
    return {**row, "share": layer.multiplications / total if total else 0.0, "receptive_field": _field(layer.field)}


def _field(field: Field | None) -> dict[str, Any] | None:
    """Size, jump and start as [rows, columns] in pixels; `whole`: the whole image takes part as well."""
    if field is None:
        return None
    axes = field.rows, field.columns
    figures = {name: [getattr(axis, name) for axis in axes] for name in ("size", "jump", "start", "cells")}
    return {**figures, "whole": field.whole}
