"""The fastest way to run a trained network here: chosen by a rule, never by timing, and checked against eager fp32.

    eager     the network as it was trained
    folded    batch norms folded into the layers before them, channels_last, bf16 where the hardware multiplies it
    fused     folded, then traced, and its weights brought once into the order that oneDNN multiplies in (CPU)
    openvino  folded, then compiled by OpenVINO, where it is installed (CPU)

In eager and folded networks a map is thrown away once nothing reads it any more, or written over, and a batch whose
maps would not fit into half of the free memory runs in parts: the same numbers in less (models/surgery/lean.py).

Preparing takes seconds, so little work stays eager. A prepared network sees its first images twice, once in eager
fp32: where the outputs differ by more than TOLERANCE the eager network goes on, and says so.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.data.memory import free_memory
from hubel.errors import UserError, close_to
from hubel.models.cost import multiply_adds
from hubel.models.surgery.fold import fold_batchnorm
from hubel.models.surgery.lean import images_at_once, lean
from hubel.rebuild import Parts
from hubel.tasks.joint import Joint
from hubel.training.auto_machine import BF16_FROM, native_bf16

WAYS = ("auto", "eager", "folded", "fused", "openvino")
TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}  # root mean square of the difference over that of eager fp32's outputs
FOLD_FROM = 5e10  # multiply-adds of all images: about a second of one core in fp32
FUSE_FROM = 5e11
CHECKED = 4  # images of the first batch
SURELY = 500  # no network's maps take more times the memory of its images, so that nothing need be counted
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Way:
    """How the network is run: `name`, `precision` "fp32" or "bf16" (of eager: as trained), and why."""

    name: str
    precision: str
    why: str

    @property
    def tolerance(self) -> float | None:
        """How far outputs may be from eager fp32, of their root mean square; None: they are the network's own."""
        return None if self.name == "eager" else TOLERANCE[self.precision]

    def words(self) -> str:
        near = f", within {self.tolerance:.1%} of eager fp32" if self.tolerance else ""
        return f"{self.name}, {self.precision}{near}: {self.why}"

    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "precision": self.precision, "tolerance": self.tolerance, "why": self.why}


def installed() -> str | None:
    """The best way that this machine has for much work on the CPU: OpenVINO where it is installed."""
    return "openvino" if importlib.util.find_spec("openvino") else "fused"


def choose(parts: Parts, images: int, asked: str = "auto") -> Way:
    """The way for so many `images`, or the one that is `asked` for. Raises UserError where that can't be had."""
    if asked not in WAYS:
        raise UserError(f"--path is one of {', '.join(WAYS)}; got '{asked}'{close_to(asked, WAYS)}")
    device = parts.device.type
    if asked == "openvino" and installed() != "openvino":
        raise UserError(
            "OpenVINO is not installed. Install it with: pip install 'hubel[openvino]', or leave --path out."
        )
    if asked in ("openvino", "fused") and device != "cpu":
        raise UserError(
            f"--path {asked} is for the CPU; this network runs on {device}. Use --device cpu, or --path folded."
        )
    if asked == "eager":
        return Way("eager", parts.precision, "asked for")
    if isinstance(parts.task, Joint):
        return Way("eager", parts.precision, "several heads on one network")
    cost = multiply_adds(parts.network, (parts.preprocess.channels, *parts.preprocess.size))
    native, reason = native_bf16(device)
    precision = "bf16" if native and cost >= BF16_FROM else "fp32"
    reason = reason if cost >= BF16_FROM else f"{cost:,} multiply-adds an image are too few for bf16"
    if asked != "auto":
        return Way(asked, precision, f"asked for; {reason}")
    work = cost * images
    if work < FOLD_FROM:
        return Way("eager", parts.precision, f"{images} images of {cost:,} multiply-adds are done before it pays")
    if work < FUSE_FROM or device != "cpu":
        return Way("folded", precision, reason)
    return Way(installed() or "fused", precision, reason)


def prepared(parts: Parts, images: int, batch: int, asked: str = "auto") -> tuple[Parts, Way]:
    """`parts` with a network that runs in the chosen way, in fp32 as far as anyone outside sees.

    `batch` is the number of images in most passes; passes of another size run folded.
    """
    way, batch = choose(parts, images, asked), min(batch, images)
    most = _at_once(parts, batch)
    if way.name == "eager":
        return replace(parts, network=lean(parts.network.eval(), most)), way
    if most is not None and way.name != "folded":  # the others are made for batches of one size
        way = replace(way, name="folded", why=f"{most} of {batch} images at once fit into memory")
    network = Prepared(parts.network, way, batch, most)
    return replace(parts, network=network.eval(), precision="fp32"), way


def _at_once(parts: Parts, batch: int) -> int | None:
    """How many images run at once, where the maps of a whole batch don't fit into memory; None where they do."""
    shape, limit = (parts.preprocess.channels, *parts.preprocess.size), free_memory(parts.device) // 2
    if SURELY * 4 * math.prod(shape) * batch <= limit:
        return None
    try:
        most = images_at_once(parts.network, shape, limit)
    except Exception:  # a network of the user's that asks for values
        return None
    return most if most < batch else None


class Prepared(nn.Module):
    """images (B, C, H, W) float32 -> outputs float32, in a `way`; `way` tells what became of it after the check.

    `most`: the images that fit into memory together, where a whole batch does not.
    """

    def __init__(self, network: nn.Module, way: Way, batch: int, most: int | None = None):
        super().__init__()
        self.way, self.batch, self.most = way, batch, most
        self.margin = getattr(network, "margin", 0)
        self._runs: dict[str, Run] = {"eager": network}  # in a dict: no submodules, whose weights are nobody's business

    def forward(self, images: Tensor) -> Tensor:
        if "whole" not in self._runs:
            self._prepare(images)
        return self._runs["whole" if len(images) == self.batch else "other"](images)

    def _prepare(self, images: Tensor) -> None:
        """Make the runners, and compare them with eager fp32 on the first images."""
        eager, example = self._runs["eager"], _filled(images, self.most or self.batch)
        try:
            made = self._made(example)
            wrong = _difference(eager(example[:CHECKED]).float(), made["whole"](example)[:CHECKED])
            fault = f"differed by {wrong:.2%}, more than {self.way.tolerance:.1%}"
            fine = wrong <= TOLERANCE[self.way.precision]  # NaN is not
        except Exception as error:  # another library may fail in any way; the network itself still runs
            fault, fine = f"failed ({(str(error) or type(error).__name__).splitlines()[0]})", False
        if fine:
            self._runs |= made
        else:
            self.way = Way("eager", "fp32", f"{self.way.name} {fault}")
            slow = lean(eager, self.most) if isinstance(eager, nn.Module) else eager
            self._runs |= {"whole": slow, "other": slow}

    def _made(self, example: Tensor) -> dict[str, Run]:
        """What runs a whole batch, and what runs any other."""
        network, precision = self._runs["eager"], self.way.precision
        assert isinstance(network, nn.Module)
        other = folded(network, precision, self.most)
        if self.way.name == "folded":
            return {"whole": other, "other": other}
        maker = fused if self.way.name == "fused" else openvino
        return {"whole": maker(network, example, precision), "other": other}


def _filled(images: Tensor, batch: int) -> Tensor:
    """`batch` images, repeated where there are fewer."""
    return images.repeat(-(-batch // len(images)), 1, 1, 1)[:batch]


def _difference(expected: Tensor, found: Tensor) -> float:
    """Root mean square of the difference, over that of what was expected."""
    scale = expected.square().mean().sqrt().clamp(min=1e-12)
    return float((found - expected).square().mean().sqrt() / scale)


def _folded(network: nn.Module, precision: str) -> nn.Module:
    """Folded, in channels_last, in its number format."""
    found = fold_batchnorm(network).network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return found.bfloat16() if precision == "bf16" else found


def _as(images: Tensor, precision: str) -> Tensor:
    images = images.bfloat16() if precision == "bf16" else images
    return images.contiguous(memory_format=torch.channels_last)


def folded(network: nn.Module, precision: str, most: int | None = None) -> Run:
    """Batch norms folded, channels_last, every weight in `precision`; `most` images at once."""
    run = lean(_folded(network, precision), most)
    return lambda images: run(_as(images, precision)).float()


def fused(network: nn.Module, example: Tensor, precision: str) -> Run:
    """Traced on `example` and frozen: oneDNN's graph in bf16, its blocked weights in fp32."""
    plain, some = _folded(network, precision), _as(example, precision)
    with warnings.catch_warnings(), _onednn_graph(precision == "bf16"):
        warnings.simplefilter("ignore")  # torch announces the end of its tracer
        traced = torch.jit.freeze(torch.jit.trace(plain, some, check_trace=False))
        traced = traced if precision == "bf16" else torch.jit.optimize_for_inference(traced)
        for _ in range(2):  # it looks at one pass, and compiles in the next
            traced(some)
    return lambda images: traced(_as(images, precision)).float()


@contextlib.contextmanager
def _onednn_graph(on: bool) -> Any:
    before = torch.jit.onednn_fusion_enabled()
    torch.jit.enable_onednn_fusion(on)
    try:
        yield
    finally:
        torch.jit.enable_onednn_fusion(before)


def openvino(network: nn.Module, example: Tensor, precision: str) -> Run:
    """Compiled by OpenVINO for batches of this size."""
    import openvino as package

    plain = copy.deepcopy(fold_batchnorm(network).network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = package.convert_model(plain, example_input=example.contiguous(), input=[tuple(example.shape)])
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
               "INFERENCE_NUM_THREADS": torch.get_num_threads()}  # fmt: skip
    compiled = package.Core().compile_model(model, "CPU", options)
    return lambda images: torch.from_numpy(np.array(compiled(images.contiguous().numpy())[0]))
