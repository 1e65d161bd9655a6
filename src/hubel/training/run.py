"""A run on disk: everything about one training in one folder.

runs/<dataset>-<model>/<n>/
    config.json      each option's value, where it came from and why
    manifest.json    hash of the data, versions, git, seed, hardware, command
    network.json     what rebuilds network, task and preprocessing
    splits.npz       which image is in which part
    state.json       running, interrupted, failed (why) or finished
    history.csv      a row per epoch
    metrics.json     by split, after the last step
    checkpoints/{last,best}/   predictions/<split>.npz   quarantine.csv   report.html
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from hubel.errors import UserError, looked_for
from hubel.recipe import Setting
from hubel.training import history
from hubel.training.atomic import is_alive, sweep, write_atomically
from hubel.training.places import all_places, hint_inside, new_place

SCHEMA = 1


class RunFolder:
    """One run. `path` is the folder; reading a property reads the disk, so two processes see the same."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, root: Path, dataset: str, model: str) -> Self:
        """A new numbered folder under root/<dataset>-<model>. Safe against others that do the same at once."""
        return cls(new_place(root, dataset, model))

    @classmethod
    def at(cls, path: Path) -> Self:
        """The folder `path`, made where it is missing; nothing is checked."""
        path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing run. Raises UserError where `path` is missing, no run, half written, or of a newer hubel."""
        path = Path(path)
        if not path.is_dir():
            raise UserError(f"There is no run folder {path}{looked_for(path)}. `hubel runs` lists them.")
        if not (path / "config.json").exists():
            raise UserError(f"{path} is not a run: it holds no config.json.{hint_inside(path)}")
        run = cls(path)
        schema = run._read_json("config.json").get("schema", 0)
        if not isinstance(schema, int) or schema > SCHEMA:
            raise UserError(
                f"{path} was written by a newer hubel (schema {schema}, this one reads {SCHEMA}). Update hubel."
            )
        for folder in (path, path / "predictions"):
            sweep(folder)
        return run

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.path / name).read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as fault:
            raise UserError(f"{self.path / name} can't be read ({fault}): the run is damaged.") from fault
        if not isinstance(found, dict):
            raise UserError(f"{self.path / name} holds no JSON object: the run is damaged.")
        return found

    @property
    def settings(self) -> dict[str, Setting]:
        """Each option's effective value, with source and reason."""
        rows = {k: v for k, v in self._read_json("config.json").items() if k != "schema"}
        try:
            return {k: Setting(_tuples(v["value"]), v["source"], v.get("reason", "")) for k, v in rows.items()}
        except (TypeError, KeyError) as fault:
            raise UserError(f"{self.path / 'config.json'} is damaged: {fault}.") from fault

    @property
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
    def reason(self) -> str:
        """Why a run failed, in a sentence or two; empty otherwise."""
        return str(self._read_json("state.json").get("reason", "")).removeprefix("UserError: ")

    @property
    def history(self) -> list[dict[str, Any]]:
        """Rows of history.csv, with numbers as numbers."""
        return history.read(self.path / "history.csv")

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

    @property
    def several(self) -> dict[str, Any]:
        """Of several trainings in one run: {"children": …, "summary": …}; {} otherwise."""
        return self._read_json("several.json")

    def _write_json(self, name: str, content: Any) -> None:
        write_atomically(self.path / name, json.dumps(content, indent=1, default=str).encode())

    def write_config(self, settings: Mapping[str, Setting]) -> None:
        rows = {k: {"value": s.value, "source": s.source, "reason": s.reason} for k, s in sorted(settings.items())}
        self._write_json("config.json", {"schema": SCHEMA, **rows})

    def write_manifest(self, content: Mapping[str, Any]) -> None:
        self._write_json("manifest.json", {"schema": SCHEMA, **content})

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
        history.write(self.path / "history.csv", rows)

    def append_history(self, row: Mapping[str, Any]) -> None:
        self.rewrite_history([*self.history, row])

    def write_splits(self, splits: Mapping[str, Any]) -> None:
        """splits.npz: the positions of each part."""
        import numpy as np

        out = io.BytesIO()
        np.savez(out, **splits)
        write_atomically(self.path / "splits.npz", out.getvalue())

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


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _alive(pid: Any, host: Any) -> bool:
    """Is the process that wrote the state still there? On another machine nobody can tell: believe it."""
    if host != platform.node():
        return host is not None
    return isinstance(pid, int) and is_alive(pid)


def list_runs(root: Path) -> list[RunFolder]:
    """Every run under `root`, by dataset, network and number."""
    return [RunFolder(path) for path in all_places(root)]
