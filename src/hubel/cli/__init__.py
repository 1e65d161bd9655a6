"""The command line: `hubel VERB …`. Results go to standard output, everything else to standard error.

Exit status: 0 done; 1 `doctor` found that something needed is missing, or an exported file differs; 2 something that
the user can mend, said in one message; 70 a fault of ours, its traceback in a file; 130 after Ctrl-C. With --json
standard output holds exactly one JSON document: the result, or {"error": message}. torch is imported by the verbs that
need it, not before.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from hubel.cli.options import Command, parse
from hubel.errors import UserError

Result = dict[str, Any] | list[Any]
TORCH = ("train", "resume", "evaluate", "baseline", "predict", "info", "export", "report", "config")  # a long import
WHERE = {
    "training": ("train", "resume", "config"),
    "evaluate": ("evaluate",),
    "predict": ("predict", "explain"),
    "data": ("data", "convert", "baseline"),
    "info": ("info",),
    "folders": ("runs", "report", "export"),
    "machine": ("doctor", "version"),
}  # which file has a verb: a function of its name
TIDYING = 5.0  # seconds after Ctrl-C in which another one changes nothing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (sys.argv by default) and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        with _standard_output(as_json) as output, _remembered_interrupts(arguments is None) as interrupts:
            status, result = _run(words, as_json, interrupts)
            if as_json and result is not None and _first_process() and not (status and _tried_again()):
                from hubel.cli.layout import as_text

                with _showing(words, result):
                    output.write(as_text(result) + "\n")
                    output.flush()
            return status
    except KeyboardInterrupt as stop:
        print(f"hubel: {_interrupted(stop)}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


@contextlib.contextmanager
def _remembered_interrupts(to_the_end: bool) -> Iterator[list[float]]:
    """The times of Ctrl-C. The first ends the command, hurried ones behind it don't tear the tidying up.

    While a library is imported it may come out as another exception, or not at all: here it is remembered. With
    `to_the_end` the process ends after this block, and nothing disturbs that either.
    """
    found: list[float] = []

    def remember(number: int, frame: Any) -> None:
        found.append(time.monotonic())
        if len(found) == 1:
            raise KeyboardInterrupt
        if found[-1] - found[0] > TIDYING:
            os._exit(130)  # something hangs; what is on disk is whole at every moment

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler and (
        threading.current_thread() is threading.main_thread()
    )
    if ours:
        signal.signal(signal.SIGINT, remember)
    try:
        yield found
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_IGN if to_the_end else signal.default_int_handler)


def _run(words: list[str], as_json: bool, interrupts: list[float]) -> tuple[int, Result | None]:
    """The exit status, and what --json prints."""
    try:
        return _dispatch(words, as_json, interrupts)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt as stop:
        status, message = 130, _interrupted(stop)
    except Exception as fault:
        status, message = (130, "interrupted") if interrupts else _explain(fault)
    print(f"hubel: {message}", file=sys.stderr)
    return status, {"error": message}


@contextlib.contextmanager
def _showing(words: Sequence[str], result: Any) -> Iterator[None]:
    """Ctrl-C in here ends the printing alone; of a training it says that nothing of it is lost."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if words and words[0] in ("train", "resume") and isinstance(result, dict):
            stop.finished = result.get("run")  # type: ignore[attr-defined]
        raise


def _interrupted(stop: KeyboardInterrupt) -> str:
    """The message of a Ctrl-C: what is there, and how it goes on."""
    if getattr(stop, "finished", None):
        return f"interrupted while the scores were printed; {stop.finished} is finished"  # type: ignore[attr-defined]
    run = getattr(stop, "run", None)
    return f"interrupted; continue with: hubel resume {run}" if run else "interrupted"


def _explain(fault: Exception) -> tuple[int, str]:
    """Exit status and message: 2 for what the user can mend, 70 with the path of the traceback for the rest.

    After a training that had begun also the run's folder, and its report where one was written.
    """
    status, message = _reason(fault)
    run, page = (getattr(fault, name, None) for name in ("run", "report"))
    told = [f"What there is of the training is in {run}"] if run is not None else []
    return status, "\n".join([message, *told, *([f"Its report is {page}"] if page is not None else [])])


def _reason(fault: Exception) -> tuple[int, str]:
    if isinstance(fault, UserError):
        return 2, str(fault)
    if isinstance(fault, ImportError) and (fault.name or "").partition(".")[0] != "hubel":
        return 2, f"{fault.name or 'A package'} can't be imported ({fault}). `hubel doctor` shows what is missing."
    if isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT):
        return 2, f"No room on the disk ({fault}). Make room (`hubel runs --prune N`), then go on with `hubel resume`."
    path = _save_traceback(fault)
    return 70, f"unexpected {type(fault).__name__}: {fault}\nThe traceback is in {path}; please report it."


def _save_traceback(fault: Exception) -> Path:
    text = "".join(traceback.format_exception(fault))
    run = getattr(fault, "run", None)
    if run is not None:
        with contextlib.suppress(OSError):
            path = Path(run) / "traceback.txt"
            path.write_text(text, errors="backslashreplace")
            return path
    with tempfile.NamedTemporaryFile("w", prefix="hubel-", suffix=".txt", delete=False, errors="replace") as file:
        file.write(text)
    return Path(file.name)


def _dispatch(words: list[str], as_json: bool, interrupts: list[float]) -> tuple[int, Result | None]:
    from hubel.cli import help as cli_help

    if not words or words[0] in ("--help", "-h", "help"):
        topic = words[1] if len(words) > 1 and not words[1].startswith("-") else None
        return _print_help(cli_help.verb(topic) if topic else cli_help.overview(), as_json)
    if words[0] in ("--version", "-V"):
        words = ["version", *words[1:]]
    command = parse(words)
    if command.has("help"):
        return _print_help(cli_help.verb(command.verb), as_json)
    if command.verb in TORCH and (command.words or command.verb != "info"):  # which lists names
        importlib.import_module("hubel.api")
        if interrupts:
            raise KeyboardInterrupt
    status, result, show = function_of(command.verb)(command)
    if not as_json and _first_process():
        with _showing(words, result):
            show()
    return status, result


def function_of(verb: str) -> Callable[[Command], tuple[int, Any, Callable[[], Any]]]:
    """What a verb does: from a Command to (exit status, JSON-ready result, function that shows it)."""
    module = next(module for module, verbs in WHERE.items() if verb in verbs)
    return getattr(importlib.import_module(f"hubel.cli.{module}"), verb)


def _print_help(text: str, as_json: bool) -> tuple[int, Result]:
    if not as_json:
        print(text)
    return 0, {"help": text}


def _first_process() -> bool:
    """Only the first of several processes (torchrun) prints results."""
    return os.environ.get("RANK", "0") == "0"


def _tried_again() -> bool:
    """Will torchrun start this process anew where it fails? Then the next attempt prints the document."""
    done, most = (int(os.environ.get(f"TORCHELASTIC_{name}", "0")) for name in ("RESTART_COUNT", "MAX_RESTARTS"))
    return done < most


@contextlib.contextmanager
def _standard_output(reserved: bool) -> Iterator[TextIO]:
    """Standard output for the JSON document; meanwhile what anybody prints, C libraries too, goes to standard error."""
    real = sys.stdout
    if not reserved:
        yield real
        return
    real.flush()
    kept = None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if real.fileno() == 1:
            kept = os.dup(1)
            os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            out = os.fdopen(os.dup(kept), "w", encoding="utf-8") if kept is not None else real
            yield out
            if out is not real:
                out.close()
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)
