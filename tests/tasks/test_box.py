"""The task of one box: against loops and numbers worked out by hand; where boxes lie; what a batch can be taught."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_parts import make_batch
from torch import nn

from hubel.data.augment import Augment
from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.data.largest import labels_of, largest
from hubel.data.loader import Loader
from hubel.data.objects import CROWD, Objects
from hubel.data.preprocess import Preprocess
from hubel.data.shapes import shapes
from hubel.errors import UserError
from hubel.models.edge_votes import EdgeVotes
from hubel.models.resnet_cifar import resnet8
from hubel.ops import boxes as ops
from hubel.tasks.box import ERRORS, Box, BoxPredictions
from hubel.training.evaluate import predict
from hubel.training.step import value
from hubel.training.views import mirrored
from hubel.types import Boxes

SIDE = 20
BOXES = [[2.0, 4.0, 12.0, 10.0], [6.0, 0.0, 20.0, 20.0]]


def packed(boxes=BOXES, image=(0, 2), count=3, source=True):
    """Objects in the first and the third image; none in the second."""
    n = len(boxes)
    labels, flags = torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.uint8)
    one = Boxes(torch.tensor(boxes).view(-1, 4), labels, torch.tensor(image, dtype=torch.int64), flags, count)
    return replace(one, source=one) if source else one


class Fixed(nn.Module):
    """Answers the same, whatever it sees."""

    strides = ()

    def __init__(self, outputs):
        super().__init__()
        self.outputs = nn.Parameter(torch.tensor(outputs))

    def forward(self, images):
        return self.outputs


def batch(**options):
    return make_batch(torch.zeros(3, 3, SIDE, SIDE), packed(**options))


def scenes(**columns):
    boxes = np.array([[0, 0, 4, 4], [1, 1, 9, 9], [0, 0, 10, 10], [5, 5, 5, 9], [2, 2, 6, 6]], np.float64)
    flags = np.array([0, 0, CROWD, 0, 0], np.uint8)
    labels = np.array([1, 0, 1, 1, 1])
    objects = Objects(np.array([0, 3, 4, 4, 5]), boxes, labels, flags=flags)
    pixels = np.zeros((4, 16, 16, 3), np.uint8)
    return Dataset("four", ArrayImages(pixels), {"objects": objects, **columns}, ("cat", "dog"))


def test_the_largest_object_stands_for_an_image_crowds_and_empty_boxes_for_none():
    objects = scenes().annotations["objects"]
    one = largest(objects)
    assert one.boxes.tolist() == [[1, 1, 9, 9], [2, 2, 6, 6]] and one.images.tolist() == [0, 3]
    assert labels_of(objects).tolist() == [0, -1, -1, 1]
    assert Box(presence=False).valid(scenes(), np.arange(4)).tolist() == [True, False, False, True]
    assert Box().fitted(scenes(), np.arange(4)).presence and not Box().fitted(scenes(), np.array([0, 3])).presence
    assert "1 of 4 images" in Box().notes(scenes())[0]
    with pytest.raises(UserError, match=r"1 of 4 images .* show several"):
        Box(several="error").accepts(scenes())


def test_each_loss_against_its_definition():
    z = torch.tensor([[0.5, 0.5, 0.4, 0.6], [0.2, 0.3, 0.1, 0.1]])
    t = torch.tensor([[0.45, 0.5, 0.4, 0.4], [0.8, 0.3, 0.1, 0.3]])
    expected = {name: [] for name in ERRORS}
    for a, b in zip(z.tolist(), t.tolist(), strict=True):
        e = [abs(p - q) for p, q in zip(a, b, strict=True)]
        expected["squared"].append(sum(v**2 for v in e))
        expected["smooth_l1"].append(sum(v**2 / 0.1 if v < 0.05 else v - 0.025 for v in e))
        edges = [torch.tensor([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) for x, y, w, h in (a, b)]
        for name in ("iou", "giou", "diou"):
            expected[name].append(1 - float(getattr(ops, name)(*edges)))
    for name, error in ERRORS.items():
        assert error(z, t).tolist() == pytest.approx(expected[name]), name


def test_the_loss_counts_objects_only_and_is_zero_where_a_batch_has_none():
    outputs = [[0.35, 0.35, 0.5, 0.3], [9.0, 9.0, 9.0, 9.0], [0.65, 0.6, 0.7, 1.0]]
    network, task = Fixed(outputs), Box(error="squared", presence=False)
    terms = task.loss(network, batch(source=False))
    assert set(terms) == {"box"} and float(terms["box"].count) == 2
    assert float(value(terms["box"]).detach()) == pytest.approx(0.1**2 / 2)  # only y of the third is off by a tenth
    empty = task.loss(network, make_batch(torch.zeros(3, 3, SIDE, SIDE), packed([], (), source=False)))
    value(empty["box"]).backward()
    assert float(empty["box"].sum.detach()) == 0 and network.outputs.grad.abs().sum() == 0


def test_presence_is_learnt_from_every_image_and_the_box_from_objects():
    outputs = [[1.0, 0.35, 0.35, 0.5, 0.3], [-2.0, 9.0, 9.0, 9.0, 9.0], [0.0, 0.65, 0.5, 0.7, 1.0]]
    network, task = Fixed(outputs), Box(error="iou", presence=True)
    terms = task.loss(network, batch(source=False))
    nats = [np.log1p(np.exp(-1)), np.log1p(np.exp(-2)), np.log(2)]
    assert float(value(terms["presence"])) == pytest.approx(np.mean(nats))
    assert float(value(terms["box"])) == pytest.approx(0, abs=1e-6)
    found = task.predict(network, batch())
    metric = task.metric()
    metric.update(found, batch().targets)
    assert metric.compute() == pytest.approx(
        {"iou": 0.5, "localisation_error": 0.5, "loss": float(np.mean(nats)), "presence_accuracy": 2 / 3}, abs=1e-5
    )  # p of the third is one half: no object was answered, so its box counts nothing
    assert task.right(found, batch().targets).tolist() == [True, True, False]
    assert task.scores(found, batch().targets).tolist() == pytest.approx([0, 1 / (1 + np.exp(2)), 1], abs=1e-5)
    assert task.describe(found, 1)["prediction"] == task.truth(batch().targets, 1) == "no object"
    assert task.describe(found, 0)["box"] == [2, 4, 12, 10] and task.truth(batch().targets, 0) == "x 2–12, y 4–10"


def test_predictions_are_in_source_pixels_and_cut_at_the_edge():
    network, task = Fixed([[0.5, 0.5, 0.5, 0.25], [0.0, 0.5, 0.5, 2.0], [0.5, 0.5, 0.2, 0.2]]), Box(presence=False)
    zoom = torch.eye(3).repeat(3, 1, 1)
    zoom[0] *= torch.tensor([[0.5], [0.25], [1]])  # the source is twice as wide and four times as high
    zoom[2, 0, 2] = -4  # the left four pixels are cut off
    sizes = torch.tensor([[80, 40], [20, 20], [20, 24]])
    found = task.predict(network, replace(batch(), matrices=zoom, sizes=sizes))
    assert found.boxes[0].tolist() == [10, 30, 30, 50]
    assert found.boxes[1].tolist() == [0, 0, 5, 20]
    assert found.boxes[2].tolist() == pytest.approx([12, 8, 16, 12])
    assert "sizes" not in found.arrays()
    training = task.predict(network, replace(batch(source=False), matrices=zoom, sizes=sizes))
    assert training.boxes[0].tolist() == [5, 7.5, 15, 12.5]  # where the targets of the training are


def test_a_mirrored_view_says_the_same_of_the_image():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 16, 16)

    class Brightest(nn.Module):
        """A box around the brightest pixel: as a network that knows mirrors would answer."""

        def forward(self, x):
            place = x.sum(1).flatten(1).argmax(1)
            centre = torch.stack([place % 16 + 0.5, place // 16 + 0.5], 1) / 16
            return torch.cat([centre, torch.full_like(centre, 0.25)], 1)

    task, batch = Box(presence=False), make_batch(images, None)
    plain = task.predict(Brightest(), batch)
    torch.testing.assert_close(task.predict(Brightest(), mirrored(batch)).boxes, plain.boxes)
    averaged = predict(Brightest(), task, batch, "mirror", torch.no_grad)
    torch.testing.assert_close(averaged.boxes, plain.boxes)


def test_boxes_move_with_augmentation_and_the_network_that_follows_scores_one():
    data = shapes(6, 48, kind="detection", most=1)
    task = Box(presence=False)

    def targets(index):
        return task.targets(data, index)

    preprocess = Preprocess.choose(data, size=32).with_statistics((0.5,) * 3, (0.25,) * 3)
    train = Loader(data, targets, preprocess, augment=Augment(flip="random", shift=3), seed=1)
    plain = Loader(data, targets, preprocess, like=train)
    for loader, evaluated in ((train, False), (plain, True)):
        for epoch in range(2):
            one = next(iter(loader.batches(np.arange(6), epoch, 6)))
            assert (one.targets.source is not None) is evaluated
            z = torch.full((6, 4), 0.5)
            z[one.targets.image] = ops.to_centre(one.targets.boxes / 32)
            metric = task.metric()
            metric.update(task.predict(Fixed(z.tolist()), one), one.targets, one.weights)
            assert metric.compute()["iou"] == pytest.approx(1, abs=1e-4)
            assert float(value(task.loss(Fixed(z.tolist()), one)["box"])) == pytest.approx(0, abs=1e-5)


def test_votes_of_the_edges_are_a_mean_of_places_and_offsets():
    torch.manual_seed(0)
    head, x = EdgeVotes(3, presence=True).eval(), torch.randn(2, 3, 2, 3)
    with torch.no_grad():
        found = head([x])
        hidden = (head.near(x) + head.whole(x.mean((2, 3)))[:, :, None, None]).relu()
        votes = head.votes(hidden)
        edges = torch.zeros(2, 4)
        for b in range(2):
            for k in range(4):
                share = votes[b, k].flatten().softmax(0).view(2, 3)
                for row in range(2):
                    for column in range(3):
                        own = (column + 0.5) / 3 if k % 2 == 0 else (row + 0.5) / 2
                        edges[b, k] += share[row, column] * (own + votes[b, 4 + k, row, column])
    torch.testing.assert_close(found[:, 1:], ops.to_centre(edges))
    assert found.shape == (2, 5)


@pytest.mark.parametrize("votes", [True, False])
def test_one_batch_can_be_overfitted(votes, one_thread):
    torch.manual_seed(0)
    data, task = shapes(8, 32, kind="detection", most=1), Box(votes=votes, presence=False)
    network = resnet8(classes=4, input=(3, 32, 32), widths=(8, 16, 32), pool="average", logit_scale=1.0)
    network.head = task.head(network)
    task.prepare(network, data, np.arange(8))
    preprocess = Preprocess.choose(data).with_statistics((0.5,) * 3, (0.25,) * 3)
    one = next(iter(Loader(data, lambda i: task.targets(data, i), preprocess).batches(np.arange(8), 0, 8)))
    descent = torch.optim.Adam(network.parameters(), 0.003)
    schedule = torch.optim.lr_scheduler.LinearLR(descent, 1, 0.01, 80)
    for _ in range(80):
        descent.zero_grad()
        value(task.loss(network, one)["box"]).backward()
        descent.step()
        schedule.step()
    metric = task.metric()
    metric.update(task.predict(network, one), one.targets)  # batch norm as in training: one batch is all there is
    assert metric.compute()["iou"] > 0.9


def test_a_box_is_drawn_where_it_is():
    image = np.zeros((SIDE, SIDE, 1), np.uint8)
    found = BoxPredictions(torch.tensor([[3.0, 3.0, 8.0, 9.0]]), torch.tensor([[20.0, 20.0]]))
    drawn = Box(presence=False).draw(image, found, packed().take(torch.tensor([0])))
    assert drawn.shape == (SIDE, SIDE, 3) and not image.any()
    assert (drawn[3, 3:8] == (230, 159, 0)).all() and (drawn[8, 3:8] == (230, 159, 0)).all()
    assert (drawn[9, 2:12] == 255).all() and drawn[10, 5].sum() == 0  # the true box, white, its last row


def test_what_it_refuses():
    with pytest.raises(UserError, match="one of squared"):
        Box(error="giuo")
    with pytest.raises(UserError, match="objects with boxes"):
        Box().accepts(replace(scenes(), annotations={"label": np.zeros(4, int)}))
