"""Several tasks on one backbone: L = Σ_t λ_t·L_t, all from one pass. Localisation is Joint(classes, box), for example.

Targets are {name: {"target": …, "valid": (B,) bool}}: an example without a valid target (no object, so no box) counts 0
in that task. Outputs are {name: outputs}; an own network may give one tensor (B, Σ widths) in the order of the tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.predictions import Predictions
from hubel.tasks.base import Objective, Task
from hubel.tasks.together import JointMetric, JointPredictions, MultiHead, OfImages, View, cut, rebuild
from hubel.types import Batch, Term

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset

OF_CLASSES = ("confusion", "counted", "classes", "per_class")  # details that belong together


@dataclass(frozen=True)
class Joint(Task):
    """A weighted sum of tasks: `tasks` maps a name to a task (or to its settings()), `weights` a name to λ, else 1.

    `decides` names the task whose primary metric chooses the weights: the first by default. Raises UserError where
    a name is unknown, a weight is not above 0, or a task has several optimisers.
    """

    tasks: Mapping[str, Task]
    weights: Mapping[str, float] = field(default_factory=dict)
    decides: str | None = None

    name = "joint"

    def __post_init__(self) -> None:
        if not isinstance(self.tasks, Mapping) or not self.tasks:
            raise UserError("A joint task needs tasks by name: Joint({'kind': Classification(...), ...}).")
        tasks = {name: task if isinstance(task, Task) else rebuild(task) for name, task in self.tasks.items()}
        object.__setattr__(self, "tasks", tasks)
        for name in [*self.weights, *([self.decides] if self.decides else [])]:
            if name not in tasks:
                raise UserError(f"There is no task '{name}' in this joint task; it has {', '.join(tasks)}.")
        for name, weight in self.weights.items():
            if not 0 < weight < float("inf"):
                raise UserError(f"The weight of '{name}' must be a number above 0, got {weight}.")
        for name, task in tasks.items():
            if "." in name or not name.isidentifier():
                raise UserError(f"A task's name must be a word like 'kind' or 'box', got '{name}'.")
            if task.players():
                raise UserError(f"The task '{name}' has several optimisers; it can't share a backbone. Train it alone.")
        first = self.decides or next(iter(tasks))
        for kind, many in (("dense", any), ("every_pixel", any), ("one_object", all)):
            object.__setattr__(self, kind, many(getattr(task, kind) for task in tasks.values()))
        own = tasks[first].primary
        object.__setattr__(self, "primary", Objective(f"{first}.{own.metric}", own.higher_is_better))

    @property
    def width(self) -> int:
        return sum(task.width for task in self.tasks.values())

    def accepts(self, dataset: Dataset) -> None:
        for task in self.tasks.values():
            task.accepts(dataset)

    def notes(self, dataset: Dataset) -> tuple[str, ...]:
        return tuple(dict.fromkeys(note for task in self.tasks.values() for note in task.notes(dataset)))

    def fitted(self, dataset: Dataset, index: np.ndarray) -> Self:
        found = {}
        for name, task in self.tasks.items():
            found[name] = task.fitted(dataset, index[task.valid(dataset, index).numpy()])
        return replace(self, tasks=found)

    def targets(self, dataset: Dataset, index: np.ndarray) -> dict[str, dict[str, Any]]:
        return {
            name: {"target": task.targets(dataset, index), "valid": task.valid(dataset, index)}
            for name, task in self.tasks.items()
        }

    def order(self, dataset: Dataset, index: np.ndarray, epoch: int, seed: int) -> np.ndarray | None:
        """The one order that a task asks for. Raises UserError where two ask for different ones."""
        asked = {name: task.order(dataset, index, epoch, seed) for name, task in self.tasks.items()}
        orders = {name: order for name, order in asked.items() if order is not None}
        first = next(iter(orders.values()), None)
        if first is not None and any(not np.array_equal(order, first) for order in orders.values()):
            raise UserError(
                f"The tasks {' and '.join(orders)} each ask for their own order of the examples, and these conflict. "
                "Train them one after the other, or leave one out."
            )
        return first

    # Heads and views of the network ---------------------------------------------------------------------

    def head(self, network: Any) -> nn.Module:
        ways = {name: network if task.dense else OfImages(network) for name, task in self.tasks.items()}
        return MultiHead({name: task.head(ways[name]) for name, task in self.tasks.items()})

    def _widths(self) -> dict[str, int]:
        return {name: task.width for name, task in self.tasks.items()}

    def prepare(self, network: nn.Module, dataset: Dataset, index: np.ndarray) -> None:
        if not isinstance(getattr(network, "head", None), MultiHead):
            return
        for name, task in self.tasks.items():
            own = index[task.valid(dataset, index).numpy()]
            view: Any = View(network, name, self._widths(), {})
            task.prepare(view, dataset, own)

    def helpers(self) -> Mapping[str, nn.Module]:
        return {f"{name}.{key}": m for name, task in self.tasks.items() for key, m in task.helpers().items()}

    def _each(self, network: nn.Module, batch: Batch) -> dict[str, tuple[Task, Any, Batch]]:
        """{name: (task, its view of the network, its batch)}: the views share one pass."""
        shared: dict[str, Any] = {"images": batch.images}
        found = {}
        for name, task in self.tasks.items():
            part = batch
            if batch.targets is not None:
                own = batch.targets[name]
                part = replace(batch, targets=own["target"], weights=batch.weights * own["valid"])
            found[name] = task, View(network, name, self._widths(), shared), part
        return found

    # Loss, predictions, scores --------------------------------------------------------------------------

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        terms: dict[str, Term] = {}
        for name, (task, view, part) in self._each(network, batch).items():
            factor = self.weights.get(name, 1.0)
            own = task.loss(view, part)
            terms |= {f"{name}.{key}": replace(term, weight=term.weight * factor) for key, term in own.items()}
        return terms

    def predict(self, network: nn.Module, batch: Batch, outputs: Any = None) -> JointPredictions:
        parts: dict[str, Predictions] = {}
        for name, (task, view, part) in self._each(network, batch).items():
            own = None if outputs is None else cut(outputs, name, self._widths())
            parts[name] = task.predict(view, part, own)
        return JointPredictions(parts)

    def scores(self, predictions: JointPredictions, targets: Any) -> Tensor:
        """Σ λ·scores of the tasks whose target is valid."""
        total: Any = 0
        for name, task in self.tasks.items():
            valid, factor = targets[name]["valid"], self.weights.get(name, 1.0)
            total = total + factor * torch.where(
                valid, task.scores(predictions.parts[name], targets[name]["target"]), 0
            )
        return total

    def condensed(self, predictions: JointPredictions, targets: Any) -> tuple[JointPredictions, Any]:
        parts, own = {}, {}
        for name, task in self.tasks.items():
            parts[name], target = task.condensed(predictions.parts[name], targets[name]["target"])
            own[name] = {**targets[name], "target": target}
        return JointPredictions(parts), own

    def right(self, predictions: JointPredictions, targets: Any) -> Tensor | None:
        """Where every task whose target is valid is right; None where one of them can't tell."""
        every: Any = None
        for name, task in self.tasks.items():
            own = task.right(predictions.parts[name], targets[name]["target"])
            if own is None:
                return None
            fine = own | ~targets[name]["valid"].to(own.device)
            every = fine if every is None else every & fine
        return every

    def rankings(self, predictions: JointPredictions, targets: Any) -> dict[str, Tensor]:
        """Those of each task as "name: kind of mistake"; NaN for examples without its target."""
        found: dict[str, Tensor] = {}
        for name, task in self.tasks.items():
            unknown = ~targets[name]["valid"].cpu()
            own = task.rankings(predictions.parts[name], targets[name]["target"])
            found |= {f"{name}: {kind}": errors.cpu().masked_fill(unknown, torch.nan) for kind, errors in own.items()}
        return found

    def ratio(self, predictions: JointPredictions, targets: Any) -> tuple[Tensor, Tensor] | None:
        """Of the task that decides, over its valid targets."""
        first = self.primary.metric.partition(".")[0]
        found = self.tasks[first].ratio(predictions.parts[first], targets[first]["target"])
        if found is None:
            return None
        valid = targets[first]["valid"].to(found[0])
        return found[0] * valid, found[1] * valid

    def metric(self) -> JointMetric:
        return JointMetric({name: task.metric() for name, task in self.tasks.items()}, dict(self.weights), self.right)

    # Words and pictures ---------------------------------------------------------------------------------

    def describe(self, predictions: JointPredictions, row: int) -> dict[str, Any]:
        each = {name: task.describe(predictions.parts[name], row) for name, task in self.tasks.items()}
        return {"prediction": _words({name: str(own["prediction"]) for name, own in each.items()}), "tasks": each}

    def truth(self, targets: Any, row: int) -> str:
        return _words(
            {
                name: task.truth(targets[name]["target"], row) if targets[name]["valid"][row] else "none"
                for name, task in self.tasks.items()
            }
        )

    def details(self, predictions: Any, targets: Any, weights: Tensor | None = None) -> dict[str, Any]:
        """Those of all tasks; of one kind (two confusions) those of the task that decides, else of the first."""
        first = self.primary.metric.partition(".")[0]
        found: dict[str, Any] = {}
        shown = False
        for name in sorted(self.tasks, key=lambda name: name != first):
            own = targets[name]
            counted = own["valid"].float() if weights is None else weights * own["valid"]
            details = self.tasks[name].details(predictions.parts[name], own["target"], counted)
            found = {key: value for key, value in details.items() if key not in OF_CLASSES or not shown} | found
            shown = shown or "confusion" in details
        return found

    def deciding(self, targets: Any) -> tuple[Task, Any]:
        first = self.primary.metric.partition(".")[0]
        return self.tasks[first].deciding(targets[first]["target"])

    def draw(self, image: np.ndarray, prediction: Any, target: Any = None) -> np.ndarray:
        for name, task in self.tasks.items():
            image = task.draw(image, prediction.parts[name], None if target is None else target[name]["target"])
        return image

    def settings(self) -> dict[str, Any]:
        tasks = {name: task.settings() for name, task in self.tasks.items()}
        return {"name": self.name, "tasks": tasks, "weights": dict(self.weights), "decides": self.decides}


def _words(each: Mapping[str, str]) -> str:
    return " · ".join(f"{name}: {text}" for name, text in each.items())
