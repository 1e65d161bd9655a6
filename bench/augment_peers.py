"""The peers' pipelines for bench/augment.py: what an Augment of hubel's asks for, in their own operations.

source and target (height, width); one image uint8 in, one out: (H, W, 3) arrays for albumentations, (3, H, W) tensors
for torchvision v2. What a peer lacks is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import torch
from peers import declare_operators

from hubel.data.augment import Augment

Size = tuple[int, int]


def albumentations_of(a: Augment, source: Size, target: Size) -> Callable[[Any], Any]:
    import albumentations as package

    (height, width), steps = target, []
    if a.crop:
        steps.append(package.RandomResizedCrop((height, width), scale=a.crop, ratio=a.ratio))
    elif source != target:
        steps.append(package.Resize(height, width))
    if a.flip != "none":
        steps.append(package.HorizontalFlip())
    g = a.geometric
    if g.rotate or g.shear:
        steps.append(package.Affine(rotate=(-g.rotate, g.rotate), shear=(-g.shear, g.shear), p=1,
                                    border_mode=cv2.BORDER_REFLECT))  # fmt: skip
    if g.elastic:
        steps.append(package.ElasticTransform(alpha=50, sigma=10, approximate=True, p=1))
    c = a.colour
    if a.shift:
        steps += [package.Pad(a.shift), package.RandomCrop(height, width)]
    if c.brightness:
        steps.append(package.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-c.hue, c.hue), p=1))
    if a.texture.blur:
        steps += [
            package.GaussianBlur(0, (0.1, a.texture.blur), p=0.5),
            package.GaussNoise((0.0, a.texture.noise), p=0.5),
        ]
    transform = package.Compose(steps)
    return lambda image: transform(image=image)["image"]


def torchvision_of(a: Augment, source: Size, target: Size) -> Callable[[Any], Any]:
    declare_operators()
    from torchvision.transforms import v2

    size, steps = list(target), []
    if a.crop:
        steps.append(v2.RandomResizedCrop(size, a.crop, a.ratio, antialias=True))
    elif source != target:
        steps.append(v2.Resize(size, antialias=True))
    if a.flip != "none":
        steps.append(v2.RandomHorizontalFlip())
    if a.shift:
        steps.append(v2.RandomCrop(size, padding=a.shift))
    g, c = a.geometric, a.colour
    bilinear = v2.InterpolationMode.BILINEAR
    if g.rotate or g.shear:
        steps.append(v2.RandomAffine(g.rotate, shear=[-g.shear, g.shear, -g.shear, g.shear], interpolation=bilinear))
    if g.elastic:
        steps.append(v2.ElasticTransform(interpolation=bilinear))
    if c.brightness:
        steps.append(v2.ColorJitter(c.brightness, c.contrast, c.saturation, c.hue))
    if a.texture.blur:
        steps.append(v2.RandomApply([v2.GaussianBlur(9, (0.1, a.texture.blur))]))
        noise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.GaussianNoise(0, a.texture.noise / 2),
                            v2.ToDtype(torch.uint8, scale=True)])  # fmt: skip
        steps.append(v2.RandomApply([noise]))
    return v2.Compose(steps)
