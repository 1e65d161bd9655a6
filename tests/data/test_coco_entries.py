"""Malformed COCO JSON: each bad entry becomes a finding with its number, and all others are read as if it were good."""

import json
import math

import numpy as np
import pytest
from coco_scenes import document, save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubel.data.formats import coco, coco_image_list, coco_log, coco_parse
from hubel.data.formats.coco_mend import mend
from hubel.errors import UserError

NAN = math.nan
GOOD = {"id": 11, "image_id": 1, "category_id": 3, "bbox": [1, 1, 2, 3], "area": 6, "iscrowd": 0}


def opened(tmp_path, content):
    return coco.read(save(tmp_path / "a.json", content))


def found(dataset, *left_out):
    """(line, reason) of all findings but that of the missing images."""
    return [(one.line, one.reason) for one in dataset.findings if one.kind != "missing file"]


def second(changes, *gone):
    """A file whose second of three entries is changed."""
    entries = [GOOD | {"id": 20 + k} for k in range(3)]
    entries[1] |= changes
    for key in gone:
        del entries[1][key]
    return document(annotations=entries)


@pytest.mark.parametrize(
    ("changes", "reason", "box"),
    [
        ({"bbox": ["1", 1, 2, 3]}, "bbox[0] is the text \"1\", read as the number 1", [1, 1, 3, 4]),
        ({"bbox": [None, 1, 2, 3]}, "bbox[0] is null, expected a number", [NAN, 1, NAN, 4]),
        ({"bbox": [1, 1, 2, NAN]}, "bbox[3] is nan, which JSON has no word for", [1, 1, 3, NAN]),
        ({"bbox": [1, 1, math.inf, 2]}, "bbox[2] is inf, which JSON has no word for", [1, 1, math.inf, 3]),
        ({"bbox": [1, 1, 2]}, '"bbox" is [1, 1, 2], expected [x, y, width, height]', [NAN] * 4),
        ({"bbox": None}, '"bbox" is null', [NAN] * 4),
        ({"bbox": "big"}, '"bbox" is "big"', [NAN] * 4),
        ({"bbox": [[1, 1, 2, 3]]}, '"bbox" is [[1, 1, 2, 3]]', [NAN] * 4),
        ({"bbox": [True, {}, 2, 3]}, "bbox[0] is true, expected a number (and 1 more of its numbers)", [NAN] * 4),
        ({"area": "wide"}, 'area is "wide", expected a number', [1, 1, 3, 4]),
        ({"iscrowd": "1"}, '"iscrowd" is "1", expected 0 or 1', [1, 1, 3, 4]),
        ({"iscrowd": 2}, '"iscrowd" is 2, expected 0 or 1', [1, 1, 3, 4]),
        ({"id": None}, '"id" is null, expected a whole number', [1, 1, 3, 4]),
        ({"id": 2**70}, f'"id" is {2**70}, expected a whole number', [1, 1, 3, 4]),
        ({"image_id": "1"}, '"image_id" is the text "1", read as the number 1', [1, 1, 3, 4]),
        ({"category_id": None}, '"category_id" is null', [1, 1, 3, 4]),
        ({"category_id": "cat"}, '"category_id" is "cat"', [1, 1, 3, 4]),
        ({"segmentation": [[1, 1, 2, 2, 3]]}, "segmentation[0] has 5 numbers", [1, 1, 3, 4]),
        ({"segmentation": [1, 1, 2, 2, 3, 1]}, '"segmentation" is one list of numbers', [1, 1, 3, 4]),
        ({"segmentation": [[[1, 1], [2, 2], [3, 1]]]}, "segmentation[0] is a list of points", [1, 1, 3, 4]),
        ({"segmentation": [[1, 1, 2, 2, None, "4"]]}, "segmentation[0][4] is null, expected a number", [1, 1, 3, 4]),
        ({"segmentation": "outline"}, '"segmentation" is "outline"', [1, 1, 3, 4]),
        ({"segmentation": [5, "a"]}, '"segmentation" is one list of numbers', [1, 1, 3, 4]),
        ({"segmentation": {"size": [6, 8]}}, '"counts" of its mask is missing', [1, 1, 3, 4]),
        ({"segmentation": {"size": [6, 8], "counts": [1, -1]}}, '"counts" of its mask is [1, -1]', [1, 1, 3, 4]),
        ({"segmentation": {"size": "6x8", "counts": [48]}}, '"size" of its mask is "6x8"', [1, 1, 3, 4]),
        ({"segmentation": {"size": [6, 8], "counts": "a b"}}, "run lengths can't be read", [1, 1, 3, 4]),
        ({"segmentation": {"size": [8, 6], "counts": [48]}}, "its mask is 6 x 8 pixels, its image 8 x 6", [1, 1, 3, 4]),
        ({"keypoints": [1, 2]}, '"keypoints" has 2 numbers', [1, 1, 3, 4]),
        ({"keypoints": {"a": 1}}, '"keypoints" is {"a": 1}', [1, 1, 3, 4]),
    ],
)  # fmt: skip
def test_an_entry_that_is_wrong_is_named_and_kept(tmp_path, changes, reason, box):
    dataset = opened(tmp_path, second(changes))
    o = dataset.annotations["objects"]
    assert [line for line, _ in found(dataset)] in ([2], [0, 2])  # NaN: the file is no JSON, too
    assert reason in found(dataset)[-1][1]
    assert o.count == 3
    np.testing.assert_array_equal(o.boxes, [[1, 1, 3, 4], box, [1, 1, 3, 4]])
    assert o.ids.tolist() == [20, -1 if "id" in changes else 21, 22]
    assert o.labels.tolist() == [0, -1 if "category_id" in changes else 0, 0]
    assert o.lines.tolist() == [1, 2, 3]


@pytest.mark.parametrize("key", ["id", "bbox", "category_id"])
def test_a_missing_key_is_named(tmp_path, key):
    dataset = opened(tmp_path, second({}, key))
    assert len(found(dataset)) == 1
    assert found(dataset)[0][0] == 2
    assert f'"{key}" is missing' in found(dataset)[0][1]
    assert dataset.annotations["objects"].count == 3


@pytest.mark.parametrize("key", ["area", "iscrowd"])
def test_keys_that_may_be_missing(tmp_path, key):
    dataset = opened(tmp_path, second({}, key))
    assert found(dataset) == []
    assert dataset.annotations["objects"].count == 3


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (None, "it is null, expected an object"),
        ([1], "it is [1], expected an object"),
        (7, "it is 7"),
        (GOOD | {"image_id": None}, '"image_id" is null'),
        (GOOD | {"image_id": [1]}, '"image_id" is [1]'),
        (GOOD | {"image_id": 99}, "image_id 99 is not in the list of images"),
        (GOOD | {"image_id": "99x"}, '"image_id" is "99x"'),
    ],
)
def test_an_entry_without_an_image_is_left_out_and_named(tmp_path, entry, reason):
    dataset = opened(tmp_path, document(annotations=[GOOD, entry, GOOD]))
    assert [line for line, _ in found(dataset)] == [2]
    assert reason in found(dataset)[0][1]
    assert [one.severity for one in dataset.findings if one.line] == ["error"]
    assert dataset.annotations["objects"].lines.tolist() == [1, 3]


def test_an_unknown_class_has_the_label_minus_one(tmp_path):
    dataset = opened(tmp_path, second({"category_id": 4}))
    assert found(dataset) == [(2, "annotations, entry 2: category_id 4 is not in the list of categories")]
    assert dataset.annotations["objects"].labels.tolist() == [0, -1, 0]


@pytest.mark.parametrize(
    ("entry", "line", "reason", "numbers"),
    [
        ({"id": 5, "width": 8, "height": 6}, 2, '"file_name" is missing', [1, 3]),
        ({"id": 5, "file_name": "", "width": 8}, 2, '"file_name" is ""', [1, 3]),
        ({"id": 5, "file_name": "a\0b"}, 2, "expected the name of a file", [1, 3]),
        ({"file_name": "x.png"}, 2, '"id" is missing', [1, 3]),
        ({"id": 1, "file_name": "x.png"}, 2, "the id 1 belongs to another image", [1, 3]),
        (None, 2, "it is null", [1, 3]),
        ({"id": "5", "file_name": "x.png"}, 0, "1 images have text as id ('5' …)", [1, 5, 3]),
        ({"id": "03", "file_name": "x.png"}, 0, "1 images have text as id", [1, 2, 3]),
        ({"id": "five", "file_name": "x.png"}, 0, "1 images have text as id", [1, 2, 3]),
        ({"id": 5, "file_name": "x.png", "width": "8"}, 2, '"width" is the text "8", read as the number 8', [1, 5, 3]),
        ({"id": 5, "file_name": "x.png", "width": -8}, 0, "", [1, 5, 3]),
        ({"id": 5, "file_name": "1.png"}, 0, "'1.png' is listed as two images", [1, 5, 3]),
    ],
)
def test_images_that_are_wrong(tmp_path, entry, line, reason, numbers):
    images = document(3)["images"]
    images[1] = entry
    objects = [GOOD | {"image_id": 1}, GOOD | {"image_id": 3}]
    dataset = opened(tmp_path, document(images=images, annotations=objects))
    assert dataset.annotations["image_id"].tolist() == numbers
    assert dataset.annotations["objects"].counts.tolist() == [1, *[0] * (len(numbers) - 2), 1]
    assert dataset.annotations["declared_size"].min() >= 0
    assert [n for n, _ in found(dataset)] == [line] * bool(reason)
    assert all(reason in told for _, told in found(dataset))


def test_objects_of_an_image_that_was_left_out_are_counted(tmp_path):
    images = document(2)["images"]
    del images[1]["file_name"]
    dataset = opened(tmp_path, document(images=images, annotations=[GOOD, GOOD | {"image_id": 2}]))
    assert [reason for _, reason in found(dataset)][-1] == "1 objects belong to images that were left out"
    assert dataset.annotations["objects"].count == 1


def test_images_with_text_as_id_keep_their_objects(tmp_path):
    images = [{"id": name, "file_name": f"{name}.png", "height": 6, "width": 8} for name in ("b7", "a3")]
    objects = [GOOD | {"image_id": "a3", "id": 1}, GOOD | {"image_id": "b7", "id": 2}]
    dataset = opened(tmp_path, document(images=images, annotations=objects))
    assert dataset.annotations["image_id"].tolist() == [1, 2]
    assert dataset.annotations["objects"].ids.tolist() == [2, 1]
    assert len(found(dataset)) == 1
    for one in (*images, *objects):
        key = "file_name" if "file_name" in one else "image_id"
        one["id" if key == "file_name" else key] = {"b": "007", "a": "9"}[one[key][0]]
    dataset = opened(tmp_path, document(images=images, annotations=[*objects, GOOD | {"image_id": 9}]))
    assert dataset.annotations["image_id"].tolist() == [7, 9]
    assert dataset.annotations["objects"].ids.tolist() == [2, 1, 11]


# Classes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("categories", "classes", "labels", "reason"),
    [
        ([{"id": 3, "name": "cat"}, {"id": 3, "name": "dog"}], ("cat",), [0, -1], "belongs to 'cat' and to 'dog'"),
        ([{"id": 3, "name": "cat"}, {"id": 7, "name": "cat"}], ("cat", "cat (7)"), [0, 1], "two classes are called"),
        ([{"id": 3}, {"id": 7, "name": 5}], ("3", "5"), [0, 1], '"name" is missing'),
        ([{"name": "cat"}, {"id": 7, "name": "dog"}], ("dog",), [-1, 0], '"id" is missing'),
        ([None, {"id": "3", "name": "cat"}], ("cat",), [0, -1], "it is null"),
        ([], ("3", "7"), [0, 1], 'there is no list "categories"'),
        (None, ("3", "7"), [0, 1], 'there is no list "categories"'),
    ],
)
def test_categories_that_are_wrong(tmp_path, categories, classes, labels, reason):
    objects = [GOOD, GOOD | {"category_id": 7}]
    dataset = opened(tmp_path, document(annotations=objects, categories=categories))
    assert dataset.classes == classes
    assert dataset.annotations["objects"].labels.tolist() == labels
    assert any(reason in told for _, told in found(dataset))


def posed(points, edges, keypoints, **more):
    one = {"id": 3, "name": "cat", "keypoints": points, "skeleton": edges}
    return document(categories=[one | more, {"id": 7, "name": "dog"}], annotations=[GOOD | {"keypoints": keypoints}])


@pytest.mark.parametrize(
    ("edges", "expected", "reason"),
    [
        ([[1, 2]], ((0, 1),), ""),
        ([[0, 1]], ((0, 1),), "counts keypoints from 0"),
        ([[1, 3], [2, 1]], ((1, 0),), "joins keypoints that it does not have"),
        ([[1, "2"], [1, 2]], ((0, 1),), "expected pairs of whole numbers"),
        ("all", (), "expected pairs of whole numbers"),
        ([], (), ""),
        (None, (), ""),
    ],
)
def test_skeletons(tmp_path, edges, expected, reason):
    dataset = opened(tmp_path, posed(["a", "b"], edges, [1, 2, 2, 3, 4, 1]))
    assert dataset.annotations["objects"].skeleton.edges == expected
    assert dataset.annotations["objects"].keypoints.tolist() == [[[1, 2, 2], [3, 4, 1]]]
    assert [reason in told for _, told in found(dataset)] == [True] * bool(reason)


def poses(dataset):
    return [finding for finding in dataset.findings if finding.kind == "keypoint count"]


def test_keypoints_of_other_numbers(tmp_path):
    dataset = opened(tmp_path, posed(["a"], None, [1, 2, 2, 3, 4, 1]))
    more = dataset.annotations["objects"]
    assert more.skeleton.names == ("a", "2")
    assert [(f.kind, f.line, f.image) for f in poses(dataset)] == [("keypoint count", 1, 0)]
    assert "2 keypoints, its class has 1: the others have no name" in poses(dataset)[0].reason
    dataset = opened(tmp_path, posed(["a", "b"], None, [1, 2, 2]))
    fewer = dataset.annotations["objects"]
    assert fewer.keypoints.tolist() == [[[1, 2, 2], [0, 0, 0]]]
    assert ["1 keypoints, its class has 2: those that are missing" in f.reason for f in poses(dataset)] == [True]
    assert not poses(opened(tmp_path, posed(["a", "b"], None, [1, 2, 2, 0, 0, 0])))
    assert not poses(opened(tmp_path, posed(["a", "b"], None, [])))  # no pose at all
    none = opened(tmp_path, posed(None, None, [1, 2, 2])).annotations["objects"]
    assert none.skeleton.names == ("1",)


# Whole files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ('{"images": [', "line 1: the file ends in the middle"),
        ('{"images": [],\n"annotations": [{]}', "line 2, byte 17: this is no JSON"),
        ('{"images": [NaN], "annotations": [', "the file ends in the middle"),
        ('{"images": [], "annotations": NaN, "a": nul}', "this is no JSON"),
        ("[1, 2, 3]", "is no COCO JSON"),
        ('[{"image_id": 3, "score": 1}]', "is a list of detections"),
        ('{"annotations": [], "categories": []}', 'has no list "images"'),
        ('{"images": {"1": "a"}, "annotations": []}', '"images" should be a list'),
        ('{"images": [], "annotations": "none"}', '"annotations" should be a list'),
        ('{"images": [{"id": 1}], "annotations": [{"id": 1, "image_id": 1, "caption": "a cat"}]}', "captions"),
        ('{"images": [{"id": 1}], "annotations": [{"image_id": 1, "segments_info": []}]}', "panoptic"),
        ('{"images": ' + "[" * 100_000, "nested too deeply"),
        ('{"images": [], "annotations": [' + '{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_files_that_are_no_data_set(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        coco.read(save(tmp_path / "a.json", content))


def test_other_encodings(tmp_path):
    text = json.dumps(document(1), ensure_ascii=False).replace('"cat"', '"Kätzchen"')
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "a.json").write_bytes(text.encode(encoding))
        assert coco.recognise(tmp_path / "a.json") is not None
        assert coco.read(tmp_path / "a.json").classes == ("Kätzchen", "dog")
    (tmp_path / "a.json").write_bytes(text.encode("utf-16"))
    with pytest.raises(UserError, match="UTF-16"):
        coco.read(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    assert any("categories, entry 1" in told for _, told in found(coco.read(tmp_path / "a.json")))


def test_nan_in_names_stays(tmp_path):
    content = document(1, categories=[{"id": 3, "name": 'a NaN, "Infinity", b'}])
    content["annotations"][0]["bbox"][0] = NAN
    dataset = opened(tmp_path, content)
    assert dataset.classes == ('a NaN, "Infinity", b',)
    assert np.isnan(dataset.annotations["objects"].boxes[0, 0])
    assert found(dataset)[0] == (0, "NaN or Infinity stands in it 1 times, which JSON has no word for")


def test_an_empty_set_opens(tmp_path):
    dataset = opened(tmp_path, {"images": [], "annotations": [], "categories": []})
    assert (len(dataset), dataset.annotations["objects"].count, dataset.findings) == (0, 0, ())


def test_good_and_bad_chunks_are_read_alike(tmp_path, monkeypatch):
    """Chunks of 3 entries, every second one with a fault: the numbers are those of one chunk, and so are the lines."""
    entries = [GOOD | {"id": k, "image_id": 1 + k % 2, "bbox": [k, 1, 2.5, 3]} for k in range(20)]
    for k in range(0, 20, 6):
        entries[k]["area"] = "6"
    whole = opened(tmp_path, document(annotations=entries))
    monkeypatch.setattr(coco_parse, "CHUNK", 3)
    monkeypatch.setattr(coco_image_list, "CHUNK", 1)
    pieces = opened(tmp_path, document(annotations=entries))
    assert pieces.annotations["objects"].digest() == whole.annotations["objects"].digest()
    assert pieces.annotations["objects"].lines.tolist() == whole.annotations["objects"].lines.tolist()
    assert [line for line, _ in found(pieces)] == [line for line, _ in found(whole)] == [1, 7, 13, 19]


def test_very_many_faults_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(coco_log, "MOST", 5)
    dataset = opened(tmp_path, document(annotations=[GOOD | {"area": "x"}] * 12))
    assert [line for line, _ in found(dataset)] == [1, 2, 3, 4, 5, 0]
    assert found(dataset)[-1][1] == "7 more entries like the 5 before"


# Anything at all -------------------------------------------------------------------------------------------------

quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["1", "NaN", "N"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "counts"]), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip
KEYS = ["id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "keypoints", "file_name", "name",
        "width", "height", "skeleton"]  # fmt: skip
entries = values | st.dictionaries(st.sampled_from(KEYS), values, max_size=6)


@quick
@given(st.lists(entries, max_size=4), st.lists(entries, max_size=4), st.lists(entries, max_size=3), st.booleans())
def test_any_json_opens_or_is_refused(tmp_path, images, annotations, categories, good):
    """With good entries among them or without."""
    if good:
        base = document(2)
        images, categories = base["images"] + images, base["categories"] + categories
        annotations = base["annotations"] + annotations
    path = save(tmp_path / "a.json", {"images": images, "annotations": annotations, "categories": categories})
    coco.recognise(path)
    try:
        dataset = coco.read(path, cache=False)
    except UserError:
        assert not good
        return
    assert not good or dataset.annotations["objects"].count >= 2
    left_out = len(annotations) - dataset.annotations["objects"].count
    assert not left_out or any(one.severity == "error" for one in dataset.findings)


@quick
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.integers(0, 400), st.booleans())
def test_any_bytes_open_or_are_refused(tmp_path, junk, place, overwrite):
    text = json.dumps(document()).encode()
    (tmp_path / "a.json").write_bytes(text[:place] + junk + text[place + overwrite * len(junk) :])
    coco.recognise(tmp_path / "a.json")
    try:
        coco.read(tmp_path / "a.json", cache=False)
    except UserError as fault:
        assert "a.json" in str(fault)


@quick
@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=8))
def test_mending_keeps_what_is_right(tmp_path, changes):
    """A good entry comes out as it is written; whatever is changed in it is told, or was right as well."""
    told = []
    entry = mend(json.dumps(GOOD | {k: v for k, v in changes.items() if k not in GOOD}).encode(), {}, told.append)
    assert (entry.image_id, entry.category_id, entry.id, entry.bbox) == (1, 3, 11, (1, 1, 2, 3))
    told.clear()
    changed = mend(json.dumps(GOOD | changes, allow_nan=True).replace("NaN", '"N"').encode(), {}, told.append)
    assert told or changed is not None
