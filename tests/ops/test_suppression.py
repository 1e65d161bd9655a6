"""Non-maximum suppression against a slow loop; classes apart; nothing, equals, one on another."""

import pytest
import torch

from hubel.ops.suppression import suppress


def area(a):
    return max(0.0, a[2] - a[0]) * max(0.0, a[3] - a[1])


def overlap(a, b):
    common = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return common / (area(a) + area(b) - common)


def slow(boxes, scores, most, labels):
    """Every box against every better one that was kept, in words."""
    order = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        if all(overlap(boxes[i], boxes[k]) <= most or labels[i] != labels[k] for k in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("most", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("classes", [1, 3])
def test_against_a_slow_loop(most, classes):
    torch.manual_seed(0)
    corner, side = torch.rand(60, 2, dtype=torch.float64) * 20, torch.rand(60, 2, dtype=torch.float64) * 10 + 20
    boxes = torch.cat([corner, corner + side], 1)
    scores = (torch.rand(60, dtype=torch.float64) * 20).round()  # many are equal
    labels = torch.randint(classes, (60,))
    found = suppress(boxes, scores, most, labels)
    assert found.tolist() == slow(boxes.tolist(), scores.tolist(), most, labels.tolist())
    assert (len(found) < 60) == (most < 1)
    if classes == 1:
        assert torch.equal(found, suppress(boxes, scores, most))


def test_the_same_box_twice_and_no_box():
    box = torch.tensor([[0.0, 0, 4, 4]])
    assert suppress(box.repeat(3, 1), torch.tensor([0.1, 0.9, 0.9])).tolist() == [1]
    assert suppress(box.repeat(2, 1), torch.ones(2), labels=torch.tensor([0, 1])).tolist() == [0, 1]
    empty = suppress(box[:0], torch.empty(0))
    assert empty.shape == (0,) and empty.dtype == torch.int64
