"""Own networks, datasets, tasks, callbacks and loggers."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from small_runs import PLAIN, Quiet, document, squares, words
from small_runs import hubel as command
from torch import nn

import hubel
from hubel.tasks.classification import Classification
from hubel.training import checkpoint


class Own(nn.Module):
    """A network that knows nothing of hubel."""

    def __init__(self, width: int = 6):
        super().__init__()
        self.body, self.last = nn.Linear(64, width), nn.Linear(width, 3)

    def forward(self, images):
        return self.last(torch.relu(self.body(images.flatten(1))))


def test_an_own_module(train, data):
    network = Own()
    run = train(data, model=network)
    assert run.evaluate() == run.metrics
    with pytest.raises(hubel.UserError, match=r"own network, 'Own'.*Give it again"):
        hubel.Run.open(run.path).evaluate()
    assert hubel.Run.open(run.path, model=Own()).evaluate() == run.metrics
    more = hubel.resume(run.path, model=Own(), epochs=2, progress=Quiet())
    assert len(more.history) == 2


def test_the_users_network_stays_as_it_is_and_folds_do_not_share_it(train, data):
    network = Own()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    run = train(data, model=network, folds=2, epochs=2)
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
    assert not network._forward_hooks
    firsts = [hubel.Run.open(p, model=Own()).history[0]["train.loss"] for p in sorted((run.path / "folds").iterdir())]
    assert abs(firsts[0] - firsts[1]) < 0.1  # the second fold does not begin where the first ended
    with pytest.raises(hubel.UserError, match=r"Restarts begin from other weights"):
        train(data, model=network, restarts=2)
    assert train(data, model=Own, restarts=2, **{"model.width": 4}).state == "finished"


def test_a_module_that_does_not_fit(train, data):
    with pytest.raises(hubel.UserError, match=r"needs 3 numbers per image.*gave \(2, 5\)"):
        train(data, model=nn.Sequential(nn.Flatten(), nn.Linear(64, 5)))
    with pytest.raises(hubel.UserError, match=r"fails on two blank images of shape \(2, 1, 8, 8\)"):
        train(data, model=nn.Linear(3, 5))


def test_a_network_from_a_file(data, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "from torch import nn\nclass Net(nn.Module):\n"
        "    def __init__(self, *, classes, input, width: int = 4):\n"
        "        super().__init__()\n"
        "        c, h, w = input\n"
        "        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, width), nn.Linear(width, classes))\n"
        "    def forward(self, images):\n        return self.layers(images)\n"
    )
    options = {k: v for k, v in PLAIN.items() if not k.startswith("model")}
    options |= {"model": f"{own}:Net", "model.width": "5"}
    found = document(command("train", data, "--out", tmp_path / "runs", "--json", "--quiet", *words(options)))
    run = hubel.Run.open(found["run"])
    assert run.path == tmp_path / "runs" / "squares-Net" / "1" and run.metrics == found["metrics"]
    assert run.network.layers[1].out_features == 5
    elsewhere = command("evaluate", found["run"], "--json", cwd="/")  # finds its file from anywhere
    assert document(elsewhere)["metrics"] == found["metrics"]


def test_a_file_that_is_named_from_its_own_folder(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\ndef net(*, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
        "from hubel.tasks.classification import Classification\n\nclass Own(Classification):\n    name = 'own'\n"
    )
    run = hubel.train(data, model="own.py:net", task="own.py:Own", epochs=1, progress=Quiet(), workers=0)
    metrics = run.metrics
    monkeypatch.chdir("/")
    assert hubel.Run.open(tmp_path / run.path).evaluate() == metrics
    assert "<title>net on squares" in (tmp_path / run.path / "report.html").read_text()


class Pairs(torch.utils.data.Dataset):
    """A torch dataset of (image, target)."""

    classes = ("down", "middle", "up")

    def __init__(self, kind="tensor"):
        self.images, self.labels = squares(90)
        self.kind = kind

    def __len__(self):
        return 90

    def __getitem__(self, i):
        image = self.images[i, :, :, 0]
        kinds = {"tensor": torch.from_numpy(image)[None].float() / 255, "pil": Image.fromarray(image), "array": image}
        return kinds[self.kind], int(self.labels[i])


def test_an_own_torch_dataset(train):
    runs = [train(Pairs(kind)) for kind in ("array", "pil", "tensor")]
    assert all(run.metrics == runs[0].metrics for run in runs)
    assert runs[0].parts().classes == Pairs.classes
    with pytest.raises(hubel.UserError, match=r"data given from Python; give it again"):
        runs[0].evaluate()
    found = runs[0].evaluate(data=Pairs())
    assert found["test"]["accuracy"] >= 0
    more = hubel.resume(runs[0].path, source=Pairs("array"), epochs=2, progress=Quiet())
    assert len(more.history) == 2


@dataclass(frozen=True)
class Loud(Classification):
    """An own task: classes, with a loss that counts twice."""

    name = "loud"

    def loss(self, network, batch):
        return {f"{k}.twice": hubel.types.Term(2 * t.sum, t.count) for k, t in super().loss(network, batch).items()}


def test_an_own_task(train, data):
    task = Loud(classes=("0", "1", "2"))
    run = train(data, task=task)
    assert "train.cross_entropy.twice" in run.history[0] and run.evaluate() == run.metrics
    assert hubel.Run.open(run.path, task=task).evaluate() == run.metrics
    with pytest.raises(hubel.UserError, match=r"own task, 'loud'.*task="):
        hubel.Run.open(run.path).evaluate()


class Steps(hubel.Callback):
    def __init__(self):
        self.seen = []

    def on_start(self, loop):
        self.seen.append("start")

    def on_step(self, loop, losses):
        self.seen.append(float(sum(losses.values())))

    def on_epoch(self, loop, row):
        self.seen.append(row["epoch"])
        loop.stop = row["epoch"] == 2

    def on_end(self, loop):
        self.seen.append("end")


class Log:
    def __init__(self):
        self.calls = []

    def start(self, settings, folder):
        self.settings = settings
        self.calls.append(folder)

    def log(self, step, values):
        self.calls.append((step, values["dev.accuracy"]))

    def finish(self):
        self.calls.append("done")


def test_own_callbacks_and_loggers(train, data):
    steps, log = Steps(), Log()
    run = train(data, epochs=5, callbacks=[steps], loggers=[log])
    assert steps.seen[0] == "start" and steps.seen[-1] == "end" and len(steps.seen) == 2 + 2 * 4 + 2
    assert len(run.history) == 2
    assert log.calls == [run.path, *((4 * r["epoch"], r["dev.accuracy"]) for r in run.history), "done"]
    effective = {name: setting.value for name, setting in run.settings.items()}
    assert log.settings == effective and log.settings["optimizer.lr"] > 0 and log.settings["epochs"] == 5


def test_a_callback_that_stops_in_mid_epoch(train, data):
    class Stop(hubel.Callback):
        def on_step(self, loop, losses):
            loop.stop = loop.step == 6

    run = train(data, epochs=5, callbacks=[Stop()])
    assert run.state == "finished" and checkpoint.load(run.path / "checkpoints" / "last")["position"]["step"] == 6
    assert len(run.history) == 1 and run.metrics["test"]


def test_a_callback_that_fails_is_not_hidden(train, data, tmp_path):
    class Broken(hubel.Callback):
        def on_step(self, loop, losses):
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as fault:
        train(data, callbacks=[Broken()])
    run = hubel.Run.open(tmp_path / "runs" / "squares-mlp" / "1")
    assert run.state == "failed" and "This run failed. ZeroDivisionError: mine" in fault.value.report.read_text()
    assert hubel.resume(run.path, progress=Quiet()).state == "finished"


LOGGER = """
class Lines:
    def start(self, settings, folder):
        self.file = (folder / "lines.txt").open("a")

    def log(self, step, values):
        print(step, values["dev.accuracy"], file=self.file)

    def finish(self):
        self.file.close()
"""


def test_a_logger_from_a_file_also_after_a_resume_from_elsewhere(train, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(LOGGER)
    run = train(data, log="own.py:Lines")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    hubel.resume(run.path, epochs=2, progress=Quiet())
    lines = [line.split() for line in (run.path / "lines.txt").read_text().splitlines()]
    assert [(int(step), float(score)) for step, score in lines] == [(r["step"], r["dev.accuracy"]) for r in run.history]
    with pytest.raises(hubel.UserError, match=r"no 'Line'; did you mean 'Lines'"):
        train(data, log=f"{tmp_path}/own.py:Line", out=tmp_path / "never")
    assert not (tmp_path / "never").exists()
