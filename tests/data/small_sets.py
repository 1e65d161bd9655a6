"""Small data sets as {name: text, or height and width}, and what tests of formats ask of a data set."""

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from PIL import Image

often = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
RNG = np.random.default_rng(0)
INDEX = np.array([[0, 1, 2], [2, 255, 7]], np.uint8)  # a mask
DOT = np.zeros((4, 5, 3), np.uint8)  # an image
ABC = ("a.png", "b.png", "c.png")


def kinds(dataset):
    """What is wrong, and where."""
    return [(f.kind, f.file, f.line) for f in dataset.findings]


def faults(dataset):
    return sorted((f.kind, f.line) for f in dataset.findings)


def said(dataset, words):
    return any(words in note for note in dataset.notes)


# YOLO, VOC --------------------------------------------------------------------------------------------------

YOLO_YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"
YOLO = {
    "data.yaml": YOLO_YAML,
    "images/train/a.png": (20, 40),
    "images/train/b.jpg": (10, 10),
    "images/val/c.png": (30, 30),
    "labels/train/a.txt": "0 0.5 0.5 0.5 0.25\n1 0.25 0.5 0.1 0.2\n",
    "labels/val/c.txt": "1 0.1 0.1 0.2 0.2",
}


def xml(*things, size=(20, 30), extra=""):
    """An annotation of objects (name, xmin, ymin, xmax, ymax, *marks)."""
    objects = "".join(
        f"<object>\n<name>{name}</name>{''.join(marks)}<bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{d}</ymax></bndbox></object>\n"
        for name, a, b, c, d, *marks in things
    )
    h, w = size
    declared = f"<size><width>{w}</width><height>{h}</height><depth>3</depth></size>"
    return f"<annotation>{extra}{declared}\n{objects}</annotation>"


VOC = {
    "JPEGImages/a.jpg": (20, 30),
    "JPEGImages/b.jpg": (20, 30),
    "JPEGImages/c.png": (20, 30),
    "Annotations/a.xml": xml(("dog", 1, 1, 30, 20), ("cat", 5, 6, 5, 9)),
    "Annotations/b.xml": xml(("cat", 2, 3, 4, 5)),
    "Annotations/c.xml": xml(),
    "ImageSets/Main/train.txt": "a\r\nc\n",
    "ImageSets/Main/val.txt": "b\n",
    "ImageSets/Main/trainval.txt": "a\nb\nc\n",
    "ImageSets/Main/cat_train.txt": "a  1\nc -1\n",
}
OFFICIAL = "<source><annotation>PASCAL VOC2007</annotation></source>"


# Masks ------------------------------------------------------------------------------------------------------


def save_image(path, values, mode=None, **options):
    """An array, or a PIL image, to a file of any kind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = values if isinstance(values, Image.Image) else Image.fromarray(np.asarray(values))
    (image.convert(mode) if mode else image).save(path, **options)


def photo(h, w):
    return RNG.integers(0, 256, (h, w, 3)).astype(np.uint8)


def read_all(dataset):
    column = dataset.annotations["mask"]
    return {Path(dataset.images.name(i)).stem: column.read(i).tolist() for i in range(len(dataset))}
