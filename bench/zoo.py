"""Does every network that has a name keep the contract, and is it the function that other libraries have?

python bench/zoo.py [NAME ...] [--without onnx,parity,compile] [--save zoo]     (the whole zoo: some hours on one core)

Per network, on small random images (the smallest of SIDES that it takes):
    shapes    logits, of an image or of every pixel, and maps at two sizes; `channels` and `strides` as promised
              (one size for dense heads on pixels)
    gradients reach every parameter, auxiliary heads too, and are finite
    saved     safetensors and back: bit-equal outputs
    seed      the same seed: bit-equal weights and outputs
    batch     largest change of logits when an image stands alone, of the largest logit (evaluation mode)
    compile   torch.compile's capture without a break (its compiler is not run: `aot_eager`), the same measure
    bf16      autocast on the CPU against fp32, the same measure; tolerance BF16
    onnx      the exported file in ONNX Runtime against the network, as `hubel export` measures it
    parity    torchvision's and timm's weights load, and outputs, gradients and statistics agree to 1e-5 in fp64

"–" was not looked at, or there is no peer. Exit status 1 where a check failed.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from common import describe, machine, table
from torch import Tensor, nn

from hubel import names
from hubel.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

RESULTS = Path(__file__).parent / "results"
SIDES = (32, 64, 96, 128, 160, 224)
CLOSE = 1e-4  # of the largest logit: another order of additions
BF16 = 0.1
CHECKS = ("shapes", "gradients", "saved", "seed", "batch", "compile", "bf16", "onnx", "parity")
Answer = str  # what stands in the table


class Failed(Exception):
    """A check that did not hold, with what was seen."""


class Case:
    """A network by name: how to make it, at a side that it takes."""

    def __init__(self, name: str):
        self.name, self.function = name, names.resolve(names.MODELS, name)
        known = [(classes, side) for classes in (10, 1) for side in SIDES]  # a perceptron has one unit
        self.classes, self.side = next(one for one in known if self.takes(*one))

    def takes(self, classes: int, side: int) -> bool:
        try:
            with torch.device("meta"):
                self.make(side, classes)
        except UserError:
            return False
        return True

    def make(self, side: int | None = None, classes: int | None = None) -> Any:
        side = side or self.side
        return self.function(classes=classes or self.classes, input=(3, side, side))

    def images(self, count: int = 4, side: int | None = None) -> Tensor:
        side = side or self.side
        return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(side))

    def trained(self) -> Any:
        """With statistics of batch norm from a few passes, in evaluation mode."""
        torch.manual_seed(0)
        network = self.make()
        with torch.no_grad():
            for _ in range(3):
                network.train()(self.images(8))
        return network.eval()


# Checks ----------------------------------------------------------------------------------------------------------


def shapes(case: Case) -> Answer:
    network = case.make().eval()
    sizes = [case.side]
    for side in (case.side, case.side + 33):
        images = case.images(2, side)
        try:
            with torch.no_grad():
                logits, maps = network(images), network.maps(images)
        except (UserError, RuntimeError):
            if side == case.side:
                raise
            continue
        _expect(logits.shape[:2] == (2, case.classes) and logits.ndim in (2, 4), f"logits {tuple(logits.shape)}")
        _expect(bool(torch.isfinite(logits).all()), "logits are not finite")
        _expect([m.shape[1] for m in maps] == list(network.channels), "channels of the maps")
        for found, stride in zip(maps, network.strides, strict=bool(network.strides)):
            _expect(abs(found.shape[2] - side / stride) <= 12, f"a map of {found.shape[2]} at stride {stride}")
        sizes.append(side)
    return "/".join(map(str, dict.fromkeys(sizes)))


def gradients(case: Case) -> Answer:
    torch.manual_seed(0)
    network = case.make().train()
    images, targets = case.images(8), torch.arange(8) % case.classes
    maps = network.maps(images)
    logits = network.head(maps)
    if logits.ndim == 4:  # at every pixel
        loss = F.cross_entropy(logits, targets[:, None, None].expand(-1, *logits.shape[2:]))
    else:
        loss = F.cross_entropy(logits, targets)
    if hasattr(network, "auxiliary"):
        loss = loss + 0.3 * sum(F.cross_entropy(logits, targets) for logits in network.auxiliary(maps))
    loss.backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            _expect(parameter.grad is not None, f"{name} has none")
            _expect(bool(torch.isfinite(parameter.grad).all()), f"{name}: not finite")
    return "yes"


def saved(case: Case) -> Answer:
    network, other = case.trained(), case.make().eval()
    content = safetensors.torch.save({k: v.contiguous() for k, v in network.state_dict().items()})
    other.load_state_dict(safetensors.torch.load(content))
    with torch.no_grad():
        _expect(torch.equal(network(case.images()), other(case.images())), "other outputs")
    return "yes"


def seed(case: Case) -> Answer:
    outputs = []
    for _ in range(2):
        torch.manual_seed(3)
        network = case.make()
        outputs.append([*network.state_dict().values(), network(case.images()).detach()])
    _expect(all(torch.equal(a, b) for a, b in zip(*outputs, strict=True)), "other weights or outputs")
    return "yes"


def batch(case: Case) -> Answer:
    network, images = case.trained(), case.images()
    with torch.no_grad():
        together, alone = network(images), torch.cat([network(images[i : i + 1]) for i in range(len(images))])
    return _near(alone, together, CLOSE)


def compile(case: Case) -> Answer:
    network = case.trained()
    torch._dynamo.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        return _near(compiled(case.images()), network(case.images()), CLOSE)


def bf16(case: Case) -> Answer:
    network = case.trained()
    with torch.no_grad():
        plain = network(case.images())
        with torch.autocast("cpu", torch.bfloat16):
            return _near(network(case.images()).float(), plain, BF16)


def onnx(case: Case) -> Answer:
    from hubel.data.preprocess import Preprocess
    from hubel.prediction.export import export
    from hubel.rebuild import Parts
    from hubel.tasks.classification import Classification

    classes = tuple(f"class {i}" for i in range(max(2, case.classes)))
    preprocess = Preprocess(size=(case.side, case.side), channels=3, mean=(0.5,), std=(0.25,))
    if case.classes == 1:
        return "–"  # no classification
    parts = Parts(case.trained(), Classification(classes=classes), preprocess, torch.device("cpu"), classes, "fp32")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = export(parts, Path(folder) / "network.onnx", case.name)
    _expect(made.agrees, made.said)
    return "–" if made.difference is None else f"{made.difference:.0e}"


def parity(case: Case) -> Answer:
    from parity import peers
    from parity.parity import assert_parity

    found = []
    for library, peer in getattr(case.function, "peers", {}).items():
        if library not in ("torchvision", "timm"):
            continue
        ours = case.make(max(case.side, 64), classes=7)
        theirs = _theirs(peers, library, peer.name)
        aux = library == "torchvision" and hasattr(theirs, "aux1")
        read: dict[str, Any] = {"read": lambda out: [out.logits, out.aux_logits1, out.aux_logits2]} if aux else {}
        assert_parity(ours, theirs, peer.renaming, max(case.side, 64), **read)
        found.append(library)
        del ours, theirs
        gc.collect()
    return ", ".join(found) or "–"


def _theirs(peers: Any, library: str, name: str) -> nn.Module:
    if library == "timm":
        timm = peers.timm()
        network = timm.create_model(name, num_classes=7)
        if "resnetv2" in name:  # a dense layer, where timm has it as a 1×1 convolution
            network.head = timm.layers.ClassifierHead(network.num_features, 7)
        return network
    more = {"init_weights": True, "aux_logits": True} if name == "googlenet" else {}
    return getattr(peers.torchvision().models, name)(num_classes=7, **more)


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(what)


def _near(found: Tensor, expected: Tensor, tolerance: float) -> Answer:
    largest = float(expected.abs().max()) or 1.0  # a perceptron starts at 0
    difference = float((found - expected).abs().max()) / largest
    _expect(difference <= tolerance, f"differs by {difference:.1e} of the largest logit")
    return f"{difference:.0e}" if difference else "0"


# The whole zoo ---------------------------------------------------------------------------------------------------


def look(name: str, checks: Sequence[str], complaints: list[str]) -> list[str]:
    """A row: name, parameters of ten classes, an answer per check, seconds."""
    begun = time.monotonic()
    case = Case(name)
    with torch.device("meta"):
        count = sum(p.numel() for p in case.make().parameters())
    answers = []
    for check in CHECKS:
        run: Callable[[Case], Answer] = globals()[check]
        try:
            answers.append(run(case) if check in checks else "–")
        except Exception as fault:
            answers.append("FAILED")
            reason = "".join(traceback.format_exception_only(fault)).strip().splitlines()[0]
            complaints.append(f"{name}, {check}: {reason[:300]}")
        gc.collect()
    return [name, f"{count:,}", *answers, f"{time.monotonic() - begun:.0f}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", help="networks (default: all)")
    parser.add_argument("--without", default="", help="checks to leave out, by commas")
    parser.add_argument("--save", metavar="NAME", help="also write results/NAME.txt")
    chosen = parser.parse_args()
    checks = [check for check in CHECKS if check not in chosen.without.split(",")]
    torch.set_num_threads(1)  # small work: threads would wait for each other
    complaints: list[str] = []
    rows: list[list[str]] = [["network", "parameters", *CHECKS, "s"]]
    lines = [describe(machine()), "random weights, ten classes, sides of at least 32 pixels; see bench/zoo.py", ""]
    for name in chosen.names or list(names.MODELS):
        rows.append(look(name, checks, complaints))
        print("  ".join(rows[-1]), file=sys.stderr, flush=True)
        told = complaints or ["Every check held."]
        text = "\n".join([*lines, table(rows), "", f"{len(rows) - 1} networks", *told]) + "\n"
        if chosen.save:  # also what there is so far
            RESULTS.joinpath(f"{chosen.save}.txt").write_text(text)
    print(text)
    return 1 if complaints else 0


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=UserWarning)
    sys.exit(main())
