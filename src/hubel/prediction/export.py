"""A run as one ONNX file that needs no hubel: pixels in, the task's answer out, its words in the file's metadata.

    images (B, h, w, C) uint8, resized to the network's size -> normalisation, network, softmax or what the task does
    -> named outputs (B, …): "probabilities" (B, K) of a classification; the batch B is free, the size is not

Resizing stays outside: an ONNX operator that reads areas as hubel does is not there. The metadata says how it is done
("hubel.preprocess"), what the classes are ("hubel.classes"), the task and its options, thresholds among them
("hubel.task"). Batch norms are folded. The file is then run by ONNX Runtime and compared with the network itself.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import logging
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.surgery.fold import fold_batchnorm
from hubel.rebuild import Parts
from hubel.training.atomic import write_atomically
from hubel.types import Batch

NEEDED = ("onnx", "onnxscript")
TOLERANCE = 1e-4  # of the largest output: two libraries add the same numbers in another order
CHECKED = (1, 3)  # images in the passes that are compared
OPSET = 18


@dataclass(frozen=True)
class Exported:
    """What was written. `difference` is the largest over all outputs, of their largest value; None: nobody looked."""

    path: Path
    outputs: tuple[str, ...]
    bytes: int
    difference: float | None
    said: str

    @property
    def agrees(self) -> bool:
        """False where the file was compared with the network, and differs."""
        return self.difference is None or self.difference <= TOLERANCE

    def settings(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "outputs": list(self.outputs),
            "bytes": self.bytes,
            "difference": self.difference,
            "tolerance": TOLERANCE,
            "agrees": self.agrees,
            "said": self.said,
        }


class Shipped(nn.Module):
    """(B, h, w, C) integers -> the tensors of the task's predictions: what `hubel predict` does after resizing."""

    scale: Tensor
    shift: Tensor

    def __init__(self, parts: Parts):
        super().__init__()
        network = copy.deepcopy(parts.network).to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.network = fold_batchnorm(network.float()).network
        self._parts = [parts]
        pairs, top = parts.preprocess._pairs(), 2**parts.preprocess.depth - 1
        self.register_buffer("scale", torch.tensor([1 / (top * std) for _, std in pairs]).view(-1, 1, 1))
        self.register_buffer("shift", torch.tensor([-mean / std for mean, std in pairs]).view(-1, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = self._normalised(images)
        return tuple(predicted(self._parts[0].task, self.network, x).answers().values())

    def _normalised(self, images: Tensor) -> Tensor:
        preprocess = self._parts[0].preprocess
        if preprocess.whitening is not None:
            return preprocess.normalise(images)
        return images.permute(0, 3, 1, 2).float() * self.scale + self.shift


def predicted(task: Any, network: nn.Module, images: Tensor) -> Any:
    """The task's predictions for normalised images (B, C, h, w)."""
    n = images.shape[0]  # len() would be a number, and fix the size of the batch
    size = torch.tensor(images.shape[2:])
    return task.predict(
        network,
        Batch(images, None, torch.arange(n), torch.ones(n), size.expand(n, 2), torch.eye(3).expand(n, 3, 3)),
    )


def export(parts: Parts, path: str | Path, model: str = "") -> Exported:
    """Write `parts` to `path` and compare the file with the network where ONNX Runtime is installed.

    Raises UserError where the extra is not installed, the folder is missing, or the network can't be exported.
    """
    path = Path(path).expanduser().absolute()
    _check(path)
    shipped = Shipped(parts).eval()
    examples = [pixels(parts, n) for n in CHECKED]
    with torch.no_grad():
        expected = [_reference(parts, shipped.network, example) for example in examples]
    names = tuple(expected[0])
    proto = _traced(shipped, examples[-1], names)
    for key, value in description(parts, names, model).items():
        proto.metadata_props.add(key=key, value=value)
    content = proto.SerializeToString()
    write_atomically(path, content)
    difference, said = _compared(path, examples, expected)
    return Exported(path, names, len(content), difference, said)


def _check(path: Path) -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"Exporting needs {' and '.join(missing)}. Install them with: pip install 'hubel[export]'")
    if path.suffix != ".onnx":
        raise UserError(f"The file must end with .onnx, got '{path.name}'. Other formats are not written.")
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(
            f"'{path}' can't be written: " + ("it is a folder." if path.is_dir() else "its folder is missing.")
        )


def pixels(parts: Parts, n: int) -> Tensor:
    """n images (n, h, w, C) of noise, in the integers that the network is fed with."""
    random = np.random.default_rng(n)
    shape = (n, *parts.preprocess.size, parts.preprocess.channels)
    kind = np.uint8 if parts.preprocess.depth == 8 else np.int32
    return torch.from_numpy(random.integers(0, 2**parts.preprocess.depth, shape).astype(kind))


def _reference(parts: Parts, network: nn.Module, images: Tensor) -> dict[str, np.ndarray]:
    """What `hubel predict` says of them, in eager fp32 and before any folding."""
    own = copy.deepcopy(parts.network).to("cpu").float().eval()
    return predicted(parts.task, own, parts.preprocess.normalise(images)).arrays()


def _traced(shipped: Shipped, example: Tensor, names: tuple[str, ...]) -> Any:
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                shipped, (example,), input_names=["images"], output_names=list(names), dynamo=True, verbose=False,
                dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}}, opset_version=OPSET,
            )  # fmt: skip
    except Exception as fault:  # torch's exporter raises what the network's own code raises
        reason = next((line for line in str(fault).splitlines() if line.strip()), type(fault).__name__)
        raise UserError(
            f"The network can't be exported: {reason} A forward must not depend on the values of its input, and every "
            "operation needs a counterpart in ONNX."
        ) from fault
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
    assert program is not None
    return program.model_proto


def description(parts: Parts, outputs: tuple[str, ...], model: str) -> dict[str, str]:
    """The file's metadata: words, and JSON where there is more than one."""
    preprocess = parts.preprocess
    resize = {key: value for key, value in preprocess.settings().items() if key not in ("mean", "std", "whitening")}
    resize |= {"layout": "NHWC", "colours": "grey" if preprocess.channels == 1 else "RGB", "normalisation": "inside"}
    return {
        "hubel.version": version("hubel"),
        "hubel.model": model,
        "hubel.task": json.dumps(parts.task.settings()),
        "hubel.classes": json.dumps(list(parts.classes)),
        "hubel.outputs": json.dumps(list(outputs)),
        "hubel.preprocess": json.dumps({**resize, "resizing": _how(preprocess)}),
    }


def _how(preprocess: Any) -> str:
    """The resizing in words that another program can follow."""
    size = f"{preprocess.size[0]}×{preprocess.size[1]}"
    ways = {
        "none": f"images have {size} pixels already; of others the centre is taken",
        "crop": f"resize, keeping proportions, until the image just covers {size}; then cut out the centre",
        "letterbox": f"resize, keeping proportions, until the image just fits into {size}; fill with 0 around it",
        "stretch": f"resize to {size} whatever the proportions",
    }
    kind = "averaging over the area of each pixel where it shrinks, bilinear where it grows"
    kind = kind if preprocess.interpolation == "area" else f"antialiased {preprocess.interpolation}, as Pillow does"
    part = "" if preprocess.share == 1 else f"; the cut is {preprocess.share:g} of the resized side"
    return f"apply the EXIF orientation; {ways[preprocess.policy]}{part}; {kind}"


def _compared(path: Path, examples: list[Tensor], expected: list[dict[str, np.ndarray]]) -> tuple[float | None, str]:
    """The largest difference, and a sentence."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None, "not compared with the network: ONNX Runtime is not installed (pip install 'hubel[export]')"
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        worst = _largest(session, examples, expected)
    except Exception as fault:  # of its own kinds
        return float("inf"), f"ONNX Runtime can't run the file: {str(fault).splitlines()[0]}"
    verdict = "agrees" if worst <= TOLERANCE else "DIFFERS"
    return worst, f"ONNX Runtime {verdict} with the network: largest difference {worst:.1e} of the largest output"


def _largest(session: Any, examples: list[Tensor], expected: list[dict[str, np.ndarray]]) -> float:
    """The largest difference, each of the largest value that was expected; infinite where a number is none."""
    worst = 0.0
    for images, wanted in zip(examples, expected, strict=True):
        found = session.run(list(wanted), {"images": images.numpy()})
        for a, b in zip(found, wanted.values(), strict=True):
            scale = max(float(np.abs(b).max()), 1e-12)
            difference = float(np.abs(np.asarray(a, np.float64) - b).max()) / scale
            worst = max(worst, difference if np.isfinite(difference) else float("inf"))
    return worst
