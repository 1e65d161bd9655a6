"""Everything that is wrong with data is named: planted faults in annotations, malformed files, odd kinds, sizes."""

import collections

import numpy as np
import pytest
from malformed import Case, cases, good, photo, saved
from PIL import Image
from planted import BASES, PLANTED, coco_good, plant, save

from hubel.data.dataset import Dataset
from hubel.data.decode import decode
from hubel.data.formats import open_path
from hubel.data.images import ArrayImages, FileImages, PackedNames
from hubel.data.inspect import SEVERITIES, inspect
from hubel.data.seen import LARGE, look_at, value_shares

OF_CLASSES = {"rare class", "imbalance", "class shift"}  # so few images have these anyway


def found_in(path):
    return [one for one in inspect(open_path(path), workers=1).findings if one.kind not in OF_CLASSES]


def folder_of(root, files):
    """A data set of files without annotations."""
    save(root, files)
    return Dataset("files", FileImages(str(root), PackedNames.pack(list(files))), {}, source=str(root))


# Annotations ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", BASES)
def test_whole_data_has_no_findings(form, tmp_path):
    import json

    files = BASES[form] | ({"annotations.json": json.dumps(coco_good())} if form == "coco" else {})
    data = open_path(save(tmp_path / form, files))
    assert data.format == form
    assert found_in(tmp_path / form) == []


MORE = {  # what else follows from it
    "coco odd polygon": {"degenerate polygon"},
    "coco listed twice": {"duplicate"},
    "coco joints": {"keypoint count"},
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_named(name, tmp_path):
    _, _, kind, file, line = PLANTED[name]
    findings = found_in(plant(tmp_path / "data", name))
    assert (kind, file, line) in {(one.kind, one.file, one.line) for one in findings}, findings
    assert {one.kind for one in findings} - {kind} == MORE.get(name, set())
    assert all(one.reason and one.action and one.severity in SEVERITIES for one in findings)
    assert all(one.settings().get("line") != 0 for one in findings)


def test_there_are_forty_of_them():
    assert len(PLANTED) >= 40
    assert collections.Counter(form for form, *_ in PLANTED.values()).keys() == BASES.keys()


# Files ---------------------------------------------------------------------------------------------------------------


def sample(every=14):
    """About 150 of the 2,000 cases, and every bomb, oddity and impostor."""
    counted = collections.Counter()
    for one in cases():
        sort = f"{one.wanted} {one.origin}" if one.wanted in ("named", "honest", "exact") else one.name
        counted[sort] += 1
        if counted[sort] % every == 1 and ("base" in one.origin or "picture" in one.origin or "colour" in one.origin
                                           or not one.origin or one.wanted == "wrong ending"):  # fmt: skip
            yield one


def test_malformed_files_are_named(tmp_path, capfd):
    made = {one.name: one for one in sample()}
    assert 100 < len(made) < 260
    findings = inspect(folder_of(tmp_path / "files", {n: one.content for n, one in made.items()}), workers=1).findings
    kinds = collections.defaultdict(set)
    for one in findings:
        kinds[one.file].add(one.kind)
    unusable = {one.file for one in findings if one.severity == "error" or one.kind == "decompression bomb"}
    whole = {name: decode(content) for name, content in good().items()}
    for name, one in made.items():
        assert answered(one, kinds[name] | kinds[""], name in unusable, whole), (name, one.wanted, kinds[name])
    assert capfd.readouterr().err == ""  # what decoders say stands in the findings


def answered(one: Case, kinds, unusable, whole):
    if unusable:
        return one.wanted in ("named", "honest", "exact", *kinds)
    if one.wanted == "honest":
        return decode(one.content) is not None  # raises where it is damaged after all
    if one.wanted == "exact":
        return np.array_equal(decode(one.content), whole[one.origin])
    return one.wanted in kinds


def test_what_libtiff_says_is_the_reason(tmp_path):
    files = {one.name: one.content for one in cases() if one.name == "bit17-deflate.tif" or one.origin == "lzw.tif"}
    reasons = look_at(folder_of(tmp_path / "files", files).images, workers=2).faults.values()
    assert any("code" in reason for reason in reasons) and not any("decoder error" in reason for reason in reasons)


def test_a_bomb_is_not_decoded(tmp_path, monkeypatch):
    bombs = {one.name: one.content for one in cases() if one.wanted == "decompression bomb"}
    decoded = []
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: decoded.append(1))
    found = inspect(folder_of(tmp_path / "files", bombs), workers=1)
    assert {one.file for one in found.findings if one.kind == "decompression bomb"} == set(bombs)
    assert not decoded


def test_large_images_are_measured_smaller(tmp_path):
    side = int(np.sqrt(LARGE)) + 200
    gradient = np.linspace(0, 255, side, dtype=np.uint8)
    image = Image.fromarray(np.broadcast_to(gradient, (side, side)))
    files = {"a.jpg": saved(image, "JPEG"), "b.bmp": saved(image, "BMP"), "cut.jpg": saved(image, "JPEG")[:-3000]}
    seen = look_at(folder_of(tmp_path / "files", files).images, workers=2)
    assert seen.looks.sizes[:2].tolist() == [[side, side]] * 2
    np.testing.assert_allclose(seen.rows["mean"][:2], gradient.mean() / 255, atol=0.01)
    assert seen.faults[2].startswith("truncated")


def test_images_that_cannot_be_read_take_no_part(tmp_path):
    files = {f"{k}.jpg": saved(photo(seed=k), "JPEG") for k in range(4)} | {"cut.jpg": saved(photo(), "JPEG")[:900]}
    found = inspect(folder_of(tmp_path / "files", files))
    assert [one.name for one in found.dataset.quarantine] == ["cut.jpg"]
    assert found.dataset.weights.tolist() == [1, 1, 1, 1, 0]
    assert found.looks.rows["read"].tolist() == [True] * 4 + [False]


def test_many_of_a_kind_are_said_once(tmp_path):
    files = {f"{k}.png": saved(photo(seed=k).convert("RGBA"), "PNG") for k in range(8)}
    findings = inspect(folder_of(tmp_path / "files", files)).findings
    assert [(one.kind, one.file) for one in findings] == [("transparency", "")]
    assert "8 of 8" in findings[0].reason


def test_the_same_place_is_named_once(tmp_path):
    findings = found_in(plant(tmp_path / "data", "yolo class"))
    assert [one.kind for one in findings].count("unknown class") == 1


def test_what_reader_and_check_both_found_is_one_error(tmp_path):
    (one,) = found_in(plant(tmp_path / "data", "coco no category"))
    assert (one.kind, one.line, one.severity) == ("malformed entry", 3, "error") and "category_id" in one.reason
    assert one.image == 1


def test_two_faults_of_one_entry_are_both_named(tmp_path):
    root = plant(tmp_path / "data", "coco three numbers")
    text = (root / "annotations.json").read_text()
    (root / "annotations.json").write_text(text.replace("[12, 12, 2, 28, 12, 2, 20, 28, 1]", "[12, 12, 2, 28]", 3))
    reasons = [one.reason for one in found_in(root) if one.line == 3]
    assert any('"bbox"' in reason for reason in reasons) and any('"keypoints"' in reason for reason in reasons)


def test_the_gravest_come_first(tmp_path):
    files = {f"{k}.png": saved(photo(seed=k), "PNG") for k in range(9)}
    files |= {"few.png": saved(photo(seed=9).convert("P"), "PNG"), "cut.png": files["0.png"][:500]}
    findings = inspect(folder_of(tmp_path / "files", files | {"again.png": files["1.png"]})).findings
    assert [one.severity for one in findings] == ["error", "warning", "note"]
    assert findings[1].image >= 0 and findings[1].other >= 0


# Statistics ----------------------------------------------------------------------------------------------------------


def test_values_of_channels_are_those_of_the_training_part():
    random = np.random.default_rng(0)
    array = random.integers(0, 256, (20, 12, 10, 3), dtype=np.uint8)
    train = np.array([2, 3, 5, 7, 11])
    seen = look_at(ArrayImages(array), train=train, workers=1)
    assert seen.tallied == 5
    levels = np.arange(256)
    np.testing.assert_allclose(seen.tally @ levels / 5, array[train].reshape(-1, 3).mean(0), rtol=1e-12)


def test_shares_of_deep_and_grey_images():
    deep = np.array([[0, 65535], [65535, 65535]], np.uint16)[..., None]
    shares = value_shares(deep)
    assert shares.shape == (3, 256) and (shares == shares[0]).all()
    assert shares[0, 0] == 0.25 and shares[0, 255] == 0.75


def test_masks_are_counted(tmp_path):
    seen = inspect(open_path(save(tmp_path / "masks", BASES["masks"])), workers=1).seen
    assert (seen.pixels.sum(1) == 64 * 48).all()
    assert seen.pixels[:, 1].tolist() == [600, 0, 600, 0] and seen.pixels[:, 2].tolist() == [0, 600, 0, 600]


def test_settings_are_what_programs_read(tmp_path):
    data = open_path(plant(tmp_path / "data", "voc inverted"))
    told = inspect(data).settings()
    assert told["format"] == "voc" and told["images"] == 4 and told["classes"] == ["cat", "dog"]
    wrong = [one for one in told["findings"] if one["kind"] == "inverted box"]
    assert wrong == [wrong[0]] and wrong[0].keys() == {"kind", "file", "line", "reason", "action", "severity"}
