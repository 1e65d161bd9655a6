"""A run that nobody trained: the command line is tested on what it asks for and what it prints."""

from pathlib import Path

import numpy as np

from hubel.prediction.inference import Way

METRICS = {"dev": {"loss": 0.5, "accuracy": 0.75}, "test": {"loss": float("nan"), "accuracy": 0.5}}


class StubRun:
    """What api.train returns, without a training."""

    def __init__(self, path):
        self.path, self.metrics, self.seconds, self.primary = Path(path), METRICS, 1.5, "accuracy"
        self.asked: list = []
        self.way = Way("eager", "fp32", "nobody trained it")

    def evaluate(self, split=None, data=None, path=None):
        self.asked.append(("evaluate", split, data))
        return METRICS if split is None else {split: METRICS[split]}

    def predict(self, images, path=None, boxes=None):
        return [{"image": image, "prediction": "[red]cat", "confidence": np.float32(0.5)} for image in images]

    def report(self, private=False):
        self.asked.append(("report", private))
        return self.path / "report.html"
