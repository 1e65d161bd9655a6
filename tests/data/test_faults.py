"""Each planted fault is named with its file and line, and nothing else is; geometry against slow loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubel.data.faults import object_faults, sound
from hubel.data.images import PackedNames
from hubel.data.objects import Objects, Skeleton
from hubel.data.ragged import Ragged
from hubel.data.rings import ring_areas, self_crossing

SIZES = np.array([[100, 200], [50, 50], [0, 0]])  # height, width; the last can't be read
POINT = np.empty((0, 2), np.float32)
SQUARE = [[10.0, 10], [20, 10], [20, 20], [10, 20]]
BOWTIE = [[10.0, 10], [20, 20], [20, 10], [10, 20]]
nan, inf = np.nan, np.inf


def scene(boxes, images=None, rings=None, **columns):
    m = len(boxes)
    if rings is not None:
        nested = [[np.array(ring, np.float32) for ring in one] for one in rings]
        columns["outlines"] = Ragged.pack_nested(nested, POINT)
    columns.setdefault("labels", np.arange(m))
    columns.setdefault("lines", np.arange(1, m + 1) * 10)
    boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    objects = Objects.unsorted(np.array(images or [0] * m), len(SIZES), boxes=boxes, **columns)
    return Objects(**{f: getattr(objects, f) for f in objects.__dataclass_fields__} | {"files": FILES})


FILES = PackedNames.pack(["a.txt", "b.txt", "c.txt"])


def named(objects):
    return [(f.kind, f.file, f.line, f.severity) for f in object_faults(objects, SIZES, "image{}.jpg".format)]


BAD_BOXES = [
    ((0, 0, nan, 5), "not a number", "error"),
    ((0, 0, inf, 5), "not a number", "error"),
    ((nan, nan, nan, nan), "not a number", "error"),
    ((30, 10, 20, 40), "inverted box", "error"),
    ((20, 40, 30, 10), "inverted box", "error"),
    ((20, 10, 20, 40), "zero area", "error"),
    ((20, 10, 30, 10), "zero area", "error"),
    ((200, 10, 220, 20), "outside image", "error"),
    ((-20, 10, 0, 20), "outside image", "error"),
    ((10, 100, 20, 120), "outside image", "error"),
    ((-5, 10, 20, 20), "outside image", "warning"),
    ((10, 10, 201.5, 20), "outside image", "warning"),
    ((10, 10, 20, 101.5), "outside image", "warning"),
]


@pytest.mark.parametrize(("box", "kind", "severity"), BAD_BOXES)
def test_bad_boxes(box, kind, severity):
    objects = scene([(1, 1, 5, 5), box, (3, 3, 9, 9)])
    assert named(objects) == [(kind, "a.txt", 20, severity)]
    assert sound(objects, SIZES).tolist() == [True, severity == "warning", True]


def test_good_boxes_and_unknown_sizes():
    edges = [(0, 0, 200, 100), (-1, -1, 201, 101), (0, 0, 0.5, 0.5)]
    assert named(scene(edges)) == []
    assert named(scene([(500, 500, 600, 600)], images=[2])) == []  # nobody knows how large the image is


def test_which_image_is_named():
    objects = scene([(0, 0, 60, 10), (0, 0, 60, 10)], images=[1, 0])
    finding, *rest = object_faults(objects, SIZES, "image{}.jpg".format)
    assert not rest and (finding.image, finding.file, finding.line) == (1, "b.txt", 10)
    assert "beyond the image of 50 x 50 pixels (image image1.jpg)" in finding.reason


def test_unknown_class_and_repeats():
    boxes = [(1, 1, 5, 5)] * 3 + [(1, 1, 6, 5)]
    objects = scene(boxes, labels=np.array([0, 0, 1, -1]), ids=np.array([4, 5, 4, -1]))
    assert named(objects) == [
        ("unknown class", "a.txt", 40, "error"),
        ("duplicate object", "a.txt", 20, "warning"),
        ("duplicate id", "a.txt", 30, "warning"),
    ]


@pytest.mark.parametrize(
    ("ring", "kind"),
    [
        (BOWTIE, "self-crossing polygon"),
        (SQUARE[:2], "degenerate polygon"),
        ([[1, 1], [2, 2], [3, 3]], "degenerate polygon"),
        ([[10, 10], [210, 10], [10, 20]], "outside image"),
        ([[10, 10], [nan, 10], [10, 20]], "not a number"),
    ],
)
def test_bad_outlines(ring, kind):
    box = (5, 5, 30, 30)
    objects = scene([box, box, box], rings=[[SQUARE], [SQUARE, ring], []], labels=np.arange(3))
    assert [fault[:3] for fault in named(objects)] == [(kind, "a.txt", 20)]


def test_an_outline_needs_no_box():
    assert named(scene([[nan] * 4], rings=[[SQUARE]])) == []


def test_run_lengths_must_fill_the_image():
    runs = Ragged.pack([np.array([2400, 100]), np.array([2400, 99]), np.array([], int)], np.empty(0, np.uint32))
    objects = scene([(0, 0, 9, 9), (0, 0, 8, 8), (0, 0, 7, 7)], images=[1, 1, 1], runs=runs)
    assert named(objects) == [("mask of another size", "b.txt", 20, "error")]


def test_keypoints():
    good = [[10, 10, 2], [250, 10, 0], [200.5, 100.5, 1]]  # one that is not labelled may lie anywhere
    poses = np.array([good, [[10, 10, 2], [250, 10, 1], [3, 3, 2]], [[1, 1, 3], *good[1:]]], np.float32)
    objects = scene([(0, 0, 9, 9), (0, 0, 8, 8), (0, 0, 7, 7)], keypoints=poses, skeleton=Skeleton(("a", "b", "c")))
    assert [fault[:3] for fault in named(objects)] == [
        ("outside image", "a.txt", 20),
        ("unknown visibility", "a.txt", 30),
    ]


def test_nothing_is_no_fault():
    assert named(scene(np.empty((0, 4)), labels=np.empty(0, np.int64), lines=np.empty(0, np.int64))) == []


coordinates = st.integers(0, 12).map(float)
polygons = st.lists(st.lists(st.tuples(coordinates, coordinates), max_size=7), max_size=5)


def orient(p, q, r):
    return np.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))


def crosses(ring):
    edges = [(ring[i], ring[(i + 1) % len(ring)]) for i in range(len(ring))]
    return any(
        orient(a, b, c) * orient(a, b, d) < 0 and orient(c, d, a) * orient(c, d, b) < 0
        for a, b in edges
        for c, d in edges
    )


@given(polygons)
def test_rings_against_loops(rings):
    packed = Ragged.pack([np.array(ring, np.float32).reshape(-1, 2) for ring in rings], POINT)
    assert self_crossing(packed).tolist() == [crosses(ring) for ring in rings]
    areas = []
    for ring in rings:
        pairs = zip(ring, ring[1:] + ring[:1], strict=True)
        areas.append(abs(sum(x * w - v * y for (x, y), (v, w) in pairs)) / 2)
    np.testing.assert_allclose(ring_areas(packed), areas)


def test_long_rings_in_blocks(monkeypatch):
    """A circle of 300 points doesn't cross itself; with two points exchanged it does."""
    angle = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    turned = circle.copy()
    turned[[100, 103]] = turned[[103, 100]]
    monkeypatch.setattr("hubel.data.rings.AT_ONCE", 1000)
    assert self_crossing(Ragged.pack([circle, turned, circle], np.empty((0, 2)))).tolist() == [False, True, False]
    assert ring_areas(Ragged.pack([circle + 1e6], np.empty((0, 2)))) == pytest.approx(np.pi, rel=1e-3)
