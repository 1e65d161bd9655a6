"""What the tasks of a Joint share: one backbone with a head each, a view of it for each task, one metric.

A view looks like the network to its task; whichever task asks first runs the backbone, the others get the same maps.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.metrics.base import Streaming, ones_like_batch, ratio
from hubel.predictions import Predictions
from hubel.tasks.base import Metric, Task


class MultiHead(nn.Module):
    """maps -> {name: the outputs of that task's head}."""

    def __init__(self, heads: Mapping[str, nn.Module]):
        super().__init__()
        self.names = tuple(heads)
        for name, head in heads.items():
            self.add_module(f"{name}_head", head)

    @property
    def reads(self) -> tuple[int, ...] | None:
        """The maps that some task reads."""
        each = [getattr(self.of(name), "reads", None) for name in self.names]
        return None if any(one is None for one in each) else tuple(sorted({i for one in each for i in one or ()}))

    def of(self, name: str) -> nn.Module:
        return self.get_submodule(f"{name}_head")

    def forward(self, maps: Any) -> dict[str, Any]:
        return {name: self.of(name)(maps) for name in self.names}


class View:
    """The network as one task of a Joint sees it. `shared` holds the images of the batch and what they gave so far."""

    def __init__(self, network: Any, name: str, widths: Mapping[str, int], shared: dict[str, Any]):
        self._network, self._name, self._widths, self._shared = network, name, widths, shared

    def __call__(self, images: Tensor) -> Any:
        """This task's outputs."""
        head = getattr(self._network, "head", None)
        if isinstance(head, MultiHead):
            return head.of(self._name)(self.maps(images))
        return cut(self._once("outputs", self._network, images), self._name, self._widths)

    def maps(self, images: Tensor) -> Any:
        """The backbone's maps; computed once for the batch's images, anew for any others."""
        return self._once("maps", self._network.maps, images)

    @property
    def auxiliary(self) -> Callable[[Any], list[Any]]:
        """This task's part of what the auxiliary heads give."""
        found = self._network.auxiliary  # AttributeError where it has none, as it should be
        return lambda maps: [cut(outputs, self._name, self._widths) for outputs in found(maps)]

    def _once(self, key: str, function: Any, images: Tensor) -> Any:
        if images is not self._shared.get("images"):
            return function(images)
        if key not in self._shared:
            self._shared[key] = function(images)
        return self._shared[key]

    @property
    def head(self) -> nn.Module:
        return self._network.head.of(self._name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


class OfImages:
    """A network as a task sees it whose answers are numbers of the whole image, whatever its own head scores."""

    def __init__(self, network: Any):
        self._network = network

    def default_head(self, outputs: int) -> nn.Module:
        return getattr(self._network, "image_head", self._network.default_head)(outputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


def cut(outputs: Any, name: str, widths: Mapping[str, int]) -> Any:
    """The outputs of one task, from {name: outputs} or from one tensor (B, Σ widths)."""
    if isinstance(outputs, Mapping):
        return outputs[name]
    if not isinstance(outputs, Tensor) or outputs.dim() != 2 or outputs.shape[1] != sum(widths.values()):
        given = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise UserError(
            f"The joint task needs {{name: outputs}} for {', '.join(widths)}, or a tensor (B, {sum(widths.values())}) "
            f"with the tasks side by side; the network gave {given}."
        )
    return outputs.split(list(widths.values()), dim=1)[list(widths).index(name)]


@dataclass(frozen=True)
class JointPredictions(Predictions):
    """Each task's predictions by its name; all of the same B examples."""

    parts: Mapping[str, Predictions]

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))


RIGHT = "*"  # before the names of the sums behind `right`; no task is called so


class JointMetric:
    """Each task's metrics as `name.metric`, over its valid examples, and `loss` = Σ λ·loss of each.

    `right` is the share of the examples of which all tasks are right, where `right` (predictions, targets) tells.
    """

    def __init__(
        self,
        metrics: Mapping[str, Metric],
        weights: Mapping[str, float],
        right: Callable[[Any, Any], Tensor | None] = lambda predictions, targets: None,
    ):
        self.metrics, self.weights, self._right = dict(metrics), dict(weights), right
        self._counted = Streaming()

    def update(self, predictions: JointPredictions, targets: Any, weights: Tensor | None = None) -> None:
        right = self._right(predictions, targets)
        if right is not None:
            known = torch.stack([own["valid"] for own in targets.values()]).any(0).to(right.device)
            w = ones_like_batch(weights, right) * known
            self._counted.add("right", (w * right).sum())
            self._counted.add("examples", w.sum())
        for name, metric in self.metrics.items():
            valid = targets[name]["valid"]
            own = valid.float() if weights is None else weights * valid.to(weights.device)
            metric.update(predictions.parts[name], targets[name]["target"], own)

    def compute(self) -> dict[str, float]:
        """A task without a valid example adds nothing to the loss; its own metrics are NaN."""
        each = {name: metric.compute() for name, metric in self.metrics.items()}
        losses = {name: found.get("loss", 0.0) for name, found in each.items()}
        total = sum(self.weights.get(name, 1.0) * loss for name, loss in losses.items() if loss == loss)
        whole = {"loss": total}
        if "sum.right" in self._counted.state():
            whole["right"] = float(ratio(self._counted.sum("right"), self._counted.sum("examples")))
        return whole | {f"{name}.{key}": v for name, found in each.items() for key, v in found.items()}

    @property
    def _parts(self) -> dict[str, Any]:
        return {**self.metrics, RIGHT: self._counted}

    def state(self) -> dict[str, Tensor]:
        return {f"{name}.{key}": v for name, metric in self._parts.items() for key, v in metric.state().items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, metric in self._parts.items():
            metric.load(_of(state, name))

    def merge(self, state: Mapping[str, Tensor]) -> None:
        for name, metric in self._parts.items():
            metric.merge(_of(state, name))


def _of(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.partition(".")[2]: value for key, value in state.items() if key.partition(".")[0] == name}


def rebuild(settings: Mapping[str, Any]) -> Task:
    """A task of hubel from its settings(): the class in `hubel.tasks.<name>` that carries this name."""
    rest = dict(settings)
    name = str(rest.pop("name", ""))
    module = importlib.import_module(f"hubel.tasks.{name}") if name.isidentifier() and _exists(name) else None
    for found in vars(module).values() if module else ():
        if isinstance(found, type) and issubclass(found, Task) and found.name == name:
            return found(**rest)
    raise UserError(f"There is no task '{name}' in hubel. Give an own task as an object, not by its settings.")


def _exists(name: str) -> bool:
    return importlib.util.find_spec(f"hubel.tasks.{name}") is not None
