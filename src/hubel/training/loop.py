"""The loop: epochs of steps; what is measured, saved and mended on the way. The same for every task and network.

A step is in descent.py. Everything that the next one depends on is in `state()`, so that a resumed training is bit for
bit the one that never stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hubel.recipe import Recipe
from hubel.tasks.base import Task
from hubel.training import distributed
from hubel.training.callbacks import Callback
from hubel.training.descent import Descent
from hubel.training.evaluate import evaluate
from hubel.training.feed import Cut, Data, Epochs, Lost, judged_at_once
from hubel.training.interrupts import AskedToStopError, interrupts, until_asked
from hubel.training.judge import Judge
from hubel.training.monitor import NotFiniteError, is_finite
from hubel.training.notes import Notes
from hubel.training.random_state import random_state, set_random_state
from hubel.training.saving import Saving
from hubel.training.tally import Tally
from hubel.training.transfer import Course
from hubel.types import Batch

LOOK_EVERY = 50  # steps between looks at the loss on a GPU, where each look makes it wait


class Loop:
    """Trains `network` on `task`; `folder` receives checkpoints and the history is told to the callbacks.

    `course` says which layers learn in which epochs: in each of its stages `learner` trains on `feed`.
    """

    def __init__(
        self, network: nn.Module, task: Task, data: Data, recipe: Recipe, folder: Path,
        callbacks: Sequence[Callback] = (), course: Course | None = None,
    ):  # fmt: skip
        self.network, self.task, self.data, self.recipe, self.folder = network, task, data, recipe, folder
        self.device, self.callbacks = data.train.device, list(callbacks)
        self.batch_size = recipe.batch_size or len(data.splits["train"])
        n = len(data.order(task, recipe, 0))  # a task's own order may leave examples out
        self.cut = Cut.of(data, n, self.batch_size, network)
        self.steps_per_epoch, self.epochs = self.cut.steps, recipe.epochs or 1
        self.course = course or Course.plain(network, data, self.epochs)
        self.schedule = self.course.schedule(recipe.schedule, self.steps_per_epoch)
        self.saving = Saving(folder, recipe.save_every)
        self.stage, self.stop = -1, False
        self.interrupted: list[int] = []
        self.epoch = self.batch = self.step = 0
        self.judge = Judge(task.primary, recipe.regularize.patience)
        self.history: list[dict[str, Any]] = []
        self.notes = Notes(self.callbacks)
        self.lost, self.reading = Lost(), Epochs(task, recipe, self.cut)
        self.descent: Descent
        self._begin_stage()
        self._begin_epoch()

    # The outer loop ---------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train until the last epoch, an early stop or `self.stop`; saves on the way and when interrupted."""
        self._tell("on_start")
        try:
            with interrupts() as self.interrupted:
                if self.step == 0:
                    self.save()
                while self.epoch < self.epochs and not self.stop:
                    try:
                        self._run_epoch()
                    except NotFiniteError as fault:
                        self._recover(fault)
                self._catch_up()
        finally:
            self._tell("on_end")

    def _run_epoch(self) -> None:
        self.network.train()
        for batch in self.reading.rest(self.feed, self.epoch, self.batch):
            losses = self._step(batch)
            self.batch += 1
            self.step += 1
            if self.step % LOOK_EVERY == 0:
                self.tally.look(self.step)
            self._tell("on_step", losses)
            if self.batch < self.steps_per_epoch:
                if self.saving.due(self.step):
                    self.save()
                if self._told_to_stop():
                    return
        following = self.epoch + 1
        if following < self.epochs and not self.stop and self.course.at(following) == self.stage:
            self.reading.begin(self.feed, following)  # while this epoch is judged
        self._end_epoch()

    def _told_to_stop(self) -> bool:
        """Saves where the user or a callback ends the training in mid-epoch; several processes do after one step."""
        if distributed.world() > 1 and self.device.type != "cpu" and self.step % LOOK_EVERY:
            return False  # to ask the others is to wait for the GPU
        leaving = distributed.anywhere(bool(self.interrupted), self.device)
        if leaving or distributed.anywhere(self.stop, self.device):
            self.stop = True
            self.save()
        if leaving:
            raise KeyboardInterrupt
        return self.stop

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        losses = self.descent.step(batch, self.schedule(self.step), self.step)
        self.tally.add(losses, len(batch) * distributed.world())
        self.tally.measure(self.learner, batch, self.descent.outputs(len(batch)))
        return losses

    # Stages and epochs --------------------------------------------------------------------------------------------

    def _begin_stage(self) -> None:
        """Where the epoch is the first of a stage: other layers learn, by an optimiser of their own."""
        stage = self.course.at(self.epoch)
        if stage == self.stage:
            return
        before: Descent | None = self.descent if self.stage >= 0 else None
        self.stage, (self.learner, self.feed), rates = stage, self.course.begin(stage), self.course.rates(stage)
        self.descent = Descent(self.learner, self.task, self.recipe, self.device, self.notes.add, rates)
        if before is not None:
            self.descent.take_over(before)
        self.judge.bad_epochs = 0  # patience is that of the last stage
        self.notes.add(*self.course.sentences(stage))

    def _begin_epoch(self) -> None:
        self.batch = 0
        self.tally = Tally(self.task, self.feed.train)

    def _end_epoch(self) -> None:
        self.tally.look(self.step)
        row = self._row()
        self.history.append(row)
        self.epoch += 1
        with self.notes.told_afterwards():  # after the row of this epoch
            self.notes.add(*self.lost.sentences(self.data, self.epoch))
            self._judge(row)
            self._begin_stage()
            self._begin_epoch()
            if self.saving.worthwhile(self.device):
                self.save()
            self._tell("on_epoch", row)
        if distributed.anywhere(bool(self.interrupted), self.device):
            self._catch_up()
            raise KeyboardInterrupt

    def _row(self) -> dict[str, Any]:
        """The epoch's row of the history."""
        place, speed = {"epoch": self.epoch + 1, "step": self.step}, self.tally.speed()
        row = {**place, "lr": self.descent.rate(), **self.tally.row(self.batch)}
        row |= {f"dev.{name}": value for name, value in self._dev_score().items()}
        return row | {"seconds": self.tally.seconds(), **speed}

    def _dev_score(self) -> dict[str, float]:
        """Of the epoch that ends; {} without a dev part. Ctrl-C cuts it short: a resume begins with it."""
        if not self.data.has_dev():
            return {}
        try:
            return self.score("dev")
        except AskedToStopError:  # the weights are the training's own again, not their average
            self.save()
            raise KeyboardInterrupt from None

    def score(self, split: str) -> dict[str, float]:
        """Metrics of the weights as they would be kept now (the running average where there is one)."""
        with self.descent.averaged():
            return evaluate(self.learner, self.task, self._batches_of(split), autocast=self.descent.autocast).metrics

    def _batches_of(self, split: str) -> Iterator[Batch]:
        at_once = judged_at_once(self.cut.batch_size, self.task.dense, self.data.plain.preprocess.size)
        batches = self.feed.batches_of(split, self.descent.micro_batch or at_once)
        return until_asked(batches, self.interrupted) if distributed.world() == 1 else batches

    def _judge(self, row: Mapping[str, Any]) -> None:
        """Keep the weights where the dev score is the best so far; stop when it has not been for too long."""
        score = row.get(f"dev.{self.judge.objective.metric}")
        if score is None:
            return
        if self.judge.is_best(score, self.epoch):
            with self.descent.averaged():
                state = {"network": dict(self.network.state_dict()), "epoch": self.epoch, "score": self.judge.best}
                self.saving.save_best(state)
        elif self.judge.waited_enough() and self.course.is_last(self.stage):
            self.notes.add(self.judge.verdict(self.epoch))
            self.stop = True

    # Saving and coming back -------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            **self.descent.state(),
            "position": {"epoch": self.epoch, "batch": self.batch, "step": self.step},
            "best": self.judge.state(),
            **self.tally.state(),
            "history": self.history,
            "notes": self.notes.kept,
            "random": distributed.gather(random_state(self.device)),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave. Raises UserError where it was written by another number of processes."""
        distributed.expect(len(state["random"]))
        self.epoch = state["position"]["epoch"]
        self._begin_stage()
        self.descent.restore(state)
        self._begin_epoch()
        self.epoch, self.batch, self.step = (state["position"][k] for k in ("epoch", "batch", "step"))
        self.judge.restore(state["best"])
        self.tally.restore(state, self.device)
        self.history, self.notes.kept = list(state["history"]), list(state["notes"])
        # killed between an early stop and the run's last judgement?
        self.stop = self.judge.waited_enough() and self.course.is_last(self.stage)
        set_random_state(state["random"][distributed.rank()], self.device)

    def save(self) -> None:
        """Checkpoint for resuming; never of weights that are not finite, so that there is a way back."""
        if not is_finite(list(self.network.parameters())):
            raise NotFiniteError("a weight is not finite", self.step)
        self.saving.save_last(self.state())  # every process brings its part

    def _catch_up(self) -> None:
        if self.saving.skipped:
            self.save()

    def _recover(self, fault: NotFiniteError) -> None:
        """Back to the last good checkpoint: in fp32, then once at a tenth of the rate, then give up.

        Where losses were not looked at before each step, the same way again with open eyes comes first.
        """
        change = self.descent.more_careful(fault)
        careful = self.descent.rescue()
        self.restore(self.saving.load_last())
        self.descent.set_rescue(careful)
        if change:
            self.notes.add(f"Not finite: {fault}. Back to step {self.step}, going on {change}.")
            self.save()

    def _tell(self, event: str, *facts: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *facts)
