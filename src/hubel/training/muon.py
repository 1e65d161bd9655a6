"""Muon for convolutions: momentum whose step is made orthogonal, filter bank by filter bank.

    B <- momentum * B + (1 - momentum) * G     with Nesterov's look-ahead
    W <- W - lr * s * orthogonal(B)

for a layer of N units (filters) with F = C * h * w inputs each, as an N x F matrix. K. Jordan 2024. Where AdamW moves
the other parameters s = 0.2 * sqrt(max(N, F)), which gives a step the usual size of AdamW's, so that both share one
rate (arXiv:2502.16982); beside Nesterov descent it is Jordan's own s = sqrt(max(1, N / F)).

`torch.optim.Muon` takes matrices only. Each filter bank (N, C, h, w) is handed to it as (N, C * h * w), and copied
back where the flat form isn't a view (channels-last weights); next to the matrix products a copy costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


class FlatMuon(torch.optim.Optimizer):
    """`torch.optim.Muon` on parameters of two dimensions or more; the state belongs to the real parameters."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        scale: str = "match_rms_adamw",
    ):
        """`scale`: "match_rms_adamw" or "original", as torch calls the two."""
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._flat = {p: nn.Parameter(p.detach().flatten(1)) for group in self.param_groups for p in group["params"]}
        self._matrices = torch.optim.Muon(
            [{"params": [self._flat[p] for p in group["params"]]} for group in self.param_groups],
            lr=lr,
            adjust_lr_fn=scale,
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group, inner in zip(self.param_groups, self._matrices.param_groups, strict=True):
            inner.update({key: group[key] for key in ("lr", "momentum", "weight_decay")})
        for parameter, matrix in self._flat.items():
            matrix.data = parameter.detach().flatten(1)
            matrix.grad = None if parameter.grad is None else parameter.grad.flatten(1)
            self._matrices.state[matrix] = self.state[parameter]  # one dict, whichever side it is seen from
        self._matrices.step()
        for parameter, matrix in self._flat.items():
            if matrix.grad is not None and matrix.data_ptr() != parameter.data_ptr():
                parameter.copy_(matrix.view(parameter.shape))
            matrix.grad = None
