"""Is a network of ours the same function as another library's? In fp64, on random weights and random statistics.

    assert_parity(vgg11(classes=7, input=(3, 64, 64)), torchvision().models.vgg11(num_classes=7), TORCHVISION, 64)

Weights are drawn anew, batch norm's statistics, gains and shifts too: what is 0 or 1 in a fresh network hides errors.
Theirs load into ours and are compared in evaluation and in training (dropout and drop-path switched off): outputs,
the gradient of every parameter and of the images, and the statistics that a training pass leaves behind. Then ours,
drawn anew, load into theirs, and the outputs are compared again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hubel.models.renaming import Renaming

STOCHASTIC = re.compile(r"Drop|StochasticDepth")
RELATIVE, ABSOLUTE = 1e-5, 1e-8  # of each number, and of the largest one; for gradients, of the largest of any weight
Read = Callable[[Any], Sequence[Tensor]]


def assert_parity(
    ours: nn.Module,
    theirs: nn.Module,
    renaming: Renaming | None = None,
    size: int | tuple[int, int] = 64,
    *,
    channels: int = 3,
    batch: int = 3,
    read: Read = lambda outputs: [outputs],
) -> None:
    """`read` gives theirs' outputs in training as a list: the logits, then those of the auxiliary heads, first head
    first. Both networks are changed.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # small work: threads would wait for each other
    try:
        _assert_parity(ours.double(), theirs.double(), renaming or Renaming(), size, channels, batch, read)
    finally:
        torch.set_num_threads(before)


def _assert_parity(
    ours: nn.Module,
    theirs: nn.Module,
    renaming: Renaming,
    size: int | tuple[int, int],
    channels: int,
    batch: int,
    read: Read,
) -> None:
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)
    _draw(theirs, generator)
    ours.load_state_dict(renaming.state_to_ours(theirs.state_dict()))
    assert_names_go_both_ways(ours, theirs, renaming)
    for mode, one in (("eval", _eval), ("train", _train)):
        found = _measure(one(ours), images, _ours_outputs, lambda name: name)
        expected = _measure(one(theirs), images, lambda net, x: _outputs(net, x, read), renaming.to_ours)
        _assert_same(found, expected, mode)
    _draw(ours, generator)
    theirs.load_state_dict(renaming.state_to_theirs(ours.state_dict()))
    with torch.no_grad():
        _assert_same({"logits": _eval(ours)(images)}, {"logits": _eval(theirs)(images)}, "eval, weights of ours")


def assert_names_go_both_ways(ours: nn.Module, theirs: nn.Module, renaming: Renaming) -> None:
    """Every name there and back is itself, and ours are theirs one to one."""
    here, there = set(ours.state_dict()), set(theirs.state_dict())
    assert {renaming.to_theirs(name) for name in here} == there
    for name in here:
        assert renaming.to_ours(renaming.to_theirs(name)) == name
    for name in there:
        assert renaming.to_theirs(renaming.to_ours(name)) == name


@torch.no_grad()
def _draw(network: nn.Module, generator: torch.Generator) -> None:
    """Weights that keep the size of the signal; gains, shifts and statistics of a network that has been trained."""
    for name, value in network.state_dict(keep_vars=True).items():
        kind = name.rsplit(".", 1)[-1]
        if not value.is_floating_point():
            value.fill_(3)  # num_batches_tracked
        elif kind == "running_var" or (kind == "weight" and value.ndim == 1):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator, dtype=value.dtype))
        elif value.ndim > 1:
            noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            value.copy_(noise * (2 / value[0].numel()) ** 0.5)
        else:
            value.copy_(0.2 * torch.randn(value.shape, generator=generator, dtype=value.dtype))


def _eval(network: nn.Module) -> nn.Module:
    return network.eval()


def _train(network: nn.Module) -> nn.Module:
    """Training mode, in which dropout and drop-path do nothing."""
    network.train()
    for module in network.modules():
        if STOCHASTIC.search(type(module).__name__):
            module.eval()
    return network


def _ours_outputs(network: nn.Module, images: Tensor) -> list[Tensor]:
    if not network.training or not hasattr(network, "auxiliary"):
        return [network(images)]
    maps = network.maps(images)
    return [network.head(maps), *network.auxiliary(maps)]


def _outputs(network: nn.Module, images: Tensor, read: Read) -> list[Tensor]:
    return list(read(network(images))) if network.training else [network(images)]


def _measure(
    network: nn.Module,
    images: Tensor,
    outputs: Callable[[nn.Module, Tensor], list[Tensor]],
    rename: Callable[[str], str],
) -> dict[str, Tensor]:
    """Outputs, gradients of a random direction in the outputs, and the buffers afterwards, each by a name."""
    images = images.clone().requires_grad_()
    network.zero_grad()
    found = outputs(network, images)
    generator = torch.Generator().manual_seed(1)
    total = sum((y * torch.randn(y.shape, generator=generator, dtype=y.dtype)).sum() for y in found)
    total.backward()
    named = {f"output {i}": y.detach() for i, y in enumerate(found)} | {"gradient of the images": images.grad}
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            named[f"gradient of {rename(name)}"] = parameter.grad
    return named | {f"buffer {rename(name)}": value for name, value in network.named_buffers()}


def _assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], mode: str) -> None:
    assert found.keys() == expected.keys(), f"{mode}: {sorted(found.keys() ^ expected.keys())}"
    largest = max((float(v.abs().max()) for name, v in expected.items() if "gradient" in name), default=0.0)
    for name, value in expected.items():
        assert torch.isfinite(value).all(), f"{mode}, {name}: not finite"
        # a shift that a batch norm takes away behind the next convolution has a gradient of 0, but for rounding
        atol = ABSOLUTE * (largest if "gradient of" in name else float(value.abs().max()))
        torch.testing.assert_close(
            found[name], value, rtol=RELATIVE, atol=atol, msg=lambda text, name=name: f"{mode}, {name}: {text}"
        )
