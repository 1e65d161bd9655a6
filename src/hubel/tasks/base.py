"""The Task protocol: what is asked of a network. Its head, its loss, what its outputs mean, how they are scored.

A task owns no trainable weights and no loop. The trainer calls `loss` on batches of the training part and
`predict` on the others; it never looks inside either. A simple task overrides `head`, `loss`, `predict`,
`scores`, `metric` and `describe`; the rest has defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from hubel.predictions import Predictions
from hubel.types import Batch, Term

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset


@dataclass(frozen=True)
class Objective:
    """The metric that decides which weights are best, and in which direction."""

    metric: str  # a name in the metric's compute(): "accuracy"
    higher_is_better: bool = True

    def better(self, new: float, old: float | None) -> bool:
        """Is `new` an improvement? NaN never is; anything finite beats None."""
        if new != new:
            return False
        return old is None or (new > old if self.higher_is_better else new < old)


class Metric(Protocol):
    """Streams over batches: update as often as needed, then compute; see metrics/base.py for what is summed.

    `state` gives everything seen so far as tensors on the CPU, `load` puts it back, `merge` adds what another process
    saw: the result is that of one metric that saw all batches.
    """

    def update(self, predictions: Any, targets: Any, weights: Tensor | None = None) -> None: ...

    def compute(self) -> dict[str, float]: ...

    def state(self) -> dict[str, Tensor]: ...

    def load(self, state: Mapping[str, Tensor]) -> None: ...

    def merge(self, state: Mapping[str, Tensor]) -> None: ...


@dataclass(frozen=True)
class Player:
    """One optimiser of several, in turn (a GAN has two): which parameters it moves, by which loss."""

    name: str
    parameters: Callable[[nn.Module], Iterator[nn.Parameter]]
    loss: Callable[[nn.Module, Batch], dict[str, Term]]


class Task:
    """The base of every task; see the module's docstring. Subclasses are frozen dataclasses.

    Their fields are JSON-ready values (lists become tuples), so that `Class(**settings)` rebuilds a saved task.
    """

    name: str = "task"  # the name in names.py, saved with the run
    target: str = "label"  # the column of the dataset's annotations that the task needs
    primary: Objective = Objective("loss", higher_is_better=False)
    dense: bool = False  # whether its outputs are maps (B, width, h, w), not one row (B, width) per image
    every_pixel: bool = False  # whether each pixel of an image has a target, if only by one task of several
    one_object: bool = False  # whether it looks for the one object of an image
    mixes: bool = False  # whether its loss knows mixed images: `mixed` below
    measure: str = "loss"  # what `scores` are called in galleries

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]
            object.__setattr__(self, f.name, _tuples(getattr(self, f.name)))

    def accepts(self, dataset: Dataset) -> None:
        """Raise UserError where the dataset lacks what this task needs, saying what is missing."""

    def examples(self, dataset: Dataset) -> Dataset:
        """What this task calls an example, as a dataset with its splits: the images themselves, or each of their
        objects cut out (data/cutouts.py). Called after `accepts`; what it returns comes out unchanged a second time.
        """
        return dataset

    def notes(self, dataset: Dataset) -> tuple[str, ...]:
        """Sentences on how this task reads the data, said before a training."""
        return ()

    def fitted(self, dataset: Dataset, index: np.ndarray) -> Self:
        """This task with what is measured on the training part `index` (class weights, mean and deviation of targets).

        Called once before training; `settings()` of the result is what is saved.
        """
        return self

    def targets(self, dataset: Dataset, index: np.ndarray) -> Any:
        """The targets of the examples `index` (n,), as the tensors that `Batch.targets` carries.

        Objects, Instances(objects) and Masks, which lie in the image, are given as they are: the loader moves them with
        its pixels, and the batch carries `types.Boxes` and `PixelClasses` instead. See data/targets.py.
        """
        return dataset.take(self.target, index)

    def valid(self, dataset: Dataset, index: np.ndarray) -> Tensor:
        """(n,) bool: which examples have a target. A column `<target>.valid` says so; without one all have.

        Only Joint asks: a task alone has no use for examples without a target.
        """
        if f"{self.target}.valid" in dataset.annotations:
            return dataset.take(f"{self.target}.valid", index).bool()
        return torch.ones(len(index), dtype=torch.bool)

    @property
    def width(self) -> int:
        """How many numbers per image the default head gives: K classes, 1, D numbers …"""
        raise NotImplementedError

    def head(self, network: Any) -> nn.Module:
        """The layer(s) that this task puts on the network's maps: outputs = head(network.maps(images))."""
        return network.default_head(self.width)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        """Named terms of the loss; takes the network, not its outputs, so a task may run it in several passes."""
        raise NotImplementedError

    def predict(self, network: nn.Module, batch: Batch, outputs: Any = None) -> Predictions:
        """What the outputs mean; `outputs` where they are at hand already."""
        raise NotImplementedError

    def condensed(self, predictions: Any, targets: Any) -> tuple[Any, Any]:
        """What is kept of a batch's predictions and targets once the network has seen all batches: as they are.

        Where they are maps, counts of pixels take their place: the metric, `scores`, `describe`, `truth` and `details`
        then take either.
        """
        return predictions, targets

    def scores(self, predictions: Any, targets: Any) -> Tensor:
        """(B,) how wrong each example is, larger is worse: galleries and diagnosis sort by it."""
        raise NotImplementedError

    def right(self, predictions: Any, targets: Any) -> Tensor | None:
        """(B,) bool: which predictions count as right; None where there are only better and worse ones."""
        return None

    def rankings(self, predictions: Any, targets: Any) -> dict[str, Tensor]:
        """{what may be wrong: (B,) how wrong each example is in it, in [0, 1]; NaN where it has none of it}.

        Takes what `condensed` gives. The report shows the worst of each, in this order.
        """
        return {}

    def ratio(self, predictions: Any, targets: Any) -> tuple[Tensor, Tensor] | None:
        """(B,), (B,): `primary` is Σ first / Σ second over examples; None where it is no such ratio.

        The report draws examples anew hundreds of times: of a ratio it then adds up numbers, not predictions.
        """
        return None

    def entropy(self, predictions: Any) -> Tensor | None:
        """(B,) nats: how unsure each prediction is; None where predictions are no probabilities."""
        return None

    def metric(self) -> Metric:
        """A fresh metric; its compute() contains `primary.metric`."""
        raise NotImplementedError

    def train_metric(self) -> Metric:
        """The metric that is updated at each step of a training: it may leave out "loss", which is known there."""
        return self.metric()

    def describe(self, predictions: Any, row: int) -> dict[str, Any]:
        """One prediction in words, JSON-ready: {"prediction": "cat", "confidence": 0.93, …}."""
        raise NotImplementedError

    def truth(self, targets: Any, row: int) -> str:
        """The target of one example in words, for galleries."""
        raise NotImplementedError

    def details(self, predictions: Any, targets: Any, weights: Tensor | None = None) -> dict[str, Any]:
        """What the report shows beside the metrics; plain values, each part optional (see report/values.py):

        "confusion": (K, K) counts, row = truth, with "counted" ("images" unless said) and "classes" (the dataset's
        unless said); "per_class": list of dicts (name, n, precision, recall, f1, and
        precision_interval … as (low, high)); "calibration": dict (confidence, accuracy, count, ece);
        "places": list of (name, pixels, share right), for maps;
        "scatter": dict (truth (N, D), prediction (N, D), names).
        """
        return {}

    def constant(
        self, details: Mapping[str, Any], learnt: Any, weights: Tensor | None = None
    ) -> tuple[str, float] | None:
        """("always answering …", its score by `primary` where `details` are from): the best by the training targets
        `learnt`. None where there is none, or the page counts it itself."""
        return None

    def deciding(self, targets: Any) -> tuple[Task, Any]:
        """The task whose metric decides, of several in one, and its own targets."""
        return self, targets

    def draw(self, image: np.ndarray, prediction: Any, target: Any = None) -> np.ndarray:
        """The image (H, W, C) uint8 with the prediction drawn on it; labels alone leave it as it is.

        `prediction` and `target` are those of this image alone (B = 1), in the form of `predict` and `Batch.targets`.
        """
        return image

    # What a simple task never mentions ------------------------------------------------------------------

    def players(self) -> Sequence[Player]:
        """Several optimisers in turn; empty means one optimiser over everything, by `loss`."""
        return ()

    def order(self, dataset: Dataset, index: np.ndarray, epoch: int, seed: int) -> np.ndarray | None:
        """An own order of the epoch (P identities by K images), or None for the shuffled partition."""
        return None

    def helpers(self) -> Mapping[str, nn.Module]:
        """Frozen networks (a style network): moved to the device, never optimised nor saved."""
        return {}

    def prepare(self, network: nn.Module, dataset: Dataset, index: np.ndarray) -> None:
        """Once before training, with the training part: set the last bias to the prior, for example."""

    def settings(self) -> dict[str, Any]:
        """What rebuilds this task, JSON-ready: {"name": …, **constructor arguments}."""
        return {"name": self.name, **(asdict(self) if is_dataclass(self) and not isinstance(self, type) else {})}


def mixed(batch: Batch, term: Callable[[Any, Tensor], Term]) -> Term:
    """term(targets, weights) of a batch; where images are mixed, over both targets, each weighed by its share."""
    if batch.mix is None:
        return term(batch.targets, batch.weights)
    share = batch.mix.share
    own, other = term(batch.targets, batch.weights * share), term(batch.mix.targets, batch.weights * (1 - share))
    return replace(own, sum=own.sum + other.sum, count=own.count + other.count)


def _tuples(value: Any) -> Any:
    """JSON has lists only; the fields of a frozen dataclass are tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
