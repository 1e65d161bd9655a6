"""Every task from data to report; scripts, threads and notebooks."""

import asyncio
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from small_runs import HERE, Quiet, environment, in_memory, squares

import hubel
from hubel.tasks.classification import Classification
from hubel.tasks.joint import Joint
from hubel.tasks.regression import Regression

# Every task -------------------------------------------------------------------------------------------------


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


def test_a_joint_task_from_a_function_in_a_file(train, tmp_path):
    """`--task file.py:function`: the way to a joint task on the command line."""
    (tmp_path / "own.py").write_text(
        "from hubel.tasks.classification import Classification\nfrom hubel.tasks.joint import Joint\n"
        "def both():\n    one = Classification(tuple('abc'))\n    return Joint({'x': one, 'y': one}, {'y': 0.5})\n"
    )
    run = train(in_memory(), task=f"{tmp_path}/own.py:both", epochs=2)
    part = in_memory().with_splits({"test": np.arange(30)})
    assert run.evaluate(data=part) == hubel.Run.open(run.path).evaluate(data=part)
    assert {"x.accuracy", "y.accuracy"} <= run.metrics["test"].keys()
    assert hubel.resume(run.path, source=in_memory(), epochs=3, progress=Quiet()).state == "finished"


# Where it runs ----------------------------------------------------------------------------------------------


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


@pytest.mark.processes
def test_a_script_without_a_guard_is_told_what_it_lacks(tmp_path):
    script = SCRIPT.format(here=str(HERE)).replace('if __name__ == "__main__":', "if True:  # no guard")
    (tmp_path / "script.py").write_text(script.replace('("spawn")', '("spawn", force=True)'))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=200
    )
    assert done.returncode != 0 and "Put its training under `if __name__ == '__main__':`" in done.stderr
    assert len(list(tmp_path.glob("runs/*/*"))) == 1 and "UserError" in done.stderr
