"""What tasks ask of options and of data, before anything is learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hubel.errors import UserError

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset
    from hubel.tasks.base import Task


def needs_column(task: Task, dataset: Dataset, what: str) -> np.ndarray:
    """The column of annotations that `task` learns from; UserError where the dataset has none of that name."""
    if task.target not in dataset.annotations:
        known = ", ".join(f"'{name}'" for name in dataset.annotations) or "none"
        raise UserError(
            f"The task '{task.name}' needs {what} for each image (the column '{task.target}'); the dataset "
            f"'{dataset.name}' has these columns: {known}. Choose another --task, or annotate the images."
        )
    return np.asarray(dataset.annotations[task.target])


def check_numbers(option: str, values: Any, count: int, above_zero: bool = False) -> None:
    """UserError unless `values` is None or a tuple of `count` finite numbers >= 0, not all 0 (or each above 0)."""
    if values is None:
        return
    fine = isinstance(values, tuple) and len(values) == count and all(type(v) in (int, float) for v in values)
    fine = fine and all(0 <= v < float("inf") for v in values) and any(values) and (all(values) or not above_zero)
    if not fine:
        limit = "above 0" if above_zero else "of at least 0"
        raise UserError(f"Option '{option}' needs {count} numbers {limit}, one per class; got {values}.")


def check_balance(option: str, values: Any, balance: bool) -> None:
    """UserError where weights are both given and to be measured."""
    if values is not None and balance:
        raise UserError(f"Option '{option}' and 'balance' both weigh the classes. Give one of them.")


def check_range(option: str, value: Any, low: float, high: float, *, closed: bool = False) -> None:
    """UserError unless `value` is a number between low and high; low itself only where `closed`."""
    number = type(value) in (int, float) and (low <= value < high if closed else low < value < high)
    if not number:
        limits = f"{'from' if closed else 'above'} {low:g}" + ("" if high == float("inf") else f" and below {high:g}")
        raise UserError(f"Option '{option}' needs a number {limits}; got {value}.")
