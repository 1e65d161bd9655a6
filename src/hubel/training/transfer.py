"""What learns when, in a training that begins with weights of another one: stages, each with a rate for each group.

    all        every group, from the first epoch on                       (1, 1, … 1)
    head       the head alone, on frozen features                         (0, 0, … 1)
    staged     the head; then every group at a tenth of its rate          (0, 0, … 1), (f, f, … f)
    two_rates  the head; then it at its own rate, the rest at a tenth     (0, 0, … 1), (f, f, … 1)
    groups     the head; then rates that fall towards the input           (0, 0, … 1), (… d², d, 1)
    unfreeze   the head; then one group more from stage to stage          (0, 0, … 1), (0, f, … f), (f, f, … f)

The head's random weights would send a large gradient through layers that are good already: so it learns first, alone.
A frozen layer is in evaluation mode. Batch norms that came with weights keep their running statistics in every stage:
few images, in small batches, would measure worse ones, and what reads them was trained with these. Each stage has an
optimiser of its own. Stages after the first share one schedule; the first has its own.
arXiv:1411.1792 (what transfers), arXiv:1801.06146 (groups and unfreezing, there for text).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from hubel.errors import UserError
from hubel.models.surgery.freezing import freeze_groups, keep_statistics, unfreeze
from hubel.models.surgery.groups import LayerGroup, layer_groups
from hubel.recipe import Recipe, ScheduleOptions, TransferOptions
from hubel.training.feature_cut import cut_of, obstacle
from hubel.training.features import Features
from hubel.training.feed import Data
from hubel.training.schedule import create_schedule

FACTOR, DECAY, HEAD_EPOCHS = 0.1, 0.4, 5  # where the options are left open
TELLS = "From epoch"  # how a note begins that says what learns when


@dataclass(frozen=True)
class Stage:
    """Epochs in which the same groups learn. `rates`: of each group, as a share; 0 is frozen."""

    epochs: int
    rates: tuple[float, ...]


def stages_of(options: TransferOptions, epochs: int, groups: int) -> tuple[Stage, ...]:
    """The stages of a strategy over `groups` groups, the last of which is the head; see the module.

    Raises UserError where no epoch is left after the head's.
    """
    name, alone = options.name or "all", (0.0,) * (groups - 1) + (1.0,)
    if name == "all":
        return (Stage(epochs, (1.0,) * groups),)
    if name == "head":
        return (Stage(epochs, alone),)
    first = HEAD_EPOCHS if options.head_epochs is None else options.head_epochs
    if first >= epochs:
        raise UserError(
            f"The strategy '{name}' trains the head alone for {first} epochs, then other layers too, but the training "
            f"has {epochs}. Give it more --epochs, fewer --transfer.head_epochs, or choose --transfer head."
        )
    factor = FACTOR if options.factor is None else options.factor
    if name == "groups":
        decay = DECAY if options.decay is None else options.decay
        return Stage(first, alone), Stage(epochs - first, tuple(decay ** (groups - 1 - i) for i in range(groups)))
    if name == "two_rates":
        return Stage(first, alone), Stage(epochs - first, (*(factor,) * (groups - 1), 1.0))
    if name == "staged":
        return Stage(first, alone), Stage(epochs - first, (factor,) * groups)
    return _unfreezing(first, epochs, groups, factor)


def _unfreezing(each: int, epochs: int, groups: int, factor: float) -> tuple[Stage, ...]:
    """A group more after each `each` epochs; the last stage has the rest, whether all groups learn by then or not."""
    found, left = [], epochs
    for learning in range(1, groups + 1):
        length = left if learning == groups else min(each, left)
        share = 1.0 if learning == 1 else factor
        found.append(Stage(length, (0.0,) * (groups - learning) + (share,) * learning))
        left -= length
        if not left:
            break
    return tuple(found)


def head_names(network: nn.Module, fresh: Sequence[str]) -> tuple[str, ...]:
    """The parameters that learn alone at first: those that came with no weights, else the last layer's."""
    own = [name for name, p in network.named_parameters() if p.requires_grad]
    if fresh:
        chosen = set(fresh)
        return tuple(name for name in own if name in chosen)
    last = own[-1].rpartition(".")[0] if own else ""
    return tuple(name for name in own if name.rpartition(".")[0] == last)


def transfer_groups(
    network: nn.Module, strategy: str, head: Sequence[str], shape: tuple[int, int, int]
) -> tuple[LayerGroup, ...]:
    """Groups from input to output, the last one the head; before it one for all, or those of the network's maps."""
    chosen = set(head)
    if strategy in ("groups", "unfreeze"):
        found = layer_groups(network, shape)
    else:
        found = (LayerGroup("all before the head", tuple(name for name, _ in network.named_parameters())),)
    without = [replace(g, parameters=tuple(n for n in g.parameters if n not in chosen)) for g in found]
    left = [group for group in without if group.parameters]
    if not left or left[-1].name != "head":
        return *left, LayerGroup("the head", tuple(head))
    return *left[:-1], replace(left[-1], name="the head's first layers"), LayerGroup("its last layers", tuple(head))


class Course:
    """The stages of one training. `begin` gives the module and the data that a stage trains on."""

    def __init__(
        self, network: nn.Module, data: Data, stages: Sequence[Stage], groups: Sequence[LayerGroup] = (),
        features: Features | None = None,
    ):  # fmt: skip
        self.network, self.data, self.stages, self.groups = network, data, tuple(stages), tuple(groups)
        self.features = features

    @classmethod
    def plain(cls, network: nn.Module, data: Data, epochs: int) -> Course:
        return cls(network, data, (Stage(epochs, ()),))

    def at(self, epoch: int) -> int:
        """The stage of an epoch (0-based); the last one from its beginning on."""
        end = 0
        for number, stage in enumerate(self.stages):
            end += stage.epochs
            if epoch < end:
                return number
        return len(self.stages) - 1

    def is_last(self, number: int) -> bool:
        return number == len(self.stages) - 1

    def begin(self, number: int) -> tuple[nn.Module, Data]:
        """Freeze and release what the stage says; the network with images, or its head with the features before it."""
        self._release(self.network, number)
        if self.features is not None and self.on_features(number):
            return self.features.learner, self.features.data
        return self.network, self.data

    def _release(self, network: nn.Module, number: int) -> None:
        unfreeze(network)
        still = [group for group, rate in zip(self.groups, self.stages[number].rates, strict=True) if not rate]
        if still:
            freeze_groups(network, still)
        keep_statistics(network, [name for group in self.groups[:-1] for name in group.parameters])

    def learner_in(self, number: int) -> nn.Module:
        """What learns in a stage, on features or a copy of the network, without beginning the stage."""
        if self.features is not None and self.on_features(number):
            return self.features.learner
        network = copy.deepcopy(self.network)
        self._release(network, number)
        return network

    def on_features(self, number: int) -> bool:
        """Does only the head learn in this stage, and are the features before it kept?"""
        return self.features is not None and not any(self.stages[number].rates[:-1])

    def rates(self, number: int) -> Mapping[int, float]:
        """{id of a parameter: its rate, as a share}; empty where all have one."""
        found: dict[int, float] = {}
        for group, rate in zip(self.groups, self.stages[number].rates, strict=True):
            found |= {id(p): rate for p in group.of(self.network)}
        return found

    def schedule(self, options: ScheduleOptions, steps_per_epoch: int) -> Callable[[int], float]:
        """The factor of the rates at each step: one schedule over the first stage, one over the others together."""
        lengths = [stage.epochs for stage in self.stages]
        first = lengths[0] * steps_per_epoch
        head = create_schedule(options if len(lengths) == 1 else _short(options, lengths[0]), first, steps_per_epoch)
        if len(lengths) == 1:
            return head
        rest = create_schedule(options, sum(lengths[1:]) * steps_per_epoch, steps_per_epoch)
        return lambda step: head(step) if step < first else rest(step - first)

    def sentences(self, number: int) -> list[str]:
        """What learns in a stage, for people; none where everything does all the time."""
        if not self.groups or len(set(self.stages[0].rates)) == 1 == len(self.stages):
            return []
        stage, start = self.stages[number], sum(s.epochs for s in self.stages[:number])
        own = dict(self.network.named_parameters())
        live = [(g, r) for g, r in zip(self.groups, stage.rates, strict=True) if r]
        count = sum(own[name].numel() for group, _ in live for name in group.parameters)
        rates = ", ".join(f"{group.name} × {rate:.3g}" for group, rate in live)
        still = sum(p.numel() for p in own.values()) - count
        kept = ", their features kept" if self.on_features(number) else ""
        rest = f"; {still:,} are frozen{kept}" if still else ""
        return [f"{TELLS} {start + 1} on {count:,} parameters learn ({rates}){rest}."]


def _short(options: ScheduleOptions, epochs: int) -> ScheduleOptions:
    """The head's own stage: a warm-up that is longer than half of it is cut."""
    return options if options.warmup is None else replace(options, warmup=min(options.warmup, epochs / 2))


def course_of(
    network: nn.Module,
    data: Data,
    recipe: Recipe,
    shape: tuple[int, int, int],
    fresh: Sequence[str] | None,
    say: Callable[[str], Any],
) -> Course:
    """The course that the recipe asks for. `fresh`: the parameters that came with no weights; None: none of them did.

    Raises UserError where a strategy needs weights and there are none.
    """
    options, epochs = recipe.transfer, recipe.epochs or 1
    if options.name in (None, "all"):
        return Course.plain(network, data, epochs)
    if fresh is None:
        raise UserError(
            f"--transfer {options.name} goes on from weights of another training, and there are none. Give --weights "
            "(a file, lite0, torchvision …) or --from RUN."
        )
    head = head_names(network, fresh)
    groups = transfer_groups(network, options.name or "all", head, shape)
    if len(groups) < 2:
        return Course.plain(network, data, epochs)  # nothing came with the weights but the head
    cut = cut_of(network, head)
    why_not = obstacle(network, cut, data, options.views) if options.views else ""
    if why_not:
        say(f"No features are kept, since {why_not}: the frozen layers run in every epoch")
    kept = options.views and not why_not
    features = Features(network, cut or 0, data, recipe, options.views or 1, say) if kept else None
    return Course(network, data, stages_of(options, epochs, len(groups)), groups, features)
