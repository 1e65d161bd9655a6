"""What the page is made of: plain Python and numpy values, no tensors, filled by facts.py.

K classes; shares and confidences in [0, 1]; intervals are (low, high) at 95 %. What was not measured is None or
empty, and its section is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Interval = tuple[float, float]


@dataclass(frozen=True)
class DataFacts:
    """What was learnt from. `counts` is {split: (images of class 0, of class 1, …)}; empty without classes."""

    name: str
    source: str = ""
    format: str = ""
    notes: Sequence[str] = ()
    classes: Sequence[str] = ()
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelFacts:
    """What learnt: its name, its number of trainable parameters, the (C, H, W) that it sees."""

    name: str
    parameters: int | None = None
    input: Sequence[int] | None = None


@dataclass(frozen=True)
class ClassRow:
    """One class on the judged split: `n` images carry it."""

    name: str
    n: int
    precision: float
    recall: float
    f1: float
    precision_interval: Interval | None = None
    recall_interval: Interval | None = None
    f1_interval: Interval | None = None
    iou: float | None = None  # of pixels; its interval is that of images drawn anew
    iou_interval: Interval | None = None
    boundary_f: float | None = None


@dataclass(frozen=True)
class Calibration:
    """Bins of confidence: mean confidence, share right, number of images; and the expected calibration error."""

    confidence: Sequence[float]
    accuracy: Sequence[float]
    count: Sequence[int]
    ece: float


@dataclass(frozen=True)
class Example:
    """One image with its truth and its prediction in words. `image`: (H, W) or (H, W, 1 | 3) uint8, or None."""

    image: np.ndarray | None
    name: str
    truth: str
    prediction: str
    confidence: float | None = None
    loss: float | None = None
    measure: str = "loss"  # what the number is called
    wide: bool = False  # several pictures side by side


@dataclass(frozen=True)
class Gallery:
    """The worst in one respect, the worst first."""

    title: str
    examples: Sequence[Example]


@dataclass(frozen=True)
class Place:
    """Pixels of one kind: how many, and the share that is right."""

    name: str
    n: int
    right: float


@dataclass(frozen=True)
class Scatter:
    """Regression: true and predicted numbers, (N,) or (N, D); `names` of the D numbers."""

    truth: np.ndarray
    prediction: np.ndarray
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Throughput:
    """How fast the training was: images/s over whole epochs, the share of time spent waiting for data in [0, 1]."""

    images_per_second: float
    wait_share: float | None = None
    seconds: float | None = None
    device: str = ""


@dataclass(frozen=True)
class ConfigRow:
    """One effective option: `source` is "default", "auto", "command line" …"""

    key: str
    value: Any
    source: str
    reason: str = ""


@dataclass(frozen=True)
class Quarantined:
    """A file that could not be used, why, and its picture where one could be made."""

    name: str
    reason: str
    image: np.ndarray | None = None


@dataclass(frozen=True)
class Baseline:
    """What an answer without looking would score: ("always answering “cat”", 0.113)."""

    text: str
    value: float


@dataclass(frozen=True)
class ReportData:
    """Everything that the page shows. `metrics`, `intervals` and `n` are by split: train, train-dev, dev, test.

    Confusion, classes, calibration, mistakes, samples and scatter belong to one split, `judged`: by default test
    where it was measured, else dev, which also chose the weights and is labelled so.
    """

    title: str
    dataset: DataFacts
    model: ModelFacts
    task: str
    primary: str  # a name in `metrics[split]`
    metrics: Mapping[str, Mapping[str, float]]
    n: Mapping[str, int]
    higher_is_better: bool = True
    intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    selected: bool = True  # were the weights chosen on the dev part?
    judged: str | None = None
    baseline: Baseline | None = None  # None: the majority class, where the counts tell
    test_looks: int | None = None  # how often the test part was evaluated in this run
    history: Sequence[Mapping[str, Any]] = ()  # rows of history.csv: epoch, lr, train.loss, dev.accuracy …
    best_epoch: int | None = None
    confusion: np.ndarray | None = None  # (K, K) int: row = truth, column = prediction
    per_class: Sequence[ClassRow] | None = None
    calibration: Calibration | None = None
    mistakes: Sequence[Example] | None = None
    mistake_count: int | None = None  # of all mistakes, where `mistakes` holds only the worst
    samples: Sequence[Example] | None = None
    galleries: Sequence[Gallery] = ()
    places: Sequence[Place] = ()  # where the errors are, for maps
    unit: str = "images"  # what is counted in `confusion` and `per_class`: images or pixels
    scatter: Scatter | None = None
    filters: Sequence[np.ndarray] | None = None  # (h, w) or (h, w, 3): weights as float, or pictures as uint8
    filter_names: Sequence[str] = ()
    throughput: Throughput | None = None
    configuration: Sequence[ConfigRow] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    quarantine: Sequence[Quarantined] = ()
    warnings: Sequence[str] = ()
    stages: Sequence[str] = ()  # what learnt when, a sentence each

    @property
    def split(self) -> str | None:
        """The split that is judged; None where nothing was measured on test or dev."""
        if self.judged is not None:
            return self.judged
        return next((name for name in ("test", "dev") if self.primary in self.metrics.get(name, {})), None)
