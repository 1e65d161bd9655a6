"""Joints as numbers and as heat maps: against loops, in source pixels, through mirrors, learnt by heart."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_parts import make_batch
from torch import nn

from hubel.data.augment import Augment
from hubel.data.cutouts import cut_out
from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.data.loader import Loader
from hubel.data.objects import Objects, Skeleton
from hubel.data.preprocess import Preprocess
from hubel.data.shapes import shapes
from hubel.errors import UserError
from hubel.metrics.pose import posed
from hubel.models.joint_votes import JointVotes
from hubel.models.resnet_cifar import resnet8
from hubel.tasks.heatmap import HeatMap, peaks_of
from hubel.tasks.joints_seen import PosePredictions
from hubel.tasks.pose import Pose
from hubel.training.evaluate import predict
from hubel.training.step import value
from hubel.training.views import crop, mirrored
from hubel.types import Boxes

H, W = 24, 32
FOUND = {"names": ("left", "right", "nose"), "edges": ((0, 1),), "swaps": (1, 0, 2), "sigmas": (0.05,) * 3}
POINTS = torch.tensor([[[4.0, 6, 2], [20, 9, 1], [0, 0, 0]], [[30, 2.5, 2], [0, 0, 0], [11, 20, 2]]])
TASKS = {"pose": Pose(**FOUND), "squared": HeatMap(error="squared", **FOUND), "cross_entropy": HeatMap(**FOUND)}


def packed(points=POINTS, count=3, source=True):
    """Objects in the first and the third image; none in the second."""
    n = len(points)
    box = torch.tensor([[0.0, 0, W, H]]).expand(n, 4)
    labels, flags = torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.uint8)
    one = Boxes(box, labels, torch.tensor([0, 2][:n]), flags, count, keypoints=points)
    return replace(one, source=one) if source else one


class Fixed(nn.Module):
    """Answers the same, whatever it sees."""

    strides, margin = (), 0

    def __init__(self, outputs, margin=0):
        super().__init__()
        self.outputs, self.margin = nn.Parameter(outputs), margin

    def forward(self, images):
        return self.outputs


def batch(**options):
    return make_batch(torch.zeros(3, 3, H, W), packed(**options))


def rows():
    """(3, 3, 3) joints of the images."""
    return posed(packed(), 3).joints


# What outputs mean ----------------------------------------------------------------------------------------------


def test_numbers_are_fractions_of_what_is_seen():
    z = (rows()[..., :2] / torch.tensor([W, H])).flatten(1)
    found = TASKS["pose"].predict(Fixed(z), batch())
    torch.testing.assert_close(found.joints, rows()[..., :2])


@pytest.mark.parametrize("error", ["squared", "cross_entropy"])
@pytest.mark.parametrize(("size", "margin"), [((H // 2, W // 2), 0), ((H // 4, W // 2), 0), ((H - 4, W - 4), 2)])
def test_a_bump_is_found_again_between_the_cells(error, size, margin):
    task = HeatMap(error=error, sigma=0.06, **FOUND)
    maps = task.bumps(torch.zeros(3, 3, *size), posed(packed(), 3), (H, W), margin)
    outputs = maps if error == "squared" else maps.clamp(min=1e-30).log()
    found = task.predict(Fixed(outputs, margin), batch())
    known = rows()[..., 2] > 0
    known[2, 0] = False  # at the border, where a cell's neighbour is missing
    torch.testing.assert_close(found.joints[known], rows()[..., :2][known], atol=0.02, rtol=0)
    cell = (W - 2 * margin) / size[1]
    assert (found.joints[2, 0, 0] - 30).abs() <= cell
    if error == "squared":
        assert (found.confidence[known] > 0.5).all()


def test_bumps_are_gaussians_in_pixels():
    task, size = HeatMap(sigma=0.1, **FOUND), (H // 2, W // 4)
    maps = task.bumps(torch.zeros(3, 3, *size), posed(packed(), 3), (H, W), 0)
    sigma = max(0.1 * W, 4)
    for b, j, y, x in ((0, 0, 3, 1), (0, 1, 4, 5), (2, 2, 11, 7)):
        u, v = (x + 0.5) * 4, (y + 0.5) * 2
        far = (u - rows()[b, j, 0]) ** 2 + (v - rows()[b, j, 1]) ** 2
        assert maps[b, j, y, x] == pytest.approx(float(torch.exp(-far / (2 * sigma**2))), rel=1e-5)


def test_peaks_at_the_border_and_in_flat_maps():
    maps = torch.zeros(1, 2, 4, 5)
    maps[0, 0, 0, 4] = 1
    places, heights = peaks_of(maps, maps)
    assert places.tolist() == [[[4.5, 0.5], [0.5, 0.5]]]
    assert heights.tolist() == [[1, 0]]


@pytest.mark.parametrize("name", TASKS)
def test_the_loss_is_a_loop_over_labelled_joints(name):
    task = TASKS[name]
    torch.manual_seed(0)
    outputs = torch.randn(3, 6) if name == "pose" else torch.randn(3, 3, H // 2, W // 2)
    weights = torch.tensor([0.5, 1.0, 2.0])
    one = replace(batch(), weights=weights)
    term = task.loss(Fixed(outputs), one)["joints"]
    total, count = 0.0, 0.0
    for b in range(3):
        for j in range(3):
            x, y, v = rows()[b, j].tolist()
            if not v:
                continue
            if name == "pose":
                far = (outputs[b, 2 * j : 2 * j + 2] - torch.tensor([x / W, y / H])).abs()
                own = torch.where(far < 0.05, far**2 / 0.1, far - 0.025).sum()
            else:
                u, t = (torch.arange(n) * 2.0 + 1 for n in (W // 2, H // 2))
                bump = torch.exp(-((t[:, None] - y) ** 2 + (u - x) ** 2) / (2 * 2.0**2))
                s = outputs[b, j]
                if name == "squared":
                    own = ((s - bump) ** 2).sum() / (torch.pi * 2.0**2 / 4)
                else:
                    own = -(bump / bump.sum() * s.flatten().log_softmax(0).view_as(s)).sum()
            total, count = total + float(weights[b] * own), count + float(weights[b])
    assert float(term.sum.detach()) == pytest.approx(total, rel=1e-4)
    assert float(term.count) == pytest.approx(count)
    metric = task.metric()
    metric.update(task.predict(Fixed(outputs), one), one.targets, weights)
    assert metric.compute()["loss"] == pytest.approx(total / count, rel=1e-4)


@pytest.mark.parametrize("name", TASKS)
def test_joints_that_are_not_labelled_teach_nothing(name):
    task = TASKS[name]
    network = Fixed(torch.randn(3, 6) if name == "pose" else torch.randn(3, 3, H // 2, W // 2))
    value(task.loss(network, batch())["joints"]).backward()
    grad = network.outputs.grad.view(3, 3, -1).abs().sum(-1)
    assert ((grad > 0) == (rows()[..., 2] > 0)).all()


@pytest.mark.parametrize("name", TASKS)
def test_places_are_exact_under_bf16_autocast(name):
    task = TASKS[name]
    outputs = torch.rand(3, 6) if name == "pose" else torch.rand(3, 3, H // 2, W // 2)
    shift = torch.tensor([[1.0, 0, 1000], [0, 1, 2000], [0, 0, 1]]).expand(3, 3, 3)
    one = replace(batch(), matrices=shift)
    plain = task.predict(Fixed(outputs), one)
    with torch.autocast("cpu", torch.bfloat16):
        found, term = task.predict(Fixed(outputs), one), task.loss(Fixed(outputs), one)["joints"]
    torch.testing.assert_close(found.joints, plain.joints, rtol=0, atol=0)
    assert all(array.dtype == np.float32 for array in found.arrays().values())
    assert term.sum.dtype == torch.float32
    assert torch.isfinite(term.sum)


@pytest.mark.parametrize("name", TASKS)
def test_predictions_in_a_training_batch_stay_where_its_targets_are(name):
    task = TASKS[name]
    outputs = torch.rand(3, 6) if name == "pose" else torch.rand(3, 3, H // 2, W // 2)
    zoom = torch.diag(torch.tensor([2.0, 4.0, 1.0])).expand(3, 3, 3)
    judged = task.predict(Fixed(outputs), replace(batch(), matrices=zoom))
    learnt = task.predict(Fixed(outputs), replace(batch(source=False), matrices=zoom))
    torch.testing.assert_close(judged.joints, learnt.joints / torch.tensor([2.0, 4.0]))
    assert learnt.error is None


# Mirrors --------------------------------------------------------------------------------------------------------


class Sorter(nn.Module):
    """Knows two bright dots, and calls the one further left in the picture "left", the third joint between them."""

    strides = ()

    def __init__(self, dense=False):
        super().__init__()
        self.dense = dense

    def forward(self, images):
        bright = images[:, 0]
        found = []
        for one in bright:
            at = torch.nonzero(one > 0.5).float()
            xs = sorted({float(x) for x in at[:, 1]})
            low, high = (at[at[:, 1] == x].mean(0) + 0.5 for x in (xs[0], xs[-1]))
            found.append(torch.stack([low.flip(0), high.flip(0), (low + high).flip(0) / 2]))
        joints = torch.stack(found)
        if not self.dense:
            return (joints / torch.tensor([images.shape[3], images.shape[2]])).flatten(1)
        points = torch.cat([joints, torch.full_like(joints[..., :1], 2)], -1)
        return TASKS["squared"].bumps(torch.zeros(len(joints), 3, *images.shape[2:]), _row(points), (H, W), 0)


def _row(points):
    boxes = torch.zeros(len(points), 4)
    return type(posed(packed(), 3))(points, boxes, boxes[:, 0])


@pytest.mark.parametrize("name", ["pose", "squared"])
def test_a_mirrored_view_is_brought_back_with_left_and_right_exchanged(name):
    images = torch.zeros(2, 3, H, W)
    images[0, :, 5, 4] = images[0, :, 9, 20] = images[1, :, 12, 7] = images[1, :, 3, 30] = 1
    task, seen, network = TASKS[name], make_batch(images, None), Sorter(name != "pose")
    plain = task.predict(network, seen)
    torch.testing.assert_close(plain.joints[0, :2], torch.tensor([[4.5, 5.5], [20.5, 9.5]]), atol=0.01, rtol=0)
    view = task.predict(network, mirrored(seen))
    torch.testing.assert_close(view.joints, plain.joints, atol=0.01, rtol=0)
    if view.confidence is not None:
        torch.testing.assert_close(view.confidence, plain.confidence, atol=0.01, rtol=0)
    averaged = predict(network, task, seen, "mirror", torch.no_grad)
    torch.testing.assert_close(averaged.joints, plain.joints, atol=0.01, rtol=0)


@pytest.mark.parametrize("name", ["pose", "squared"])
def test_the_loss_of_a_view_is_that_of_the_joints_as_it_shows_them(name):
    images = torch.zeros(3, 3, H, W)
    for k, (x, y) in enumerate(((4, 5), (20, 9), (7, 12), (30, 3))):
        images[2 * (k // 2), :, y, x] = 1
    images[1] = images[0]
    points = torch.tensor(
        [[[4.5, 5.5, 2], [20.5, 9.5, 2], [12.5, 7.5, 2]], [[7.5, 12.5, 2], [30.5, 3.5, 2], [19, 8, 2]]]
    )
    task, seen = TASKS[name], make_batch(images, packed(points))
    for view in (seen, mirrored(seen)):
        error = task.predict(Sorter(name != "pose"), view).error
        torch.testing.assert_close(error[[0, 2]], torch.zeros(2, 3), atol=1e-4, rtol=0)
        assert error[1].isnan().all()
    outputs = torch.rand(3, 6) if name == "pose" else torch.rand(3, 3, H, W)
    cut = task.predict(Fixed(outputs), crop(seen, 0, 0)).error  # what lies at x = 30.5 is beyond it
    assert cut.isnan().tolist() == [[False] * 3, [True] * 3, [False, True, False]]


def test_views_count_by_their_confidence():
    one = PosePredictions(torch.tensor([[[1.0, 1.0]]]), torch.tensor([[0.9]]))
    other = PosePredictions(torch.tensor([[[3.0, 3.0]]]), torch.tensor([[0.1]]))
    found = PosePredictions.mean([one, other])
    torch.testing.assert_close(found.joints, torch.tensor([[[1.2, 1.2]]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.confidence, torch.tensor([[0.5]]))
    plain = PosePredictions.mean([replace(one, confidence=None), replace(other, confidence=None)])
    assert plain.joints.tolist() == [[[2.0, 2.0]]]


@pytest.mark.parametrize(
    "skeleton", [Skeleton(("left_eye", "right_eye", "nose")), Skeleton(("a", "b", "c"), (), (1, 0, 2))]
)
def test_flips_of_training_images_exchange_left_and_right(skeleton):
    """By name (COCO), and by the pairs that a file says (flip_idx of YOLO)."""
    pixels = np.zeros((1, 16, 16, 3), np.uint8)
    pixels[0, 5, 3] = 255, 0, 0
    pixels[0, 5, 12] = 0, 255, 0
    points = np.array([[[3.5, 5.5, 2], [12.5, 5.5, 1], [8, 12, 2]]], np.float32)
    objects = Objects(
        np.array([0, 1]), boxes=np.array([[0.0, 0, 16, 16]]), labels=np.zeros(1, np.int64), keypoints=points,
        skeleton=skeleton,
    )  # fmt: skip
    data = Dataset("two", ArrayImages(pixels), {"objects": objects}, ("face",), {"train": np.array([0])})
    task = Pose(whole=True).fitted(data, np.array([0]))
    assert task.swaps == (1, 0, 2)
    preprocess = Preprocess.choose(data)
    loader = Loader(data, lambda i: task.targets(data, i), preprocess, augment=Augment(flip="random"), seed=0)
    kinds = set()
    for epoch in range(12):
        one = next(iter(loader.batches(np.array([0]), epoch, 1)))
        red = torch.nonzero(one.images[0, 0] == one.images[0, 0].max())[0].flip(0) + 0.5
        kept, joints = red[0] < 8, one.targets.keypoints[0]
        kinds.add(bool(kept))
        red_is = 0 if kept else 1  # the left eye of a mirrored face is a right one
        torch.testing.assert_close(joints[red_is, :2], red.float())
        assert joints[:, 2].tolist() == ([2, 1, 2] if kept else [1, 2, 2])
    assert kinds == {True, False}


# A training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [Pose(), Pose(votes=False), HeatMap()], ids=["votes", "pooled", "heatmap"])
def test_one_batch_can_be_overfitted(task, one_thread):
    torch.manual_seed(0)
    whole = shapes(8, 32, kind="detection", most=1).with_splits({"train": np.arange(8)})
    data = task.examples(whole)
    assert task.examples(data) is data
    task = task.fitted(data, np.arange(8))
    network = resnet8(classes=task.width, input=(3, 32, 32), widths=(8, 16, 32), pool="average", logit_scale=1.0)
    network.head = task.head(network)
    task.prepare(network, data, np.arange(8))
    preprocess = Preprocess.choose(data, size=32).with_statistics((0.5,) * 3, (0.25,) * 3)
    one = next(iter(Loader(data, lambda i: task.targets(data, i), preprocess).batches(np.arange(8), 0, 8)))
    descent = torch.optim.Adam(network.parameters(), 0.01)
    steps = 80
    schedule = torch.optim.lr_scheduler.LinearLR(descent, 1, 0.01, steps)
    for _ in range(steps):
        descent.zero_grad()
        value(task.loss(network, one)["joints"]).backward()
        descent.step()
        schedule.step()
    metric = task.metric()
    metric.update(task.predict(network, one), one.targets)  # batch norm as in training: one batch is all there is
    found = metric.compute()
    assert found["pck"] > 0.95, found
    assert found["oks"] > 0.8, found


def test_votes_of_joints_are_a_mean_of_places_and_offsets():
    torch.manual_seed(0)
    head, x = JointVotes(3, 2).eval(), torch.randn(2, 3, 2, 3)
    with torch.no_grad():
        found = head([x]).view(2, 2, 2)
        votes = head.votes((head.near(x) + head.whole(x.mean((2, 3)))[:, :, None, None]).relu())
        for b in range(2):
            for j in range(2):
                share = votes[b, j].flatten().softmax(0).view(2, 3)
                place = torch.zeros(2)
                for row in range(2):
                    for column in range(3):
                        own = torch.tensor([(column + 0.5) / 3, (row + 0.5) / 2])
                        offset = torch.stack([votes[b, 2 + j, row, column], votes[b, 4 + j, row, column]])
                        place += share[row, column] * (own + offset)
                torch.testing.assert_close(found[b, j], place)


# Words, pictures, refusals --------------------------------------------------------------------------------------


def test_words_and_pictures():
    task = TASKS["squared"]
    found = PosePredictions(rows()[:1, :, :2], torch.tensor([[0.5, 0.25, 0.0]]))
    told = task.describe(found, 0)
    assert told["joints"][1] == {"name": "right", "x": 20.0, "y": 9.0, "confidence": 0.25}
    assert told["prediction"] == "left (4, 6), right (20, 9), nose (0, 0)"
    assert task.truth(packed(), 0) == "left (4, 6), right (20, 9)"
    assert task.truth(packed(), 1) == "no joint"
    image = np.zeros((H, W, 1), np.uint8)
    drawn = task.draw(image, PosePredictions(rows()[:1, :, :2] + 8), packed(POINTS[:1], 1))
    assert drawn.shape == (H, W, 3)
    assert not image.any()
    assert drawn[6, 4].tolist() == [255, 255, 255]
    assert drawn[14, 12].tolist() == [230, 159, 0]
    assert drawn[14:18, 20].any() and drawn[6:10, 12].any()  # bones between left and right


def test_right_means_every_labelled_joint_and_scores_are_distances():
    task = TASKS["pose"]
    near = PosePredictions(rows()[..., :2] + 0.1)
    far = PosePredictions(rows()[..., :2] + torch.tensor([W * 0.2, 0.0]))
    assert task.right(near, packed()).tolist() == [True, True, True]
    assert task.right(far, packed()).tolist() == [False, True, False]
    torch.testing.assert_close(task.scores(far, packed()), torch.tensor([0.2, 0.0, 0.2]))
    mixed = PosePredictions(torch.cat([near.joints[:1], far.joints[1:]]))
    metric = task.metric()
    metric.update(mixed, packed())
    above, below = task.ratio(mixed, packed())
    share = float(above.sum() / below.sum())
    assert 0 < share < 1 and metric.compute()["pck"] == pytest.approx(share)
    assert below.tolist() == (rows()[..., 2] > 0).sum(1).tolist()


def test_what_it_refuses():
    data = shapes(3, 32, seed=2, kind="detection", most=5)
    with pytest.raises(UserError, match="several objects with joints"):
        Pose(whole=True).accepts(data)
    with pytest.raises(UserError, match="needs objects with keypoints"):
        Pose().accepts(shapes(3, 32, kind="counts"))
    bare = replace(data, annotations={"objects": replace(data.annotations["objects"], keypoints=np.empty(0))})
    with pytest.raises(UserError, match="have no keypoints"):
        HeatMap().accepts(bare)
    with pytest.raises(UserError, match=r"knows 3 joints \(left, right, nose.*have 5"):
        TASKS["pose"].accepts(data)
    with pytest.raises(UserError, match="one of squared, cross_entropy"):
        HeatMap(error="squard")
    cut = cut_out(data, np.ones(data.annotations["objects"].count, bool), 0.25)
    with pytest.raises(UserError, match="left_shoulder and right_hip"):
        Pose(reference="torso").fitted(cut, np.arange(2))
