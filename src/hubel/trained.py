"""A training on disk, ready to be used: evaluate, predict, report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from hubel import outcome, several
from hubel.data.check import check_files
from hubel.data.decode import BadImage, decode
from hubel.data.pixels import convert
from hubel.data.python import to_array
from hubel.driver import join_processes
from hubel.errors import UserError, looked_for
from hubel.options import unflatten
from hubel.parts import load_dataset
from hubel.prediction.explaining import Explanation, explain_images
from hubel.prediction.export import Exported, export
from hubel.prediction.inference import Prepared, Way, prepared
from hubel.prediction.mask_files import USUAL
from hubel.prediction.posed import known_boxes, squares_of
from hubel.prediction.segmented import write_masks
from hubel.prediction.tiling import Tiling, Voter
from hubel.rebuild import Parts, load_parts, load_weights
from hubel.recipe import Recipe
from hubel.session import Session
from hubel.source import same_data
from hubel.training import distributed
from hubel.training.run import RunFolder


class Run(RunFolder):
    """A training on disk: what it was given, what came out, and the network, ready to be used.

    `path`, `settings`, `manifest`, `history`, `metrics` {split: {name: value}}, `seconds`.
    """

    _model: Any = None
    _task: Any = None

    @classmethod
    def open(cls, path: str | Path, *, model: Any = None, task: Any = None) -> Run:
        """Raises UserError where `path` is no run. An own network or task from Python must be given again."""
        run = super().open(Path(path).expanduser())
        run.path = run.path.absolute()  # a program may change its folder
        run._model, run._task = model, task
        return run

    def __repr__(self) -> str:
        words = [f"{part} {self.primary} {found[self.primary]:.4g}" for part, found in self.metrics.items()
                 if part != "train" and self.primary in found]  # fmt: skip
        return f"<Run {self.path}: {', '.join([self.state, *words])}>"

    @property
    def recipe(self) -> Recipe:
        return unflatten({key: setting.value for key, setting in self.settings.items()})

    def parts(self) -> Parts:
        """The network with its kept weights, in evaluation mode, its task and its preprocessing."""
        parts = load_parts(self.path, self.recipe, model=self._model, task=self._task)
        load_weights(parts.network, self.path, self.recipe.keep or "last")
        parts.network.eval()
        return parts

    @property
    def network(self) -> nn.Module:
        return self.parts().network

    way: Way | None = None  # how the network ran in the last `evaluate` or `predict`: see prediction/inference.py

    def evaluate(
        self, split: str | None = None, data: Any = None, path: str | None = None
    ) -> dict[str, dict[str, float]]:
        """Metrics by split: of one split, of all, or of other data with the same classes.

        Other data without splits counts as "test". `path` is how the network runs (prediction/inference.py): by default
        as it was trained on the run's own data, whose scores then stay the same, and as fast as can be on other data.
        """
        join_processes(self.recipe.device)
        session = self.session_on(data)
        wanted = list(session.dataset.splits) if split is None else [split]
        if split is not None and split not in session.dataset.splits:
            known = outcome.parts_in_words(session.dataset.splits, split)
            raise UserError(f"There is no part '{split}'; this data has {known}")
        session, way = self._fast(session, wanted, path or ("eager" if data is None else "auto"))
        autocast = session.autocast if way.name == "eager" else nullcontext
        found = outcome.judge(session, wanted, autocast, session.plain())
        self._note_way(session.network, way)
        if "test" in wanted and data is None and distributed.is_main():
            self.note_test_look()
        return {name: evaluation.metrics for name, evaluation in found.items()}

    def session_on(self, data: Any = None) -> Session:
        """The trained network on the run's own data and splits, or on other data of the same classes."""
        parts = self.parts()
        if data is None:
            dataset = parts.task.examples(same_data(self)).with_splits(self.splits)
            parts.task.accepts(dataset)
        else:
            dataset = check_files(load_dataset(data))
            dataset = dataset.with_classes(parts.classes) if parts.classes else dataset
            dataset = dataset if dataset.splits else dataset.with_splits({"test": dataset.usable()})
            parts.task.accepts(dataset)
            dataset = parts.task.examples(dataset)
        return Session(
            self.settings, self.recipe, dataset, parts.task, parts.network, parts.preprocess, parts.device, parts.fresh
        )

    def _fast(self, session: Session, splits: list[str], path: str) -> tuple[Session, Way]:
        precision = session.recipe.precision or "fp32"
        parts = Parts(session.network, session.task, session.preprocess, session.device, (), precision)
        count = sum(len(session.dataset.splits[name]) for name in splits)
        found, way = prepared(parts, count, max(session.recipe.batch_size or 128, 256), path)
        return replace(session, network=found.network), way

    def _note_way(self, network: nn.Module, way: Way) -> None:
        self.way = network.way if isinstance(network, Prepared) else way

    def predict(
        self, images: Iterable[Any], path: str = "auto", boxes: str | Path | Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """One dict per image, in order: {"image", "prediction", "confidence", …}.

        `images` are paths, PIL images or arrays (H, W), (H, W, C) uint8. Raises UserError naming a file that can't be
        read. Images of any size are brought to the network's size as in training. `path` is how the network runs: the
        fastest that is installed by default, "eager" as it was trained; `way` says what became of it. `boxes` of a
        network that finds joints: {image: [[x0, y0, x1, y1], …]} or a file of them (prediction/posed.py); then one dict
        per box, with joints in pixels of the image.
        """
        parts, known = self.parts(), known_boxes(boxes)
        pixels = [(name, read(image, parts)) for name, image in named(images)]
        squares = None if known is None else squares_of(parts.task, [name for name, _ in pixels], known)
        pixels = pixels if squares is None else squares.cut(pixels)
        parts, way = prepared(parts, len(pixels), 64, path)
        found = outcome.predict_images(parts, self.recipe, pixels)
        self._note_way(parts.network, way)
        return found if squares is None else squares.moved(found)

    def explain(
        self, images: Iterable[Any], method: str = "cam", answer: str | None = None, threshold: float = 0.2
    ) -> list[Explanation]:
        """What the network looks at in each image, in order: a map on the image, a box, a picture of both.

        `images` as in `predict`; `method` "cam" (class activation map); `answer` is the class to explain, by default
        the one with the highest output; the box surrounds what is above `threshold` of the map's maximum. Raises
        UserError for a network that the method can't explain, saying why, and for unknown words.
        """
        parts = self.parts()
        pixels = [(name, read(image, parts)) for name, image in named(images)]
        return explain_images(parts, pixels, method, answer, threshold)

    def masks(
        self, images: Iterable[Any], out: str | Path | None = None, *, files: Sequence[str] = USUAL,
        tiling: Tiling | None = None, large: bool = False, path: str = "auto",
    ) -> list[dict[str, Any]]:  # fmt: skip
        """A class for every pixel of images of any size: one dict per image; see prediction/segmented.py and tiling.py.

        `images` as in `predict`, and arrays on disk (.npy). `out` is a new folder for the files that `files` names:
        "mask", "overlay", "coco", "polygons", "images"; without it each dict holds the "mask" (H, W) uint8. `large`
        allows images past the size limit. Each tile is seen through the run's own views, as in `predict`. Raises
        UserError for a network that gives no class for every pixel.
        """
        voters = [Voter(self.parts(), self.recipe.views or "single")]
        found, way = write_masks(voters, named(images), out, files, tiling, large, path)
        self.way = way or self.way
        return found

    def export(self, path: str | Path) -> Exported:
        """Write the network as one ONNX file, and compare it with the network; see hubel/prediction/export.py.

        Pixels go in, the task's answer comes out; classes, thresholds and the resizing stand in the file's metadata.
        Raises UserError where the extra `export` is not installed or the network can't be exported.
        """
        return export(self.parts(), path, str(self.recipe.model))

    def report(self, private: bool = False) -> Path:
        """Write report.html anew from the saved weights and data, and return its path; of folds without a network
        at the end, from what was measured."""
        page = several.rewrite_page(self)
        if page is not None and page.name == "report.html":
            return page
        return outcome.rewrite_report(self.session_on(), self, private)


def named(images: Iterable[Any]) -> list[tuple[str, Any]]:
    if isinstance(images, (str, Path)):
        images = [images]
    return [(str(one) if isinstance(one, (str, Path)) else f"#{i}", one) for i, one in enumerate(images)]


def read(image: Any, parts: Parts) -> np.ndarray:
    """(H, W, C) with the channels that the network was trained on."""
    try:
        if not isinstance(image, (str, Path)):
            return convert(to_array(image), parts.preprocess.channels)
        if Path(image).is_dir():
            raise UserError(f"'{image}' is a folder; name the images in it.")
        if not Path(image).exists():
            raise UserError(f"There is no file '{image}'{looked_for(image)}.")
        return decode(Path(image), channels=parts.preprocess.channels)
    except BadImage as fault:
        raise UserError(f"'{image}' can't be read as an image: {fault}") from fault
