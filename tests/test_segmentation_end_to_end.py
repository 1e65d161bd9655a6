"""Masks from drawn scenes to the shipped file: train, interrupt, resume, evaluate, predict, report, export, views."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import hubel
from hubel.data.shapes import shapes
from hubel.ensembles.ensemble import Ensemble
from hubel.ensembles.together import Together
from hubel.errors import UserError
from hubel.tasks.classification import Classification
from hubel.tasks.joint import Joint
from hubel.tasks.segmentation import Segmentation
from hubel.training.callbacks import Callback

SOURCE = "shapes:count=30,size=24x32,classes=3,most=2,kind=segmentation"
SHARED = {"model": "resnet8", "epochs": 2, "batch_size": 10, "progress": "quiet", "precision": "fp32", "workers": 0}


class Interrupt(Callback):
    """Ctrl-C in the middle of the second epoch."""

    def on_step(self, loop, losses):
        if loop.step == 3:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return hubel.train(SOURCE, out=tmp_path_factory.mktemp("masks"), **SHARED)


def test_what_a_run_holds(run):
    assert run.settings["task"].value == "segmentation" and run.settings["task"].source == "auto"
    assert run.settings["augment.cutout"].value == 0
    for part in ("train", "dev", "test"):
        assert 0 <= run.metrics[part]["miou"] <= run.metrics[part]["mean_dice"] <= 1
        assert run.metrics[part].keys() >= {"pixel_accuracy", "boundary_f", "loss", "iou.background"}
    assert {"train.miou", "dev.miou", "dev.loss"} <= run.history[-1].keys()
    with np.load(run.path / "predictions" / "test.npz") as saved:
        n = len(run.splits["test"])
        assert saved["output.confusion"].shape == (n, 4, 4) and n > 0
        np.testing.assert_array_equal(saved["output.confusion"].sum(2), saved["target"])
        assert saved["output.answered"].sum() == n * 24 * 32


def test_the_report_shows_maps(run):
    page = (run.path / "report.html").read_text()
    for words in ("Where the errors are", "Kinds of mistakes", "Near borders", "mean IoU", "IoU, recall", "swatch k1"):
        assert words in page
    assert "always answering “background”" in page and len(page) < 5_000_000


def test_a_resumed_training_is_the_same_bit_for_bit(run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        hubel.train(SOURCE, out=tmp_path, callbacks=[Interrupt()], **SHARED)
    again = hubel.resume(next(tmp_path.glob("*/1")))
    assert repr(again.metrics) == repr(run.metrics)
    for part in ("train", "test"):
        a, b = (np.load(r.path / "predictions" / f"{part}.npz") for r in (run, again))
        assert all(np.array_equal(a[name], b[name]) for name in a.files)


def test_views_are_compared_with_the_single_view(run):
    """The ensemble's rows: the single view, and both views averaged as maps."""
    (judged,) = Ensemble(run, views="mirror").evaluate("test").values()
    single, both = judged.rows
    assert run.settings["views"].value == ("mirror" if run.settings["augment.flip"].value != "none" else "single")
    plain, mirrored = (single, both) if run.settings["views"].value == "single" else (both, single)
    assert plain.metrics["miou"] == pytest.approx(run.metrics["test"]["miou"], abs=1e-6)
    assert plain.metrics["loss"] != mirrored.metrics["loss"]


def test_an_ensemble_judges_maps_a_few_images_at_a_time(run, monkeypatch):
    """Three times the same network is that network; of maps no more than two images' are kept at once."""
    sizes = []
    monkeypatch.setattr("hubel.ensembles.ensemble.MAPS", 2)
    add = Together.add
    monkeypatch.setattr(Together, "add", lambda self, found: (sizes.append(len(found)), add(self, found)))
    (judged,) = Ensemble([run, run, run]).evaluate("dev").values()
    assert judged.n == sum(sizes) / 3 and max(sizes) <= 2 < len(sizes) / 3 + 1
    own = run.metrics["dev"]
    for row in judged.rows:
        assert row.metrics.keys() == own.keys()
        assert row.metrics == pytest.approx(own, abs=1e-6, nan_ok=True)
    assert judged.uncertainty["information"] == pytest.approx(0, abs=1e-6)


def test_predictions_in_words_for_images_of_any_size(run):
    small, large = (np.full((h, w, 3), 90, np.uint8) for h, w in ((24, 32), (50, 41)))
    for row in run.predict([small, large]):
        assert sum(row["shares"].values()) == pytest.approx(1)
        assert 0 < row["confidence"] <= 1 and "%" in row["prediction"]


def test_a_file_gives_the_same_probabilities(run, tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    made = run.export(tmp_path / "masks.onnx")
    assert made.outputs == ("probabilities",) and made.agrees and made.difference is not None


def test_masks_and_labels_on_one_backbone(run, tmp_path):
    """The network of masks, a classifier on its coarsest map; the report shows the classes of the task that decides."""
    masks = shapes(count=30, size=(24, 32), classes=3, most=1, kind="segmentation")
    labels = shapes(count=30, size=(24, 32), classes=3, most=1, kind="labels")
    kinds = labels.annotations["labels"].argmax(1)
    data = replace(masks, annotations={**masks.annotations, "label": kinds}, classes=labels.classes)
    task = Joint({"kind": Classification(labels.classes), "mask": Segmentation(("any",))}, decides="mask")
    small = {key: value for key, value in SHARED.items() if key != "model"}
    both = hubel.train(data, task=task, out=tmp_path, **{**small, "epochs": 1, "model.width": 4, "model.depth": 2})
    for option in ("size", "resize", "augment.policy", "augment.cutout", "augment.brightness"):
        assert both.settings[option].value == run.settings[option].value
    assert (both.settings["model"].value, both.primary) == ("unet_plain", "mask.miou")
    outputs = both.network.eval()(torch.zeros(2, 3, 24, 32))
    assert outputs["kind"].shape == (2, 3) and outputs["mask"].shape == (2, 4, 24, 32)
    page = (both.path / "report.html").read_text()
    assert "always answering “background”" in page and "pixels found" in page and "#3</th>" not in page
    assert "mask: Near borders" in page and page.count("<img") > len(both.splits["test"]) / 2
    again = hubel.Run(both.path)
    (row,) = again.predict([np.zeros((24, 32, 3), np.uint8)])
    assert set(row["tasks"]) == {"kind", "mask"}


def test_a_classifier_s_run_begins_the_encoder(tmp_path):
    """Its weights, all of them, and nothing of its head; what learns alone at first is the decoder."""
    small = {"progress": "quiet", "precision": "fp32", "workers": 0, "epochs": 1, "out": tmp_path}
    pictures = "shapes:count=30,size=24x32,classes=3,most=1,kind=labels"
    first = hubel.train(pictures, model="resnet8", **small)
    own = {"model": "unet", "model.encoder": "resnet8", "model.widths": [4]}
    with pytest.raises(UserError, match="No layer of"):
        hubel.train(SOURCE, **small, **{**own, "model.encoder": "convnet"}, from_run=first)
    second = hubel.train(SOURCE, **small, **own, from_run=first, transfer="head")
    start, end = first.network.state_dict(), second.network.state_dict()
    body = {name: value for name, value in start.items() if not name.startswith("head.")}
    assert {f"encoder.{name}" for name in body} == {name for name in end if name.startswith("encoder.")}
    for name, value in body.items():
        assert torch.equal(end[f"encoder.{name}"], value), name
