"""A map on the image: against a slow loop over pixels; identity; parts that the network didn't see."""

import numpy as np
import pytest

from hubel.data.preprocess import Preprocess
from hubel.explain.maps import Axis, spread


def slow(values, axes, seen, matrix, shape):
    out = np.full(shape, np.nan)
    for y in range(shape[0]):
        for x in range(shape[1]):
            u, v, _ = matrix @ [x + 0.5, y + 0.5, 1]
            if not (0 <= u <= seen[1] and 0 <= v <= seen[0]):
                continue
            i = min(max((v - axes[0].start) / axes[0].jump, 0), values.shape[0] - 1)
            j = min(max((u - axes[1].start) / axes[1].jump, 0), values.shape[1] - 1)
            i0, j0 = int(i), int(j)
            i1, j1 = min(i0 + 1, values.shape[0] - 1), min(j0 + 1, values.shape[1] - 1)
            above = values[i0, j0] * (1 - (j - j0)) + values[i0, j1] * (j - j0)
            below = values[i1, j0] * (1 - (j - j0)) + values[i1, j1] * (j - j0)
            out[y, x] = above * (1 - (i - i0)) + below * (i - i0)
    return out


@pytest.mark.parametrize("policy", ["crop", "letterbox", "stretch"])
@pytest.mark.parametrize("shape", [(40, 70), (20, 11)])
def test_against_a_slow_loop(policy, shape):
    values = np.random.default_rng(0).normal(size=(4, 5))
    axes, prepared = (Axis(0.5, 8), Axis(3, 6)), Preprocess((32, 32), 3, policy=policy)
    matrix = prepared.matrix(*shape)
    found = spread(values, axes, (32, 32), matrix, shape)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow(values, axes, (32, 32), matrix, shape), atol=1e-5)
    assert np.isnan(found).any() == (policy == "crop")


def test_cells_as_large_as_pixels_stay_what_they_are():
    values = np.arange(12.0).reshape(3, 4)
    found = spread(values, (Axis.stretched(3, 3), Axis.stretched(4, 4)), (3, 4), np.eye(3), (3, 4))
    np.testing.assert_array_equal(found, values)
