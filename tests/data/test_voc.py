"""Pascal VOC: against a loop over ElementTree; which pixel is the first; layouts; what is refused."""

import os
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_sets import OFFICIAL, VOC, kinds, xml

from hubel.data.formats import voc
from hubel.data.formats.voc_xml import Refused, parse
from hubel.data.objects import DIFFICULT, OCCLUDED, TRUNCATED
from hubel.errors import UserError


def oracle(root, name):
    """Names, edges and flags of one image by the plainest loop."""
    found = []
    for thing in ET.parse(root / "Annotations" / f"{name}.xml").getroot().iter("object"):
        a, b, c, d = (float(thing.find(f"bndbox/{k}").text) for k in ("xmin", "ymin", "xmax", "ymax"))
        truncated, difficult = (int(thing.findtext(k) or 0) for k in ("truncated", "difficult"))
        found.append((thing.findtext("name"), [a - 1, b - 1, c, d], difficult * DIFFICULT | truncated * TRUNCATED))
    return found


def test_bccd_against_a_loop(bccd_dev, untouched):
    found = voc.read(untouched(bccd_dev))
    objects = found.annotations["objects"]
    assert found.classes == ("Platelets", "RBC", "WBC") and len(found) == 200
    assert {k: len(v) for k, v in found.splits.items()} == {"train": 150, "dev": 50}
    for i in range(len(found)):
        stem = Path(found.images.name(i)).stem
        rows = range(objects.offsets[i], objects.offsets[i + 1])
        mine = [(found.classes[objects.labels[m]], objects.boxes[m].tolist(), int(objects.flags[m])) for m in rows]
        assert mine == oracle(bccd_dev, stem)
        lines = (bccd_dev / "Annotations" / f"{stem}.xml").read_text().splitlines()
        assert all("<object>" in lines[objects.lines[m] - 1] for m in rows)
        assert objects.files[i].decode() == f"Annotations/{stem}.xml"
        in_train = stem in (bccd_dev / "ImageSets/Main/train.txt").read_text().split()
        assert (i in found.splits["train"]) == in_train == (i not in found.splits["dev"])
    assert (found.annotations["declared_size"] == [480, 640]).all()


def test_bccd_keeps_its_box_without_area(bccd_dev):
    """xmin = xmax = 181: one pixel by VOC's convention, and named."""
    found = voc.read(bccd_dev)
    (finding,) = found.findings
    objects = found.annotations["objects"]
    assert (finding.kind, finding.file) == ("zero area", "Annotations/BloodImage_00343.xml")
    box = objects.boxes[(objects.lines == finding.line) & (objects.images == finding.image)]
    assert box.tolist() == [[180, 328, 181, 329]]
    as_edges = voc.read(bccd_dev, origin=0).annotations["objects"]
    assert (as_edges.boxes[:, 2] == as_edges.boxes[:, 0]).sum() == 1


def test_bccd_round_trip(bccd_dev, tmp_path):
    found = voc.read(bccd_dev)
    assert voc.write(found, tmp_path / "out") == []
    back = voc.read(tmp_path / "out")
    assert back.annotations["objects"].digest() == found.annotations["objects"].digest()
    assert back.classes == found.classes and {k: v.tolist() for k, v in back.splits.items()} == {
        k: v.tolist() for k, v in found.splits.items()
    }
    for i in (0, 99, 199):
        assert Path(back.images.path(i)).read_bytes() == Path(found.images.path(i)).read_bytes()


def test_parts_flags_and_source(make, untouched):
    marks = ["<difficult>1</difficult>", "<truncated>1</truncated>", "<occluded>true</occluded>", "<pose>Left</pose>"]
    root = untouched(make(VOC | {"Annotations/b.xml": xml(("cat", 2, 3, 4, 5, *marks), ("cat", 2, 3, 4, 5, marks[1]))}))
    found = voc.read(root)
    assert (found.name, found.format, found.source, found.classes) == ("photos", "voc", str(root), ("cat", "dog"))
    assert {k: v.tolist() for k, v in found.splits.items()} == {"train": [0, 2], "dev": [1]}
    objects = found.annotations["objects"]
    assert objects.flags.tolist() == [0, 0, DIFFICULT | TRUNCATED | OCCLUDED, TRUNCATED]
    assert objects.boxes[0].tolist() == [0, 0, 30, 20] and objects.labels.tolist() == [1, 0, 0, 0]
    assert "not read, of so many objects: pose (1)" in found.notes
    assert voc.recognise(root) == "XML annotations in Annotations"


def test_trainval_counts_where_there_is_no_train(make):
    files = {k: v for k, v in VOC.items() if not k.endswith(("/train.txt", "/val.txt"))}
    assert {k: v.tolist() for k, v in voc.read(make(files)).splits.items()} == {"train": [0, 1, 2]}


@pytest.mark.parametrize(
    ("things", "extra", "first", "words"),
    [
        ([("a", 1, 1, 4, 4)], "", [0, 0, 4, 4], "count from 1 (VOC's convention"),
        ([("a", 3, 3, 4, 4), ("b", 0, 2, 3, 3)], "", [3, 3, 4, 4], "count from 0, because 1 coordinates are 0"),
        ([("a", 3, 3, 4, 4), ("b", 0.5, 2, 3, 3)], "", [3, 3, 4, 4], "count from 0"),
        ([("a", 3, 3, 4, 4), ("b", -1, 2, 3, 3)], "", [2, 2, 4, 4], "count from 1"),
        ([("a", 3, 3, 4, 4), ("b", 0, 2, 3, 3)], OFFICIAL, [2, 2, 4, 4], "as the files say"),
    ],
)  # fmt: skip
def test_which_pixel_is_the_first(make, things, extra, first, words):
    root = make({"a.jpg": (9, 9), "a.xml": xml(*things, extra=extra)})
    found = voc.read(root)
    assert found.annotations["objects"].boxes[0].tolist() == first
    assert any(words in note for note in found.notes)
    a, b, *rest = things[0][1:5]
    for origin in (0, 1):
        assert voc.read(root, origin=origin).annotations["objects"].boxes[0].tolist() == [a - origin, b - origin, *rest]
    with pytest.raises(UserError, match="origin is 0 or 1"):
        voc.read(root, origin=2)


@pytest.mark.parametrize(
    "layout",
    [
        ("{part}/x.jpg", "{part}/x.xml"),
        ("{part}/images/x.jpg", "{part}/annotations/x.xml"),
        ("{part}/JPEGImages/x.png", "{part}/Annotations/x.xml"),
    ],
)
def test_folders_of_parts(make, layout):
    files = {}
    for part in ("train", "valid", "test"):
        files |= {layout[0].format(part=part): (20, 30), layout[1].format(part=part): xml(("cat", 1, 2, 3, 4))}
    found = voc.read(make(files))
    assert {k: len(v) for k, v in found.splits.items()} == {"train": 1, "dev": 1, "test": 1} and not found.findings
    assert found.annotations["objects"].counts.tolist() == [1, 1, 1]


def test_a_part_without_annotations(make):
    found = voc.read(make({"train/x.jpg": (20, 30), "train/x.xml": xml(("cat", 1, 2, 3, 4)), "test/y.jpg": (9, 9)}))
    assert {k: len(v) for k, v in found.splits.items()} == {"train": 1, "test": 1}
    assert [(f.kind, f.file) for f in found.findings] == [("missing annotation", "test/y.jpg")]


@pytest.mark.parametrize("folders", [("", ""), ("images/", "annotations/"), ("images/", "annotations/xmls/")])
def test_without_lists(make, folders):
    root = make({f"{folders[0]}a 1.jpg": (9, 9), f"{folders[1]}a 1.xml": xml(("cat", 1, 2, 3, 4))})
    found = voc.read(root)
    assert found.splits == {} and found.annotations["objects"].counts.tolist() == [1] and not found.findings


def test_devkit(make, tmp_path):
    make(VOC, "kit/VOC2007")
    assert len(voc.read(tmp_path / "kit")) == 3
    make(VOC, "kit/VOC2012")
    assert voc.recognise(tmp_path / "kit") is None
    with pytest.raises(UserError, match="several VOC data sets: VOC2007, VOC2012"):
        voc.read(tmp_path / "kit")


def test_names_in_lists(make):
    files = {"JPEGImages/my cat 1.jpg": (9, 9), "Annotations/my cat 1.xml": xml(), "JPEGImages/b/2.jpg": (9, 9),
             "Annotations/b/2.xml": xml(("x", 1, 1, 2, 2)), }  # fmt: skip
    found = voc.read(make(files | {"ImageSets/Main/train.txt": "my cat 1\nb/2 1\nno\n\nmy cat 1\n"}))
    assert len(found.splits["train"]) == 2
    assert sorted(kinds(found)) == [
        ("listed twice", "JPEGImages/my cat 1.jpg", 0),
        ("missing file", "ImageSets/Main/train.txt", 3),
    ]


def test_what_is_missing_or_too_much(make):
    found = voc.read(make(VOC | {"Annotations/gone.xml": xml(("cat", 1, 1, 2, 2)), "JPEGImages/bare.jpg": (9, 9)}))
    assert sorted(kinds(found)) == [
        ("missing annotation", "JPEGImages/bare.jpg", 0), ("missing file", "Annotations/gone.xml", 0),
        ("zero area", "Annotations/a.xml", 4)]  # fmt: skip
    assert len(found) == 4 and any("1 images are in no list" in note for note in found.notes)


def test_a_file_of_another_name_says_its_image(make):
    files = {k: v for k, v in VOC.items() if k != "Annotations/b.xml"}
    other = xml(("cat", 2, 3, 4, 5), extra="<filename>b.jpg</filename>")
    found = voc.read(make(files | {"Annotations/other.xml": other, "Annotations/third.xml": other}))
    assert found.annotations["objects"].files[1].decode() == "Annotations/other.xml"
    assert ("listed twice", "Annotations/third.xml", 0) in kinds(found)


def test_wrong_objects_are_named_and_the_others_read(make):
    things = [
        ("cat", 1, 1, "x", 4),
        ("", 1, 1, 4, 4),
        ("cat", 1, "", 4, 4),
        ("cat", "nan", 1, 4, 4),
        ("cat", "1_0", 1, 4, 4),
    ]
    found = voc.read(make(VOC | {"Annotations/b.xml": xml(*things), "classes.txt": "cat\n\nbird\n"}))
    file = "Annotations/b.xml"
    assert [k for k in kinds(found) if k[1] == file] == [
        ("syntax", file, 2), ("unknown class", file, 4), ("syntax", file, 6), ("syntax", file, 10)]  # fmt: skip
    assert ("unknown class", "Annotations/a.xml", 2) in kinds(found)  # dog is not in classes.txt
    objects = found.annotations["objects"]
    assert found.classes == ("cat", "bird") and objects.labels.tolist() == [-1, 0, -1, 0]
    assert np.isnan(objects.boxes[3, 0]) and objects.boxes[3, 1:].tolist() == [0, 4, 4]


@pytest.mark.parametrize(
    ("content", "reason", "line"),
    [
        (b"<annotation>\n<object>", "no element found", 2),
        (b"", "no element found", 1),
        (b"<html></html>", "expected <annotation>, found <html>", 1),
        (b"<annotation>\n<a>caf\xe9</a></annotation>", "not UTF-8", 2),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "/etc/passwd">]><annotation><a>&x;</a></annotation>', "<!DOCTYPE is not", 1),
        (b"<annotation>" + b"<a>" * 50 + b"</a>" * 50 + b"</annotation>", "levels", 1),
        ("<annotation></annotation>".encode("utf-16"), "not UTF-8", 1),
        (b"<annotation>&unknown;</annotation>", "undefined entity", 1),
        (b"<annotation>\x00</annotation>", "no valid XML", 1),
    ],
)  # fmt: skip
def test_files_that_are_no_annotation(make, content, reason, line):
    found = voc.read(make(VOC | {"Annotations/b.xml": content}))
    (finding,) = [f for f in found.findings if f.kind == "syntax"]
    assert reason in finding.reason and finding.line == line and finding.file == "Annotations/b.xml"
    assert found.annotations["objects"].counts.tolist() == [2, 0, 0]


def test_hostile_names(make, tmp_path):
    elsewhere = make({"x.jpg": (7, 7), "x.xml": xml(("spy", 1, 1, 2, 2)), "classes.txt": "secret"}, "elsewhere")
    root = make(VOC | {"ImageSets/Main/train.txt": "../elsewhere/x\n/etc/passwd\na\n"})
    (root / "Annotations/b.xml").unlink()
    (root / "Annotations/b.xml").symlink_to(elsewhere / "x.xml")
    (root / "JPEGImages/x.jpg").symlink_to(elsewhere / "x.jpg")
    (root / "classes.txt").symlink_to(elsewhere / "classes.txt")
    (root / "Annotations/z.xml").write_text(xml(extra="<filename>../../elsewhere/x.jpg</filename>"))
    os.mkfifo(root / "Annotations/c2.xml")
    found = voc.read(root)
    assert [found.images.name(i) for i in range(len(found))] == [f"JPEGImages/{n}" for n in ("a.jpg", "b.jpg", "c.png")]
    assert found.classes == ("cat", "dog")
    outside = {f.file for f in found.findings if f.kind == "outside folder"}
    assert outside == {"JPEGImages/x.jpg", "Annotations/b.xml", "classes.txt"}
    assert found.splits["train"].tolist() == [0]
    assert {("missing file", "ImageSets/Main/train.txt", n) for n in (1, 2)} <= set(kinds(found))


def test_what_is_no_voc(make, tmp_path):
    assert voc.recognise(make({"cat/a.png": (9, 9), "notes.xml": "<notes/>"}, "folders")) is None
    assert voc.recognise(tmp_path / "nothing") is None
    with pytest.raises(UserError, match="no images"):
        voc.read(make({"Annotations/a.xml": xml()}, "bare"))


def test_xml_that_is_anything():
    parts = ["<annotation>", "</annotation>", "<object>", "</object>", "<name>", "</name>", "<bndbox>", "<xmin>"]
    parts += ["1", "&#1;", "é", "<!--", "-->", "<![CDATA[", "]]>"]

    @settings(max_examples=300, deadline=None)
    @given(
        st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(parts), max_size=12).map("".join).map(str.encode))
    )
    @example(b"<annotation><object/></annotation>")
    def check(content):
        try:
            found = parse(content)
        except Refused as fault:
            assert fault.reason
            return
        reference = ET.fromstring(content)
        assert len(found.things) == len(reference.findall("object"))

    check()
