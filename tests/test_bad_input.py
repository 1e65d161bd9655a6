"""Whatever a user brings: a clear message or a correct result, and the user's files as they were.

What single files can hold is in tests/data; here whole trainings, run folders and predictions meet it.
"""

import csv
import json
import os
import pickle
import shutil
import signal

import numpy as np
import pytest
from PIL import Image
from small_runs import PLAIN, Quiet, document, save_folder, save_npz, squares, start_hubel, wait_for, words
from small_runs import hubel as command

import hubel
from hubel.errors import UserError
from hubel.training import atomic, checkpoint
from hubel.training.callbacks import Callback
from hubel.training.run import list_runs

SMALL = {**PLAIN, "epochs": 1}


@pytest.fixture
def train(tmp_path):
    """train(source, **options) -> Run in tmp_path/runs."""

    def start(source, **options):
        return hubel.train(source, out=tmp_path / "runs", progress=options.pop("progress", Quiet()), **SMALL | options)

    return start


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run on an archive; copy it before you damage it."""
    folder = tmp_path_factory.mktemp("finished")
    data = save_npz(folder / "squares.npz")
    return hubel.train(data, out=folder / "runs", progress=Quiet(), **SMALL)


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "runs" / "squares-mlp" / "1")
    return hubel.Run.open(tmp_path / "runs" / "squares-mlp" / "1")


# Folders of images -------------------------------------------------------------------------------------------


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
    huge = bytearray(whole)
    huge[16:24] = (100_000).to_bytes(4, "big") * 2  # the header promises 10,000 megapixels
    (root / "c" / "huge.png").write_bytes(huge)
    (root / "c" / "really a png.jpg").write_bytes(whole)  # a wrong extension is no fault
    untouched(root)
    run = train(root)
    rows = list(csv.DictReader((run.path / "quarantine.csv").open()))
    bad = {row["file"]: row["reason"] for row in rows}
    assert bad.keys() == {"a/empty.png", "a/truncated.png", "b/corrupt.png", "b/no image.jpg", "c/huge.png"}
    assert "empty" in bad["a/empty.png"] and "known format" in bad["b/no image.jpg"]
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
    assert run.state == "finished"


# Names, options, archives -------------------------------------------------------------------------------------


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


# Run folders that are half written ------------------------------------------------------------------------------


def verbs(run_path, data):
    image = squares(1)[0][0]
    return {
        "evaluate": lambda: hubel.Run.open(run_path).evaluate(),
        "predict": lambda: hubel.Run.open(run_path).predict([image]),
        "resume": lambda: hubel.resume(run_path, progress=Quiet(), epochs=2),
        "report": lambda: hubel.Run.open(run_path).report(),
        "start from": lambda: hubel.train(data, from_run=run_path, out=run_path / "again", progress=Quiet(), epochs=1),
    }


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "binary"])
@pytest.mark.parametrize("name", ["config.json", "network.json", "splits.npz", "manifest.json", "checkpoints"])
@pytest.mark.parametrize("verb", ["evaluate", "predict", "resume", "report", "start from"])
def test_half_written_runs(copied, finished, verb, name, damage):
    hurt(copied.path / name, damage)
    data = finished.manifest["data"]["source"]
    try:
        verbs(copied.path, data)[verb]()
    except UserError as fault:
        assert str(copied.path) in str(fault) and len(str(fault)) > 30
    rows = command_rows(copied.path.parents[1])
    if name != "config.json" or damage != "missing":
        assert len(rows) == 1  # listed, whatever state it is in


def hurt(path, damage):
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        if damage == "missing":
            file.unlink()
        else:
            content = file.read_bytes()
            file.write_bytes(
                {"truncated": content[: len(content) // 2], "empty": b"", "binary": b"\x80\xff" * 50}[damage]
            )


def command_rows(root):
    from hubel import cli_runs

    assert len(list_runs(root)) == len(cli_runs.table(root))
    return cli_runs.table(root)


NEEDS = {  # what each command can't do without
    "evaluate": {"config.json", "network.json", "splits.npz", "checkpoints"},
    "predict": {"config.json", "network.json", "checkpoints"},
    "resume": {"config.json", "network.json", "splits.npz", "checkpoints"},
    "report": {"config.json", "network.json", "splits.npz", "checkpoints"},
}


@pytest.mark.parametrize("verb", NEEDS)
def test_what_is_needed_is_asked_for(copied, finished, verb):
    for name in ("config.json", "network.json", "splits.npz", "checkpoints"):
        shutil.rmtree(copied.path)
        shutil.copytree(finished.path, copied.path)
        hurt(copied.path / name, "missing")
        if name in NEEDS[verb]:
            with pytest.raises(UserError):
                verbs(copied.path, None)[verb]()
        else:
            verbs(copied.path, None)[verb]()


def test_a_pickle_is_never_opened(copied):
    marker = copied.path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    for part in ("best", "last"):
        folder = copied.path / "checkpoints" / part
        for file in folder.iterdir():
            file.unlink()
        (folder / "weights.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match=r"a pickle can run code"):
        copied.predict([squares(1)[0][0]])
    with pytest.raises(UserError, match=r"a pickle can run code"):
        hubel.resume(copied.path, progress=Quiet(), epochs=2)
    assert not marker.exists()


def test_a_pickle_under_our_names_is_never_opened(copied):
    marker = copied.path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    for file in (copied.path / "checkpoints").rglob("*.safetensors"):
        file.write_bytes(pickle.dumps(Evil()))
    (copied.path / "splits.npz").write_bytes(pickle.dumps(Evil()))
    for call in (lambda: copied.predict([squares(1)[0][0]]), copied.evaluate):
        with pytest.raises(UserError):
            call()
    assert not marker.exists()


# Predictions ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def colour(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colour")
    data = save_npz(folder / "colour.npz", channels=3, side=12)
    return hubel.train(data, out=folder / "runs", progress=Quiet(), **SMALL | {"epochs": 3})


def words_of(found):
    return {k: v for k, v in found.items() if k != "image"}


def assert_alike(found, wanted, tolerance=1e-4):
    assert found["prediction"] == wanted["prediction"]
    assert found["confidence"] == pytest.approx(wanted["confidence"], abs=tolerance)


def assert_same_picture(found, wanted):
    """Every class in the same order; another size of batch may round fp32 differently."""
    assert_alike(found, wanted, 1e-6)
    assert [one["class"] for one in found["top"]] == [one["class"] for one in wanted["top"]]
    probabilities = [one["probability"] for one in wanted["top"]]
    assert [one["probability"] for one in found["top"]] == pytest.approx(probabilities, abs=1e-6)


def test_images_of_other_kinds(colour, tmp_path, untouched):
    picture = squares(3, side=12, channels=3, seed=9)[0][1]
    files = {}

    def save(name, image, **options):
        files[name] = tmp_path / name
        image.save(files[name], **options)

    plain = Image.fromarray(picture)
    save("plain.png", plain)
    save("large.png", plain.resize((36, 36), Image.Resampling.NEAREST))
    save("alpha.png", Image.fromarray(np.dstack([picture, np.full((12, 12), 255, np.uint8)])))
    save(
        "frames.gif",
        Image.fromarray(picture[:, :, 0]),
        save_all=True,
        append_images=[Image.fromarray(picture[:, :, 0] * 0)],
    )
    save("frame.png", Image.fromarray(picture[:, :, 0]))
    save("grey.png", plain.convert("L"))
    deep = picture[:, :, 0].astype(np.uint16) * 257
    save("deep.png", Image.fromarray(deep))
    for tag, turn in ((3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270)):
        exif = Image.Exif()
        exif[0x0112] = tag
        save(f"turned{tag}.png", plain.transpose(turn), exif=exif)
    untouched(tmp_path)
    names = list(files)
    found = dict(zip(names, colour.predict(files.values()), strict=True))
    assert [one["image"] for one in found.values()] == [str(path) for path in files.values()]
    for name in ("alpha.png", "turned3.png", "turned6.png", "turned8.png"):
        assert_same_picture(found[name], found["plain.png"])
    assert_alike(found["large.png"], found["plain.png"])
    assert_alike(found["frames.gif"], found["frame.png"])
    assert_alike(found["deep.png"], found["frame.png"], 0.01)
    for alone in ([picture], [plain], files["plain.png"]):  # a batch of one
        assert_same_picture(colour.predict(alone)[0], found["plain.png"])


def test_colour_for_a_network_that_saw_grey(finished, tmp_path):
    picture = squares(3, side=8, seed=9)[0][1, :, :, 0]
    Image.fromarray(picture).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([picture] * 3)).save(tmp_path / "colour.png")
    grey, colour = finished.predict([tmp_path / "grey.png", tmp_path / "colour.png"])
    assert words_of(grey) == words_of(colour)


def test_files_that_are_no_images(finished, tmp_path, untouched):
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    untouched(tmp_path)
    for name, message in (
        ("broken.png", "not an image of a known format"),
        ("empty.jpg", "empty"),
        ("nowhere.png", "no file"),
        ("folder", "is a folder; name the images"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            finished.predict([tmp_path / name])
        assert name in str(caught.value)
    for wrong in (3.5, np.zeros((2, 2, 5)), np.zeros((4, 4), dtype=complex), None):
        with pytest.raises(UserError):
            finished.predict([wrong])
    assert finished.predict([]) == []


# The disk, signals, time ----------------------------------------------------------------------------------------


class FullDisk(Callback):
    """From a step on, nothing can be written."""

    def __init__(self, monkeypatch, step):
        self.monkeypatch, self.step = monkeypatch, step

    def on_step(self, loop, losses):
        if loop.step == self.step:
            self.monkeypatch.setattr(atomic.os, "fsync", self._refuse)

    def _refuse(self, handle):
        raise OSError(28, "No space left on device")


def test_a_disk_that_fills_in_mid_training(tmp_path, monkeypatch):
    data = save_npz(tmp_path / "squares.npz")
    options = {**PLAIN, "epochs": 3, "save_every": 2, "precision": "fp32"}
    whole = hubel.train(data, out=tmp_path / "whole", progress=Quiet(), **options)
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"No room for .*`hubel resume`"):
        hubel.train(data, out=tmp_path / "cut", progress=Quiet(), callbacks=[FullDisk(patch, 5)], **options)
    path = next((tmp_path / "cut").glob("*/1"))
    assert checkpoint.load(path / "checkpoints" / "last")["position"]["step"] == 4
    assert not list(path.rglob("*.tmp"))
    resumed = hubel.resume(path, progress=Quiet())
    a, b = (checkpoint.load(run.path / "checkpoints" / "last") for run in (whole, resumed))
    assert all(np.array_equal(a["network"][name].numpy(), b["network"][name].numpy()) for name in a["network"])
    assert whole.metrics == resumed.metrics and len(resumed.history) == 3


def test_a_folder_that_can_not_be_written(tmp_path, monkeypatch):
    data = save_npz(tmp_path / "squares.npz")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"can't be written.*--out"):
        patch.setattr("pathlib.Path.mkdir", refuse)
        hubel.train(data, out=tmp_path / "runs", progress=Quiet(), **SMALL)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file, not a folder"):
        hubel.train(data, out=tmp_path / "file", progress=Quiet(), **SMALL)
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"can't be written.*--out"):
        patch.setattr(atomic.os, "fsync", refuse)
        hubel.train(data, out=tmp_path / "other", progress=Quiet(), **SMALL)


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_command_can_be_resumed(tmp_path, number):
    data = save_npz(tmp_path / "squares.npz")
    started = start_hubel(
        "train", data, "--out", tmp_path / "runs", "--quiet", "--json", *words({**PLAIN, "epochs": 100_000})
    )
    try:
        wait_for(lambda: any(p.read_text().count("\n") > 3 for p in tmp_path.glob("runs/*/1/history.csv")))
        started.send_signal(number)
        shown, said = started.communicate(timeout=60)
    finally:
        started.kill()
    path = next((tmp_path / "runs").glob("*/1"))
    assert started.returncode == 130 and "Traceback" not in said
    assert f"hubel resume {path}" in said and f"hubel resume {path}" in json.loads(shown)["error"]
    assert hubel.Run.open(path).state == "interrupted"
    state = checkpoint.load(path / "checkpoints" / "last")
    assert state["position"]["epoch"] == len(hubel.Run.open(path).history)
    resumed = hubel.resume(path, epochs=state["position"]["epoch"] + 1, progress=Quiet())
    assert resumed.state == "finished" and resumed.metrics["test"]


def test_data_that_changed_since(tmp_path):
    root = save_folder(tmp_path / "photos")
    run = hubel.train(root, out=tmp_path / "runs", progress=Quiet(), **SMALL)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(root / "a" / "000.png")
    for call in (run.evaluate, run.report, lambda: hubel.resume(run.path, epochs=2, progress=Quiet())):
        with pytest.raises(UserError, match=r"has changed since the run began"):
            call()
    shutil.rmtree(root)
    with pytest.raises(UserError, match=r"no file or folder"):
        run.evaluate()
    assert run.predict([np.zeros((8, 8), np.uint8)])  # needs no data
