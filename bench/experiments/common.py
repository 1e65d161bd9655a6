"""What the experiments share: one training with its history kept, so that an interrupted experiment goes on; tables.

Every experiment is one command with seeds. Each training's result is a JSON file under --work, named by what was
trained; a second call reads it and trains only what is missing. With --save the table goes to bench/results and the
figure to docs/pictures.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

HERE = Path(__file__).resolve()


def _bench() -> ModuleType:
    """bench/common.py, which has this file's name."""
    place = importlib.util.spec_from_file_location("bench_common", HERE.parents[1] / "common.py")
    assert place is not None and place.loader is not None
    module = importlib.util.module_from_spec(place)
    sys.modules["bench_common"] = module
    place.loader.exec_module(module)
    return module


bench = _bench()

PICTURES = HERE.parents[2] / "docs" / "pictures"


def arguments(what: str, **defaults: Any) -> argparse.Namespace:
    """--epochs, --seeds, … with the short experiment's values as defaults, and --work, --save."""
    parser = argparse.ArgumentParser(description=what)
    for name, value in defaults.items():
        if isinstance(value, tuple):
            parser.add_argument(f"--{name}", nargs="+", type=type(value[0]), default=list(value))
        else:
            parser.add_argument(f"--{name}", type=str if value is None else type(value), default=value)
    parser.add_argument("--work", type=Path, default=Path("experiments"), help="where each training's result is kept")
    parser.add_argument("--save", action="store_true", help="write bench/results and docs/pictures")
    return parser.parse_args()


def kept(work: Path, name: str, settings: Mapping[str, Any], make: Callable[[], Any] | None) -> Any:
    """What `make()` returns (JSON-ready), or what it returned before with these settings; None without either."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:10]
    place = work / f"{name}-{digest}.json"
    if place.exists():
        return json.loads(place.read_text())
    if make is None:
        return None
    started = time.monotonic()
    found = make()
    work.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(".part")
    part.write_text(json.dumps(found))
    part.rename(place)
    print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    return found


def history(work: Path, name: str, source: Any, options: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """{"history": rows, "metrics": {split: …}, "seconds", "notes"} of a training; `more` goes to hubel.train."""
    import hubel

    def make() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            run = hubel.train(source, out=folder, progress="quiet", **options, **more)
            return {"history": run.history, "metrics": run.metrics, "seconds": run.seconds, "notes": run.notes}

    layers = dict(kv for _, flat in more.get("layers", ()) for kv in flat.items())
    return kept(work, name, {**options, **layers, "images": len(source.splits["train"])}, make)


def test_as_dev(source: str, size: int | None = None, count: int = 0) -> Any:
    """The data set in memory, its test part judged after every epoch under the name dev; nothing is chosen by it.

    `size`: the side in pixels to which an area filter brings the images. `count`: training images, evenly spaced over
    the file's order; 0 for all.
    """
    import cv2

    import hubel
    from hubel.data.images import ArrayImages

    data = hubel.load_dataset(source)
    train = data.splits["train"][:: max(len(data.splits["train"]) // count, 1) if count else 1]
    train = train[:count] if count else train
    index = np.concatenate([train, data.splits["test"]])
    pixels = [data.images.read(int(i)) for i in index]
    if size is not None:
        pixels = [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in pixels]
    pixels = [image if image.ndim == 3 else image[:, :, None] for image in pixels]
    columns = {name: values[index] for name, values in data.annotations.items()}
    parts = {"train": np.arange(len(train)), "dev": np.arange(len(train), len(index))}
    images = ArrayImages(np.stack(pixels))
    return replace(data, images=images, annotations=columns, splits=parts, weights=data.weights[index])


def column(rows: Sequence[Mapping[str, Any]], name: str, error: bool = False) -> list[tuple[float, float]]:
    """(epoch, value) points of a history; with `error` 1 − value."""
    return [(row["epoch"], 1 - row[name] if error else row[name]) for row in rows if name in row]


def write(name: str, content: Mapping[str, Any], text: str, save: bool) -> None:
    print(text)
    if save:
        print(bench.save(name, content, text))
