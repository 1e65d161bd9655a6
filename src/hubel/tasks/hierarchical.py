"""One of very many classes: softmax in two levels, p(k) = p(cluster of k)·p(k | its cluster). arXiv:cs/0108006.

With C = ⌈√K⌉ clusters of S = ⌈K / C⌉ classes, in the order of the classes, training computes C + S logits per image
in place of K. Features (B, F); outputs of the head are all log-probabilities (B, K), targets (B,) int64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.ops import losses
from hubel.tasks import auxiliary
from hubel.tasks.one_of_k import ClassPredictions, Weighed, log
from hubel.types import Batch, Term

if TYPE_CHECKING:
    pass


class TwoLevel(nn.Module):
    """Weights of both levels: `clusters` of F -> C, and (C, S, F) for the classes within each."""

    def __init__(self, features: int, classes: int, clusters: int | None = None):
        super().__init__()
        count = clusters or math.ceil(math.sqrt(classes))
        size = math.ceil(classes / count)
        self.classes = classes
        self.clusters = nn.Linear(features, math.ceil(classes / size))
        bound = 1 / math.sqrt(features)  # as nn.Linear starts
        self.weight = nn.Parameter(torch.empty(self.clusters.out_features, size, features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(self.clusters.out_features, size))

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, K) ln p of every class."""
        return losses.two_level_log_probabilities(
            features, self.clusters(features), self.weight, self.bias, self.classes
        )

    def nats(self, features: Tensor, targets: Tensor) -> Tensor:
        """(B, F), (B,) -> (B,) −ln p of the target, from the logits of its cluster only."""
        return losses.two_level_nats(features, self.clusters(features), self.weight, self.bias, self.classes, targets)


class HierarchicalHead(nn.Module):
    """The network's own head up to its last linear layer, then two levels."""

    def __init__(self, body: nn.Module, last: TwoLevel):
        super().__init__()
        self.body, self.last = body, last

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.last(self.body(maps))


@dataclass(frozen=True)
class Hierarchical(Weighed):
    """One of very many classes: softmax in two levels of about √K."""

    clusters: int | None = None  # how many; √K where None

    name = "hierarchical"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clusters is not None and self.clusters not in range(1, max(len(self.classes), 1) + 1):
            raise UserError(
                f"Option 'clusters' needs a whole number from 1 to {len(self.classes)}, the number of classes; "
                f"got {self.clusters}."
            )

    def head(self, network: Any) -> nn.Module:
        """default_head with its last linear layer replaced by two levels over the same features."""
        body = network.default_head(1)
        name, layer = next(
            ((n, m) for n, m in reversed(list(body.named_modules())) if isinstance(m, nn.Linear) and n), ("", None)
        )
        if layer is None:
            raise UserError(
                f"The task 'hierarchical' replaces the last linear layer of a network's head; {type(network).__name__} "
                "has none. Use --task classification, or another network."
            )
        parent, _, own = name.rpartition(".")
        setattr(body.get_submodule(parent), own, nn.Identity())
        return HierarchicalHead(body, TwoLevel(layer.in_features, self.width, self.clusters))

    def loss(self, network: Any, batch: Batch) -> dict[str, Term]:
        head = getattr(network, "head", None)
        if not isinstance(head, HierarchicalHead):
            raise UserError(
                "The task 'hierarchical' needs a network whose head it made: one with `maps` and `default_head`."
            )
        targets = torch.where(batch.weights > 0, batch.targets, 0)
        maps = network.maps(batch.images)
        nats = head.last.nats(head.body(maps), targets)

        def early(logits: Tensor) -> Term:  # auxiliary heads have one level
            return self.weighed(losses.cross_entropy(logits, targets), targets, batch.weights)

        own = {"cross_entropy": self.weighed(nats, targets, batch.weights)}
        return own | auxiliary.early_terms(network, maps, early)

    def predict(self, network: nn.Module, batch: Batch, outputs: Any = None) -> ClassPredictions:
        return ClassPredictions(losses.precise(network(batch.images) if outputs is None else outputs).exp())

    def loss_of(self, predictions: ClassPredictions, targets: Tensor, weights: Tensor) -> Term:
        return self.weighed(losses.cross_entropy(log(predictions.probabilities), targets), targets, weights)
