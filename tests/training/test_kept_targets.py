"""Kept features of images in which something lies: boxes, joints and masks are where that view shows them."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import hubel
from hubel.data.augment import Augment
from hubel.data.geometric import Geometric
from hubel.data.loader import Loader
from hubel.data.mixing import Mixing
from hubel.data.preprocess import Preprocess
from hubel.data.shapes import shapes
from hubel.data.through import targets_through
from hubel.models.fcn import fcn32s
from hubel.models.resnet import resnet18
from hubel.models.resnet_cifar import ResNetCIFAR, resnet8
from hubel.models.unet import unet
from hubel.models.unet_valid import unet_valid
from hubel.placing import head_share, settings_by_cost
from hubel.recipe import Recipe, Setting
from hubel.tasks.localisation import localisation
from hubel.tasks.pose import Pose
from hubel.training.feature_cut import bytes_of, cut_of, obstacle
from hubel.training.features import Features
from hubel.training.feed import Data

NORMAL = {"mean": (0.4, 0.5, 0.6), "std": (0.3, 0.2, 0.3)}
SCENES = shapes(count=12, size="40x56", most=3, kind="detection")
TASKS = {"localisation": localisation(SCENES.classes), "pose": Pose(names=tuple("abcde"), whole=True)}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hubel" / "features"


def columns(index):
    return {"objects": SCENES.take("objects", index), "number": torch.from_numpy(index)}


def loader(augment=None, targets=columns, path="decoded"):
    return Loader(SCENES, targets, Preprocess((32, 40), 3, policy="crop", **NORMAL), augment=augment, path=path)


@pytest.mark.parametrize("path", ["resident", "decoded"])
@pytest.mark.parametrize("augment", [None, Augment(crop=(0.4, 1.0), flip="random", geometric=Geometric(rotate=20))])
def test_targets_follow_the_matrix_as_they_followed_the_image(augment, path):
    own = loader(augment, path=path)
    index = np.array([7, 0, 3, 11, 5])
    batch = next(own.batches(index, 3, 5))
    found = targets_through(own, index, batch.matrices, batch.sizes)
    assert torch.equal(found["number"], batch.targets["number"])
    seen, wanted = found["objects"], batch.targets["objects"]
    assert torch.equal(seen.image, wanted.image) and torch.equal(seen.labels, wanted.labels) and len(wanted.image) > 5
    assert torch.allclose(seen.boxes, wanted.boxes, atol=1e-3)
    assert torch.allclose(seen.keypoints, wanted.keypoints, atol=1e-3)
    assert (seen.source is None) == (augment is not None)
    if augment is None:
        assert torch.equal(seen.source.boxes, wanted.source.boxes)


@pytest.mark.parametrize("augment", [None, Augment(crop=(0.4, 1.0), flip="random", geometric=Geometric(rotate=20))])
def test_masks_follow_the_matrix_pixel_by_pixel(augment):
    scenes = shapes(count=12, size="40x56", kind="segmentation")
    own = Loader(
        scenes, lambda index: scenes.take("mask", index), Preprocess((32, 40), 3, **NORMAL), augment=augment,
        path="decoded",
    )  # fmt: skip
    index = np.array([7, 0, 3, 11, 5])
    batch = next(own.batches(index, 3, 5))
    found = targets_through(own, index, batch.matrices, batch.sizes)
    assert torch.equal(found.values, batch.targets.values) and len(found.values.unique()) > 4
    assert (found.source is None) == (augment is not None)
    if augment is None:
        assert all(torch.equal(a, b) for a, b in zip(found.source, batch.targets.source, strict=True))


def test_views_as_evaluation_sees_them_have_its_size():
    """Where images are learnt from at another size: --train_size."""
    scenes = shapes(count=6, size=32, kind="segmentation")
    train, plain = (
        Loader(scenes, lambda index: scenes.take("mask", index), Preprocess((side, side), 3, **NORMAL), augment=a,
               path="decoded")
        for side, a in ((16, Augment(flip="random")), (32, None))
    )  # fmt: skip
    network = resnet8(classes=3, input=(3, 32, 32), widths=(4, 8)).eval()
    network.head = network.dense_head(9)
    data = Data(scenes, train, plain, {"train": np.arange(4), "dev": np.arange(4, 6)})
    features = Features(network, 0, data, Recipe(precision="fp32"), 3, lambda text: None)
    sides = []
    for epoch in range(3):
        batch = next(features.data.train.batches(np.arange(4), epoch, 4))
        sides.append(batch.input_size[0])
        assert batch.targets.values.shape[1] == batch.images[0].shape[2] * network.strides[0] == sides[-1]
    assert sides == [32, 32, 16]


def features_of(network, augment, views):
    task = replace(TASKS["localisation"])
    train, plain = (loader(a, lambda index: task.targets(SCENES, index)) for a in (augment, None))
    data = Data(SCENES, train, plain, {"train": np.arange(8), "dev": np.arange(8, 12)})
    return Features(network, 0, data, Recipe(precision="fp32"), views, lambda text: None)


def test_the_second_view_is_mirrored_with_its_boxes():
    network = resnet8(classes=3, input=(3, 32, 40), widths=(4, 8)).eval()
    features = features_of(network, Augment(flip="random"), views=2)
    index = np.array([5, 2, 6])
    plain = next(features.images.plain.batches(index, 0, 3))
    first, second = (next(features.data.train.batches(index, epoch, 3)) for epoch in (0, 1))
    with torch.no_grad():
        assert torch.allclose(first.images[-1], network.maps(plain.images)[-1], atol=1e-5)
        assert torch.allclose(second.images[-1], network.maps(plain.images.flip(-1))[-1], atol=1e-5)
    assert first.input_size == second.input_size == (32, 40)
    one, two = (batch.targets["box"]["target"].boxes for batch in (first, second))
    assert torch.allclose(two[:, [2, 0]], 40 - one[:, [0, 2]], atol=1e-3) and torch.allclose(two[:, 1::2], one[:, 1::2])
    assert not torch.allclose(one, two, atol=0.5)


def test_another_head_or_size_has_other_features():
    """Of one network and the same images: a head that reads other maps; augmented views of another size."""
    network = resnet8(classes=3, input=(3, 32, 40), widths=(4, 8)).eval()
    augment = Augment(crop=(0.4, 1.0))
    features = features_of(network, augment, views=3)
    network.head = TASKS["localisation"].head(network)
    votes = [features.key(view) for view in (0, 2)]
    network.head = network.dense_head(3)
    every_map = [features.key(view) for view in (0, 2)]
    features.images.train.preprocess = Preprocess((16, 20), 3, policy="crop", **NORMAL)
    smaller = [features.key(view) for view in (0, 2)]
    assert len({*votes, *every_map, *smaller}) == 5 and smaller[0] == every_map[0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(99)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    config = '{"input_size": [3, 32, 32], "mean": [0.4, 0.5, 0.6], "std": [0.3, 0.3, 0.3], "crop_pct": 1}'
    save_file(resnet8(classes=7, input=(3, 32, 32), widths=(4, 8)).state_dict(), path, metadata={"config": config})
    return str(path)


@pytest.mark.parametrize("task", ["localisation", "pose", "heatmap", "segmentation"])
def test_a_head_learns_the_same_from_kept_features_as_from_images(task, weights, tmp_path, cache, quiet):
    data = shapes(count=40, size=32, most=1, kind="segmentation" if task == "segmentation" else "detection")
    common = {"model": "resnet8", "model.widths": (4, 8), "precision": "fp32", "augment": "none", "views": "single"}
    common |= {"epochs": 2, "batch_size": 8, "transfer": "head", "weights": weights, "task": task}
    more = {"task.whole": True} if task in ("pose", "heatmap") else {}
    runs = [
        hubel.train(data, **common, **more, **{"transfer.views": views}, out=tmp_path / str(views), progress=quiet)
        for views in (1, 0)
    ]
    memory = [json.loads((run.path / "plan.json").read_text())["memory"] for run in runs]
    assert memory[0] - memory[1] > 20 * 8 * 4 * 16 * 16, "maps of 20 training images and more, at the least"
    assert len(list(cache.glob("*.npz"))) == 1 and not any("No features" in text for text in quiet.said)
    assert runs[0].history[-1]["dev.loss"] != runs[0].history[0]["dev.loss"]
    for row, other in zip(*(run.history for run in runs), strict=True):
        for name in (name for name in row if name.startswith(("train.", "dev."))):
            assert row[name] == pytest.approx(other[name], rel=1e-4, abs=1e-5, nan_ok=True), name


@pytest.mark.parametrize(
    ("column", "augment", "side", "cut", "why"),
    [
        ("label", {}, 32, 1, ""),
        ("objects", {}, 32, 0, ""),
        ("label", {"mixing": Mixing(mixup=0.2)}, 32, 1, "mixed"),
        ("objects", {"geometric": Geometric(elastic=0.02)}, 32, 0, "elastic"),
        ("label", {"geometric": Geometric(elastic=0.02)}, 32, 1, ""),
        ("mask", {}, 32, 0, ""),
        ("mask", {"geometric": Geometric(elastic=0.02)}, 32, 0, "elastic"),
        ("label", {}, 32, None, "other layers"),
        ("objects", {}, 20_000, 0, "4.5 GB"),  # (4 + 2) images · 512 channels · 625² · 4 bytes
    ],
)
def test_what_can_not_be_computed_once(column, augment, side, cut, why):
    scenes = shapes(count=4, size=16, classes=2, most=1)
    scenes = replace(scenes, annotations={**scenes.annotations, "label": np.zeros(4, np.int64)})
    train = SimpleNamespace(augment=Augment(**augment), targets=lambda index: scenes.take(column, index))
    plain = SimpleNamespace(preprocess=SimpleNamespace(size=(side, side)))
    data = SimpleNamespace(splits={"train": np.arange(2), "dev": np.arange(2, 4)}, train=train, plain=plain)
    network = resnet18(classes=2, input=(3, 32, 32))
    if column == "objects":
        network.head = TASKS["localisation"].head(network)
    found = obstacle(network, cut, data, 2)
    assert why in found and bool(why) == bool(found)
    assert bytes_of(network, (64, 33)) == 4 * 512 * 2 * 2


def test_heads_of_boxes_and_of_several_tasks_learn_as_a_whole():
    network = resnet8(classes=3, input=(3, 32, 32), widths=(4, 8))
    for task in TASKS.values():
        network.head = task.head(network)
        own = [f"head.{name}" for name, _ in network.head.named_parameters()]
        assert cut_of(network, own) == 0 and cut_of(network, own[:-1]) is None
    network.head = network.dense_head(3)
    assert cut_of(network, [f"head.{name}" for name, _ in network.head.named_parameters()]) == 0


@pytest.mark.parametrize("source", ["auto", "given"])
@pytest.mark.parametrize("deep", [True, False])
def test_a_head_that_is_most_of_the_work_learns_from_images(deep, source):
    """Left open; with --transfer head images are then as large as those that are judged."""
    network = (unet if deep else fcn32s)(classes=3, input=(3, 64, 64), encoder=resnet18)
    names = {"precision": "fp32", "device": "cpu", "transfer.views": 2, "transfer.name": "head", "train_size": 48}
    settings = {name: Setting(value, source, "") for name, value in names.items()}
    found = settings_by_cost(settings, network, (3, 64, 64))
    values = (found["transfer.views"].value, found["train_size"].value)
    assert values == ((2, 48) if source == "given" else (0, 48) if deep else (2, None))
    assert ("of the work" in found["transfer.views"].reason) == (deep and source == "auto")
    share = head_share(network, (3, 64, 64))
    assert share > 0.5 if deep else 0 < share < 0.01
    assert head_share(resnet8(classes=3, input=(3, 8, 8), widths=(1, 1)), (3, 8, 8)) == 0


def test_a_network_that_does_more_than_its_contract_needs_images():
    class Own(ResNetCIFAR):
        def forward(self, images):
            return self.head(self.maps(images)) + images.mean()

    network = resnet8(classes=3, input=(3, 32, 32), widths=(4, 8))
    network.head = network.dense_head(3)
    names = [f"head.{name}" for name, _ in network.head.named_parameters()]
    assert cut_of(network, names) == 0
    network.__class__ = Own
    assert cut_of(network, names) is None


def test_a_network_that_looks_beyond_the_border_needs_images():
    train = SimpleNamespace(augment=Augment(), targets=lambda index: None)
    data = SimpleNamespace(splits={"train": np.arange(2)}, train=train)
    network = unet_valid(classes=2, input=(3, 64, 64), width=4, depth=2)
    assert "beyond the border" in obstacle(network, 0, data, 1)
