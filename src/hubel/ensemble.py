"""Better than one network: predictions averaged over networks, snapshots, dropout masks or views; or weights averaged.

    p(y | x) = (p_1 + … + p_M) / M

What is averaged is what the task's predictions hold: probabilities of classes or labels, numbers in their units,
activations of the perceptron. Every way is judged on the same images as the single networks that it is made of.
How unsure the members are together splits in two (arXiv:1703.02910): the entropy H(p) of the average, and what they
differ by, H(p) − mean H(p_m), the mutual information between the answer and which member gave it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubel import compared, outcome
from hubel.data.check import check_files
from hubel.driver import join_processes
from hubel.errors import UserError
from hubel.parts import load_dataset
from hubel.recipe import VIEWS
from hubel.session import Session
from hubel.source import same_data
from hubel.tasks.base import Task
from hubel.trained import Run, named, read
from hubel.training import distributed
from hubel.training.evaluate import Evaluation
from hubel.types import Predictions, map_tensors
from hubel.voting import Member, check_alike, common_parts, networks_of, steps_of

COMBINE = ("predictions", "weights", "steps", "none")


@dataclass(frozen=True)
class Judged:
    """One part of the data: a row for each single network, then one for what they make together."""

    rows: list[compared.Row]
    n: int
    uncertainty: dict[str, float]  # means over the images, in nats: entropy, information; of wrong answers too

    def settings(self) -> dict[str, Any]:
        rows = [row.settings() for row in self.rows]
        return {"rows": rows, "n": self.n, **({"uncertainty": self.uncertainty} if self.uncertainty else {})}


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
        _check(combine, snapshots, dropout_samples, views)
        self.runs = [run if isinstance(run, Run) else Run.open(run) for run in given]
        check_alike(self.runs)
        self.singles, self.members = _members(self.runs, combine, snapshots, dropout_samples, views)
        self.combine, self.what = combine, ""
        self.name = _name(len(self.singles), combine, dropout_samples, views)

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
            raise UserError(
                f"There is no part '{split}' that all these runs share; they share {', '.join(dataset.splits)}."
            )
        found = {part: self._judge(dataset, part) for part in parts}
        if "test" in found and data is None and distributed.is_main():
            for run in self.runs:
                run.note_test_look()
        return found

    def _dataset(self, data: Any) -> Any:
        if data is None:
            task = self.runs[0].parts().task
            return task.examples(same_data(self.runs[0])).with_splits(common_parts(self.runs))
        dataset = check_files(load_dataset(data))
        return dataset if dataset.splits else dataset.with_splits({"test": dataset.usable()})

    def _judge(self, dataset: Any, part: str) -> Judged:
        seen: list[compared.Seen] = []
        session: Any = None
        together: Any = None
        last: Any = None
        same = self.members == self.singles  # then each is looked through once
        for member, session in self._sessions(self.singles, dataset):
            last = _evaluated(session, member, part)
            seen.append(compared.look(session, member.name, last))
            together = together or Together(session.task)
            if same:
                together.add(last.predictions)
        count = len(seen)
        for member, session in self._sessions([] if same else self.members, dataset):
            last = _evaluated(session, member, part)
            together.add(last.predictions)
        if self.members:
            seen.append(compared.look(session, self.name, together.evaluation(last)))
        self.what = together.what()
        rows = compared.rows(session, seen, count)
        uncertainty = together.summary(seen[-1].right) if together.count > 1 else {}
        return Judged(rows, len(seen[-1].found.index), uncertainty)

    def _sessions(self, members: Sequence[Member], dataset: Any) -> Iterator[tuple[Member, Session]]:
        """Each member with its session; a run's parts are built once for all of its members."""
        run, session = None, None
        for member in members:
            if member.run is not run or session is None:
                run, session = member.run, member.run.session_on(dataset)
            yield member, member.equip(session)

    def predict(self, images: Iterable[Any]) -> list[dict[str, Any]]:
        """One dict per image as `Run.predict` gives it, of the average; with `uncertainty` where there are several."""
        members = self.members or self.singles
        given = named(images)
        together, parts, pixels = None, None, []
        for member in members:
            parts = member.parts()
            pixels = [(name, read(image, parts)) for name, image in given]
            together = together or Together(parts.task)
            if pixels:
                together.add(outcome.predictions_of(parts, member.recipe, pixels, member.during))
        if parts is None or together is None or not pixels:
            return []
        found = outcome.in_words(parts, together.mean(), pixels)
        return [{**row, **together.row(i)} for i, row in enumerate(found)]


class Together:
    """The running mean of predictions, and how unsure and how different they are. Predictions of n images each."""

    def __init__(self, task: Task):
        self.task, self.count = task, 0
        self._sum: Any = None
        self._squares: Any = None
        self._entropy: Any = None

    def add(self, predictions: Any) -> None:
        exact = map_tensors(predictions, lambda tensor: tensor.double())
        squares, entropy = map_tensors(exact, torch.square), self.task.entropy(exact)
        self.count += 1
        if self.count == 1:
            self._like, self._sum, self._squares, self._entropy = predictions, exact, squares, entropy
            return
        self._sum, self._squares = _plus(self._sum, exact), _plus(self._squares, squares)
        self._entropy = None if entropy is None else self._entropy + entropy

    def what(self) -> str:
        """The names of the numbers that are averaged: probabilities, values …"""
        return ", ".join(self._like.arrays()) if self.count else ""

    def mean(self) -> Predictions:
        return map_tensors(self._sum, lambda tensor: (tensor / self.count).float())

    def entropy(self) -> Tensor | None:
        """(n,) nats, of the mean; None where the task gives no probabilities."""
        return self.task.entropy(map_tensors(self._sum, lambda tensor: tensor / self.count))

    def information(self) -> Tensor | None:
        """(n,) nats: what the members differ by."""
        total = self.entropy()
        return None if total is None else (total - self._entropy / self.count).clamp(min=0)

    def deviation(self) -> Tensor | None:
        """(n, D): of numbers over the members, in their units; None for other tasks."""
        if not hasattr(self._sum, "values") or self.count < 2:
            return None
        mean = self._sum.values / self.count
        return (self._squares.values / self.count - mean**2).clamp(min=0).sqrt()

    def row(self, i: int) -> dict[str, Any]:
        """The uncertainty of image i, JSON-ready; {} of one member."""
        total, apart, deviation = self.entropy(), self.information(), self.deviation()
        if self.count < 2 or (total is None and deviation is None):
            return {}
        found: dict[str, Any] = {"members": self.count}
        if total is not None and apart is not None:
            found |= {"entropy": float(total[i]), "information": float(apart[i])}
        return {"uncertainty": found | ({} if deviation is None else {"deviation": deviation[i].tolist()})}

    def summary(self, right: np.ndarray | None) -> dict[str, float]:
        """Means over the images: of all, and of those that were answered right and wrong."""
        total, apart = self.entropy(), self.information()
        if total is None or apart is None:
            return {}
        found = {"entropy": float(total.mean()), "information": float(apart.mean())}
        if right is not None and len(right) == len(total) and right.any() and not right.all():
            rows = torch.from_numpy(right)
            for word, chosen in (("right", rows), ("wrong", ~rows)):
                found |= {f"entropy.{word}": float(total[chosen].mean())}
                found |= {f"information.{word}": float(apart[chosen].mean())}
        return found

    def evaluation(self, like: Evaluation) -> Evaluation:
        """The mean judged on the images, targets and weights of one member's evaluation."""
        metric, mean = self.task.metric(), self.mean()
        metric.update(mean, like.targets, like.weights)
        scores = self.task.scores(mean, like.targets)
        return Evaluation(metric.compute(), like.index, mean, like.targets, scores, like.weights)


def _plus(one: Any, other: Any) -> Any:
    """The sum of two predictions, tensor by tensor."""
    return map_tensors(type(one).mean([one, other]), lambda tensor: 2 * tensor)


def _evaluated(session: Session, member: Member, part: str) -> Evaluation:
    with session.plain() as loader:
        return outcome.judge(session, [part], session.autocast, loader, member.during, whole=True)[part]


def _check(combine: str, snapshots: int | None, samples: int, views: str | None) -> None:
    if combine not in COMBINE:
        raise UserError(f"An ensemble combines {', '.join(COMBINE)}; got '{combine}'.")
    if samples < 0 or (snapshots is not None and snapshots < 0):
        raise UserError("The numbers of dropout samples and of snapshots must be at least 0.")
    if views is not None and views not in VIEWS:
        raise UserError(f"Views are {', '.join(VIEWS)}; got '{views}'.")
    if combine == "steps" and snapshots is not None:
        raise UserError("The running average and snapshots are two things to compare. Ask for one of them.")


def _members(
    runs: Sequence[Run], combine: str, snapshots: int | None, samples: int, views: str | None
) -> tuple[list[Member], list[Member]]:
    """(single networks, those whose average is asked for; none where they are only compared)."""
    if combine == "steps":
        pairs = [steps_of(run) for run in runs]
        singles, together = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    else:
        singles = [one for run in runs for one in networks_of(run, snapshots)]
        together = singles
    if combine == "weights":
        if len(singles) < 2:
            raise UserError("One set of weights has no average. Give several runs, or --snapshots of one.")
        states = [one.weights for one in singles]
        together = [Member("", runs[0], lambda: [state for each in states for state in each()])]
    if combine == "none" or (len(together) == 1 and combine == "predictions" and not samples and views is None):
        return singles, []
    masks: Iterable[int | None] = range(samples) if samples else [None]
    plain = [_seen(one, "single" if views is not None else None) for one in singles]
    return plain, [_seen(one, views, mask) for one in together for mask in masks]


def _seen(member: Member, views: str | None, mask: int | None = None) -> Member:
    return Member(member.name, member.run, member.weights, views, mask)


def _name(singles: int, combine: str, samples: int, views: str | None) -> str:
    """What the average is called in its row."""
    base = {"weights": f"mean weights of {singles}", "steps": "running average"}.get(combine, "")
    if not base and singles > 1:
        base = f"ensemble of {singles}"
    more = [f"{samples} dropout samples"] if samples else []
    more += [f"views {views}"] if views is not None else []
    return ", ".join([base, *more] if base else more)
