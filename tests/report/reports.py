"""Small reports that the tests share: a plain one, an empty one, and one whose words are hostile."""

from __future__ import annotations

from typing import Any

import numpy as np

from hubel.report.page import (
    Calibration,
    ClassRow,
    ConfigRow,
    DataFacts,
    Example,
    ModelFacts,
    Quarantined,
    ReportData,
    Scatter,
    Throughput,
)

HOSTILE = "<script>alert(1)</script>\"'&\u202egnp.exe\u2066\udce9\ud800\x00\x1b[31m" + "w" * 250


def image(seed: int = 0, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def example(i: int, name: str = "", truth: str = "cat", prediction: str = "dog", side: int = 8) -> Example:
    return Example(image(i, side), name or f"pictures/{i:04d}.jpg", truth, prediction, 0.5 + i / 1e4, 9.0 - i / 100)


def bare(**changes: Any) -> ReportData:
    """The least that a report can hold."""
    fields: dict[str, Any] = {
        "title": "pets · lenet5",
        "dataset": DataFacts("pets"),
        "model": ModelFacts("lenet5"),
        "task": "classification",
        "primary": "accuracy",
        "metrics": {},
        "n": {},
    }
    return ReportData(**fields | changes)


def full(word: str = "cat", **changes: Any) -> ReportData:
    """Every section filled; `word` is a class name and stands in every other free text too."""
    names = (word, "dog", "owl")
    interval = (0.7, 0.95)
    rows = [ClassRow(n, 20, 0.9, 0.8, 0.85, interval, interval, interval) for n in names]
    fields: dict[str, Any] = {
        "dataset": DataFacts(word, word, word, (word,), names, {"train": (40, 30, 30), "test": (20, 20, 20)}),
        "model": ModelFacts(word, 61706, (1, 32, 32)),
        "metrics": {"train": {"accuracy": 0.95}, "test": {"accuracy": 0.85, "loss": 0.41, word: 0.2}},
        "n": {"train": 100, "test": 60},
        "history": [{"epoch": e, "train.loss": 1 / e, "dev.accuracy": 1 - 0.5 / e} for e in (1, 2, 3)],
        "best_epoch": 3,
        "confusion": np.array([[16, 3, 1], [2, 17, 1], [0, 2, 18]]),
        "per_class": rows,
        "calibration": Calibration((0.55, 0.95), (0.5, 0.9), (20, 40), 0.05),
        "mistakes": [example(i, word, word, "dog") for i in range(3)],
        "mistake_count": 9,
        "samples": [example(i, word, word, word) for i in range(2)],
        "filters": [np.linspace(-1, 1, 25).reshape(5, 5)],
        "filter_names": (word,),
        "throughput": Throughput(3912.0, 0.31, 41.2, word),
        "configuration": [ConfigRow("epochs", word, "command line", word), ConfigRow("seed", 0, "default")],
        "manifest": {"versions": {"torch": "2.11", "note": word}},
        "quarantine": [Quarantined(word, word, image()), Quarantined(word, word)],
        "warnings": (word,),
        "stages": (word,),
        "title": word,
    }  # fmt: skip
    return bare(**fields | changes)


def regression(**changes: Any) -> ReportData:
    truth = np.linspace(0, 10, 50)
    scatter = Scatter(truth, truth + 0.5, ("age",))
    metrics = {"train": {"mae": 0.4, "r2": 0.9}, "test": {"mae": 0.5, "r2": 0.8}}
    fields: dict[str, Any] = {
        "task": "regression", "primary": "mae", "higher_is_better": False, "metrics": metrics,
        "n": {"train": 100, "test": 50}, "scatter": scatter, "intervals": {"test": {"mae": (0.45, 0.55)}},
    }  # fmt: skip
    return bare(**fields | changes)
