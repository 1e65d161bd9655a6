"""What a network sees of an image: size, crop, mean and deviation, for evaluation and for training.

Training may see smaller images than evaluation (`--train_size`): a random crop of a share a of the area, shown on a
target of a share t of the size's area, shows things √(t / a) as large as evaluation does, on average alike where t is
the mean of a; and a step costs t of what it did. arXiv:1906.06423
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel.data import statistics, whiten
from hubel.data.augment import Augment
from hubel.data.dataset import Dataset
from hubel.data.preprocess import Preprocess
from hubel.errors import UserError
from hubel.models.base import Network
from hubel.models.weights import Weights
from hubel.recipe import Recipe
from hubel.settle import wanted_size


def make_preprocess(
    dataset: Dataset, chosen: Recipe, model: Any = None, weights: Weights | None = None, dense: bool = False
) -> Preprocess:
    """Size from the option, the network's wish or the images; mean and deviation from the training part.

    All of it from pretrained weights where there are some: they know no other images. UserError for another
    normalisation. `dense`: outputs are maps, and the size is that of the shorter side of the images' own proportions.
    """
    if weights is not None:
        return _as_trained(dataset, chosen, weights, dense)
    plain = without_statistics(dataset, chosen, model, dense)
    train = dataset.splits["train"]
    if chosen.normalize != "channel":
        return replace(plain, whitening=whiten.fit(dataset, train, plain, chosen.normalize, chosen.whiten_epsilon))
    mean, deviation = statistics.channel_statistics(dataset, train, plain)
    return plain.with_statistics(mean, deviation)


def without_statistics(dataset: Dataset, chosen: Recipe, model: Any = None, dense: bool = False) -> Preprocess:
    """The size alone, and how images come to it: nothing is measured."""
    size: Any = chosen.size if chosen.size is not None or model is not None else wanted_size(chosen.model)
    size = proportioned(dataset, chosen.size) if dense else size
    return Preprocess.choose(dataset, size=size, policy=chosen.resize)


def proportioned(dataset: Dataset, side: int | None) -> tuple[int, int] | None:
    """(height, width) of the images' median proportions, the shorter one `side`, in multiples of 8; None: their own."""
    sizes = dataset.images.sizes(200)
    if side is None or not len(sizes):
        return None
    height, width = np.median(sizes, axis=0)
    factor = side / min(height, width)
    h, w = (max(1, round(float(n) * factor / 8)) * 8 if n * factor > 8 else side for n in (height, width))
    return (side if height <= width else h, side if width <= height else w)


def _as_trained(dataset: Dataset, chosen: Recipe, weights: Weights, dense: bool) -> Preprocess:
    """As the pretrained weights saw their images; grey ones become colours of three equal parts."""
    if chosen.normalize != "channel":
        raise UserError(
            f"The weights were trained on images normalised with the mean {weights.images.mean} and the deviation "
            f"{weights.images.std}, so --normalize {chosen.normalize} does not fit. Leave it out, or the --weights."
        )
    images, policy = weights.images, chosen.resize or weights.images.policy
    if dense:  # every pixel is judged: nothing is cut off
        plain = Preprocess.choose(dataset, size=proportioned(dataset, chosen.size), policy=chosen.resize)
        share = 1.0
    else:
        plain = Preprocess.choose(dataset, size=chosen.size or images.size, policy=policy)
        share = images.crop
    return replace(
        plain, channels=len(images.mean), mean=images.mean, std=images.std, share=share,
        interpolation=images.interpolation,
    )  # fmt: skip


SEEN = 2_000  # training images that a network may look at before it trains


def measure(network: nn.Module, dataset: Dataset, preprocess: Preprocess) -> None:
    """Show a network that asks for it (`fit`) evenly spaced images of the training part."""
    if not isinstance(network, Network) or type(network).fit is Network.fit:
        return
    train = dataset.splits["train"]
    rows = train[np.linspace(0, len(train) - 1, min(SEEN, len(train))).astype(np.int64)]
    pixels = np.stack([preprocess.geometry(dataset.images.read(int(row)))[0] for row in rows])
    network.fit(preprocess.normalise(torch.from_numpy(pixels.astype(np.int32 if preprocess.depth == 16 else np.uint8))))


def for_training(preprocess: Preprocess, side: int | None) -> Preprocess:
    """With `side` for the shorter side, in the same proportions (in multiples of 8 where it is no square).

    None: as it is.
    """
    if side is None:
        return preprocess
    short = min(preprocess.size)
    height, width = (side if n == short else max(1, round(n * side / short / 8)) * 8 for n in preprocess.size)
    return replace(preprocess, size=(height, width))


def check_train_size(network: nn.Module, preprocess: Preprocess, augment: Augment, side: int | None) -> None:
    """Raises UserError where the network, or the preparation of images, has no use for a size of training's own."""
    if side is None:
        return
    if preprocess.whitening is not None:
        raise UserError("--normalize pca and zca are measured on images of one size, so --train_size has no place.")
    if side > min(preprocess.size):
        raise UserError(
            f"--train_size is the smaller size that training sees; {side} is above the size, {min(preprocess.size)}. "
            "Leave it out, or give a larger --size."
        )
    if not augment.crop:
        raise UserError(
            "--train_size is for random crops, which show things larger; without them a smaller image shows them "
            "smaller than evaluation does. Add --augment.crop 0.35, or give --size alone."
        )
    smaller = for_training(preprocess, side)
    before, state = network.training, torch.get_rng_state()
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, smaller.channels, *smaller.size))
    except Exception as fault:
        raise UserError(
            f"--train_size {side} makes images of {smaller.size[0]} × {smaller.size[1]} pixels, and the network takes "
            f"no others than {preprocess.size[0]} × {preprocess.size[1]}: {fault}. Leave it out, or take a network "
            "that ends in pooling."
        ) from fault
    finally:
        network.train(before)
        torch.set_rng_state(state)
