"""J joints as 2·J numbers: x and y of each as fractions of the box that the network sees. arXiv:1312.4659.

    L = Σ_labelled e(|p − t|) / n      squared: (x − u)² + (y − v)²; smooth_l1: of each, linear beyond a twentieth

Outputs (B, 2·J): x_1, y_1, x_2 … from 0 (left, top) to 1 (right, bottom). See joints.py for everything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from hubel.errors import UserError, close_to
from hubel.metrics.pose import Posed
from hubel.models.joint_votes import JointVotes
from hubel.ops import losses
from hubel.tasks.joints import Joints
from hubel.tasks.prior import write_prior
from hubel.types import Batch

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset

BETA = 0.05  # smooth L1 turns linear at a twentieth of the box
ERRORS = {
    "smooth_l1": lambda z, t: losses.smooth_l1(z, t, BETA).sum(-1),
    "squared": lambda z, t: losses.squared(z, t).sum(-1),
}


@dataclass(frozen=True)
class Pose(Joints):
    """Joints as numbers."""

    error: str = "smooth_l1"  # or "squared"
    votes: bool = True  # each place of the last map votes for each joint; false: the network's own pooled head

    name = "pose"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.error not in ERRORS:
            raise UserError(
                f"Option 'error' is one of {', '.join(ERRORS)}; got '{self.error}'{close_to(self.error, ERRORS)}"
            )

    @property
    def width(self) -> int:
        return 2 * len(self.names)

    def head(self, network: Any) -> nn.Module:
        if self.votes and getattr(network, "strides", None):
            return JointVotes(network.channels[-1], len(self.names))
        return network.default_head(self.width)

    def prepare(self, network: nn.Module, dataset: Dataset, index: np.ndarray) -> None:
        if not isinstance(getattr(network, "head", None), JointVotes):
            write_prior(network, np.full(self.width, 0.5))  # the middle; votes give it whatever the bias

    def decoded(self, outputs: Tensor, batch: Batch, margin: int) -> tuple[Tensor, Tensor | None]:
        height, width = batch.input_size
        return outputs.unflatten(1, (len(self.names), 2)) * outputs.new_tensor([width, height]), None

    def errors(self, outputs: Tensor, truth: Posed, size: tuple[int, int], margin: int) -> Tensor:
        t = truth.joints[..., :2].to(outputs) / outputs.new_tensor([size[1], size[0]])
        return ERRORS[self.error](outputs.unflatten(1, (len(self.names), 2)), t)
