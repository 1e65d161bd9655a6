"""Metrics as rows of plain values, with intervals: what the report's table of classes is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hubel.metrics.confusion import per_class
from hubel.metrics.interval import wilson


def class_rows(classes: Sequence[str], matrix: np.ndarray) -> list[dict[str, Any]]:
    """(K, K) counts -> per class: name, n, precision, recall, f1, precision_interval, recall_interval (95 %)."""
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
        }
        for k, name in enumerate(classes)
    ]
