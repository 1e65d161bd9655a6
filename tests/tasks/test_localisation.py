"""Class and box together: alpha, both right, a training from the command to the page, prediction, export, resume."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_parts import assert_same
from small_runs import Quiet

import hubel
from hubel import facts
from hubel.cli import main
from hubel.data.shapes import shapes
from hubel.errors import UserError
from hubel.parts import load_dataset
from hubel.tasks.box import BoxPredictions
from hubel.tasks.localisation import localisation
from hubel.tasks.one_of_k import ClassPredictions
from hubel.tasks.together import JointPredictions
from hubel.training import checkpoint
from hubel.training.callbacks import Callback
from hubel.types import Boxes, select

SMALL = {"model": "resnet8", "model.widths": "4,6", "epochs": "2", "batch_size": "8", "workers": "0"}
DATA = "shapes:count=48,size=24,most=2,classes=3"


def small(folder, **options):
    words = [word for key, value in SMALL.items() for word in (f"--{key}", value)]
    return ["train", DATA, "--task", "localisation", "--out", str(folder), *words]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("localisation")
    assert main([*small(folder), "--quiet"]) == 0
    return hubel.Run.open(next(folder.glob("*/1")))


def examples():
    """Three images: an object with its class and box right, one with its box alone, and none."""
    one = torch.tensor([[0.0, 0.0, 10.0, 10.0], [4.0, 4.0, 8.0, 8.0]])
    image, labels = torch.tensor([0, 1]), torch.tensor([1, 0])
    boxes = Boxes(one, labels, image, torch.zeros(2, dtype=torch.uint8), 3)
    valid = torch.tensor([True, True, False])
    targets = {"class": {"target": torch.tensor([1, 0, 0]), "valid": valid},
               "box": {"target": replace(boxes, source=boxes), "valid": valid}}  # fmt: skip
    shares = torch.tensor([[0.2, 0.8], [0.3, 0.7], [0.5, 0.5]])
    found = torch.tensor([[0.0, 0.0, 10.0, 8.0], [4.0, 4.0, 8.0, 8.0], [0.0, 0.0, 1.0, 1.0]])
    parts = {"class": ClassPredictions(shares), "box": BoxPredictions(found, torch.full((3, 2), 20.0))}
    return JointPredictions(parts), targets


def make(**options):
    task = localisation(("cat", "dog"), **options)
    return replace(task, tasks={**task.tasks, "box": replace(task.tasks["box"], presence=False)})


def test_both_are_right_where_the_class_is_and_the_box_overlaps_by_half():
    predictions, targets = examples()
    metric = make().metric()
    metric.update(predictions, targets)
    found = metric.compute()
    assert (found["right"], found["class.accuracy"], found["box.localisation_error"]) == (0.5, 0.5, 0)
    assert found["box.iou"] == pytest.approx((0.8 + 1) / 2)
    assert make().right(predictions, targets).tolist() == [True, False, True]
    other = make().metric()
    other.load(metric.state())
    other.merge(metric.state())
    assert other.compute() == pytest.approx(found)
    strict = make(least_iou=0.9).metric()
    strict.update(predictions, targets)
    assert strict.compute()["right"] == 0


def test_alpha_weighs_the_class_against_the_box():
    predictions, targets = examples()
    losses = {}
    for alpha in (0.2, 0.5, 0.9):
        metric = make(alpha=alpha, error="iou").metric()
        metric.update(predictions, targets)
        losses[alpha] = metric.compute()["loss"]
    nats, overlap = -np.log([0.8, 0.3]).mean(), (0.2 + 0) / 2
    for alpha, loss in losses.items():
        assert loss == pytest.approx(alpha * nats + (1 - alpha) * overlap, abs=1e-5)
    with pytest.raises(UserError, match="alpha"):
        localisation(("cat", "dog"), alpha=1.0)
    with pytest.raises(UserError, match="task box"):
        localisation(("cat",))


def test_the_interval_draws_sums_in_place_of_predictions():
    """Row by row the same as the metric, an image without an object and one of weight 0 among them."""
    predictions, targets = examples()
    for decides in ("box", "class"):
        session = SimpleNamespace(task=make(decides=decides))
        weights = torch.tensor([1.0, 1.0, 1.0])
        found = SimpleNamespace(predictions=predictions, targets=targets, weights=weights, index=np.arange(3))
        for rows in ([0, 1, 2], [0, 0, 1], [1, 2, 2]):
            share, slow = facts.deciding(session, found), facts.score_of(session, found, np.array(rows))
            assert share(np.array(rows)) == pytest.approx(slow, abs=1e-6)
    box = make(decides="box")
    above, below = box.ratio(predictions, targets)
    assert above.tolist() == pytest.approx([0.8, 1, 0]) and below.tolist() == [1, 1, 0]
    assert facts.deciding(SimpleNamespace(task=box), found)(np.array([2])) != 0  # NaN: nothing to judge
    unseen = SimpleNamespace(**{**vars(found), "weights": torch.tensor([0.0, 1.0, 1.0])})
    assert facts.deciding(SimpleNamespace(task=box), unseen)(np.arange(3)) == 1


class StopAt(Callback):
    def on_step(self, loop, losses):
        if loop.step == 5:  # in the second of two epochs
            raise KeyboardInterrupt


def test_a_resumed_training_ends_bit_for_bit_the_same(run, tmp_path):
    options = {key: setting.value for key, setting in run.settings.items() if key in SMALL}
    with pytest.raises(KeyboardInterrupt):
        hubel.train(DATA, task="localisation", out=tmp_path, progress=Quiet(), callbacks=[StopAt()],
                    layers=[("python", options)])  # fmt: skip
    resumed = hubel.resume(next(tmp_path.glob("*/1")), progress=Quiet())
    assert_same(*(checkpoint.load(one.path / "checkpoints" / "last") for one in (run, resumed)))


def test_the_report_has_both_tasks():
    predictions, targets = examples()
    details = make().details(predictions, targets)
    assert details["confusion"].tolist() == [[0, 1], [0, 1]] and details["scatter"]["truth"].shape == (2, 4)
    assert details["scatter"]["prediction"][0].tolist() == [5, 4, 10, 8]
    row = torch.tensor([0])
    drawn = make().draw(np.zeros((20, 20, 3), np.uint8), predictions.take(row), select(targets, row))
    assert (drawn[0, :10] == (230, 159, 0)).all() and (drawn[9, 1:9] == 255).all()
    words = make().describe(predictions, 0)
    assert words["prediction"] == "class: dog · box: x 0–10, y 0–8" and words["tasks"]["box"]["box"] == [0, 0, 10, 8]
    assert make().truth(targets, 2) == "class: none · box: none"


def test_from_the_command_to_the_page(run, capsys):
    assert {"right", "box.iou", "box.localisation_error", "class.accuracy"} <= set(run.metrics["test"])
    assert run.primary == "box.iou" and run.metrics["test"]["box.iou"] > 0
    page = (run.path / "report.html").read_text()
    assert "report · localisation" in page
    assert "centre x" in page and "triangle" in page
    saved = np.load(run.path / "predictions" / "test.npz")
    truth, found = saved["target.box.target.source.boxes"], saved["output.parts.box.boxes"]
    wide = np.minimum(truth[:, 2:], found[:, 2:]) - np.maximum(truth[:, :2], found[:, :2])
    common = wide.clip(0).prod(1)
    union = (truth[:, 2:] - truth[:, :2]).prod(1) + (found[:, 2:] - found[:, :2]).prod(1) - common
    assert (common / union).mean() == pytest.approx(run.metrics["test"]["box.iou"], abs=1e-5)
    assert run.evaluate("test")["test"] == pytest.approx(run.metrics["test"])


def test_predicted_boxes_are_in_pixels_of_the_file(run, tmp_path, capsys):
    from PIL import Image

    picture = shapes(1, 24, classes=3, most=1, seed=5).images.read(0)
    Image.fromarray(picture).save(tmp_path / "small.png")
    Image.fromarray(picture.repeat(4, 0).repeat(4, 1)).save(tmp_path / "large.png")
    capsys.readouterr()
    assert main(["predict", str(run.path), str(tmp_path / "small.png"), str(tmp_path / "large.png"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    rows = said["predictions"] if isinstance(said, dict) else said
    small, large = (row["tasks"]["box"]["box"] for row in rows)
    assert large == pytest.approx([4 * v for v in small], abs=0.5) and max(large) > 24


def test_exported_boxes_agree(run, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    found = run.export(tmp_path / "net.onnx")
    assert (
        found.agrees
        and found.difference is not None
        and set(found.outputs) == {"parts.class.probabilities", "parts.box.boxes"}
    )
    pixels = np.stack([shapes(3, 24, classes=3).images.read(i) for i in range(3)])
    boxes = runtime.InferenceSession(str(tmp_path / "net.onnx")).run(["parts.box.boxes"], {"images": pixels})[0]
    plain = replace(run.recipe, views="single")
    parts = run.parts()
    from hubel import outcome

    for box, row in zip(boxes, outcome.predict_images(parts, plain, [("", p) for p in pixels]), strict=True):
        assert row["tasks"]["box"]["box"] == pytest.approx(box.tolist(), abs=0.02)


def test_views_and_ensembles_average_boxes(run):
    found = hubel.Ensemble([run], views="crops").evaluate("test")["test"]
    assert len(found.rows) == 2 and 0 < found.rows[1].metrics["box.iou"] <= 1


def test_a_dataset_without_objects_is_refused_with_what_it_has():
    data = load_dataset("digits")
    with pytest.raises(UserError, match=r"needs objects with boxes .* 'label'"):
        localisation(data.classes).accepts(data)
