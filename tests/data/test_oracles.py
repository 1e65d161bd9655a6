"""hubel's findings against cleanvision's and imagededup's where they measure the same thing.

What the two said of generated images is kept in oracle_results.json, so the comparison runs everywhere; where they are
installed (the extra "oracles"), they are asked again.
"""

import json

import numpy as np
import oracles
import pytest
from oracle_images import FAULTS, copies, made
from PIL import Image

from hubel.data.alike import equal_groups, similar_pairs
from hubel.data.dataset import Dataset
from hubel.data.images import FileImages, PackedNames
from hubel.data.looks import perceptual_print, to_luma
from hubel.data.quality import image_findings
from hubel.data.seen import look_at

TOLD = json.loads(oracles.RESULTS.read_text())
CLEANVISION, IMAGEDEDUP = TOLD["cleanvision"], TOLD["imagededup"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return oracles.save(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def ours(folder):
    """{kind: names}, sets of equal images, pairs that look alike."""
    names = list(made())
    images = FileImages(str(folder), PackedNames.pack([f"{name}.png" for name in names]))
    looks = look_at(images, workers=1).looks
    kinds = {}
    for one in image_findings(Dataset("made", images, {}), looks):
        kinds.setdefault(one.kind, set()).add(one.file.removesuffix(".png"))
    exact = {tuple(sorted(names[i] for i in group)) for group in equal_groups(looks)}
    pairs = {tuple(sorted((names[i], names[j]))) for i, j in similar_pairs(looks).tolist()}
    return kinds, exact, pairs


def planted(what):
    return {name for name in made() if name.startswith(what)}


def test_light_as_cleanvision_sees_it(ours):
    """An image that is nearly white all over is constant here and too light there."""
    kinds = ours[0]
    assert kinds["dark image"] == set(CLEANVISION["dark"]) == planted("dark")
    assert set(CLEANVISION["light"]) == planted("over") <= kinds["overexposed image"] | kinds["constant image"]
    assert kinds["overexposed image"] <= planted("over")


def test_emptiness_as_cleanvision_sees_it(ours):
    assert ours[0]["constant image"] - planted("over") == set(CLEANVISION["low_information"]) == planted("flat")


def test_blur_that_cleanvision_sees_is_seen(ours):
    """It goes by how strong edges are, we by what is missing of them: our list is longer, and no photo is on it."""
    found = ours[0]["blurred image"]
    assert set(CLEANVISION["blurry"]) <= planted("blur") <= found <= planted("blur") | planted("soft")
    assert set(ours[0]) == {"dark image", "overexposed image", "constant image", "blurred image"} and len(FAULTS) == 4


def test_equal_images(ours):
    assert ours[1] == {tuple(one) for one in CLEANVISION["exact"]}


def test_near_duplicates(ours):
    """Images without contrast aside, which the two take for copies of each other and we don't."""
    wanted = {tuple(sorted(pair)) for pair in copies()}
    cleanvision = {tuple(one) for one in CLEANVISION["near"] if one[0] not in planted("flat")}
    imagededup = {tuple(pair) for pair in IMAGEDEDUP["pairs"] if pair[0] not in planted("flat")} - ours[1]
    assert ours[2] == imagededup == wanted
    assert cleanvision < wanted


def test_prints_are_those_of_imagededup():
    """The same bits but for the way of shrinking, areas here, Lanczos there: at most 4 of 63 differ."""
    apart = []
    for name, array in made().items():
        if name not in planted("flat"):
            theirs = np.unpackbits(np.frombuffer(bytes.fromhex(IMAGEDEDUP["prints"][name]), np.uint8))
            mine = np.unpackbits(np.array([perceptual_print(to_luma(array))]).view(np.uint8), bitorder="little")
            apart.append(int((theirs != mine)[1:].sum()))
    assert max(apart) <= 4 and np.mean(apart) <= 1.5


# Asked again -----------------------------------------------------------------------------------------------------


def test_cleanvision_still_says_so(folder):
    pytest.importorskip("cleanvision", reason="the extra 'oracles' is not installed; its answers are kept in a file")
    assert oracles.cleanvision(folder) == CLEANVISION


def test_imagededup_still_says_so(folder):
    pytest.importorskip("imagededup", reason="the extra 'oracles' is not installed; its answers are kept in a file")
    found = oracles.imagededup(folder)
    assert found["prints"] == IMAGEDEDUP["prints"]
    assert {tuple(pair) for pair in found["pairs"]} == {tuple(pair) for pair in IMAGEDEDUP["pairs"]}


def test_files_hold_the_images(folder):
    for name, array in made().items():
        assert np.array_equal(np.asarray(Image.open(folder / f"{name}.png")), array)
