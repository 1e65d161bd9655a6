"""Colours of classes over an image: which pixels they reach, and that the background keeps its own."""

import numpy as np

from hubel.ops.palette import PALETTE, compared, overlay, plain_class

IMAGE = np.full((2, 2, 3), 100, np.uint8)
LABELS = np.array([[0, 1], [2, 255]], np.uint8)


def test_each_class_has_its_colour_and_no_class_none():
    found = overlay(IMAGE, LABELS)
    for (row, column), k in np.ndenumerate(LABELS):
        wanted = [100] * 3 if k == 255 else [round(50 + c / 2) for c in PALETTE[k]]
        assert found[row, column].tolist() == wanted


def test_the_background_keeps_its_own():
    plain = plain_class(("sky", "background", "road"))
    assert plain == 1 and plain_class(("sky", "road")) is None
    found = overlay(IMAGE, LABELS, plain)
    assert (found[0, 1] == 100).all() and (found[0, 0] != 100).any()
    assert (overlay(IMAGE, LABELS, plain_class(("sky", "road")))[0, 1] != 100).any()


def test_wrong_pixels_stand_out():
    answer = np.array([[0, 0], [2, 0]], np.uint8)
    found = compared(IMAGE, LABELS, answer, plain=0)
    assert found.shape == (2, 3 * 2 + 2 * 2, 3)
    wrong = (found[:, -2:] == np.array([214, 39, 40])).all(2)
    assert wrong.tolist() == [[False, True], [False, False]], "what has no class is never wrong"
    assert (found[0, 4:6] == 100).all(), "the answer is background there"
