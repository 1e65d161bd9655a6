"""The networks that all competitors train, as plain modules; (B, C, H, W) -> (B, K).

LeNet-5 and the small CNN are the ones of hubel's zoo, written out by hand: same layers, same number of weights.
ResNet-18 (arXiv:1512.03385) is written here for everybody; hubel gets this very module through its API.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


def lenet5(*, classes: int = 10, input: tuple[int, int, int] = (1, 28, 28)) -> nn.Module:
    """61,706 weights for one channel and ten classes; 28×28 images get a margin of 2 pixels."""
    return nn.Sequential(
        *(nn.Conv2d(input[0], 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, classes)),
    )


def conv_bn(c_in: int, c_out: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


class GlobalMax(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C)
        return maps.amax((2, 3))


def small_cnn(*, classes: int = 10, input: tuple[int, int, int] = (1, 28, 28)) -> nn.Module:
    """3×3 convolutions of 16, 32, pool, 64, pool, 64 channels with batch norm; global max pooling; one linear layer."""
    return nn.Sequential(
        *(conv_bn(input[0], 16), nn.ReLU(), conv_bn(16, 32), nn.ReLU(), nn.MaxPool2d(2)),
        *(conv_bn(32, 64), nn.ReLU(), nn.MaxPool2d(2), conv_bn(64, 64), nn.ReLU()),
        *(GlobalMax(), nn.Linear(64, classes)),
    )


class Block(nn.Module):
    """y = relu(skip(x) + f(x))"""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.f = nn.Sequential(conv_bn(c_in, c_out, 3, stride), nn.ReLU(inplace=True), conv_bn(c_out, c_out))
        self.skip = nn.Identity() if (c_in, stride) == (c_out, 1) else conv_bn(c_in, c_out, 1, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.skip(x) + self.f(x))


def resnet18(*, classes: int = 10, input: tuple[int, int, int] = (3, 128, 128)) -> nn.Module:
    """Four pairs of blocks of 64, 128, 256, 512 channels: 11.7 M weights with 1,000 classes."""
    layers: list[nn.Module] = [conv_bn(input[0], 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1)]
    channels = 64
    for i, width in enumerate((64, 128, 256, 512)):
        layers += [Block(channels, width, 1 if i == 0 else 2), Block(width, width, 1)]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


NETWORKS: dict[str, Callable[..., nn.Module]] = {"lenet5": lenet5, "small_cnn": small_cnn, "resnet18": resnet18}
