"""The output with which a network starts: what is known before an image was seen, in the bias of the last layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def write_prior(network: Any, log_odds: np.ndarray) -> None:
    """Let the last layer start at `log_odds` (width,): its bias, divided by the fixed scale that a head may end with.

    Nothing happens where the last layer has no bias of that width.
    """
    factor = 1.0
    for module in reversed(list(getattr(network, "head", network).modules())):
        factor *= float(getattr(module, "factor", 1.0))
        bias = getattr(module, "bias", None)
        if isinstance(module, nn.Linear | nn.Conv2d):
            if isinstance(bias, Tensor) and bias.numel() == len(log_odds):
                with torch.no_grad():
                    bias.copy_(torch.from_numpy(log_odds / factor))
            return
