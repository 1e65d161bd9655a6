"""Metrics as rows of plain values, with intervals: what the report's table of classes is made of.

F1 = 2J / (1 + J) with J = TP / (TP + FP + FN), a share of the examples that carry or were given the class: its
interval is Wilson's for J, moved through that formula, which is increasing (Hand, Christen & Kirielle 2021,
doi:10.1007/s10994-021-05964-1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hubel.metrics.confusion import per_class
from hubel.metrics.interval import Interval, wilson


def class_rows(classes: Sequence[str], matrix: np.ndarray) -> list[dict[str, Any]]:
    """(K, K) counts -> per class: name, n, precision, recall, f1 and their intervals (95 %)."""
    right = np.diag(matrix)
    return rows(classes, per_class(matrix), right, matrix.sum(0), matrix.sum(1))


def rows(
    classes: Sequence[str], table: dict[str, np.ndarray], right: np.ndarray, answered: np.ndarray, n: np.ndarray
) -> list[dict[str, Any]]:
    """One dict per class; `right` of its `n` examples and of the `answered` ones, each (K,) counts."""
    return [
        {
            "name": name,
            "n": int(n[k]),
            **{key: float(table[key][k]) for key in ("precision", "recall", "f1")},
            "precision_interval": wilson(float(right[k]), float(answered[k])),
            "recall_interval": wilson(float(right[k]), float(n[k])),
            "f1_interval": f1_interval(float(right[k]), float(answered[k]), float(n[k])),
        }
        for k, name in enumerate(classes)
    ]


def f1_interval(right: float, answered: float, n: float) -> Interval:
    """95 %, where `right` of the `n` examples of a class were found with `answered` answers; (0, 1) for none."""
    low, high = wilson(right, answered + n - right)
    return 2 * low / (1 + low), 2 * high / (1 + high)
