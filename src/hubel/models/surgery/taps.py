"""Feature taps: what a named part of a network put out in a forward pass.

with taps(network, ["stages.1", "head"]) as seen:
    network(images)
seen["stages.1"]    # (B, 64, H / 2, W / 2)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from hubel.models.surgery.named import named_part


@contextmanager
def taps(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A dict that every forward pass inside the block fills with the outputs of the modules `names`.

    Outputs are those of the last pass, with their graph, in the order in which they were computed; a module that ran
    twice in a pass shows its last output. Raises UserError for a name that the network doesn't have.
    """
    parts = {name: named_part(network, name) for name in names}
    seen: dict[str, Any] = {}

    def listen(name: str) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            seen.pop(name, None)
            seen[name] = output

        return parts[name].register_forward_hook(keep)

    handles = [listen(name) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def activations(network: nn.Module, images: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """{name: output} of one forward pass of `images` (B, C, H, W) through `network`."""
    with taps(network, names) as seen:
        network.forward(images)  # a compiled call may run past the hooks
    return seen
