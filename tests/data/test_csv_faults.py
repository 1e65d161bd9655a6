"""What is wrong in a CSV table is named with its line; any text is parsed as the standard library does."""

import csv
import io
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_sets import ABC, DOT, faults

from hubel.data.formats import csv_table
from hubel.data.formats.csv_text import read_table
from hubel.errors import UserError

# Faults ------------------------------------------------------------------------------------------------------


def test_every_fault_has_its_line(table):
    text = (
        "file,label,split\na.png,cat,train\nmissing.png,cat,train\nb.png,,train\n../out.png,cat,\n,cat,train\n"
        "c.png,dog,nowhere\nd.png,cat\na.png,cat,train\nd.png,dog,test,extra\n/etc/passwd,dog,test\n"
        'e.png,"dog" x,test\ne.png,dog,test\n'
    )
    root = table(text, "a.png", "b.png", "c.png", "d.png", "e.png")
    (root.parent / "out.png").write_bytes((root / "a.png").read_bytes())
    found = csv_table.read(root)
    assert faults(found) == sorted([
        ("missing file", 3), ("empty label", 4), ("outside folder", 5), ("missing file", 6), ("unknown part", 7),
        ("broken line", 8), ("listed twice", 9), ("broken line", 10), ("outside folder", 11), ("broken line", 12),
    ])  # fmt: skip
    assert [found.images.name(i) for i in range(len(found))] == ["a.png", "b.png", "c.png", "e.png"]
    assert found.weights.tolist() == [1, 0, 1, 1] and [bad.name for bad in found.quarantine] == ["b.png"]
    assert {part: index.tolist() for part, index in found.splits.items()} == {"train": [0], "test": [3]}
    assert all(f.file == "labels.csv" and f.action and f.reason for f in found.findings)


def test_an_image_with_two_labels_takes_no_part(table):
    lines = "".join(f"{i}.png,{'cat' if i % 2 else 'dog'}\n" for i in range(20))
    found = csv_table.read(table(f"file,label\n{lines}3.png,dog\n", *(f"{i}.png" for i in range(20))))
    assert faults(found) == [("conflicting labels", 22)] and "line 5" in found.findings[0].reason
    assert found.weights[3] == 0 and found.weights.sum() == 19 and found.findings[0].image == 3


def test_numbers_that_are_none(table):
    lines = ["1.5", "x", "", "2,5", "inf", "٣", "1_0", "nan", "0x10"]
    text = "file,number\n" + "".join(f'{i}.png,"{cell}"\n' for i, cell in enumerate(lines))
    found = csv_table.read(table(text, *(f"{i}.png" for i in range(len(lines)))))
    assert faults(found) == [("not a number", line) for line in range(3, 11)]
    assert found.weights.tolist() == [1] + [0] * 8
    assert "decimal comma" in next(f.reason for f in found.findings if f.line == 5)


def test_weights_that_are_none(table):
    found = csv_table.read(table("file,label,weight\na.png,x,-1\nb.png,y,2\nc.png,x,w\n", *ABC))
    assert found.weights.tolist() == [1, 2, 1]
    assert {("bad weight", 2), ("bad weight", 4)} <= set(faults(found))


def test_links_that_lead_out_are_not_opened(table, tmp_path):
    root = table("file,label\na.png,x\nl.png,y\nb.png,y\n", "a.png", "b.png")
    (tmp_path / "secret.png").write_bytes((root / "a.png").read_bytes())
    (root / "l.png").symlink_to(tmp_path / "secret.png")
    found = csv_table.read(root)
    assert faults(found) == [("outside folder", 3)] and len(found) == 2


@pytest.mark.parametrize("text, words", [
    ("", "empty"), ("file,label\n", "no column names images"), (b"file,label\na.png,caf\xe9\n", "line 2.*UTF-8"),
    ("file,label\nzzz.png,cat\n", "no column names images"), ("file,label,Label\na.png,x,y\n", "'label' twice"),
    ("file,label\n".encode("utf-16"), "UTF-16"),
])  # fmt: skip
def test_what_can_not_be_read(table, text, words):
    with pytest.raises(UserError, match=words):
        csv_table.read(table(text, "a.png"))


def test_an_open_quote_costs_one_line(table):
    found = csv_table.read(table('file,label\na.png,"cat\nb.png,dog\nc.png,cat\n', *ABC))
    assert faults(found) == [("broken line", 2)] and [found.images.name(i) for i in range(2)] == [
        "b.png",
        "c.png",
    ]


def test_what_is_no_such_folder(table, tmp_path):
    assert csv_table.recognise(tmp_path) is None
    assert csv_table.recognise(tmp_path / "missing") is None
    assert csv_table.recognise(table("a,b\n1,2\n", "x.png")) is None
    (tmp_path / "set" / "x.jpg").write_bytes(b"junk")
    assert csv_table.recognise(tmp_path / "set" / "x.jpg") is None


def test_nothing_is_written(table):
    root = table("file,label\na.png,cat\nb.png,dog\n", "a.png", "b.png")
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.rglob("*")}
    csv_table.recognise(root), csv_table.read(root)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.rglob("*")} == before


# Against csv and against anything ----------------------------------------------------------------------------


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


def test_what_is_no_file_is_not_opened(table):
    root = table("file,label\na.png,cat\nb.png,dog\npipe.png,cat\nfolder.png,cat\n", "a.png", "b.png")
    os.mkfifo(root / "pipe.png")
    (root / "folder.png").mkdir()
    found = csv_table.read(root)
    assert [found.images.name(i) for i in range(len(found))] == ["a.png", "b.png"]
    assert [(f.kind, f.line) for f in found.findings] == [("missing file", 4), ("missing file", 5)]
    assert all("no regular file" in f.reason for f in found.findings)
