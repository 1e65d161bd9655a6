"""MobileNet v2: inverted residuals with linear bottlenecks. arXiv:1801.04381.

(B, C, H, W) -> maps (B, 16 w, H / 2, W / 2), 24 w at 4, 32 w at 8, 96 w at 16, 320 w at 32 -> 1280 max(w, 1) -> (B, K)

Widths are rounded to multiples of 8. Each stage is a row of the paper's table: (expand, kernel, stride, width, blocks).
"""

from __future__ import annotations

from dataclasses import replace

from hubel.models.efficientnet_weights import TIMM
from hubel.models.inverted_residual import ConvUnit, InvertedResidualNetwork, Plan, Stage, multiple_of_8, width_factor
from hubel.models.options import Size, wants
from hubel.models.renaming import Renaming, known_to

STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 3, 2, 32, 3),
    Stage(6, 3, 2, 64, 4),
    Stage(6, 3, 1, 96, 3),
    Stage(6, 3, 2, 160, 3),
    Stage(6, 3, 1, 320, 1),
)


def _torchvision() -> Renaming:
    """Blocks are numbered through there, and the last convolution of a block has no layer around it."""
    places = [f"stages.{i}.{j}" for i, stage in enumerate(STAGES) for j in range(stage.blocks)]
    pairs = []
    for n, place in enumerate(places, start=1):
        parts = (*(() if n == 1 else ("expand",)), "depthwise", "project.0", "project.1")
        pairs += [(f"{place}.{part}", f"features.{n}.conv.{i}") for i, part in enumerate(parts)]
    last = f"features.{len(places) + 1}"
    return Renaming(("stem", "features.0"), *pairs, ("head.0", last), ("head.3", "classifier.1"))


@known_to("timm", TIMM, "mobilenetv2_100")
@known_to("torchvision", _torchvision(), "mobilenet_v2")
@wants(224)
def mobilenetv2(
    *, classes: int, input: Size, width: float = 1.0, dropout: float = 0.2, drop_path: float = 0.0
) -> InvertedResidualNetwork:
    """3,504,872 parameters for colour images and 1,000 classes.

    `width` multiplies all numbers of channels but, below 1, the last; `dropout` before the linear layer; `drop_path`
    in [0, 1): the rate of stochastic depth at the last block, growing linearly. Raises UserError for anything else.
    """
    width = width_factor(width)
    stages = [replace(stage, width=multiple_of_8(stage.width * width)) for stage in STAGES]
    plan = Plan(multiple_of_8(32 * width), stages, multiple_of_8(1280 * max(width, 1.0)))
    return InvertedResidualNetwork(classes, input[0], plan, ConvUnit(), dropout, drop_path)
