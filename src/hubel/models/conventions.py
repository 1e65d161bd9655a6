"""What the shapes of weights don't tell: the padding and the ε of batch norm that they were trained with.

TensorFlow's "same" padding gives a strided convolution one row more below than above, and Google's EfficientNets have
ε = 0.001. timm keeps both in its networks `tf_…`; those without the prefix have the same tensors in the same shapes,
torch's symmetric padding and ε = 0.00001. Weights of one in the other run, and see badly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hubel.errors import UserError

ONE_OF_TWO = re.compile(r"(tf_)?efficientnet_(b\d|lite\d)$")  # timm has these with either convention


@dataclass(frozen=True)
class Convention:
    """`padding`: "same" or "symmetric"; `epsilon` of the batch norms."""

    padding: str
    epsilon: float

    def words(self) -> str:
        return f"{self.padding} padding and a batch norm with ε = {self.epsilon:g}"


def convention_of(architecture: str) -> Convention | None:
    """Of timm's network of this name; None where the shapes tell all that matters."""
    if architecture.startswith("tf_"):
        return Convention("same", 1e-3)
    return Convention("symmetric", 1e-5) if ONE_OF_TWO.match(architecture) else None


def convention_in(network: nn.Module) -> Convention:
    """What a network computes with."""
    same = any(type(module).__name__ in ("SameConv2d", "Conv2dSame") for module in network.modules())
    norms = [module.eps for module in network.modules() if isinstance(module, _BatchNorm)]
    return Convention("same" if same else "symmetric", norms[0] if norms else 1e-5)


def check_convention(network: nn.Module, architecture: str, source: str) -> None:
    """Raises UserError where weights of timm's network `architecture` ("": nothing is known) need another network."""
    needed, own = convention_of(architecture), convention_in(network)
    if needed is None or needed == own:
        return
    raise UserError(
        f"{source} are weights of timm's {architecture}, trained with {needed.words()}; this network has the same "
        f"shapes, but {own.words()}, so it would see badly with them. " + _advice(needed, own, architecture)
    )


def _advice(needed: Convention, own: Convention, architecture: str) -> str:
    if needed.epsilon == own.epsilon:
        return f"Say --model.padding {needed.padding}, or take timm's own network: --model timm:{architecture}"
    return f"Take timm's own network: --model timm:{architecture}"
