"""The images that the report shows of a run, as its task draws them: the worst, some at random, the worst of each kind.

Of maps only counts of pixels are kept of an evaluation (`Task.condensed`): the few images that are shown are then
predicted once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from hubel.data.loader import Loader
from hubel.report import values
from hubel.session import Session
from hubel.training.evaluate import Evaluation, evaluating, predict
from hubel.types import map_tensors, select

GALLERY, DENSE_GALLERY = 60, 24  # mistakes shown
SAMPLES, DENSE_SAMPLES = 20, 12
EACH, KINDS = 4, 14  # images of each kind of mistake, and kinds
TOGETHER = 8  # images of maps that are predicted at once


def wrong(session: Session, found: Evaluation) -> np.ndarray:
    """(n,) bool: is the example's prediction not right? Where nothing says so: not, in words, its truth; of maps, of
    which words tell little: has it any error."""
    task: Any = session.task
    right = task.right(found.predictions, found.targets) if hasattr(task, "right") else None
    if right is not None:
        return ~right.cpu().numpy()
    if task.dense and found.scores is not None:
        return (found.scores > 0).cpu().numpy()
    rows = range(len(found.index))
    return np.array([task.describe(found.predictions, r)["prediction"] != task.truth(found.targets, r) for r in rows])


@dataclass(frozen=True)
class Chosen:
    """Rows of an evaluation, by where they are shown."""

    mistakes: list[int]
    mistake_count: int
    samples: list[int]
    kinds: dict[str, list[tuple[int, float]]] = field(default_factory=dict)  # with what each is the worst in

    def rows(self) -> list[int]:
        every = [*self.mistakes, *self.samples, *(row for pairs in self.kinds.values() for row, _ in pairs)]
        return sorted(set(every))


def choose(session: Session, found: Evaluation) -> Chosen:
    """The worst first; where predictions are numbers or maps all examples count as wrong, by their distance."""
    assert found.scores is not None
    dense = session.task.dense
    rows = np.flatnonzero(wrong(session, found))
    worst = rows[np.argsort(-found.scores.numpy()[rows], kind="stable")][: DENSE_GALLERY if dense else GALLERY]
    samples = np.random.default_rng(0).permutation(len(found.index))[: DENSE_SAMPLES if dense else SAMPLES]
    return Chosen(worst.tolist(), len(rows), samples.tolist(), kinds_of(session, found))


def kinds_of(session: Session, found: Evaluation) -> dict[str, list[tuple[int, float]]]:
    """For each of the task's rankings the worst EACH images with their error; the KINDS worst rankings."""
    best: dict[str, list[tuple[int, float]]] = {}
    for name, errors in list(session.task.rankings(found.predictions, found.targets).items())[:KINDS]:
        each = errors.double().cpu().numpy()
        order = np.argsort(-np.nan_to_num(each, nan=-np.inf), kind="stable")[:EACH]
        pairs = [(int(row), float(each[row])) for row in order if each[row] > 0]
        best |= {name: pairs} if pairs else {}
    return best


def examples(session: Session, found: Evaluation, chosen: Chosen) -> dict[int, values.Example]:
    """Each chosen row as the page shows it."""
    pictures = drawn_again(session, found, chosen.rows()) if session.task.dense else None
    return {row: example(session, found, row, pictures) for row in chosen.rows()}


def galleries(chosen: Chosen, shown: Mapping[int, values.Example], measure: str) -> list[values.Gallery]:
    """One for each kind of mistake."""
    made = []
    for name, pairs in chosen.kinds.items():
        own = [_with(shown[row], error, measure) for row, error in pairs]
        made.append(values.Gallery(name, own))
    return made


def _with(one: values.Example, error: float, measure: str) -> values.Example:
    return values.Example(one.image, one.name, one.truth, one.prediction, one.confidence, error, measure, one.wide)


def example(
    session: Session, found: Evaluation, row: int, pictures: Mapping[int, np.ndarray] | None = None
) -> values.Example:
    position = int(found.index[row])
    words = session.task.describe(found.predictions, row)
    image = pictures.get(row) if pictures is not None else picture(session, found, row)
    return values.Example(
        image,
        session.dataset.images.name(position),
        session.task.truth(found.targets, row),
        str(words["prediction"]),
        words.get("confidence"),
        float(found.scores[row]) if found.scores is not None else None,
        session.task.measure,
        wide=pictures is not None,
    )


def picture(session: Session, found: Evaluation, row: int) -> np.ndarray | None:
    """The image of an evaluated row with truth and prediction, in bytes; None where it can't be shown."""
    try:
        image = as_bytes(session.dataset.images.read(int(found.index[row])))
    except Exception:  # a picture that can't be shown must not lose the report
        return None
    return drawn(session, image, found.predictions, found.targets, row)


def drawn(session: Session, image: np.ndarray, predictions: Any, targets: Any, row: int) -> np.ndarray:
    """The image with truth and prediction; the image alone where the task, maybe the user's own, can't draw it."""
    try:
        one = predictions.take(torch.tensor([row]))
        return session.task.draw(image, one, select(targets, torch.tensor([row])))
    except Exception:
        return image


def drawn_again(session: Session, found: Evaluation, rows: Iterable[int]) -> dict[int, np.ndarray]:
    """{row: its picture}, predicted once more, a few at a time."""
    made: dict[int, np.ndarray] = {}
    wanted = list(rows)
    loader = Loader(session.dataset, session._targets, session.preprocess, device=session.device, path="decoded")
    with loader, evaluating(session.network):
        some = [wanted[i : i + TOGETHER] for i in range(0, len(wanted), TOGETHER)]
        index = found.index[np.array(wanted, np.int64)]
        for part, batch in zip(some, loader.batches(index, 0, TOGETHER), strict=True):
            views = session.recipe.views or "single"
            predictions = predict(session.network, session.task, batch, views, session.autocast).cpu()
            targets = map_tensors(batch.targets, lambda tensor: tensor.cpu())
            for place, row in enumerate(part):
                try:
                    image = as_bytes(session.dataset.images.read(int(found.index[row])))
                except Exception:  # see `picture`
                    continue
                made[row] = drawn(session, image, predictions, targets, place)
    return made


def as_bytes(image: np.ndarray) -> np.ndarray:
    """For the screen only: 16-bit images are stretched over what they use."""
    if image.dtype == np.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    return ((image - low) / max(high - low, 1.0) * 255).astype(np.uint8)
