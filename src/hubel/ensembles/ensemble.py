"""Better than one network: predictions averaged over networks, snapshots, dropout masks or views; or weights averaged.

    p(y | x) = (p_1 + … + p_M) / M

What is averaged is what the task's predictions hold: probabilities of classes or labels, numbers in their units,
activations of the perceptron. Every way is judged on the same images as the single networks that it is made of.
How unsure the members are together splits in two (arXiv:1703.02910): the entropy H(p) of the average, and what they
differ by, H(p) − mean H(p_m), the mutual information between the answer and which member gave it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hubel import outcome
from hubel.data.loader import Loader
from hubel.driver import join_processes
from hubel.ensembles import compared
from hubel.ensembles.together import Gathered, Together, Uncertainty
from hubel.ensembles.voting import Member, check_alike, check_ways, common_parts, members_of, name_of
from hubel.errors import UserError
from hubel.prediction.mask_files import USUAL
from hubel.prediction.posed import Squares, known_boxes, squares_of
from hubel.prediction.segmented import write_masks
from hubel.prediction.tiling import Tiling, Voter
from hubel.rebuild import Parts
from hubel.session import Session
from hubel.source import same_data
from hubel.trained import Run, named, read
from hubel.training import distributed
from hubel.training.evaluate import Evaluation

MAPS = 32  # images whose maps every member predicts before the next ones


@dataclass(frozen=True)
class Judged:
    """One part of the data: a row for each single network, then one for what they make together."""

    rows: list[compared.Row]
    n: int
    uncertainty: dict[str, float]  # means over the images, in nats: entropy, information; of wrong answers too

    def settings(self) -> dict[str, Any]:
        rows = [row.settings() for row in self.rows]
        return {"rows": rows, "n": self.n, **({"uncertainty": self.uncertainty} if self.uncertainty else {})}


@dataclass
class Seat:
    """A run's session on the data that is judged, its loader, and whose weights the network has."""

    session: Session
    loader: Loader
    member: Member | None = None


class Seats:
    """Members with their sessions on `dataset`. The run of the member before is kept; of maps all runs are, for they
    are asked again in the next round. `stack` closes the loaders.
    """

    def __init__(self, dataset: Any, stack: ExitStack):
        self.dataset, self.stack = dataset, stack
        self._seats: dict[Path, Seat] = {}

    def evaluate(self, member: Member, part: str, rows: np.ndarray, number: int = 0) -> tuple[Session, Evaluation]:
        """The member's session, and its predictions of `rows` as they are, which `part` is for now; `number` counts
        the rounds."""
        seat = self._seat(member)
        if seat.member is not member:
            seat.session, seat.member = member.equip(seat.session), member
        dataset = seat.session.dataset
        session = replace(seat.session, dataset=dataset.with_splits({**dataset.splits, part: rows}))
        during = partial(member.during, part=number)
        found = outcome.judge(session, [part], session.autocast, seat.loader, during, whole=True)
        return seat.session, found[part]

    def _seat(self, member: Member) -> Seat:
        place = member.run.path
        if place not in self._seats:
            session = member.run.session_on(self.dataset)
            if not session.task.dense:
                self.stack.close()
                self._seats.clear()
            self._seats[place] = Seat(session, self.stack.enter_context(session.plain()))
        return self._seats[place]


class Ensemble:
    """Several runs, or one run seen in several ways.

    `combine`: "predictions" averages what the members say; "weights" makes one network of their mean weights, with
    batch norm measured anew on training images; "steps" takes the running average that a run kept, against its last
    weights; "none" only compares. `snapshots`: each run's last so many (0: all) take its place. `dropout_samples`:
    passes with random masks for each network; `views` as in --views. Raises UserError for what can't be together.
    """

    def __init__(
        self,
        runs: Run | str | Path | Sequence[Run | str | Path],
        *,
        combine: str = "predictions",
        snapshots: int | None = None,
        dropout_samples: int = 0,
        views: str | None = None,
    ):
        given = [runs] if isinstance(runs, (Run, str, Path)) else list(runs)
        if not given:
            raise UserError("An ensemble needs at least one run.")
        check_ways(combine, snapshots, dropout_samples, views)
        self.runs = [run if isinstance(run, Run) else Run.open(run) for run in given]
        check_alike(self.runs)
        self.singles, self.members = members_of(self.runs, combine, snapshots, dropout_samples, views)
        self.combine, self.what = combine, ""
        self.name = name_of(len(self.singles), combine, dropout_samples, views)

    def averaged(self) -> str:
        """What is averaged, in words; empty where nothing is."""
        words = {"weights": "weights", "steps": "weights over the steps of the training"}
        return words.get(self.combine, self.what) if self.members else ""

    def evaluate(self, split: str | None = None, data: Any = None) -> dict[str, Judged]:
        """By part: of one, of all but the training part, or of other data with the same classes.

        The parts of the runs' own data must be the same in all of them. Raises UserError where they are not.
        """
        join_processes(self.runs[0].recipe.device)
        dataset = self._dataset(data)
        parts = [split] if split is not None else [name for name in dataset.splits if name != "train"]
        parts = parts or list(dataset.splits)
        if split is not None and split not in dataset.splits:
            known = outcome.parts_in_words(dataset.splits, split)
            raise UserError(f"There is no part '{split}' that all these runs share; they share {known}")
        found = {part: self._judge(dataset, part) for part in parts}
        if "test" in found and data is None and distributed.is_main():
            for run in self.runs:
                run.note_test_look()
        return found

    def _dataset(self, data: Any) -> Any:
        first = self.runs[0]
        if data is not None:
            return first.session_on(data).dataset
        return first.parts().task.examples(same_data(first)).with_splits(common_parts(self.runs))

    def _judge(self, dataset: Any, part: str) -> Judged:
        """Maps are judged a few images at a time by all members: of these only counts are kept."""
        same = self.members == self.singles  # then each is looked through once
        members = [*self.singles, *([] if same else self.members)]
        ways = [Gathered(member.name) for member in self.singles]
        average, sure = Gathered(self.name), Uncertainty()
        session: Any = None
        last: Any = None
        with ExitStack() as stack:
            seats = Seats(dataset, stack)
            for number, rows in enumerate(self._rounds(dataset.splits[part])):
                together: Any = None
                for place, member in enumerate(members):
                    session, last = seats.evaluate(member, part, rows, number)
                    together = together or Together(session.task)
                    if place < len(ways):
                        ways[place].add(session.task, last)
                    if same or place >= len(ways):
                        together.add(last.predictions)
                if self.members:
                    average.add(session.task, together.evaluation(last))
                    sure.add(together)
                    self.what = together.what()
        seen = [compared.look(session, way.name, way.whole()) for way in [*ways, *([average] if self.members else [])]]
        return Judged(compared.rows(session, seen, len(ways)), len(seen[-1].found.index), sure.summary(seen[-1].right))

    def _rounds(self, index: np.ndarray) -> list[np.ndarray]:
        """Positions that are predicted together: all of them, of maps a few."""
        if not self.runs[0].parts().task.dense:
            return [index]
        return np.array_split(index, max(-(-len(index) // MAPS), 1))

    def predict(
        self, images: Iterable[Any], boxes: str | Path | Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """One dict per image, or box, as `Run.predict` gives it, of the average; with `uncertainty` where there are
        several. Raises UserError where `boxes` are given to runs that cut objects out with different margins.
        """
        given, known = named(images), known_boxes(boxes)
        together, parts, pixels, squares = None, None, [], None
        for member in self.members or self.singles:
            parts = member.parts()
            pixels = [(name, read(image, parts)) for name, image in given]
            if known is not None:
                squares = _same(squares, squares_of(parts.task, [name for name, _ in given], known))
                pixels = squares.cut(pixels)
            together = together or Together(parts.task)
            if pixels:
                together.add(outcome.predictions_of(parts, member.recipe, pixels, member.during))
        if parts is None or together is None or not pixels:
            return []
        found = outcome.in_words(parts, together.mean(), pixels)
        found = [{**row, **together.row(i)} for i, row in enumerate(found)]
        return found if squares is None else squares.moved(found)

    def masks(
        self, images: Iterable[Any], out: str | Path | None = None, *, files: Sequence[str] = USUAL,
        tiling: Tiling | None = None, large: bool = False,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """A class for every pixel, as `Run.masks`, from probabilities that are averaged over the members, tile by tile.

        All networks are in memory at once.
        """
        return write_masks(self._voters(), named(images), out, files, tiling, large)[0]

    def _voters(self) -> list[Voter]:
        """The members; those of the same weights (dropout masks) share one network."""
        networks: dict[Any, Parts] = {}
        found = []
        for member in self.members or self.singles:
            key = (member.run.path, member.weights)
            if key not in networks:
                networks[key] = member.parts()
            draws = None if member.dropout is None else member.during
            found.append(Voter(networks[key], member.recipe.views or "single", draws))
        return found


def _same(before: Squares | None, found: Squares) -> Squares:
    if before is not None and not np.array_equal(before.windows, found.windows):
        raise UserError(
            "These runs cut objects out with different margins (task.margin), so their joints lie in other squares. "
            "Give --boxes to runs of the same margin, or to one run."
        )
    return found
