"""Planted faults of images, copies and classes are named; good data is left alone."""

import cv2
import numpy as np
import pytest
from skimage import data as pictures

from hubel.data.alike import closest, similar_pairs
from hubel.data.dataset import Dataset
from hubel.data.looks import Looks
from hubel.data.quality import class_findings, copy_findings, image_findings, summary

SOURCES = (pictures.astronaut(), pictures.chelsea(), pictures.coffee(), pictures.rocket())


class Listed:
    channels, depth = 3, 8

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def read(self, i):
        return self.images[i]

    def name(self, i):
        return f"{i}.jpg"


def photos(count, seed=0):
    chosen = np.random.default_rng(seed)
    made = []
    for i in range(count):
        source = SOURCES[i % len(SOURCES)]
        y, x = (int(chosen.integers(0, n - 128)) for n in source.shape[:2])
        made.append(np.ascontiguousarray(source[y : y + 128, x : x + 128]))
    return made


def dataset(images, labels=None, splits=None, classes=("cat", "dog")):
    labels = np.zeros(len(images), np.int64) if labels is None else np.array(labels)
    parts = {name: np.array(index) for name, index in (splits or {}).items()}
    return Dataset("made", Listed(images), {"label": labels}, classes, parts)


dot = np.full((128, 128, 3), 250, np.uint8)
dot[60:64, 60:65] = 20
PLANTED = {
    "constant image": np.full((128, 128, 3), 77, np.uint8),
    "near-empty image": dot,
    "dark image": SOURCES[0][:128, :128] // 8,
    "overexposed image": 255 - SOURCES[0][:128, :128] // 14,
    "blurred image": cv2.GaussianBlur(SOURCES[2][100:228, 100:228], (0, 0), 3),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_image_is_named_and_no_other(kind):
    made = dataset([*photos(11), PLANTED[kind], *photos(6, 1)])
    found = image_findings(made, Looks.of(made.images))
    assert [(one.kind, one.file, one.image) for one in found] == [(kind, "11.jpg", 11)]


def test_what_is_true_of_many_is_said_once():
    made = dataset([SOURCES[0][y : y + 128, :128] // 8 for y in range(0, 360, 60)] + photos(12, 1))
    assert [(one.kind, one.severity, one.file) for one in image_findings(made, Looks.of(made.images))] == [
        ("dark image", "note", "")
    ]


def softened(image):
    return cv2.GaussianBlur(image, (0, 0), 0.8)


@pytest.mark.parametrize("change", [np.copy, softened])
def test_copies(change):
    a, b, c, d, *others = photos(10)
    images = [a, b, c, d, *others, change(a), change(b), change(c)]
    near = "near " if change is softened else ""
    splits = {"train": [*range(10), 10], "test": [11, 12]}
    labels = [0] * 10 + [0, 0, 1]
    found = copy_findings(made := dataset(images, labels, splits), Looks.of(made.images))
    assert {(one.kind, one.file) for one in found} == {
        (f"{near}duplicate", "10.jpg"),
        (f"{near}leak", "11.jpg"),
        ("conflicting labels", "12.jpg"),
    }
    leak = next(one for one in found if "leak" in one.kind)
    assert "in test" in leak.reason and "1.jpg in train" in leak.reason and "the score on test" in leak.action


def test_where_all_is_alike_only_the_closest_are_named():
    """300 photos of one scene, each a little further on, and one true copy of another scene."""
    strip = cv2.resize(SOURCES[2], (900, 600))
    scene = [np.clip(strip[200:328, 300 + k // 30 : 428 + k // 30].astype(int) + k % 30, 0, 255).astype(np.uint8)
             for k in range(300)]  # fmt: skip
    rest = photos(40)
    made = dataset([*scene, *rest, np.clip(rest[1] * 1.02, 0, 255).astype(np.uint8)])
    looks = Looks.of(made.images)
    pairs, near = similar_pairs(looks), closest(looks, similar_pairs(looks))
    assert len(pairs) > 200 and [301, 340] in near.tolist() and len(near) < len(pairs)
    note, *found = copy_findings(made, looks)
    assert (note.kind, note.severity) == ("alike", "note") and f"{len(pairs):,} pairs of 341" in note.reason
    assert [(one.other, one.image) for one in found if "looks like" in one.reason] == [tuple(p) for p in near.tolist()]


def test_the_closest_pairs_against_a_loop():
    looks = Looks.of(dataset(photos(12)).images)
    pairs = np.array([[0, 4], [1, 5], [0, 8], [3, 7]])
    small = looks.rows["small"].reshape(12, -1).astype(float)
    small = (small - small.mean(1, keepdims=True)) / small.std(1, keepdims=True)
    apart = [float(np.abs(small[i] - small[j]).mean()) for i, j in pairs.tolist()]
    middle = float(np.median(apart))
    wanted = [pair for pair, d in zip(pairs.tolist(), apart, strict=True) if d < middle]
    assert closest(looks, pairs, middle).tolist() == wanted and len(wanted) == 2


def test_a_copy_without_labels_or_parts_is_a_copy():
    a, b = photos(2)
    made = Dataset("made", Listed([a, b, a]), {})
    assert [one.kind for one in copy_findings(made, Looks.of(made.images))] == ["duplicate"]


def classes_of(train, test):
    """(counts per class in each part) -> findings."""
    labels = [k for counts in (train, test) for k, n in enumerate(counts) for _ in range(n)]
    cut = sum(train)
    names = tuple("abcdefgh"[: len(train)])
    made = dataset([None] * len(labels), labels, {"train": range(cut), "test": range(cut, len(labels))}, names)
    return class_findings(made)


@pytest.mark.parametrize(
    ("train", "test", "kinds"),
    [
        ((100, 100, 100), (30, 30, 30), []),
        ((100, 95, 110), (28, 35, 31), []),
        ((100, 100, 9), (30, 30, 3), ["rare class", "imbalance"]),
        ((400, 40, 100), (120, 12, 30), ["imbalance"]),
        ((399, 40, 100), (120, 12, 30), []),
        ((100, 100, 100), (60, 20, 20), ["class shift"]),
        ((100, 100, 100), (4, 1, 1), []),  # six images say nothing
        ((100, 0, 100), (30, 0, 30), ["rare class"]),
        ((9, 20, 0, 0), (0, 0, 20, 20), []),  # identities: others in each part
        ((90, 20, 0, 0), (1, 0, 20, 20), ["rare class", "class shift"]),
    ],
)
def test_classes(train, test, kinds):
    assert [one.kind for one in classes_of(train, test)] == kinds


def test_numbers_in_the_messages():
    rare, imbalance = classes_of((200, 100, 5), (60, 30, 2))
    assert "'c' (5)" in rare.reason
    assert "'a' has 200 examples, 'c' 5: 40 times" in imbalance.reason
    (shift,) = classes_of((100, 100), (80, 20))
    assert "30%" in shift.reason  # ½ (|0.5 − 0.8| + |0.5 − 0.2|)


def test_several_labels_are_counted():
    many = np.array([[1, 1], [1, np.nan], [1, 0]] * 20, np.float32)
    made = Dataset("made", Listed([None] * 60), {"labels": many}, ("a", "b"), {"train": np.arange(60)})
    assert class_findings(made) == []
    made = Dataset("made", Listed([None] * 15), {"labels": many[:15]}, ("a", "b"), {"train": np.arange(15)})
    assert [one.reason for one in class_findings(made)] == ["fewer than 10 examples to learn from: 'b' (5)"]


def test_summary():
    made = dataset([*photos(3), *photos(3)])
    assert summary(copy_findings(made, Looks.of(made.images))) == {"duplicate": 3}
