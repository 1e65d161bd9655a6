"""A pose from training to every other verb: each person an example, the same in evaluate, resume, an ensemble."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from small_parts import assert_same
from small_runs import Quiet

import hubel
from hubel.cli import main
from hubel.data.cutouts import cut, squares
from hubel.data.shapes import shapes
from hubel.ensembles.ensemble import Ensemble, _same
from hubel.errors import UserError
from hubel.prediction.posed import squares_of
from hubel.session import new_session
from hubel.training import checkpoint
from hubel.training.callbacks import Callback

OPTIONS = {"model": "resnet8", "model.widths": (4, 4, 8), "size": 16, "epochs": 2, "batch_size": 16, "workers": 0,
           "precision": "fp32", "views": "mirror"}  # fmt: skip
COUNT = 40


def data():
    index = np.arange(COUNT)
    made = shapes(COUNT, 32, kind="detection", most=2)
    return made.with_splits({"train": index[:28], "dev": index[28:34], "test": index[34:]})


class StopAt(Callback):
    def on_step(self, loop, losses):
        if loop.step == 3:
            raise KeyboardInterrupt


def train(folder, task, **options):
    return hubel.train(data(), task=task, out=folder, progress=Quiet(), **OPTIONS, **options)


@pytest.fixture(scope="module", params=["pose", "heatmap"])
def run(request, tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network only waits for a second one
    yield train(tmp_path_factory.mktemp("runs"), request.param)
    torch.set_num_threads(before)


def test_without_a_task_objects_of_one_kind_with_joints_are_cut_out_for_heat_maps():
    many = data()
    kind = replace(many.annotations["objects"], labels=np.zeros(many.annotations["objects"].count, np.int64))
    people = replace(many, annotations={"objects": kind}, classes=("figure",))
    session = new_session(people, [("python", {"size": 16, "model": "resnet8", "model.widths": (4, 4, 8)})])
    assert session.task.name == "heatmap" and session.settings["task"].source == "auto"
    assert len(session.dataset) == kind.count > COUNT
    with pytest.raises(UserError, match="images show several objects"):
        new_session(many, [])


def test_each_object_is_an_example_in_the_part_of_its_image(run):
    counts = data().annotations["objects"].counts
    assert {name: len(index) for name, index in run.splits.items()} == {
        "train": counts[:28].sum(), "dev": counts[28:34].sum(), "test": counts[34:].sum(),
    }  # fmt: skip
    found = np.load(run.path / "predictions" / "test.npz")
    assert found["output.joints"].shape == (counts[34:].sum(), 5, 2)
    assert "output.error" not in found
    assert ("output.confidence" in found) is ("heatmap" in run.recipe.task)
    report = (run.path / "report.html").read_text()
    assert "pck" in report and "oks" in report


def test_evaluate_says_the_same_again_on_other_data_too(run):
    others = hubel.Run.open(run.path).evaluate(data=data())
    assert others["test"] == pytest.approx(run.metrics["test"], nan_ok=True, rel=1e-4)
    assert 0 <= others["test"]["oks"] <= 1
    assert others["dev"]["loss"] > 0


def test_predictions_are_joints_in_source_pixels(run):
    image = np.zeros((60, 90, 3), np.uint8)
    small, large = run.predict([image[:30, :45], image])
    names = [joint["name"] for joint in large["joints"]]
    assert names == ["centre", "top", "left", "bottom", "right"]
    for one, two in zip(small["joints"], large["joints"], strict=True):
        assert (two["x"], two["y"]) == pytest.approx((2 * one["x"], 2 * one["y"]), abs=0.1)


@pytest.mark.parametrize("run", ["heatmap"], indirect=True)
def test_joints_of_several_boxes_are_in_pixels_of_the_image(run, tmp_path, capsys):
    """The same as cutting each square out by hand, one of them beyond the border, and adding its corner."""
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    file, table = tmp_path / "a.png", tmp_path / "boxes.csv"
    cv2.imwrite(str(file), image[..., ::-1])
    boxes = [[20.0, 10, 40, 30], [-4, 40, 16, 56]]
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": boxes}))
    table.write_text("\n".join(["image,x0,y0,x1,y1", *(",".join(map(str, ["a.png", *box])) for box in boxes)]))
    found = run.predict([file], boxes=table)
    assert main(["predict", str(run.path), str(file), "--boxes", str(tmp_path / "boxes.json"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said if isinstance(said, list) else said["predictions"])[1]["joints"] == found[1]["joints"]
    assert [one["box"] for one in found] == boxes
    windows = squares(np.array(boxes), 0.25)
    for one, plain, window in zip(found, run.predict([cut(image, w) for w in windows]), windows, strict=True):
        for joint, at in zip(one["joints"], plain["joints"], strict=True):
            assert (joint["x"], joint["y"]) == pytest.approx((at["x"] + window[0], at["y"] + window[1]), abs=0.02)
            assert 0 <= joint["confidence"] <= 1
    for wrong, told in (({"b.png": boxes}, "no boxes of"), ({"a.png": [[5, 5, 5, 9]]}, "x0 < x1")):
        with pytest.raises(UserError, match=told):
            run.predict([file], boxes=wrong)
    table.write_text("image,x0,y0,x1,y1\na.png,1,2,three,4\n")
    with pytest.raises(UserError, match="line 2"):
        run.predict([file], boxes=table)


@pytest.mark.parametrize("run", ["heatmap"], indirect=True)
def test_an_exported_file_agrees(run, tmp_path):
    for needed in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(needed)
    found = run.export(tmp_path / "pose.onnx")
    assert found.outputs == ("joints", "confidence")
    assert found.agrees and found.difference is not None, found.said


@pytest.mark.parametrize("run", ["heatmap"], indirect=True)
def test_an_ensemble_of_a_run_with_itself_is_the_run(run):
    rows = Ensemble([run, run]).evaluate("test", data=data())["test"].rows
    assert rows[-1].metrics["pck"] == pytest.approx(run.metrics["test"]["pck"], abs=1e-6)


@pytest.mark.parametrize("run", ["pose"], indirect=True)
def test_a_resumed_training_ends_bit_for_bit_the_same(run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, run.recipe.task, callbacks=[StopAt()])
    resumed = hubel.resume(next(tmp_path.glob("*/1")), source=data(), progress=Quiet())
    assert_same(*(checkpoint.load(one.path / "checkpoints" / "last") for one in (run, resumed)))


@pytest.mark.parametrize("run", ["heatmap"], indirect=True)
def test_joints_in_boxes_by_several_views(run, tmp_path):
    """The mean over the views of each cut-out, back in the image; other margins would give other cut-outs."""
    image, boxes = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8), [[20.0, 10, 40, 30]]
    ensemble = Ensemble([run, run], views="crops")
    (found,) = ensemble.predict([image], boxes={"#0": boxes})
    window = squares(np.array(boxes), 0.25)[0]
    (plain,) = ensemble.predict([cut(image, window)])
    for joint, at in zip(found["joints"], plain["joints"], strict=True):
        assert (joint["x"], joint["y"]) == pytest.approx((at["x"] + window[0], at["y"] + window[1]), abs=0.02)
    (single,) = run.predict([image], boxes={"#0": boxes})
    assert found["box"] == boxes[0] and found["joints"] != single["joints"]
    task = run.parts().task
    with pytest.raises(UserError, match="different margins"):
        _same(*(squares_of(replace(task, margin=margin), ["#0"], {"#0": boxes}) for margin in (0.25, 0.5)))
