"""The learning rate over time: a factor of its peak, a pure function of the step t = 0, 1, ... n - 1.

With e the epochs since the warm-up and x = t / n in [0, 1] the share of the steps since the warm-up:

    constant     1
    inverse      1 / (1 + gamma * e)
    step         gamma ^ floor(e / every)
    exponential  gamma ^ e                                     (continuous; gamma per epoch)
    cosine       final + (1 - final) * (1 + cos(pi * x)) / 2   (arXiv:1608.03983)
    linear       final + (1 - final) * (1 - x)
    cyclic       cosine in each of `cycles` equal parts of the training: the rate starts anew at 1 (arXiv:1704.00109)
    onecycle     cosine from 1/25 up to 1 at `peak`, cosine down to `final` at the last step (arXiv:1708.07120)

Warm-up over w steps: (t + 1) / (w + 1), the shape begins when it is over. Cosine and linear would reach `final` at
step n, the first one that isn't taken, so that no step is wasted on a rate of zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hubel.errors import UserError

if TYPE_CHECKING:
    from hubel.recipe import ScheduleOptions

ONECYCLE_START = 1 / 25
CYCLES = 5  # where the option is left open, fewer in fewer steps
FALLING = ("cosine", "linear", "cyclic", "onecycle")  # down to `final`, whatever the length
GAMMA = {"inverse": 1.0, "step": 0.1, "exponential": 0.95}  # where the option is left open


@dataclass(frozen=True)
class Shape:
    """What a shape may look at: its numbers, and how long the training is after the warm-up."""

    steps: int
    steps_per_epoch: int
    gamma: float
    every: float  # epochs
    final: float
    peak: float
    cycles: int


def create_schedule(options: ScheduleOptions, total_steps: int, steps_per_epoch: int) -> Schedule:
    """The factor of the rate at each step (0-based), in [0, 1] unless gamma is above 1.

    Steps past the end get what the last one gets. Raises UserError for a warm-up that is longer than the training.
    """
    name = options.name or "constant"
    warmup = 0 if name == "onecycle" else round((options.warmup or 0.0) * steps_per_epoch)
    if warmup and warmup >= total_steps:
        raise UserError(f"Option 'schedule.warmup' is {options.warmup:g} epochs, but the training has only "
                        f"{total_steps / steps_per_epoch:g}. Give it more epochs or less warm-up.")  # fmt: skip
    steps = max(total_steps - warmup, 1)
    shape = Shape(
        steps,
        steps_per_epoch,
        gamma=GAMMA.get(name, 1.0) if options.gamma is None else options.gamma,
        every=max(steps / steps_per_epoch / 3, 1) if options.every is None else options.every,
        final=options.final or 0.0,
        peak=0.3 if options.peak is None else options.peak,
        cycles=options.cycles or min(CYCLES, steps),
    )
    if name == "cyclic" and shape.cycles > steps:
        raise UserError(f"Option 'schedule.cycles' is {shape.cycles}, but the training has only {steps} steps.")
    return Schedule(name, shape, warmup)


@dataclass(frozen=True)
class Schedule:
    """Warm-up, then a shape. Calling it gives the factor at a step."""

    name: str
    shape: Shape
    warmup: int

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        return SHAPES[self.name](self.shape, min(step - self.warmup, self.shape.steps))

    def cycle_ending(self, step: int) -> int:
        """The number, from 1, of the cycle whose last step this is; 0 for other steps and schedules."""
        t = step - self.warmup
        if self.name != "cyclic" or not 0 <= t < self.shape.steps:
            return 0
        number = _cycle(self.shape, t)
        return number + 1 if t + 1 == _start(self.shape, number + 1) else 0


def _inverse(shape: Shape, t: int) -> float:
    return 1 / (1 + shape.gamma * t / shape.steps_per_epoch)


def _step(shape: Shape, t: int) -> float:
    # a whole number of steps, so that rounding can't move a drop by one
    return shape.gamma ** (t // max(round(shape.every * shape.steps_per_epoch), 1))


def _exponential(shape: Shape, t: int) -> float:
    return shape.gamma ** (t / shape.steps_per_epoch)


def _cosine(shape: Shape, t: int) -> float:
    return _between(1, shape.final, t / shape.steps)


def _linear(shape: Shape, t: int) -> float:
    return 1 + (shape.final - 1) * t / shape.steps


def _cycle(shape: Shape, t: int) -> int:
    """The cycle, from 0, that step t belongs to."""
    return min(t * shape.cycles // shape.steps, shape.cycles - 1)


def _start(shape: Shape, cycle: int) -> int:
    """Its first step."""
    return -(-cycle * shape.steps // shape.cycles)


def _cyclic(shape: Shape, t: int) -> float:
    start, end = (_start(shape, _cycle(shape, t) + i) for i in (0, 1))
    return _between(1, shape.final, (t - start) / (end - start))


def _onecycle(shape: Shape, t: int) -> float:
    last, top = shape.steps - 1, max(shape.peak * shape.steps - 1, 0)
    if t < top:
        return _between(ONECYCLE_START, 1, t / top)
    return _between(1, shape.final, min((t - top) / max(last - top, 1e-9), 1))


def _between(a: float, b: float, x: float) -> float:
    """Half a cosine from a at x = 0 to b at x = 1."""
    return b + (a - b) * (1 + math.cos(math.pi * x)) / 2


SHAPES: dict[str, Callable[[Shape, int], float]] = {
    "constant": lambda shape, t: 1.0,
    "inverse": _inverse,
    "step": _step,
    "exponential": _exponential,
    "cosine": _cosine,
    "linear": _linear,
    "onecycle": _onecycle,
    "cyclic": _cyclic,
}
