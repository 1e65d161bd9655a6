"""The pictures of docs/segmentation.md, localisation.md, sliding_window.md and large_images.md, of test images.

    hubel train shapes:kind=segmentation,count=10000
    python bench/task_pictures.py segmentation runs/shapes-segmentation-unet_plain/1
    hubel train shapes:most=1 --task localisation
    python bench/task_pictures.py localisation runs/shapes-resnet8/1
    python bench/task_pictures.py sliding          trains a small classifier of crops (a minute)
    python bench/task_pictures.py tiles            needs no network: tiles, classes, border weights

Each writes docs/pictures/NAME.png. Nothing is chosen: images are the first ones of the test part.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import hubel
from hubel.data.shapes import shapes
from hubel.data.tight import tight_crops
from hubel.ops.border_weights import border_weights
from hubel.ops.palette import PALETTE, compared, overlay, plain_class
from hubel.slid import drawn
from hubel.sliding import detect

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
GAP, TRUE, FOUND = 8, (255, 255, 255), (240, 140, 0)


def sheet(pictures: Sequence[np.ndarray], columns: int) -> Image.Image:
    """Pictures (h, w, 3) of one size in rows, with gaps between them."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    page = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        y, x = i // columns * (height + GAP), i % columns * (width + GAP)
        page[y : y + height, x : x + width] = picture
    return Image.fromarray(page)


def enlarged(pixels: np.ndarray, times: int) -> np.ndarray:
    return pixels.repeat(times, 0).repeat(times, 1)


def tested(run: hubel.Run, count: int) -> tuple[hubel.Dataset, np.ndarray]:
    """The run's data, and the positions of its first `count` test images."""
    data = hubel.load_dataset(run.manifest["data"]["source"])
    with np.load(run.path / "splits.npz") as splits:
        return data, splits["test"][:count]


def segmentation(folder: str) -> Image.Image:
    """Six scenes: the photo; truth, answer and wrong pixels side by side; below, which colour is which class."""
    run = hubel.Run.open(folder)
    data, positions = tested(run, 6)
    column, plain = data.annotations["mask"], plain_class(run.parts().classes)
    images = [data.images.read(int(i)) for i in positions]
    answers = [found["mask"] for found in run.masks(images)]
    rows = []
    for image, answer, i in zip(images, answers, positions, strict=True):
        gap = np.full((len(image), 2, 3), 255, np.uint8)
        found = compared(image, column.read(int(i)), answer, plain)
        rows.append(enlarged(np.concatenate([image, gap, found], 1), 2))
    page = sheet(rows, 2)
    return with_legend(page, run.parts().classes, plain)


def with_legend(page: Image.Image, classes: Sequence[str], plain: int | None) -> Image.Image:
    whole = Image.new("RGB", (page.width, page.height + 28), "white")
    whole.paste(page, (0, 0))
    draw, x, font = ImageDraw.Draw(whole), 0, ImageFont.load_default(15)
    for k, name in enumerate(classes):
        if k != plain:
            draw.rectangle([x, page.height + 9, x + 15, page.height + 24], fill=PALETTE[k])
            draw.text((x + 21, page.height + 7), name, fill="black", font=font)
            x += 42 + round(draw.textlength(name, font=font))
    return whole


def localisation(folder: str) -> Image.Image:
    """Twelve images: the true box in white, the answer in orange, and what it says that is in it."""
    run = hubel.Run.open(folder)
    data, positions = tested(run, 12)
    images = [data.images.read(int(i)) for i in positions]
    truth, pictures, times = [data.annotations["objects"].take(np.array([i])) for i in positions], [], 3
    for m, found in enumerate(run.predict(images)):
        picture = Image.fromarray(enlarged(images[m], times))
        draw, parts = ImageDraw.Draw(picture), found["tasks"]
        for box, colour in ((truth[m].boxes[0], TRUE), (parts["box"]["box"], FOUND)):
            corners = [float(v) * times for v in box]
            draw.rectangle(corners, outline=(0, 0, 0), width=4)
            draw.rectangle([v + d for v, d in zip(corners, (1, 1, -1, -1), strict=True)], outline=colour, width=2)
        words = parts["class"]["prediction"]
        draw.text((5, 3), words, fill="white", stroke_fill="black", stroke_width=2, font=ImageFont.load_default(15))
        pictures.append(np.asarray(picture))
    return sheet(pictures, 6)


def sliding() -> Image.Image:
    """Three scenes that no crop came from, with what a classifier of crops finds in them."""
    scenes = shapes(400, 96, kind="detection", classes=3)
    options = {"model.padding": "valid", "model.widths": (16, 32, 64), "batch_size": 64}
    run = hubel.train(tight_crops(scenes, 32), model="convnet", epochs=12, progress="quiet", layers=[("here", options)])
    print(run.metrics["test"])
    fresh = shapes(3, 96, kind="detection", classes=3, seed=7)
    images = [fresh.images.read(i) for i in range(3)]
    found = [detect(run, image, scales=(1.0, 0.71, 0.5, 0.35), threshold=0.8) for image in images]
    classes = run.parts().classes
    return sheet([np.asarray(drawn(image, one, classes)) for image, one in zip(images, found, strict=True)], 3)


def tiles() -> Image.Image:
    """Drawn tissue: its tiles with what neighbours share; cells and borders; the weights of the borders."""
    side, tile, overlap = 256, 96, 16
    data = hubel.load_dataset(f"membranes:count=1,size={side},cell=36,thickness=3")
    image, mask = data.images.read(0), data.annotations["mask"].read(0)
    image = np.broadcast_to(image, (side, side, 3)).copy()
    seen = np.zeros((side, side), np.uint8)
    starts = range(0, side - overlap, tile - overlap)
    for y in starts:
        for x in starts:
            seen[y : y + tile, x : x + tile] += 1
    tinted = np.where(seen[..., None] > 1, 0.55 * image + 0.45 * np.array(FOUND), image).astype(np.uint8)
    _, cells = cv2.connectedComponents((mask == 1).astype(np.uint8), connectivity=4)
    weights = border_weights(cells.astype(np.int64))
    heat = np.array([255, 255, 255]) + (weights / 10)[..., None] * (np.array([140, 20, 30]) - 255)
    shown = np.where((mask == 1)[..., None], 235, heat).astype(np.uint8)
    return sheet([enlarged(one, 2) for one in (tinted, overlay(image, mask), shown)], 3)


def main() -> None:
    what, *runs = sys.argv[1:]
    ways: dict[str, Callable[..., Image.Image]]
    ways = {"segmentation": segmentation, "localisation": localisation, "sliding": sliding, "tiles": tiles}
    ways[what](*runs).quantize(128, dither=Image.Dither.NONE).save(PICTURES / f"{what}.png", optimize=True)


if __name__ == "__main__":
    main()
