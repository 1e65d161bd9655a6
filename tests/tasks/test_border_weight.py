"""Segmentation with the weight map of U-Net: the loss is the paper's sum, cut by the margin of valid convolutions."""

import numpy as np
import pytest
import torch
from small_parts import make_batch
from test_segmentation import CLASSES, Pixels

from hubel.errors import UserError
from hubel.ops.border_weights import border_weights, cells_of
from hubel.tasks.segmentation import Segmentation
from hubel.types import PixelClasses


def cells_batch(size=(20, 24)):
    values = np.zeros((2, *size), np.uint8)
    values[0, 3:12, 2:9], values[0, 3:12, 11:20], values[0, 14:18, 4:16] = 1, 1, 2
    values[1, :, :10], values[1, :, 11:] = 1, 2
    values[:, 0] = 255
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32))
    return make_batch(images, PixelClasses(torch.from_numpy(values), None))


@pytest.mark.parametrize("margin", [0, 2])
@pytest.mark.parametrize("weights", [None, (0.5, 1.0, 3.0)])
def test_the_loss_is_the_sum_of_class_and_border_weights(weights, margin):
    task = Segmentation(CLASSES, class_weights=weights, border_weight=10.0, border_sigma=3.0)
    batch, network = cells_batch(), Pixels(task, margin)
    term = task.loss(network, batch)["cross_entropy"]
    with torch.no_grad():
        nats = -network(batch.images).log_softmax(1).numpy()
    total = count = 0.0
    for image, values in enumerate(batch.targets.values.numpy()):
        extra = border_weights(cells_of(values, 0), 10.0, 3.0)
        for y in range(margin, 20 - margin):
            for x in range(margin, 24 - margin):
                k = values[y, x]
                if k != 255:
                    w = (weights or (1, 1, 1))[k] + extra[y, x]
                    total, count = total + w * nats[image, k, y - margin, x - margin], count + w
    assert extra.max() > 5
    assert float(term.sum) == pytest.approx(total, rel=1e-4) and float(term.count) == pytest.approx(count, rel=1e-4)


def test_without_the_option_all_pixels_count_alike():
    assert Segmentation(CLASSES).pixel_weights(cells_batch()) is None


def test_the_background_is_the_class_of_that_name_or_the_first():
    batch = cells_batch()
    named = Segmentation(("a", "background", "c"), border_weight=10.0).pixel_weights(batch)
    first = Segmentation(("a", "b", "c"), border_weight=10.0).pixel_weights(batch)
    values = batch.targets.values
    assert (first[(values == 1) | (values == 2)] == 1).all() and first.max() > 9
    assert (named[(values == 0) | (values == 2)] == 1).all()


def test_numbers_out_of_range_are_named():
    for option in ({"border_weight": -1.0}, {"border_sigma": 0.0}):
        with pytest.raises(UserError, match=next(iter(option))):
            Segmentation(CLASSES, **option)
