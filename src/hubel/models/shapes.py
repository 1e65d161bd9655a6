"""The shape of what an operation gives, without computing it: floor((n + 2p − d(f − 1) − 1) / s) + 1 and the like.

torch knows these rules for its device "meta", but asks a compiler for them that takes a second to import. These are
the operations that networks are made of; for any other torch is asked. Tensors in and out are on "meta".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

WITHOUT_WORK = ("empty", "zeros", "ones", "full", "arange", "detach", "lift_fresh", "_to_copy", "empty_like")


def output(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What an aten operation gives: tensors on "meta" with shape and type, and no content."""
    rule = RULES.get(name_of(operation)) or RULES.get(f"{name_of(operation)}.{operation._overloadname}")
    if rule is not None:
        return rule(*args, **kwargs)
    if name_of(operation).endswith("_") and torch.Tag.inplace_view not in operation.tags:
        return args[0]  # x.add_(y), x.normal_(): it stays where it is
    tensors = [a for a in args if isinstance(a, Tensor)]
    plain = not kwargs and tensors and all(t.is_floating_point() and t.dtype == tensors[0].dtype for t in tensors)
    if is_pointwise(operation) and plain and name_of(operation) not in COMPARISONS:
        return tensors[0].new_empty(_common([t.shape for t in tensors]))
    return operation(*args, **kwargs)


def name_of(operation: Any) -> str:
    """ "convolution" for aten::convolution and its overloads."""
    return operation._schema.name.rpartition("::")[2]


def is_pointwise(operation: Any) -> bool:
    """Does each value depend on the values at the same place alone?"""
    return torch.Tag.pointwise in operation.tags or name_of(operation) in ("hardswish", "hardswish_", "bernoulli_")


COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf", "isfinite", "logical_not", "signbit")


def _common(shapes: Sequence[Sequence[int]]) -> list[int]:
    """The shape of a sum of tensors: axes of one repeat (torch.broadcast_shapes imports the compiler, too)."""
    most = max(map(len, shapes))
    padded = [(1,) * (most - len(shape)) + tuple(shape) for shape in shapes]
    common = [max(sizes) if min(sizes) else 0 for sizes in zip(*padded, strict=True)]
    if any(n not in (1, m) for shape in padded for n, m in zip(shape, common, strict=True)):
        raise RuntimeError(f"shapes {', '.join(str(tuple(shape)) for shape in shapes)} don't fit each other")
    return common


def pair(value: Any) -> tuple[int, int]:
    """A number, or a sequence of one or two, for rows and columns."""
    if isinstance(value, int):
        return value, value
    return (int(value[0]), int(value[-1]))


def window(n: int, size: int, stride: int, padding: int, dilation: int = 1, up: bool = False) -> int:
    """Places of a window along an axis of `n` cells. `up` as torch's ceil_mode: also one that hangs over the end."""
    room = n + 2 * padding - dilation * (size - 1) - 1
    count = (-(-room // stride) if up else room // stride) + 1
    return count - 1 if up and (count - 1) * stride >= n + padding else count


def _convolution(x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
                 more: Any, groups: int) -> Tensor:  # fmt: skip
    """x (B, C, n, …), weight (N, C / groups, f, …), or (C, N / groups, f, …) where transposed."""
    axes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, more, strict=True)
    if transposed:
        sizes = [(n - 1) * s - 2 * p + d * (f - 1) + q + 1 for n, f, s, p, d, q in axes]
        return x.new_empty((x.shape[0], weight.shape[1] * groups, *sizes))
    sizes = [window(n, f, s, p, d) for n, f, s, p, d, _ in axes]
    if min(sizes, default=1) < 1 or x.shape[1] != weight.shape[1] * groups:
        raise RuntimeError(
            f"a convolution of {tuple(weight.shape)} (filters, channels, sides) can't run on {tuple(x.shape)}"
        )
    return x.new_empty((x.shape[0], weight.shape[0], *sizes))


def _pool(x: Tensor, size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, up: bool = False) -> Tensor:
    options = zip(pair(size), pair(stride or size), pair(padding), pair(dilation), strict=True)
    sizes = [window(n, f, s, p, d, up) for n, (f, s, p, d) in zip(x.shape[-2:], options, strict=True)]
    if min(sizes) < 1:
        raise RuntimeError(f"pooling of {pair(size)} can't run on {tuple(x.shape)}")
    return x.new_empty((*x.shape[:-2], *sizes))


def _max_pool(x: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    out = _pool(x, *options)
    return out, out.new_empty(out.shape, dtype=torch.int64)


def _average_pool(x: Tensor, size: Any, stride: Any = (), padding: Any = 0, up: bool = False, *rest: Any) -> Tensor:
    return _pool(x, size, stride, padding, 1, up)


def _adaptive(x: Tensor, size: Any) -> Tensor:
    return x.new_empty((*x.shape[:-2], *size))


def _adaptive_max(x: Tensor, size: Any) -> tuple[Tensor, Tensor]:
    out = _adaptive(x, size)
    return out, out.new_empty(out.shape, dtype=torch.int64)


def _batch_norm(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    statistics = x.new_empty(x.shape[1])
    return x.new_empty(x.shape), statistics, x.new_empty(x.shape[1])


def _group_norm(x: Tensor, weight: Any, bias: Any, n: int, c: int, hw: int, group: int, epsilon: float) -> Any:
    return x.new_empty(x.shape), x.new_empty(n, group), x.new_empty(n, group)


def _layer_norm(x: Tensor, shape: Sequence[int], *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    kept = (*x.shape[: x.ndim - len(shape)], *(1 for _ in shape))
    return x.new_empty(x.shape), x.new_empty(kept), x.new_empty(kept)


def reduced(x: Tensor, dims: Any) -> set[int]:
    """The axes that a reduction removes, counted from 0; all where none are named."""
    if dims is None or (not isinstance(dims, int) and not list(dims)):
        return set(range(x.ndim))
    return {d % x.ndim for d in ([dims] if isinstance(dims, int) else dims)}


def _reduce(x: Tensor, dims: Any = None, keep: bool = False, **kinds: Any) -> Tensor:
    gone = reduced(x, dims)
    return x.new_empty([1 if i in gone else n for i, n in enumerate(x.shape) if keep or i not in gone])


def _winners(x: Tensor, dim: int, keep: bool = False) -> tuple[Tensor, Tensor]:
    """Maxima along an axis, and their places."""
    out = _reduce(x, dim, keep)
    return out, out.new_empty(out.shape, dtype=torch.int64)


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    shape = list(tensors[0].shape)
    for other in tensors[1:]:
        rest = [n for i, n in enumerate(other.shape) if i != dim % len(shape)]
        if rest != [n for i, n in enumerate(shape) if i != dim % len(shape)]:
            raise RuntimeError(f"{tuple(tensors[0].shape)} and {tuple(other.shape)} can't stand behind each other")
    shape[dim] = sum(t.shape[dim] for t in tensors)
    return tensors[0].new_empty(shape)


def _product(a: Tensor, b: Tensor) -> Tensor:
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(f"shapes {tuple(a.shape)} and {tuple(b.shape)} can't be multiplied")
    return a.new_empty((*a.shape[:-1], b.shape[-1]))


def _padded(x: Tensor, padding: Sequence[int], *rest: Any) -> Tensor:
    shape = list(x.shape)
    for i in range(len(padding) // 2):  # the last axis first
        shape[-1 - i] += padding[2 * i] + padding[2 * i + 1]
    return x.new_empty(shape)


def _patches(x: Tensor, size: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
    """(B, C, H, W) -> (B, C · f · f, places)."""
    options = zip(x.shape[-2:], size, stride, padding, dilation, strict=True)
    places = math.prod(window(*option) for option in options)
    return x.new_empty((x.shape[0], x.shape[1] * math.prod(size), places))


def _same(x: Tensor, *rest: Any, **kinds: Any) -> Tensor:
    return x.new_empty(x.shape)


RULES: dict[str, Callable[..., Any]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _max_pool,
    "avg_pool2d": _average_pool,
    "_adaptive_avg_pool2d": _adaptive,
    "adaptive_max_pool2d": _adaptive_max,
    "native_batch_norm": _batch_norm,
    "native_group_norm": _group_norm,
    "native_layer_norm": _layer_norm,
    "mean": _reduce,
    "sum": _reduce,
    "amax": _reduce,
    "max.dim": _winners,
    "min.dim": _winners,
    "cat": _cat,
    "mm": _product,
    "bmm": _product,
    "addmm": lambda bias, a, b, **factors: _product(a, b),
    "baddbmm": lambda bias, a, b, **factors: _product(a, b),
    "constant_pad_nd": _padded,
    "reflection_pad2d": _padded,
    "replication_pad2d": _padded,
    "im2col": _patches,
    "_softmax": _same,
    "_log_softmax": _same,
    "clone": _same,
    "empty_like": _same,
}
