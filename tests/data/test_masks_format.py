"""Images with masks: a real set, which mask is whose, which part is whose, writing; what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_sets import INDEX, RNG, kinds, often, photo, read_all, save_image

from hubel.data.dataset import Dataset
from hubel.data.formats import masks, open_path
from hubel.data.images import FileImages, PackedNames
from hubel.data.masks import Masks
from hubel.errors import UserError

# The real set ------------------------------------------------------------------------------------------------


def test_camvid_against_a_loop(camvid_dev, untouched):
    found = masks.read(untouched(camvid_dev))
    column = found.annotations["mask"]
    assert found.classes[:3] == ("Sky", "Building", "Pole") and len(found.classes) == 11
    assert {k: len(v) for k, v in found.splits.items()} == {"train": 150, "dev": 40} and not found.findings
    for i in range(0, len(found), 7):
        path = camvid_dev / found.images.name(i).replace("images", "masks").replace(".jpg", ".png")
        expected = np.asarray(Image.open(path)).copy()
        expected[expected == 11] = 255
        assert np.array_equal(column.read(i), expected) and column.read(i).dtype == np.uint8
        assert column.read(i).shape == found.images.read(i).shape[:2] and column.strange(i) == {}
    assert masks.read(camvid_dev / "data.yaml").hash() == found.hash()


def test_camvid_options_come_before_data_yaml(camvid_dev):
    found = masks.read(camvid_dev, names={3: "road", 8: "car"}, ignore=[0, 1, 2, 4, 5, 6, 7, 9, 10, 11])
    assert found.classes == ("road", "car")
    assert set(np.unique(found.annotations["mask"].read(0))) <= {0, 1, 255}
    found = masks.read(camvid_dev, names="Sky,Building", ignore=11)
    raw = np.asarray(Image.open(camvid_dev / "train/masks" / f"{Path(found.images.name(0)).stem}.png"))
    values, counts = np.unique(raw, return_counts=True)
    expected = {v: n for v, n in zip(values.tolist(), counts.tolist(), strict=True) if v not in (0, 1, 11)}
    assert found.annotations["mask"].strange(0) == expected
    assert (found.annotations["mask"].read(0)[raw > 1] == 255).all()


def test_camvid_round_trip(camvid_dev, tmp_path):
    found = masks.read(camvid_dev)
    assert masks.write(found, tmp_path / "out") == []
    back = masks.read(tmp_path / "out")
    assert (back.classes, back.findings) == (found.classes, ())
    assert [back.images.name(i) for i in range(190)] == [found.images.name(i) for i in range(190)]
    assert {k: v.tolist() for k, v in back.splits.items()} == {k: v.tolist() for k, v in found.splits.items()}
    for i in range(0, 190, 19):
        assert np.array_equal(back.annotations["mask"].read(i), found.annotations["mask"].read(i))
        assert Path(back.images.path(i)).read_bytes() == Path(found.images.path(i)).read_bytes()


# Which mask is whose -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("images/x/{}.png", "masks/x/{}.png"),
        ("images/{}.jpg", "masks/{}_mask.png"),
        ("images/{}.jpg", "masks/{}_label.png"),
        ("Images/{}.jpg", "Masks/{}.bmp"),
        ("images/{}.jpg", "labels/{}.png"),
        ("images/{}.jpg", "annotations/{}.tif"),
    ],
)
def test_names_of_masks(masked, image, mask, untouched):
    root = untouched(masked({"10": INDEX, "9": INDEX * 0}, "names: [x, y, z]", image=image, mask=mask))
    found = masks.read(root)
    assert [Path(found.images.name(i)).stem for i in range(2)] == ["9", "10"] and not found.findings
    assert read_all(found) == {"9": [[0] * 3] * 2, "10": [[0, 1, 2], [2, 255, 255]]}
    assert masks.recognise(root) and found.splits == {} and found.format == "masks" and found.source == str(root)


def test_parts(masked):
    layouts = [("{p}/images/{{}}.jpg", "{p}/masks/{{}}.png"), ("images/{p}/{{}}.jpg", "masks/{p}/{{}}.png")]
    for k, layout in enumerate(layouts):
        for part in ("train", "validation", "test"):
            image, mask = (one.format(p=part) for one in layout)
            root = masked({part[0]: INDEX}, "names: [x, y, z]", name=f"set{k}", image=image, mask=mask)
        found = masks.read(root)
        assert {p: [Path(found.images.name(i)).stem for i in v] for p, v in found.splits.items()} == {
            "train": ["t"], "dev": ["v"], "test": ["t"]}  # fmt: skip


@pytest.mark.parametrize("mask", ["{}annot/{{}}.png", "{}_masks/{{}}_mask.gif"])
def test_masks_in_a_folder_beside_each_part(masked, mask):
    for part, stem in (("train", "a"), ("val", "b")):
        root = masked({stem: INDEX}, "names: [x, y, z]", image=f"{part}/{{}}.png", mask=mask.format(part))
    found = open_path(root)
    assert found.format == "masks" and {p: v.tolist() for p, v in found.splits.items()} == {"train": [0], "dev": [1]}
    assert read_all(found) == {key: [[0, 1, 2], [2, 255, 255]] for key in "ab"}


def test_lists_and_data_yaml_name_the_parts(masked):
    root = masked({"a": INDEX, "b": INDEX, "c": INDEX}, "names: [x, y, z]")
    (root / "train.txt").write_text("a\r\nimages/b.jpg masks/b.png\nno\n")
    (root / "val.txt").write_text("c.jpg\n")
    found = masks.read(root)
    assert {k: v.tolist() for k, v in found.splits.items()} == {"train": [0, 1], "dev": [2]}
    assert [(f.kind, f.file, f.line) for f in found.findings] == [("missing file", "train.txt", 3)]
    (root / "data.yaml").write_text("names: [x, y, z]\ntrain: images\nval: [images/c.jpg]\n")
    found = masks.read(root)
    assert {k: v.tolist() for k, v in found.splits.items()} == {"train": [0, 1, 2], "dev": [2]}
    assert [f.reason for f in found.findings] == ["the image is in train and in dev"]


def test_images_without_masks_and_masks_without_images(masked):
    root = masked({"a": INDEX, "b": INDEX}, "names: [x, y, z]")
    (root / "masks/a.png").rename(root / "masks/gone.png")
    found = masks.read(root)
    assert kinds(found) == [("missing file", "masks/gone.png", 0)]
    assert found.annotations["mask"].read(0).tolist() == [[255] * 3] * 2
    assert any("1 images have no mask" in note for note in found.notes)


def test_a_part_without_masks(masked):
    root = masked({"a": INDEX}, "names: [x, y, z]", image="train/images/{}.jpg", mask="train/masks/{}.png")
    save_image(root / "test/images/b.jpg", photo(4, 5))
    found = masks.read(root)
    assert {k: len(v) for k, v in found.splits.items()} == {"train": 1, "test": 1}
    assert (found.annotations["mask"].read(1) == 255).all() and found.annotations["mask"].read(1).shape == (4, 5)


def test_hostile_names(masked, tmp_path):
    elsewhere = masked({"s": INDEX}, name="elsewhere")
    root = masked({"a": INDEX, "b": INDEX, "c": INDEX}, "names: [x, y, z]")
    (root / "masks/a.png").unlink()
    (root / "masks/a.png").symlink_to(elsewhere / "masks/s.png")
    (root / "masks/b.png").unlink()
    os.mkfifo(root / "masks/b.png")
    (root / "images/s.jpg").symlink_to(elsewhere / "images/s.jpg")
    (root / "classes.txt").symlink_to(tmp_path / "elsewhere/images/s.jpg")
    found = masks.read(root)
    assert [found.images.name(i) for i in range(len(found))] == ["images/a.jpg", "images/b.jpg", "images/c.jpg"]
    assert sorted(kinds(found)) == [("outside folder", "images/s.jpg", 0), ("outside folder", "masks/a.png", 0)]
    assert [bool(len(found.annotations["mask"].names[i])) for i in range(3)] == [False, False, True]


def test_lossy_masks_are_refused(masked):
    root = masked({"a": INDEX}, mask="masks/{}.jpg")
    assert masks.recognise(root)
    with pytest.raises(UserError, match="JPEG files change values"):
        masks.read(root)


def test_what_is_no_mask_set(masked, tmp_path):
    assert masks.recognise(masked({"a": INDEX}, image="cat/{}.jpg", mask="dog/{}.png")) is None
    assert masks.recognise(tmp_path / "nothing") is None
    root = masked({"a": INDEX}, name="b", mask="labels/{}.png")
    (root / "labels/a.png").rename(root / "labels/a.txt")
    assert masks.recognise(root) is None


# Writing -----------------------------------------------------------------------------------------------------


@often
@given(st.data())
def test_round_trip(tmp_path_factory, data):
    root = Path(tmp_path_factory.mktemp("made"))
    coloured = data.draw(st.booleans())
    n, k = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    values = np.array(
        data.draw(st.lists(st.integers(0, 2**24 - 1 if coloured else 255), min_size=k, max_size=k, unique=True))
    )
    has = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    for i in range(n):
        save_image(root / f"images/{i}.png", np.full((3, 4, 3), i, np.uint8))
        picked = values[RNG.integers(0, k, (3, 4))]
        picked = np.stack([picked >> 16, picked >> 8 & 255, picked & 255], -1) if coloured else picked
        if has[i]:
            save_image(root / f"masks/{i}.png", picked.astype(np.uint8))
    names = [PackedNames.pack(f"masks/{i}.png" if has[i] else "" for i in range(n))]
    names += [PackedNames.pack(f"images/{i}.png" for i in range(n))]
    words = st.text(min_size=1, max_size=5).filter(str.strip)
    classes = tuple(data.draw(st.lists(words, min_size=k, max_size=k, unique=True)))
    column = Masks(str(root), *names, classes, values, (), coloured)
    parts = data.draw(st.sampled_from([(), ("train",), ("train", "dev"), ("train-dev", "test")]))
    where = np.array(data.draw(st.lists(st.integers(0, len(parts)), min_size=n, max_size=n)))
    index = {part: np.flatnonzero(where == p) for p, part in enumerate(parts)}
    if data.draw(st.booleans()) and index:
        index[parts[0]] = np.arange(n)  # parts that overlap
    made = Dataset("made", FileImages(str(root), names[1]), {"mask": column}, classes, index)
    out = Path(tmp_path_factory.mktemp("made")) / "out"
    if not any(has):
        return
    assert masks.write(made, out) == []
    back = masks.read(out)
    assert back.classes == classes and not [f for f in back.findings if f.kind != "listed twice"]
    order = [int(back.images.read(i)[0, 0, 0]) for i in range(n)]
    assert sorted(order) == list(range(n))
    assert {p: sorted(order[i] for i in v) for p, v in back.splits.items()} == {
        p: v.tolist() for p, v in index.items() if len(v)
    }
    for i in range(n):
        assert np.array_equal(back.annotations["mask"].read(i), column.read(order[i]))


def test_nothing_is_overwritten(masked, fresh):
    found = masks.read(masked({"a": INDEX}))
    root = fresh()
    (root / "here.txt").write_text("mine")
    with pytest.raises(UserError, match="never overwritten"):
        masks.write(found, root)
    with pytest.raises(UserError, match="no masks, only label"):
        masks.write(Dataset("x", found.images, {"label": np.zeros(1, np.int64)}, ("a",)), fresh() / "out")


def test_settings_that_are_misspelt(masked):
    """A finding, and a sentence before a training; names for other programs are left alone."""
    found = masks.read(masked({"a": INDEX}, "name: streets\nignor: 2\nnames: [road, car, sky]\nauthor: me\n"))
    (one,) = found.findings
    assert (one.kind, one.line, one.severity) == ("unknown setting", 2, "warning") and "'ignore'" in one.reason
    assert found.remarks()[:-1] == found.notes
    assert found.remarks()[-1] == (
        "the data has 1 fault (unknown setting 1), which hubel data shows, such as data.yaml, line 2: 'ignor' means "
        "nothing here; did you mean 'ignore'?"
    )
    assert masks.read(masked({"a": INDEX}, "names: [road, car, sky]\nignore: 2\n", "other")).findings == ()
