"""Images/s of trained networks at 224 pixels on a CPU: hubel's ways against the others, measured in turn in one run.

    python bench/inference.py [--networks resnet50,mobilenetv2] [--rounds 5] [--images 64] [--json]

Each competitor is a process of its own that holds one network; rounds go A B C … A B C …, after one that warms up.
*hubel* is what `hubel predict` does with many images and no extras, *hubel+openvino* with OpenVINO installed, *hubel
folded* for fewer images. The others run as they come: torchvision and timm eager in fp32, torch.compile and ONNX
Runtime on torchvision's network in fp32, OpenVINO by its own defaults (bf16 where the CPU has it). Everybody gets the
same float32 batches. Printed: median images/s (smallest–largest), and the ratio to torchvision, round by round.
`hubel+openvino` counts as at the best of the others where its median is within 3 % of it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from common import describe, machine, ratio, save, spread, table
from peers import declare_operators
from turns import Competitor, Turns, in_turns

from hubel.waiting import wait_briefly

NETWORKS = {  # ours: torchvision's, timm's
    "resnet50": ("resnet50", "resnet50"),
    "mobilenetv2": ("mobilenet_v2", "mobilenetv2_100"),
    "efficientnet_b0": ("efficientnet_b0", "efficientnet_b0"),
    "vgg16": ("vgg16", "vgg16"),
}
NAMES = ("torchvision", "timm", "compile", "onnxruntime", "openvino", "hubel folded", "hubel", "hubel+openvino")
GOALS = {"vgg16": 2.2}  # hubel / torchvision; 3 of the others
GOAL = 3.0
BATCH, SIDE = 32, 224
Runner = Callable[[Any], Any]


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="which networks, with commas between them")
    parser.add_argument("--competitors", default=",".join(NAMES), help="who takes part")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds, after one that warms up")
    parser.add_argument("--images", type=int, default=64, help="images in a turn, in batches of 32")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json and .txt")
    parser.add_argument("--as", dest="role", help=argparse.SUPPRESS)  # this process is a competitor
    parser.add_argument("--pipes", help=argparse.SUPPRESS)
    return parser.parse_args(words)


# The competitors -----------------------------------------------------------------------------------------------


def torchvision_network(name: str) -> Any:
    declare_operators()
    import torchvision

    return getattr(torchvision.models, NETWORKS[name][0])(weights=None).eval()


def torchvision(name: str, images: Any) -> Runner:
    return torchvision_network(name)


def timm(name: str, images: Any) -> Runner:
    declare_operators()
    import timm as package

    return package.create_model(NETWORKS[name][1]).eval()


def compiled(name: str, images: Any) -> Runner:
    import torch

    return torch.compile(torchvision_network(name))


def onnxruntime(name: str, images: Any) -> Runner:
    import onnxruntime as package
    import torch

    network = torchvision_network(name)
    proto = torch.onnx.export(network, (images,), input_names=["images"], dynamo=True, verbose=False).model_proto
    session = package.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"images": batch.numpy()})


def openvino(name: str, images: Any) -> Runner:
    import openvino as package

    model = package.convert_model(torchvision_network(name), example_input=images, input=[tuple(images.shape)])
    network = package.Core().compile_model(model, "CPU")
    return lambda batch: network(batch.numpy())


def hubel(name: str, images: Any, path: str = "fused") -> Runner:
    """As `hubel predict` runs it, forced to one way: the one that its rule takes for many images."""
    import torch

    import hubel
    from hubel.data.preprocess import Preprocess
    from hubel.prediction.inference import Prepared, prepared
    from hubel.rebuild import Parts
    from hubel.tasks.classification import Classification

    network = hubel.create_model(name, classes=1000, input=(3, SIDE, SIDE)).eval()
    classes = tuple(map(str, range(1000)))
    parts = Parts(network, Classification(classes), Preprocess((SIDE, SIDE), 3), torch.device("cpu"), classes, "fp32")
    found, _ = prepared(parts, 10_000, BATCH, path)
    found.network(images)
    assert isinstance(found.network, Prepared)
    if found.network.way.name != path:
        raise RuntimeError(found.network.way.why)
    return found.network


COMPETITORS: dict[str, Callable[[str, Any], Runner]] = {
    "torchvision": torchvision,
    "timm": timm,
    "compile": compiled,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "hubel folded": lambda name, images: hubel(name, images, "folded"),
    "hubel": hubel,
    "hubel+openvino": lambda name, images: hubel(name, images, "openvino"),
}


def compete(options: argparse.Namespace) -> None:
    import torch

    turns = Turns.from_pipes(options.pipes, lambda: None)
    try:
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        batches = [torch.randn(BATCH, 3, SIDE, SIDE) for _ in range(max(1, options.images // BATCH))]
        with torch.inference_mode(options.role != "compile"), torch.no_grad():
            run = COMPETITORS[options.role](options.networks, batches[0])
            for _ in range(2):
                run(batches[0])
            while True:
                turns.begin()
                for batch in batches:
                    run(batch)
                turns.end(len(batches) * BATCH)
    except Exception as fault:  # it can't take part; the others do
        traceback.print_exc()
        turns.fail(f"{type(fault).__name__}: {fault}"[:300])


# The table -----------------------------------------------------------------------------------------------------


def measure(network: str, names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """{"images_per_second": {name: [one per round]}, "missing": {name: reason}}"""
    command = [__file__, "--networks", network, "--images", str(options.images), "--as"]
    players = [Competitor(name, [*command, name], own_environment(name)) for name in names]
    return in_turns(players, options.rounds, network)


def own_environment(name: str) -> dict[str, str]:
    """What `import hubel` sets before torch is loaded; the others run as they come."""
    found: dict[str, str] = {}
    if name.startswith("hubel") and "OMP_WAIT_POLICY" not in os.environ:
        wait_briefly(found)
    return found


def rows_of(network: str, found: Mapping[str, Any]) -> list[list[str]]:
    rates = found["images_per_second"]
    base, others = rates.get("torchvision"), [n for n in rates if not n.startswith("hubel")]
    best = max(others, key=lambda name: spread(rates[name]).median, default=None)
    rows = []
    for name in [*rates, *found["missing"]]:
        if name not in rates:
            rows.append([f"{network}: {name}", "–", "–", found["missing"][name][:60]])
            continue
        faster = ratio(rates[name], base) if base else None
        verdict = ""
        if name == "hubel" and faster:
            goal = GOALS.get(network, GOAL)
            verdict = f"goal {goal:g}: {'met' if faster.median >= goal else 'missed'}"
        elif name == "hubel+openvino" and best:
            beside = ratio(rates[name], rates[best])
            verdict = f"{beside.text(2)} of {best}, the best: {'met' if beside.median >= 0.97 else 'missed'}"
        rows.append([f"{network}: {name}", spread(rates[name]).text(1), faster.text(2) if faster else "–", verdict])
    return rows


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    if options.role:
        compete(options)
        return 0
    facts = machine()
    found: dict[str, Any] = {}
    for network in options.networks.split(","):
        found[network] = measure(network, options.competitors.split(","), options)
        content = {"machine": facts, "batch": BATCH, "rounds": options.rounds, "networks": found}
        if options.save:  # after each network: a run that is cut off keeps what it has
            save(options.save, content, text_of(facts, found, options))
    print(json.dumps(content, indent=1) if options.json else text_of(facts, found, options))
    return 0


def text_of(facts: Mapping[str, Any], found: Mapping[str, Any], options: argparse.Namespace) -> str:
    rows = [["images/s", "median (lowest–highest)", "/ torchvision", "goal"]]
    rows += [row for network, one in found.items() for row in rows_of(network, one)]
    taken = f"batches of {BATCH}, {SIDE} pixels, {options.rounds} rounds of {options.images} images"
    return f"{describe(facts)}\n{taken}\n\n{table(rows)}"


if __name__ == "__main__":
    sys.exit(main())
