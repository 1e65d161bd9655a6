"""What a user calls from Python: every verb, own parts, warm starts, every task, scripts, threads and notebooks."""

import asyncio
import json
import subprocess
import sys
import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import HERE, PLAIN, Quiet, document, environment, save_folder, save_npz, squares, words
from small_runs import hubel as command
from torch import nn

import hubel
from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.tasks.classification import Classification
from hubel.tasks.joint import Joint
from hubel.tasks.regression import Regression
from hubel.training import checkpoint


@pytest.fixture
def train(tmp_path):
    """train(source, **options) -> Run in tmp_path/runs."""

    def start(source, **options):
        given = {"out": tmp_path / "runs", "progress": Quiet(), **PLAIN, "epochs": 1, **options}
        if not isinstance(given["model"], str) or given["model"] != "mlp":
            given.pop("model.hidden")
        return hubel.train(source, **given)

    return start


@pytest.fixture
def data(tmp_path):
    return save_npz(tmp_path / "squares.npz")


def in_memory(n=120, columns=None, **options) -> Dataset:
    images, labels = squares(n, **options)
    kinds = tuple("abc"[: labels.max() + 1])
    return Dataset("memory", ArrayImages(images), {"label": labels, **(columns or {})}, kinds)


# The verbs ---------------------------------------------------------------------------------------------------


def test_train_evaluate_predict_open(train, data, tmp_path):
    run = train(data, epochs=3)
    assert isinstance(run, hubel.Run) and run.path == tmp_path / "runs" / "squares-mlp" / "1"
    assert run.metrics.keys() == {"train", "dev", "test"} and (run.path / "report.html").stat().st_size > 10_000
    assert len(run.history) == 3 and run.seconds > 0 and run.recipe.epochs == 3
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


# Own parts ----------------------------------------------------------------------------------------------------


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

    with pytest.raises(ZeroDivisionError, match="mine"):
        train(data, callbacks=[Broken()])
    run = hubel.Run.open(tmp_path / "runs" / "squares-mlp" / "1")
    assert run.state == "failed"
    assert hubel.resume(run.path, progress=Quiet()).state == "finished"


# Warm starts, more epochs ------------------------------------------------------------------------------------


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


# Every task ----------------------------------------------------------------------------------------------------


def several(n=120):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (n, 3))
    images = random.integers(0, 100, (n, 9, 9), dtype=np.uint8)
    for image, row in zip(images, labels, strict=True):
        for k in np.flatnonzero(row):
            image[3 * k : 3 * k + 3] += 120
    return images, labels


def numbers(n=120):
    random = np.random.default_rng(0)
    y = random.uniform(0, 1, (n, 2)).astype(np.float32)
    images = random.integers(0, 30, (n, 8, 8), dtype=np.uint8)
    images[:, :4] += (200 * y[:, :1, None]).astype(np.uint8)
    images[:, 4:] += (200 * y[:, 1:, None]).astype(np.uint8)
    return images, y


def archive(path, images, labels, **more):
    np.savez(path, images=images, labels=labels, **more)
    return path


PERCEPTRON = {"task": "perceptron", "model": "perceptron", "batch_size": 1}
TASKS = {
    "classification": (lambda: squares(120), {}, "accuracy", 0.6),
    "several labels": (several, {}, "average_precision", 0.8),
    "binary": (lambda: squares(120, classes=2), {"task": "binary"}, "accuracy", 0.8),
    "binary tanh": (lambda: squares(120, classes=2), {"task": "binary", "task.output": "tanh"}, "accuracy", 0.8),
    "perceptron": (lambda: squares(120, classes=2), PERCEPTRON, "accuracy", 0.8),
    "regression": (numbers, {}, "r2", 0.5),
    "hierarchical": (lambda: squares(120, classes=4), {"task": "hierarchical"}, "accuracy", 0.4),
}  # fmt: skip


@pytest.mark.parametrize("name", TASKS)
def test_every_task_trains_and_reports(train, tmp_path, name):
    make, options, metric, least = TASKS[name]
    images, labels = make()
    run = train(archive(tmp_path / "d.npz", images, labels), epochs=12, **options)
    assert run.state == "finished" and run.primary in run.metrics["test"]
    assert run.metrics["test"][metric] > least, run.metrics["test"]
    assert run.evaluate() == run.metrics
    assert (run.path / "report.html").stat().st_size > 10_000
    assert run.predict(images[:2])[0]["prediction"] is not None
    json.dumps(run.predict(images[:2]))
    assert hubel.resume(run.path, epochs=13, progress=Quiet()).metrics["test"]


def test_a_joint_task_given_as_an_object(train, tmp_path):
    images, labels = squares(120)
    dataset = in_memory(120, columns={"numbers": (labels[:, None] / 2).astype(np.float32)})
    task = Joint({"what": Classification(("a", "b", "c")), "where": Regression()})
    run = train(dataset, task=task, epochs=20)
    assert run.metrics["test"]["what.accuracy"] > 0.6 and "where.mae" in run.metrics["test"]
    part = dataset.with_splits({"test": np.arange(30)})
    found = run.evaluate(data=part)
    assert found["test"]["what.accuracy"] > 0.6
    unfitted = Joint({"what": Classification(("a", "b", "c")), "where": Regression()})
    assert hubel.Run.open(run.path, task=unfitted).evaluate(data=part) == found
    assert hubel.Run.open(run.path).evaluate(data=part) == found
    with pytest.raises(hubel.UserError, match=r"trained the task 'joint', and 'classification' was given"):
        hubel.Run.open(run.path, task=Classification(("a", "b", "c"))).evaluate(data=part)
    assert (run.path / "report.html").stat().st_size > 10_000
    json.dumps(run.predict(images[:2]))


# Where it runs -------------------------------------------------------------------------------------------------


SCRIPT = """
import multiprocessing, sys
sys.path.insert(0, {here!r})
import hubel
from small_runs import save_npz

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    data = save_npz("large.npz", n=40, side=72)
    run = hubel.train(data, model="linear", epochs=1, batch_size=8, workers=2, progress="quiet")
    print(run.state, run.metrics["test"]["accuracy"])
"""


@pytest.mark.processes
def test_a_script_with_the_spawn_start_method(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.format(here=str(HERE)))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "finished"


def test_in_a_thread(train, data):
    """As in a server or a notebook's worker: no signals may be caught there."""
    found = []
    thread = threading.Thread(target=lambda: found.append(train(data, progress=None)))
    thread.start()
    thread.join(120)
    assert found and found[0].state == "finished"


def test_in_a_running_event_loop(tmp_path, data):
    """A notebook's cell: executed code, a loop that runs, standard streams without a descriptor."""
    cell = "run = hubel.train(source, out=out, epochs=1, model='linear', workers=0)\nfound = run.evaluate()"
    names = {"hubel": hubel, "source": data, "out": tmp_path / "runs"}

    async def notebook():
        exec(compile(cell, "<cell>", "exec"), names)

    asyncio.run(notebook())
    assert names["found"] == names["run"].metrics


def test_nothing_of_the_caller_changes(train, data):
    """Python's and NumPy's generators, torch's switches and the signal handlers stay those of the program."""
    import random
    import signal

    def state():
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        switches = torch.get_default_dtype(), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled()
        return handlers, switches, random.getstate(), np.random.get_state()[1].tolist()

    before = state()
    train(data)
    assert state() == before
