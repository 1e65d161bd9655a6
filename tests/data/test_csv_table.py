"""Tables of labels in CSV: one label, several, numbers, boxes; which columns and files are meant."""

import csv
import io

import numpy as np
import pytest
from small_sets import ABC, faults, said

from hubel.data.formats import csv_table
from hubel.data.objects import DIFFICULT
from hubel.errors import UserError

# One label ---------------------------------------------------------------------------------------------------


def test_one_label_with_parts_groups_and_weights(table):
    root = table("file,label,split,patient,weight\na.png,cat,train,7,1\nb.png,dog,Val,7,0.5\nc.png,cat,test,9,\n", *ABC)
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


def test_the_file_itself(table):
    root = table("file,label\na.png,cat\nb.png,dog\n", "a.png", "b.png")
    (root / "other.csv").write_text("file,label\na.png,owl\nb.png,dog\n")
    assert csv_table.recognise(root) is None  # several
    assert csv_table.recognise(root / "labels.csv")
    found = csv_table.read(root / "labels.csv")
    assert found.name == "labels" and found.source == str(root / "labels.csv") and len(found) == 2


@pytest.mark.parametrize("delimiter, word", [(",", "commas"), (";", "semicolons"), ("\t", "tabs")])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_separators_ends_of_lines_and_byte_order_mark(table, delimiter, word, ends, mark):
    rows = ["file,label,split", 'a.png,"big, ""red""; cat",train', "b.png,dog,test", ""]
    text = rows[0] + ends + ends.join(rows[1:])
    cells = list(csv.reader(io.StringIO(text, newline="")))
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=ends).writerows(cells)
    found = csv_table.read(table(mark + out.getvalue().encode(), "a.png", "b.png"))
    assert said(found, f"separated by {word}")
    assert sorted(found.splits) == ["test", "train"] and said(found, "images in 'file'")  # without the mark
    if delimiter == ",":
        assert found.classes == ('big, "red"', "cat", "dog")  # a semicolon parts labels, a comma in quotes does not
    assert not found.findings


def test_a_line_break_within_quotes_and_the_lines_after_it(table):
    root = table('file,label,note\na.png,cat,"two\nlines"\nb.png,,x\n', "a.png", "b.png")
    found = csv_table.read(root)
    assert faults(found) == [("empty label", 4)]


@pytest.mark.parametrize(
    "header",
    ["image,label", "path,class", "Filename,Category", "img_path,species", "foto,sorte", "image name,Class Name"],
)
def test_names_of_columns(table, header):
    found = csv_table.read(table(f"{header}\na.png,cat\nb.png,dog\n", "a.png", "b.png"))
    assert found.annotations["label"].tolist() == [0, 1] and found.classes == ("cat", "dog")


def test_options_win_over_names(table):
    root = table("file,label,kind,other\na.png,cat,x,b.png\nb.png,dog,y,a.png\n", "a.png", "b.png")
    assert csv_table.read(root, label="kind").classes == ("x", "y")
    assert csv_table.read(root, image="other").images.name(0) == "b.png"
    with pytest.raises(UserError, match="did you mean 'kind'"):
        csv_table.read(root, label="kint")


def test_files_in_a_folder_below_and_without_their_ending(table):
    root = table("id,breed\n17,pug\n9,beagle\n", "train/17.jpg", "train/9.jpg", "train/3.jpg")
    found = csv_table.read(root)
    assert [found.images.name(i) for i in range(2)] == ["train/17.jpg", "train/9.jpg"]
    assert found.classes == ("beagle", "pug")
    assert said(found, "relative to train") and said(found, "without their ending .jpg")
    assert said(found, "1 images are not listed")


def test_files_in_several_folders(table):
    root = table("file,label\na.png,x\nb.png,y\nc.png,x\n", "one/a.png", "one/b.png", "two/c.png")
    found = csv_table.read(root)
    assert [found.images.name(i) for i in range(3)] == ["one/a.png", "one/b.png", "two/c.png"]


def test_paths_of_another_machine(table):
    root = table("file,label\nC:\\data\\pics\\a.png,x\n/mnt/old/pics/b.png,y\n", "pics/a.png", "pics/b.png")
    found = csv_table.read(root)
    assert [found.images.name(i) for i in range(2)] == ["pics/a.png", "pics/b.png"]
    assert said(found, "another place")


def test_whole_numbers_are_classes_in_natural_order(table):
    root = table("file,label\na.png,10\nb.png,9\nc.png,10\n", *ABC)
    found = csv_table.read(root)
    assert found.classes == ("9", "10") and found.annotations["label"].tolist() == [1, 0, 1]
    found = csv_table.read(table("file,label\na.png,1.0\nb.png,0.0\nc.png,1\n", *ABC))  # a table with gaps
    assert found.classes == ("0", "1") and found.annotations["label"].tolist() == [1, 0, 1]


def test_listed_classes_keep_their_order(table):
    root = table("file,label\na.png,cat\nb.png,emu\nc.png,dog\n", *ABC)
    (root / "classes.txt").write_text("dog\ncat\nbird\n")
    found = csv_table.read(root)
    assert found.classes == ("dog", "cat", "bird")
    assert faults(found) == [("unknown class", 3)] and found.weights.tolist() == [1, 0, 1]
    assert found.annotations["label"][[0, 2]].tolist() == [1, 0]


def test_identities(table):
    found = csv_table.read(table("file,identity\na.png,Ann Lee\nb.png,Bo|b\nc.png,Ann Lee\n", *ABC))
    assert found.traits == {"identities": True} and found.classes == ("Ann Lee", "Bo|b")


def test_one_file_for_each_part(table):
    table("file,label\na.png,cat\nb.png,dog\n", "a.png", "b.png", name="train.csv")
    root = table("label,file\ncat,c.png\n,a.png\n", "c.png", name="valid.csv")
    assert "train.csv, valid.csv" in csv_table.recognise(root)
    found = csv_table.read(root)
    assert {part: index.tolist() for part, index in found.splits.items()} == {"train": [1], "dev": [2]}
    assert found.annotations["label"].tolist() == [0, 1, 0] and found.weights.tolist() == [0, 1, 1]
    assert {(f.kind, f.file, f.line) for f in found.findings} == {
        ("conflicting labels", "valid.csv", 3), ("in two parts", "valid.csv", 3),
    }  # fmt: skip


# Several labels, numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["|", ";", " | "])
def test_several_labels_in_a_cell(table, mark):
    root = table(f"file,label\na.png,cat{mark}grass\nb.png,dog\nc.png,\n", *ABC)
    found = csv_table.read(root)
    assert found.classes == ("cat", "dog", "grass")
    assert found.annotations["labels"].tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert "label" not in found.annotations
    assert faults(found) == [("empty label", 4)] and found.weights.tolist() == [1, 1, 1]
    assert said(found, "parts several labels")


def test_a_space_parts_labels_only_where_it_must(table):
    one = csv_table.read(table("file,label\na.png,golden retriever\nb.png,tabby cat\n", "a.png", "b.png"))
    assert one.classes == ("golden retriever", "tabby cat") and "labels" not in one.annotations
    assert not said(one, "parts")
    tags = csv_table.read(table("file,tags\na.png,haze primary\nb.png,clear primary\n", "a.png", "b.png"))
    assert tags.classes == ("clear", "haze", "primary")
    assert tags.annotations["labels"].tolist() == [[0, 1, 1], [1, 0, 1]]
    numbers = csv_table.read(table("file,Target\na.png,16 0\nb.png,7\n", "a.png", "b.png"))
    assert numbers.classes == ("0", "7", "16")
    asked = csv_table.read(table("file,label\na.png,x+y\nb.png,y\n", "a.png", "b.png"), separator="+")
    assert asked.classes == ("x", "y") and asked.annotations["labels"].tolist() == [[1, 1], [0, 1]]
    comma = csv_table.read(table('file,label\na.png,"tench, Tinca tinca"\nb.png,cat\n', "a.png", "b.png"))
    assert comma.classes == ("cat", "tench, Tinca tinca")


def test_a_column_of_0_and_1_for_each_class(table):
    root = table("file,cat,dog,grass\na.png,1,0,1\nb.png,0,1.0,\nc.png,false,-1,?\n", *ABC)
    found = csv_table.read(root)
    assert found.classes == ("cat", "dog", "grass")
    expected = np.array([[1, 0, 1], [0, 1, np.nan], [0, np.nan, np.nan]], np.float32)
    assert np.array_equal(found.annotations["labels"], expected, equal_nan=True)
    assert said(found, "3 cells say neither") and not found.findings
    one = csv_table.read(table("file,cat,dog\na.png,1,0\nb.png,0,1\n", "a.png", "b.png"))
    assert one.annotations["label"].tolist() == [0, 1]
    asked = csv_table.read(table("file,cat,dog,x\na.png,1,0,q\nb.png,5,1,r\n", "a.png", "b.png"), label="cat,dog")
    assert asked.classes == ("cat", "dog") and faults(asked) == [("not 0 or 1", 3)]


def test_a_label_beside_columns_of_0_and_1_counts(table):
    root = table("file,label,labels.cat,labels.dog\na.png,cat,1,0\nb.png,cat,0,1\n", "a.png", "b.png")
    (root / "classes.txt").write_text("cat\ndog\n")
    found = csv_table.read(root)
    assert found.annotations["label"].tolist() == [0, 0] and found.classes == ("cat", "dog")
    assert found.annotations["labels"].tolist() == [[1, 0], [0, 1]]


def test_several_lines_for_an_image_give_several_labels(table):
    root = table("file,label\na.png,cat\na.png,dog\nb.png,dog\nb.png,emu\nc.png,cat\n", *ABC)
    found = csv_table.read(root)
    assert found.annotations["labels"].tolist() == [[1, 1, 0], [0, 1, 1], [1, 0, 0]]
    assert said(found, "several lines for an image")


def test_numbers(table):
    found = csv_table.read(table("file,age\na.png,3.5\nb.png,4\nc.png,-1e2\n", *ABC))
    assert found.annotations["numbers"].tolist() == [[3.5], [4], [-100]] and not found.classes
    found = csv_table.read(table("file,dx,dy\na.png,3,4\nb.png,4,7\nc.png,5,1\n", *ABC))
    assert found.annotations["numbers"].tolist() == [[3, 4], [4, 7], [5, 1]]
    found = csv_table.read(table("file,label\na.png,0.25\nb.png,4\nc.png,1\n", *ABC))
    assert found.annotations["numbers"].tolist() == [[0.25], [4], [1]]
    found = csv_table.read(table("file,year,label\na.png,1900,x\nb.png,1901,y\nc.png,2000,x\n", *ABC), numbers="year")
    assert found.annotations["numbers"].tolist() == [[1900], [1901], [2000]]
    assert found.annotations["label"].tolist() == [0, 1, 0]


def test_what_could_be_anything_is_asked_for(table):
    root = table("file,colour,size\na.png,red,big\nb.png,blue,small\n", "a.png", "b.png")
    with pytest.raises(UserError, match=r"colour, size.*label=colour"):
        csv_table.read(root)
    assert csv_table.read(root, label="size").classes == ("big", "small")


# Boxes -------------------------------------------------------------------------------------------------------


def test_a_box_in_each_row(table):
    root = table(
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
def test_ways_to_say_a_box(table, header, row, box):
    found = csv_table.read(table(f"{header}\n{row}\n", "a.png"))
    assert found.annotations["objects"].boxes.tolist() == [box] and found.classes == ("cat",)


def test_faults_of_boxes_leave_the_image_in(table):
    root = table(
        "file,xmin,ymin,xmax,ymax,label\na.png,1,x,3,4,cat\na.png,1,2,3,4,\nb.png,,,,,dog\nc.png,nan,1,2,3,dog\n", *ABC
    )
    found = csv_table.read(root)
    objects = found.annotations["objects"]
    assert faults(found) == [("empty label", 3), ("not a number", 2)] + [("not a number", 4)] * 4
    assert np.array_equal(objects.boxes[0], [1, np.nan, 3, 4], equal_nan=True)
    assert np.isnan(objects.boxes[2]).all() and np.isnan(objects.boxes[3][0])
    assert objects.labels.tolist() == [0, -1, 1, 1] and found.weights.tolist() == [1, 1, 1]


def test_an_image_in_two_parts_is_named(table):
    text = "file,xmin,ymin,xmax,ymax,label,split\na.png,1,2,3,4,cat,train\na.png,1,2,3,4,cat,test\n"
    found = csv_table.read(table(text, "a.png"))
    assert (
        faults(found) == [("in two parts", 3)] and found.splits["train"].tolist() == [0] and "test" not in found.splits
    )
