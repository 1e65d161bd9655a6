"""Mixing: pairs that stay together, shares that are the pixels' own, against a loop over images and pixels."""

import numpy as np
import pytest
import torch

from hubel.data.mixing import Mixing, mix, partners
from hubel.errors import UserError

SLOTS, SIZE = np.arange(64), (12, 16)


def images(count: int = 64) -> torch.Tensor:
    return torch.rand(count, *SIZE, 3, generator=torch.Generator().manual_seed(0)).permute(0, 3, 1, 2)


def test_partners():
    np.testing.assert_array_equal(partners(np.arange(4, 10)), [1, 0, 3, 2, 5, 4])
    np.testing.assert_array_equal(partners(np.arange(4, 9)), [1, 0, 3, 2, 4])  # the odd one stays alone
    np.testing.assert_array_equal(partners(np.arange(3, 7)), [0, 2, 1, 3])  # so do those cut off from theirs
    np.testing.assert_array_equal(partners(np.array([6, 2, 7, 3, 9])), [2, 3, 0, 1, 4])  # in any order


@pytest.mark.parametrize("mixing", [Mixing(mixup=0.4), Mixing(cutmix=1.0), Mixing(mixup=1.0, cutmix=1.0, mixed=0.7)])
@pytest.mark.parametrize("slots", [SLOTS, np.arange(63)])
def test_mixing_equals_the_loop(mixing, slots):
    batch = images(len(slots))
    pairs = mixing.draw(0, 1, slots, SIZE)
    before = batch.clone()
    mixed = mix(batch, pairs)
    torch.testing.assert_close(batch, before, rtol=0, atol=0)
    for i in range(len(slots)):
        loop, other = before[i].clone(), before[pairs.partner[i]]
        loop = pairs.blend[i] * loop + (1 - pairs.blend[i]) * other
        x0, y0, x1, y1 = pairs.boxes[i]
        loop[:, y0:y1, x0:x1] = other[:, y0:y1, x0:x1]
        torch.testing.assert_close(mixed[i], loop.float())
        pasted = (x1 - x0) * (y1 - y0) / (12 * 16)
        assert pairs.share[i] == pytest.approx(1 - pasted if pasted else pairs.blend[i])
        assert 0.45 <= pairs.share[i] <= 1  # a pasted rectangle is rounded to whole pixels
    assert not pairs.plain


def test_draws_belong_to_slots():
    mixing = Mixing(mixup=0.4, cutmix=1.0)
    whole, part = mixing.draw(0, 1, SLOTS, SIZE), mixing.draw(0, 1, SLOTS[20:40], SIZE)
    np.testing.assert_array_equal(whole.share[20:40], part.share)
    np.testing.assert_array_equal(whole.boxes[20:40], part.boxes)
    np.testing.assert_array_equal(whole.partner[20:40] - 20, part.partner)
    alone = Mixing(mixup=0.4).draw(0, 1, SLOTS, SIZE)
    rows = whole.blend < 1
    np.testing.assert_array_equal(whole.blend[rows], alone.blend[rows])  # CutMix beside it changes no mixup
    assert 0.3 < rows.mean() < 0.7


def test_shares():
    many = np.arange(4000)
    some = Mixing(mixup=1.0, mixed=0.25).draw(0, 0, many, SIZE)
    assert (some.share < 1).mean() == pytest.approx(0.25, abs=0.03)
    even = Mixing(mixup=1.0).draw(0, 0, many, SIZE).share
    assert even.min() >= 0.5 and even.mean() == pytest.approx(0.75, abs=0.01)
    boxes = Mixing(cutmix=1.0).draw(0, 0, many, (100, 100)).boxes
    assert boxes.min() == 0 and boxes.max() == 100 and (boxes[:, 2:] >= boxes[:, :2]).all()


def test_images_without_a_partner_stay():
    pairs = Mixing(mixup=1.0).draw(0, 0, SLOTS, SIZE).without(SLOTS < 32)
    mixed = mix(images(), pairs)
    assert torch.equal(mixed[:32], images()[:32]) and not torch.equal(mixed[32:], images()[32:])
    nothing = pairs.without(SLOTS >= 0)
    batch = images()
    assert nothing.plain and mix(batch, nothing) is batch


def test_options():
    assert Mixing().plain and Mixing(mixup=0.2, mixed=0).plain and not Mixing(cutmix=1).plain
    for wrong in ({"mixup": -1}, {"cutmix": 99}, {"mixed": 2}):
        with pytest.raises(UserError):
            Mixing(**wrong)
