"""Checkpoints: what comes back is what went in, and no fault at any step of a save loses the one before.

A killed process proves nothing about fsync (the kernel keeps what was written); a loss of power can't be tested here.
What is tested is the order: temporary file, fsync, rename, fsync of the directory, with a fault at each of them.
"""

import errno
import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from hubel.errors import UserError
from hubel.training import atomic, checkpoint


def state(seed: int) -> dict:
    torch.manual_seed(seed)
    return {
        "weights": {"w": torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last), "n": torch.tensor(3)},
        "optimizers": [{"state": {0: {"step": torch.tensor(1.0), "m": torch.randn(3)}}}],
        "numbers": {"a": 1, "b": 0.1, "c": float("nan"), "d": float("inf"), "e": None, "f": True, "g": "x"},
        "tuple": (1, (2, 3)),
    }


def assert_same(a, b):
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif torch.is_tensor(a):
        assert torch.equal(a, b) and a.dtype == b.dtype and a.stride() == b.stride()
    else:
        assert a == b or (a != a and b != b)


def test_what_comes_back_is_what_went_in(tmp_path):
    checkpoint.save(tmp_path, state(0))
    assert_same(state(0), checkpoint.load(tmp_path))


def test_no_pickle_and_two_are_kept(tmp_path):
    for seed in range(4):
        checkpoint.save(tmp_path, state(seed))
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".json", ".safetensors", ".safetensors"]
    assert_same(state(3), checkpoint.load(tmp_path))


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, suffix, damage):
    for seed in range(2):
        path = checkpoint.save(tmp_path, state(seed))
    broken = path.with_suffix(suffix)
    data = bytearray(broken.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    broken.write_bytes({"flip": data, "cut": data[:-7], "empty": b"", "gone": b""}[damage])
    if damage == "gone":
        broken.unlink()
    assert_same(state(0), checkpoint.load(tmp_path))


def test_nothing_whole_is_an_error_that_names_the_files(tmp_path):
    path = checkpoint.save(tmp_path, state(0))
    path.write_text("{")
    with pytest.raises(UserError, match=path.name):
        checkpoint.load(tmp_path)
    with pytest.raises(UserError, match="empty or missing"):
        checkpoint.load(tmp_path / "nowhere")


def test_a_pickle_is_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "boom",))

    (tmp_path / "last.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="pickle can run code"):
        checkpoint.load(tmp_path)
    assert not (tmp_path / "boom").exists()


def test_a_pickle_under_a_checkpoints_name_is_never_opened(tmp_path):
    path = checkpoint.save(tmp_path, state(0))
    path.with_suffix(".safetensors").write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(UserError, match="hash does not match"):
        checkpoint.load(tmp_path)


def test_a_newer_schema_says_so(tmp_path):
    path = checkpoint.save(tmp_path, state(0))
    content = json.loads(path.read_text()) | {"schema": 99}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="newer hubel"):
        checkpoint.load(tmp_path)


class Fault:
    """Lets the first n system calls of a save pass, then fails."""

    def __init__(self, after: int, error: int):
        self.left, self.error = after, error

    def __call__(self, real):
        def call(*args, **options):
            if self.left == 0:
                raise OSError(self.error, os.strerror(self.error))
            self.left -= 1
            return real(*args, **options)

        return call


STEPS = 8  # fsync, replace, open and fsync of the directory; for the tensors, then for the JSON


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("after", range(STEPS))
def test_a_fault_at_any_step_of_a_save_keeps_the_one_before(tmp_path, monkeypatch, after, error):
    checkpoint.save(tmp_path, state(0))
    fault = Fault(after, error)
    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", fault(os.fsync))
        patch.setattr(atomic.os, "open", fault(os.open))
        patch.setattr(atomic.Path, "replace", fault(Path.replace))
        with pytest.raises((UserError, OSError)):
            checkpoint.save(tmp_path, state(1))
    checkpoint.clean(tmp_path)
    found = checkpoint.load(tmp_path)
    committed = after >= 6  # the JSON was renamed; only the directory's fsync failed
    assert_same(state(1 if committed else 0), found)
    assert not list(tmp_path.glob(f"{atomic.PREFIX}*"))
    names = [p.stem for p in tmp_path.iterdir()]
    assert all(names.count(name) == 2 for name in names), "a half of a pair is left"


def test_the_steps_of_a_save_are_counted_right(tmp_path, monkeypatch):
    calls = []

    def noted(name, real):
        def call(*args, **options):
            calls.append(name)
            return real(*args, **options)

        return call

    for name, owner in (("fsync", atomic.os), ("open", atomic.os), ("replace", atomic.Path)):
        monkeypatch.setattr(owner, name, noted(name, getattr(owner, name)))
    checkpoint.save(tmp_path, state(0))
    assert calls == ["fsync", "replace", "open", "fsync"] * 2 and len(calls) == STEPS


def test_a_full_disk_says_what_is_needed(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(UserError, match=r"No room for .* MB are needed"):
        checkpoint.save(tmp_path, state(0))


def test_only_the_temporaries_of_dead_processes_are_swept(tmp_path):
    dead = tmp_path / f"{atomic.PREFIX}999999999-a.tmp"
    alive = tmp_path / f"{atomic.PREFIX}{os.getppid()}-b.tmp"
    for path in (dead, alive):
        path.write_text("x")
    atomic.sweep(tmp_path)
    assert not dead.exists() and alive.exists()


def test_only_plain_values_and_tensors(tmp_path):
    with pytest.raises(TypeError, match="holds tensors"):
        checkpoint.save(tmp_path, {"a": {"b": object()}})
