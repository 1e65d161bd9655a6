"""Memory and time of masks of one large image, from each kind of file.

    python bench/large_images.py                    20,000 x 20,000 pixels, RGB; about 3 GB in a temporary folder
    python bench/large_images.py --rows 3           of these only the first 3 rows of tiles
    python bench/large_images.py --side 4000 --kinds npy,tiff

A small network (two convolutions at half the size, 11 classes) so that the reading, tiling and writing are what is
measured; index PNG and overlay are written. Each kind runs in a process of its own; memory is its largest resident set.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from itertools import islice
from pathlib import Path

import numpy as np

LIMITS = {"npy": 2.0, "tiff": 2.0, "jpeg": 3.0, "png": 3.0}  # GB, for 20,000 x 20,000
TILE = 256


def rows_of(y: int, count: int, side: int) -> np.ndarray:
    """(count, side, 3) uint8: waves and noise, different everywhere."""
    x, noise = np.arange(side), np.random.default_rng(y)
    wave = 128 + 60 * np.sin(x / 97)[None] * np.cos(np.arange(y, y + count) / 61)[:, None]
    found = wave[..., None] + noise.integers(-9, 10, (count, side, 1)) + np.array([0, 15, -20])
    return found.clip(0, 255).astype(np.uint8)


def write(kind: str, path: Path, side: int) -> None:
    if kind == "npy":
        out = np.lib.format.open_memmap(path, "w+", np.uint8, (side, side, 3))
        for y in range(0, side, TILE):
            out[y : y + TILE] = rows_of(y, min(TILE, side - y), side)
        out.flush()
    elif kind == "png":
        from hubel.data.png_rows import PngRows

        file = PngRows(path, side, side)
        for y in range(0, side, TILE):
            file.write(rows_of(y, min(TILE, side - y), side))
        file.close()
    elif kind == "tiff":
        write_tiff(path, side)
    else:
        import cv2

        pixels = np.empty((side, side, 3), np.uint8)
        for y in range(0, side, TILE):
            pixels[y : y + TILE] = rows_of(y, min(TILE, side - y), side)
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])


def write_tiff(path: Path, side: int) -> None:
    """Tiles of TILE pixels a side, compressed by deflate."""
    from PIL import TiffImagePlugin

    offsets, lengths = [], []
    with path.open("wb") as file:
        file.write(b"II*\0\0\0\0\0")
        for y in range(0, side, TILE):
            band = np.zeros((TILE, -(-side // TILE) * TILE, 3), np.uint8)
            band[: min(TILE, side - y), :side] = rows_of(y, min(TILE, side - y), side)
            for x in range(0, side, TILE):
                content = zlib.compress(np.ascontiguousarray(band[:, x : x + TILE]).tobytes(), 1)
                offsets.append(file.tell())
                lengths.append(file.write(content))
        start = file.tell() + file.tell() % 2
        file.write(b"\0" * (start - file.tell()))
        directory = TiffImagePlugin.ImageFileDirectory_v2(ifh=b"II*\0\0\0\0\0")
        tags = {256: side, 257: side, 258: (8, 8, 8), 259: 8, 262: 2, 277: 3, 284: 1, 322: TILE, 323: TILE,
                324: tuple(offsets), 325: tuple(lengths)}  # fmt: skip
        for tag, value in tags.items():
            directory.tagtype[tag], directory[tag] = 3 if tag in (258, 259, 262, 277, 284) else 4, value
        file.write(directory.tobytes(start))
        file.seek(4)
        file.write(start.to_bytes(4, "little"))


def predict(path: Path, out: Path, rows: int | None) -> dict[str, float]:
    """In a process of its own: masks of one file."""
    import torch
    from torch import nn

    from hubel.data.preprocess import Preprocess
    from hubel.data.regions import regions
    from hubel.prediction.mask_files import MaskFolder
    from hubel.prediction.tiling import Tiling, Voter, masks_of
    from hubel.rebuild import Parts
    from hubel.tasks.segmentation import Segmentation

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(),
                            nn.Conv2d(16, 11, 1))  # fmt: skip
    network.strides = (2,)  # type: ignore[assignment]
    classes = tuple(f"class {k}" for k in range(11))
    parts = Parts(network.eval(), Segmentation(classes), Preprocess((512, 512), 3, (0.5,), (0.25,), "none"),
                  torch.device("cpu"), classes, "fp32")  # fmt: skip
    start = time.perf_counter()
    image = regions(path, sys.maxsize)
    with MaskFolder(out, classes) as folder:
        plan, _, bands = masks_of([Voter(parts)], image, Tiling())
        folder.add(path.name, image, islice(bands, rows))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"seconds": time.perf_counter() - start, "peak_gb": peak, "tiles": plan.tiles, "rows": plan.grid.counts[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--kinds", default="npy,tiff,jpeg,png")
    parser.add_argument("--folder", help="where the images go (default: a temporary folder)")
    parser.add_argument("--rows", type=int, help="of tiles, from the top (default: all)")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(predict(Path(chosen.child[0]), Path(chosen.child[1]), chosen.rows)))
    elif chosen.write:
        write(chosen.write[0], Path(chosen.write[1]), chosen.side)
    else:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            measure(Path(folder), chosen.side, chosen.kinds.split(","), chosen.rows)


def measure(folder: Path, side: int, kinds: list[str], rows: int | None) -> None:
    own = [sys.executable, __file__, "--side", str(side), *(["--rows", str(rows)] if rows else [])]
    print(
        f"{side:,} x {side:,} pixels, RGB, 11 classes; index PNG and overlay written"
        + (f"; {rows} rows of tiles" if rows else "")
    )
    print(f"{'file':<6} {'MB':>7} {'seconds':>8} {'peak GB':>8} {'limit':>6}")
    for kind in kinds:
        path = folder / f"image.{kind}"
        subprocess.run([*own, "--write", kind, str(path)], check=True)
        done = subprocess.run(
            [*own, "--child", str(path), str(folder / f"out-{kind}")], check=True, capture_output=True
        )
        found, size = json.loads(done.stdout), path.stat().st_size / 1e6
        limit = f"{LIMITS[kind]:.1f}" if side == 20_000 else "-"
        print(f"{kind:<6} {size:>7,.0f} {found['seconds']:>8.1f} {found['peak_gb']:>8.2f} {limit:>6}", flush=True)
        path.unlink()


if __name__ == "__main__":
    main()
