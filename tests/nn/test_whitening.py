"""The stem's outputs are uncorrelated with variance 1 on the images that it was fitted on."""

import torch

from hubel.nn import whitening
from hubel.nn.whitening import WhiteningConv, patches


def images() -> torch.Tensor:
    """Smooth noise: neighbouring pixels and channels are strongly correlated."""
    generator = torch.Generator().manual_seed(0)
    rough = torch.randn(64, 3, 14, 14, generator=generator)
    mix = torch.tensor([[1.0, 0.5, 0.2], [0.1, 1.0, 0.4], [0.3, 0.3, 1.0]])
    return torch.nn.functional.avg_pool2d(torch.einsum("dc,nchw->ndhw", mix, rough), 3, 1) * 3


def test_outputs_are_white():
    x = images()
    layer = WhiteningConv(3, 24, 2)
    layer.fit(x)
    z = layer(x)[:, :12].permute(1, 0, 2, 3).flatten(1).double()
    torch.testing.assert_close(z @ z.T / z.shape[1], torch.eye(12, dtype=torch.float64), atol=0.02, rtol=0)


def test_second_half_is_the_negative_of_the_first_and_fixed():
    layer = WhiteningConv(3, 24, 2)
    layer.fit(images())
    assert torch.equal(layer.weight[12:], -layer.weight[:12])
    assert not layer.weight.requires_grad and layer.bias.requires_grad


def test_strongest_directions_come_first():
    x = images()
    layer = WhiteningConv(3, 4, 2)
    layer.fit(x)
    rows = patches(x, 2).double()
    found = torch.linalg.eigvalsh(rows.T @ rows / len(rows)).flip(0)
    strength = [1 / w.flatten().double().norm() ** 2 for w in layer.weight[:2]]  # a unit vector over the root
    torch.testing.assert_close(torch.stack(strength), found[:2] + 5e-4, rtol=1e-4, atol=0)


def test_patches_are_those_of_a_loop():
    x = images()[:2]
    found = patches(x, 3)
    loop = [x[n, :, i : i + 3, j : j + 3].flatten() for n in range(2) for i in range(10) for j in range(10)]
    torch.testing.assert_close(found, torch.stack(loop))


def test_many_patches_are_thinned_evenly(monkeypatch):
    x = images()[:2]
    everything = patches(x, 2)
    monkeypatch.setattr(whitening, "MOST", 70)
    step = -(-len(everything) // 70)
    assert step == 4
    assert torch.equal(patches(x, 2), everything[::step])
