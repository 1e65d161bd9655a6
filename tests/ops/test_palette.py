"""Colours of classes: how far apart, the same on pages and in pictures, which pixels of an image they reach."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from hubel.ops.palette import COLOURS, PALETTE, colours_of, compared, css, overlay, plain_class
from hubel.report.draw import FAINT, mask_uri

IMAGE = np.full((2, 2, 3), 100, np.uint8)
LABELS = np.array([[0, 1], [2, 255]], np.uint8)


def test_each_class_has_its_colour_and_no_class_none():
    found = overlay(IMAGE, LABELS)
    for (row, column), k in np.ndenumerate(LABELS):
        wanted = [100] * 3 if k == 255 else [round(40 + 0.6 * c) for c in PALETTE[k]]
        assert found[row, column].tolist() == wanted


def test_the_hue_is_that_of_the_class_whatever_colour_the_photo_has():
    blue, grey = np.array([[[0, 0, 200]]], np.uint8), np.full((1, 1, 3), round(0.114 * 200), np.uint8)
    label = np.array([[1]], np.uint8)
    assert abs(overlay(blue, label).astype(int) - overlay(grey, label)).max() <= 1
    assert (overlay(blue, label + 254) == blue).all(), "what has no class keeps its colour"


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


# Can they be told apart? Matrices of Machado et al. 2009, table 1 at severity 1, on linear RGB
EYES = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen(colours, eyes):
    """(N, 3) in 0 … 255 -> (N, 3) CIELAB."""
    colour = pytest.importorskip("skimage.color")
    stored = np.asarray(colours) / 255
    linear = np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)
    return colour.xyz2lab(np.clip(linear @ np.array(EYES[eyes]).T, 0, 1) @ colour.colorconv.xyz_from_rgb.T)


def nearest(a, b):
    """The smallest CIEDE2000 of two different classes, one from each side."""
    from skimage.color import deltaE_ciede2000

    return float((deltaE_ciede2000(a[:, None], b[None]) + np.eye(len(a)) * 100).min())


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize(("count", "least"), [(4, 37.2), (8, 13.5), (12, 12.7), (24, 8.8), (40, 6.5)])
def test_any_two_colours_are_apart_for_the_colour_blind_too(eyes, count, least):
    lab = seen(PALETTE[:count], eyes)
    assert nearest(lab, lab) > (21.8 if eyes == "normal" and count == 12 else least)


@pytest.mark.parametrize(
    ("eyes", "same", "other"),
    [("normal", 16.3, 11.4), ("protanopia", 9.7, 3.5), ("deuteranopia", 8.3, 3.3), ("tritanopia", 9.2, 6.2)],
)
def test_twelve_classes_are_apart_over_dark_and_bright_photos(eyes, same, other):
    """`same`: over the same part of a photo; `other`: over parts of another lightness."""
    labels = np.arange(12, dtype=np.uint8)[None]
    over = [seen(overlay(np.full((1, 12, 3), grey, np.uint8), labels)[0], eyes) for grey in (45, 125, 210)]
    assert min(nearest(lab, lab) for lab in over) > same
    assert min(nearest(over[i], over[j]) for i, j in ((0, 1), (1, 0), (1, 2), (2, 1))) > other


def test_every_class_of_a_mask_has_a_colour_of_its_own():
    assert COLOURS == len(set(PALETTE)) == 255 and (0, 0, 0) not in PALETTE
    found = colours_of(np.arange(256, dtype=np.uint8)[None])[0]
    assert found[:255].tolist() == [list(colour) for colour in PALETTE] and not found[255].any()


def test_pages_have_the_same_colours():
    rules = dict(re.findall(r"\.k(\d+)\{--k:([\d ]+)\}", css()))
    assert rules == {str(k): " ".join(map(str, colour)) for k, colour in enumerate(PALETTE)}
    mask = np.array([[0, 14], [255, 3]], np.uint8)
    stream = io.BytesIO(base64.b64decode(mask_uri(mask).partition(",")[2]))
    picture = np.asarray(Image.open(stream).convert("RGBA"))
    for place, k in np.ndenumerate(mask):
        assert picture[place][3] == (0 if k == 255 else FAINT)
        assert k == 255 or picture[place][:3].tolist() == list(PALETTE[k])
