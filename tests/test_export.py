"""One ONNX file: the same answers as the network, its words inside, any batch; and what can't be exported."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import save_folder, squares
from torch import nn

import hubel
from hubel.cli import main
from hubel.data.preprocess import Preprocess
from hubel.errors import UserError
from hubel.models.convnet import convnet
from hubel.prediction import export as exporting
from hubel.rebuild import Parts
from hubel.tasks.base import Task
from hubel.tasks.classification import Classification
from hubel.tasks.joint import Joint
from hubel.tasks.labels import Labels
from hubel.tasks.regression import Regression

KINDS = ("cat", "dog", "ö")


def make_parts(task: Task, channels=3, side=12, depth=8, network=None):
    torch.manual_seed(0)
    preprocess = Preprocess((side, side + 2), channels, (0.4,), (0.2,), depth=depth)
    network = network or convnet(classes=3, input=(channels, side, side + 2), widths=(4, 6), pool="average")
    if hasattr(network, "default_head"):
        network.head = task.head(network)
    network.train()(torch.randn(8, channels, side, side + 2))  # statistics that are not 0 and 1
    return Parts(network.eval(), task, preprocess, torch.device("cpu"), KINDS, "fp32")


@pytest.fixture
def runtime():
    pytest.importorskip("onnxscript")
    return pytest.importorskip("onnxruntime")


def test_a_run_becomes_a_file_that_answers_alike(runtime, tmp_path, capsys):
    pixels, _ = squares(n=7, channels=3)
    run = hubel.train(save_folder(tmp_path / "photos", channels=3), model="mlp", epochs=1, workers=0, out=tmp_path,
                      progress="quiet")  # fmt: skip
    out = tmp_path / "net.onnx"
    capsys.readouterr()
    assert main(["export", str(run.path), str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["agrees"] and said["difference"] < 1e-5 and "agrees" in said["said"]
    session = runtime.InferenceSession(str(out))
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(uint8)", [8, 8, 3])
    shares = session.run(["probabilities"], {"images": pixels})[0]  # seven at once, though none were traced with 7
    words = session.get_modelmeta().custom_metadata_map
    classes = json.loads(words["hubel.classes"])
    for one, row in zip(run.predict(pixels), shares, strict=True):
        assert one["prediction"] == classes[int(row.argmax())]
        assert one["confidence"] == pytest.approx(float(row.max()), abs=1e-5)
    assert json.loads(words["hubel.task"])["name"] == "classification"
    how = json.loads(words["hubel.preprocess"])
    assert (how["size"], how["policy"], how["layout"]) == ([8, 8], "none", "NHWC")


@pytest.mark.parametrize(
    "task, names",
    [
        (Labels(classes=KINDS, threshold=0.3), {"probabilities"}),
        (
            Joint(
                {
                    "kind": Classification(KINDS),
                    "size": Regression(names=("w", "h"), statistics=((3, 4), (1, 2), (0, 0), (9, 9))),
                }
            ),
            {"kind.probabilities", "size.values"},
        ),
    ],
)
def test_every_tensor_that_a_task_predicts_is_an_output(runtime, task, names, tmp_path):
    parts = make_parts(task)
    found = exporting.export(parts, tmp_path / "net.onnx")
    assert len(found.outputs) == len(names)
    assert found.agrees and found.difference < 1e-5
    words = runtime.InferenceSession(str(found.path)).get_modelmeta().custom_metadata_map
    assert json.loads(words["hubel.classes"]) == list(KINDS)
    if isinstance(task, Labels):
        assert json.loads(words["hubel.task"])["threshold"] == 0.3


def test_grey_images_of_sixteen_bits(runtime, tmp_path):
    found = exporting.export(make_parts(Classification(KINDS), 1, depth=16), tmp_path / "net.onnx")
    assert found.agrees
    assert runtime.InferenceSession(str(found.path)).get_inputs()[0].type == "tensor(int32)"


def test_a_file_that_differs_is_not_called_right(runtime, tmp_path, monkeypatch, capsys):
    before = exporting.Shipped._normalised
    monkeypatch.setattr(exporting.Shipped, "_normalised", lambda self, images: before(self, images) * 1.1)
    found = exporting.export(make_parts(Classification(KINDS)), tmp_path / "net.onnx")
    assert not found.agrees
    assert "DIFFERS" in found.said


def test_without_a_runtime_it_says_that_nobody_looked(runtime, tmp_path, monkeypatch):
    find = exporting.importlib.util.find_spec
    monkeypatch.setattr(
        exporting.importlib.util, "find_spec", lambda name, *more: None if name == "onnxruntime" else find(name, *more)
    )
    monkeypatch.setattr(exporting, "_traced", lambda *given: __import__("onnx").ModelProto())
    found = exporting.export(make_parts(Classification(KINDS)), tmp_path / "net.onnx")
    assert (found.difference, found.agrees) == (None, True)
    assert "not compared" in found.said and "hubel[export]" in found.said


class Looking(nn.Module):
    """A forward that depends on values."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        while x.sum() > 100:
            x = x / 2
        return self.layer(x).mean((2, 3))


def test_what_cannot_be_exported_says_why(runtime, tmp_path):
    parts = make_parts(Classification(KINDS), network=Looking())
    with pytest.raises(UserError, match=r"can't be exported: .*must not depend on the values of its input"):
        exporting.export(parts, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_where_it_cannot_be_written(tmp_path, monkeypatch):
    parts = make_parts(Classification(KINDS))
    monkeypatch.setattr(exporting, "NEEDED", ("onnx",))
    for name, said in (("net.pt", "must end with .onnx"), ("missing/net.onnx", "folder is missing")):
        with pytest.raises(UserError, match=said):
            exporting.export(parts, tmp_path / name)
    monkeypatch.setattr(exporting, "NEEDED", ("nosuchmodule",))
    with pytest.raises(UserError, match=r"needs nosuchmodule. Install .* 'hubel\[export\]'"):
        exporting.export(parts, tmp_path / "net.onnx")


def test_the_resizing_is_described_in_words():
    plain = Preprocess((12, 12), 3)
    assert "just covers 12×12; then cut out the centre; averaging over the area" in exporting._how(plain)
    assert "fill with 0" in exporting._how(replace(plain, policy="letterbox"))
    assert "bicubic, as Pillow does" in exporting._how(replace(plain, interpolation="bicubic", share=0.875))
    assert "0.875 of the resized side" in exporting._how(replace(plain, share=0.875))


def test_the_file_gets_numbers_that_were_never_zero(runtime, tmp_path):
    """The check compares outputs that vary: not constants that would agree whatever the pixels."""
    parts = make_parts(Classification(KINDS))
    some = exporting._reference(parts, parts.network, exporting.pixels(parts, 3))["probabilities"]
    assert np.ptp(some, axis=0).max() > 1e-4
