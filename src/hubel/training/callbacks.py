"""What can listen to a training: callbacks (see and may stop it) and loggers (three methods, numbers only)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hubel.options import flatten

if TYPE_CHECKING:
    from hubel.training.loop import Loop


class Callback:
    """Override what you need. Setting `loop.stop = True` ends the training after the current step."""

    def on_start(self, loop: Loop) -> None:
        """Before the first step, and before the first step after a resume."""

    def on_step(self, loop: Loop, losses: Mapping[str, Any]) -> None:
        """After each step; `losses` are the terms' values as tensors on the device."""

    def on_epoch(self, loop: Loop, row: Mapping[str, Any]) -> None:
        """After each epoch, with its row of the history."""

    def on_end(self, loop: Loop) -> None:
        """After the last step, also when the training is interrupted."""


class Logger(Protocol):
    """Another tracker of experiments."""

    def start(self, settings: Mapping[str, Any], folder: Path) -> None:
        """`settings`: each effective option by its dotted name, {"epochs": 10, "optimizer.lr": 0.1, …}."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """After each epoch: its row of the history, {"train.loss": 0.3, "dev.accuracy": 0.9, …}."""

    def finish(self) -> None:
        """After the last step, also when the training is interrupted."""


class TensorBoard:
    """Scalars for TensorBoard, in the run folder's `tensorboard/`. Needs the extra `hubel[tensorboard]`."""

    def start(self, settings: Mapping[str, Any], folder: Path) -> None:
        from hubel.errors import UserError

        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as fault:
            raise UserError(
                "--log tensorboard needs the package tensorboard: pip install 'hubel[tensorboard]'"
            ) from fault
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, number in values.items():
            self._writer.add_scalar(name.replace(".", "/"), number, step)

    def finish(self) -> None:
        self._writer.close()


class LogTo(Callback):
    """Feeds a logger from the history, once an epoch."""

    def __init__(self, logger: Logger):
        self.logger = logger

    def on_start(self, loop: Loop) -> None:
        self.logger.start(flatten(loop.recipe), loop.folder)

    def on_epoch(self, loop: Loop, row: Mapping[str, Any]) -> None:
        self.logger.log(loop.step, {k: float(v) for k, v in row.items() if isinstance(v, (int, float))})

    def on_end(self, loop: Loop) -> None:
        self.logger.finish()
