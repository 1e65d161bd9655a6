"""Polygons cut by lines and boxes, against a raster of the rule itself and against shapes whose parts are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubel.ops import polygons as p

U = np.array([[-5.0, 5], [20, 5], [20, 15], [-2, 15], [-2, 85], [20, 85], [20, 95], [-5, 95]])  # arms to the right


def holds(rings: list[np.ndarray], points: np.ndarray) -> np.ndarray:
    """(N,) bool by the even-odd rule, ray by ray: an obvious loop."""
    inside = np.zeros(len(points), dtype=bool)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True):
            for k, (x, y) in enumerate(points):
                if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                    inside[k] ^= True
    return inside


def star(rng: np.random.Generator, points: int) -> np.ndarray:
    """A simple, concave ring."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, points))
    radii = rng.uniform(5, 60, points)
    return np.stack([50 + radii * np.cos(angles), 50 + radii * np.sin(angles)], axis=1)


def test_area():
    assert p.area(p.rectangle(np.array([10, 20, 13, 24]))) == 12
    assert p.area(p.rectangle(np.array([10, 20, 13, 24]))[::-1]) == -12
    far = p.rectangle(np.array([1e8, 1e8, 1e8 + 1, 1e8 + 1]))
    assert p.area(far) == 1
    assert p.area(np.zeros((2, 2))) == 0


def test_a_concave_ring_falls_into_its_parts():
    """What Sutherland and Hodgman's clipping would join by an edge along the side; then the box would be too large."""
    rings = p.clip([U], (0, 0, 100, 100))
    assert len(rings) == 2 and p.total_area(rings) == pytest.approx(400)
    boxes = sorted(p.bounds([ring]).tolist() for ring in rings)
    assert boxes == [[0, 5, 20, 15], [0, 85, 20, 95]]
    np.testing.assert_allclose(p.bounds(p.clip([U], (0, 0, 100, 50))), [0, 5, 20, 15])


@given(st.integers(0, 10_000), st.integers(3, 12), st.booleans())
@settings(max_examples=40, deadline=None)
def test_clipping_equals_the_rule(seed, count, crossing):
    """A point is in the clipped rings where it is in the ring and in the box: also of self-crossing rings."""
    rng = np.random.default_rng(seed)
    ring = rng.uniform(0, 100, (count, 2)) if crossing else star(rng, count)
    box = (*rng.uniform(0, 45, 2), *rng.uniform(55, 100, 2))
    points = rng.uniform(0, 100, (60, 2))
    rings = p.clip([ring], box)
    in_box = (points > box[:2]).all(1) & (points < box[2:]).all(1)
    np.testing.assert_array_equal(holds(rings, points), holds([ring], points) & in_box)
    if rings:
        x0, y0, x1, y1 = p.bounds(rings)
        assert x0 >= box[0] - 1e-9 and y0 >= box[1] - 1e-9 and x1 <= box[2] + 1e-9 and y1 <= box[3] + 1e-9


COMB = np.array([[0.0, 0], [50, 0], [50, 10], [30, 10], [50, 20], [80, 20], [80, 30], [50, 40], [0, 40]])
DIAMOND = np.array([[50.0, 0], [80, 30], [50, 60], [20, 30]])
TOUCHING = np.array([[50.0, 0], [80, 0], [80, 60], [50, 60]])  # its side lies on the line


@pytest.mark.parametrize("ring", [COMB, DIAMOND, TOUCHING])
@pytest.mark.parametrize("turned", [False, True])
def test_points_on_the_line(ring, turned):
    """Both sides of a line through corners and along edges add up to the whole."""
    ring = ring[::-1] if turned else ring
    normal, whole = np.array([1.0, 0.0]), abs(p.area(ring))
    sides = p.cut(ring, normal, -50.0), p.cut(ring, -normal, 50.0)
    assert sum(p.total_area(side) for side in sides) == pytest.approx(whole)
    right = p.bounds([part for part in sides[0] if abs(p.area(part)) > 0])
    assert right[0] == 50 and right[2] == 80


def test_inside_stays_and_outside_goes():
    ring = star(np.random.default_rng(0), 8)
    np.testing.assert_array_equal(p.clip([ring], (-100, -100, 200, 200))[0], ring)
    assert p.clip([ring], (200, 200, 300, 300)) == []
    assert np.isnan(p.bounds([])).all()
    flat = np.array([[0.0, 0], [5, 0], [9, 0]])
    assert p.clip([flat], (-1, -1, 10, 10)) == []


def test_refine_keeps_the_shape():
    ring = star(np.random.default_rng(1), 7)
    fine = p.refine(ring, 2.0)
    gaps = np.linalg.norm(np.roll(fine, -1, 0) - fine, axis=1)
    assert gaps.max() <= 2.0 + 1e-9 and p.area(fine) == pytest.approx(p.area(ring))
    assert all((np.abs(fine - point).max(1) < 1e-12).any() for point in ring)
