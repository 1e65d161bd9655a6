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


# Can they be told apart? Matrices of Machado et al. 2009, table 1 at severity 1, on linear RGB
EYES = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize(("count", "least"), [(8, 15.6), (12, 14.3), (24, 8.8), (40, 6.2)])
def test_any_two_colours_are_apart_for_the_colour_blind_too(eyes, count, least):
    colour = pytest.importorskip("skimage.color")
    stored = np.array(PALETTE[:count]) / 255
    linear = np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(EYES[eyes]).T, 0, 1)
    lab = colour.xyz2lab(seen @ colour.colorconv.xyz_from_rgb.T)
    apart = colour.deltaE_ciede2000(lab[:, None], lab[None]) + np.eye(count) * 100
    assert apart.min() > least, np.unravel_index(apart.argmin(), apart.shape)


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
