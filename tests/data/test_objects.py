"""Packed sequences and objects against lists of Python objects."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages, PackedNames
from hubel.data.objects import CROWD, Objects, Skeleton, join
from hubel.data.ragged import Ragged, concat

lists = st.lists(st.lists(st.integers(0, 99), max_size=4), max_size=6)
nested = st.lists(st.lists(st.lists(st.integers(0, 99), max_size=3), max_size=3), max_size=5)
EMPTY = np.empty(0, np.int64)


def unpack(ragged):
    return [unpack(one) if isinstance(one, Ragged) else one.tolist() for one in ragged]


@given(lists, st.data())
def test_take_is_indexing(rows, data):
    packed = Ragged.pack([np.array(row, dtype=np.int64) for row in rows], EMPTY)
    index = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5) if rows else st.just([]))
    assert unpack(packed) == rows
    assert unpack(packed.take(np.array(index, dtype=np.int64))) == [rows[i] for i in index]
    assert packed.counts.tolist() == [len(row) for row in rows]
    assert packed.owners.tolist() == [i for i, row in enumerate(rows) for _ in row]


@given(nested, nested, st.data())
def test_nested_take_and_concat(first, second, data):
    def pack(rows):
        return Ragged.pack_nested([[np.array(ring, dtype=np.int64) for ring in row] for row in rows], EMPTY)

    both = concat([pack(first), pack(second)])
    assert unpack(both) == first + second
    assert both == pack(first + second)
    index = data.draw(st.lists(st.integers(0, len(first + second) - 1), max_size=4) if first + second else st.just([]))
    assert unpack(both.take(np.array(index, dtype=np.int64))) == [(first + second)[i] for i in index]


def test_offsets_must_fit():
    for offsets in ([0, 2], [1, 3], [0, 2, 1, 3], []):
        with pytest.raises(ValueError, match="offsets"):
            Ragged(np.arange(3), np.array(offsets, dtype=np.int64))


@st.composite
def scenes(draw, least=0):
    """Images of objects, each (label, number of rings): the numbers say which object it is."""
    return draw(
        st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=3), min_size=least, max_size=4)
    )


def pack(scene, shuffle=None):
    flat = [(image, label, rings) for image, objects in enumerate(scene) for label, rings in objects]
    numbers = np.arange(len(flat))
    order = numbers if shuffle is None else shuffle(numbers)
    point = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32)
    outlines = [[point + 100 * m + ring for ring in range(flat[m][2])] for m in order]
    return Objects.unsorted(
        np.array([flat[m][0] for m in order], dtype=np.int64),
        len(scene),
        labels=np.array([flat[m][1] for m in order], dtype=np.int64),
        boxes=np.array([[m, m, m + 1.5, m + 2] for m in order], dtype=np.float64).reshape(-1, 4),
        ids=np.array(order, dtype=np.int64),
        outlines=Ragged.pack_nested(outlines, np.empty((0, 2), np.float32)),
    )


def ids(objects):
    return [objects.ids[a:b].tolist() for a, b in zip(objects.offsets[:-1], objects.offsets[1:], strict=True)]


@given(scenes(), st.randoms())
def test_any_order_is_packed_by_image(scene, random):
    def shuffle(numbers):
        order = numbers.tolist()
        random.shuffle(order)
        return np.array(order, dtype=np.int64)

    packed, mixed = pack(scene), pack(scene, shuffle)
    assert [sorted(image) for image in ids(mixed)] == ids(packed)
    for m in range(packed.count):  # every column follows its object
        k = int(np.flatnonzero(mixed.ids == packed.ids[m])[0])
        assert mixed.labels[k] == packed.labels[m]
        assert mixed.outlines[k] == packed.outlines[m]
        assert mixed.boxes[k].tolist() == packed.boxes[m].tolist()


@given(scenes(1), st.data())
def test_take_and_where(scene, data):
    packed = pack(scene)
    index = np.array(data.draw(st.lists(st.integers(0, len(scene) - 1), max_size=5)), dtype=np.int64)
    assert ids(packed.take(index)) == [ids(packed)[i] for i in index]
    keep = packed.labels >= 2
    assert ids(packed.where(keep)) == [[m for m in image if packed.labels[m] >= 2] for image in ids(packed)]
    assert packed.where(keep).outlines == packed.outlines.take(np.flatnonzero(keep))


@given(scenes(1), scenes(1))
def test_join(first, second):
    assert join([pack(first), pack(second)]).digest() == _renumber(pack(first + second), len(pack(first).labels))


def _renumber(whole, cut):
    """What a join gives: the second part's numbers start again from 0."""
    shift = np.where(np.arange(whole.count) < cut, 0, cut)
    rings = Ragged.pack_nested(
        [[ring - 100 * shift[m] for ring in whole.outlines[m]] for m in range(whole.count)],
        np.empty((0, 2), np.float32),
    )
    columns = {"labels": whole.labels, "ids": whole.ids - shift, "boxes": whole.boxes - shift[:, None]}
    return Objects(whole.offsets, **columns, outlines=rings).digest()


def test_columns_must_have_one_value_per_object():
    with pytest.raises(ValueError, match="2 objects but 1 values in 'flags'"):
        Objects(np.array([0, 2]), np.zeros((2, 4)), np.zeros(2, np.int64), flags=np.array([CROWD], np.uint8))
    with pytest.raises(ValueError, match="offsets"):
        Objects(np.array([0, 3]), np.zeros((2, 4)), np.zeros(2, np.int64))


def test_digest_sees_every_column_but_lines():
    base = {"boxes": np.zeros((2, 4)), "labels": np.zeros(2, np.int64)}
    offsets = np.array([0, 1, 2])
    seen = {Objects(offsets, **base).digest()}
    for change in (
        {"boxes": np.ones((2, 4))},
        {"labels": np.array([0, 1])},
        {"flags": np.array([0, CROWD], np.uint8)},
        {"areas": np.array([1.0, 2.0])},
        {"keypoints": np.zeros((2, 3, 3), np.float32)},
        {"skeleton": Skeleton(("a",))},
    ):
        seen.add(Objects(offsets, **(base | change)).digest())
    seen.add(Objects(np.array([0, 2, 2]), **base).digest())
    assert len(seen) == 8
    assert Objects(offsets, **base, lines=np.array([1, 2])).digest() == Objects(offsets, **base).digest()


def test_names_of_annotation_files_follow_their_images():
    files = PackedNames.pack(["a.xml", "", "bä.xml"])
    objects = replace(pack([[(0, 0)], [], [(1, 0), (2, 0)]]), files=files)
    taken = objects.take(np.array([2, 2, 0]))
    assert [taken.files[i].decode() for i in range(3)] == ["bä.xml", "bä.xml", "a.xml"]
    both = join([taken, objects])
    assert [both.files[i].decode() for i in range(6)] == ["bä.xml", "bä.xml", "a.xml", "a.xml", "", "bä.xml"]
    assert join([taken, pack([[]])]).files is None
    with pytest.raises(ValueError, match="names of annotation files"):
        replace(objects, files=files.take(np.array([0])))


def test_skeleton_swaps_left_and_right():
    names = ("nose", "left_eye", "right_eye", "Left ankle", "tail")
    assert Skeleton(names).mirrored().tolist() == [0, 2, 1, 3, 4]  # a left one without a twin stays
    assert Skeleton(("Left Knee", "RIGHT knee")).mirrored().tolist() == [1, 0]
    assert Skeleton(("a", "b"), swaps=(1, 0)).mirrored().tolist() == [1, 0]


def dataset(objects, classes=("cat", "dog", "cow", "pig")):
    images = ArrayImages(np.zeros((len(objects), 4, 4, 3), np.uint8))
    return Dataset("made", images, {"objects": objects}, classes)


def test_a_dataset_carries_objects():
    made = dataset(pack([[(0, 1), (1, 0)], [], [(3, 2)]]))
    assert ids(made.take("objects", np.array([2, 0]))) == [[2], [0, 1]]
    other = dataset(pack([[(0, 1), (1, 0)], [], [(2, 2)]]))
    assert made.hash() != other.hash()
    assert made.hash() == dataset(pack([[(0, 1), (1, 0)], [], [(3, 2)]])).hash()
    renamed = made.with_classes(("pig", "cow", "dog", "cat"))
    assert renamed.annotations["objects"].labels.tolist() == [3, 2, 0]


def test_pickled_memory_does_not_grow_per_object():
    """A worker gets arrays: 100,000 objects with outlines take no more than their numbers."""
    m = 100_000
    objects = Objects(
        np.array([0, m]), np.zeros((m, 4)), np.zeros(m, np.int64),
        outlines=Ragged(Ragged(np.zeros((3 * m, 2), np.float32), np.arange(0, 3 * m + 1, 3)), np.arange(m + 1)),
    )  # fmt: skip
    numbers = m * (4 * 8 + 8 + 3 * 2 * 4 + 8 + 8)
    assert len(pickle.dumps(objects)) < 1.01 * numbers
