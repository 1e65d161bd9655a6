"""Batch normalisation whose statistics are those of the global batch, over all processes.

    mean = sum_r sum(x_r) / n,   var = sum_r sum((x_r - mean)^2) / n,   n = sum_r n_r

(B, C, …) -> the same shape. torch's own exchanges on GPUs only; this one computes on any device that has collectives,
and gives the sums of one process that holds all images. The mean is subtracted before squaring: no cancellation.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

_Norm = nn.modules.batchnorm._BatchNorm


class SharedBatchNorm(_Norm):
    """Like nn.BatchNorm1d, 2d and 3d; the exchange takes place in training mode only."""

    def _check_input_dim(self, images: Tensor) -> None:
        if images.dim() < 2:
            raise ValueError(f"expected (B, C, …), got {tuple(images.shape)}")

    def forward(self, images: Tensor) -> Tensor:
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(images)
        shape = [1, -1, *[1] * (images.dim() - 2)]
        around = [0, *range(2, images.dim())]  # every axis but the channels
        x = images.float()
        own = x.new_tensor([x.numel() / x.shape[1]])
        n, total = all_reduce(torch.cat([own, x.sum(around)])).split([1, x.shape[1]])
        centred = x - (total / n).view(shape)
        variance = all_reduce(centred.square().sum(around)) / n
        self._remember(total.detach() / n.detach(), variance.detach(), n.detach())
        found = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            found = found * self.weight.view(shape) + self.bias.view(shape)
        return found.to(images.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, n: Tensor) -> None:
        """Running averages, as nn.BatchNorm2d keeps them: with the unbiased variance."""
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (n / (n - 1).clamp(min=1)), share)


def share_statistics(module: nn.Module) -> nn.Module:
    """`module` with every batch norm in it replaced; weights, statistics and names stay."""
    if isinstance(module, _Norm) and not isinstance(module, SharedBatchNorm):
        return _replaced(module)
    for name, child in module.named_children():
        setattr(module, name, share_statistics(child))
    return module


def _replaced(norm: _Norm) -> SharedBatchNorm:
    found = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    for name, parameter in norm._parameters.items():
        setattr(found, name, parameter)
    for name, buffer in norm._buffers.items():
        setattr(found, name, buffer)
    return found.train(norm.training)
