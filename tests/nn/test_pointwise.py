"""A 1×1 convolution, and what stands in for it where a CPU learns in bfloat16."""

import pytest
import torch
from torch import nn

from hubel.nn.pointwise import Pointwise


@pytest.mark.parametrize("shape", [(2, 4096, 2, 2), (3, 40, 5, 3)])
def test_learning_in_bfloat16_has_the_gradients_of_the_convolution(shape, monkeypatch):
    torch.manual_seed(0)
    own, plain = Pointwise(shape[1], 9), nn.Conv2d(shape[1], 9, 1)
    plain.load_state_dict(own.state_dict())
    x = torch.randn(shape)
    xs = [x.clone().contiguous(memory_format=torch.channels_last).requires_grad_() for _ in range(2)]
    weights = torch.randn(shape[0], 9, *shape[2:])
    wanted = plain(xs[0])
    (wanted * weights).sum().backward()
    torch.testing.assert_close(own.eval()(x), wanted)
    monkeypatch.setattr(nn.Conv2d, "forward", None)  # the kernel that writes beyond its memory is not called
    with torch.autocast("cpu", torch.bfloat16):
        found = own.train()(xs[1])
    (found.float() * weights).sum().backward()
    pairs = [(found, wanted), (own.weight.grad, plain.weight.grad), (own.bias.grad, plain.bias.grad)]
    for a, b in [*pairs, (xs[1].grad, xs[0].grad)]:
        assert (a.float() - b).norm() < 0.01 * b.norm()
