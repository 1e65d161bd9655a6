"""The Task protocol carries the awkward tasks: the gradient step of the trainer serves them as it is.

Two-stage detector, GAN, triplets, Joint with missing objects, ignored pixels: in micro-batches and in two processes.
"""

import numpy as np
import pytest
import torch
from proof_steps import after, one_of_two, train
from proofs import PROOFS, SIDE, Triplets, batch_of, localisation, localisation_batch
from small_parts import Small
from torch import nn

from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.errors import UserError
from hubel.tasks.base import Task
from hubel.tasks.classification import Classification
from hubel.tasks.joint import Joint
from hubel.training.step import value


@pytest.mark.parametrize("name", PROOFS)
def test_a_few_steps_lower_the_loss(name: str):
    make, task, batch = PROOFS[name]
    first, *_, last = train(make(task), task, batch(), 15)
    assert all(np.isfinite(list(last.values())))
    falling = [key for key in first if last[key] < first[key]]
    assert falling == list(first) or (name == "GAN" and falling)  # the two players pull in opposite directions


@pytest.mark.parametrize("name", PROOFS)
@pytest.mark.parametrize("micro", [1, 2, 3, 4])
def test_micro_batches_give_the_step_of_the_whole_batch(name: str, micro: int):
    whole = after(name)
    for key, found in after(name, micro_batch=micro).items():
        torch.testing.assert_close(found, whole[key], rtol=1e-6, atol=1e-9, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.processes
def test_two_processes_give_the_step_of_one(tmp_path):
    torch.multiprocessing.spawn(one_of_two, args=(str(tmp_path),), nprocs=2)
    for name in PROOFS:
        whole = after(name)
        for micro in (None, 1, 2):
            found = torch.load(tmp_path / f"{name} {micro}.pt")
            for key, expected in whole.items():
                torch.testing.assert_close(found[key], expected, rtol=1e-6, atol=1e-9, msg=f"{name}, {key}")


def test_dividing_each_part_by_its_own_count_would_be_another_step():
    """The ragged batches are ragged enough to tell: the mean of the parts' means is not the mean."""
    for name in ("two-stage detector", "joint with missing objects", "ignored pixels"):
        make, task, batch = PROOFS[name]
        network, batch = make(task), batch()
        with torch.no_grad():
            whole = sum(float(value(t)) for t in task.loss(network, batch).values())
            parts = [sum(float(value(t)) for t in task.loss(network, batch.part(i, i + 2)).values()) for i in (0, 2, 4)]
        assert abs(np.mean(parts) - whole) > 1e-3 * whole, name


def test_players_move_their_own_parameters_only():
    make, task, batch = PROOFS["GAN"]
    critic, generator = task.players()
    for player, other in ((critic, generator), (generator, critic)):

        class Alone(Task):
            def players(self, player=player):
                return (player,)

        network = make(task)
        before = {id(p): p.detach().clone() for p in network.parameters()}
        train(network, Alone.__new__(Alone), batch(), 1)
        assert all(not torch.equal(p, before[id(p)]) for p in player.parameters(network))
        assert all(torch.equal(p, before[id(p)]) for p in other.parameters(network))


# Triplets ---------------------------------------------------------------------------------------------------


def identities() -> Dataset:
    labels = np.repeat(np.arange(5), [7, 4, 3, 2, 1])
    images = ArrayImages(np.zeros((len(labels), 8, 8, 1), np.uint8))
    return Dataset("faces", images, {"label": labels}, tuple("abcde"))


def test_triplet_order_is_identities_by_images():
    task, data = Triplets(), identities()
    order = task.order(data, np.arange(len(data)), 0, 0)
    assert len(order) >= 6
    assert len(set(order.tolist())) == len(order)
    for start in range(0, len(order), 6):
        groups = data.annotations["label"][order[start : start + 6]].reshape(3, 2)
        assert (groups[:, 0] == groups[:, 1]).all()
        assert len(set(groups[:, 0].tolist())) == 3
    assert np.array_equal(order, task.order(data, np.arange(len(data)), 0, 0))
    assert not np.array_equal(order, task.order(data, np.arange(len(data)), 1, 0))


def test_triplets_are_mined_from_the_batch_that_the_loss_sees():
    """A loss between examples is the exception to cutting: alone, an example has no partner and counts 0."""
    task, batch = Triplets(), batch_of(torch.tensor([0, 0, 1, 1, 2, 2]), 6)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).double()
    points = nn.functional.normalize(network(batch.images), dim=1).tolist()

    def apart(i: int, j: int) -> float:
        return sum((a - b) ** 2 for a, b in zip(points[i], points[j], strict=True))

    expected = 0.0
    for i in range(6):
        nearest = min(apart(i, j) for j in range(6) if j // 2 != i // 2)
        expected += max(apart(i, i ^ 1) - nearest + task.margin, 0)
    term = task.loss(network, batch)["triplet"]
    assert float(term.sum.detach()) == pytest.approx(expected)
    assert int(term.count) == 6
    assert int(task.loss(network, batch.part(0, 1))["triplet"].count) == 0
    history = train(network, task, batch, 30)
    assert history[-1]["triplet"] < 0.5 * history[0]["triplet"]


# Joint ------------------------------------------------------------------------------------------------------


def test_joint_runs_the_backbone_once():
    task, batch = localisation(), localisation_batch()
    network = Small(task, SIDE)
    task.loss(network, batch)
    assert network.passes == 1
    task.predict(network, batch)
    assert network.passes == 2
    outputs = network(batch.images)
    assert set(outputs) == {"kind", "box"}
    assert network.passes == 3
    task.predict(network, batch, outputs)
    assert network.passes == 3


def test_joint_is_the_weighted_sum_over_valid_targets():
    task, batch = localisation(), localisation_batch()
    terms = task.loss(Small(task, SIDE), batch)
    assert set(terms) == {"kind.cross_entropy", "box.huber"}
    assert float(terms["kind.cross_entropy"].count) == 6
    assert float(terms["box.huber"].count) == 2 * 4
    assert terms["box.huber"].weight == 3.0
    outputs = Small(task, SIDE)(batch.images)["box"].detach()
    t = (batch.targets["box"]["target"] - 4) / 2
    expected = sum(nn.functional.huber_loss(outputs[i], t[i].double(), reduction="sum") for i in (1, 3))
    torch.testing.assert_close(terms["box.huber"].sum.detach(), expected)


def test_joint_reads_an_own_network_without_heads():
    task, batch = localisation(), localisation_batch()
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, task.width)).double()
    outputs = plain(batch.images)
    ours = task.loss(plain, batch)
    named = task.loss(lambda images: {"kind": outputs[:, :3], "box": outputs[:, 3:]}, batch)
    for key, term in ours.items():
        torch.testing.assert_close(term.sum, named[key].sum)
    with pytest.raises(UserError, match=r"\(B, 7\).*gave \(6, 5\)"):
        task.loss(nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).double(), batch)


class Grouped(Classification):
    def order(self, dataset, index, epoch, seed):
        return index[np.argsort(dataset.annotations["label"][index], kind="stable")]


class Reversed(Classification):
    def order(self, dataset, index, epoch, seed):
        return index[::-1]


def test_joint_follows_one_order_and_refuses_two():
    data, kinds = identities(), tuple("abcde")
    index = np.arange(len(data))[::-1]
    free, grouped = Classification(kinds), Grouped(kinds)
    assert Joint({"a": free, "b": free}).order(data, index, 0, 0) is None
    found = Joint({"a": free, "b": grouped, "c": grouped}).order(data, index, 0, 0)
    assert np.array_equal(found, grouped.order(data, index, 0, 0))
    with pytest.raises(UserError, match="b and c each ask for their own order"):
        Joint({"a": free, "b": grouped, "c": Reversed(kinds)}).order(data, np.arange(17), 0, 0)


def test_joint_refuses_several_optimisers_and_unknown_names():
    kind = Classification(("a", "b"))
    with pytest.raises(UserError, match="several optimisers"):
        Joint({"kind": kind, "picture": PROOFS["GAN"][1]})
    with pytest.raises(UserError, match="no task 'knd'"):
        Joint({"kind": kind}, weights={"knd": 2.0})
    with pytest.raises(UserError, match="above 0"):
        Joint({"kind": kind}, weights={"kind": -1.0})
    with pytest.raises(UserError, match="no task 'os' in hubel"):
        Joint({"kind": {"name": "os"}})
