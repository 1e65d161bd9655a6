"""Losses of pixels against loops, and with checked gradients; what is ignored adds nothing."""

import numpy as np
import pytest
import torch

from hubel.ops.pixel_losses import PerImage, cross_entropy, dice, term

B, K, H, W = 3, 4, 5, 6


def example() -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    scores = torch.randn(B, K, H, W, generator=draws, dtype=torch.float64)
    targets = torch.randint(0, 3, (B, H, W), generator=draws).to(torch.uint8)  # class 3 never
    targets[0, :2] = 255
    targets[2] = 255
    return scores, targets


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_cross_entropy_and_focal_loss_are_those_of_a_loop(gamma):
    scores, targets = example()
    c = torch.tensor([1.0, 0.5, 3.0, 1.0], dtype=torch.float64)
    w = torch.rand(B, H, W, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = cross_entropy(scores, targets, gamma=gamma, class_weights=c, pixel_weights=w)
    p = scores.softmax(1).numpy()
    for b in range(B):
        total = count = 0.0
        for y, x in np.ndindex(H, W):
            k = int(targets[b, y, x])
            if k != 255:
                own = p[b, k, y, x]
                total += float(c[k] * w[b, y, x]) * (1 - own) ** gamma * -np.log(own)
                count += float(c[k] * w[b, y, x])
        assert float(found.sums[b]) == pytest.approx(total)
        assert float(found.counts[b]) == pytest.approx(count)
    assert float(found.sums[2]) == float(found.counts[2]) == 0.0


def test_dice_is_that_of_a_loop_over_the_classes_of_each_image():
    scores, targets = example()
    found = dice(scores, targets)
    p, known = scores.softmax(1).numpy(), (targets != 255).numpy()
    for b in range(B):
        values = []
        for k in range(K):
            g = (targets[b] == k).numpy()
            if g.any():
                own = p[b, k] * known[b]
                values.append(1 - (2 * (own * g).sum() + 1) / (own.sum() + g.sum() + 1))
        assert float(found.sums[b]) == pytest.approx(sum(values))
        assert float(found.counts[b]) == len(values)


def test_dice_is_zero_for_the_truth_itself():
    _, targets = example()
    sure = torch.nn.functional.one_hot(torch.where(targets == 255, 3, targets).long(), K).permute(0, 3, 1, 2) * 80.0
    assert float(dice(sure, targets).sums.abs().max()) < 1e-6


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "dice"])
def test_gradients(name):
    scores, targets = example()
    ways = {"cross_entropy": cross_entropy, "focal": lambda s, t: cross_entropy(s, t, gamma=2.0), "dice": dice}
    part = scores[:1, :3, :3, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: ways[name](s, targets[:1, :3, :3]).sums, part)


def test_ignored_pixels_send_nothing_back():
    scores, targets = example()
    scores.requires_grad_()
    both = cross_entropy(scores, targets).sums.sum() + dice(scores, targets).sums.sum()
    both.backward()
    ignored = (targets == 255)[:, None].expand_as(scores)
    assert scores.grad[ignored].abs().max() == 0 and scores.grad[~ignored].abs().min() > 0


def test_a_sure_focal_loss_has_a_finite_gradient():
    scores = torch.zeros(1, 2, 1, 1, requires_grad=True)
    sure = cross_entropy(
        scores * 0 + torch.tensor([80.0, -80.0]).view(1, 2, 1, 1) + scores, torch.zeros(1, 1, 1).byte(), gamma=0.5
    )
    sure.sums.sum().backward()
    assert torch.isfinite(scores.grad).all()


def test_an_image_of_weight_zero_adds_not_even_nan():
    found = PerImage(torch.tensor([1.0, float("nan"), 4.0]), torch.tensor([2.0, 3.0, 4.0]))
    own = term(found, torch.tensor([1.0, 0.0, 0.5]), 0.3)
    assert (float(own.sum), float(own.count), own.weight) == (3.0, 4.0, 0.3)
