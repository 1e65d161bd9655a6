"""`hubel data`, `hubel convert` and `hubel train --quarantine`: what is written where, and that it is honoured."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from small_runs import PLAIN, fingerprint, save_folder

import hubel
from hubel.cli import main
from hubel.errors import UserError

sys.path.insert(0, str(Path(__file__).parent / "data"))
from planted import plant


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """40 images of two classes, one of them cut short; the current folder is beside them."""
    root = save_folder(tmp_path / "photos", 40, names=("a", "b"), side=16, channels=3)
    cut = sorted(root.rglob("*.png"))[3]
    cut.write_bytes(cut.read_bytes()[:200])
    monkeypatch.chdir(tmp_path)
    return root


def run(capsys, *words):
    status = main(list(words))
    out = capsys.readouterr().out
    return status, json.loads(out) if "--json" in words else out


def test_data_says_what_is_wrong(photos, capsys):
    before = fingerprint(photos)
    status, found = run(capsys, "data", "photos", "--json")
    assert status == 0 and fingerprint(photos) == before
    assert found["format"] == "folder" and found["images"] == 40 and found["classes"] == ["a", "b"]
    errors = [one for one in found["findings"] if one["severity"] == "error"]
    assert [(one["kind"], one["file"]) for one in errors] == [("truncated image", "a/006.png")]
    assert Path(found["page"]).name == "data.html" and Path(found["page"]).parent.name == "data-photos"
    assert {path.name for path in Path("data-photos").iterdir()} == {"data.html", "findings.json", "quarantine.csv"}
    assert json.loads(Path("data-photos/findings.json").read_text()) == found


def test_the_text_names_findings_and_files(photos, capsys):
    status, out = run(capsys, "data", "photos")
    assert status == 0 and "truncated image" in out and "data.html" in out and "quarantine.csv" in out


def test_looking_leaves_no_trace_in_annotated_data(tmp_path, monkeypatch, capsys):
    """Names, bytes, times and inodes of faulty data of each format are the same after both looks and a page."""
    monkeypatch.chdir(tmp_path)
    for name in ("yolo inverted", "voc zero", "coco crossing", "masks value"):
        source = plant(tmp_path / name.replace(" ", "-"), name)
        before = fingerprint(source)
        for _ in range(2):
            status, found = run(capsys, "data", str(source), "--json")
            assert status == 0 and found["findings"] and fingerprint(source) == before


def test_a_second_look_replaces_the_first(photos, capsys):
    run(capsys, "data", "photos")
    (photos / "a" / "006.png").unlink()
    _, found = run(capsys, "data", "photos", "--json")
    assert found["quarantine"] is None and not Path("data-photos/quarantine.csv").exists()


@pytest.mark.parametrize("out", ["photos/looked", "photos"])
def test_nothing_is_written_into_the_data(out, photos, capsys):
    before = fingerprint(photos)
    status, found = run(capsys, "data", "photos", "--out", out, "--json")
    assert status == 2 and ("inside the data" in found["error"] or "holds other files" in found["error"])
    assert fingerprint(photos) == before


def test_other_folders_are_left_alone(photos, capsys):
    Path("data-photos").mkdir()
    Path("data-photos/mine.txt").write_text("x")
    status, found = run(capsys, "data", "photos", "--json")
    assert status == 2 and "holds other files" in found["error"]


def test_an_unknown_policy_is_an_error(photos, capsys):
    status, found = run(capsys, "data", "photos", "--augment", "strnog", "--json")
    assert status == 2 and "strong" in found["error"]
    assert not Path("data-photos").exists()


def test_training_honours_the_list(photos, capsys):
    run(capsys, "data", "photos")
    listed = Path("data-photos/quarantine.csv")
    listed.write_text(listed.read_text() + "image,b/001.png,mine,I don't want it,,\n")
    options = [word for key, value in PLAIN.items() for word in (f"--{key}", value)]
    status, found = run(capsys, "train", "photos", "--quarantine", str(listed), *options, "--json", "--quiet")
    assert status == 0
    manifest = json.loads(Path(found["run"], "manifest.json").read_text())
    assert set(manifest["data"]["quarantine"]["images"]) == {"a/006.png", "b/001.png"}
    assert json.loads(Path(found["run"], "config.json").read_text())["quarantine"]["value"] == str(listed.absolute())
    with np.load(Path(found["run"], "splits.npz")) as splits:
        used = np.concatenate([splits[name] for name in splits.files])
    names = hubel.load_dataset("photos").images
    assert len(used) == 38 and not {names.name(int(i)) for i in used} & {"a/006.png", "b/001.png"}
    listed.unlink()  # the run has its own copy
    status, found = run(capsys, "resume", found["run"], "--epochs", "3", "--json", "--quiet")
    assert status == 0


def test_a_list_of_other_data_is_refused(photos, capsys):
    Path("list.csv").write_text("image\nelsewhere.png\n")
    status, found = run(capsys, "train", "photos", "--quarantine", "list.csv", "--json")
    assert status == 2 and "no such image" in found["error"]


def test_python_writes_nothing_until_asked(photos):
    found = hubel.inspect_data("photos", progress="quiet")
    assert [path.name for path in Path.cwd().iterdir()] == ["photos"]
    assert found.findings[0].kind == "truncated image" and found.page is None
    written = found.write("looked")
    assert written.page == Path.cwd() / "looked" / "data.html" and written.quarantine is not None


def test_all_images_unreadable_is_no_crash(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"):
        path = Path("photos", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    status, found = run(capsys, "data", "photos", "--json")
    assert status == 0 and sum(one["kind"] == "empty file" for one in found["findings"]) == 4


def test_convert_says_what_is_lost(tmp_path, capsys):
    source = plant(tmp_path / "data", "voc beyond")
    status, found = run(capsys, "convert", str(source), str(tmp_path / "out"), "--format", "coco", "--json")
    assert status == 0 and found["format"] == "coco" and isinstance(found["lost"], list)
    again = hubel.load_dataset(tmp_path / "out")
    before = hubel.load_dataset(source)
    assert again.format == "coco" and set(again.classes) == set(before.classes)
    assert again.annotations["objects"].count == before.annotations["objects"].count
    status, found = run(capsys, "convert", str(source), str(tmp_path / "out"), "--format", "coco", "--json")
    assert status == 2 and "never overwritten" in found["error"]


def test_a_table_is_written_and_opened_again(tmp_path, capsys):
    source = plant(tmp_path / "data", "voc beyond")
    status, found = run(capsys, "convert", str(source), str(tmp_path / "out"), "--format", "csv", "--json")
    assert status == 0 and found["format"] == "csv"
    again, before = hubel.load_dataset(tmp_path / "out"), hubel.load_dataset(source)
    assert again.format == "csv" and again.classes == before.classes
    assert again.annotations["objects"].boxes.tolist() == before.annotations["objects"].boxes.tolist()


def test_objects_are_cut_out_into_folders_of_their_classes(tmp_path, capsys):
    out, scenes = tmp_path / "crops", "shapes:kind=detection,count=8,size=48,classes=2"
    words = ("--format", "crops", "--side", "20", "--background", "2")
    status, found = run(capsys, "convert", scenes, str(out), *words, "--json")
    before, again = hubel.load_dataset(scenes), hubel.load_dataset(out)
    assert (
        status == 0 and "crops of 20 x 20 pixels from 8 images" in found["lost"][0] and "no parts" in found["lost"][1]
    )
    assert again.format == "folder" and set(again.classes) == {*before.classes, "background"}
    counts = dict(zip(again.classes, np.bincount(again.annotations["label"]).tolist(), strict=True))
    objects = np.bincount(before.annotations["objects"].labels, minlength=2).tolist()
    assert [counts[name] for name in before.classes] == objects and counts["background"] >= sum(objects)
    assert again.images.read(0).shape == (20, 20, 3)


def test_images_that_can_not_be_read_are_not_cut(tmp_path):
    hubel.convert_data("shapes:kind=detection,count=4,size=32", tmp_path / "coco", "coco")
    first = sorted((tmp_path / "coco").rglob("*.png"))[0]
    first.write_bytes(first.read_bytes()[:60])
    said = hubel.convert_data(tmp_path / "coco", tmp_path / "crops", "crops")
    assert "from 3 images" in said[0] and said[1] == "left out: 1 images that can't be read"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "--format"),
        (("--format", "tfrecord"), "no format to write"),
        (("--format", "crop"), "did you mean 'crops'"),
        (("--format", "coco", "--side", "9"), "'--side' goes with --format crops"),
        (("--format", "crops", "--side", "2"), "at least 4"),
        (("--format", "crops", "--background", "-1"), "0 to 100 windows"),
    ],
)
def test_convert_needs_a_format_that_it_knows(words, told, tmp_path, capsys):
    source = plant(tmp_path / "data", "voc beyond")
    status, found = run(capsys, "convert", str(source), str(tmp_path / "out"), *words, "--json")
    assert status == 2 and told in found["error"]


@pytest.mark.parametrize("inner", ["out", "."])
def test_convert_stays_out_of_the_data(inner, tmp_path):
    """The folder that the message suggests is one that is taken."""
    source = plant(tmp_path / "data", "voc beyond")
    with pytest.raises(UserError, match="inside the data") as told:
        hubel.convert_data(source, source / inner, "coco")
    suggested = str(told.value).rpartition("such as ")[2].rstrip(".")
    hubel.convert_data(source, suggested, "coco")
    assert hubel.load_dataset(suggested).format == "coco"
