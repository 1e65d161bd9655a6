"""COCO JSON read: as pycocotools and json.load with loops read it, wherever the images lie, whatever names say."""

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from coco_scenes import document, picture, plainly, save
from pycocotools.coco import COCO

from hubel.data import rle
from hubel.data.formats import coco
from hubel.data.objects import CROWD
from hubel.errors import UserError

DATA = os.environ.get("HUBEL_DATA", "")
real = pytest.mark.skipif(not DATA, reason="needs HUBEL_DATA")


def unpack(name, to):
    with tarfile.open(Path(DATA) / f"{name}.tar") as archive:
        archive.extractall(to, filter="data")
    return to


def kinds(dataset):
    return [(one.kind, one.line) for one in dataset.findings]


# The same as others read -----------------------------------------------------------------------------------------


@pytest.mark.data
@real
@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("coco_inst_dev", ["annotations/instances_train.json", "annotations/instances_val.json"]),
        ("coco_kpt_dev", ["person_keypoints.json"]),
        ("coco_eval_parity", ["gt_instances_val2014_100.json"]),
    ],
)
def test_every_number_is_that_of_a_plain_reading(tmp_path, name, files):
    dataset = coco.read(unpack(name, tmp_path))
    expected = [found for file in files for found in plainly(tmp_path / file).values()]
    ids = [i for file in files for i in plainly(tmp_path / file)]
    assert dataset.annotations["image_id"].tolist() == ids
    o, numbers = dataset.annotations["objects"], dataset.tables["category_id"]
    for i, rows in enumerate(expected):
        low, high = o.offsets[i : i + 2].tolist()
        assert o.ids[low:high].tolist() == [row[0] for row in rows]
        assert numbers[o.labels[low:high]].tolist() == [row[1] for row in rows]
        assert o.boxes[low:high].tolist() == [row[2] for row in rows]
        assert o.areas[low:high].tolist() == [row[4] for row in rows]
        for m, row in zip(range(low, high), rows, strict=True):
            assert bool(len(o.flags) and o.flags[m] & CROWD) == bool(row[3])
            _compare_masks(o, m, row[5])
            if row[6] is not None:
                assert o.keypoints[m].ravel().tolist() == np.float32(row[6]).tolist()


def _compare_masks(objects, m, said):
    if isinstance(said, dict):
        assert objects.runs[m].tolist() == said["counts"]
        assert objects.outlines is None or not len(objects.outlines[m])
    elif said:
        assert [ring.ravel().tolist() for ring in objects.outlines[m]] == [np.float32(r).tolist() for r in said]


@pytest.mark.data
@real
def test_classes_entries_and_sizes_are_those_of_pycocotools(tmp_path):
    dataset = coco.read(unpack("coco_inst_dev", tmp_path))
    peer = COCO(tmp_path / "annotations/instances_val.json")
    assert list(dataset.classes) == [one["name"] for one in peer.loadCats(peer.getCatIds())]
    assert dataset.tables["category_id"].tolist() == peer.getCatIds()
    o = dataset.annotations["objects"]
    for i in dataset.splits["dev"].tolist():
        known = peer.loadImgs(int(dataset.annotations["image_id"][i]))[0]
        assert dataset.annotations["declared_size"][i].tolist() == [known["height"], known["width"]]
        assert dataset.images.name(i) == f"val/{known['file_name']}"
        assert dataset.images.read(i).shape[:2] == (known["height"], known["width"])
        for m in range(*o.offsets[i : i + 2].tolist()):
            assert peer.dataset["annotations"][o.lines[m] - 1]["id"] == o.ids[m]
            if o.runs is not None and len(o.runs[m]):
                mask = rle.decode(o.runs[m], known["height"], known["width"])
                assert np.array_equal(mask, peer.annToMask(peer.anns[int(o.ids[m])]))
    assert o.files[int(dataset.splits["dev"][0])] == b"annotations/instances_val.json"
    assert dataset.findings == ()


@pytest.mark.data
@real
def test_annotations_without_images(tmp_path):
    for path in (unpack("coco_eval_parity", tmp_path), tmp_path / "gt_instances_val2014_100.json"):
        dataset = coco.read(path)
        assert (len(dataset), dataset.annotations["objects"].count, len(dataset.classes)) == (100, 839, 80)
        assert [(one.kind, one.file) for one in dataset.findings] == [("missing file", "gt_instances_val2014_100.json")]
        assert dataset.findings[0].reason.startswith("none of 100 image files is there")
    assert any("dt_fakebbox100.json is ignored: a list of detections" in n for n in coco.read(tmp_path).notes)


@pytest.mark.data
@real
def test_keypoints_and_skeleton(tmp_path):
    dataset = coco.read(unpack("coco_kpt_dev", tmp_path))
    category = json.loads((tmp_path / "person_keypoints.json").read_text())["categories"][0]
    skeleton = dataset.annotations["objects"].skeleton
    assert list(skeleton.names) == category["keypoints"]
    assert [[a + 1, b + 1] for a, b in skeleton.edges] == category["skeleton"]
    assert dataset.splits == {}


def test_masks_as_text_as_numbers_and_as_polygons(tmp_path):
    mask = np.zeros((6, 8), np.uint8)
    mask[2:5, 3:6] = 1
    counts = rle.encode(mask).tolist()
    said = [{"size": [6, 8], "counts": c} for c in (rle.to_text(counts), counts)] + [[[3, 2, 6, 2, 6, 5, 3, 5]], []]
    entries = [
        {"id": k, "image_id": 1 + k % 2, "category_id": 7, "bbox": [3, 2, 3, 3], "segmentation": one}
        for k, one in enumerate(said)
    ]
    o = coco.read(save(tmp_path / "a.json", document(annotations=entries))).annotations["objects"]
    assert o.ids.tolist() == [0, 2, 1, 3]  # image 1, image 2
    assert [o.runs[m].tolist() for m in range(4)] == [counts, [], counts, []]
    assert [[r.tolist() for r in o.outlines[m]] for m in range(4)] == [[], [[[3, 2], [6, 2], [6, 5], [3, 5]]], [], []]
    assert o.flags.size == 0
    assert np.isnan(o.areas).all()


# Where files lie -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotations", "images", "splits"),
    [
        (["train/_annotations.coco.json", "valid/_annotations.coco.json"], ["train", "valid"], ["train", "dev"]),
        (["annotations/instances_train2017.json", "annotations/instances_val2017.json"], ["train2017", "val2017"],
         ["train", "dev"]),
        (["annotations/instances_train.json", "annotations/instances_test.json"], ["images/train", "images/test"],
         ["train", "test"]),
        (["train.json", "val.json"], ["images/train", "images/val"], ["train", "dev"]),
        (["annotations/train.json", "annotations/validation.json"], ["train", "val"], ["train", "dev"]),
        (["images/train/a.json", "images/val/a.json"], ["images/train", "images/val"], ["train", "dev"]),
        (["instances_train.json", "instances_train-dev.json"], ["train", "train-dev"], ["train", "train-dev"]),
        (["annotations/instances_default.json"], ["images"], []),
        (["result.json"], ["images"], []),
        (["labels.json"], ["data"], []),
        (["a.json"], ["."], []),
    ],
)  # fmt: skip
def test_layouts(tmp_path, annotations, images, splits):
    for k, (file, folder) in enumerate(zip(annotations, images, strict=True)):
        save(tmp_path / file, document())
        for name in ("1.png", "2.png"):
            picture(tmp_path / folder / name, 6 + k)
    assert "COCO JSON" in coco.recognise(tmp_path)
    dataset = coco.read(tmp_path)
    assert list(dataset.splits) == splits
    for k, part in enumerate(splits):
        assert dataset.splits[part].tolist() == [2 * k, 2 * k + 1]
    for i in range(len(dataset)):
        assert dataset.images.read(i).shape[0] == 6 + i // 2
        assert dataset.annotations["objects"].files[i].decode() == annotations[i // 2]
    assert dataset.findings == ()
    for file, folder in zip(annotations, images, strict=True):
        where = "the data set's own folder" if folder == "." else f"{folder}/"
        assert f"{file}: images are in {where}" in dataset.notes
        alone = coco.read(tmp_path / file)
        assert (len(alone), alone.splits, alone.findings) == (2, {}, ())
        assert alone.images.read(0).shape[0] == 6 + annotations.index(file)


def test_parts_share_classes_by_name(tmp_path):
    save(tmp_path / "train.json", document())
    other = document(categories=[{"id": 3, "name": "cow"}, {"id": 9, "name": "cat"}])
    save(tmp_path / "val.json", other)
    dataset = coco.read(tmp_path)
    assert dataset.classes == ("cat", "dog", "cow")
    assert dataset.annotations["objects"].labels.tolist() == [0, 0, 2, 2]
    assert dataset.tables["category_id"].tolist() == [3, 7, 1]
    assert [k for k, _ in kinds(dataset)].count("class numbers differ") == 2


def test_columns_of_one_part_only_are_kept(tmp_path):
    """A crowd, an area and a polygon in train, none in val."""
    first = document()
    first["annotations"][0] |= {"iscrowd": 1, "segmentation": [[1, 1, 2, 1, 2, 2]]}
    save(tmp_path / "train.json", first)
    second = document()
    for one in second["annotations"]:
        del one["area"]
    save(tmp_path / "val.json", second)
    o = coco.read(tmp_path).annotations["objects"]
    assert o.flags.tolist() == [CROWD, 0, 0, 0]
    assert o.areas.tolist()[:2] == [6, 6]
    assert np.isnan(o.areas[2:]).all()
    assert o.outlines.counts.tolist() == [1, 0, 0, 0]


def test_which_of_several_kinds(tmp_path):
    save(tmp_path / "annotations/instances_val2017.json", document(1))
    save(tmp_path / "annotations/person_keypoints_val2017.json", document(2))
    caption = {"id": 1, "image_id": 1, "caption": "a cat"}
    save(tmp_path / "annotations/captions_val2017.json", {"images": document()["images"], "annotations": [caption]})
    dataset = coco.read(tmp_path)
    assert len(dataset) == 1
    assert any("captions_val2017.json is ignored: captions" in note for note in dataset.notes)
    assert any("person_keypoints_val2017.json is ignored" in note for note in dataset.notes)
    assert len(coco.read(tmp_path, annotations="person_keypoints")) == 2
    with pytest.raises(UserError, match="begins with 'stuff'"):
        coco.read(tmp_path, annotations="stuff")
    save(tmp_path / "annotations/instances_val2014.json", document(1))
    with pytest.raises(UserError, match="both are the dev part"):
        coco.read(tmp_path)


def test_several_files_that_nothing_tells_apart(tmp_path):
    for name in ("one.json", "two.json"):
        save(tmp_path / name, document())
    with pytest.raises(UserError, match=r"nothing says which belong together: one\.json, two\.json"):
        coco.read(tmp_path)


def test_what_is_recognised(tmp_path):
    assert coco.recognise(tmp_path) is None
    assert coco.recognise(tmp_path / "nothing.json") is None
    for k, content in enumerate(
        ('{"shapes": [], "imagePath": "1.png"}', "[1, 2]", "", "{", '{"images": 3}', "nonsense")
    ):
        assert coco.recognise(save(tmp_path / f"{k}.json", content)) is None
    assert coco.recognise(tmp_path) is None
    assert coco.recognise(save(tmp_path / "no.txt", document())) is None
    assert coco.recognise(save(tmp_path / "yes.JSON", document())) is not None
    (tmp_path / "yes.JSON").unlink()
    save(tmp_path / "list.json", [{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}])
    assert "a list of detections" in coco.recognise(tmp_path / "list.json")
    assert coco.recognise(tmp_path) is None  # results lie beside any data set


# Names that lead elsewhere ---------------------------------------------------------------------------------------


def named(tmp_path, *names, **options):
    root = tmp_path / "set"
    images = [{"id": k, "file_name": name, "width": 8, "height": 6} for k, name in enumerate(names, 1)]
    save(root / "a.json", document(len(names), images=images))
    picture(root / "good.png")
    picture(tmp_path / "secret.png")
    return coco.read(root, **options)


def test_names_that_lead_outside_are_left_out_with_their_objects(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "set" / "deep").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "set" / "pipe.png")
    outside = ["../secret.png", str(tmp_path / "secret.png"), "link.png", "a/../../secret.png"]
    dataset = named(tmp_path, "good.png", *outside, "pipe.png", "good.png/../good.png")
    assert [dataset.images.name(i) for i in range(len(dataset))] == ["good.png", "good.png"]
    assert dataset.annotations["image_id"].tolist() == [1, 7]
    assert dataset.annotations["objects"].ids.tolist() == [11, 17]
    refused = [one for one in dataset.findings if one.severity == "error"]
    assert [one.kind for one in refused] == ["outside folder"] * 3 + ["outside folder", "missing file"]
    assert all("secret" in one.reason or "link" in one.reason for one in refused[:4])


def test_plain_names_below_a_linked_folder(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "deep").symlink_to(tmp_path)
    (tmp_path / "set" / "near").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "set" / "same.png").symlink_to(tmp_path / "set" / "good.png")
    os.mkfifo(tmp_path / "set" / "pipe.png")
    dataset = named(tmp_path, "deep/secret.png", "near/good.png", "good.png", "link.png", "same.png", "pipe.png")
    assert [dataset.images.name(i) for i in range(len(dataset))] == ["near/good.png", "good.png", "same.png"]
    assert [one.kind for one in dataset.findings] == ["outside folder", "outside folder", "missing file"]
    assert dataset.annotations["objects"].ids.tolist() == [12, 13, 15]


def test_a_linked_folder_that_leads_outside(tmp_path):
    picture(tmp_path / "elsewhere" / "1.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "images").symlink_to(tmp_path / "elsewhere")
    save(tmp_path / "set" / "a.json", document(1))
    dataset = coco.read(tmp_path / "set")
    assert [one.kind for one in dataset.findings] == ["missing file", "outside folder"]
    assert coco.read(tmp_path / "set", root=tmp_path).findings == ()


def test_names_of_other_machines(tmp_path):
    picture(tmp_path / "set" / "sub" / "deep.png")
    inside = str(tmp_path / "set" / "good.png")
    dataset = named(tmp_path, inside, "sub\\deep.png", "./good.png", "C:\\work\\sub\\deep.png")
    assert [dataset.images.name(i) for i in range(4)] == ["good.png", "sub/deep.png", "good.png", "sub/deep.png"]
    assert [one.kind for one in dataset.findings] == ["moved files"]


def test_names_spelt_otherwise_than_their_files(tmp_path):
    (tmp_path / "set").mkdir()
    picture(tmp_path / "set" / "photo.PNG")
    dataset = named(tmp_path, "Photo.png", "good.png", "gone.png")
    assert [dataset.images.name(i) for i in range(3)] == ["photo.PNG", "good.png", "gone.png"]
    assert any("1 names are spelt otherwise" in note for note in dataset.notes)
    assert dataset.findings[0].reason == "1 of 3 image files are not there: gone.png"


def test_a_folder_that_is_called_as_the_end_of_the_file(tmp_path):
    save(tmp_path / "annotations" / "instances_default.json", document())
    for k in (1, 2):
        picture(tmp_path / "images" / "default" / f"{k}.png")
    found = coco.read(tmp_path)
    assert [found.images.name(i) for i in range(2)] == ["images/default/1.png", "images/default/2.png"]
    assert found.findings == () and found.splits == {}


def test_some_files_are_missing(tmp_path):
    dataset = named(tmp_path, "good.png", "gone.png", "gone too.png")
    assert len(dataset) == 3
    assert [(one.kind, one.severity) for one in dataset.findings] == [("missing file", "error")]
    assert dataset.findings[0].reason == "2 of 3 image files are not there: gone.png, gone too.png"


def test_the_same_image_in_two_parts(tmp_path):
    for part in ("train", "val"):
        save(tmp_path / f"{part}.json", document())
    for k in (1, 2):
        picture(tmp_path / "images" / f"{k}.png")
    found = coco.read(tmp_path).findings
    assert [one.kind for one in found] == ["listed twice"]
    assert "2 images are in train and in dev" in found[0].reason
