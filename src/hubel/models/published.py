"""Published ImageNet weights by network: torchvision's files, and what images each was trained on.

A file's name ends in the first eight hexadecimal digits of its SHA-256. Where torchvision has two sets, the first here
is the better one (its "V2"), the second is reached as `torchvision:v1`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubel.errors import UserError
from hubel.models.efficientnet_weights import LITE_WEIGHTS, Pretrained
from hubel.models.renaming import peer_of

ORIGIN = "https://download.pytorch.org/models/"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's training images
LITE0 = LITE_WEIGHTS


def trained_at(size: int = 224, resize: int = 256, interpolation: str = "bilinear") -> Pretrained:
    """The short side brought to `resize` pixels, of which the middle `size` are seen."""
    return Pretrained(size, MEAN, STD, crop=size / resize, interpolation=interpolation)


V1, V2 = trained_at(), trained_at(resize=232)
HALF = Pretrained(224, (0.5,) * 3, (0.5,) * 3, crop=224 / 256, interpolation="bilinear")  # it normalises once more

Files = tuple[tuple[str, Pretrained], ...]
TORCHVISION: dict[str, Files] = {
    "alexnet": (("alexnet-owt-7be5be79.pth", V1),),
    "vgg11": (("vgg11-8a719046.pth", V1),),
    "vgg13": (("vgg13-19584684.pth", V1),),
    "vgg16": (("vgg16-397923af.pth", V1),),
    "vgg19": (("vgg19-dcbb9e9d.pth", V1),),
    "vgg11_bn": (("vgg11_bn-6002323d.pth", V1),),
    "vgg13_bn": (("vgg13_bn-abd245e5.pth", V1),),
    "vgg16_bn": (("vgg16_bn-6c64b313.pth", V1),),
    "vgg19_bn": (("vgg19_bn-c79401a0.pth", V1),),
    "googlenet": (("googlenet-1378be20.pth", HALF),),
    "resnet18": (("resnet18-f37072fd.pth", V1),),
    "resnet34": (("resnet34-b627a593.pth", V1),),
    "resnet50": (("resnet50-11ad3fa6.pth", V2), ("resnet50-0676ba61.pth", V1)),
    "resnet101": (("resnet101-cd907fc2.pth", V2), ("resnet101-63fe2227.pth", V1)),
    "resnet152": (("resnet152-f82ba261.pth", V2), ("resnet152-394f9c45.pth", V1)),
    "resnext50_32x4d": (("resnext50_32x4d-1a0047aa.pth", V2), ("resnext50_32x4d-7cdf4587.pth", V1)),
    "resnext101_32x8d": (("resnext101_32x8d-110c445d.pth", V2), ("resnext101_32x8d-8ba56ff5.pth", V1)),
    "resnext101_64x4d": (("resnext101_64x4d-173b62eb.pth", V2),),
    "wide_resnet50_2": (("wide_resnet50_2-9ba9bcbe.pth", V2), ("wide_resnet50_2-95faca4d.pth", V1)),
    "wide_resnet101_2": (("wide_resnet101_2-d733dc28.pth", V2), ("wide_resnet101_2-32ee1156.pth", V1)),
    "densenet121": (("densenet121-a639ec97.pth", V1),),
    "densenet161": (("densenet161-8d451a50.pth", V1),),
    "densenet169": (("densenet169-b2777c0a.pth", V1),),
    "densenet201": (("densenet201-c1103571.pth", V1),),
    "mobilenet_v2": (("mobilenet_v2-7ebf99e0.pth", V2), ("mobilenet_v2-b0353104.pth", V1)),
    "efficientnet_b0": (("efficientnet_b0_rwightman-7f5810bc.pth", trained_at(224, 256, "bicubic")),),
    "efficientnet_b1": (
        ("efficientnet_b1-c27df63c.pth", trained_at(240, 255)),
        ("efficientnet_b1_rwightman-bac287d4.pth", trained_at(240, 256, "bicubic")),
    ),
    "efficientnet_b2": (("efficientnet_b2_rwightman-c35c1473.pth", trained_at(288, 288, "bicubic")),),
    "efficientnet_b3": (("efficientnet_b3_rwightman-b3899882.pth", trained_at(300, 320, "bicubic")),),
    "efficientnet_b4": (("efficientnet_b4_rwightman-23ab8bcd.pth", trained_at(380, 384, "bicubic")),),
    "efficientnet_b5": (("efficientnet_b5_lukemelas-1a07897c.pth", trained_at(456, 456, "bicubic")),),
    "efficientnet_b6": (("efficientnet_b6_lukemelas-24a108a5.pth", trained_at(528, 528, "bicubic")),),
    "efficientnet_b7": (("efficientnet_b7_lukemelas-c5b4e57e.pth", trained_at(600, 600, "bicubic")),),
}
BY_FILE = {file: seen for files in TORCHVISION.values() for file, seen in files}


def torchvision_file(function: Callable[..., Any], version: str) -> tuple[str, Pretrained]:
    """The file of a model function and its images; `version` "" is the best, "v1" the first that was published.

    Raises UserError where torchvision has no weights of this network.
    """
    name = peer_of(function, "torchvision").name
    if name not in TORCHVISION or version not in ("", "v1"):
        known = ", ".join(TORCHVISION)
        raise UserError(
            f"torchvision has no weights '{version or name}' here; expected `torchvision` or `torchvision:v1`, with "
            f"one of these networks: {known}."
        )
    return TORCHVISION[name][-1 if version else 0]
