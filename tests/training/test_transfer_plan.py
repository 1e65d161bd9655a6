"""Transfer on paper: the stages of each strategy, their rates and names, and what is chosen by the amount of data."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.models.resnet_cifar import resnet8
from hubel.recipe import OptimizerOptions, ScheduleOptions, TransferOptions
from hubel.training import auto, auto_transfer
from hubel.training.optim import create_optimizer
from hubel.training.transfer import Course, stages_of, transfer_groups

KINDS = ("head", "staged", "two_rates", "groups", "unfreeze")


@pytest.mark.parametrize(("options", "wanted"), [
    ({"name": "all"}, [(9, (1, 1, 1))]),
    ({"name": "head"}, [(9, (0, 0, 1))]),
    ({"name": "staged", "head_epochs": 4}, [(4, (0, 0, 1)), (5, (0.1, 0.1, 0.1))]),
    ({"name": "staged", "head_epochs": 2, "factor": 0.5}, [(2, (0, 0, 1)), (7, (0.5, 0.5, 0.5))]),
    ({"name": "two_rates", "head_epochs": 3, "factor": 0.2}, [(3, (0, 0, 1)), (6, (0.2, 0.2, 1))]),
    ({"name": "groups", "head_epochs": 1, "decay": 0.5}, [(1, (0, 0, 1)), (8, (0.25, 0.5, 1))]),
    ({"name": "unfreeze", "head_epochs": 2}, [(2, (0, 0, 1)), (2, (0, 0.1, 0.1)), (5, (0.1, 0.1, 0.1))]),
    ({"name": "unfreeze", "head_epochs": 6}, [(6, (0, 0, 1)), (3, (0, 0.1, 0.1))]),
])  # fmt: skip
def test_stages(options, wanted):
    found = stages_of(TransferOptions(**options), 9, 3)
    assert [(stage.epochs, stage.rates) for stage in found] == wanted


def test_more_epochs_lengthen_the_last_stage_only():
    """A resume with more of them begins no stage anew."""
    for name in KINDS:
        short, long = (stages_of(TransferOptions(name, 2), epochs, 3) for epochs in (9, 20))
        assert [(s.epochs, s.rates) for s in short[:-1]] == [(s.epochs, s.rates) for s in long[:-1]]
        assert short[-1].rates == long[-1].rates and sum(s.epochs for s in long) == 20


def test_no_epoch_left_for_the_other_layers():
    with pytest.raises(UserError, match=r"head alone for 3 epochs.*has 3"):
        stages_of(TransferOptions("staged", 3), 3, 2)


def test_the_stages_after_the_first_share_a_schedule():
    network = resnet8(classes=3, input=(1, 8, 8), widths=(4,))
    course = Course(network, None, stages_of(TransferOptions("unfreeze", 2), 8, 2), ())
    rate = course.schedule(ScheduleOptions("linear"), 10)
    assert [rate(0), rate(10), rate(20), rate(50)] == [1, 0.5, 1, 0.5]
    assert [course.at(epoch) for epoch in (0, 1, 2, 7, 8, 99)] == [0, 0, 1, 1, 1, 1]


def test_no_two_groups_have_one_name():
    network = resnet8(classes=3, input=(1, 8, 8), widths=(4,))
    network.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5), nn.Linear(5, 3))
    alone = transfer_groups(
        network, "groups", ("head.2.weight", "head.2.bias", "head.3.weight", "head.3.bias"), (1, 8, 8)
    )
    assert [group.name for group in alone][-1] == "the head" and not any("first" in group.name for group in alone)
    cut = transfer_groups(network, "groups", ("head.3.weight", "head.3.bias"), (1, 8, 8))
    assert [group.name for group in cut][-2:] == ["the head's first layers", "its last layers"]


def test_the_choice_by_the_amount_of_data():
    def chosen(n, classes, **given):
        return auto_transfer.strategy(n, classes, {"weights": "lite0", **given}.get)[0]

    few = auto_transfer.HEAD_BELOW
    assert (chosen(few * 10 - 1, 10), chosen(few * 10, 10)) == ("head", "staged")
    assert (chosen(100, 0), chosen(10_000, 0)) == ("head", "staged")
    assert chosen(10, 2, weights=None) == "all"
    assert auto_transfer.strategy(150, 11, {"weights": "lite0"}.get, dense=True)[0] == "two_rates"
    given = {"transfer.name": "two_rates"}.get
    assert auto_transfer.views(given)[0] == 2


def test_rates_of_parameters():
    """One step of plain descent moves each by its own rate times its gradient; decay follows the rate."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    rates = {id(p): 0.1 for p in network[0].parameters()}
    before = [p.detach().clone() for p in network.parameters()]
    optimizer = create_optimizer(network, OptimizerOptions("sgd", lr=0.5, weight_decay=0.2), rates=rates)
    network(torch.randn(5, 3)).square().sum().backward()
    gradients = [p.grad.clone() for p in network.parameters()]
    optimizer.step()
    for p, old, g, lr, decayed in zip(network.parameters(), before, gradients, (0.05, 0.05, 0.5, 0.5),
                                      (1, 0, 1, 0), strict=True):  # fmt: skip
        assert torch.allclose(p, old * (1 - 0.2 * lr * decayed) - lr * g, atol=1e-6)


def test_more_is_augmented_where_more_layers_learn():
    def chosen(**given):
        return auto._policy(SimpleNamespace(every_pixel=False), given.get)[0]

    assert chosen() == chosen(**{"weights": "lite0", "transfer.name": "head"}) == "light"
    assert {chosen(**{"weights": "lite0", "transfer.name": kind}) for kind in ("all", *KINDS[1:])} == {"standard"}


def test_the_rate_of_fine_tuning():
    """A tenth of 0.005 where the head learns first; not for masks, whose decoder keeps its own rate."""

    def rate(**given):
        found = {"optimizer.name": "adamw", "weights": "lite0", **given}
        return auto._lr(SimpleNamespace(every_pixel=given.get("task") == "segmentation"), found.get)[0]

    assert {kind: rate(**{"transfer.name": kind}) for kind in KINDS} == {
        "head": 0.002, "staged": 0.005, "two_rates": 0.002, "groups": 0.002, "unfreeze": 0.005,
    }  # fmt: skip
    assert rate(**{"transfer.name": "staged", "task": "segmentation"}) == 0.002
    assert rate(**{"transfer.name": "staged", "optimizer.name": "sgd"}) == 0.1
    assert rate(**{"transfer.name": "all"}) == pytest.approx(0.0002)
