"""Opening COCO JSON of train2017's size: hubel the first and the second time, json.load and pycocotools, in one run.

    python bench/coco.py [--images 118287] [--objects 860001] [--rounds 3] [--folder FOLDER] [--json] [--save NAME]

The file is made here: 118,287 images, 860,001 objects in 80 classes with gaps between their numbers, boxes, polygons of
24 points on average with two decimals (lognormal, as people draw them), one object in 85 a crowd of run lengths; about
460 MB. Each reader is a process of its own; printed are seconds of wall clock and of processor from before opening to
the end (imports not counted), and the most memory that the process ever held (VmHWM: imports counted).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from common import describe, machine, ratio, save, spread, table

READERS = ("hubel", "hubel again", "json.load", "pycocotools")
GOALS = {"hubel": (15.0, 1.5), "hubel again": (0.5, 1.5)}  # seconds, GB
SHAPES = 20_000  # different outlines; each is used about 43 times
GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # numbers that COCO skips
NUMBERS = [k for k in range(1, 91) if k not in GAPS]


# The file --------------------------------------------------------------------------------------------------------


def make(path: Path, images: int, objects: int, seed: int = 0) -> None:
    """Write such a JSON, in the order and with the spaces that json.dump gives."""
    random = np.random.default_rng(seed)
    ids = np.sort(random.choice(600_000, images, replace=False)).tolist() if images <= 600_000 else list(range(images))
    with path.open("w") as file:
        file.write(
            '{"info": {"description": "made for a benchmark"}, "licenses": [{"id": 1, "name": "none"}], "images": ['
        )
        _write(file, (_image(one) for one in ids))
        file.write('], "annotations": [')
        _write(file, _objects(random, ids, objects))
        names = [{"supercategory": "thing", "id": k, "name": f"class {k}"} for k in NUMBERS]
        file.write(f'], "categories": {json.dumps(names)}}}')


def _write(file: Any, entries: Iterator[str]) -> None:
    for k, entry in enumerate(entries):
        file.write(", " + entry if k else entry)


def _image(number: int) -> str:
    name = f"{number:012d}.jpg"
    return json.dumps(
        {
            "license": 1, "file_name": name, "coco_url": f"http://images.example.org/train2017/{name}", "height": 480,
            "width": 640, "date_captured": "2013-11-14 11:18:45", "id": number,
            "flickr_url": f"http://farm9.example.org/8186/{number:010d}_{number * 7919 % 10**10:010x}_z.jpg",
        }
    )  # fmt: skip


def _objects(random: np.random.Generator, ids: Sequence[int], count: int) -> Iterator[str]:
    shapes = [_shape(random) for _ in range(min(SHAPES, count))]
    which, where, what = (random.integers(0, n, count).tolist() for n in (len(shapes), len(ids), len(NUMBERS)))
    numbers = (random.permutation(count) + 1).tolist()
    for k in range(count):
        yield shapes[which[k]] % (ids[where[k]], NUMBERS[what[k]], numbers[k])


def _shape(random: np.random.Generator) -> str:
    """Everything of an object but its image, its class and its number."""
    w, h = random.uniform(8, 300, 2)
    x, y = random.uniform(0, 640 - w), random.uniform(0, 480 - h)
    crowd = random.random() < 1 / 85
    text = json.dumps(_runs(random) if crowd else _rings(random, x, y, w, h))
    box = ", ".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in (x, y, w, h))
    area = w * h * random.uniform(0.3, 0.9)
    return (
        f'{{"segmentation": {text}, "area": {float(area)!r}, "iscrowd": {int(crowd)}, "image_id": %d, "bbox": [{box}], '
        + ('"category_id": %d, "id": %d}')
    )


def _rings(random: np.random.Generator, x: float, y: float, w: float, h: float) -> list[list[float]]:
    rings = []
    for _ in range(1 + min(3, random.geometric(0.88) - 1)):
        points = max(3, round(random.lognormal(2.64, 0.65)))
        angle = np.sort(random.uniform(0, 2 * np.pi, points))
        r = random.uniform(0.6, 1, points) / 2
        xy = np.stack([x + w * (0.5 + r * np.cos(angle)), y + h * (0.5 + r * np.sin(angle))], 1)
        rings.append([round(value, 2) for value in xy.ravel().tolist()])
    return rings


def _runs(random: np.random.Generator) -> dict[str, Any]:
    cuts = np.sort(random.choice(480 * 640, 600, replace=False))
    return {"counts": np.diff(cuts, prepend=0, append=480 * 640).tolist(), "size": [480, 640]}


# The readers -----------------------------------------------------------------------------------------------------


def open_hubel(path: Path) -> dict[str, int]:
    from hubel.data.formats import coco

    dataset = coco.read(path)
    return {"images": len(dataset), "objects": dataset.annotations["objects"].count}


def open_json(path: Path) -> dict[str, int]:
    with path.open() as file:
        content = json.load(file)
    return {"images": len(content["images"]), "objects": len(content["annotations"])}


def open_pycocotools(path: Path) -> dict[str, int]:
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(sys.stderr):
        found = COCO(path)
    return {"images": len(found.imgs), "objects": len(found.anns)}


def imports(role: str) -> None:
    """What the reader needs is loaded before the clock starts."""
    if role.startswith("hubel"):
        import hubel.data.formats.coco  # noqa: F401
    elif role == "pycocotools":
        import pycocotools.coco  # noqa: F401


def measure_here(role: str, path: Path) -> dict[str, float]:
    """In this process: wall and processor seconds, and the most memory it held, in GB (10^9 bytes)."""
    imports(role)
    opened = {"json.load": open_json, "pycocotools": open_pycocotools}.get(role, open_hubel)
    start, used = time.perf_counter(), time.process_time()
    counts = opened(path)
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    return {"seconds": seconds, "processor": processor, "gigabytes": peak() / 1e9, **counts}


def peak() -> int:
    """VmHWM: the most bytes of memory that this process ever held."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(role: str, path: Path, cache: Path) -> dict[str, float]:
    """In a process of its own; "hubel" finds the cache empty."""
    if role == "hubel":
        shutil.rmtree(cache, ignore_errors=True)
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, __file__, "--as", role, "--file", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{role} failed: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout)


# The table -------------------------------------------------------------------------------------------------------


def rows_of(found: dict[str, list[dict[str, float]]]) -> list[list[str]]:
    head = ["", "seconds", "processor s", "peak GB", "goal", "met", "json.load / it"]
    return [head, *(_row(role, found) for role in found)]


def _row(role: str, found: dict[str, list[dict[str, float]]]) -> list[str]:
    columns = {key: [one[key] for one in found[role]] for key in ("seconds", "processor", "gigabytes")}
    wall, used, memory = (spread(values) for values in columns.values())
    goal = GOALS.get(role)
    met = "" if goal is None else "yes" if wall.median <= goal[0] and memory.high <= goal[1] else "no"
    peer = [one["seconds"] for one in found.get("json.load", [])]
    times = ratio(peer, columns["seconds"]).text(1) if peer else ""
    return [
        role,
        wall.text(2),
        used.text(2),
        memory.text(2),
        "" if goal is None else f"{goal[0]:g} s, {goal[1]:g} GB",
        met,
        times,
    ]


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--objects", type=int, default=860_001)
    parser.add_argument("--rounds", type=int, default=3, help="each reader once per round, in turn")
    parser.add_argument("--file", type=Path, help="a COCO JSON to open in place of a made one")
    parser.add_argument("--folder", type=Path, help="where the file and the cache are made (default: a temporary one)")
    parser.add_argument("--readers", default=",".join(READERS), help="which, with commas between them")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json and .txt")
    parser.add_argument("--as", dest="role", help=argparse.SUPPRESS)  # this process is a reader
    return parser.parse_args(words)


def run(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], str]:
    path = options.file or folder / "set" / "annotations" / "instances_train.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path, options.images, options.objects)
    roles = options.readers.split(",")
    found: dict[str, list[dict[str, float]]] = {role: [] for role in roles}
    for turn in range(options.rounds):
        for role in roles:
            found[role].append(measure(role, path, folder / "cache"))
            print(f"round {turn + 1} of {options.rounds}: {role} {found[role][-1]}", file=sys.stderr, flush=True)
    counts = {(one["images"], one["objects"]) for all_of_it in found.values() for one in all_of_it}
    if len(counts) > 1:
        raise SystemExit(f"the readers don't agree on images and objects: {counts}")
    images, objects = counts.pop()
    size = f"{path.stat().st_size / 1e6:,.0f} MB, {images:,} images, {objects:,} objects"
    content = {"machine": machine(), "file": size, "measured": found}
    head = f"{size}; median (smallest–largest) of {options.rounds}"
    return content, f"{head}\n{table(rows_of(found))}\n{describe(content['machine'])}"


def main() -> None:
    options = arguments()
    if options.role:
        print(json.dumps(measure_here(options.role, options.file)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        content, text = run(options, options.folder or Path(temporary))
    print(json.dumps(content) if options.json else text)
    if options.save:
        save(options.save, content, text)


if __name__ == "__main__":
    main()
