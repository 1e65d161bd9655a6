"""Faults in annotations, each planted into a small whole data set: YOLO, Pascal VOC, COCO JSON, masks.

PLANTED: {name: (form, change, kind, file, line)}. `plant(root, name)` writes the data set with that one fault; the
finding is of that kind and names that file and that line or entry (0: the file as a whole is at fault).
"""

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = (64, 48)  # width and height of the images
NAN = "NaN"


def pixels(k: int) -> bytes:
    random = np.random.default_rng(k)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(SIDE, 3)
    noise = random.integers(-10, 11, (SIDE[1], SIDE[0], 3))
    out = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(coarse).astype(int) + noise, 0, 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def save(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


# YOLO --------------------------------------------------------------------------------------------------------------

YOLO = {f"images/{k}.png": pixels(k) for k in range(4)} | {
    "data.yaml": "train: images\nnc: 2\nnames: [cat, dog]\n",
    **{f"labels/{k}.txt": "0 0.5 0.5 0.4 0.4\n1 0.3 0.3 0.2 0.2\n" for k in range(4)},
}  # fmt: skip


def line(text: str) -> Callable[[dict], None]:
    """The second line of labels/1.txt replaced."""

    def change(files: dict) -> None:
        files["labels/1.txt"] = f"0 0.5 0.5 0.4 0.4\n{text}\n"

    return change


def yolo_orphan(files: dict) -> None:
    files["labels/9.txt"] = "0 0.5 0.5 0.4 0.4\n"


def yolo_binary(files: dict) -> None:
    files["labels/1.txt"] = bytes(range(256))


# Pascal VOC --------------------------------------------------------------------------------------------------------


def thing(name="cat", box=(10, 12, 30, 40), extra="") -> str:
    x0, y0, x1, y1 = box
    return (
        f"<object>\n<name>{name}</name>{extra}\n<bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>"
        f"<ymax>{y1}</ymax></bndbox>\n</object>\n"
    )


def xml(k: int, *things: str, size=SIDE, name: str | None = None) -> str:
    head = f"<annotation>\n<filename>{name or f'{k}.png'}</filename>\n"
    return f"{head}<size><width>{size[0]}</width><height>{size[1]}</height></size>\n{''.join(things)}</annotation>\n"


VOC = {f"JPEGImages/{k}.png": pixels(k) for k in range(4)} | {
    f"Annotations/{k}.xml": xml(k, thing(), thing("dog", (5, 5, 20, 20))) for k in range(4)
}


def voc(text: str) -> Callable[[dict], None]:
    """Annotations/1.xml replaced."""

    def change(files: dict) -> None:
        files["Annotations/1.xml"] = text

    return change


def second(box, name="dog") -> Callable[[dict], None]:
    return voc(xml(1, thing(), thing(name, box)))


def voc_missing(files: dict) -> None:
    files["Annotations/9.xml"] = xml(9, thing())


# COCO --------------------------------------------------------------------------------------------------------------


def coco_good() -> dict:
    ring = [10, 10, 30, 10, 30, 30, 10, 30]
    joints = [12, 12, 2, 28, 12, 2, 20, 28, 1]
    annotations = [
        {"id": k + 1, "image_id": k // 2, "category_id": 1 + k % 2, "bbox": [10 + k, 10, 20, 20], "area": 400,
         "iscrowd": 0, "segmentation": [[v + (k if i % 2 == 0 else 0) for i, v in enumerate(ring)]],
         "keypoints": list(joints), "num_keypoints": 3}
        for k in range(8)
    ]  # fmt: skip
    names = {"keypoints": ["nose", "left_ear", "right_ear"], "skeleton": [[1, 2], [1, 3]]}
    return {
        "images": [{"id": k, "file_name": f"{k}.png", "width": SIDE[0], "height": SIDE[1]} for k in range(4)],
        "categories": [{"id": 1, "name": "cat", **names}, {"id": 2, "name": "dog", **names}],
        "annotations": annotations,
    }


def third(**changes) -> Callable[[dict], None]:
    """The third annotation changed."""

    def change(files: dict) -> None:
        files["annotations.json"]["annotations"][2] |= changes

    return change


def coco_without(key: str) -> Callable[[dict], None]:
    def change(files: dict) -> None:
        del files["annotations.json"]["annotations"][2][key]

    return change


def coco_size(files: dict) -> None:
    files["annotations.json"]["images"][1] |= {"width": SIDE[1], "height": SIDE[0]}


def coco_twice(files: dict) -> None:
    images = files["annotations.json"]["images"]
    images.append({**images[1], "id": 77})


def coco_missing(files: dict) -> None:
    files["annotations.json"]["images"][1]["file_name"] = "nowhere.png"


COCO = {f"images/{k}.png": pixels(k) for k in range(4)}

# Masks -------------------------------------------------------------------------------------------------------------


def mask(value=1, size=SIDE) -> bytes:
    numbers = np.zeros(size[::-1], np.uint8)
    numbers[10:30, 10:40] = value
    out = io.BytesIO()
    Image.fromarray(numbers).save(out, "PNG")
    return out.getvalue()


MASKS = {"data.yaml": "names: [ground, cat, dog]\nignore: 255\n"}
MASKS |= {f"images/{k}.png": pixels(k) for k in range(4)} | {f"masks/{k}.png": mask(1 + k % 2) for k in range(4)}


def other_mask(content: bytes | None) -> Callable[[dict], None]:
    def change(files: dict) -> None:
        if content is None:
            del files["masks/1.png"]
        else:
            files["masks/1.png"] = content

    return change


BASES = {"yolo": YOLO, "voc": VOC, "coco": COCO, "masks": MASKS}
TXT, XML, JSON, PNG = "labels/1.txt", "Annotations/1.xml", "annotations.json", "masks/1.png"
PLANTED: dict[str, tuple] = {
    "yolo outside": ("yolo", line("1 1.8 0.5 0.2 0.2"), "outside image", TXT, 2),
    "yolo beyond": ("yolo", line("1 0.95 0.5 0.4 0.2"), "outside image", TXT, 2),
    "yolo class": ("yolo", line("7 0.5 0.5 0.2 0.2"), "unknown class", TXT, 2),
    "yolo negative class": ("yolo", line("-1 0.5 0.5 0.2 0.2"), "unknown class", TXT, 2),
    "yolo three numbers": ("yolo", line("1 0.5 0.5 0.2"), "syntax", TXT, 2),
    "yolo word": ("yolo", line("dog 0.5 0.5 0.2 0.2"), "syntax", TXT, 2),
    "yolo NaN": ("yolo", line("1 nan 0.5 0.2 0.2"), "not a number", TXT, 2),
    "yolo infinite": ("yolo", line("1 0.5 0.5 inf 0.2"), "not a number", TXT, 2),
    "yolo zero": ("yolo", line("1 0.5 0.5 0 0.2"), "zero area", TXT, 2),
    "yolo inverted": ("yolo", line("1 0.5 0.5 -0.2 0.2"), "inverted box", TXT, 2),
    "yolo twice": ("yolo", line("0 0.5 0.5 0.4 0.4"), "duplicate object", TXT, 2),
    "yolo crossing": ("yolo", line("1 0.1 0.1 0.9 0.9 0.9 0.1 0.1 0.8"), "self-crossing polygon", TXT, 2),
    "yolo flat polygon": ("yolo", line("1 0.1 0.1 0.5 0.5 0.9 0.9"), "degenerate polygon", TXT, 2),
    "yolo orphan": ("yolo", yolo_orphan, "missing file", "labels/9.txt", 0),
    "yolo binary": ("yolo", yolo_binary, "syntax", TXT, 1),
    "voc inverted": ("voc", second((30, 5, 10, 20)), "inverted box", XML, 8),
    "voc zero": ("voc", second((20, 20, 20, 20)), "zero area", XML, 8),
    "voc outside": ("voc", second((90, 5, 120, 20)), "outside image", XML, 8),
    "voc beyond": ("voc", second((40, 5, 80, 20)), "outside image", XML, 8),
    "voc no number": ("voc", second(("a", 5, 10, 20)), "syntax", XML, 8),
    "voc NaN": ("voc", second((NAN, 5, 10, 20)), "not a number", XML, 8),
    "voc no name": ("voc", second((5, 5, 10, 20), ""), "unknown class", XML, 8),
    "voc no box": ("voc", voc(xml(1, thing(), "<object>\n<name>dog</name>\n</object>\n")), "syntax", XML, 8),
    "voc twice": ("voc", second((10, 12, 30, 40), "cat"), "duplicate object", XML, 8),
    "voc size": ("voc", voc(xml(1, thing(), size=(48, 64))), "another size", XML, 0),
    "voc broken": ("voc", voc(xml(1, thing())[:120]), "syntax", XML, 6),
    "voc entity": ("voc", voc('<!DOCTYPE a [<!ENTITY b "c">]>' + xml(1, thing())), "syntax", XML, 1),
    "voc missing image": ("voc", voc_missing, "missing file", "Annotations/9.xml", 0),
    "coco inverted": ("coco", third(bbox=[10, 10, -5, 20]), "inverted box", JSON, 3),
    "coco zero": ("coco", third(bbox=[10, 10, 0, 20]), "zero area", JSON, 3),
    "coco outside": ("coco", third(bbox=[100, 10, 20, 20]), "outside image", JSON, 3),
    "coco beyond": ("coco", third(bbox=[50, 10, 30, 20]), "outside image", JSON, 3),
    "coco three numbers": ("coco", third(bbox=[10, 10, 20]), "malformed entry", JSON, 3),
    "coco category": ("coco", third(category_id=99), "unknown class", JSON, 3),
    "coco image": ("coco", third(image_id=99), "unknown image", JSON, 3),
    "coco id": ("coco", third(id=1), "duplicate id", JSON, 3),
    "coco flat polygon": ("coco", third(segmentation=[[10, 10, 30, 30]]), "degenerate polygon", JSON, 3),
    "coco odd polygon": ("coco", third(segmentation=[[10, 10, 30, 10, 30]]), "malformed entry", JSON, 3),
    "coco crossing": ("coco", third(segmentation=[[10, 10, 30, 30, 30, 10, 10, 28]]), "self-crossing polygon", JSON, 3),
    "coco mask size": (
        "coco", third(segmentation={"size": [48, 64], "counts": [5, 7, 9]}), "mask of another size", JSON, 3
    ),
    "coco joint outside": ("coco", third(keypoints=[12, 12, 2, 128, 12, 2, 20, 28, 1]), "outside image", JSON, 3),
    "coco visibility": ("coco", third(keypoints=[12, 12, 7, 28, 12, 2, 20, 28, 1]), "unknown visibility", JSON, 3),
    "coco joints": ("coco", third(keypoints=[12, 12, 2, 28]), "malformed entry", JSON, 3),
    "coco no category": ("coco", coco_without("category_id"), "malformed entry", JSON, 3),
    "coco size": ("coco", coco_size, "another size", JSON, 0),
    "coco listed twice": ("coco", coco_twice, "listed twice", JSON, 0),
    "coco missing image": ("coco", coco_missing, "missing file", "images/nowhere.png", 0),
    "masks size": ("masks", other_mask(mask(1, (32, 48))), "mask of another size", PNG, 0),
    "masks value": ("masks", other_mask(mask(9)), "unknown mask value", PNG, 0),
    "masks damaged": ("masks", other_mask(mask(1)[:60]), "unreadable mask", PNG, 0),
    "masks missing": ("masks", other_mask(None), "missing mask", "images/1.png", 0),
}  # fmt: skip


def plant(root: Path, name: str) -> Path:
    """The data set with the fault; `root` is a new folder."""
    form, change, *_ = PLANTED[name]
    files = copy.deepcopy(BASES[form])
    if form == "coco":
        files["annotations.json"] = coco_good()
    change(files)
    if form == "coco":
        files["annotations.json"] = json.dumps(files["annotations.json"])
    return save(root, files)
