"""Ten SIGKILLs at random moments of a training: nothing is lost, and the end result is the same (bench/kill.py)."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

KILL = Path(__file__).parent.parent / "bench" / "kill.py"


@pytest.mark.processes
@pytest.mark.train
def test_ten_kills_lose_nothing():
    found = subprocess.run(
        [sys.executable, KILL, "--kills", "10", "--json"], capture_output=True, text=True, timeout=600
    )
    assert found.returncode == 0, found.stdout + found.stderr
    places = json.loads(found.stdout)["file_systems"]
    assert sum(place["kills"] for place in places) == 10
    assert all(place["faults"] == [] and place["most_lost"] <= 1 for place in places)
    assert sum(place["runs"] for place in places) > 0


@pytest.fixture
def kill(monkeypatch):
    """bench/kill.py as a module; what it sets for its own process is undone."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.syspath_prepend(KILL.parent)
    for name in ("victim", "common"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("bench_kill", KILL)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_kill", module)
    spec.loader.exec_module(module)
    return module


def checkpoint_at(step: int, run: Path) -> None:
    from hubel.training import checkpoint

    checkpoint.save(run / "checkpoints" / "last", {"position": {"step": step}})


def test_the_judge_sees_losses_leftovers_and_damage(kill, tmp_path):
    """The judge itself is tested, since a kill test that can't fail proves nothing."""
    run, board = tmp_path / "digits-mlp" / "1", kill.Board()

    def faults(known: int, reached: int, left: int = 0) -> tuple[int, list[str]]:
        tally = kill.Tally("here")
        board.write(kill.TRAINING, reached, left)
        return kill.inspect(kill.run_of(tmp_path), known, board, 3, tally), tally.faults

    assert faults(-1, -1) == (-1, [])  # killed before there was anything to lose
    assert "no checkpoint" in faults(-1, 5)[1][0]
    checkpoint_at(6, run)
    assert faults(3, 9) == (6, [])  # one interval
    assert "4 steps lost" in faults(3, 10)[1][0]
    assert "4 steps lost" in faults(10, 8)[1][0]  # it fell back behind what was saved before
    assert "still there" in faults(3, 7, left=2)[1][0]
    next((run / "checkpoints" / "last").glob("*.safetensors")).write_bytes(b"torn")
    assert "lost" in faults(3, 7)[1][0]


def test_leftovers_are_temporaries_of_others_and_halves(kill, tmp_path):
    for name in (".hubel-12-a.json.tmp", ".hubel-34-b.tmp", "1.safetensors", "1.json", "2.safetensors"):
        (tmp_path / name).touch()
    assert {p.name for p in kill.leftovers(tmp_path, own=34)} == {".hubel-12-a.json.tmp", "2.safetensors"}
    assert len(kill.leftovers(tmp_path)) == 3


def test_same_is_bit_for_bit(kill):
    import torch

    a = {"x": [torch.tensor([1.0, 2.0]), 3]}
    assert kill.same(a, {"x": [torch.tensor([1.0, 2.0]), 3]})
    assert not kill.same(a, {"x": [torch.tensor([1.0, 2.0 + 2e-7]), 3]})
    assert not kill.same(a, {"x": [torch.tensor([1.0, 2.0], dtype=torch.float64), 3]})
    assert not kill.same(a, {"x": [torch.tensor([1.0, 2.0])]})
