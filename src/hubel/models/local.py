"""A small locally connected network: one convolution, then layers whose filters differ from place to place.

(B, C, H, W) -> convolution, pooled (B, w0, H / 2, W / 2) -> maps (B, w1, H / 2, W / 2), (B, w2, H / 4, W / 4) -> (B, K)

The shape of DeepFace (Y. Taigman et al., CVPR 2014), small: edges are the same everywhere, so the first layer shares
its weights; behind it an eye is sought where eyes are. For aligned images only. Most weights lie in the local layers,
while the multiplications are those of convolutions: `share` puts these in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import Head, Network
from hubel.models.options import Size, check_size, rates, wants, widths_of
from hubel.nn.local import LocallyConnected2d

Layer = Callable[[int, int, tuple[int, int], int], nn.Module]  # (c_in, c_out, side, stride)


def local(c_in: int, c_out: int, side: tuple[int, int], stride: int) -> nn.Module:
    return LocallyConnected2d(c_in, c_out, side, 3, stride=stride, padding=1)


def shared(c_in: int, c_out: int, side: tuple[int, int], stride: int) -> nn.Module:
    return nn.Conv2d(c_in, c_out, 3, stride, 1)


class LocalNet(Network):
    """`layer` makes the two layers behind the first, of widths[1] and widths[2] channels; `hidden` dense units."""

    strides = (2, 4)

    def __init__(
        self, classes: int, input: Size, widths: Sequence[int], layer: Layer, hidden: int, dropout: float
    ):  # fmt: skip
        super().__init__()
        half = (input[1] // 2, input[2] // 2)
        quarter = ((half[0] + 1) // 2, (half[1] + 1) // 2)
        self.edges = nn.Sequential(nn.Conv2d(input[0], widths[0], 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.fine = nn.Sequential(layer(widths[0], widths[1], half, 1), nn.ReLU())
        self.coarse = nn.Sequential(layer(widths[1], widths[2], half, 2), nn.ReLU())
        self.channels = tuple(widths[1:])
        self.flat, self.hidden, self.dropout = widths[2] * quarter[0] * quarter[1], hidden, dropout
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        fine = self.fine(self.edges(images))
        return [fine, self.coarse(fine)]

    def default_head(self, classes: int) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(self.flat, self.hidden), nn.ReLU()]
        layers += [nn.Dropout(self.dropout)] if self.dropout else []
        return Head(*layers, nn.Linear(self.hidden, classes))


@wants(32)
def local_net(
    *,
    classes: int,
    input: Size,
    widths: Sequence[int] = (16, 16, 16),
    hidden: int = 128,
    share: bool = False,
    dropout: float = 0.0,
) -> LocalNet:
    """A convolution of widths[0] channels, two locally connected layers, a dense one of `hidden` units with `dropout`.

    `share` makes convolutions of the local layers, to see what their freedom is worth. Raises UserError for other
    options than three widths, and for an input (C, H, W) below 4×4 pixels.
    """
    widths = widths_of("widths", widths)
    if len(widths) != 3 or hidden < 1:
        raise UserError(f"Options 'widths' and 'hidden' need three numbers of channels, such as 16,16,16, and at least "
                        f"1 unit; got {len(widths)} and {hidden}.")  # fmt: skip
    check_size("local_net", input, 4)
    return LocalNet(classes, input, widths, shared if share else local, hidden, rates("dropout", dropout, 1)[0])
