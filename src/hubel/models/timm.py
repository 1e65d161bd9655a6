"""Any classification network of timm, where it is installed: `--model timm:NAME`. Nothing is downloaded here.

    forward(images) = forward_head(forward_features(images)), as timm divides its networks

(B, C, H, W) -> maps: one at each stride from 2 on, as far as the network has them; the head reads the last. Where the
features are a list of tokens (ViT) there are no strides, and the one map is (B, tokens, F).

A network is built once and divided: `body` keeps the layers that make the features, `head.model` those that only the
head calls. So timm's name of a weight stands behind one of these two prefixes.
"""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hubel.errors import UserError, did_you_mean
from hubel.models.base import Network
from hubel.models.options import Size, rates
from hubel.models.renaming import Peer, Renaming

T = TypeVar("T")
Make = Callable[..., Any]  # takes num_classes


@cache
def library() -> ModuleType:
    """timm. Raises UserError where it is missing or broken."""
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as fault:
        if fault.name != "timm":
            raise UserError(f"timm is installed, but lacks {fault.name}: pip install {fault.name}") from fault
        raise UserError("Networks named timm:NAME come with timm, which is not installed: pip install timm") from fault
    except Exception as fault:
        raise UserError(f"timm is installed, but can't be imported: {type(fault).__name__}: {fault}") from fault


def function_of(name: str) -> Timm:
    """The model function of timm's network `name`, such as resnet50 or resnet50.a1_in1k.

    Raises UserError for a name that timm doesn't have.
    """
    known = library().list_models()
    architecture = name.partition(".")[0]
    if architecture not in known:
        raise UserError(f"timm has no network '{name}'{did_you_mean(architecture, known)}")
    variants = [one.partition(".")[2] for one in library().list_pretrained(f"{architecture}.*")]
    variant = name.partition(".")[2]
    if variant and variant not in variants:
        raise UserError(f"timm's {architecture} has no variant '{variant}'{did_you_mean(variant, variants)}")
    return Timm(name)


@dataclass(frozen=True)
class Timm:
    """A model function: takes keywords, has the `size` that it wants, and the names of its weights in timm."""

    name: str

    @property
    def __name__(self) -> str:
        return f"timm:{self.name}"

    @property
    def size(self) -> int | None:
        """The side in pixels of the images that timm's weights were trained on."""
        side: int = library().get_pretrained_cfg(self.name).input_size[-1]
        return side

    @property
    def peers(self) -> dict[str, Peer]:
        """See models/renaming.py. The network is built on the device "meta", to see where it is divided."""
        side = self.size or 224
        with torch.device("meta"):
            model, image = library().create_model(self.name).eval(), torch.empty(2, 3, side, side)
        own = _children_of_head(model, image)
        first = dict.fromkeys(name.partition(".")[0] for name in model.state_dict())
        pairs = [(f"{'head.model' if name in own else 'body'}.{name}", name) for name in first]
        return {"timm": Peer(self.name, Renaming(*pairs))}

    def __call__(
        self, *, classes: int, input: Size, drop_rate: float = 0.0, drop_path_rate: float = 0.0
    ) -> TimmNetwork:
        """`drop_rate`: dropout before the classifier; `drop_path_rate`: stochastic depth; both in [0, 1).

        Raises UserError where timm's network has no such option, or can't take an input (C, H, W) of this size.
        """
        chosen = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
        for option, rate in chosen.items():
            rates(option, rate, 1)
        return TimmNetwork(classes, *_maker(self, input, {key: rate for key, rate in chosen.items() if rate}))


def _maker(function: Timm, input: Size, options: Mapping[str, float]) -> tuple[Make, Tensor]:
    """How the network is made, and a blank image that it takes: as it is, or told the size of the images (ViT)."""
    image = torch.zeros(1, *input)
    faults: list[Exception] = []
    for more in ({}, {"img_size": input[1:]}):
        make = partial(library().create_model, function.name, in_chans=input[0], **options, **more)
        try:
            with torch.no_grad():
                make(num_classes=1).eval()(image)
        except Exception as fault:
            faults.append(fault)
        else:
            return make, image
    what = "×".join(map(str, input)) + "".join(f", {key} {rate:g}" for key, rate in options.items())
    raise UserError(
        f"timm's {function.name} can't be made for images of {what}: {str(faults[0]).rstrip('.')}. It was made for a "
        f"side of {function.size} (--size {function.size})."
    )


class TimmHead(nn.Module):
    """What timm's network does with its features; `last`: it wants the channels in the last place."""

    def __init__(self, model: nn.Module, last: bool):
        super().__init__()
        self.model, self.last = model, last

    def forward(self, maps: list[Tensor]) -> Tensor:
        features = maps[-1].permute(0, 2, 3, 1) if self.last else maps[-1]  # (B, F, h, w) -> (B, h, w, F)
        logits: Tensor = self.model.forward_head(features)  # type: ignore[operator]
        return logits


class TimmNetwork(Network):
    """A network of timm, divided; what it has is measured on a blank `image`. `make(num_classes=K)` gives it."""

    body: Any  # a network of timm

    def __init__(self, classes: int, make: Make, image: Tensor):
        super().__init__()
        self.make = make
        model = make(num_classes=classes)
        training = model.training
        with torch.no_grad():
            features, found = model.eval().forward_intermediates(image, output_fmt="NCHW")
        self.own = _children_of_head(model, image)
        self.last = features.ndim == 4 and features.shape[1] != model.num_features == features.shape[3]
        features = features.permute(0, 3, 1, 2) if self.last else features
        self.levels, self.strides, self.channels = _levels(model.feature_info, features, found, image)
        model.train(training)
        self.body, self.head = _body(model, self.own), TimmHead(_head(model, self.own), self.last)

    def maps(self, images: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        if self.levels:
            levels = list(self.levels)
            features, found = self.body.forward_intermediates(images, indices=levels, output_fmt="NCHW")
        else:
            features = self.body.forward_features(images)
        return [*found, features.permute(0, 3, 1, 2) if self.last else features]

    def default_head(self, classes: int) -> nn.Module:
        return TimmHead(_head(self.make(num_classes=classes), self.own), self.last)


def _levels(
    info: Sequence[Mapping[str, Any]], features: Tensor, found: Sequence[Tensor], image: Tensor
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Which of the `found` maps are taken, and the strides and channels of these and of the `features`."""
    if features.ndim != 4:
        return (), (), (features.shape[-1],)
    known = [one["reduction"] for one in info] if len(info) == len(found) else [_stride(x, image) for x in found]
    same = [stride for stride, x in zip(known, found, strict=True) if x.shape[2:] == features.shape[2:]]
    stride = same[-1] if same else _stride(features, image)
    last = {s: i for i, s in enumerate(known) if 1 < s < stride}  # of several at one stride the last
    taken = {s: last[s] for s in sorted(last)}
    channels = (*(found[i].shape[1] for i in taken.values()), features.shape[1])
    return tuple(taken.values()), (*taken, stride), channels


def _stride(found: Tensor, image: Tensor) -> int:
    """The power of two by which a map is smaller than the image."""
    return 2 ** round(math.log2(image.shape[2] / found.shape[2]))


@torch.no_grad()
def _children_of_head(model: Any, image: Tensor) -> frozenset[str]:
    """The layers that `forward_head` alone calls. Raises UserError where it shares weights with the features."""
    features, before = _watched(model, lambda: model.forward_features(image))
    _, after = _watched(model, lambda: model.forward_head(features))
    shared = [name for name in before & after if any(True for _ in model.get_submodule(name).parameters())]
    if shared:
        raise UserError(f"This network of timm can't be divided: features and head both use {', '.join(shared)}.")
    return frozenset(after - before)


def _watched(model: nn.Module, run: Callable[[], T]) -> tuple[T, set[str]]:
    """What `run` returns, and the names of those children of `model` that it calls or calls something in."""
    called: set[str] = set()
    named = [(name.partition(".")[0], module) for name, module in model.named_modules() if name]
    hooks = [module.register_forward_pre_hook(partial(_note, called, child)) for child, module in named]
    try:
        return run(), called
    finally:
        for hook in hooks:
            hook.remove()


def _note(called: set[str], child: str, *_: Any) -> None:
    called.add(child)


def _body(model: nn.Module, own: frozenset[str]) -> nn.Module:
    """The network without the layers of its head."""
    return _with(model, {name: nn.Identity() if name in own else child for name, child in model.named_children()})


def _head(model: nn.Module, own: frozenset[str]) -> nn.Module:
    """The layers of its head alone."""
    part = _with(model, {name: child if name in own else nn.Identity() for name, child in model.named_children()})
    part._parameters, part._buffers = {}, {}
    return part


def _with(model: nn.Module, children: dict[str, nn.Module | None]) -> nn.Module:
    """The same network with other layers of the same names; `model` stays as it is."""
    part = copy.copy(model)
    part._modules = children
    return part
