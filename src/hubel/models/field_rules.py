"""What each operation does to the receptive field of a map: windows, branches that meet, dense layers, upsampling.

(operation, arguments, output) -> Field, from the fields of the arguments; see receptive_field.py for the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from hubel.models.receptive_field import Axis, Field
from hubel.models.shapes import is_pointwise, name_of, pair, reduced, window

Found = Callable[[Tensor], "Field | None"]  # what is known of a tensor


def after(operation: Any, args: Sequence[Any], output: Any, known: Found) -> Field | None:
    """The field of what an aten operation gave; None where it depends on no pixel, or nothing is known of it."""
    tensors = [t for a in args for t in (a if isinstance(a, (list, tuple)) else [a]) if isinstance(t, Tensor)]
    fields = [field for field in map(known, tensors) if field is not None]
    first = output[0] if isinstance(output, (list, tuple)) else output
    if not fields or not isinstance(first, Tensor):
        return None
    patches = next((field for field in fields if field.cut), None)
    if patches is not None:
        back = first.ndim == 4 and first.shape[0] == patches.cut and first.shape[-2:] == patches.cells
        return replace(patches, cut=0) if back else patches  # a map of the images again
    rule = RULES.get(name_of(operation))
    if rule is not None:
        return rule(args, first, known)
    field = fields[0]
    for other in fields[1:]:
        field = field.union(other)
    if first.ndim == 4 and field.cells != first.shape[-2:] and _is_larger_grid(field, first):
        return _stretched(field, first, 1)  # nails, sub-pixels: cells laid out side by side
    same = is_pointwise(operation) or operation.is_view or first.shape[-2:] == field.cells
    return field if same or first.numel() == tensors[0].numel() else field.merged()


def _is_larger_grid(field: Field, out: Tensor) -> bool:
    """Twice as many cells or more along each axis: only a rearrangement does that without a rule of its own."""
    return all(n > m and n % m == 0 for n, m in zip(out.shape[-2:], field.cells, strict=True)) and min(field.cells) > 1


def _windows(field: Field, options: Sequence[tuple[int, int, int, int]], out: Tensor) -> Field:
    """`options`: size, stride, padding and dilation of rows and of columns."""
    (rows, columns), (height, width) = options, out.shape[-2:]
    rows_after = field.rows.window(*rows, cells=height)
    return replace(field, rows=rows_after, columns=field.columns.window(*columns, cells=width))


def _convolution(args: Sequence[Any], out: Tensor, known: Found) -> Field | None:
    x, weight, _, stride, padding, dilation, transposed, *_ = args
    field = known(x)
    if field is None or x.ndim != 4:
        return None
    size = weight.shape[2:]
    if not transposed:
        return _windows(field, list(zip(size, stride, padding, dilation, strict=True)), out)
    wide = [(f - 1) * d + 1 for f, d in zip(size, dilation, strict=True)]
    rows = field.rows.spread(wide[0], stride[0], padding[0], out.shape[2])
    return replace(field, rows=rows, columns=field.columns.spread(wide[1], stride[1], padding[1], out.shape[3]))


def _pool(args: Sequence[Any], out: Tensor, known: Found) -> Field | None:
    """Maximum or average over a window."""
    x, size, stride, padding, dilation = (*args, *((), 0, 1)[len(args) - 2 :])[:5]
    return _windowed(known(x), size, stride or size, padding, dilation, out)


def _average_pool(args: Sequence[Any], out: Tensor, known: Found) -> Field | None:
    return _pool(args[:4], out, known)  # what follows is no dilation


def _windowed(field: Field | None, size: Any, stride: Any, padding: Any, dilation: Any, out: Tensor) -> Field | None:
    options = list(zip(*map(pair, (size, stride, padding, dilation)), strict=True))
    return None if field is None else _windows(field, options, out)


def _adaptive(args: Sequence[Any], out: Tensor, known: Found) -> Field | None:
    """n cells to m: windows of floor(i n / m) to ceil((i + 1) n / m); the largest where they differ."""
    field = known(args[0])
    if field is None:
        return None
    rows, columns = (_bins(axis, m) for axis, m in zip((field.rows, field.columns), out.shape[-2:], strict=True))
    return replace(field, rows=rows, columns=columns)


def _bins(axis: Axis, m: int) -> Axis:
    n = axis.cells
    if m == 1:
        return axis.merged()
    largest = max(-(-(i + 1) * n // m) - i * n // m for i in range(m))
    if n % m == 0:
        return axis.window(largest, n // m, 0, 1, m)
    jump = axis.jump * n / m
    return Axis.around(axis.start + (jump - axis.jump) / 2, axis.size + (largest - 1) * axis.jump, jump, m)


def _reduce(args: Sequence[Any], out: Tensor, known: Found) -> Field | None:
    x, field = args[0], known(args[0])
    if field is None:
        return None
    gone = reduced(x, args[1] if len(args) > 1 and not isinstance(args[1], bool) else None)
    if x.ndim == 4 and tuple(x.shape[2:]) == field.cells:
        rows = field.rows.merged() if 2 in gone else field.rows
        return replace(field, rows=rows, columns=field.columns.merged() if 3 in gone else field.columns)
    places = field.rows.cells * field.columns.cells
    lost = x.numel() // max(out.numel(), 1)
    return field.merged() if lost % places == 0 else field


def _padded(args: Sequence[Any], out: Tensor, known: Found) -> Field | None:
    """Cells before the first move the start; cells beyond the last change nothing."""
    field, padding = known(args[0]), [*args[1], 0, 0, 0, 0]
    if field is None or out.ndim != 4:
        return field
    rows = field.rows.window(1, 1, padding[2], 1, out.shape[2])
    return replace(field, rows=rows, columns=field.columns.window(1, 1, padding[0], 1, out.shape[3]))


def _slice(args: Sequence[Any], out: Tensor, known: Found) -> Field | None:
    x, dim, start, _, step = (*args, *(0, None, None, 1)[len(args) - 1 :])[:5]
    field = known(x)
    if field is None or x.ndim != 4 or dim % 4 < 2:
        return field
    name = ("rows", "columns")[dim % 4 - 2]
    first = max(start or 0, -x.shape[dim]) % max(x.shape[dim], 1)
    return replace(field, **{name: getattr(field, name).window(1, step, -first, 1, out.shape[dim])})


def _interpolate(taps: int) -> Callable[..., Field | None]:
    """Nearest: one cell each; linear: two; cubic: four."""

    def rule(args: Sequence[Any], out: Tensor, known: Found) -> Field | None:
        field = known(args[0])
        return None if field is None else _stretched(field, out, taps)

    return rule


def _stretched(field: Field, out: Tensor, taps: int) -> Field:
    def stretch(axis: Axis, cells: int) -> Axis:
        jump = axis.jump * axis.cells / cells
        size = axis.size + (taps - 1) * axis.jump
        return Axis.around(axis.start + (jump - axis.jump) / 2, size, jump, cells)

    return replace(field, rows=stretch(field.rows, out.shape[-2]), columns=stretch(field.columns, out.shape[-1]))


def _patches(args: Sequence[Any], out: Tensor, known: Found) -> Field | None:
    """im2col: (B, C, H, W) -> (B, C · f · f, places)."""
    field, size, dilation, padding, stride = known(args[0]), *args[1:5]
    if field is None:
        return None
    sides = [window(*axis) for axis in zip(field.cells, size, stride, padding, dilation, strict=True)]
    return _windowed(field, size, stride, padding, dilation, out.new_empty(sides))


def _unfold(args: Sequence[Any], out: Tensor, known: Found) -> Field | None:
    """Tensor.unfold: windows of one axis, as a new last axis. Of both axes they are patches, each looked at alone."""
    x, dim, size, step = args
    field = known(x)
    if field is None or dim % x.ndim not in (2, 3):
        return field
    name = ("rows", "columns")[dim % x.ndim - 2]
    axis = getattr(field, name).window(size, step, 0, 1, out.shape[dim])
    return replace(field, **{name: axis}, cut=len(x) if x.ndim == 5 else 0)


def _product(args: Sequence[Any], out: Tensor, known: Found) -> Field | None:
    """A matrix product by weights keeps the places that it runs over in a batch, and merges those that it sums over.

    Of two tensors that both depend on the image (attention), every place sees all.
    """
    a, b = args[-2:]
    left, right = known(a), known(b)
    field = left or right
    if field is None:
        return None
    places = field.rows.cells * field.columns.cells
    kept = a.numel() // a.shape[-1] if left is not None else b.numel() // b.shape[-2]
    return field.merged() if (left and right) or kept % places else field


RULES: dict[str, Callable[[Sequence[Any], Tensor, Found], Field | None]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pool,
    "avg_pool2d": _average_pool,
    "_adaptive_avg_pool2d": _adaptive,
    "adaptive_max_pool2d": _adaptive,
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "min", "var", "var_mean", "std", "logsumexp"), _reduce),
    **dict.fromkeys(("constant_pad_nd", "reflection_pad2d", "replication_pad2d"), _padded),
    "slice": _slice,
    **dict.fromkeys(("upsample_nearest2d", "_upsample_nearest_exact2d", "max_unpool2d"), _interpolate(1)),
    "upsample_bilinear2d": _interpolate(2),
    "upsample_bicubic2d": _interpolate(4),
    "im2col": _patches,
    "unfold": _unfold,
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm"), _product),
}
