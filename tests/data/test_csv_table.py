"""CSV files of labels, several labels, numbers and boxes: what each column means, what is wrong with which line."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hubel.data.dataset import Dataset
from hubel.data.formats import csv_table
from hubel.data.formats.csv_text import read_table
from hubel.data.images import ArrayImages
from hubel.data.objects import CROWD, DIFFICULT, OCCLUDED, TRUNCATED, Objects
from hubel.data.shapes import shapes
from hubel.errors import UserError

DOT = np.zeros((4, 5, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """folder(text, "a.png", …): a folder with images and labels.csv."""

    def make(text, *images, name="labels.csv"):
        root = tmp_path / "set"
        for image in images:
            (root / image).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(DOT).save(root / image)
        root.mkdir(exist_ok=True)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return root

    return make


def kinds(dataset):
    return sorted((f.kind, f.line) for f in dataset.findings)


def said(dataset, words):
    return any(words in note for note in dataset.notes)


ABC = ("a.png", "b.png", "c.png")


# One label -------------------------------------------------------------------------------------------------------


def test_one_label_with_parts_groups_and_weights(folder):
    root = folder(
        "file,label,split,patient,weight\na.png,cat,train,7,1\nb.png,dog,Val,7,0.5\nc.png,cat,test,9,\n", *ABC
    )
    assert "labels.csv" in csv_table.recognise(root)
    found = csv_table.read(root)
    assert (found.name, found.format, found.source, found.classes) == ("set", "csv", str(root), ("cat", "dog"))
    assert [found.images.name(i) for i in range(3)] == list(ABC)
    assert found.annotations["label"].tolist() == [0, 1, 0]
    assert {part: index.tolist() for part, index in found.splits.items()} == {"train": [0], "dev": [1], "test": [2]}
    assert found.annotations["group"].tolist() == [7, 7, 9]
    assert found.weights.tolist() == [1, 0.5, 1]
    assert found.images.read(0).shape == (4, 5, 3)
    assert not found.findings
    assert said(found, "labels in 'label'") and said(found, "separated by commas")


def test_the_file_itself(folder):
    root = folder("file,label\na.png,cat\nb.png,dog\n", "a.png", "b.png")
    (root / "other.csv").write_text("file,label\na.png,owl\nb.png,dog\n")
    assert csv_table.recognise(root) is None  # several
    assert csv_table.recognise(root / "labels.csv")
    found = csv_table.read(root / "labels.csv")
    assert found.name == "labels" and found.source == str(root / "labels.csv") and len(found) == 2


@pytest.mark.parametrize("delimiter, word", [(",", "commas"), (";", "semicolons"), ("\t", "tabs")])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_separators_ends_of_lines_and_byte_order_mark(folder, delimiter, word, ends, mark):
    rows = ["file,label,split", 'a.png,"big, ""red""; cat",train', "b.png,dog,test", ""]
    text = rows[0] + ends + ends.join(rows[1:])
    cells = list(csv.reader(io.StringIO(text, newline="")))
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=ends).writerows(cells)
    found = csv_table.read(folder(mark + out.getvalue().encode(), "a.png", "b.png"))
    assert said(found, f"separated by {word}")
    assert sorted(found.splits) == ["test", "train"] and said(found, "images in 'file'")  # without the mark
    if delimiter == ",":
        assert found.classes == ('big, "red"', "cat", "dog")  # a semicolon parts labels, a comma in quotes does not
    assert not found.findings


def test_a_line_break_within_quotes_and_the_lines_after_it(folder):
    root = folder('file,label,note\na.png,cat,"two\nlines"\nb.png,,x\n', "a.png", "b.png")
    found = csv_table.read(root)
    assert kinds(found) == [("empty label", 4)]


@pytest.mark.parametrize(
    "header",
    ["image,label", "path,class", "Filename,Category", "img_path,species", "foto,sorte", "image name,Class Name"],
)
def test_names_of_columns(folder, header):
    found = csv_table.read(folder(f"{header}\na.png,cat\nb.png,dog\n", "a.png", "b.png"))
    assert found.annotations["label"].tolist() == [0, 1] and found.classes == ("cat", "dog")


def test_options_win_over_names(folder):
    root = folder("file,label,kind,other\na.png,cat,x,b.png\nb.png,dog,y,a.png\n", "a.png", "b.png")
    assert csv_table.read(root, label="kind").classes == ("x", "y")
    assert csv_table.read(root, image="other").images.name(0) == "b.png"
    with pytest.raises(UserError, match="did you mean 'kind'"):
        csv_table.read(root, label="kint")


def test_files_in_a_folder_below_and_without_their_ending(folder):
    root = folder("id,breed\n17,pug\n9,beagle\n", "train/17.jpg", "train/9.jpg", "train/3.jpg")
    found = csv_table.read(root)
    assert [found.images.name(i) for i in range(2)] == ["train/17.jpg", "train/9.jpg"]
    assert found.classes == ("beagle", "pug")
    assert said(found, "relative to train") and said(found, "without their ending .jpg")
    assert said(found, "1 images are not listed")


def test_files_in_several_folders(folder):
    root = folder("file,label\na.png,x\nb.png,y\nc.png,x\n", "one/a.png", "one/b.png", "two/c.png")
    found = csv_table.read(root)
    assert [found.images.name(i) for i in range(3)] == ["one/a.png", "one/b.png", "two/c.png"]


def test_paths_of_another_machine(folder):
    root = folder("file,label\nC:\\data\\pics\\a.png,x\n/mnt/old/pics/b.png,y\n", "pics/a.png", "pics/b.png")
    found = csv_table.read(root)
    assert [found.images.name(i) for i in range(2)] == ["pics/a.png", "pics/b.png"]
    assert said(found, "another place")


def test_whole_numbers_are_classes_in_natural_order(folder):
    root = folder("file,label\na.png,10\nb.png,9\nc.png,10\n", *ABC)
    found = csv_table.read(root)
    assert found.classes == ("9", "10") and found.annotations["label"].tolist() == [1, 0, 1]
    found = csv_table.read(folder("file,label\na.png,1.0\nb.png,0.0\nc.png,1\n", *ABC))  # a table with gaps
    assert found.classes == ("0", "1") and found.annotations["label"].tolist() == [1, 0, 1]


def test_listed_classes_keep_their_order(folder):
    root = folder("file,label\na.png,cat\nb.png,emu\nc.png,dog\n", *ABC)
    (root / "classes.txt").write_text("dog\ncat\nbird\n")
    found = csv_table.read(root)
    assert found.classes == ("dog", "cat", "bird")
    assert kinds(found) == [("unknown class", 3)] and found.weights.tolist() == [1, 0, 1]
    assert found.annotations["label"][[0, 2]].tolist() == [1, 0]


def test_identities(folder):
    found = csv_table.read(folder("file,identity\na.png,Ann Lee\nb.png,Bo|b\nc.png,Ann Lee\n", *ABC))
    assert found.traits == {"identities": True} and found.classes == ("Ann Lee", "Bo|b")


def test_one_file_for_each_part(folder):
    folder("file,label\na.png,cat\nb.png,dog\n", "a.png", "b.png", name="train.csv")
    root = folder("label,file\ncat,c.png\n,a.png\n", "c.png", name="valid.csv")
    assert "train.csv, valid.csv" in csv_table.recognise(root)
    found = csv_table.read(root)
    assert {part: index.tolist() for part, index in found.splits.items()} == {"train": [1], "dev": [2]}
    assert found.annotations["label"].tolist() == [0, 1, 0] and found.weights.tolist() == [0, 1, 1]
    assert {(f.kind, f.file, f.line) for f in found.findings} == {
        ("conflicting labels", "valid.csv", 3), ("in two parts", "valid.csv", 3),
    }  # fmt: skip


# Several labels, numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["|", ";", " | "])
def test_several_labels_in_a_cell(folder, mark):
    root = folder(f"file,label\na.png,cat{mark}grass\nb.png,dog\nc.png,\n", *ABC)
    found = csv_table.read(root)
    assert found.classes == ("cat", "dog", "grass")
    assert found.annotations["labels"].tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert "label" not in found.annotations
    assert kinds(found) == [("empty label", 4)] and found.weights.tolist() == [1, 1, 1]
    assert said(found, "parts several labels")


def test_a_space_parts_labels_only_where_it_must(folder):
    one = csv_table.read(folder("file,label\na.png,golden retriever\nb.png,tabby cat\n", "a.png", "b.png"))
    assert one.classes == ("golden retriever", "tabby cat") and "labels" not in one.annotations
    assert not said(one, "parts")
    tags = csv_table.read(folder("file,tags\na.png,haze primary\nb.png,clear primary\n", "a.png", "b.png"))
    assert tags.classes == ("clear", "haze", "primary")
    assert tags.annotations["labels"].tolist() == [[0, 1, 1], [1, 0, 1]]
    numbers = csv_table.read(folder("file,Target\na.png,16 0\nb.png,7\n", "a.png", "b.png"))
    assert numbers.classes == ("0", "7", "16")
    asked = csv_table.read(folder("file,label\na.png,x+y\nb.png,y\n", "a.png", "b.png"), separator="+")
    assert asked.classes == ("x", "y") and asked.annotations["labels"].tolist() == [[1, 1], [0, 1]]
    comma = csv_table.read(folder('file,label\na.png,"tench, Tinca tinca"\nb.png,cat\n', "a.png", "b.png"))
    assert comma.classes == ("cat", "tench, Tinca tinca")


def test_a_column_of_0_and_1_for_each_class(folder):
    root = folder("file,cat,dog,grass\na.png,1,0,1\nb.png,0,1.0,\nc.png,false,-1,?\n", *ABC)
    found = csv_table.read(root)
    assert found.classes == ("cat", "dog", "grass")
    expected = np.array([[1, 0, 1], [0, 1, np.nan], [0, np.nan, np.nan]], np.float32)
    assert np.array_equal(found.annotations["labels"], expected, equal_nan=True)
    assert said(found, "3 cells say neither") and not found.findings
    one = csv_table.read(folder("file,cat,dog\na.png,1,0\nb.png,0,1\n", "a.png", "b.png"))
    assert one.annotations["label"].tolist() == [0, 1]
    asked = csv_table.read(folder("file,cat,dog,x\na.png,1,0,q\nb.png,5,1,r\n", "a.png", "b.png"), label="cat,dog")
    assert asked.classes == ("cat", "dog") and kinds(asked) == [("not 0 or 1", 3)]


def test_a_label_beside_columns_of_0_and_1_counts(folder):
    root = folder("file,label,labels.cat,labels.dog\na.png,cat,1,0\nb.png,cat,0,1\n", "a.png", "b.png")
    (root / "classes.txt").write_text("cat\ndog\n")
    found = csv_table.read(root)
    assert found.annotations["label"].tolist() == [0, 0] and found.classes == ("cat", "dog")
    assert found.annotations["labels"].tolist() == [[1, 0], [0, 1]]


def test_several_lines_for_an_image_give_several_labels(folder):
    root = folder("file,label\na.png,cat\na.png,dog\nb.png,dog\nb.png,emu\nc.png,cat\n", *ABC)
    found = csv_table.read(root)
    assert found.annotations["labels"].tolist() == [[1, 1, 0], [0, 1, 1], [1, 0, 0]]
    assert said(found, "several lines for an image")


def test_numbers(folder):
    found = csv_table.read(folder("file,age\na.png,3.5\nb.png,4\nc.png,-1e2\n", *ABC))
    assert found.annotations["numbers"].tolist() == [[3.5], [4], [-100]] and not found.classes
    found = csv_table.read(folder("file,dx,dy\na.png,3,4\nb.png,4,7\nc.png,5,1\n", *ABC))
    assert found.annotations["numbers"].tolist() == [[3, 4], [4, 7], [5, 1]]
    found = csv_table.read(folder("file,label\na.png,0.25\nb.png,4\nc.png,1\n", *ABC))
    assert found.annotations["numbers"].tolist() == [[0.25], [4], [1]]
    found = csv_table.read(folder("file,year,label\na.png,1900,x\nb.png,1901,y\nc.png,2000,x\n", *ABC), numbers="year")
    assert found.annotations["numbers"].tolist() == [[1900], [1901], [2000]]
    assert found.annotations["label"].tolist() == [0, 1, 0]


def test_what_could_be_anything_is_asked_for(folder):
    root = folder("file,colour,size\na.png,red,big\nb.png,blue,small\n", "a.png", "b.png")
    with pytest.raises(UserError, match=r"colour, size.*label=colour"):
        csv_table.read(root)
    assert csv_table.read(root, label="size").classes == ("big", "small")


# Faults ----------------------------------------------------------------------------------------------------------


def test_every_fault_has_its_line(folder):
    text = (
        "file,label,split\na.png,cat,train\nmissing.png,cat,train\nb.png,,train\n../out.png,cat,\n,cat,train\n"
        "c.png,dog,nowhere\nd.png,cat\na.png,cat,train\nd.png,dog,test,extra\n/etc/passwd,dog,test\n"
        'e.png,"dog" x,test\ne.png,dog,test\n'
    )
    root = folder(text, "a.png", "b.png", "c.png", "d.png", "e.png")
    (root.parent / "out.png").write_bytes((root / "a.png").read_bytes())
    found = csv_table.read(root)
    assert kinds(found) == sorted([
        ("missing file", 3), ("empty label", 4), ("outside folder", 5), ("missing file", 6), ("unknown part", 7),
        ("broken line", 8), ("listed twice", 9), ("broken line", 10), ("outside folder", 11), ("broken line", 12),
    ])  # fmt: skip
    assert [found.images.name(i) for i in range(len(found))] == ["a.png", "b.png", "c.png", "e.png"]
    assert found.weights.tolist() == [1, 0, 1, 1] and [bad.name for bad in found.quarantine] == ["b.png"]
    assert {part: index.tolist() for part, index in found.splits.items()} == {"train": [0], "test": [3]}
    assert all(f.file == "labels.csv" and f.action and f.reason for f in found.findings)


def test_an_image_with_two_labels_takes_no_part(folder):
    lines = "".join(f"{i}.png,{'cat' if i % 2 else 'dog'}\n" for i in range(20))
    found = csv_table.read(folder(f"file,label\n{lines}3.png,dog\n", *(f"{i}.png" for i in range(20))))
    assert kinds(found) == [("conflicting labels", 22)] and "line 5" in found.findings[0].reason
    assert found.weights[3] == 0 and found.weights.sum() == 19 and found.findings[0].image == 3


def test_numbers_that_are_none(folder):
    lines = ["1.5", "x", "", "2,5", "inf", "٣", "1_0", "nan", "0x10"]
    text = "file,number\n" + "".join(f'{i}.png,"{cell}"\n' for i, cell in enumerate(lines))
    found = csv_table.read(folder(text, *(f"{i}.png" for i in range(len(lines)))))
    assert kinds(found) == [("not a number", line) for line in range(3, 11)]
    assert found.weights.tolist() == [1] + [0] * 8
    assert "decimal comma" in next(f.reason for f in found.findings if f.line == 5)


def test_weights_that_are_none(folder):
    found = csv_table.read(folder("file,label,weight\na.png,x,-1\nb.png,y,2\nc.png,x,w\n", *ABC))
    assert found.weights.tolist() == [1, 2, 1]
    assert {("bad weight", 2), ("bad weight", 4)} <= set(kinds(found))


def test_links_that_lead_out_are_not_opened(folder, tmp_path):
    root = folder("file,label\na.png,x\nl.png,y\nb.png,y\n", "a.png", "b.png")
    (tmp_path / "secret.png").write_bytes((root / "a.png").read_bytes())
    (root / "l.png").symlink_to(tmp_path / "secret.png")
    found = csv_table.read(root)
    assert kinds(found) == [("outside folder", 3)] and len(found) == 2


@pytest.mark.parametrize("text, words", [
    ("", "empty"), ("file,label\n", "no column names images"), (b"file,label\na.png,caf\xe9\n", "line 2.*UTF-8"),
    ("file,label\nzzz.png,cat\n", "no column names images"), ("file,label,Label\na.png,x,y\n", "'label' twice"),
    ("file,label\n".encode("utf-16"), "UTF-16"),
])  # fmt: skip
def test_what_can_not_be_read(folder, text, words):
    with pytest.raises(UserError, match=words):
        csv_table.read(folder(text, "a.png"))


def test_an_open_quote_costs_one_line(folder):
    found = csv_table.read(folder('file,label\na.png,"cat\nb.png,dog\nc.png,cat\n', *ABC))
    assert kinds(found) == [("broken line", 2)] and [found.images.name(i) for i in range(2)] == ["b.png", "c.png"]


def test_what_is_no_such_folder(folder, tmp_path):
    assert csv_table.recognise(tmp_path) is None
    assert csv_table.recognise(tmp_path / "missing") is None
    assert csv_table.recognise(folder("a,b\n1,2\n", "x.png")) is None
    (tmp_path / "set" / "x.jpg").write_bytes(b"junk")
    assert csv_table.recognise(tmp_path / "set" / "x.jpg") is None


def test_nothing_is_written(folder):
    root = folder("file,label\na.png,cat\nb.png,dog\n", "a.png", "b.png")
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.rglob("*")}
    csv_table.recognise(root), csv_table.read(root)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.rglob("*")} == before


# Boxes -----------------------------------------------------------------------------------------------------------


def test_a_box_in_each_row(folder):
    root = folder(
        "filename,width,height,class,xmin,ymin,xmax,ymax,difficult,split\n"
        "b.png,5,4,dog,1,2,3.5,4,1,train\na.png,5,4,cat,0,0,5,4,0,test\nb.png,5,4,cat,9,8,7,6,0,train\nc.png,5,4,,,,,,,\n",
        *ABC,
    )
    found = csv_table.read(root)
    objects = found.annotations["objects"]
    assert [found.images.name(i) for i in range(3)] == ["b.png", "a.png", "c.png"]
    assert objects.offsets.tolist() == [0, 2, 3, 3] and found.classes == ("cat", "dog")
    assert objects.boxes.tolist() == [[1, 2, 3.5, 4], [9, 8, 7, 6], [0, 0, 5, 4]]  # inverted: kept as it is
    assert objects.labels.tolist() == [1, 0, 0] and objects.flags.tolist() == [DIFFICULT, 0, 0]
    assert objects.lines.tolist() == [2, 4, 3] and objects.files[1] == b"labels.csv"
    assert found.annotations["declared_size"].tolist() == [[4, 5]] * 3
    assert {part: index.tolist() for part, index in found.splits.items()} == {"train": [0], "test": [1]}
    assert not found.findings


@pytest.mark.parametrize("header, row, box", [
    ("file,x,y,w,h,label", "a.png,1,2,3,1,cat", [1, 2, 4, 3]),
    ("file,x1,y1,x2,y2,label", "a.png,1,2,3,4,cat", [1, 2, 3, 4]),
    ("file,x,y,width,height,label", "a.png,1,2,3,1,cat", [1, 2, 4, 3]),
    ("file,left,top,right,bottom,label", "a.png,1,2,3,4,cat", [1, 2, 3, 4]),
])  # fmt: skip
def test_ways_to_say_a_box(folder, header, row, box):
    found = csv_table.read(folder(f"{header}\n{row}\n", "a.png"))
    assert found.annotations["objects"].boxes.tolist() == [box] and found.classes == ("cat",)


def test_faults_of_boxes_leave_the_image_in(folder):
    root = folder(
        "file,xmin,ymin,xmax,ymax,label\na.png,1,x,3,4,cat\na.png,1,2,3,4,\nb.png,,,,,dog\nc.png,nan,1,2,3,dog\n", *ABC
    )
    found = csv_table.read(root)
    objects = found.annotations["objects"]
    assert kinds(found) == [("empty label", 3), ("not a number", 2)] + [("not a number", 4)] * 4
    assert np.array_equal(objects.boxes[0], [1, np.nan, 3, 4], equal_nan=True)
    assert np.isnan(objects.boxes[2]).all() and np.isnan(objects.boxes[3][0])
    assert objects.labels.tolist() == [0, -1, 1, 1] and found.weights.tolist() == [1, 1, 1]


def test_an_image_in_two_parts_is_named(folder):
    text = "file,xmin,ymin,xmax,ymax,label,split\na.png,1,2,3,4,cat,train\na.png,1,2,3,4,cat,test\n"
    found = csv_table.read(folder(text, "a.png"))
    assert (
        kinds(found) == [("in two parts", 3)] and found.splits["train"].tolist() == [0] and "test" not in found.splits
    )


# Written and read again ------------------------------------------------------------------------------------------


def same(found, expected, lost=()):
    assert found.classes == expected.classes
    for name, values in expected.annotations.items():
        if name in lost:
            continue
        if isinstance(values, Objects):
            again = found.annotations[name]
            assert again.offsets.tolist() == values.offsets.tolist()
            assert np.array_equal(again.boxes, values.boxes, equal_nan=True)
            assert again.labels.tolist() == values.labels.tolist()
            flags = values.flags if len(values.flags) else np.zeros(values.count, np.uint8)
            assert (again.flags if len(again.flags) else np.zeros(again.count, np.uint8)).tolist() == flags.tolist()
        else:
            assert np.array_equal(found.annotations[name], values, equal_nan=values.dtype.kind == "f")
    assert {k: v.tolist() for k, v in found.splits.items()} == {
        k: sorted(v.tolist()) for k, v in expected.splits.items()
    }
    assert np.array_equal(found.weights, expected.weights)
    for i in range(len(expected)):
        assert np.array_equal(found.images.read(i), expected.images.read(i))


WORDS = st.text("abcXYZ019 _-éß漢|;,'\".%", min_size=1, max_size=9).map(lambda t: " ".join(t.split())).filter(bool)


@st.composite
def datasets(draw):
    n, k = draw(st.integers(1, 7)), draw(st.integers(2, 5))
    classes = tuple(draw(st.lists(WORDS, min_size=k, max_size=k, unique=True)))
    columns = {}
    kind = draw(st.sampled_from(["label", "labels", "numbers", "objects", "label+numbers", "label+labels"]))
    ints = lambda low, high: draw(st.lists(st.integers(low, high), min_size=n, max_size=n))  # noqa: E731
    if "label" in kind.split("+"):
        columns["label"] = np.array(ints(0, k - 1))
    if "labels" in kind.split("+"):
        cells = draw(st.lists(st.sampled_from([0.0, 1.0, np.nan] if draw(st.booleans()) else [0.0, 1.0]),
                              min_size=n * k, max_size=n * k))  # fmt: skip
        columns["labels"] = np.array(cells, np.float32).reshape(n, k)
    if "numbers" in kind:
        d = draw(st.integers(1, 3))
        cells = draw(
            st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=n * d, max_size=n * d)
        )
        columns["numbers"] = np.array(cells, np.float32).reshape(n, d)
    if kind == "objects":
        counts = np.array(ints(0, 3))
        m = int(counts.sum())
        boxes = draw(st.lists(st.floats(), min_size=4 * m, max_size=4 * m))
        columns["objects"] = Objects(
            np.concatenate([[0], np.cumsum(counts)]), boxes=np.array(boxes, float).reshape(-1, 4),
            labels=np.array(draw(st.lists(st.integers(-1, k - 1), min_size=m, max_size=m)), np.int64),
            flags=np.array(draw(st.lists(st.integers(0, 15), min_size=m, max_size=m)), np.uint8),
        )  # fmt: skip
    if draw(st.booleans()):
        columns["group"] = np.array(ints(-5, 10**12))
    if draw(st.booleans()):
        columns["image_id"] = np.array(ints(0, 99))
    splits = {}
    if draw(st.booleans()):
        parts = np.array(ints(0, 4))
        splits = {
            p: np.flatnonzero(parts == i)
            for i, p in enumerate(("train", "train-dev", "dev", "test"))
            if (parts == i).any()
        }
    weights = np.array(draw(st.lists(st.floats(0, 100, width=32), min_size=n, max_size=n)), np.float32)
    if draw(st.booleans()):
        weights = np.ones(n, np.float32)
    rng = np.random.default_rng(n)
    images = ArrayImages(rng.integers(0, 256, (n, 4, 5, 3)).astype(np.uint8))
    return Dataset("set", images, columns, classes if kind != "numbers" else (), splits, weights)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(datasets())
def test_what_is_written_is_read_again(tmp_path_factory, dataset):
    out = tmp_path_factory.mktemp("csv") / "out"
    lost = csv_table.write(dataset, out)
    assert not lost, lost
    found = csv_table.read(out)
    same(found, dataset)
    extra = set(found.annotations) - set(dataset.annotations)
    assert extra <= {"label"}  # exactly one 1 in each row is a label, too
    assert all(f.kind in ("empty label", "not a number") for f in found.findings)


@pytest.mark.parametrize("kind, lost", [("detection", 3), ("labels", 0), ("counts", 0), ("classes", 0), ("faces", 4)])
def test_drawn_data_written_and_read_again(tmp_path, kind, lost):
    dataset = shapes(20, 24, kind=kind)
    if kind == "counts":
        dataset = Dataset("counts", dataset.images, dataset.annotations)
    told = csv_table.write(dataset, tmp_path / "out")
    assert len(told) == lost, told
    found = csv_table.read(tmp_path / "out")
    same(found, dataset, {"label"} if kind == "faces" else ())
    if kind == "detection":
        count = dataset.annotations["objects"].count
        assert [f"{what} of {count} objects: not said by CSV" for what in ("outlines", "keypoints", "areas")] == told
        assert set(found.annotations["objects"].flags.tolist()) <= {0, OCCLUDED, TRUNCATED, OCCLUDED | TRUNCATED}


def test_files_are_copied_as_they_are(folder, tmp_path):
    root = folder(
        "file,label,split\nx/a.png,cat,train\ny/a.png,dog,train\nb.png,cat,test\n", "x/a.png", "y/a.png", "b.png"
    )
    found = csv_table.read(root)
    out = tmp_path / "out"
    assert csv_table.write(found, out) == []
    again = csv_table.read(out)
    same(again, found)
    for i in range(3):
        assert Path(again.images.path(i)).read_bytes() == Path(found.images.path(i)).read_bytes()
        assert again.images.name(i).endswith(found.images.name(i))
    with pytest.raises(UserError, match="never overwritten"):
        csv_table.write(found, out)


def test_what_is_lost_is_counted(tmp_path):
    dataset = shapes(6, 24, seed=1)
    objects = dataset.annotations["objects"]
    told = csv_table.write(dataset, tmp_path / "out")
    for words in ("'mask' of 6 images", "'labels' of 6", "'numbers' of 6", f"outlines of {objects.count} objects"):
        assert any(words in one for one in told), told
    assert CROWD == 1


# Against csv and against anything --------------------------------------------------------------------------------


CELLS = st.text("ab,;\t\"'\n\r 1é", max_size=5)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.text("ab,;\t\"'\n\r 1é", max_size=5), min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(",;\t"),
)
def test_text_is_parsed_as_the_standard_library_writes_it(tmp_path_factory, rows, delimiter):
    path = tmp_path_factory.mktemp("text") / "x.csv"
    rows = [["one", "two", "three"], *rows]
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    path.write_bytes(out.getvalue().encode())
    table = read_table(path, "x.csv")
    if table.delimiter == delimiter:
        assert not table.findings
        assert table.rows == [[c.strip() for c in row] for row in rows[1:] if any(c.strip() for c in row)]
        line, lines = 1, []
        for row in rows:
            if any(c.strip() for c in row):
                lines.append(line)
            line += 1 + sum(len(io.StringIO(c + "x", newline="").readlines()) - 1 for c in row)
        assert table.lines == lines[1:]


PIECES = st.sampled_from(
    [b"a.png", b"file", b"label", b",", b";", b"\t", b"\n", b"\r\n", b'"', b"cat", b"1", b"\xff", b"\0", b"..", b"/"]
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.binary(max_size=80), st.lists(PIECES, max_size=40).map(b"".join), st.text(max_size=60).map(str.encode))
)
def test_any_bytes_give_findings_or_a_user_error(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("any")
    Image.fromarray(DOT).save(root / "a.png")
    for content in (
        data,
        b"file,label\na.png,cat\n" + data,
        b"file,xmin,ymin,xmax,ymax,label\na.png,1,2,3,4,x\n" + data,
    ):
        (root / "labels.csv").write_bytes(content)
        csv_table.recognise(root)
        try:
            found = csv_table.read(root)
        except UserError:
            continue
        assert len(found) >= 1 and all(f.reason and f.action for f in found.findings)
