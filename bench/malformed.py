"""Over 2,000 malformed image files through `hubel data`: named or honest, never a crash, a hang, or much memory.

    python bench/malformed.py

Prints how many files of each sort were named, the slowest file, and the memory above the baseline; exits with 1 where
one was not named though it had to be, took over 2 s, or memory grew by over 256 MB.
"""

from __future__ import annotations

import argparse
import collections
import io
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "data"))

from malformed import Case, cases, good, large, large_cases

from hubel.data.dataset import Dataset
from hubel.data.decode import BadImage, decode
from hubel.data.findings import Finding
from hubel.data.images import FileImages, PackedNames
from hubel.data.inspect import inspect
from hubel.data.seen import look_at

SECONDS, MEGABYTES = 2.0, 256


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the random changes (default: 0)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), chosen.seed)


def run(folder: Path, seed: int) -> int:
    made = {one.name: one for one in (*cases(seed), *large_cases(seed))}
    for name, one in made.items():
        (folder / name).write_bytes(one.content)
    for name, content in good().items():
        (folder / f"whole-{name}").write_bytes(content)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:  # what made the files is not counted
        findings, grown = fresh.submit(look, folder, list(made)).result()
    slowest, (slowest_name, wall) = time_each(folder, list(made))
    wrong = judge(made, findings)
    report(made, findings, wrong)
    print(f"slowest file: {1e3 * slowest:.0f} ms of processor time, {1e3 * wall:.0f} ms of wall time ({slowest_name})")
    print(f"memory above the baseline: {grown:.0f} MB")
    return int(bool(wrong) or slowest > SECONDS or grown > MEGABYTES)


def look(folder: Path, names: list[str]) -> tuple[tuple[Finding, ...], float]:
    """Findings, and by how many MB memory grew at most."""
    warm(folder)
    before = memory("VmRSS")
    found = inspect(Dataset("malformed", files(folder, names), {}, source=str(folder)), workers=2)
    return found.findings, memory("VmHWM") - before


def files(folder: Path, names: list[str]) -> FileImages:
    return FileImages(str(folder), PackedNames.pack(names))


def warm(folder: Path) -> None:
    """Load every decoder before memory and time are measured."""
    look_at(files(folder, [f"whole-{name}" for name in good()]))


def time_each(folder: Path, names: list[str]) -> tuple[float, tuple[str, float]]:
    """Processor time of the slowest file, its name, and its wall time (other processes may run)."""
    warm(folder)
    took = []
    for name in names:
        wall, start = time.perf_counter(), time.process_time()
        look_at(files(folder, [name]), workers=1)
        took.append((time.process_time() - start, name, time.perf_counter() - wall))
    seconds, name, wall = max(took)
    return seconds, (name, wall)


def memory(what: str) -> float:
    """MB of this process: VmRSS now, VmHWM at most so far (Linux)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[what].split()[0]) / 1024


def judge(made: dict[str, Case], findings) -> list[str]:
    """Names of cases that were not answered as they must be."""
    kinds: dict[str, set[str]] = collections.defaultdict(set)
    for one in findings:
        kinds[one.file].add(one.kind)
    shared = {one.kind for one in findings if not one.file}  # said once of many
    errors = {one.file for one in findings if one.severity == "error" or one.kind == "decompression bomb"}
    whole = {name: decode(content) for name, content in (good() | large()).items()}
    return [name for name, one in made.items() if not answered(one, kinds[name] | shared, name in errors, whole)]


def answered(one: Case, kinds: set[str], bad: bool, whole: dict[str, np.ndarray]) -> bool:
    if bad:
        return one.wanted in ("named", "honest", "exact", *kinds)
    if one.wanted == "honest":
        return opens(one.content)
    if one.wanted == "exact":
        return np.array_equal(decode(one.content), whole[one.origin])
    return one.wanted in kinds


def opens(content: bytes) -> bool:
    """Whether Pillow, strict as it is by default, decodes it."""
    try:
        decode(content)
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except BadImage:
        return False
    except Exception:
        return False
    return True


def report(made: dict[str, Case], findings, wrong: list[str]) -> None:
    errors = {one.file for one in findings if one.severity == "error" or one.kind == "decompression bomb"}
    counts = collections.Counter(one.wanted for one in made.values())
    print(f"{len(made):,} files")
    for wanted, count in counts.most_common():
        named = sum(name in errors for name, one in made.items() if one.wanted == wanted)
        missed = sum(made[name].wanted == wanted for name in wrong)
        print(f"  {wanted:<20} {count:>5} files, {named:>5} named as unusable, {missed} answered wrongly")
    for name in wrong[:40]:
        print("  wrong:", name, made[name].wanted)


if __name__ == "__main__":
    sys.exit(main())
