"""Pascal VOC written: round trips bit for bit, masks, and what is lost is named."""

import numpy as np
import pytest
from data_layouts import by_image, datasets
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_sets import VOC, kinds, often, xml

from hubel.data.dataset import Dataset
from hubel.data.formats import voc
from hubel.data.formats.voc_masks import voc_colour
from hubel.data.formats.voc_xml import corner, edge
from hubel.data.images import ArrayImages, PackedNames
from hubel.data.masks import Masks
from hubel.data.objects import CROWD, Objects
from hubel.data.ragged import Ragged
from hubel.errors import UserError

# Writing -----------------------------------------------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.floats(), st.integers(-(10**9), 10**9).map(float), st.floats(-10, 10)), st.sampled_from([0, 1]))
@example(0.1, 1)
@example(1e-300, 1)
@example(float(2**53), 1)
def test_every_coordinate_comes_back_bit_for_bit(value, more):
    back = edge(corner(value, more), more)
    assert back == value or (np.isnan(back) and np.isnan(value))


def test_round_trip(fresh):
    @often
    @given(st.data())
    def check(data):
        made = data.draw(datasets(fresh(), flags=True))
        out = fresh() / "out"
        voc.write(made, out)
        back = voc.read(out)
        assert back.classes == made.classes
        assert {f.kind for f in back.findings} <= {"zero area"}
        assert by_image(back) == by_image(made)

    check()


def simple(**columns):
    images = ArrayImages(np.random.default_rng(0).integers(0, 256, (2, 10, 20, 3)).astype(np.uint8))
    objects = Objects(np.array([0, 1, 2]), np.array([[-1, 0, 5, 5], [1, 2.5, 3, 4.0]]), np.array([0, 1]), **columns)
    return Dataset("mem", images, {"objects": objects}, ("a & b", "<b>"))


def test_boxes_left_of_the_image_do_not_change_the_convention(fresh):
    """−1 is written as 0; the files say that they count from 1."""
    voc.write(simple(), out := fresh() / "out")
    back = voc.read(out)
    assert "<xmin>0</xmin>" in (out / "Annotations/000000.xml").read_text()
    assert back.annotations["objects"].boxes.tolist() == simple().annotations["objects"].boxes.tolist()
    assert back.classes == ("a & b", "<b>")
    assert all(np.array_equal(back.images.read(i), simple().images.read(i)) for i in range(2))
    assert back.annotations["declared_size"].tolist() == [[10, 20]] * 2


def test_what_is_lost_is_named(fresh):
    ring = Ragged.pack_nested([[np.zeros((3, 2))], []], np.empty((0, 2), np.float32))
    more = {"areas": np.ones(2), "ids": np.arange(2), "keypoints": np.zeros((2, 1, 3), np.float32)}
    made = simple(flags=np.array([0, CROWD], np.uint8), outlines=ring, **more)
    lost = " | ".join(voc.write(made, fresh() / "out"))
    for words in ("1 crowd flags", "1 outlines", "2 objects' keypoints", "2 areas", "2 ids", "1 boxes have fractions"):
        assert words in lost, lost


def test_unknown_classes_and_odd_names_of_classes(fresh):
    objects = Objects(np.array([0, 2, 3]), np.ones((3, 4)), np.array([-1, 0, 1]))
    made = Dataset("mem", simple().images, {"objects": objects}, ("two\nlines", "two lines"))
    lost = voc.write(made, out := fresh() / "out")
    back = voc.read(out)
    assert back.classes == ("two lines", "two lines (2)") and "2 names of classes were changed to fit one line" in lost
    assert back.annotations["objects"].labels.tolist() == [-1, 0, 1]


def test_nothing_is_overwritten(fresh):
    root = fresh()
    (root / "here.txt").write_text("mine")
    with pytest.raises(UserError, match="never overwritten"):
        voc.write(simple(), root)
    with pytest.raises(UserError, match="neither objects nor masks"):
        voc.write(Dataset("x", simple().images, {"label": np.zeros(2, np.int64)}, ("a",)), fresh() / "out")


def test_the_same_name_in_two_parts(fresh, make):
    files = {f"{part}/x.{end}": content for part in ("train", "test") for end, content in
             (("jpg", (20, 30)), ("xml", xml(("cat", 1, 1, 2 + len(part), 2))))}  # fmt: skip
    found = voc.read(make(files))
    voc.write(found, out := fresh() / "out")
    back = voc.read(out)
    assert {k: [back.annotations["objects"].boxes[i].tolist() for i in v] for k, v in back.splits.items()} == {
        "train": [[0, 0, 7, 2]], "test": [[0, 0, 6, 2]]}  # fmt: skip


# Masks -------------------------------------------------------------------------------------------------------


def test_segmentation_masks_become_a_column(make, fresh):
    values = np.array([[0, 8, 12], [255, 8, 0]], np.uint8)
    root = make(VOC | {"JPEGImages/a.jpg": (2, 3)})
    image = Image.fromarray(values)
    image.putpalette(np.array([voc_colour(k) for k in range(256)], np.uint8).tobytes())
    (root / "SegmentationClass").mkdir()
    image.save(root / "SegmentationClass/a.png")
    image.save(root / "SegmentationClass/gone.png")
    found = voc.read(root)
    mask = found.annotations["mask"]
    assert mask.classes[:1] == ("background",) and len(mask.classes) == 21
    assert (mask.classes[8], mask.classes[12]) == ("cat", "dog")  # as VOC numbers them
    assert mask.read(0).tolist() == values.tolist() and (mask.read(1) == 255).all()
    assert ("missing file", "SegmentationClass/gone.png", 0) in kinds(found)
    assert [voc_colour(k) for k in (0, 1, 2, 8, 20, 255)] == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (64, 0, 0), (0, 64, 128), (224, 224, 192)]  # fmt: skip
    out = fresh() / "out"
    assert voc.write(found, out) == []
    back = voc.read(out).annotations["mask"]
    assert back.classes == mask.classes and back.read(0).tolist() == values.tolist() and not len(back.names[1])
    assert "<segmented>1</segmented>" in (out / "Annotations/a.xml").read_text()


def test_masks_of_other_numbers_are_written_as_classes(fresh):
    root = fresh()
    Image.fromarray(np.array([[7, 9, 3]], np.uint8)).save(root / "m.png")
    Image.fromarray(np.zeros((1, 3, 3), np.uint8)).save(root / "i.png")
    names = PackedNames.pack(["m.png", ""]), PackedNames.pack(["i.png", "i.png"])
    images = ArrayImages(np.zeros((2, 1, 3, 3), np.uint8))
    made = Dataset("m", images, {"mask": Masks(str(root), *names, ("road", "sky"), np.array([7, 9]))}, ("road", "sky"))
    out = fresh() / "out"
    assert voc.write(made, out) == ["lost: values of 1 masks that mean no class; they are void (255)"]
    assert np.asarray(Image.open(out / "SegmentationClass/000000.png")).tolist() == [[0, 1, 255]]
    assert "road:0,0,0::" in (out / "labelmap.txt").read_text()
