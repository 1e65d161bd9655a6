"""Checkpoints at the ends of short epochs: written where they take less than a twentieth of the time."""

import pytest
import torch

from hubel.training import checkpoint, saving

CPU = torch.device("cpu")


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


def made(monkeypatch, tmp_path, seconds, every=None):
    """A Saving whose checkpoints take `seconds`, and its clock."""
    clock = Clock()
    monkeypatch.setattr(saving, "time", clock)
    monkeypatch.setattr(checkpoint, "save", lambda *a, **k: setattr(clock, "now", clock.now + seconds))
    found = saving.Saving(tmp_path, every)
    found.save_last({})
    return found, clock


def test_a_large_network_waits_for_twenty_times_as_long(monkeypatch, tmp_path):
    found, clock = made(monkeypatch, tmp_path, 1.0)
    clock.now += 19
    assert not found.worthwhile(CPU) and found.skipped
    clock.now += 2
    assert found.worthwhile(CPU) and not found.skipped
    found.save_last({})
    clock.now += 5
    assert not found.worthwhile(CPU)
    found.save_last({})  # when it ends
    assert not found.skipped


@pytest.mark.parametrize(("seconds", "every"), [(0.05, None), (1.0, 100)])
def test_quick_ones_and_asked_for_ones_are_written_at_every_end(monkeypatch, tmp_path, seconds, every):
    found, _ = made(monkeypatch, tmp_path, seconds, every)
    assert found.worthwhile(CPU) and not found.skipped


def test_what_was_left_out_is_made_up_for_at_the_end(monkeypatch, tmp_path):
    """No epoch is worth a checkpoint: a training that ends leaves its last state all the same."""
    import hubel

    def never(self, device):
        self.skipped = True
        return False

    monkeypatch.setattr(saving.Saving, "worthwhile", never)
    options = {"model": "mlp", "model.hidden": (8,), "epochs": 3, "progress": "quiet", "workers": 0}
    run = hubel.train("digits", out=tmp_path, **options)
    state = checkpoint.load(run.path / "checkpoints" / "last")
    assert state["position"]["epoch"] == 3
