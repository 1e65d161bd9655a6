"""Masks of several networks, views and dropout masks: the same answers as evaluation gives, whatever the tiles."""

from types import SimpleNamespace

import numpy as np
import pytest

import hubel
from hubel import cli, outcome
from hubel.ensembles import compared, voting
from hubel.ensembles.ensemble import Ensemble
from hubel.ensembles.together import Together
from hubel.prediction.tiling import Tiling

SOURCE = "shapes:kind=segmentation,count=10,size=16x24,classes=2,most=2"
SHARED = {"task": "segmentation", "epochs": 1, "batch_size": 8, "precision": "fp32", "workers": 0, "progress": "quiet"}
BALANCED = {"task.balance": True}  # so that a little training finds more than the background


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two networks that differ in everything but the question, the second trained to be seen in two views."""
    out = tmp_path_factory.mktemp("together")
    unet = {"model": "unet_plain", "model.width": 8, "model.depth": 1, "model.dropout": 0.5, **BALANCED}
    one = hubel.train(SOURCE, out=out, layers=[("python", unet)], **SHARED)
    small = {"model": "resnet8", "model.widths": (4, 4, 8), "views": "mirror", "seed": 1, **BALANCED}
    return one, hubel.train(SOURCE, out=out, layers=[("python", small)], **SHARED)


@pytest.fixture(scope="module")
def images(runs):
    data = runs[0].session_on().dataset
    return [data.images.read(int(i)) for i in data.splits["train"][:1]]


def by_evaluation(members, images):
    """The masks of the average, by what `hubel evaluate` averages and judges."""
    parts, pixels = [member.parts() for member in members], [("", image) for image in images]
    together = Together(parts[0].task)
    for member, own in zip(members, parts, strict=True):
        together.add(outcome.predictions_of(own, member.recipe, pixels, member.during))
    return [together.mean().in_source(i).numpy() for i in range(len(images))]


@pytest.mark.parametrize("views", [None, "crops"])
def test_masks_are_those_of_the_evaluation(runs, images, views):
    ensemble = Ensemble(runs, views=views)
    found = [one["mask"] for one in ensemble.masks(images)]
    expected = by_evaluation(ensemble.members, images)
    assert np.mean([(a == b).mean() for a, b in zip(found, expected, strict=True)]) > 0.9999
    alone = [one["mask"] for one in runs[0].masks(images)]
    assert np.mean([(a != b).mean() for a, b in zip(found, alone, strict=True)]) > 0.005, "one network says the same"


def test_one_run_is_seen_through_its_own_views(runs, images):
    own = [one["mask"] for one in runs[1].masks(images, path="eager")]
    for views, same in (("mirror", True), ("single", False)):
        found = [one["mask"] for one in Ensemble(runs[1], views=views).masks(images)]
        assert all(np.array_equal(a, b) for a, b in zip(own, found, strict=True)) == same


def test_dropout_masks_are_of_each_tile_and_repeat_with_the_seed(runs):
    """An image that looks alike everywhere, in four tiles that don't touch each other's pixels."""
    flat = np.full((32, 32, 3), 120, np.uint8)
    ways = Tiling(tile=16, overlap=0)
    plain = Ensemble(runs[0], views="single").masks([flat], tiling=ways)[0]
    tiles = lambda mask: [mask[y : y + 16, x : x + 16] for y in (0, 16) for x in (0, 16)]  # noqa: E731
    assert plain["tiles"] == 4 and all(np.array_equal(tiles(plain["mask"])[0], one) for one in tiles(plain["mask"]))
    drawn, again = (Ensemble(runs[0], dropout_samples=1).masks([flat], tiling=ways)[0]["mask"] for _ in range(2))
    assert np.array_equal(drawn, again)
    assert not all(np.array_equal(tiles(drawn)[0], one) for one in tiles(drawn)[1:])


def test_dropout_samples_share_one_network(runs):
    voters = Ensemble(runs[0], dropout_samples=3)._voters()
    assert len(voters) == 3 and len({id(voter.parts.network) for voter in voters}) == 1


def test_the_rounds_of_an_evaluation_draw_masks_of_their_own(runs, monkeypatch):
    asked, drawing = [], voting.dropping
    monkeypatch.setattr("hubel.ensembles.ensemble.MAPS", 1)
    seen = SimpleNamespace(found=SimpleNamespace(index=[]), right=None)
    monkeypatch.setattr(compared, "look", lambda *words: seen)  # intervals take seconds
    monkeypatch.setattr(compared, "rows", lambda *words: [])
    monkeypatch.setattr(voting, "dropping", lambda *words: asked.append(words[1:]) or drawing(*words))
    Ensemble(runs[0], dropout_samples=2).evaluate("dev")
    rounds = len(runs[0].splits["dev"])
    assert sorted(asked) == [(seed, number) for seed in (0, 1) for number in range(rounds)] and rounds > 1


def test_the_command_line_writes_masks_of_several(runs, images, tmp_path, capsys):
    np.save(tmp_path / "a.npy", images[0])
    words = ["predict", str(runs[0].path), str(runs[1].path), str(tmp_path / "a.npy"), "--masks", str(tmp_path / "out")]
    assert cli.main([*words, "--views", "mirror", "--quiet"]) == 0
    assert "written to" in capsys.readouterr().out and (tmp_path / "out" / "masks" / "a.png").exists()
