"""Local response normalisation by the paper's equation, and torch's factor beside it."""

import pytest
import torch
from torch import nn

from hubel.nn.response_norm import response_norm


def loop(x, size, factor, exponent, shift):
    """Section 3.3: b_i = a_i / (k + α Σ_{j = max(0, i − n/2)}^{min(N − 1, i + n/2)} a_j²)^β."""
    found = torch.empty_like(x)
    for i in range(x.shape[1]):
        first, last = max(0, i - size // 2), min(x.shape[1] - 1, i + size // 2)
        strength = sum(x[:, j] ** 2 for j in range(first, last + 1))
        found[:, i] = x[:, i] / (shift + factor * strength) ** exponent
    return found


@pytest.mark.parametrize("numbers", [(5, 1e-4, 0.75, 2.0), (3, 0.5, 0.5, 1.0)])
def test_it_is_the_papers_equation(numbers):
    x = 30 * torch.randn(2, 7, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(response_norm(*numbers)(x), loop(x, *numbers))


def test_the_defaults_are_the_papers_and_torchs_factor_is_of_the_mean():
    x = 100 * torch.randn(2, 8, 3, 3, dtype=torch.float64)
    expected = loop(x, 5, 1e-4, 0.75, 2.0)
    torch.testing.assert_close(response_norm()(x), expected)
    assert torch.equal(nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)(x), response_norm()(x))
    with_the_papers_number = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2)(x)
    torch.testing.assert_close(with_the_papers_number, loop(x, 5, 1e-4 / 5, 0.75, 2.0))  # a fifth as strong
    assert not torch.allclose(with_the_papers_number, expected, rtol=0.01)


def test_it_has_nothing_to_learn_and_mixes_no_places():
    layer = response_norm()
    assert not list(layer.parameters())
    x = torch.randn(1, 6, 4, 4)
    torch.testing.assert_close(layer(x)[..., 1:3, 2], layer(x[..., 1:3, 2:3])[..., 0])
