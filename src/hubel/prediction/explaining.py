"""What a trained network looks at in images: an explanation of one output each, as a map on the image and a box.

A method of explain/ is a function (network, images (B, C, H, W), outputs (B,), head) -> Heat; names.EXPLANATIONS knows
them. The network sees each image as it is, without the views that a prediction may average over.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from hubel import names
from hubel.errors import UserError, did_you_mean
from hubel.explain.boxes import SHARE, box_of
from hubel.explain.maps import spread
from hubel.explain.picture import picture
from hubel.ops.geometry import compose, scaling
from hubel.outcome import in_words
from hubel.rebuild import Parts
from hubel.tasks.joint import Joint
from hubel.tasks.together import MultiHead
from hubel.training.evaluate import evaluating
from hubel.types import Batch

BATCH = 32
LARGEST = 1024  # pixels: the longer side of a map on an image; beyond it a box is as exact as a 1,024th of the image


@dataclass(frozen=True)
class Answer:
    """One thing that a network can be asked about: `sign` times output `number`."""

    name: str
    number: int
    sign: int = 1


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why one image got one output, and where."""

    method: str
    answer: str  # the class, label or number that is explained
    value: float  # its output: a logit
    said: dict[str, Any]  # {"image", "prediction", "confidence", …}, as `Run.predict` says it
    image: np.ndarray  # (H, W, C) uint8 or uint16
    heat: np.ndarray  # (h, w) float32 on the whole image, 1,024 pixels at most; NaN where the network saw nothing
    box: np.ndarray | None  # (4,) x0, y0, x1, y1 in pixels of the image; None where nothing speaks for the answer
    threshold: float

    def picture(self) -> Image.Image:
        """The image, and beside it the map laid over it, the box, and a bar that says what colours mean."""
        said, sure = self.said, self.said.get("confidence")
        words = f"{said['image']}: {said['prediction']}" + ("" if sure is None else f" ({sure:.1%})")
        title = f"{words}; {self.method} for {self.answer}, whose output is {self.value:.3g}"
        box = None if self.box is None else self.box.tolist()
        return picture(self.image, self.heat, box, title, self.threshold)

    def settings(self) -> dict[str, Any]:
        """JSON-ready, without pixels."""
        box = None if self.box is None else [round(v, 2) for v in self.box.tolist()]
        return {**self.said, "method": self.method, "class": self.answer, "output": self.value, "box": box}


def explain_images(
    parts: Parts,
    images: Sequence[tuple[str, np.ndarray]],
    method: str = "cam",
    answer: str | None = None,
    threshold: float = SHARE,
) -> list[Explanation]:
    """Of (name, image (H, W, C)) pairs; `answer` is a class, by default the one with the highest output.

    Raises UserError for a network or a task that the method can't explain, an unknown class or method, and a
    `threshold` outside [0, 1).
    """
    box_of(np.ones((1, 1)), threshold)
    heat_of = names.resolve(names.EXPLANATIONS, method)
    answers, head = _asked(parts)
    chosen = None if answer is None else _named(answers, answer)
    found: list[Explanation] = []
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH]
        batch = _batch(parts, some)
        with evaluating(parts.network):
            predictions = parts.task.predict(parts.network, batch).cpu()
            outputs = head(parts.network.maps(batch.images)).float()  # type: ignore[operator]
        asked = [chosen or _highest(answers, row) for row in outputs]
        wanted = torch.tensor([one.number for one in asked], device=outputs.device)
        heat = heat_of(parts.network, batch.images, wanted, head)
        for i, (said, one) in enumerate(zip(in_words(parts, predictions, some), asked, strict=True)):
            values = one.sign * heat.values[i].float().cpu().numpy()
            on_image = _on_image(parts, values, (heat.rows, heat.columns), some[i][1])
            box = _in_pixels(box_of(on_image, threshold), on_image, some[i][1])
            value = one.sign * float(outputs[i, one.number])
            found.append(Explanation(method, one.name, value, said, some[i][1], on_image, box, threshold))
    return found


def save_pictures(made: Sequence[Explanation], folder: str | Path) -> list[Path]:
    """Write a PNG of each explanation, NAME-cam.png; two images of one name get numbers. Returns the paths."""
    out = folder_for(folder)
    paths: list[Path] = []
    for one in made:
        paths.append(name_in(out, str(one.said["image"]), one.method, paths))
        one.picture().save(paths[-1])
    return paths


def folder_for(pictures: str | Path) -> Path:
    """The folder, made where it isn't there; UserError where it can't be."""
    out = Path(pictures).expanduser().absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UserError(
            f"'{pictures}' can't be a folder for pictures: {fault.strerror}. Give another --out."
        ) from fault
    return out


def name_in(folder: Path, image: str, kind: str, taken: Sequence[Path]) -> Path:
    """FOLDER/NAME-KIND.png, with a number where that is taken."""
    stem = Path(image).stem.removeprefix("#") or "image"
    names_of = (f"{stem}{f'-{k}' if k > 1 else ''}-{kind}.png" for k in itertools.count(1))
    return next(folder / name for name in names_of if folder / name not in taken)


def _batch(parts: Parts, images: Sequence[tuple[str, np.ndarray]]) -> Batch:
    made = [parts.preprocess.geometry(image) for _, image in images]
    pixels = torch.from_numpy(np.stack([pixels for pixels, _ in made])).to(parts.device)
    sizes = torch.tensor([image.shape[:2] for _, image in images])
    matrices = torch.from_numpy(np.stack([matrix for _, matrix in made])).float()
    count = len(images)
    return Batch(parts.preprocess.normalise(pixels), None, torch.arange(count), torch.ones(count), sizes, matrices)


def _asked(parts: Parts) -> tuple[list[Answer], nn.Module]:
    """What the network can be asked about, and the head that answers: of a joint task the one that decides."""
    task, head = parts.task, getattr(parts.network, "head", None)
    if head is None or not hasattr(parts.network, "maps"):
        raise UserError(
            f"{type(parts.network).__name__} has no `maps` and `head`, so its last map can't be told from its "
            "classifier. Derive it from hubel.models.base.Network."
        )
    if isinstance(task, Joint) and isinstance(head, MultiHead):
        name = task.primary.metric.partition(".")[0]
        task, head = task.tasks[name], head.of(name)
    said: Any = task
    known: tuple[tuple[str, ...], ...] = (getattr(said, "classes", ()), getattr(said, "names", ()))
    for words in known:
        if not task.dense and len(words) == task.width:
            return [Answer(word, k) for k, word in enumerate(words)], head
        if not task.dense and len(words) == 2 and task.width == 1:  # one number: for the second, against the first
            return [Answer(words[0], 0, -1), Answer(words[1], 0)], head
    raise UserError(
        f"The task '{task.name}' has no one output for each class or number that a map could explain. Tasks that have: "
        "classification, labels, binary, regression."
    )


def _named(answers: Sequence[Answer], name: str) -> Answer:
    known = [one.name for one in answers]
    if name not in known:
        raise UserError(f"There is no class '{name}'{did_you_mean(name, known)}")
    return answers[known.index(name)]


def _highest(answers: Sequence[Answer], outputs: Tensor) -> Answer:
    return max(answers, key=lambda one: one.sign * float(outputs[one.number]))


def _on_image(parts: Parts, values: np.ndarray, axes: Any, image: np.ndarray) -> np.ndarray:
    """A map of the network on the image, at most LARGEST pixels on its longer side."""
    height, width = image.shape[:2]
    factor = min(1.0, LARGEST / max(height, width))
    shape = max(1, round(height * factor)), max(1, round(width * factor))
    matrix = compose(scaling(width / shape[1], height / shape[0]), parts.preprocess.matrix(height, width))
    return spread(values, axes, parts.preprocess.size, matrix, shape)


def _in_pixels(box: np.ndarray | None, heat: np.ndarray, image: np.ndarray) -> np.ndarray | None:
    """From pixels of the map to pixels of the image."""
    if box is None:
        return None
    down, across = image.shape[0] / heat.shape[0], image.shape[1] / heat.shape[1]
    return box * np.array([across, down, across, down])
