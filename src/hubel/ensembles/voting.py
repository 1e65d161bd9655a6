"""Who takes part in an ensemble: networks of runs, snapshots, passes with dropout; and whether they belong together.

A Member is one network with one set of weights, looked through certain views, with or without dropout. Members may
differ in everything (architecture, size of the images, normalisation) but in what they were asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from hubel.errors import UserError, close_to
from hubel.models.surgery.average import averaged
from hubel.rebuild import Parts, kept_weights
from hubel.recipe import VIEWS, Recipe
from hubel.session import Session
from hubel.trained import Run
from hubel.training import checkpoint
from hubel.training.dropout import check_dropout, dropping
from hubel.training.snapshots import load_snapshots

Weights = Mapping[str, Tensor]
MEASURED = 100  # batches of training images for the statistics of batch norm
BATCH = 128
COMBINE = ("predictions", "weights", "steps", "none")


@dataclass(frozen=True)
class Member:
    """One network as it votes. `weights` gives the states whose mean it has: one, or several that are averaged."""

    name: str
    run: Run
    weights: Callable[[], Sequence[Weights]]
    views: str | None = None  # None: the run's own
    dropout: int | None = None  # the seed of its masks; None: weight scaling

    def equip(self, session: Session) -> Session:
        """The run's session with this member's weights and views. Raises UserError where it has no dropout to draw."""
        states = self.weights()
        if len(states) == 1:
            session.network.load_state_dict(states[0])
        else:
            averaged(session.network, states, training_images(session))
        if self.dropout is not None:
            check_dropout(session.network, str(session.recipe.model))
        return replace(session, recipe=self.recipe)

    @property
    def recipe(self) -> Recipe:
        chosen = self.run.recipe
        return chosen if self.views is None else replace(chosen, views=self.views)

    def parts(self) -> Parts:
        """The network with this member's weights, without the data (but where batch norm is to be measured anew)."""
        if len(states := self.weights()) > 1:
            session = self.equip(self.run.session_on(None))
            parts = self.run.parts()
            return replace(parts, network=session.network.eval())
        parts = self.run.parts()
        parts.network.load_state_dict(states[0])
        if self.dropout is not None:
            check_dropout(parts.network, str(self.run.recipe.model))
        return parts

    def during(self, network: nn.Module, part: int = 0) -> AbstractContextManager:
        """What holds while it predicts some images; `part` counts these, and each part draws masks of its own."""
        return nullcontext() if self.dropout is None else dropping(network, self.dropout, part)


def training_images(session: Session) -> Any:
    """Batches (B, C, H, W) of the training part, evenly spaced over it and prepared as in evaluation."""
    index = session.dataset.splits.get("train")
    if index is None or not len(index):
        raise UserError("Averaged weights need training images, to measure what batch norm divides by; there are none.")
    most = MEASURED * BATCH
    chosen = np.asarray(index)[:: max(len(index) // most, 1)][:most]
    whole = chosen[: len(chosen) // BATCH * BATCH] if len(chosen) >= BATCH else chosen  # batches count equally
    with session.plain() as loader, session.autocast():
        for batch in loader.batches(whole, 0, BATCH):
            yield batch.images


def networks_of(run: Run, snapshots: int | None) -> list[Member]:
    """The run's kept weights, or its last `snapshots` snapshots (0: all of them)."""
    label = short(run)
    if snapshots is None:
        return [Member(label, run, lambda: [kept_weights(run.path, run.recipe.keep or "last")[0]])]
    states = load_snapshots(run.path, snapshots or None)
    return [Member(f"{label}, snapshot {i}", run, lambda s=s: [s]) for i, s in states.items()]  # type: ignore[misc]


def steps_of(run: Run) -> tuple[Member, Member]:
    """The last weights themselves, and their running average."""
    state = checkpoint.load(run.path / "checkpoints" / "last")
    if state["ema"] is None:
        raise UserError(f"{run.path} kept no average of its weights. Train with --regularize.ema 0.995 or .mean 0.5.")
    plain = Member(f"{short(run)}, last weights", run, lambda: [state["network"]])
    kind = f"ema {run.recipe.regularize.ema:g}" if run.recipe.regularize.ema else "mean"
    return plain, Member(f"{short(run)}, {kind}", run, lambda: [kept_weights(run.path, "last")[0]])


def check_ways(combine: str, snapshots: int | None, samples: int, views: str | None) -> None:
    """Raises UserError for words and numbers that say no way to combine networks."""
    if combine not in COMBINE:
        raise UserError(f"An ensemble combines {', '.join(COMBINE)}; got '{combine}'.")
    if samples < 0 or (snapshots is not None and snapshots < 0):
        raise UserError("The numbers of dropout samples and of snapshots must be at least 0.")
    if views is not None and views not in VIEWS:
        raise UserError(f"Views are {', '.join(VIEWS)}; got '{views}'{close_to(views, VIEWS)}")
    if combine == "steps" and snapshots is not None:
        raise UserError("The running average and snapshots are two things to compare. Ask for one of them.")


def members_of(
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


def name_of(singles: int, combine: str, samples: int, views: str | None) -> str:
    """What the average is called in its row."""
    base = {"weights": f"mean weights of {singles}", "steps": "running average"}.get(combine, "")
    if not base and singles > 1:
        base = f"ensemble of {singles}"
    more = [f"{samples} dropout samples"] if samples else []
    more += [f"views {views}"] if views is not None else []
    return ", ".join([base, *more] if base else more)


def short(run: Run) -> str:
    """The end of a run's path: fashion-mnist-small_cnn/3."""
    return "/".join(run.path.parts[-2:])


def check_alike(runs: Sequence[Run]) -> None:
    """Raises UserError where the runs were not asked the same: task, classes."""
    first, *others = runs
    asked = question(first)
    for other in others:
        found = question(other)
        for what in asked:
            if asked[what] != found[what]:
                raise UserError(
                    f"{other.path} and {first.path} can't vote together: their {what} differ: "
                    f"{_words(found[what])} and {_words(asked[what])}. Give runs that were asked the same."
                )


def question(run: Run) -> dict[str, Any]:
    """What a run was asked."""
    saved = run._read_json("network.json")
    if not saved:
        raise UserError(f"{run.path} is not a whole run: network.json is missing. Train again.")
    names = saved["task"].get("names")
    return {"tasks": saved["task"]["name"], "classes": saved["classes"], "numbers": names}


def _words(value: Any) -> str:
    if not isinstance(value, (list, tuple)):
        return str(value)
    return ", ".join(map(str, value[:8])) + (f" … ({len(value)})" if len(value) > 8 else "")


def common_parts(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """The splits that are the same in all runs. Raises UserError where the data is not, or no part is."""
    first, *others = runs
    hashes = {str(run.manifest.get("data", {}).get("hash")) for run in runs}
    if len(hashes) > 1:
        raise UserError(
            "These runs were trained on different data, so no image is new to all of them by its place. Judge them on "
            "other data: --data SOURCE."
        )
    parts = first.splits
    for other in others:
        found = other.splits
        parts = {name: i for name, i in parts.items() if name in found and np.array_equal(i, found[name])}
    if not parts:
        raise UserError("These runs share no part of their data: their splits differ. Judge them on --data SOURCE.")
    return parts
