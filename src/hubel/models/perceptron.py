"""The perceptron: one linear unit, whose sign is the class. Rosenblatt 1958. (B, C, H, W) -> (B, 1).

f(x) = w . x + b; its loss, the hinge at zero, belongs to the task. Starting at zero, any learning rate gives the
same boundary: the weights are a sum of examples times the rate.
"""

from __future__ import annotations

from hubel.errors import UserError
from hubel.models.linear import Linear
from hubel.models.options import Size, wants


@wants(None)
def perceptron(*, classes: int = 1, input: Size, zero: bool = True) -> Linear:
    """One linear unit on the pixels of an input (C, H, W). `classes`: 1, or 2, which share the one output.

    `zero` starts the weights at 0; otherwise they are drawn. Raises UserError for more than two classes.
    """
    if classes not in (1, 2):
        raise UserError(f"The perceptron tells two classes apart, and there are {classes}. For more "
                        "use the network 'linear': softmax regression, or --task perceptron.")  # fmt: skip
    return Linear(1, input, zero)
