"""EfficientNet: one small network, scaled in depth, width and resolution together. arXiv:1905.11946.

    depth d = 1.2^φ, width w = 1.1^φ, resolution r = 1.15^φ        d w² r² ≈ 1.92^φ: the cost about doubles with φ

(B, C, H, W) -> maps (B, 16 w, H / 2, W / 2), 24 w at 4, 40 w at 8, 112 w at 16, 320 w at 32 -> 1280 w -> (B, K)

The released networks don't keep to the formula: `efficientnet(phi=…)` does, B0 to B7 have the multipliers of SCALES.
B2 has depth and width of φ = 1; B7's 3.1, 2.0 and 600 pixels lie between φ = 6 (2.99, 1.77, 518) and φ = 7 (3.58,
1.95, 596). The Lite variants have no squeeze-and-excitation, ReLU6 in place of SiLU, stem and head of one width, first
and last stage of one depth: simple to quantise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import nn

from hubel.errors import UserError
from hubel.models.efficientnet_weights import TIMM, TORCHVISION, numbered
from hubel.models.inverted_residual import ConvUnit, InvertedResidualNetwork, Plan, Stage, multiple_of_8
from hubel.models.options import Size, wants
from hubel.models.renaming import known_to

ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15  # depth, width, resolution at φ = 1
STAGES = (  # of B0
    Stage(expand=1, kernel=3, stride=1, width=16, blocks=1),
    Stage(expand=6, kernel=3, stride=2, width=24, blocks=2),
    Stage(expand=6, kernel=5, stride=2, width=40, blocks=2),
    Stage(expand=6, kernel=3, stride=2, width=80, blocks=3),
    Stage(expand=6, kernel=5, stride=1, width=112, blocks=3),
    Stage(expand=6, kernel=5, stride=2, width=192, blocks=4),
    Stage(expand=6, kernel=3, stride=1, width=320, blocks=1),
)


@dataclass(frozen=True)
class Scale:
    """Multipliers of width and depth, the side of the images in pixels, and the rate of dropout that goes with them."""

    width: float
    depth: float
    size: int
    dropout: float


SCALES = {
    "b0": Scale(1.0, 1.0, 224, 0.2),
    "b1": Scale(1.0, 1.1, 240, 0.2),
    "b2": Scale(1.1, 1.2, 260, 0.3),
    "b3": Scale(1.2, 1.4, 300, 0.3),
    "b4": Scale(1.4, 1.8, 380, 0.4),
    "b5": Scale(1.6, 2.2, 456, 0.4),
    "b6": Scale(1.8, 2.6, 528, 0.5),
    "b7": Scale(2.0, 3.1, 600, 0.5),
}
LITE_SCALES = {
    "lite0": Scale(1.0, 1.0, 224, 0.2),
    "lite1": Scale(1.0, 1.1, 240, 0.2),
    "lite2": Scale(1.1, 1.2, 260, 0.3),
    "lite3": Scale(1.2, 1.4, 280, 0.3),
    "lite4": Scale(1.4, 1.8, 300, 0.3),
}


def scale_of(phi: float) -> Scale:
    """The formula, with 224 pixels at φ = 0; the paper has no rule for dropout, so it stays at 0.2."""
    return Scale(BETA**phi, ALPHA**phi, round(224 * GAMMA**phi), 0.2)


def plan_of(scale: Scale) -> Plan:
    """Widths are rounded to multiples of 8, numbers of blocks are rounded up."""
    stages = [_scaled(stage, scale.width, scale.depth) for stage in STAGES]
    return Plan(multiple_of_8(32 * scale.width), stages, multiple_of_8(1280 * scale.width), squeeze=0.25)


def lite_plan_of(scale: Scale) -> Plan:
    """As `plan_of`, but for what the Lite variants leave as it is."""
    depths = (1.0, *[scale.depth] * (len(STAGES) - 2), 1.0)
    stages = [_scaled(stage, scale.width, depth) for stage, depth in zip(STAGES, depths, strict=True)]
    return Plan(32, stages, 1280)


def _scaled(stage: Stage, width: float, depth: float) -> Stage:
    return replace(stage, width=multiple_of_8(stage.width * width), blocks=math.ceil(stage.blocks * depth))


LITE0 = numbered([stage.blocks for stage in STAGES])


def _build(
    classes: int, input: Size, scale: Scale, padding: str, epsilon: float = 1e-5, momentum: float = 0.1
) -> InvertedResidualNetwork:
    unit = ConvUnit(nn.SiLU, padding, epsilon, momentum)
    return InvertedResidualNetwork(classes, input[0], plan_of(scale), unit, scale.dropout, 0.2)


@wants(224)
def efficientnet(*, classes: int, input: Size, phi: float = 0.0, padding: str = "symmetric") -> InvertedResidualNetwork:
    """B0 scaled by the formula; `scale_of(phi).size` is the side that belongs to it (--size), 224 at φ = 0.

    `padding`: "symmetric", or "same" as TensorFlow's weights need it. Raises UserError for φ outside [-8, 10].
    """
    if not -8 <= phi <= 10:
        raise UserError(f"Option 'phi' needs a number from -8 to 10, got {phi}: the cost doubles with each.")
    return _build(classes, input, scale_of(phi), padding)


@known_to("torchvision", TORCHVISION)
@known_to("timm", TIMM)
@wants(224)
def efficientnet_b0(*, classes: int, input: Size, padding: str = "symmetric") -> InvertedResidualNetwork:
    """5,288,548 parameters for colour images and 1,000 classes."""
    return _build(classes, input, SCALES["b0"], padding)


@known_to("torchvision", TORCHVISION)
@known_to("timm", TIMM)
@wants(240)
def efficientnet_b1(*, classes: int, input: Size, padding: str = "symmetric") -> InvertedResidualNetwork:
    """7,794,184 parameters for colour images and 1,000 classes."""
    return _build(classes, input, SCALES["b1"], padding)


@known_to("torchvision", TORCHVISION)
@known_to("timm", TIMM)
@wants(260)
def efficientnet_b2(*, classes: int, input: Size, padding: str = "symmetric") -> InvertedResidualNetwork:
    """9,109,994 parameters for colour images and 1,000 classes."""
    return _build(classes, input, SCALES["b2"], padding)


@known_to("torchvision", TORCHVISION)
@known_to("timm", TIMM)
@wants(300)
def efficientnet_b3(*, classes: int, input: Size, padding: str = "symmetric") -> InvertedResidualNetwork:
    """12,233,232 parameters for colour images and 1,000 classes."""
    return _build(classes, input, SCALES["b3"], padding)


@known_to("torchvision", TORCHVISION)
@known_to("timm", TIMM)
@wants(380)
def efficientnet_b4(*, classes: int, input: Size, padding: str = "symmetric") -> InvertedResidualNetwork:
    """19,341,616 parameters for colour images and 1,000 classes."""
    return _build(classes, input, SCALES["b4"], padding)


@known_to("torchvision", TORCHVISION)
@wants(456)
def efficientnet_b5(*, classes: int, input: Size, padding: str = "symmetric") -> InvertedResidualNetwork:
    """30,389,784 parameters for colour images and 1,000 classes."""
    return _build(classes, input, SCALES["b5"], padding, 1e-3, 0.01)


@known_to("torchvision", TORCHVISION)
@wants(528)
def efficientnet_b6(*, classes: int, input: Size, padding: str = "symmetric") -> InvertedResidualNetwork:
    """43,040,704 parameters for colour images and 1,000 classes."""
    return _build(classes, input, SCALES["b6"], padding, 1e-3, 0.01)


@known_to("torchvision", TORCHVISION)
@wants(600)
def efficientnet_b7(*, classes: int, input: Size, padding: str = "symmetric") -> InvertedResidualNetwork:
    """66,347,960 parameters for colour images and 1,000 classes."""
    return _build(classes, input, SCALES["b7"], padding, 1e-3, 0.01)


def _lite(classes: int, input: Size, scale: Scale, padding: str) -> InvertedResidualNetwork:
    unit = ConvUnit(nn.ReLU6, padding, 1e-3)
    return InvertedResidualNetwork(classes, input[0], lite_plan_of(scale), unit, scale.dropout, 0.2)


@known_to("lite0", LITE0)
@known_to("timm", TIMM, "tf_efficientnet_lite0")
@wants(224)
def efficientnet_lite0(*, classes: int, input: Size, padding: str = "same") -> InvertedResidualNetwork:
    """4,652,008 parameters for colour images and 1,000 classes."""
    return _lite(classes, input, LITE_SCALES["lite0"], padding)


@known_to("timm", TIMM, "tf_efficientnet_lite1")
@wants(240)
def efficientnet_lite1(*, classes: int, input: Size, padding: str = "same") -> InvertedResidualNetwork:
    """5,416,680 parameters for colour images and 1,000 classes."""
    return _lite(classes, input, LITE_SCALES["lite1"], padding)


@known_to("timm", TIMM, "tf_efficientnet_lite2")
@wants(260)
def efficientnet_lite2(*, classes: int, input: Size, padding: str = "same") -> InvertedResidualNetwork:
    """6,092,072 parameters for colour images and 1,000 classes."""
    return _lite(classes, input, LITE_SCALES["lite2"], padding)


@known_to("timm", TIMM, "tf_efficientnet_lite3")
@wants(280)
def efficientnet_lite3(*, classes: int, input: Size, padding: str = "same") -> InvertedResidualNetwork:
    """8,197,096 parameters for colour images and 1,000 classes."""
    return _lite(classes, input, LITE_SCALES["lite3"], padding)


@known_to("timm", TIMM, "tf_efficientnet_lite4")
@wants(300)
def efficientnet_lite4(*, classes: int, input: Size, padding: str = "same") -> InvertedResidualNetwork:
    """13,006,568 parameters for colour images and 1,000 classes."""
    return _lite(classes, input, LITE_SCALES["lite4"], padding)
