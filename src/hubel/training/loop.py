"""The loop: epochs of steps; what is measured, saved and mended on the way. The same for every task and network.

A step is: rate from the schedule, gradient (training/step.py), limits on it, update, running average. Everything that
the next step depends on is in `state()`, so that a resumed training is bit for bit the one that never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.data.dataset import Dataset
from hubel.data.loader import Loader
from hubel.data.order import epoch_order
from hubel.errors import UserError
from hubel.recipe import Recipe
from hubel.tasks.base import Metric, Task
from hubel.training import checkpoint, distributed
from hubel.training.callbacks import Callback
from hubel.training.descent import Descent
from hubel.training.ema import EMA
from hubel.training.evaluate import evaluate
from hubel.training.monitor import NotFiniteError, is_finite
from hubel.training.random_state import interrupts, random_state, set_random_state
from hubel.training.schedule import create_schedule
from hubel.types import Batch

SAVE_SECONDS = 300  # a checkpoint at least so often, whatever the length of an epoch
LOOK_EVERY = 50  # steps between looks at the loss on a GPU, where each look makes it wait


@dataclass(frozen=True)
class Data:
    """The parts of a dataset that a training reads, and how."""

    dataset: Dataset
    train: Loader  # augmented
    plain: Loader  # not augmented: evaluation
    splits: Mapping[str, np.ndarray]  # positions; "train" is learnt from, "dev" decides
    draw_weights: np.ndarray | None = None  # (n_train,) how often each is drawn, for --balance sampler


class Loop:
    """Trains `network` on `task`; `folder` receives checkpoints and the history is told to the callbacks."""

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        data: Data,
        recipe: Recipe,
        folder: Path,
        *,
        device: torch.device,
        callbacks: Sequence[Callback] = (),
    ):
        self.network, self.task, self.data, self.recipe, self.folder = network, task, data, recipe, folder
        self.device, self.callbacks = device, list(callbacks)
        self.batch_size = recipe.batch_size or len(data.splits["train"])
        # one image alone has no batch statistics, so a last batch that leaves a process with one is left out
        n = len(self._order(0))  # a task's own order may leave examples out
        least = 2 * distributed.world() if has_batch_statistics(network) else 1
        self.drop_last = n > self.batch_size >= least and 0 < n % self.batch_size < least
        self.steps_per_epoch = data.train.count(n, self.batch_size, self.drop_last)
        self.schedule = create_schedule(
            recipe.schedule, (recipe.epochs or 1) * self.steps_per_epoch, self.steps_per_epoch
        )
        self.descent = Descent(network, task, recipe, device, self.note)
        self.ema = EMA(network, recipe.regularize.ema) if recipe.regularize.ema else None
        self.stop = False
        self.interrupted: list[int] = []
        self.epoch = self.batch = self.step = 0
        self.best: float | None = None
        self.best_epoch = self.bad_epochs = 0
        self.history: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self._lost: set[str] = set()
        self._begin_epoch()

    # The outer loop ---------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train until the last epoch, an early stop or `self.stop`; saves on the way and when interrupted."""
        self._tell("on_start")
        if self.step == 0:
            self.save()
        try:
            with interrupts() as self.interrupted:
                while self.epoch < (self.recipe.epochs or 1) and not self.stop:
                    try:
                        self._run_epoch()
                    except NotFiniteError as fault:
                        self._recover(fault)
        finally:
            self._tell("on_end")

    def _run_epoch(self) -> None:
        self.network.train()
        order = self._order(self.epoch)
        shard = (distributed.rank(), distributed.world())
        batches = self.data.train.batches(
            order, self.epoch, self.batch_size, start=self.batch, shard=shard, drop_last=self.drop_last
        )
        for batch in batches:
            losses = self._step(batch)
            self.batch += 1
            self.step += 1
            if self.step % LOOK_EVERY == 0:
                self._look()
            for callback in self.callbacks:
                callback.on_step(self, losses)
            if self.batch < self.steps_per_epoch:
                self._maybe_save()
                if self._told_to_stop():
                    return
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

    def _order(self, epoch: int) -> np.ndarray:
        index = self.data.splits["train"]
        own = self.task.order(self.data.dataset, index, epoch, self.recipe.seed)
        if own is not None:
            return own
        weights, sampling = self.data.draw_weights, self.recipe.sampling
        return epoch_order(
            index, epoch, self.recipe.seed, "replacement" if weights is not None else sampling, weights=weights
        )

    # One step ---------------------------------------------------------------------------------------------

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        losses = self.descent.step(batch, self.schedule(self.step), self.step)
        if self.ema is not None:
            self.ema.update(self.network)
        self._measure(batch, losses)
        return losses

    def autocast(self) -> AbstractContextManager:
        return self.descent.autocast()

    # Measuring --------------------------------------------------------------------------------------------

    def _begin_epoch(self) -> None:
        self.batch = 0
        self._sums: dict[str, Tensor] = {}
        self._train_metric = self.task.train_metric()
        self._measured = 0
        self._images = 0
        self._started = self._saved = time.monotonic()
        self.data.train.wait_seconds = 0.0

    def _measure(self, batch: Batch, losses: Mapping[str, Tensor]) -> None:
        for name, loss in losses.items():
            before, now = self._sums.get(name), loss.detach().float()
            self._sums[name] = now if before is None else before + now
        self._images += len(batch) * distributed.world()
        outputs = self.descent.outputs(len(batch))
        if outputs is not None:
            with torch.no_grad():
                found = self.task.predict(self.network, batch, outputs)
                self._train_metric.update(found, batch.targets, batch.weights)
            self._measured += 1

    def _look(self) -> None:
        """Raise NotFiniteError where a loss since the epoch's start was not finite."""
        if not all(bool(torch.isfinite(loss)) for loss in self._sums.values()):
            raise NotFiniteError("the loss is not finite", self.step)

    def _end_epoch(self) -> None:
        self._look()
        rates = {"images_per_second": self.images_per_second(), "wait_share": self.wait_share()}
        row: dict[str, Any] = {"epoch": self.epoch + 1, "step": self.step, "lr": self._rate()}
        row |= {f"train.{name}": float(loss) / max(self.batch, 1) for name, loss in self._sums.items()}
        row["train.loss"] = sum(float(loss) for loss in self._sums.values()) / max(self.batch, 1)
        if self._measured:
            scores = merged(self.task, self._train_metric).compute()
            row |= {f"train.{name}": value for name, value in scores.items() if name != "loss"}
        row |= {f"dev.{name}": value for name, value in self.score("dev").items()} if self._has_dev() else {}
        row |= {"seconds": time.monotonic() - self._started, **rates}
        self.history.append(row)
        self.epoch += 1
        self._note_lost_files()
        self._judge(row)
        self._begin_epoch()
        self.save()
        for callback in self.callbacks:
            callback.on_epoch(self, row)
        if distributed.anywhere(bool(self.interrupted), self.device):
            raise KeyboardInterrupt

    def _note_lost_files(self) -> None:
        """Files that were whole before the training and can't be read any more: they count for nothing."""
        failed = {**self.data.train.failed, **self.data.plain.failed}
        for name in failed.keys() - self._lost:
            self.note(f"{name} could not be read in epoch {self.epoch} ({failed[name]}); it counts for nothing.")
        self._lost |= failed.keys()

    def images_per_second(self) -> float:
        """In this epoch so far."""
        return self._images / max(time.monotonic() - self._started, 1e-9)

    def wait_share(self) -> float:
        """The share of this epoch's time that went into waiting for data, in [0, 1]."""
        return min(self.data.train.wait_seconds / max(time.monotonic() - self._started, 1e-9), 1.0)

    def _has_dev(self) -> bool:
        return len(self.data.splits.get("dev", ())) > 0

    def _rate(self) -> float:
        return self.descent.rate()

    def score(self, split: str) -> dict[str, float]:
        """Metrics of the weights as they would be kept now (the running average where there is one)."""
        with self.averaged():
            return evaluate(
                self.network, self.task, self.batches_of(split), views="single", autocast=self.autocast
            ).metrics

    def batches_of(self, split: str) -> Iterator[Batch]:
        size = self.descent.micro_batch or max(self.batch_size, min(4 * self.batch_size, 512))
        shard = (distributed.rank(), distributed.world())
        return self.data.plain.batches(self.data.splits[split], 0, size, shard=shard)

    def averaged(self) -> AbstractContextManager:
        return self.ema.swap(self.network) if self.ema is not None else nullcontext()

    def _judge(self, row: Mapping[str, Any]) -> None:
        """Keep the weights where the dev score is the best so far; stop when it has not been for too long."""
        objective = self.task.primary
        score = row.get(f"dev.{objective.metric}")
        if score is None:
            return
        if objective.better(score, self.best):
            self.best, self.best_epoch, self.bad_epochs = score, self.epoch, 0
            self._save_weights("best")
            return
        self.bad_epochs += 1
        if self._waited_enough():
            self.note(
                f"Stopped after epoch {self.epoch}: dev {objective.metric} has not improved for {self.bad_epochs} "
                f"epochs; the best weights are those of epoch {self.best_epoch}."
            )
            self.stop = True

    def _waited_enough(self) -> bool:
        patience = self.recipe.regularize.patience
        return patience is not None and self.bad_epochs >= patience

    # Saving and coming back -------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "network": dict(self.network.state_dict()),
            **self.descent.state(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "position": {"epoch": self.epoch, "batch": self.batch, "step": self.step},
            "best": {"score": self.best, "epoch": self.best_epoch, "bad_epochs": self.bad_epochs},
            "epoch": {"sums": self._sums, "images": self._images, "measured": self._measured},
            "metric": distributed.gather(self._train_metric.state()),
            "history": self.history,
            "notes": self.notes,
            "random": distributed.gather(random_state(self.device)),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave. Raises UserError where it was written by another number of processes."""
        if len(state["random"]) != distributed.world():
            raise UserError(
                f"This training ran in {len(state['random'])} processes and this is {distributed.world()}: its batches "
                "would be cut in other places. Start it with as many: torchrun --nproc-per-node N -m hubel resume …"
            )
        self.network.load_state_dict(state["network"])
        self.descent.restore(state)
        if self.ema is not None and state["ema"] is not None:
            self.ema.load_state_dict(state["ema"])
        self._begin_epoch()
        self.epoch, self.batch, self.step = (state["position"][k] for k in ("epoch", "batch", "step"))
        self.best, self.best_epoch, self.bad_epochs = (state["best"][k] for k in ("score", "epoch", "bad_epochs"))
        self._sums = {name: loss.to(self.device) for name, loss in state["epoch"]["sums"].items()}
        self._images, self._measured = state["epoch"]["images"], state["epoch"]["measured"]
        self._train_metric.load(state["metric"][distributed.rank()])
        self.history, self.notes = list(state["history"]), list(state["notes"])
        self.stop = self._waited_enough()  # killed between an early stop and the run's last judgement
        set_random_state(state["random"][distributed.rank()], self.device)

    def save(self) -> None:
        """Checkpoint for resuming; never of weights that are not finite, so that there is a way back."""
        if not is_finite(list(self.network.parameters())):
            raise NotFiniteError("a weight is not finite", self.step)
        state = self.state()  # every process brings its part
        if distributed.is_main():
            checkpoint.save(self.folder / "checkpoints" / "last", state)
        self._saved = time.monotonic()
        distributed.barrier()

    def _maybe_save(self) -> None:
        every = self.recipe.save_every
        due = every is not None and self.step % every == 0
        if due or (distributed.world() == 1 and time.monotonic() - self._saved > SAVE_SECONDS):
            self.save()

    def _save_weights(self, name: str) -> None:
        if distributed.is_main():
            with self.averaged():
                state = {"network": dict(self.network.state_dict()), "epoch": self.epoch, "score": self.best}
                checkpoint.save(self.folder / "checkpoints" / name, state, keep=1)

    def _recover(self, fault: NotFiniteError) -> None:
        """Back to the last good checkpoint: in fp32, then once at a tenth of the rate, then give up.

        Where losses were not looked at before each step, the same way again with open eyes comes first.
        """
        change = self.descent.more_careful(fault)
        careful = self.descent.rescue()
        self.restore(checkpoint.load(self.folder / "checkpoints" / "last"))
        self.descent.set_rescue(careful)
        if change:
            self.note(f"Not finite: {fault}. Back to step {self.step}, going on {change}.")
            self.save()

    def note(self, text: str) -> None:
        self.notes.append(text)
        for callback in self.callbacks:
            if hasattr(callback, "say"):
                callback.say(text)

    def _tell(self, event: str) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self)


def has_batch_statistics(network: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def merged(task: Task, metric: Metric) -> Metric:
    """What all processes saw."""
    if distributed.world() == 1:
        return metric
    whole = task.train_metric()
    for state in distributed.gather(metric.state()):
        whole.merge(state)
    return whole
