"""Segmentation learns, scores in source pixels, and brings views back to where they came from."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_parts import make_batch
from torch import Tensor, nn

from hubel.data.shapes import shapes
from hubel.ensembles.together import Together
from hubel.errors import UserError
from hubel.metrics.segmentation import iou
from hubel.models.base import Network
from hubel.models.resnet_cifar import resnet8
from hubel.models.unet import unet, unet_plain
from hubel.tasks.classification import Classification
from hubel.tasks.dense import SegmentationPredictions, mirrored_edge
from hubel.tasks.joint import Joint, JointPredictions
from hubel.tasks.segmentation import Segmentation
from hubel.training.evaluate import evaluate, predict
from hubel.training.step import Trainee, gradients
from hubel.types import Batch, PixelClasses

CLASSES = ("background", "circle", "square")


class Pixels(Network):
    """A few convolutions at full size; with a margin, valid ones."""

    def __init__(self, task: Segmentation, margin: int = 0, stride: int = 1):
        super().__init__()
        torch.manual_seed(0)
        self.channels, self.strides, self.margin = (16,), (stride,), margin
        first = nn.Conv2d(3, 16, 3, stride, padding=0 if margin else 1)
        self.body = nn.Sequential(first, nn.ReLU(), nn.Conv2d(16, 16, 3, padding=0 if margin else 1), nn.ReLU())
        self.head = task.head(self)

    def maps(self, images: Tensor) -> list[Tensor]:
        return [self.body(images)]


def batch_of(count: int = 4, size: tuple[int, int] = (24, 32), source: bool = True) -> Batch:
    """Bright squares and dark ones on grey, with an ignored stripe."""
    draws = np.random.default_rng(0)
    values = np.zeros((count, *size), np.uint8)
    images = np.full((count, 3, *size), 0.0, np.float32) + draws.normal(0, 0.1, (count, 3, *size)).astype(np.float32)
    for i in range(count):
        for k in (1, 2):
            top, left = draws.integers(0, size[0] - 8), draws.integers(0, size[1] - 8)
            values[i, top : top + 8, left : left + 8] = k
            images[i, :, top : top + 8, left : left + 8] = 1.0 if k == 1 else -1.0
    values[:, :2] = 255
    truth = torch.from_numpy(values)
    return make_batch(torch.from_numpy(images), PixelClasses(truth, tuple(truth) if source else None))


@pytest.mark.parametrize("losses", [{}, {"dice": 1.0}, {"cross_entropy": 0.0, "focal": 1.0, "dice": 0.5}])
def test_one_batch_can_be_overfitted(losses):
    task, batch = Segmentation(CLASSES, **losses), batch_of(2, (16, 20))
    network = Pixels(task)
    optimizer = torch.optim.Adam(network.parameters(), 0.04)
    for _ in range(40):
        optimizer.zero_grad()
        gradients(Trainee(network, task), batch)
        optimizer.step()
    found = evaluate(network, task, iter([batch]))
    assert found.metrics["miou"] >= 0.95


@pytest.mark.parametrize("micro", [1, 3])
def test_ragged_counts_of_pixels_give_the_gradient_of_the_whole_batch(micro):
    batch = batch_of()
    values = batch.targets.values.clone()
    values[1] = 255  # one image has no known pixel at all
    values[2, 5:] = 255
    batch = replace(batch, targets=PixelClasses(values), weights=torch.tensor([1.0, 1.0, 0.5, 2.0]))
    task = Segmentation(CLASSES, dice=0.7, focal=0.3, class_weights=(1.0, 2.0, 0.5))
    network = Pixels(task)
    whole = gradients(Trainee(network, task), batch)
    expected = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    found = gradients(Trainee(network, task), batch, micro_batch=micro)
    assert found.keys() == whole.keys() == {"cross_entropy", "dice", "focal"}
    for name in whole:
        assert float(found[name]) == pytest.approx(float(whole[name]), rel=1e-5)
    for p, wanted in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, wanted, rtol=1e-4, atol=1e-6)


def test_scores_coarser_than_the_image_are_enlarged():
    task, batch = Segmentation(CLASSES), batch_of(2)
    network = Pixels(task, stride=2).eval()
    found = task.predict(network, batch)
    wanted = F.interpolate(network(batch.images), (24, 32), mode="bilinear").softmax(1)
    torch.testing.assert_close(found.probabilities, wanted)
    term = task.loss(network, batch)["cross_entropy"]
    nats = F.nll_loss(wanted.log(), batch.targets.values.long(), ignore_index=255)
    assert float(term.sum.detach() / term.count) == pytest.approx(float(nats), rel=1e-5)


def test_a_margin_cuts_targets_and_mirrors_images():
    task, batch = Segmentation(CLASSES), batch_of(2)
    network = Pixels(task, margin=2).eval()
    term = task.loss(network, batch)["cross_entropy"]
    inside = batch.targets.values[:, 2:-2, 2:-2]
    assert float(term.count) == int((inside != 255).sum())
    found = task.predict(network, batch)
    assert found.probabilities.shape == (2, 3, 24, 32)
    wanted = network(F.pad(batch.images, (2,) * 4, mode="reflect")).softmax(1)
    torch.testing.assert_close(found.probabilities, wanted)
    trained = task.predict(network, batch, network(batch.images))  # as the training metric has it
    torch.testing.assert_close(trained.probabilities, wanted[:, :, 2:-2, 2:-2], atol=1e-5, rtol=1e-4)
    metric = task.train_metric()
    metric.update(trained, PixelClasses(batch.targets.values))
    assert metric.matrix.sum() == int((inside != 255).sum())


def test_mirrored_edge_is_numpy_s_however_wide():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    for margin in (1, 2):
        np.testing.assert_array_equal(mirrored_edge(image, margin)[0, 0], np.pad(image[0, 0], margin, mode="reflect"))
    assert mirrored_edge(image, 9).shape == (1, 1, 21, 22)


class Sloped(nn.Module):
    """Scores that are bright pixels' own, so that a view's answer tells where it looked."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images[:, :1], -images[:, :1], 0 * images[:, :1]], 1)


@pytest.mark.parametrize("views", ["mirror", "shifts", "crops", "ten"])
def test_views_are_brought_back(views):
    """A network that scores each pixel by itself answers alike in every view, but for resampling."""
    task = Segmentation(CLASSES)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 40), indexing="ij")
    image = (torch.sin(2 * x + y) + x)[None, None].expand(2, 3, -1, -1).contiguous()
    batch = make_batch(image, None)
    plain = task.predict(Sloped(), batch)
    found = predict(Sloped(), task, batch, views, torch.no_grad)
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(2, 32, 40))
    off = (found.probabilities - plain.probabilities).abs()
    assert off[..., 2:-2, 2:-2].max() < (1e-6 if views == "mirror" else 0.02)
    assert torch.equal(found.matrices, batch.matrices)


def test_maps_in_a_joint_task_stay_maps():
    """Views are brought back, a few images are shown at once, and what is wrong is ranked, as of the task alone."""
    task = Joint({"fine": Segmentation(CLASSES), "coarse": Segmentation(CLASSES)})
    batch, network = batch_of(3), Pixels(task)
    alone = Segmentation(CLASSES)
    known = {"fine": torch.ones(3).bool(), "coarse": torch.tensor([True, False, True])}
    targets = {name: {"target": batch.targets, "valid": valid} for name, valid in known.items()}
    found = predict(network, task, replace(batch, targets=targets), "mirror", torch.no_grad).parts["coarse"]
    with torch.no_grad():
        own = [
            network.head.of("coarse")(network.maps(images)).softmax(1)
            for images in (batch.images, batch.images.flip(-1))
        ]
    torch.testing.assert_close(found.probabilities, (own[0] + own[1].flip(-1)) / 2)
    assert task.dense and not Joint({"kind": Classification(("a", "b"))}).dense
    assert found.sizes.dtype == batch.sizes.dtype and torch.equal(found.matrices, batch.matrices)
    kept, truth = task.condensed(JointPredictions({"fine": found, "coarse": found}), targets)
    ranked, wanted = task.rankings(kept, truth), alone.rankings(*alone.condensed(found, batch.targets))
    assert list(ranked) == [f"{name}: {kind}" for name in known for kind in wanted]
    for kind, errors in wanted.items():
        torch.testing.assert_close(ranked[f"fine: {kind}"], errors, equal_nan=True)
        assert ranked[f"coarse: {kind}"][1].isnan() and not (errors[1].isnan() and kind == "background")


@pytest.mark.parametrize("function", [partial(unet_plain, width=4, depth=2), partial(unet, encoder=resnet8)])
def test_a_classifier_beside_masks_reads_the_mean_of_the_coarsest_map(function):
    """Of a network whose own head scores pixels; the network itself is left as it is."""
    network = function(classes=2, input=(3, 16, 16))
    head = Joint({"kind": Classification(("a", "b")), "mask": Segmentation(CLASSES)}).head(network)
    maps = network.eval().maps(torch.rand(2, 3, 16, 16))
    layer = head.of("kind")[-1]
    torch.testing.assert_close(head(maps)["kind"], maps[-1].mean((2, 3)) @ layer.weight.T + layer.bias)
    assert head.eval()(maps)["mask"].shape == (2, 3, 16, 16) and network.head(maps).shape == (2, 2, 16, 16)
    own = resnet8(classes=2, input=(3, 16, 16))
    alone, beside = Classification(("a", "b")), Joint({"kind": Classification(("a", "b"))})
    assert repr(beside.head(own).of("kind")) == repr(alone.head(own))


def test_many_networks_are_averaged_alike():
    """Each of five counts the same, whatever its size; how unsure they are together and apart, by hand."""
    each = [torch.rand(2, 3, side, side).softmax(1) for side in (12, 6, 12, 4, 12)]
    matrices = [torch.diag(torch.tensor([p.shape[2] / 12, p.shape[2] / 12, 1.0])).expand(2, 3, 3) for p in each]
    together = Together(Segmentation(CLASSES))
    for p, matrix in zip(each, matrices, strict=True):
        together.add(SegmentationPredictions(p, matrix, torch.tensor([[12, 12]] * 2)))
    large = [F.interpolate(p, (12, 12), mode="bilinear") for p in each]
    mean = sum(large) / 5
    found = together.mean()
    torch.testing.assert_close(found.probabilities, mean, atol=1e-5, rtol=1e-5)
    assert found.sizes.tolist() == [[12, 12]] * 2 and torch.equal(found.matrices, matrices[0])
    entropy = [-(p * p.log()).sum(1).mean((1, 2)) for p in (mean, *each)]
    torch.testing.assert_close(together.entropy(), entropy[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together.information(), entropy[0] - sum(entropy[1:]) / 5, atol=1e-5, rtol=1e-4)


def test_images_are_scored_in_their_own_pixels():
    """A network at a third of the size; the truth stands in source pixels."""
    task = Segmentation(CLASSES)
    truth = torch.zeros(60, 90, dtype=torch.uint8)
    truth[:, 45:] = 1
    truth[:6] = 255
    scores = torch.full((1, 3, 20, 30), -9.0)
    scores[:, 0, :, :15] = scores[:, 1, :, 15:] = 9.0
    found = SegmentationPredictions(
        scores.softmax(1), torch.diag(torch.tensor([1 / 3, 1 / 3, 1.0]))[None], torch.tensor([[60, 90]])
    )
    metric = task.metric()
    metric.update(found, PixelClasses(torch.zeros(1, 20, 30, dtype=torch.uint8), (truth,)))
    assert metric.matrix.sum() == 54 * 90 and metric.compute()["miou"] == 1.0


def test_two_networks_of_different_sizes_are_averaged():
    fine = torch.rand(1, 3, 12, 12).softmax(1)
    coarse = torch.rand(1, 3, 4, 4).softmax(1)
    size = torch.tensor([[12, 12]])
    one = SegmentationPredictions(fine, torch.eye(3)[None], size)
    other = SegmentationPredictions(coarse, torch.diag(torch.tensor([1 / 3, 1 / 3, 1.0]))[None], size)
    found = SegmentationPredictions.mean([one, other]).probabilities
    wanted = (fine + F.interpolate(coarse, (12, 12), mode="bilinear")) / 2
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_what_is_kept_of_a_batch_tells_the_same():
    task, batch = Segmentation(CLASSES, dice=1.0), batch_of()
    with torch.no_grad():
        found = task.predict(Pixels(task), batch)
    kept, truth = task.condensed(found, batch.targets)
    whole, short = task.metric(), task.metric()
    whole.update(found, batch.targets)
    short.update(kept.take(torch.tensor([0, 1])), truth[:2])
    other = task.metric()
    other.update(kept.take(torch.tensor([2, 3])), truth[2:])
    short.merge(other.state())
    assert whole.compute() == pytest.approx(short.compute(), rel=1e-6, nan_ok=True)
    assert torch.equal(task.scores(found, batch.targets), task.scores(kept, truth))
    for row in range(4):
        assert task.describe(found, row)["prediction"] == task.describe(kept, row)["prediction"]
        assert task.truth(batch.targets, row) == task.truth(truth, row)
    wanted = 1 - np.nanmean(iou(kept.confusion.numpy()), 1)
    np.testing.assert_allclose(task.scores(kept, truth), wanted, rtol=1e-6)


def test_the_truth_in_words():
    task = Segmentation(("sky", "road", "car", "tree"))
    values = torch.tensor([[[1, 1, 1, 1, 1], [0, 0, 0, 2, 3]]], dtype=torch.uint8)
    assert task.truth(PixelClasses(values), 0) == "road 50 %, sky 30 %, car 10 %, 1 more"


def test_masks_with_a_background_give_the_classes():
    data = shapes(count=6, size=32, classes=3).with_splits({"train": np.arange(6)})
    task = Segmentation(data.classes)
    task.accepts(data)
    fitted = task.fitted(data, np.arange(6))
    assert fitted.classes == ("background", *data.classes) and fitted.width == 4
    weighed = Segmentation(data.classes, balance=True).fitted(data, np.arange(6))
    pixels = sum(np.bincount(data.annotations["mask"].read(i).ravel(), minlength=256)[:4] for i in range(6))
    present = pixels > 0
    np.testing.assert_allclose(
        np.array(weighed.class_weights)[present], pixels.sum() / (present.sum() * pixels[present]), rtol=1e-9
    )


def test_what_it_refuses():
    with pytest.raises(UserError, match="all 0"):
        Segmentation(CLASSES, cross_entropy=0.0)
    with pytest.raises(UserError, match="dice"):
        Segmentation(CLASSES, dice=-1.0)
    with pytest.raises(UserError, match="a class for every pixel"):
        Segmentation(CLASSES).accepts(shapes(count=2, size=16, kind="labels"))
    with pytest.raises(UserError, match="dense_head"):
        Segmentation(CLASSES).head(nn.Conv2d(3, 3, 1))
