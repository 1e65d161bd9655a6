"""Shared fixtures: the development data sets, found through HUBEL_DATA, and a quiet, private environment."""

import os
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from small_runs import PLAIN, Quiet, fingerprint, save_npz
from stub_runs import StubRun

import hubel
from hubel import api

settings.register_profile("repeat", derandomize=True, deadline=None)  # the same examples at every run, on slow machines
settings.register_profile("explore", deadline=None)  # others each time: HYPOTHESIS=explore pytest tests/data
settings.load_profile(os.environ.get("HYPOTHESIS", "repeat"))


def pytest_configure(config):
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker is a process of its own: they must not fight for cores
        count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))


def pytest_collection_modifyitems(items):
    """Whatever needs the development data sets belongs to the section "data"."""
    for item in items:
        if "data_dir" in getattr(item, "fixturenames", ()):
            item.add_marker("data")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Nothing that a test remembers lands in the user's cache."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the development archives; the test is skipped where HUBEL_DATA does not name one."""
    folder = os.environ.get("HUBEL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the development data sets: set HUBEL_DATA to their folder")
    return Path(folder)


def _unpack(archive: Path, folder: Path) -> Path:
    if not archive.exists():
        pytest.skip(f"HUBEL_DATA has no {archive.name}")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def _above_train(folder: Path) -> Path:
    return next(path.parent for path in sorted(folder.rglob("train")) if path.is_dir())


@pytest.fixture(scope="session")
def cifar10_dev(data_dir, tmp_path_factory) -> Path:
    """10,000 training and 2,000 test images of 32×32: train|test/<class>/*.jpg."""
    return _above_train(_unpack(data_dir / "cifar10_dev.tar.xz", tmp_path_factory.mktemp("data") / "cifar10_dev"))


@pytest.fixture(scope="session")
def clothing_dev(data_dir, tmp_path_factory) -> Path:
    """600 training and 186 validation photos of 10 classes: train|validation/<class>/*.jpg."""
    return _above_train(_unpack(data_dir / "clothing_dev.tar", tmp_path_factory.mktemp("data") / "clothing_dev"))


@pytest.fixture(scope="session")
def bccd_dev(data_dir, tmp_path_factory) -> Path:
    """150 training and 50 dev images of blood cells in VOC's layout."""
    return _unpack(data_dir / "bccd_dev.tar", tmp_path_factory.mktemp("data") / "bccd_dev")


@pytest.fixture(scope="session")
def camvid_dev(data_dir, tmp_path_factory) -> Path:
    """150 training and 40 dev images of road scenes with masks of 11 classes and 11 = unlabelled."""
    return _unpack(data_dir / "camvid_dev.tar", tmp_path_factory.mktemp("data") / "camvid_dev")


@pytest.fixture
def make_folder(tmp_path):
    """make_folder({"cat/1.png": array, bytes, text or (height, width)}) writes files below a folder and returns it."""

    def make(files, name="photos"):
        root = tmp_path / name
        root.mkdir(parents=True, exist_ok=True)
        for relative, content in files.items():
            path = root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes | str):
                path.write_bytes(content.encode() if isinstance(content, str) else content)
            elif isinstance(content, tuple):
                Image.fromarray(np.zeros((*content, 3), np.uint8)).save(path)
            else:
                Image.fromarray(np.asarray(content, dtype=np.uint8)).save(path)
        return root

    return make


@pytest.fixture
def untouched():
    """untouched(folder) … at the test's end the folder must be exactly as it was then."""
    before = {}

    def watch(folder):
        before[folder] = fingerprint(folder)
        return folder

    yield watch
    for folder, state in before.items():
        assert fingerprint(folder) == state, f"{folder} was changed"


# Of the command line, and of bad input ------------------------------------------------------------------------


@pytest.fixture
def stub(monkeypatch, tmp_path):
    """`stub.calls` are the keyword arguments of api.train and api.resume."""
    found = SimpleNamespace(run=StubRun(tmp_path / "runs" / "[bold]digits-mlp" / "1"), calls=[])

    def train(source="digits", **options):
        print("a library prints")
        found.calls.append((source, options))
        return found.run

    monkeypatch.setattr(api, "train", train)
    monkeypatch.setattr(api, "resume", train)
    monkeypatch.setattr(api.Run, "open", classmethod(lambda cls, path: found.run))
    return found


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
    """An archive of squares; see small_runs.py."""
    return save_npz(tmp_path / "squares.npz")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run on an archive; copy it before you damage it."""
    folder = tmp_path_factory.mktemp("finished")
    data = save_npz(folder / "squares.npz")
    return hubel.train(data, out=folder / "runs", progress=Quiet(), **PLAIN | {"epochs": 1})


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "runs" / "squares-mlp" / "1")
    return hubel.Run.open(tmp_path / "runs" / "squares-mlp" / "1")
