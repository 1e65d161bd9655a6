"""Where runs are: runs/<dataset>-<model>/<n>, numbered from 1. Paths only; what is in a run is in run.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hubel.errors import UserError
from hubel.training.atomic import explain


def safe_name(name: str) -> str:
    """Letters, digits, dots, dashes and underscores; at most 100 of them."""
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")[:100] or "run"


def new_place(root: Path, dataset: str, model: str) -> Path:
    """A new numbered folder under root/<dataset>-<model>. Safe against others that do the same at once."""
    parent = root / safe_name(f"{dataset}-{model}")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = max((int(p.name) for p in parent.iterdir() if p.name.isdigit()), default=0) + 1
        while True:
            try:
                (parent / str(number)).mkdir()
                return parent / str(number)
            except FileExistsError:
                number += 1
    except NotADirectoryError as fault:
        raise UserError(f"{root} is a file, not a folder. Choose another place for runs with --out.") from fault
    except OSError as fault:
        raise explain(fault, parent) from fault


def all_places(root: Path) -> list[Path]:
    """Every run under `root`, by dataset, network and number."""
    found = [path.parent for path in root.glob("*/*/config.json")]
    return sorted(found, key=lambda path: (path.parent.name, _number(path)))


def place_of(launcher: str | None, root: Path) -> Path | None:
    """The newest run under `root` that this launcher of several processes started, where it can be resumed."""
    found = []
    for path in root.glob("*/*/manifest.json"):
        try:
            if launcher is not None and json.loads(path.read_text()).get("launcher") == launcher:
                found.append(path)
        except ValueError:
            continue
    newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
    whole = newest is not None and any((newest.parent / "checkpoints" / "last").glob("*.json"))
    return newest.parent if newest is not None and whole else None


def hint_inside(path: Path) -> str:
    """The end of a message where `path` is no run but may be the folder above some."""
    inside = [p.parent for p in path.glob("*/config.json")]
    newest = max(inside, key=lambda p: (_number(p), p.name), default=None)
    return f" Did you mean {newest}?" if newest is not None else " `hubel runs` lists the runs."


def _number(path: Path) -> int:
    return int(path.name) if path.name.isdigit() else 0
