"""Which files a data set may name: those below its root, however they are spelt, and nothing that leads out of it."""

import unicodedata

import pytest

from hubel.data.formats.fence import Fence
from hubel.data.formats.layout import Gathered

PIXELS = b"\x89PNG"  # nothing here is decoded


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "data"
    for name in ("images/train/A.JPG", "images/val/b.jpg", "Fotos/Tür.png", "a.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PIXELS)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x.jpg").write_bytes(PIXELS)
    (root / "way").symlink_to(tmp_path / "secret")
    (root / "out.jpg").symlink_to(tmp_path / "secret" / "x.jpg")
    (root / "within.jpg").symlink_to(root / "a.jpg")
    return root


@pytest.mark.parametrize("asked, there", [
    ("images/train/a.jpg", "images/train/A.JPG"),
    ("IMAGES/Train/a.jpg", "images/train/A.JPG"),
    (unicodedata.normalize("NFD", "Fotos/Tür.png"), "Fotos/Tür.png"),
    (unicodedata.normalize("NFD", "fotos/TÜR.PNG"), "Fotos/Tür.png"),
    ("images/train/A.JPG", "images/train/A.JPG"),
    ("images/train/c.jpg", None),
    ("images/none/A.JPG", None),
    ("way/X.jpg", None),  # the folder leads outside: it is not even listed
])  # fmt: skip
def test_a_name_that_is_spelt_otherwise(root, asked, there):
    assert Fence(root).spelt(asked) == there


@pytest.mark.parametrize("asked, found", [
    ("images/train/A.JPG", ("images/train/A.JPG", "")),
    ("images/train/a.jpg", ("images/train/A.JPG", "spelt")),
    ("images\\val\\B.jpg", ("images/val/b.jpg", "spelt")),
    ("C:\\work\\images\\val\\b.jpg", ("images/val/b.jpg", "moved")),
    ("../elsewhere/images/val/b.jpg", ("images/val/b.jpg", "moved")),
    ("images/train/c.jpg", (None, "missing")),
    ("../secret/x.jpg", (None, "outside")),
    ("way/x.jpg", (None, "outside")),
    ("way/X.jpg", (None, "outside")),
])  # fmt: skip
def test_what_a_name_leads_to(root, asked, found):
    assert Fence(root).find(asked, "") == found


def test_of_two_spellings_the_exact_one_is_taken(root):
    (root / "images/train/a.jpg").write_bytes(PIXELS)
    assert Fence(root).spelt("images/train/a.jpg") == "images/train/a.jpg"
    assert Fence(root).find("images/train/A.JPG", "") == ("images/train/A.JPG", "")


def test_a_folder_gives_its_images_in_natural_order_each_once(root):
    for k in (10, 9, 1):
        (root / f"images/train/{k}.jpg").write_bytes(PIXELS)
    gathered = Gathered(Fence(root))
    first = gathered.add_folder("images/train")
    assert first == [f"images/train/{name}" for name in ("1.jpg", "9.jpg", "10.jpg", "A.JPG")]
    assert gathered.add_folder("images") == [*first, "images/val/b.jpg"]
    assert gathered.names == [*first, "images/val/b.jpg"]
    assert gathered.parts == {"train": [0, 1, 2, 3], "dev": [4]}  # of the folders below the one that is named
    assert gathered.findings == []
    gathered.add_folder("images/val", "dev")
    assert {part: index.tolist() for part, index in gathered.splits().items()} == {"train": [0, 1, 2, 3], "dev": [4]}
    assert [f.kind for f in gathered.findings] == ["listed twice"]


def test_a_part_that_is_said_overrules_the_folders(root):
    gathered = Gathered(Fence(root))
    gathered.add_folder("images", "test")
    assert gathered.parts == {"test": [0, 1]}


def test_only_the_folder_itself_where_it_is_not_deep(root):
    gathered = Gathered(Fence(root))
    assert gathered.add_folder("", deep=False) == ["a.jpg", "out.jpg", "within.jpg"]
    assert gathered.names == ["a.jpg", "within.jpg"]
    assert [(f.kind, f.file) for f in gathered.findings] == [("outside folder", "out.jpg")]


def test_a_folder_that_leads_outside_is_named_and_not_opened(root):
    gathered = Gathered(Fence(root))
    assert gathered.add_folder("way") == []
    assert gathered.names == []
    assert [(f.kind, f.file) for f in gathered.findings] == [("outside folder", "way")]
