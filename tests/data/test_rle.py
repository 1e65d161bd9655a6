"""Run-length masks against pycocotools and against a loop over the pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as peer

from hubel.data import rle
from hubel.data.ragged import Ragged

masks = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.integers(0, 1))
runs = st.lists(st.integers(0, rle.MOST), max_size=30)


def from_text(text):
    found, (fault,) = rle.from_texts([text])
    if fault:
        raise ValueError(fault)
    return found.values


def by_loop(mask):
    """Column after column, pixel by pixel."""
    counts, value = [0], 0
    for pixel in mask.T.ravel():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


@given(masks)
def test_a_mask_and_back(mask):
    counts = rle.encode(mask)
    assert counts.tolist() == by_loop(mask)
    assert counts.dtype == np.uint32
    assert np.array_equal(rle.decode(counts, *mask.shape), mask)
    assert rle.area(counts) == mask.sum()


@given(masks)
def test_text_area_and_box_are_those_of_pycocotools(mask):
    counts = rle.encode(mask)
    theirs = peer.encode(np.asfortranarray(mask))
    assert rle.to_text(counts) == theirs["counts"].decode()
    assert from_text(theirs["counts"]).tolist() == counts.tolist()
    assert rle.area(counts) == peer.area(theirs)
    x, y, w, h = peer.toBbox(theirs)
    assert rle.box(counts, mask.shape[0]) == (x, y, x + w, y + h)


@given(masks)
def test_box_is_that_of_the_pixels(mask):
    y, x = np.nonzero(mask)
    expected = (x.min(), y.min(), x.max() + 1, y.max() + 1) if len(x) else (0, 0, 0, 0)
    found = rle.box(rle.encode(mask), mask.shape[0])
    if (
        mask.any(0).sum() > 1
    ) and found != expected:  # a run over two columns is taken to fill the height, as COCO does
        assert (found[0], found[2]) == (expected[0], expected[2])
        assert (found[1], found[3]) == (0, mask.shape[0])
    else:
        assert found == expected


@given(runs)
def test_any_counts_survive_as_text(counts):
    counts = np.array(counts, dtype=np.uint32)
    assert from_text(rle.to_text(counts)).tolist() == counts.tolist()


@given(st.lists(runs, max_size=8))
def test_many_texts_at_once(rows):
    found, faults = rle.from_texts([rle.to_text(np.array(row, dtype=np.uint32)) for row in rows])
    assert [one.tolist() for one in found] == rows
    assert faults == [""] * len(rows)
    packed = Ragged.pack([np.array(row, dtype=np.uint32) for row in rows], np.empty(0, np.uint32))
    assert rle.areas(packed).tolist() == [sum(row[1::2]) for row in rows]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ab c", "character"), ("é", "character"), ("00\n", "character"), ("0P", "middle"), ("P", "middle"),
        ("0O", "negative"), ("PPPPPPPPPPPPPPP0", "too long"), ("P" * 200 + "0", "too long"), ("PPPPPPP0", "too long"),
    ],
)  # fmt: skip
def test_what_is_no_such_text(text, reason):
    with pytest.raises(ValueError, match=reason):
        from_text(text)


@given(st.lists(st.one_of(st.binary(max_size=20), st.text(max_size=20)), max_size=6))
def test_any_texts_give_counts_or_a_reason_each(texts):
    found, faults = rle.from_texts(texts)
    assert len(found) == len(faults) == len(texts)
    for one, fault, text in zip(found, faults, texts, strict=True):
        if fault:
            assert len(one) == 0
            with pytest.raises(ValueError):
                from_text(text)
        else:
            assert one.tolist() == from_text(text).tolist()


def test_counts_must_fill_the_mask():
    with pytest.raises(ValueError, match="add up to 5, not to 2 x 3 = 6"):
        rle.decode(np.array([2, 3]), 2, 3)
    assert rle.encode(np.zeros((0, 4))).tolist() == []
    assert from_text("").tolist() == []
    assert rle.box(np.array([], np.uint32), 4) == (0, 0, 0, 0)


def test_runs_of_length_zero():
    """Twice a 0 in a row: pycocotools reads them, and so do we."""
    counts = np.array([0, 2, 0, 3, 1], np.uint32)
    assert np.array_equal(
        rle.decode(counts, 2, 3), peer.decode(peer.frPyObjects({"size": [2, 3], "counts": counts.tolist()}, 2, 3))
    )
    assert rle.box(counts, 2) == (0, 0, 3, 2)
    assert rle.box(np.array([3, 0, 3], np.uint32), 2) == (0, 0, 0, 0)
