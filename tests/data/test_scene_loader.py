"""Objects and masks through the loader, alone and in scenes of several images: they lie where their pixels are.

Every object of the images has a grey level of its own, so a batch's pixels tell what its annotations must be.
"""

import numpy as np
import pytest
import torch
from drawn_scenes import level, scenes

from hubel.data.arrange import Collage
from hubel.data.augment import Augment
from hubel.data.formats import open_path
from hubel.data.geometric import Geometric
from hubel.data.loader import Loader
from hubel.data.pack_write import pack
from hubel.data.preprocess import Preprocess
from hubel.data.targets import Instances
from hubel.types import map_tensors

ORDER = np.random.default_rng(3).permutation(16)
COLLAGES = {"alone": Collage(), "mosaic": Collage(mosaic=0.7), "both": Collage(0.5, 0.7), "paste": Collage(0, 1.0)}
MOVES = {
    "plain": {},
    "shift": {"shift": 5, "flip": "random"},
    "crop": {"crop": (0.3, 1.0), "flip": "random"},
    "turned": {"geometric": Geometric(rotate=25, scale=0.2, shear=5, perspective=0.1), "flip": "random"},
    "bent": {"geometric": Geometric(elastic=0.04)},
}


def wanted(data):
    """Everything that a task may want."""

    def targets(index):
        objects = data.take("objects", index)
        return {"boxes": objects, "instances": Instances(objects), "pixels": data.take("mask", index)}

    return targets


def batches(data, augment, size=(64, 64), policy="crop", path=None, workers=0, epoch=2, targets=None, **options):
    preprocess = Preprocess(size, 1, mean=(0,), std=(1 / 255,), policy=policy)
    targets = targets or wanted(data)
    with Loader(data, targets, preprocess, augment=augment, seed=7, path=path, workers=workers) as loader:
        return list(loader.batches(ORDER, epoch, 8, **options))


def interior(image):
    """(h, w) bool: pixels whose neighbours have the same level: no edge was interpolated there."""
    flat = torch.nn.functional.pad(torch.from_numpy(image)[None, None], (1, 1, 1, 1), mode="replicate")
    high = torch.nn.functional.max_pool2d(flat, 3, 1)
    low = -torch.nn.functional.max_pool2d(-flat, 3, 1)
    return (high == low)[0, 0].numpy()


def check(batch, least):
    """Of every image: its boxes, masks and pixel classes against the levels of its pixels."""
    boxes, instances, classes = (batch.targets[k] for k in ("boxes", "instances", "pixels"))
    assert boxes.count == instances.count == len(classes) == len(batch)
    assert torch.equal(boxes.labels, instances.labels) and torch.equal(boxes.boxes, instances.boxes)
    seen = 0
    for row, image in enumerate(batch.images[:, 0].numpy()):
        inside = interior(image)
        own = np.flatnonzero(boxes.image == row)
        marked = np.where(classes.values[row] < 255, classes.values[row], 0).astype(int)
        expected = np.where(marked > 0, level(marked - 1), np.where(classes.values[row] == 255, image, 15))
        np.testing.assert_array_equal(image[inside], expected[inside])
        for m in own.tolist():
            grey, mask = level(boxes.labels[m]), instances.masks[m].numpy()
            wrong = (image[mask & inside] != grey).sum()
            assert wrong <= 0.01 * mask.sum(), "an outline is finer than the drawn pixels, nothing else"
            box = boxes.boxes[m].numpy()
            if not mask.any():  # it passes between the pixels' centres
                assert (box[2:] - box[:2]).min() < 2
                continue
            y, x = np.nonzero(mask)
            around = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
            assert (box[:2] < around[:2] + 0.51).all() and (box[2:] > around[2:] - 0.51).all(), "a pixel outside"
            assert np.abs(box - around).mean() < 1.25, "loose; sharp corners hold no pixel's centre"
            seen += 1
            px, py, v = boxes.keypoints[m, 0].numpy()
            at = (min(int(py), 63), min(int(px), 63))
            assert v != 2 or not inside[at] or image[at] == grey, "the middle of a quadrangle lies in it"
        listed = {int(level(k)) for k in boxes.labels[own]}
        there, counts = np.unique(image[inside & (image > 20)], return_counts=True)
        assert {int(g) for g, n in zip(there, counts, strict=True) if n > 300} <= listed, "an object without a box"
    assert seen > least * len(batch)


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("collage", COLLAGES)
@pytest.mark.parametrize("policy", ["crop", "letterbox"])
def test_annotations_lie_on_their_pixels(collage, move, policy):
    data = scenes()
    for batch in batches(data, Augment(**MOVES[move], collage=COLLAGES[collage]), policy=policy):
        check(batch, least=1.5)


def same(left, right):
    """Bit for bit, targets too."""
    found = []
    for batch in (left, right):
        values: list = []
        for one in batch:
            map_tensors(one, values.append)
        found.append(values)
    return len(found[0]) == len(found[1]) and all(torch.equal(a, b) for a, b in zip(*found, strict=True))


EVERYTHING = {**MOVES["turned"], "shift": 3, "cutout": 9, "collage": Collage(0.5, 0.5)}


@pytest.mark.parametrize("options", [EVERYTHING, {"collage": Collage(0.5, 0.5)}, MOVES["shift"], MOVES["bent"]])
def test_all_paths_give_the_same_bits(options, tmp_path):
    """Of images that have the network's size already."""
    data, augment = scenes(size=(64, 64)), Augment(**options)
    resident = batches(data, augment, path="resident")
    if "cutout" not in options:
        check(resident[0], least=1.5)
    assert same(resident, batches(data, augment, path="decoded"))
    ready = open_path(pack(data, tmp_path / "scenes.pack", side=None))
    assert same(resident, batches(ready, augment, path="packed"))
    assert not same(resident, batches(data, augment, path="resident", epoch=3))


@pytest.mark.processes
def test_workers_and_resumption_change_nothing(tmp_path):
    data, augment = scenes(), Augment(**EVERYTHING)
    whole = batches(data, augment)
    for workers in (1, 4):
        assert same(whole, batches(data, augment, workers=workers))
    assert same(whole[1:], batches(data, augment, start=1))
    ready = open_path(pack(data, tmp_path / "scenes.pack", side=None))
    assert same(batches(ready, augment), batches(ready, augment, workers=2))


def test_a_resident_image_that_was_cropped_shows_no_more():
    """Of another shape than the network's: what a crop cut off lies nowhere, though the matrix leads somewhere."""
    data = scenes(size=(48, 60))
    for name in ("shift", "turned", "bent"):
        for collage in (Collage(), Collage(0.6)):
            augment = Augment(**{**MOVES[name], "collage": collage})
            for batch in batches(data, augment, path="resident"):
                check(batch, least=1)


def test_shards_read_their_part_of_the_same_scenes():
    data, augment = scenes(), Augment(**EVERYTHING)
    whole = batches(data, augment)
    for rank in range(2):
        part = batches(data, augment, shard=(rank, 2))
        assert same(part, [batch.part(4 * rank, 4 * rank + 4) for batch in whole])


def test_each_process_makes_scenes_of_its_own_shards(tmp_path):
    """Of a pack: what another process reads is not touched."""
    ready = open_path(pack(scenes(), tmp_path / "scenes.pack", side=None, shards=4))
    owners = ready.images.owners(2)
    for rank in range(2):
        for batch in batches(ready, Augment(collage=Collage(1.0, 1.0)), shard=(rank, 2)):
            image = batch.targets["boxes"].labels.numpy() // 3
            assert (owners[image] == rank).all()


def test_everything_is_in_source_pixels_too_where_a_network_is_judged():
    data = scenes()
    for batch in batches(data, None):
        boxes, classes = batch.targets["boxes"], batch.targets["pixels"]
        check(batch, least=1)
        original = data.annotations["objects"].take(batch.index.numpy())
        assert boxes.source.count == 8 and torch.equal(boxes.source.labels, torch.from_numpy(original.labels))
        np.testing.assert_array_equal(boxes.source.boxes, original.boxes.astype(np.float32))
        for mask, i in zip(classes.source, batch.index.tolist(), strict=True):
            np.testing.assert_array_equal(mask, data.annotations["mask"].read(i))
        part = batch.targets["boxes"].part(3, 5)
        assert torch.equal(part.source.boxes, boxes.source.boxes[9:15])
    assert batches(data, Augment())[0].targets["boxes"].source is None
