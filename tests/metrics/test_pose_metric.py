"""Poses: the similarity of COCO's own tool, shares of right joints against a loop, what takes no part."""

import json
import math
from pathlib import Path

import pytest
import torch

from hubel.errors import UserError
from hubel.metrics.pose import COCO_SIGMAS, Posed, Poses, oks, posed, sizes_by
from hubel.predictions import Predictions
from hubel.types import Boxes, Term

ORACLE = json.loads(Path(__file__).with_name("pose_oracle.json").read_text())
NAMES = ("left_shoulder", "right_hip", "left_ear", "right_ear")
torch.manual_seed(0)
N = 9
POINTS = torch.cat([torch.rand(N, 4, 2) * 40, torch.randint(0, 3, (N, 4, 1)).float()], -1)
BOXES = torch.cat([torch.rand(N, 2) * 5, 10 + torch.rand(N, 2) * 30], -1)
FOUND = POINTS[..., :2] + torch.randn(N, 4, 2) * 3
WEIGHTS = torch.linspace(0, 2, N)


class Answer(Predictions):
    def __init__(self, joints):
        object.__setattr__(self, "joints", joints)


def truth():
    sides = BOXES[:, 2:] - BOXES[:, :2]
    return Posed(POINTS, BOXES, sides.prod(1))


def metric(threshold=0.1, size="box", loss=lambda p, t, w: None):
    return Poses(NAMES, (0.05,) * 4, threshold, sizes_by(size, NAMES), lambda targets: targets, loss)


def part(rows):
    whole = truth()
    return Answer(FOUND[rows]), Posed(whole.joints[rows], whole.boxes[rows], whole.areas[rows]), WEIGHTS[rows]


def test_similarity_is_that_of_pycocotools():
    people = torch.tensor(ORACLE["truth"], dtype=torch.float64)
    areas = torch.tensor(ORACLE["areas"], dtype=torch.float64)
    known = Posed(people, torch.zeros(len(people), 4), areas)
    found = torch.tensor(ORACLE["found"], dtype=torch.float64)
    got = oks(found, known, torch.tensor(COCO_SIGMAS, dtype=torch.float64))
    torch.testing.assert_close(got, torch.tensor(ORACLE["oks"], dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert max(ORACLE["oks"]) > 0.99
    assert min(ORACLE["oks"]) < 0.2


@pytest.mark.parametrize("size", ["box", "torso", "head", "left_ear-right_hip"])
def test_right_joints_are_those_of_a_loop(size):
    hits, joints = [0.0] * 4, [0.0] * 4
    pairs = {"torso": (0, 1), "head": (2, 3), "left_ear-right_hip": (2, 1)}
    for i in range(N):
        x0, y0, x1, y1 = BOXES[i].tolist()
        length = max(x1 - x0, y1 - y0)
        if size in pairs:
            a, b = pairs[size]
            if POINTS[i, a, 2] == 0 or POINTS[i, b, 2] == 0:
                continue
            length = math.dist(POINTS[i, a, :2], POINTS[i, b, :2])
        for j in range(4):
            if POINTS[i, j, 2] > 0:
                w = float(WEIGHTS[i])
                joints[j] += w
                hits[j] += w * (math.dist(POINTS[i, j, :2], FOUND[i, j]) <= 0.2 * length)
    judged = metric(0.2, size)
    judged.update(*part(slice(None)))
    got = judged.compute()
    assert 0 < sum(hits) < sum(joints)
    assert got["pck"] == pytest.approx(sum(hits) / sum(joints))
    for j, name in enumerate(NAMES):
        assert got[f"pck.{name}"] == pytest.approx(hits[j] / joints[j]), name


def test_hidden_joints_are_counted_apart_and_unlabelled_ones_nowhere():
    known = Posed(torch.tensor([[[0.0, 0, 1], [0, 0, 2], [0, 0, 0], [0, 0, 1]]]), torch.tensor([[0.0, 0, 10, 10]]),
                  torch.tensor([100.0]))  # fmt: skip
    judged = metric()
    judged.update(Answer(torch.tensor([[[0.5, 0], [9, 9], [torch.nan, 9], [9, 9]]])), known)
    got = judged.compute()
    assert got["pck"] == pytest.approx(1 / 3)
    assert got["pck.hidden"] == pytest.approx(1 / 2)
    assert math.isnan(got["pck.left_ear"])
    assert 0 < got["oks"] < 1


def test_it_streams_merges_and_comes_back():
    loss = lambda p, t, w: Term((w * p.joints[:, 0, 0]).sum(), w.sum())  # noqa: E731
    whole, first, second, back = (metric(loss=loss) for _ in range(4))
    whole.update(*part(slice(None)))
    first.update(*part(slice(0, 4)))
    second.update(*part(slice(4, None)))
    back.update(*part(slice(0, 2)))  # forgotten by load
    back.load(first.state())
    back.merge(second.state())
    assert back.compute() == pytest.approx(whole.compute(), nan_ok=True)
    assert whole.compute()["loss"] == pytest.approx(float((WEIGHTS * FOUND[:, 0, 0]).sum() / WEIGHTS.sum()))


def test_that_saw_nothing_computes():
    found = metric().compute()
    assert math.isnan(found["pck"])
    assert math.isnan(found["oks"])


def test_objects_become_rows_of_their_images():
    objects = Boxes(
        BOXES[:2], torch.zeros(2, dtype=torch.int64), torch.tensor([0, 2]), torch.zeros(2, dtype=torch.uint8), 3,
        keypoints=POINTS[:2], areas=torch.tensor([7.0, torch.nan]),
    )  # fmt: skip
    found = posed(objects, 4)
    torch.testing.assert_close(found.joints, torch.stack([POINTS[0], torch.zeros(4, 3), POINTS[1]]))
    assert found.areas[0] == 7
    sides = BOXES[1, 2:] - BOXES[1, :2]
    assert found.areas[2] == pytest.approx(float(sides.prod()))
    assert found.boxes[1].isnan().all()
    assert found.areas[1].isnan()


@pytest.mark.parametrize(
    ("word", "said"),
    [("torso", "left_shoulder and right_hip"), ("tors", "Did you mean|did you mean|torso"), ("a-b", "two joints")],
)
def test_a_reference_that_means_nothing_is_named(word, said):
    with pytest.raises(UserError, match=said):
        sizes_by(word, ("nose", "tail"))
