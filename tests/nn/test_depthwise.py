"""A depthwise convolution and its gradients, against the library's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel.nn.depthwise import depthwise, speed_up_depthwise

CASES = [(3, 2, 0), (3, 2, 1), (5, 1, 0), (5, 1, 2), (5, 2, 0), (5, 2, 1), (5, 2, 2)]  # filter, stride, padding


def parts(size, height, width, kind=torch.float64):
    torch.manual_seed(height)
    x = torch.randn(2, 3, height, width).to(kind).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_(), torch.randn(3, 1, size, size).to(kind).requires_grad_()


@pytest.mark.parametrize(("height", "width"), [(8, 9), (7, 6), (5, 5), (13, 8)])
@pytest.mark.parametrize(("size", "stride", "padding"), CASES)
def test_gradients_are_those_of_the_library(size, stride, padding, height, width):
    x, weight = parts(size, height, width)
    theirs = F.conv2d(x, weight, None, stride, padding, 1, 3)
    ours = depthwise(x, weight, stride, padding)
    assert torch.equal(ours, theirs)
    gradient = torch.randn_like(theirs)
    for a, b in zip(*(torch.autograd.grad(y, (x, weight), gradient) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 2, 1), (5, 2, 2), (5, 1, 2)])
def test_gradcheck(size, stride, padding):
    x, weight = parts(size, 6, 5)
    torch.autograd.gradcheck(lambda x, w: depthwise(x, w, stride, padding), (x, weight))
    torch.autograd.gradgradcheck(lambda x, w: depthwise(x, w, stride, padding), (x, weight))


def test_networks_take_it_in_bfloat16_only():
    torch.manual_seed(0)
    slow = nn.Conv2d(8, 8, 5, 2, 2, groups=8, bias=False)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), slow, nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.Conv2d(8, 4, 1))
    images = torch.randn(2, 3, 20, 20)

    def gradients(bf16):
        layers.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found = layers(images)
        found.float().square().sum().backward()
        used = "Depthwise" in str(_names(found.grad_fn))
        return used, found.detach().float(), slow.weight.grad.clone()

    before = {bf16: gradients(bf16) for bf16 in (False, True)}
    assert speed_up_depthwise(layers) == 1
    after = {bf16: gradients(bf16) for bf16 in (False, True)}
    assert [before[False][0], before[True][0], after[False][0], after[True][0]] == [False, False, False, True]
    assert torch.equal(before[False][1], after[False][1]) and torch.equal(before[False][2], after[False][2])
    assert torch.equal(before[True][1], after[True][1])
    torch.testing.assert_close(
        before[True][2], after[True][2], rtol=2e-2, atol=2e-2 * float(after[True][2].abs().max())
    )
    with torch.no_grad():
        assert torch.equal(layers(images), before[False][1])


def _names(node):
    return [] if node is None else [node.name(), *(name for below, _ in node.next_functions for name in _names(below))]
