"""Settings files: what is read as text, and what is refused with its line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubel.data.yaml_file import MAX_BYTES, read_yaml, unique_names, write_yaml
from hubel.errors import UserError


@pytest.fixture
def opened(tmp_path):
    def write(content):
        path = tmp_path / "data.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_yaml(path)

    return write


def test_leaves_are_text(opened):
    found = opened("names: [no, 007, 1e3, 2024-01-01, null, 'a: b']\nnc: 6\ntrain:\nval: ~\npath: x\n")
    assert list(found.names().values()) == ["no", "007", "1e3", "2024-01-01", "null", "a: b"]
    assert found.integer("nc") == 6
    assert "train" not in found and "val" not in found and "path" in found
    assert (found.words("path"), found.words("train"), found.lines["nc"]) == (["x"], [], 2)


def test_mapping_and_list_are_numbered_alike(opened):
    assert opened("names: {1: b, 0: a}").names() == opened("names: [a, b]").names() == {0: "a", 1: "b"}
    assert list(opened("names:\n  10: b\n  2: a\n").names()) == [10, 2]  # as written: the order of the classes


def test_windows_lines_and_a_mark_at_the_beginning(opened):
    assert opened(b"\xef\xbb\xbfnc: 2\r\nnames:\r\n  - a\r\n  - b\r\n").names() == {0: "a", 1: "b"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: &x [1]\nb: *x\n", r"line 2: aliases \(\*x\)"),
        ("a: " + "[" * 40 + "]" * 40, "levels"),
        ("names: [a]\nnames: [b]\n", "line 2: 'names' stands twice"),
        ("a:\n  0: x\n  0: y\n", "line 3: '0' stands twice"),
        ("[a]: 1", "line 1: a name is one word"),
        ("names: [a\nnc: 3", "line 2.*no valid YAML"),
        ("a: b: c", "line 1.*no valid YAML"),
        ("- a\n- b", "expected settings"),
        ("text", "expected settings"),
        (b"nc: 1\nnames: [caf\xe9]", "line 2: not UTF-8"),
        ("a: \x01", "no valid YAML"),
        ("a: " + "x" * MAX_BYTES, "larger than 1,000,000 bytes"),
    ],
)
def test_refused(opened, content, words):
    with pytest.raises(UserError, match=words):
        opened(content)


def test_a_billion_laughs_end_at_the_first(opened):
    bomb = "a: &a [x,x]\n" + "".join(f"{b}: &{b} [*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    with pytest.raises(UserError, match="aliases"):
        opened(bomb)


def test_wrong_kinds(opened):
    for content, ask in (
        ("nc: many", lambda f: f.integer("nc")),
        ("nc: 1.5", lambda f: f.integer("nc")),
        ("names: a", lambda f: f.names()),
        ("names: {a: 0}", lambda f: f.names()),
        ("names: {0: a, 00: b}", lambda f: f.names()),
        ("names: [[a]]", lambda f: f.names()),
        ("train: {a: b}", lambda f: f.words("train")),
    ):
        with pytest.raises(UserError, match=r"line 1: (nc|names|train) must be"):
            ask(opened(content))


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="can't be read"):
        read_yaml(tmp_path / "no.yaml")


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text("abn{}[]:,&*!-#'\"\n 0\t|>%@?~", max_size=40).map(str.encode)))
def test_anything_is_settings_or_a_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        found = read_yaml(path)
        for key in found.values:
            assert found.lines[key] >= 1
    except UserError as fault:
        assert str(path) in str(fault)


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 50), st.text(), max_size=5))
def test_names_that_are_written_come_back(tmp_path_factory, names):
    path = tmp_path_factory.getbasetemp() / "names.yaml"
    write_yaml(path, {"names": names})
    assert (read_yaml(path).names() or {}) == names


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "a (2)", "a (3)"]), max_size=8))
def test_unique_names(names):
    found, again = unique_names(names)
    assert len(set(found)) == len(found) == len(names)
    assert len(again) == sum(new != old for new, old in zip(found, names, strict=True))
    assert all(new == old or new.startswith(f"{old} (") for new, old in zip(found, names, strict=True))
    assert [n for k, n in enumerate(names) if n not in names[:k]] == [
        f for k, f in enumerate(found) if names[k] not in names[:k]
    ]
