"""Freezing, layer groups, new heads and feature taps."""

import copy

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.models.airbench import airbench
from hubel.models.lenet import lenet5
from hubel.models.resnet_cifar import resnet8
from hubel.models.surgery.freezing import freeze, freeze_groups, frozen, unfreeze
from hubel.models.surgery.groups import layer_groups
from hubel.models.surgery.head import replace_head
from hubel.models.surgery.taps import activations, taps

INPUT = (3, 16, 20)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def small(**options):
    return resnet8(classes=5, input=INPUT, widths=(8, 12, 16), **options)


def foreign():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 18, 5))


# Layer groups --------------------------------------------------------------------------------------------------


def test_groups_go_from_map_to_map_and_end_with_the_head():
    groups = layer_groups(small(), INPUT)
    assert [group.name for group in groups] == ["stem … stages.1", "stages.2", "head"]
    assert groups[2].parameters == ("head.1.weight", "head.1.bias")


@pytest.mark.parametrize(
    "network", [small(), airbench(classes=5, input=INPUT), lenet5(classes=5, input=INPUT), foreign()]
)
def test_groups_hold_every_parameter_once_and_in_order(network):
    groups = layer_groups(network, INPUT)
    assert [name for group in groups for name in group.parameters] == [name for name, _ in network.named_parameters()]


def test_a_group_is_what_its_map_needs_and_the_one_before_does_not():
    """Changing a group's parameters changes the maps from its own on, and none before it."""
    network = small().eval()
    images = torch.randn(2, *INPUT)
    before = network.maps(images)
    for i, group in enumerate(layer_groups(network, INPUT)[:-1]):
        other = copy.deepcopy(network)
        with torch.no_grad():
            for parameter in group.of(other):
                parameter.add_(0.1)
        changed = [not torch.equal(a, b) for a, b in zip(other.maps(images), before, strict=True)]
        assert changed == [False] * i + [True] * (len(before) - i)


def test_looking_for_groups_leaves_the_network_as_it_is():
    network = small().train()
    freeze(network, "stages.2")
    state = copy.deepcopy(network.state_dict())
    trained = [p.requires_grad for p in network.parameters()]
    assert [group.name for group in layer_groups(network, INPUT)] == ["stem … stages.1", "stages.2", "head"]
    assert [p.requires_grad for p in network.parameters()] == trained
    assert network.training
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_a_network_without_parameters_has_no_groups():
    with pytest.raises(UserError, match="no parameters"):
        layer_groups(nn.Sequential(nn.Flatten()), INPUT)


# Freezing ------------------------------------------------------------------------------------------------------


def step(network):
    """One step of plain descent in training mode on random images."""
    network.train()
    learning = [p for p in network.parameters() if p.requires_grad]
    network(torch.randn(6, *INPUT)).square().sum().backward()
    torch.optim.SGD(learning, 0.1).step()


@pytest.mark.parametrize("until, still", [("stages.0", ("stem",)), ("stages.2", ("stem", "stages.0", "stages.1")),
                                          ("head", ("stem", "stages"))])  # fmt: skip
def test_a_step_leaves_frozen_parts_alone_statistics_included(until, still):
    network = small()
    freeze(network, until)
    before = copy.deepcopy(network.state_dict())
    step(network)
    for name, value in network.state_dict().items():
        if name.startswith(still):
            assert torch.equal(value, before[name]), name
        elif value.numel() > 1:
            assert not torch.equal(value, before[name]), name


def test_without_a_name_everything_is_frozen():
    network = small()
    assert len(freeze(network)) == len(list(network.parameters()))
    before = copy.deepcopy(network.state_dict())
    network.train()(torch.randn(6, *INPUT))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_dropout_between_frozen_layers_drops_nothing():
    network = lenet5(classes=5, input=INPUT, dropout=0.9)
    freeze(network, "head.6")  # flatten, dense, tanh, dropout, dense, tanh | dropout and the last layer
    network.train()
    modes = {name: module.training for name, module in network.named_modules() if isinstance(module, nn.Dropout)}
    assert list(modes.values()) == [False, True]


def test_groups_are_frozen_and_a_second_call_takes_the_place_of_the_first():
    network = small()
    groups = layer_groups(network, INPUT)
    freeze_groups(network, groups[:2])
    assert not any(name.startswith("head") for name in frozen(network))
    freeze_groups(network, groups[:1])
    assert {name for name, p in network.named_parameters() if not p.requires_grad} == set(groups[0].parameters)
    network.train()
    assert not network.stages[1].training
    assert network.stages[2].training


def test_unfreezing_restores_what_was_trained_before_and_no_more():
    network = airbench(classes=5, input=INPUT)  # its measured stem is never trained
    trained = [p.requires_grad for p in network.parameters()]
    assert not all(trained)
    freeze(network)
    assert not any(p.requires_grad for p in network.parameters())
    unfreeze(network)
    assert [p.requires_grad for p in network.parameters()] == trained
    assert all(module.training for module in network.modules())
    assert frozen(network) == ()


def test_a_copy_is_frozen_too_and_on_its_own():
    network = small()
    freeze(network, "head")
    other = copy.deepcopy(network)
    unfreeze(network)
    other.train()
    network.train()
    assert network.stem.training
    assert not other.stem.training
    assert other.head.training


def test_an_unknown_part_is_told_with_the_closest():
    with pytest.raises(UserError, match=r"no part 'stage.2'. Did you mean 'stages.2'"):
        freeze(small(), "stage.2")
    with pytest.raises(UserError, match=r"no part 'xyz'. It consists of stem, stages, head"):
        freeze(small(), "xyz")


# A new head ----------------------------------------------------------------------------------------------------


def test_the_new_head_is_the_familys_own_and_the_maps_stay():
    network = small(pool="average").eval()
    images = torch.randn(2, *INPUT)
    before = network.maps(images)
    assert replace_head(network, 7) is network.head
    assert network(images).shape == (2, 7)
    assert all(torch.equal(a, b) for a, b in zip(network.maps(images), before, strict=True))
    assert not network.head.training


def test_the_new_head_has_the_number_format_of_the_old_one():
    network = small().double()
    replace_head(network, 3)
    assert network(torch.randn(2, *INPUT).double()).dtype == torch.float64


def test_an_own_head_and_a_foreign_network():
    network = small()
    replace_head(network, head=nn.Identity())
    assert len(network(torch.randn(2, *INPUT))) == 2  # the maps
    other = foreign()
    replace_head(other, 9)
    assert other(torch.randn(2, *INPUT)).shape == (2, 9)


@pytest.mark.parametrize("given", [{}, {"classes": 0}, {"classes": 2, "head": nn.Identity()}])
def test_a_head_needs_exactly_one_wish(given):
    with pytest.raises(UserError, match="head"):
        replace_head(small(), **given)
    with pytest.raises(UserError, match="no last linear layer"):
        replace_head(nn.Sequential(nn.Flatten()), 3)


# Taps ----------------------------------------------------------------------------------------------------------


def test_taps_show_what_the_parts_put_out():
    network = small().eval()
    images = torch.randn(2, *INPUT)
    with taps(network, ["stages.2", "stem"]) as seen:
        outputs = network(images)
    assert list(seen) == ["stem", "stages.2"]  # as computed
    assert torch.equal(seen["stem"], network.stem(images))
    assert torch.equal(network.head([seen["stages.2"]]), outputs)
    with torch.no_grad():
        network(torch.zeros_like(images))
    assert torch.equal(seen["stem"], network.stem(images)), "the block has ended"
    assert not any(module._forward_hooks for module in network.modules())


def test_activations_by_name():
    network = small().eval()
    images = torch.randn(2, *INPUT)
    assert torch.equal(activations(network, images, ["head"])["head"], network(images))
    with pytest.raises(UserError, match=r"no part 'heat'. Did you mean 'head'"):
        activations(network, images, ["heat"])
