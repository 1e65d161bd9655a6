"""COCO JSON for the tests: files made by hand, data sets drawn at random, and a plain reading to compare with."""

import json
from pathlib import Path

import cv2
import numpy as np
from hypothesis import strategies as st

from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.data.objects import CROWD, Objects, Skeleton
from hubel.data.ragged import Ragged


def picture(path, height=6, width=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def document(n=2, /, **more):
    """Images 1 … n, classes 3 "cat" and 7 "dog", and one box in each image."""
    boxes = [
        {"id": 10 + k, "image_id": k, "category_id": 3, "bbox": [1, 1, 2, 3], "area": 6, "iscrowd": 0}
        for k in range(1, n + 1)
    ]
    return {
        "images": [{"id": k, "file_name": f"{k}.png", "width": 8, "height": 6} for k in range(1, n + 1)],
        "annotations": boxes,
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    } | more  # fmt: skip


def save(path, content):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def plainly(path):
    """{image id: [(id, category id, xyxy, crowd, area, segmentation, keypoints)]} with json.load and loops."""
    content = json.loads(Path(path).read_text())
    found = {one["id"]: [] for one in content["images"]}
    for one in content["annotations"]:
        x, y, w, h = one["bbox"]
        found[one["image_id"]].append(
            (
                one["id"], one["category_id"], [x, y, x + w, y + h], one["iscrowd"], one["area"],
                one.get("segmentation"), one.get("keypoints"),
            )
        )  # fmt: skip
    return found


# Data sets -------------------------------------------------------------------------------------------------------

coordinates = st.floats(0, 1000, allow_nan=False).map(lambda x: round(x, 2)) | st.floats(-1e6, 1e6, width=32)
points = st.lists(st.tuples(coordinates, coordinates), max_size=4)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)


@st.composite
def datasets(draw):
    """Images in memory with objects of every kind that COCO can say."""
    n = draw(st.integers(1, 4))
    classes = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    per_image = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    m = sum(per_image)
    labels = draw(st.lists(st.integers(-1, len(classes) - 1), min_size=m, max_size=m))
    columns = {"labels": np.array(labels, np.int64), "boxes": _boxes(draw, m), **_masks(draw, m)}
    columns["ids"] = np.array(draw(st.lists(st.integers(0, 2**62), min_size=m, max_size=m)), np.int64)
    columns["areas"] = np.array(draw(st.lists(st.floats(0, 1e9) | st.just(np.nan), min_size=m, max_size=m)))
    columns["flags"] = np.array(draw(st.lists(st.sampled_from([0, CROWD]), min_size=m, max_size=m)), np.uint8)
    columns |= _keypoints(draw, m, columns["labels"])
    offsets = np.concatenate([[0], np.cumsum(per_image)]).astype(np.int64)
    images = np.arange(n * 4 * 5 * 3, dtype=np.uint8).reshape(n, 4, 5, 3)
    return Dataset(
        "made", ArrayImages(images), {"objects": Objects(offsets, **columns), **_columns(draw, n)}, tuple(classes),
        _splits(draw, n), tables=_table(draw, len(classes)),
    )  # fmt: skip


def _boxes(draw, m):
    """As a reader makes them: right edge = left edge + width."""
    boxes = np.array(draw(st.lists(st.tuples(*[coordinates] * 4), min_size=m, max_size=m)), np.float64).reshape(m, 4)
    boxes[:, 2:] += boxes[:, :2]
    boxes[draw(st.lists(st.booleans(), min_size=m, max_size=m))] = np.nan
    return boxes


def _masks(draw, m):
    """Each object has rings, run lengths or neither."""
    kinds = draw(st.lists(st.sampled_from(["", "rings", "runs"]), min_size=m, max_size=m))
    rings = [draw(st.lists(points, min_size=1, max_size=2)) if kind == "rings" else [] for kind in kinds]
    runs = [draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6)) if k == "runs" else [] for k in kinds]
    found = {}
    if any(rings):
        packed = [[np.array(ring, np.float32).reshape(-1, 2) for ring in one] for one in rings]
        found["outlines"] = Ragged.pack_nested(packed, np.empty((0, 2), np.float32))
    if any(runs):
        found["runs"] = Ragged.pack([np.array(one, np.uint32) for one in runs], np.empty(0, np.uint32))
    return found


def _keypoints(draw, m, labels):
    if not draw(st.booleans()):
        return {}
    joints = draw(st.lists(names, min_size=1, max_size=3))
    edges = draw(st.lists(st.tuples(*[st.integers(0, len(joints) - 1)] * 2), max_size=3))
    count = m * len(joints)
    xyv = st.tuples(coordinates, coordinates, st.integers(0, 2))
    values = draw(st.lists(xyv, min_size=count, max_size=count))
    skeleton = Skeleton(tuple(joints), tuple(edges))
    return {"keypoints": np.array(values, np.float32).reshape(m, len(joints), 3), "skeleton": skeleton}


def _columns(draw, n):
    found = {}
    if draw(st.booleans()):
        ids = draw(st.lists(st.integers(-(2**62), 2**62), min_size=n, max_size=n, unique=True))
        found["image_id"] = np.array(ids, np.int64)
    if draw(st.booleans()):
        found["declared_size"] = np.array(
            draw(st.lists(st.tuples(*[st.integers(1, 9999)] * 2), min_size=n, max_size=n))
        )
    return found


def _splits(draw, n):
    """Each image in one part or in none; or no parts."""
    if draw(st.booleans()):
        return {}
    parts = draw(st.lists(st.sampled_from(["train", "train-dev", "dev", "test", ""]), min_size=n, max_size=n))
    return {part: np.array([i for i in range(n) if parts[i] == part], np.int64) for part in sorted(set(parts) - {""})}


def _table(draw, k):
    if draw(st.booleans()):
        return {}
    numbers = draw(st.lists(st.integers(-(2**62), 2**62), min_size=k, max_size=k, unique=True))
    return {"category_id": np.array(numbers, np.int64)}


def scene(dataset):
    """Everything that COCO can say of a data set, as lists: what must come back. NaN is None."""
    objects = dataset.annotations["objects"]
    parts = {i: part for part, index in dataset.splits.items() for i in index.tolist()}
    found = []
    for i in range(len(dataset)):
        rows = range(*objects.offsets[i : i + 2].tolist())
        found.append((dataset.images.read(i).tolist(), parts.get(i, ""), [_object(dataset, objects, m) for m in rows]))
    return sorted(found, key=repr), dataset.classes, objects.skeleton


def _object(dataset, o, m):
    label = int(o.labels[m])
    return (
        dataset.classes[label] if label >= 0 else None,
        _plain(o.boxes[m]),
        _plain(o.areas[m : m + 1]) if len(o.areas) else [None],
        int(o.flags[m]) if len(o.flags) else 0,
        int(o.ids[m]),
        [ring.tolist() for ring in o.outlines[m]] if o.outlines is not None else [],
        o.runs[m].tolist() if o.runs is not None else [],
        o.keypoints[m].tolist() if len(o.keypoints) else [],
    )


def _plain(values):
    return [None if np.isnan(value) else value for value in values.tolist()]
