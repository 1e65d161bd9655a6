"""Small data on disk, small trainings on it, and hubel in processes of its own."""

import hashlib
import json
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path
from subprocess import PIPE

import numpy as np
from PIL import Image

from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages

HERE = Path(__file__).parent
PLAIN = {"model": "mlp", "model.hidden": "8", "optimizer": "sgd", "optimizer.lr": "0.1", "augment": "none",
         "batch_size": "16", "workers": "0", "epochs": "2"}  # fmt: skip


class Quiet:
    """A progress that keeps what it is told."""

    def __init__(self):
        self.said: list[str] = []

    def due(self):
        return False

    def say(self, text):
        self.said.append(text)

    def __getattr__(self, name):
        return lambda *args, **options: None


def squares(n=120, side=8, channels=1, classes=3, seed=0):
    """(n, side, side, channels) noise with a bright square whose place is the class, and (n,) classes."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = random.integers(0, 120, (n, side, side, channels), dtype=np.uint8)
    step = side // classes
    for image, label in zip(images, labels, strict=True):
        image[label * step : (label + 1) * step, : side // 2] += 100
    return images, labels


def in_memory(n=120, columns=None, **options) -> Dataset:
    """Squares as a data set that was made in Python."""
    images, labels = squares(n, **options)
    kinds = tuple("abcdefghij"[: labels.max() + 1])
    return Dataset("memory", ArrayImages(images), {"label": labels, **(columns or {})}, kinds)


def save_npz(path, n=120, parts=True, **options) -> Path:
    """An archive; with `parts` half of it is for training, a quarter each for dev and test."""
    images, labels = squares(n, **options)
    cuts = {"train": slice(0, n // 2), "dev": slice(n // 2, 3 * n // 4), "test": slice(3 * n // 4, n)}
    arrays = {f"{p}_images": images[c] for p, c in cuts.items()} | {f"{p}_labels": labels[c] for p, c in cuts.items()}
    np.savez(path, **(arrays if parts else {"images": images, "labels": labels}))
    return path


def save_folder(root, n=60, names=("a", "b", "c"), **options) -> Path:
    """A folder of PNG files by class."""
    images, labels = squares(n, classes=len(names), **options)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = Path(root) / names[label] / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(path)
    return Path(root)


def with_size(png: bytes, side: int) -> bytes:
    """A PNG whose header promises side × side pixels, with the right checksum; the pixels stay what they were."""
    head = png[12:16] + side.to_bytes(4, "big") * 2 + png[24:29]
    return png[:12] + head + zlib.crc32(head).to_bytes(4, "big") + png[33:]


def words(options) -> list[str]:
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


def environment(**more) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "PYTHONWARNINGS": "ignore", **more}


def hubel(*arguments, cwd=None, **more) -> subprocess.CompletedProcess:
    """`python -m hubel …` to its end."""
    command = [sys.executable, "-m", "hubel", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment(**more), timeout=300)


def start_hubel(*arguments, cwd=None, **more) -> subprocess.Popen:
    """`python -m hubel …`, running."""
    command = [sys.executable, "-m", "hubel", *map(str, arguments)]
    return subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, cwd=cwd, env=environment(**more))


def start_torchrun(count, *arguments, launcher=(), **more) -> subprocess.Popen:
    """`torchrun … -m hubel …` in `count` processes on this machine, running."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), *launcher]
    command = [*start, "-m", "hubel", *map(str, arguments)]
    return subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=environment(**more))


def torchrun(count, *arguments, launcher=(), **more) -> subprocess.CompletedProcess:
    """`torchrun … -m hubel …` to its end."""
    started = start_torchrun(count, *arguments, launcher=launcher, **more)
    try:
        said = started.communicate(timeout=120)
    finally:
        end(started)
    return subprocess.CompletedProcess(started.args, started.returncode, *said)


def end(process):
    """torchrun passes SIGTERM on to its processes; killed at once, it would leave them behind."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_for(condition, seconds=120.0):
    """Until `condition()` holds; fails after so long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def document(done: subprocess.CompletedProcess):
    """The one JSON document on standard output."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def only_run(root) -> Path:
    """The one run folder below `root`."""
    found = [path.parent for path in Path(root).glob("*/*/config.json")]
    assert len(found) == 1, found
    return found[0]


def fingerprint(folder: Path) -> dict:
    """Everything below a folder that a program could have changed: names, kinds, times, contents."""
    found = {}
    for base, folders, files in os.walk(folder):
        for path in (Path(base) / name for name in folders + files):
            stat = path.lstat()
            regular = path.is_file() and not path.is_symlink()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if regular else ""
            found[str(path)] = (stat.st_mode, stat.st_size, stat.st_mtime_ns, stat.st_ino, content)
    return found
