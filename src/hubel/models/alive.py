"""How much memory the maps of one pass take at the same time: what lives is counted with each operation.

Weights don't count, nor what an operation takes for itself while it runs. On the device "meta" nothing is computed, and
the answer is that of a pass whose maps lie in memory of their own (float32: 4 bytes a value).
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hubel.models import shapes
from hubel.models.trace import tensors


class Alive(TorchDispatchMode):
    """The bytes of the tensors that were made within and still live: `now`, and the most so far, `peak`."""

    def __init__(self, before: list[Tensor]):
        super().__init__()
        self.now = self.peak = 0
        self._fixed = {_storage(tensor) for tensor in before}
        self._holders: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping it would import it, which takes a second

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        meta = any(tensor.device.type == "meta" for tensor in tensors(args))
        output = (shapes.output if meta else _run)(func, args, kwargs or {})
        for tensor in tensors(output):
            self.hold(tensor)
        return output

    def hold(self, tensor: Tensor) -> None:
        """Count the memory of `tensor` as long as one of the tensors that lie in it lives."""
        where, size = _storage(tensor), tensor.untyped_storage().nbytes()
        if where in self._fixed:
            return
        if not self._holders.get(where):
            self.now += size
            self.peak = max(self.peak, self.now)
        self._holders[where] = self._holders.get(where, 0) + 1
        weakref.finalize(tensor, self._release, where, size)

    def _release(self, where: int, size: int) -> None:
        self._holders[where] -= 1
        self.now -= 0 if self._holders[where] else size


def peak_bytes(network: nn.Module, images: Tensor) -> int:
    """The most bytes that `images` and what `network` makes of them take at one time, without gradients."""
    with torch.no_grad(), Alive([*network.parameters(), *network.buffers()]) as alive:
        alive.hold(images)
        network(images)
        return alive.peak


def _run(function: Any, args: Any, kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
