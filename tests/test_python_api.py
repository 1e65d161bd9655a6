"""What a user calls from Python: every verb, warm starts, more epochs."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import Quiet, save_folder, squares

import hubel
from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages

# The verbs --------------------------------------------------------------------------------------------------


def test_train_evaluate_predict_open(train, data, tmp_path):
    run = train(data, epochs=3)
    assert isinstance(run, hubel.Run) and run.path == tmp_path / "runs" / "squares-mlp" / "1"
    assert run.metrics.keys() == {"train", "dev", "test"} and (run.path / "report.html").stat().st_size > 10_000
    assert len(run.history) == 3 and run.seconds > 0 and run.recipe.epochs == 3
    score = run.metrics["test"]["accuracy"]
    assert repr(run).startswith(f"<Run {run.path}: finished, dev accuracy")
    assert repr(run).endswith(f"test accuracy {score:.4g}>")
    again = hubel.Run.open(str(run.path))
    saved = json.loads((run.path / "metrics.json").read_text())["metrics"]
    assert again.evaluate() == saved == run.metrics  # exactly
    assert again.evaluate("test") == {"test": saved["test"]} and again.test_looks == 3
    with pytest.raises(hubel.UserError, match=r"no part 'tset'.*train, dev, test"):
        again.evaluate("tset")
    images, _ = squares(n=5, seed=7)
    found = again.predict(images)
    assert [one["image"] for one in found] == ["#0", "#1", "#2", "#3", "#4"]
    parts = again.parts()
    with torch.no_grad(), parts.autocast():
        pixels = parts.preprocess.normalise(torch.from_numpy(images))
        shares = torch.softmax(parts.network(pixels).float(), dim=1)
    for one, row in zip(found, shares, strict=True):
        assert one["prediction"] == parts.classes[int(row.argmax())]
        assert one["confidence"] == pytest.approx(float(row.max()), abs=1e-5)
    json.dumps(found)


def test_predictions_do_not_depend_on_their_company(train, data):
    run, images = train(data), squares(n=130, seed=3)[0]
    together, alone = run.predict(images), [run.predict([image])[0] for image in images[:4]]
    for one, other in zip(together[:4], alone, strict=True):
        assert one["prediction"] == other["prediction"]
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-5)


def test_report_and_private_report(train, tmp_path):
    root = save_folder(tmp_path / "secretplace" / "photos")
    run = train(root)
    assert run.report() == run.path / "report.html"
    assert "secretplace" in run.report().read_text()
    assert "secretplace" not in run.report(private=True).read_text()


def test_load_dataset_and_create_model(data, tmp_path):
    dataset = hubel.load_dataset(data)
    assert len(dataset) == 120 and dataset.splits.keys() == {"train", "dev", "test"}
    assert hubel.load_dataset(dataset) is dataset
    network = hubel.create_model("mlp", classes=7, input=(1, 8, 8), hidden=(5,))
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 7)
    assert hubel.info("mlp", classes=7, input=(1, 8, 8), hidden=(5,))["parameters"] == 65 * 5 + 6 * 7
    with pytest.raises(hubel.UserError, match="did you mean 'mlp'"):
        hubel.create_model("mpl")
    with pytest.raises(hubel.UserError, match="did you mean 'hidden'"):
        hubel.create_model("mlp", hiden=(5,))


def test_other_data_is_matched_by_the_names_of_classes(train, tmp_path):
    root = save_folder(tmp_path / "photos", names=("a", "b", "c"), n=90)
    run = train(root, epochs=30)
    moved = tmp_path / "moved"
    for name in "ab":  # two of the three
        (moved / name).mkdir(parents=True)
        for path in sorted((root / name).iterdir())[:8]:
            (moved / name / path.name).write_bytes(path.read_bytes())
    everything = {n: [one["prediction"] for one in run.predict(sorted((moved / n).iterdir()))] for n in "ab"}
    right = sum(everything[n].count(n) for n in "ab") / 16
    assert right > 0.8, "nothing is learnt: the order of classes would not show"
    found = run.evaluate(data=moved)
    assert found.keys() == {"test"} and found["test"]["accuracy"] == pytest.approx(right)
    np.savez(tmp_path / "turned.npz", images=squares(30)[0], labels=2 - squares(30)[1], classes=["c", "b", "a"])
    turned = run.evaluate(data=tmp_path / "turned.npz")["test"]["accuracy"]
    np.savez(tmp_path / "plain.npz", images=squares(30)[0], labels=squares(30)[1], classes=["a", "b", "c"])
    assert turned == run.evaluate(data=tmp_path / "plain.npz")["test"]["accuracy"] > 0.8
    (root / "zebra").mkdir()
    (root / "zebra" / "1.png").write_bytes((root / "a" / "000.png").read_bytes())
    with pytest.raises(hubel.UserError, match=r"doesn't know: zebra.*a, b, c"):
        run.evaluate(data=root)


# Warm starts, more epochs -----------------------------------------------------------------------------------


def weights(run):
    return {k: v.cpu() for k, v in run.network.state_dict().items()}


def test_warm_start_from_another_run(train, data, tmp_path):
    first = train(data, epochs=3, seed=1)
    second = train(data, from_run=first.path, **{"optimizer.lr": 1e-12}, seed=5)
    for name, weight in weights(first).items():
        torch.testing.assert_close(weights(second)[name], weight, msg=name)
    bare = hubel.train(data, from_run=first.path, out=tmp_path / "bare", progress=Quiet(), epochs=1, workers=0)
    assert bare.settings["model"].value == "mlp" and bare.settings["model"].source == "run"
    assert bare.network.state_dict().keys() == first.network.state_dict().keys()
    assert hubel.train(data, from_run=first, out=tmp_path / "run", progress=Quiet(), epochs=1, workers=0).metrics


def test_warm_start_with_other_classes(train, data):
    quiet = Quiet()
    first = train(data, epochs=3)
    images, labels = squares(80, classes=4)
    other = Dataset("four", ArrayImages(images), {"label": labels}, tuple("wxyz"))
    second = train(other, from_run=first.path, progress=quiet, **{"optimizer.lr": 1e-12})
    said = next(text for text in quiet.said if "come from" in text)
    assert "fresh: head" in said
    for name, weight in weights(first).items():
        same = not name.startswith("head")
        assert (weights(second)[name].shape == weight.shape) == same
        if same:
            torch.testing.assert_close(weights(second)[name], weight, msg=name)
    with pytest.raises(hubel.UserError, match=r"No layer of .* fits"):
        train(data, model="lenet5", from_run=first.path)


def test_more_epochs_go_on_where_it_ended(train, data):
    run = train(data, epochs=2)
    first = run.history
    more = hubel.resume(run.path, epochs=4, progress=Quiet())
    assert more.history[:2] == first and [row["epoch"] for row in more.history] == [1, 2, 3, 4]
    assert more.settings["epochs"].value == 4 and more.settings["epochs"].source == "resume"
    assert more.evaluate() == more.metrics
    with pytest.raises(hubel.UserError, match=r"finished its 4 epochs.*--epochs 8"):
        hubel.resume(run.path, progress=Quiet())
    with pytest.raises(hubel.UserError):
        hubel.resume(run.path, epochs=3, progress=Quiet())


def test_nothing_in_a_run_depends_on_the_folder_that_a_program_is_in(train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here, there = save_folder("here"), save_folder("there", n=30, seed=5)
    run = train(here, out="runs", **{"split.dev_from": str(there)})
    folds = train(here, out="runs", folds=2, from_run=run, **{"split.dev_from": "there"})
    assert run.path == tmp_path / "runs" / "here-mlp" / "1"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run.evaluate() == run.metrics and run.report().is_file()
    assert hubel.resume(run.path, epochs=2, progress=Quiet()).state == "finished"
    (folds.path / "folds" / "2" / "state.json").unlink()
    shutil.rmtree(folds.path / "folds" / "2")
    assert hubel.resume(folds.path, progress=Quiet()).state == "finished"  # the fold that is missing, from `run` again
    one = hubel.Run.open(folds.path / "folds" / "1")
    assert one.evaluate() == one.metrics


def test_a_file_unlike_the_others_is_remembered_by_the_run(train, tmp_path):
    """One of 300 is in colour, where the first look at some of them sees grey only."""
    root = save_folder(tmp_path / "photos", n=300)
    odd = sorted((root / "b").iterdir())[1]
    Image.fromarray(np.full((8, 8, 3), (200, 10, 10), np.uint8)).save(odd)
    assert hubel.load_dataset(root).images.channels == 1
    run = train(root)
    assert run.parts().preprocess.channels == 3 and run.evaluate() == run.metrics
    assert hubel.resume(run.path, epochs=2, progress=Quiet()).state == "finished"


def test_private_from_the_start_judges_once(train, tmp_path, monkeypatch):
    from hubel import outcome

    judged, before = [], outcome.judge
    monkeypatch.setattr(outcome, "judge", lambda *given: judged.append(1) or before(*given))
    run = train(save_folder(tmp_path / "secretplace" / "photos"), private=True)
    assert "secretplace" not in (run.path / "report.html").read_text() and len(judged) == 1
