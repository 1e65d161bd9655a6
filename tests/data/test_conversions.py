"""Every format into every other: what both can say is the same, and what the second can't say is named."""

import functools
import hashlib
import zlib
from pathlib import Path

import numpy as np
import pytest

import hubel
from hubel.data.dataset import Dataset
from hubel.data.formats import open_path, write
from hubel.data.shapes import shapes
from hubel.errors import UserError

FORMATS = ("coco", "yolo", "voc", "csv", "folder", "masks")
ARCHIVES = {  # archive: format, images, classes, parts
    "bccd_dev.tar": ("voc", 200, 3, {"train": 150, "dev": 50}),
    "camvid_dev.tar": ("masks", 190, 11, {"train": 150, "dev": 40}),
    "cifar10_dev.tar.xz": ("folder", 12000, 10, {"train": 10000, "test": 2000}),
    "clothing_dev.tar": ("folder", 786, 10, {"train": 600, "dev": 186}),
    "coco_eval_parity.tar": ("coco", 100, 80, {"dev": 100}),
    "coco_inst_dev.tar": ("coco", 160, 80, {"train": 80, "dev": 80}),
    "coco_kpt_dev.tar": ("coco", 31, 1, {}),
    "omniglot_dev.zip": ("identities", 3120, 336, {"train": 2720, "test": 400}),
    "style_dev.tar": ("folder", 4, 2, {}),
}
SMALL = [name for name in ARCHIVES if not name.startswith(("cifar10", "coco_eval", "omniglot"))]


@pytest.fixture(scope="session")
def real(data_dir):
    """real(archive): the data set in it, unpacked once; the test is skipped where it is not there."""
    known: dict[str, Dataset] = {}

    def opened(name):
        if not (data_dir / name).exists():
            pytest.skip(f"HUBEL_DATA has no {name}")
        if name not in known:
            known[name] = hubel.load_dataset(data_dir / name)
        return known[name]

    return opened


@pytest.fixture(scope="session")
def real_facts(real):
    """real_facts(archive): what that data set says, read once."""
    return functools.cache(lambda name: facts(real(name)))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """written(kind, format): a drawn data set, written and read again, and what it says; None where it can't be."""

    def write_one(kind, form):
        made = check(drawn(kind), tmp_path_factory.mktemp("written") / "one", form)
        return made and (made, facts(made))

    return functools.cache(write_one)


def drawn(kind):
    made = shapes(12, 32, seed=3, kind=kind, classes=3) if kind != "faces" else shapes(40, 16, kind=kind)
    return made if made.splits else made.with_splits({"train": np.arange(0, 8), "dev": np.arange(8, 12)})


def print_of(dataset, i):
    try:
        return hashlib.sha1(dataset.images.read(i).tobytes()).hexdigest()
    except Exception:
        return Path(dataset.images.name(i)).stem  # the images of coco_eval_parity are not given out


def facts(dataset):
    """What is said of each image, by its pixels: {print: {name of a fact: value}}; and the part it is in."""
    said = {}
    parts = {i: part for part, index in dataset.splits.items() for i in index.tolist()}
    for i in range(len(dataset)):
        one = {"part": parts.get(i, "")}
        if "label" in dataset.annotations:
            one["label"] = dataset.classes[dataset.annotations["label"][i]]
        if "labels" in dataset.annotations:
            one["labels"] = sorted(np.array(dataset.classes)[dataset.annotations["labels"][i] > 0].tolist())
        if "mask" in dataset.annotations:
            mask = dataset.annotations["mask"]
            numbers = [zlib.crc32(name.encode()) for name in mask.classes]
            named = np.array([*numbers, *[0] * (256 - len(numbers))], np.uint32)[mask.read(i)]
            one["mask"] = named.shape, hashlib.sha1(named.tobytes()).hexdigest()
        if "objects" in dataset.annotations:
            one |= objects_of(dataset, i)
        said[print_of(dataset, i)] = one
    return said


def objects_of(dataset, i):
    objects = dataset.annotations["objects"]
    rows = range(objects.offsets[i], objects.offsets[i + 1])
    one = {"objects": [(dataset.classes[objects.labels[m]], objects.boxes[m].tolist()) for m in rows]}
    if len(objects.keypoints):
        one["keypoints"] = [objects.keypoints[m].tolist() for m in rows]
    if objects.outlines is not None:
        one["outlines"] = [[np.asarray(ring).tolist() for ring in objects.outlines[m]] for m in rows]
    return one


def check(first, out, form, before=None):
    """`first`, written and read again: the same facts, but for those that are lost, which are named."""
    before = before or facts(first)
    try:
        told = write(first, out, form)
    except UserError as fault:
        assert "Choose another format" in str(fault)
        return None
    if any("no training image" in one for one in told):
        with pytest.raises(UserError, match="No training images"):
            open_path(out)
        return None
    second = open_path(out)
    after = facts(second)
    assert before.keys() == after.keys()
    kinds = {kind for one in after.values() for kind in one}
    text = " ".join(told)
    for key, one in before.items():
        for kind, value in one.items():
            if kind in kinds:
                assert close(kind, after[key][kind], value, text), (kind, key)
            else:
                assert kind.removesuffix("s") in text, (kind, told)
    return second


def close(kind, found, expected, text):
    """The same; boxes up to a last digit where that is said, outlines where several became one."""
    if kind == "objects":
        exact = not any(words in text for words in ("last digit", "differ from the extent"))
        boxes = np.array([box for _, box in found]), np.array([box for _, box in expected])
        same = np.array_equal(*boxes) if exact else "extent" in text or np.allclose(*boxes, rtol=1e-12)
        return same and [name for name, _ in found] == [name for name, _ in expected]
    return (kind == "outlines" and "became one polygon" in text) or found == expected


@pytest.mark.parametrize("kind", ["detection", "segmentation", "labels", "classes", "faces"])
@pytest.mark.parametrize("one", FORMATS)
@pytest.mark.parametrize("other", FORMATS)
def test_every_pair_of_formats(written, tmp_path, kind, one, other):
    first = written(kind, one)
    if first is not None:
        check(first[0], tmp_path / "other", other, first[1])


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("form", FORMATS)
def test_real_sets_into_every_format(real, real_facts, tmp_path, name, form):
    check(real(name), tmp_path / "out", form, real_facts(name))


@pytest.mark.parametrize("name", ARCHIVES)
def test_all_archives_open(real, name):
    found = real(name)
    form, images, classes, parts = ARCHIVES[name]
    assert (found.format, len(found), len(found.classes)) == (form, images, classes)
    assert {part: len(index) for part, index in found.splits.items()} == parts and found.annotations


def test_masks_without_boxes_stay_voc(real, tmp_path):
    write(real("camvid_dev.tar"), tmp_path / "out", "voc")  # what is in it is compared above
    found = open_path(tmp_path / "out")
    assert found.format == "voc" and list(found.annotations) == ["mask"] and not found.findings
    assert not (tmp_path / "out/Annotations").exists() and found.classes == real("camvid_dev.tar").classes


def test_identities_in_groups_keep_their_parts(real, tmp_path):
    first = real("omniglot_dev.zip")
    told = write(first, tmp_path / "out", "identities")
    assert told == ["lost: the table 'trials' of 200 rows"]
    second = open_path(tmp_path / "out")
    assert second.format == "identities" and {p: len(v) for p, v in second.splits.items()} == {
        "train": 2720,
        "test": 400,
    }
    assert sorted(second.classes) == sorted(first.classes)


def test_classes_that_are_not_learnt_are_named(tmp_path):
    told = write(shapes(40, 16, kind="faces"), tmp_path / "out", "folder")
    assert any("1 classes have no training image" in one for one in told)
    with pytest.raises(UserError, match="No training images"):
        open_path(tmp_path / "out")
