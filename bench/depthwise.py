"""A training step of depthwise convolutions in bf16: hubel's gradients made of 3 × 3 filters against torch's own.

    python bench/depthwise.py [--batch 16] [--size 224] [--rounds 5] [--json] [--save depthwise]

First the layers of EfficientNet-Lite0 that `speed_up_depthwise` takes, each shape once: forward and backward, of
weights and input. Then a whole step of the network (forward, cross-entropy, backward, SGD). Both in channels_last and
bf16 by autocast, in turn, A B A B …, after one round that warms up. Printed: median ms (smallest–largest), and the
ratio torch / hubel, round by round. On a CPU without native bf16 the figures say little: hubel trains in fp32 there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
import torch.nn.functional as F
from common import describe, machine, ratio, save, spread, table
from torch import Tensor, nn

import hubel
from hubel.nn.depthwise import _is_slow, speed_up_depthwise

Shape = tuple[int, int, int, int]  # channels, side of the filter, stride, side of the map


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16, help="images in a step")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds, after one that warms up")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json and .txt")
    return parser.parse_args(words)


def network_of(size: int, ours: bool) -> nn.Module:
    """Lite0 with torch's convolutions, or with ours; the same weights."""
    torch.manual_seed(0)
    network = hubel.create_model("efficientnet_lite0", classes=10, input=(3, size, size))
    if ours:
        assert speed_up_depthwise(network), "nothing to compare"
    return network.to(memory_format=torch.channels_last).train()


def shapes_of(size: int) -> list[Shape]:
    """Of the layers that are made faster, each once, from input to output."""
    network, found = network_of(size, ours=False), list[Shape]()

    def note(conv: Any, inputs: tuple[Tensor]) -> None:
        found.append((conv.in_channels, conv.kernel_size[0], conv.stride[0], inputs[0].shape[-1]))

    for module in network.modules():
        if isinstance(module, nn.Conv2d) and _is_slow(module):
            module.register_forward_pre_hook(note)
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size))
    return list(dict.fromkeys(found))


def layer_step(shape: Shape, batch: int, ours: bool) -> Callable[[], None]:
    """Forward and backward of one layer."""
    channels, kernel, stride, side = shape
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
    if ours:
        assert speed_up_depthwise(conv) == 1
    x = torch.randn(batch, channels, side, side).to(torch.bfloat16, memory_format=torch.channels_last)
    x.requires_grad_(True)

    def step() -> None:
        x.grad = conv.weight.grad = None
        with torch.autocast("cpu", torch.bfloat16):
            y = conv(x)
        y.backward(torch.ones_like(y))

    return step


def network_step(batch: int, size: int, ours: bool) -> Callable[[], None]:
    """A whole step of the training."""
    network = network_of(size, ours)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    targets = torch.arange(batch) % 10
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images)
        F.cross_entropy(logits.float(), targets).backward()
        optimizer.step()

    return step


def in_turn(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """{name: milliseconds of each round}, one after the other in each round."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if number:
                found[name].append(1000 * (time.perf_counter() - started))
    return found


def measure(options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """{what: {"torch": ms, "hubel": ms}}."""
    found = {}
    for shape in shapes_of(options.size):
        name = "{} channels, {kernel} x {kernel}, stride {}, {side} x {side}".format(
            shape[0], shape[2], kernel=shape[1], side=shape[3]
        )
        ways = {who: layer_step(shape, options.batch, who == "hubel") for who in ("torch", "hubel")}
        found[name] = in_turn(ways, options.rounds)
    ways = {who: network_step(options.batch, options.size, who == "hubel") for who in ("torch", "hubel")}
    found["efficientnet_lite0, a step"] = in_turn(ways, options.rounds)
    return found


def text_of(facts: dict[str, Any], found: dict[str, dict[str, list[float]]], options: argparse.Namespace) -> str:
    rows: list[Sequence[Any]] = [("layer", "torch ms", "hubel ms", "torch / hubel")]
    for name, ms in found.items():
        ours, theirs = ms["hubel"], ms["torch"]
        rows.append((name, spread(theirs).text(1), spread(ours).text(1), ratio(theirs, ours).text(2)))
    head = f"{describe(facts)}\nbatch {options.batch}, {options.size} pixels, {options.rounds} rounds\n"
    return f"{head}\n{table(rows)}"


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    facts, found = machine(), measure(options)
    text = text_of(facts, found, options)
    content = {"machine": facts, "batch": options.batch, "size": options.size, "milliseconds": found}
    if options.save:
        save(options.save, content, text)
    print(json.dumps(content, indent=1) if options.json else text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
