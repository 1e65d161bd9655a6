"""What a person sees: one line per epoch without a terminal, a bar on one, nothing where nothing is wanted."""

import io
import os
import pty
import sys
import threading

import pytest

from hubel.training import progress
from hubel.training.progress import Progress, clock, line

STEP = {
    "epoch": 2, "epochs": 3, "step": 5, "steps": 10, "loss": 0.1234, "images_per_second": 12345.6, "wait_share": 0.07,
    "seconds_left": 65.2,
}  # fmt: skip
ROW = {"epoch": 2, "train.loss": 0.5, "dev.loss": 0.25, "dev.accuracy": 0.875, "seconds": 61.0,
       "images_per_second": 999.6, "wait_share": 0.5}  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1:00"), (65, "1:05"),
     (3599.6, "1:00:00"), (3661, "1:01:01"), (float("nan"), "?")],
)  # fmt: skip
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_a_line_names_what_matters():
    assert line(ROW, 12) == (
        "epoch  2/12  loss 0.500  dev loss 0.250, accuracy 0.8750  1,000 images/s  waiting 50%  1:01"
    )
    assert line({"epoch": 1, "seconds": 1.0, "dev.shape.accuracy": 0.5, "dev.size.mae": 2.0}, 2) == (
        "epoch 1/2  dev shape accuracy 0.5000, size mae 2.0000  1.0 s"
    )


def test_a_usual_line_fits_80_columns():
    usual = line({**ROW, "wait_share": 0.04, "epoch": 20, "images_per_second": 12345.0}, 20)
    assert "waiting" not in usual and len(usual) <= 80


def test_lines_without_a_terminal(capsys):
    shown = Progress()
    shown.start({"epochs": 3, "steps": 10, "step": 0, "run": "x"})
    assert shown.kind == "lines" and not shown.due()
    shown.step(STEP)
    shown.epoch(ROW)
    shown.say("[red]a note")
    shown.stop()
    out, err = capsys.readouterr()
    assert out == "" and err == line(ROW, 3) + "\n[red]a note\n"


def test_quiet_says_nothing(capsys):
    shown = Progress("quiet")
    shown.start({"epochs": 3, "steps": 10, "step": 0})
    shown.step(STEP)
    shown.epoch(ROW)
    shown.say("x")
    shown.stop()
    assert capsys.readouterr() == ("", "")


def test_an_unknown_kind():
    with pytest.raises(ValueError, match="one of auto, bar, lines, quiet"):
        Progress("loud")


class Gone(io.StringIO):
    """A terminal whose window was closed."""

    def write(self, text):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("kind", ["lines", "bar"])
def test_a_terminal_that_goes_away_ends_no_training(monkeypatch, kind):
    shown = Progress(kind)
    monkeypatch.setattr(sys, "stderr", Gone())
    shown.start({"epochs": 3, "steps": 10, "step": 0})
    shown.step(STEP)
    shown.epoch(ROW)
    shown.say("x")
    shown.stop()


def on_terminal(monkeypatch, action, columns=80) -> str:
    """What `action` writes to standard error where that is a terminal."""
    master, slave = pty.openpty()
    seen: list[bytes] = []

    def read():
        try:
            while chunk := os.read(master, 4096):
                seen.append(chunk)
        except OSError:
            return

    reader = threading.Thread(target=read)
    reader.start()
    for name, value in (("TERM", "xterm"), ("COLUMNS", str(columns)), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    with os.fdopen(slave, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        action()
    reader.join(5)
    os.close(master)
    return b"".join(seen).decode()


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    def train():
        shown = Progress()
        assert shown.kind == "bar"
        shown.start({"epochs": 3, "steps": 10, "step": 0})
        assert shown.due()
        shown.step(STEP)
        assert not shown.due()  # a tenth of a second must pass
        shown.step({**STEP, "loss": 9.876})
        print("to a file")
        shown.epoch(ROW)
        shown.stop()

    seen = on_terminal(monkeypatch, train)
    for text in ("epoch 2/3", "loss 0.123", "12,346 images/s", "waiting 7%", "1:05 left", line(ROW, 3)):
        assert text in seen, text
    assert "9.876" not in seen and "to a file" not in seen
    assert capsys.readouterr().out == "to a file\n"


def test_the_bar_fits_a_line(monkeypatch):
    def train():
        shown = Progress("bar")
        shown.start({"epochs": 100, "steps": 10, "step": 0})
        shown.step({**STEP, "epoch": 100, "epochs": 100, "images_per_second": 1234567.0, "seconds_left": 36000})
        shown.stop()

    seen = on_terminal(monkeypatch, train)
    assert "10:00:00 left" in seen and "…" not in seen


def test_time_passes_between_two_looks(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = Progress("bar")
    shown._bar = type("Bar", (), {"update": lambda *a, **k: None})()
    shown._task, looks = 0, 0
    for i in range(1000):  # a step each millisecond
        now[0] = 1 + i / 1000
        if shown.due():
            looks += 1
            shown.step(STEP)
    assert looks == 10


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", type("Terminal", (), {"isatty": lambda self: True})())
    assert Progress().kind == "lines"
    monkeypatch.setenv("TERM", "xterm")
    assert Progress().kind == "bar"
    monkeypatch.setattr(sys, "stderr", None)
    assert Progress().kind == "lines"
