"""Whatever a user brings to a training: a clear message or a correct result, and the user's files as they were."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import PLAIN, Quiet, document, save_folder, save_npz, squares, with_size
from small_runs import hubel as command

import hubel
from hubel.errors import UserError
from hubel.training.callbacks import Callback

SMALL = {**PLAIN, "epochs": 1}


# Folders of images ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"the folder is empty"),
        ({"notes.txt": b"hello", "a/readme.md": b"x"}, r"no images.*What can be read"),
        ({"a/1.png": np.zeros((8, 8)), "a/2.png": np.ones((8, 8))}, r"one class only, 'a'.*[Aa]dd a folder"),
        ({"1.png": np.zeros((8, 8))}, r"1 images but no folder per class"),
        ({"train/a/1.png": np.zeros((8, 8)), "train/b/1.png": np.ones((8, 8)), "test/c/1.png": np.ones((8, 8))},
         r"No training images in .*train for c"),
    ],
    ids=["empty", "no images", "one class", "no classes", "class missing from train"],
)  # fmt: skip
def test_folders_that_can_not_be_learnt_from(train, make_folder, untouched, files, message, tmp_path):
    folder = untouched(make_folder(files))
    with pytest.raises(UserError, match=message):
        train(folder)
    assert not (tmp_path / "runs").exists(), "nothing was trained: no run folder is left"


def png(side=8):
    return np.full((side, side), 90)


def test_bad_files_are_quarantined_and_the_training_goes_on(train, tmp_path, untouched, monkeypatch):
    root = save_folder(tmp_path / "photos")
    whole = (root / "a" / "000.png").read_bytes()
    (root / "a" / "empty.png").write_bytes(b"")
    (root / "a" / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (root / "b" / "corrupt.png").write_bytes(whole[:60] + bytes(20) + whole[80:])
    (root / "b" / "no image.jpg").write_bytes(b"just words")
    (root / "c" / "huge.png").write_bytes(with_size(whole, 100_000))  # 10,000 megapixels
    (root / "c" / "large.png").write_bytes(with_size(whole, 16_000))  # 256
    (root / "c" / "really a png.jpg").write_bytes(whole)  # a wrong extension is no fault
    untouched(root)
    run = train(root)
    rows = list(csv.DictReader((run.path / "quarantine.csv").open()))
    bad = {row["file"]: row["reason"] for row in rows}
    assert bad.keys() == {"a/empty.png", "a/truncated.png", "b/corrupt.png", "b/no image.jpg", "c/huge.png",
                          "c/large.png"}  # fmt: skip
    assert "empty" in bad["a/empty.png"] and "known format" in bad["b/no image.jpg"]
    assert "too large" in bad["c/huge.png"] and "too large" in bad["c/large.png"]
    assert all(bad.values())
    page = (run.path / "report.html").read_text()
    assert all(name.rpartition("/")[2] in page for name in bad)
    seen = np.concatenate([np.load(p)["index"] for p in (run.path / "predictions").glob("*.npz")])
    assert len(np.unique(seen)) == 61 and run.state == "finished"


def test_a_file_that_is_lost_in_mid_training_is_named(train, tmp_path):
    root = save_folder(tmp_path / "photos", n=30, side=72)  # above 64 pixels: read anew in each epoch

    class Remove(Callback):
        def on_epoch(self, loop, row):
            if loop.epoch == 1:
                self.lost = [loop.data.dataset.images.name(int(i)) for i in loop.data.splits["train"][:2]]
                for name in self.lost:
                    (root / name).unlink()

    remove = Remove()
    run = train(root, epochs=3, callbacks=[remove])
    assert run.state == "finished"
    for name in remove.lost:
        assert sum(name in note and "could not be read in epoch 2" in note for note in run.notes) == 1
        assert name in (run.path / "report.html").read_text()


def test_mostly_bad_files_are_a_wrong_path(train, make_folder, untouched):
    folder = make_folder({f"{c}/{i}.png": b"no image" for c in "ab" for i in range(3)} | {"a/9.png": png()})
    with pytest.raises(UserError, match=r"6 of 7 files can't be decoded.*no image of a known format|6 of 7 files"):
        train(untouched(folder))


def test_strange_names(train, tmp_path, untouched):
    root = save_folder(tmp_path / "photos", names=("a", "b"))
    hostile = [os.fsdecode(b"caf\xe9.png"), "x" * 246 + ".png", "<script>alert(1)</script>.png".replace("/", "_"),
               "new\nline.png", "ünï—✓.png"]  # fmt: skip
    strange = root / os.fsdecode(b"\xff\xfeclass")
    strange.mkdir()
    for i, name in enumerate(hostile * 1):
        Image.fromarray(squares(5, seed=3)[0][i, :, :, 0]).save(strange / "plain.png")
        (strange / "plain.png").rename(strange / name)
    for i in range(10):
        Image.fromarray(squares(20, seed=4)[0][i, :, :, 0]).save(strange / f"{i}.png")
    (root / "a" / "empty \udcff.png").write_bytes(b"")
    untouched(root)
    run = train(root)
    page = (run.path / "report.html").read_bytes().decode("utf-8")
    assert "<script>alert(1)" not in page
    assert "empty" in (run.path / "quarantine.csv").read_bytes().decode("utf-8")
    assert {p.name for p in (run.path / "predictions").iterdir()} == {"train.npz", "dev.npz", "test.npz"}
    found = run.predict([strange / name for name in hostile])
    assert len(found) == len(hostile)
    json.dumps(found).encode("utf-8")
    assert run.evaluate() == run.metrics


def test_the_command_line_speaks_of_strange_names(finished, tmp_path, untouched):
    strange = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.fromarray(squares(1)[0][0, :, :, 0]).save(tmp_path / "plain.png")
    (tmp_path / "plain.png").rename(strange)
    untouched(tmp_path)
    found = document(command("predict", finished.path, os.fspath(strange), "--json"))
    assert len(found) == 1 and "caf" in found[0]["image"]


def test_a_loop_of_links_ends(train, tmp_path, untouched):
    root = save_folder(tmp_path / "photos")
    (root / "a" / "again").symlink_to(root, target_is_directory=True)
    (root / "b" / "self.png").symlink_to("self.png")
    (root / "c" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    run = train(untouched(root))
    assert run.state == "finished" and sum(map(len, run.splits.values())) == 60, "each image once"


def test_a_file_that_may_not_be_read(train, tmp_path, untouched, monkeypatch):
    """By injection, since the owner of all files may read them whatever their mode."""
    root = untouched(save_folder(tmp_path / "photos"))

    def guarded(real):
        def call(path, *words, **options):
            if path.name == "000.png":
                raise PermissionError(13, "Permission denied")
            return real(path, *words, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("open", "read_bytes"):
            patch.setattr(f"pathlib.Path.{name}", guarded(getattr(Path, name)))
        run = train(root)
        with pytest.raises(UserError, match=r"000\.png.*Permission denied"):
            run.predict([root / "a" / "000.png"])
    assert (run.path / "quarantine.csv").read_text().splitlines()[1:] == ["a/000.png,can't be read: Permission denied"]
    assert sum(map(len, run.splits.values())) == 59


# Names, options, archives -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "lenet"}, r"no network 'lenet'.*did you mean 'lenet5'"),
        ({"model": "own.py:Net"}, r"no file .*own\.py"),
        ({"task": "clasification"}, r"did you mean 'classification'"),
        ({"epocs": 3}, r"no option 'epocs'.*did you mean 'epochs'"),
        ({"optimizer.lrr": 3}, r"did you mean 'optimizer.lr'"),
        ({"model.hiden": 3}, r"did you mean 'hidden'"),
        ({"epochs": 0}, r"epochs"),
        ({"optimizer.lr": "fast"}, r"needs a number, got 'fast'"),
        ({"device": "cuda:99"}, r"device"),
        ({"device": "quantum"}, r"device"),
        ({"config": "nowhere.toml"}, r"nowhere\.toml can't be read"),
        ({"from_run": "nowhere"}, r"no run folder nowhere"),
        ({"sync_batchnorm": True}, r"this is one"),
    ],
    ids=str,
)
def test_wrong_words(train, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        train(save_npz(tmp_path / "squares.npz"), **options)
    assert not (tmp_path / "runs").exists()


def test_wrong_words_on_the_command_line():
    for arguments in (["train", "digits", "--model", "lenet"], ["train", "digits", "--epocs", "3"], ["trian"]):
        done = command(*arguments, "--json")
        assert done.returncode == 2 and "did you mean" in done.stderr and "Traceback" not in done.stderr
        assert "did you mean" in json.loads(done.stdout)["error"]


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (np.arange(30) % 3 - 1, None, r"labels are -1 … 1; expected 0"),
        (np.arange(30) % 3, ["a", "b"], r"labels go up to 2, but `classes` names 2"),
        (np.arange(29) % 3, None, r"30 +images but 29 labels"),
        (np.full(30, np.nan), None, r"not finite"),
        (np.zeros(30, int), None, r"at least two classes"),
        (np.array([{}] * 30), None, r"Python objects, which are never loaded"),
    ],
    ids=["negative", "beyond the classes", "too few", "nan", "one class", "objects"],
)
def test_archives_with_wrong_labels(train, tmp_path, untouched, labels, classes, message):
    more = {} if classes is None else {"classes": np.array(classes)}
    np.savez(tmp_path / "d.npz", images=squares(30)[0], labels=labels, **more)
    untouched(tmp_path)
    with pytest.raises(UserError, match=message):
        hubel.train(tmp_path / "d.npz", out=tmp_path.parent / "never", progress=Quiet(), **SMALL)
    assert not (tmp_path.parent / "never").exists()


def test_a_name_that_is_both_built_in_and_a_folder(tmp_path, monkeypatch):
    save_folder(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"both a built-in dataset and a path here. Write \./digits"):
        hubel.train("digits", progress=Quiet(), **SMALL)
    run = hubel.train("./digits", progress=Quiet(), **SMALL)
    assert run.manifest["data"]["source"] == str(tmp_path / "digits")
    assert run.evaluate() == run.metrics  # the saved source means the folder
