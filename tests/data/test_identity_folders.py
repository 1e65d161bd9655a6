"""Folders of identities: when they are recognised, what is read, Omniglot's trials, and what is written."""

import numpy as np
import pytest
from PIL import Image

from hubel.data import archive
from hubel.data.formats import identities, pairs
from hubel.data.shapes import shapes
from hubel.errors import UserError

DOT = np.zeros((4, 5, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    def make(*images, name="set"):
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        for k, image in enumerate(images):
            (root / image).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(DOT + np.uint8(k % 250)).save(root / image)
        return root

    return make


def pictures(*folders, count=3):
    return [f"{folder}/{k}.png" for folder in folders for k in range(count)]


APART = pictures("train/ann", "train/bob", "train/cy", "test/dee", "test/eve", "test/fay")
NESTED = pictures(*(f"{group}/{c}" for group in ("greek", "latin") for c in ("c1", "c2", "c10")))


def test_parts_without_a_common_identity(folder):
    root = folder(*APART)
    assert "no identity" in identities.recognise(root)
    found = identities.read(root)
    assert found.classes == ("ann", "bob", "cy", "dee", "eve", "fay") and found.format == "identities"
    assert found.annotations["label"].tolist() == [k for k in range(6) for _ in range(3)]
    assert {part: index.tolist() for part, index in found.splits.items()} == {
        "train": list(range(9)), "test": list(range(9, 18)),
    }  # fmt: skip
    assert found.traits == {"identities": True} and "group" not in found.annotations and not found.findings


@pytest.mark.parametrize("files", [
    pictures("train/ann", "train/bob", "train/cy", "test/ann", "test/bob", "test/cy"),  # classes
    pictures("train/Ann", "train/bob", "train/cy", "test/ann", "test/eve", "test/fay"),  # a slip of the pen
    pictures("train/cat", "train/dog", "test/cats", "test/dogs"),
    pictures("cat", "dog", "emu"),
    pictures("train/a", "train/b", "train/c"),
    pictures("images/a", "images/b", "images/c", "masks/a", "masks/b", "masks/c"),
    pictures("images/train", "images/val", "images/test", "labels/train"),
    [*pictures("dog/x", "dog/y", "dog/z", "cat/x", "cat/y", "cat/z"), "dog/1.png"],  # images of the class itself
    pictures("dog/x/1", "dog/y/1", "dog/z/1", "cat/x/1", "cat/y/1", "cat/z/1"),
    pictures("dog/x", "dog/y", "dog/z", "cat/x", "cat/y", "cat/z", count=1),
    pictures("dog/x", "cat/y"),
])  # fmt: skip
def test_what_is_no_folder_of_identities(folder, files):
    assert identities.recognise(folder(*files)) is None


def test_groups_of_identities(folder):
    root = folder(*NESTED)
    assert "2 groups" in identities.recognise(root)
    found = identities.read(root)
    assert found.classes == ("greek/c1", "greek/c2", "greek/c10", "latin/c1", "latin/c2", "latin/c10")
    assert found.annotations["group"].tolist() == [0] * 9 + [1] * 9
    label = found.annotations["label"]
    for i in range(len(found)):
        assert found.images.name(i).startswith(found.classes[label[i]] + "/")
    inside = identities.read(folder(*(f"images/{name}" for name in NESTED), name="other"))
    assert inside.classes == found.classes and inside.images.name(0) == "images/greek/c1/0.png"


def test_flat_folders_when_asked_for(folder):
    root = folder(*pictures("ann", "bob"), "loose.png")
    found = identities.read(root)
    assert found.classes == ("ann", "bob") and len(found) == 6 and found.traits["identities"]
    assert any("1 images are in no identity's folder" in note for note in found.notes)
    with pytest.raises(UserError, match="expected two"):
        identities.read(folder("alone/1.png", name="other"))
    with pytest.raises(UserError, match="no folder"):
        identities.read(root / "loose.png")


def test_pairs_beside(folder):
    root = folder(*APART, "loose.png")
    (root / "pairs.csv").write_text(
        "image_1,image_2,same\ntest/dee/0.png,test/dee/1.png,1\ntest/dee/0.png,test/eve/1.png,0\nloose.png,test/dee/0.png,0\n"
    )
    assert identities.recognise(root) and pairs.recognise(root) is None
    found = identities.read(root)
    names = [(found.images.name(a), found.images.name(b), s) for a, b, s in found.tables["pairs"].tolist()]
    assert names == [("test/dee/0.png", "test/dee/1.png", 1), ("test/dee/0.png", "test/eve/1.png", 0)]
    assert any("1 pairs name images" in note for note in found.notes)


def make_runs(root, *lines):
    for part in ("training/class01", "training/class02", "test/item01", "test/item02"):
        path = root / "one_shot_runs/run01" / f"{part}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DOT).save(path)
    (root / "one_shot_runs/run01/class_labels.txt").write_text("\n".join(lines) + "\n")


def test_trials(folder):
    root = folder(*(f"images/{name}" for name in NESTED))
    right = [f"run01/test/item0{k}.png run01/training/class0{3 - k}.png" for k in (1, 2)]
    make_runs(root, *right, "run01/test/item01.png", "run01/test/gone.png run01/training/class01.png")
    assert identities.recognise(root)
    found = identities.read(root)
    trials = [(run, found.images.name(a), found.images.name(b)) for run, a, b in found.tables["trials"].tolist()]
    assert trials == [
        (1, f"one_shot_runs/run01/test/item0{k}.png", f"one_shot_runs/run01/training/class0{3 - k}.png") for k in (1, 2)
    ]
    label = found.annotations["label"]
    assert all(label[a] == label[b] for _, a, b in found.tables["trials"].tolist())
    assert found.splits["train"].tolist() == list(range(18)) and found.splits["test"].tolist() == [18, 19, 20, 21]
    assert found.classes[label[18]] == "one_shot_runs/run01/class02"
    assert sorted((f.kind, f.line) for f in found.findings) == [("broken line", 3), ("missing file", 4)]


def test_a_part_whose_identities_are_in_one_group(folder):
    root = folder(*(f"train/{name}" for name in NESTED), *(f"test/runs/run{k}/{i}.png" for k in range(3) for i in "ab"))
    assert identities.recognise(root)
    found = identities.read(root)
    assert len(found.splits["test"]) == 6 and {"runs/run0", "runs/run1", "runs/run2"} <= set(found.classes)
    (root / "test/runs").rename(root / "test/other")
    (root / "train/other").mkdir()  # a group that two parts have: classes, not identities
    assert identities.recognise(root) is None


def test_folders_of_parts_that_are_called_like_trials(folder):
    found = identities.read(folder(*(name.replace("test/", "test/one_shot_runs_") for name in APART)))
    assert len(found) == 18 and len(found.splits["test"]) == sum(name.startswith("test/") for name in APART)


def test_links_out_of_the_folder(folder, tmp_path):
    root = folder(*APART)
    (tmp_path / "secret.png").write_bytes((root / "train/ann/0.png").read_bytes())
    (root / "train/ann/x.png").symlink_to(tmp_path / "secret.png")
    found = identities.read(root)
    assert len(found) == 18 and [f.kind for f in found.findings] == ["outside folder"]
    assert found.annotations["label"].tolist() == [k for k in range(6) for _ in range(3)]


def test_written_and_read_again(tmp_path):
    dataset = shapes(100, 16, kind="faces")
    told = identities.write(dataset, tmp_path / "out")
    assert told == ["lost: 'objects' of 100 images"]
    assert identities.recognise(tmp_path / "out") is None  # two people in dev: too few to be sure
    found = identities.read(tmp_path / "out")
    assert found.classes == dataset.classes
    order = {found.images.read(i).tobytes(): i for i in range(100)}
    where = np.array([order[dataset.images.read(i).tobytes()] for i in range(100)])
    assert found.annotations["label"][where].tolist() == dataset.annotations["label"].tolist()
    for part, index in dataset.splits.items():
        assert sorted(where[index].tolist()) == found.splits[part].tolist()
    assert sorted(found.tables["pairs"].tolist()) == sorted(
        [where[a], where[b], same] for a, b, same in dataset.tables["pairs"].tolist()
    )


def test_groups_written_and_read_again(folder, tmp_path):
    found = identities.read(folder(*NESTED))
    assert identities.write(found, tmp_path / "out") == []
    again = identities.read(tmp_path / "out")
    assert again.classes == found.classes
    for column in ("label", "group"):
        assert again.annotations[column].tolist() == found.annotations[column].tolist()
    assert [again.images.name(i) for i in range(18)] == [found.images.name(i) for i in range(18)]
    with pytest.raises(UserError, match="no label"):
        identities.write(shapes(2, 16), tmp_path / "other")


@pytest.mark.data
def test_omniglot(data_dir, tmp_path):
    root = archive.unpack(data_dir / "omniglot_dev.zip", tmp_path).folder
    assert "5 groups" in identities.recognise(root)
    found = identities.read(root)
    assert found.name == "omniglot_dev" and not found.findings and found.images.channels == 1
    background = sorted(p for p in (root / "images").rglob("*.png"))
    assert len(found.splits["train"]) == len(background) == 2720
    label, group = found.annotations["label"], found.annotations["group"]
    for i in range(0, 2720, 97):
        _, alphabet, character, _ = found.images.name(i).split("/")
        assert found.classes[label[i]] == f"{alphabet}/{character}"
    assert len(set(label[:2720].tolist())) == len({p.parent for p in background}) == 136
    assert len(set(group[:2720].tolist())) == 5
    lines = [
        line.split() for run in sorted((root / "one_shot_runs").iterdir()) if run.is_dir()
        for line in (run / "class_labels.txt").read_text().splitlines()
    ]  # fmt: skip
    told = [
        [found.images.name(int(i)).removeprefix("one_shot_runs/") for i in row[1:]] for row in found.tables["trials"]
    ]
    assert told == lines and len(told) == 200
    assert all(label[a] == label[b] for _, a, b in found.tables["trials"].tolist())
    assert np.bincount(found.tables["trials"][:, 0])[1:].tolist() == [20] * 10
    assert set(label[found.splits["test"]].tolist()).isdisjoint(label[found.splits["train"]].tolist())
    assert found.images.read(0).shape == (105, 105, 1)
