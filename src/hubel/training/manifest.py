"""What a reader needs to repeat a run: versions, commit, hardware, command line."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from importlib import metadata
from typing import Any

from hubel.training.machine import processor


def manifest(self) -> dict[str, Any]:
        return self._read_json("manifest.json")

    @property
    def splits(self) -> dict[str, Any]:
        """{split: positions (n,) int64}, as they were when the run began. Raises UserError where they are lost."""
        import zipfile
        import zlib

        import numpy as np

        try:
            with np.load(self.path / "splits.npz", allow_pickle=False) as saved:
                return {name: saved[name] for name in saved.files}
        except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as fault:
            raise UserError(
                f"{self.path / 'splits.npz'} is missing or damaged ({fault}): which image was in which part is lost. "
                "Copy it from a backup, or train again."
            ) from fault

    @property
    def state(self) -> str:
        """running, interrupted, failed, finished; "interrupted" too where the process died while running."""
        saved = self._read_json("state.json")
        state = str(saved.get("state", "interrupted"))
        if state == "running" and not _alive(saved.get("pid"), saved.get("host")):
            return "interrupted"
        return state

    @property
    def history(self) -> list[dict[str, Any]]:
        """Rows of history.csv, with numbers as numbers."""
        try:
            text = (self.path / "history.csv").read_text()
        except FileNotFoundError:
            return []
        return [
            {k: _number(v) for k, v in row.items() if v not in ("", None)} for row in csv.DictReader(io.StringIO(text))
        ]

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """{split: {name: value}}; {} before the end."""
        return self._read_json("metrics.json").get("metrics", {})

    @property
    def seconds(self) -> float:
        return float(self._read_json("metrics.json").get("seconds", 0.0))

    @property
    def primary(self) -> str | None:
        """The name of the metric that decides; None before the end."""
        return self._read_json("metrics.json").get("primary")

    @property
    def best_epoch(self) -> int:
        return int(self._read_json("metrics.json").get("epoch", 0))

    @property
    def notes(self) -> list[str]:
        """What happened on the way that a reader should know."""
        return list(self._read_json("metrics.json").get("notes", []))

    # Writing ----------------------------------------------------------------------------------------------

    def _write_json(self, name: str, content: Any) -> None:
        write_atomically(self.path / name, json.dumps(content, indent=1, default=str).encode())

    def write_config(self, settings: Mapping[str, Setting]) -> None:
        rows = {k: {"value": s.value, "source": s.source, "reason": s.reason} for k, s in sorted(settings.items())}
        self._write_json("config.json", {"schema": SCHEMA, **rows})

    def write_manifest(self, content: Mapping[str, Any]) -> None:
        self._write_json("manifest.json", content)

    def write_metrics(self, content: Mapping[str, Any]) -> None:
        self._write_json("metrics.json", content)

    def write_plan(self, plan: Any) -> None:
        self._write_json("plan.json", vars(plan))

    def note_test_look(self) -> None:
        """Count an evaluation on the test part: each look makes its score a little less of a judge."""
        content = self._read_json("metrics.json")
        looks = content.setdefault("looks", {})
        looks["test"] = looks.get("test", 0) + 1
        self.write_metrics(content)

    @property
    def test_looks(self) -> int:
        return int(self._read_json("metrics.json").get("looks", {}).get("test", 0))

    def set_state(self, state: str, reason: str = "") -> None:
        self._write_json("state.json", {"state": state, "reason": reason, "pid": os.getpid(), "host": platform.node()})

    def rewrite_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        out = io.StringIO()
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path / "history.csv", out.getvalue().encode())

    def append_history(self, row: Mapping[str, Any]) -> None:
        """History is short: it is written whole, so that a new column or a crash can't spoil it."""
        self.rewrite_history([*self.history, row])

    def save_predictions(self, split: str, **arrays: Any) -> None:
        import numpy as np

        folder = self.path / "predictions"
        folder.mkdir(exist_ok=True)
        out = io.BytesIO()
        np.savez_compressed(out, **arrays)
        write_atomically(folder / f"{split}.npz", out.getvalue())

    def write_quarantine(self, bad: Sequence[Any]) -> None:
        if bad:
            out = io.StringIO()
            writer = csv.writer(out, lineterminator="\n")
            writer.writerows([("file", "reason"), *((one.name, one.reason) for one in bad)])
            write_atomically(self.path / "quarantine.csv", out.getvalue().encode("utf-8", "backslashreplace"))


def safe_name(name: str) -> str:
    """Letters, digits, dots, dashes and underscores; at most 100 of them."""
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")[:100] or "run"


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _number(word: str) -> Any:
    try:
        number = float(word)
    except ValueError:
        return word
    return int(word) if word.lstrip("-").isdigit() else number


def _alive(pid: Any, host: Any) -> bool:
    """Is the process that wrote the state still there? On another machine nobody can tell: believe it."""
    if host != platform.node():
        return host is not None
    return isinstance(pid, int) and is_alive(pid)


def _newest_inside(path: Path) -> str:
    """A hint where `path` is the folder above the runs."""
    inside = [p.parent for p in path.glob("*/config.json")]
    newest = max(inside, key=lambda p: (int(p.name) if p.name.isdigit() else 0, p.name), default=None)
    return f" Did you mean {newest}?" if newest is not None else " `hubel runs` lists the runs."


def list_runs(root: Path) -> list[RunFolder]:
    """Every run under `root`, by dataset, network and number."""
    found = [p.parent for p in root.glob("*/*/config.json")]
    found.sort(key=lambda path: (path.parent.name, int(path.name) if path.name.isdigit() else 0))
    return [RunFolder(path) for path in found]


def manifest(**facts: Any) -> dict[str, Any]:
    """What a reader needs to repeat the run: versions, git, hardware, command; `facts` are added."""
    packages = ("hubel", "torch", "numpy", "pillow", "opencv-python-headless", "safetensors", "scikit-learn")
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "hardware": {"machine": platform.machine(), "system": platform.platform(), "processor": processor()},
        "git": _git(),
        **facts,
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """The commit of the folder that the command runs in, where it is a repository."""

    def ask(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, timeout=5, check=True).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None
