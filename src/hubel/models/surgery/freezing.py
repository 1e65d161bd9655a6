"""Freezing: parameters that keep their numbers, in layers that keep their evaluation mode.

A frozen layer computes one fixed function: its parameters need no gradient, its batch norm uses the running
statistics and leaves them alone, its dropout drops nothing, also after `network.train()`. So its outputs can be
computed once and kept. The state belongs to the network: a copy of it is frozen, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from types import MethodType

from torch import nn

from hubel.models.surgery.groups import LayerGroup
from hubel.models.surgery.named import named_part


def freeze(network: nn.Module, until: str | None = None) -> tuple[str, ...]:
    """Freeze every layer that comes before the module `until`, by name, or all of them; others learn.

    `freeze(network, "head")` leaves the head to learn, `freeze(network, "stages.2")` that stage and what follows it.
    The order is that in which the modules were registered. In most networks they run in it; DenseNet registers its
    transitions behind all blocks, and what runs side by side has no order: `freeze_groups` goes by what depends on
    what, and is right everywhere. Returns the names of the frozen parameters; what was fixed before (a measured
    whitening) is not among them. Raises UserError for an unknown name.
    """
    every = {name for name, _ in network.named_parameters()}
    return _freeze(network, every if until is None else _before(network, until), until)


def freeze_groups(network: nn.Module, groups: Iterable[LayerGroup]) -> tuple[str, ...]:
    """Freeze these layer groups, and let the others learn: `freeze_groups(network, groups[:-1])` trains the head."""
    return _freeze(network, {name for group in groups for name in group.parameters})


def keep_statistics(network: nn.Module, names: Collection[str]) -> None:
    """Batch norms whose parameters are among `names` stay in evaluation mode, also after `network.train()`.

    Their weights may learn; their running statistics are used and left alone. `unfreeze` undoes it.
    """
    chosen = set(names)
    for label, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and f"{label}.weight" in chosen:
            module.eval()
            module.train = MethodType(_stay, module)  # type: ignore[method-assign]


def unfreeze(network: nn.Module) -> None:
    """Undo `freeze` and `freeze_groups`; layers take the mode, training or evaluation, of the whole network."""
    for module in network.modules():
        module.__dict__.pop("train", None)
    own = dict(network.named_parameters())
    for name in network.__dict__.pop("frozen", ()):
        if name in own:  # its layer may have been replaced
            own[name].requires_grad_(True)
    network.train(network.training)


def frozen(network: nn.Module) -> tuple[str, ...]:
    """The names of the parameters that `freeze` or `freeze_groups` froze."""
    return network.__dict__.get("frozen", ())


def _before(network: nn.Module, until: str) -> set[str]:
    named_part(network, until)
    found = set()
    for label, module in network.named_modules():
        if label == until:
            break
        found |= {f"{label}.{name}" if label else name for name, _ in module.named_parameters(recurse=False)}
    return found


def _freeze(network: nn.Module, names: Collection[str], until: str | None = None) -> tuple[str, ...]:
    unfreeze(network)
    changed = [(name, p) for name, p in network.named_parameters() if name in names and p.requires_grad]
    for _, parameter in changed:
        parameter.requires_grad_(False)
    network.__dict__["frozen"] = tuple(name for name, _ in changed)
    still = _still(network, names, until)
    for module in list(network.modules())[1:]:  # the network itself keeps the mode that it is given
        learns = any(parameter.requires_grad for parameter in module.parameters())
        if not learns and all(id(leaf) in still for leaf in _leaves(module)):
            module.eval()
            module.train = MethodType(_stay, module)  # type: ignore[method-assign]
    return frozen(network)


def _still(network: nn.Module, names: Collection[str], until: str | None) -> set[int]:
    """Layers that compute a fixed function. One without parameters (dropout) goes with the one before it."""
    found, last = set(), False
    for label, module in network.named_modules():
        own = [f"{label}.{name}" if label else name for name, _ in module.named_parameters(recurse=False)]
        last = label != until and (all(name in names for name in own) if own else last)
        if last and not list(module.children()):
            found.add(id(module))
    return found


def _leaves(module: nn.Module) -> list[nn.Module]:
    return [inner for inner in module.modules() if not list(inner.children())]


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    """In place of `train`: a frozen layer stays in evaluation mode."""
    return module
