"""One pass of a network, written down: what each layer gave, multiplied, kept and could see.

A layer is a module without children, or a function that a larger module calls itself: the sum of a residual block is
"stages.0.1.add()". On tensors of the device "meta" nothing is computed, and shapes come from shapes.py.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from hubel.models import field_rules, shapes
from hubel.models.receptive_field import Field

Key = tuple[str, str, int]  # module, function ("" for the module as a layer), how many times before
PRODUCTS = ("mm", "bmm", "addmm", "baddbmm")
NORMS = ("native_batch_norm", "native_group_norm", "native_layer_norm")


@dataclass
class Entry:
    """What a layer did in this pass, for all images of the batch together."""

    key: Key
    module: nn.Module
    kind: str = "other"  # or convolution, dense, norm
    shape: tuple[int, ...] | None = None
    multiplications: int = 0
    output_bytes: int = 0  # memory that the output newly takes
    kept_bytes: int = 0  # what backward keeps
    field: Field | None = None
    sources: set[int] = dataclasses.field(default_factory=set)  # storages from outside that it reads
    pointwise: bool = True

    @property
    def overwrites(self) -> bool:
        """Could it write over what it reads: one tensor of the same size, value by value?"""
        return self.pointwise and len(self.sources) <= 1


class Trace:
    """Records what runs within `with trace:`; `entries` in the order of the pass, `used` the storages it touched."""

    def __init__(self, network: nn.Module, image: Tensor, seen: Field | None):
        self.network, self.entries = network, dict[Key, Entry]()
        self.used: set[int] = set()
        self._names = {module: name for name, module in network.named_modules()}
        self._fixed = {_storage(t) for t in (*network.parameters(), *network.buffers())}
        self._inside: list[nn.Module] = []
        self._calls: Counter[tuple[str, str]] = Counter()
        self._open: Entry | None = None
        self._kept: set[int] = set(self._fixed)
        self._born: dict[int, Entry | None] = {_storage(image): None}
        self._fields: dict[int, Field | None] = {id(image): seen}
        self._alive: list[Any] = [image]  # an identity holds as long as its tensor lives
        self._around = ExitStack()

    def __enter__(self) -> Trace:
        for module in self._names:
            self._around.callback(module.register_forward_pre_hook(self._enter).remove)
            self._around.callback(module.register_forward_hook(self._leave).remove)
        self._around.enter_context(torch.autograd.graph.saved_tensors_hooks(self._keep, lambda kept: kept))
        self._around.enter_context(_Operations(self._operation))
        self._around.enter_context(_Functions(self._function))
        return self

    def __exit__(self, *fault: Any) -> None:
        self._around.close()
        self._alive.clear()

    def field_of(self, tensor: Tensor) -> Field | None:
        """Of a tensor of this pass, while it lasts."""
        return self._fields.get(id(tensor))

    def used_parameters(self) -> set[str]:
        """Names of those that some operation read."""
        return {name for name, p in self.network.named_parameters() if _storage(p) in self.used}

    # Modules and functions -------------------------------------------------------------------------------------------

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        self._inside.append(module)
        if next(module.children(), None) is None:
            self._open = self._entry(module, "")
            self.entries[self._open.key] = self._open

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._inside.pop()
        if next(module.children(), None) is None:
            self._close(output)

    def _function(self, function: Callable, run: Callable[[], Any]) -> Any:
        """A function called by a module that has children is a layer, if it computes something."""
        if self._open is not None or not self._inside:
            return run()
        self._open = self._entry(self._inside[-1], getattr(function, "__name__", "function").strip("_"))
        try:
            output = run()
        finally:
            entry, self._open = self._open, None
        if entry.key in self.entries:
            self._open = entry
            self._close(output)
        else:
            self._calls[entry.key[:2]] -= 1
        return output

    def _entry(self, module: nn.Module, function: str) -> Entry:
        name = self._names[module]
        self._calls[name, function] += 1
        return Entry((name, function, self._calls[name, function] - 1), module)

    def _close(self, output: Any) -> None:
        entry, self._open = self._open, None
        first = next(iter(tensors(output)), None)
        if entry is None or first is None:
            return
        entry.shape, entry.field = tuple(first.shape[1:]), self._fields.get(id(first))
        entry.output_bytes = sum(t.untyped_storage().nbytes() for t in _distinct(tensors(output))
                                 if self._born.get(_storage(t)) is entry)  # fmt: skip

    # Operations ------------------------------------------------------------------------------------------------------

    def _operation(self, operation: Any, args: Sequence[Any], output: Any) -> None:
        given, made = tensors(args), tensors(output)
        self.used |= {_storage(t) for t in given}
        seen = field_rules.after(operation, args, output, lambda t: self._fields.get(id(t)))
        for tensor in made:
            self._alive.append(tensor)
            if seen is not None or id(tensor) not in self._fields:
                self._fields[id(tensor)] = seen
            self._born.setdefault(_storage(tensor), self._open)
        entry, name = self._open, shapes.name_of(operation)
        if entry is None or operation.is_view or name in shapes.WITHOUT_WORK:
            return
        self.entries.setdefault(entry.key, entry)
        entry.pointwise &= shapes.is_pointwise(operation)
        entry.sources |= {_storage(t) for t in given if t.ndim and self._born.get(_storage(t)) is not entry}
        entry.multiplications += multiplications(name, args, output)
        if name in ("convolution", *PRODUCTS, *NORMS):
            entry.kind = "convolution" if name == "convolution" else "norm" if name in NORMS else "dense"

    def _keep(self, tensor: Tensor) -> Tensor:
        """Autograd keeps a tensor for backward: counted once, where it grows with the batch."""
        where = _storage(tensor)
        if self._open is not None and where not in self._kept and tensor.ndim > 1:
            self._open.kept_bytes += tensor.untyped_storage().nbytes()
        self._kept.add(where)
        self._alive.append(tensor)
        return tensor


def multiplications(name: str, args: Sequence[Any], output: Any) -> int:
    """Of an aten operation: each weight once per place where it is used. Only convolutions and products have any.

    Convolution: outputs · (channels / groups) · f · f; transposed: inputs · (filters / groups) · f · f; product of
    (n, k) and (k, m): n · k · m. Pooling, sums, activations and normalisation count 0.
    """
    if name == "convolution":
        moved = args[0] if args[6] else output
        return moved.numel() * args[1][0].numel()
    return output.numel() * args[-2].shape[-1] if name in PRODUCTS else 0


class _Operations(TorchDispatchMode):
    """Calls `seen` with each aten operation, its arguments and its output."""

    def __init__(self, seen: Callable[[Any, Sequence[Any], Any], None]):
        super().__init__()
        self.seen = seen

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping it would import it, which takes a second

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        meta = any(t.device.type == "meta" for t in tensors(args))
        output = shapes.output(func, args, kwargs) if meta else func(*args, **kwargs)
        self.seen(func, args, output)
        return output


class _Functions(TorchFunctionMode):
    """Wraps each call of a function of torch in `around`."""

    def __init__(self, around: Callable[[Callable, Callable[[], Any]], Any]):
        super().__init__()
        self.around = around

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.around(func, lambda: func(*args, **(kwargs or {})))


@contextmanager
def without_values() -> Iterator[None]:
    """What is built in here has shapes and no content, on the device "meta"; drawing weights takes no time."""
    with torch.device("meta"), _Operations(lambda *operation: None):
        yield


def tensors(value: Any) -> list[Tensor]:
    """Those in a tensor, or in nested sequences and mappings."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for one in value for t in tensors(one)] if isinstance(value, (list, tuple)) else []


def _distinct(found: Sequence[Tensor]) -> list[Tensor]:
    return list({_storage(t): t for t in found}.values())


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
