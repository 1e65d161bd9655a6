"""Objects and masks through the loader, alone and in scenes of several images: they lie where their pixels are.

Every object of the images has a grey level of its own, so a batch's pixels tell what its annotations must be.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from drawn_scenes import ListMasks, level, scenes
from standins import ListImages

from hubel.data.arrange import Collage
from hubel.data.augment import Augment
from hubel.data.dataset import Dataset
from hubel.data.faults import object_faults
from hubel.data.formats import open_path
from hubel.data.geometric import Geometric
from hubel.data.loader import Loader
from hubel.data.objects import CROWD, Objects
from hubel.data.pack_write import pack
from hubel.data.preprocess import Preprocess
from hubel.data.ragged import Ragged
from hubel.data.targets import Instances
from hubel.errors import UserError
from hubel.ops.polygons import rectangle
from hubel.tasks.base import Task
from hubel.tasks.joint import Joint
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
        np.testing.assert_allclose(image[inside], expected[inside], atol=1)  # its filter overshoots
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


# What is dropped, what is refused --------------------------------------------------------------------------------


def boxes_only(boxes, labels, **columns):
    """One image of 20 × 30 black pixels with these objects, twelve times."""
    objects = Objects(np.array([0, len(boxes)]), np.array(boxes, float), np.array(labels), **columns)
    images = ListImages([np.zeros((20, 30, 1), np.uint8)] * 12, bad=(5,))
    return Dataset("boxes", images, {"objects": objects.take(np.zeros(12, int))}, ("a", "b"))


def test_faulty_and_invisible_boxes_are_dropped():
    nan = np.nan
    boxes = [
        [2, 3, 12, 13],  # sound
        [nan, nan, nan, nan],  # none
        [12, 3, 2, 13],  # inverted
        [5, 5, 5, 9],  # no area
        [40, 3, 50, 13],  # outside
        [28, 3, 60, 13],  # leaves the image: cut
        [1, 1, 1.5, 2],  # half a pixel²
        [2, 3, 12, 13],  # of a class that the file never lists
    ]
    data = boxes_only(boxes, [0, 1, 1, 1, 1, 1, 1, -1])
    order = np.array([4, 5, 6])
    with Loader(data, lambda i: data.take("objects", i), Preprocess((20, 30), 1), augment=Augment()) as loader:
        (batch,) = loader.batches(order, 0, 3)
        assert batch.targets.image.tolist() == [0, 0, 2, 2], "an image that can't be read has none"
        assert batch.targets.labels.tolist() == [0, 1, 0, 1] and batch.weights.tolist() == [1, 0, 1]
        assert batch.targets.boxes[:2].tolist() == [[2, 3, 12, 13], [28, 3, 30, 13]]
    with Loader(data, lambda i: data.take("objects", i), Preprocess((20, 30), 1)) as loader:
        (batch,) = loader.batches(order, 0, 3)  # judged by all that are sound, as the file says them
        of_first = batch.targets.source.image == 0
        assert batch.targets.source.boxes[of_first].tolist() == [boxes[0], boxes[5], boxes[6]]


OUTLINED = [rectangle(np.array([4.0, 4, 16, 16]))]
WRONG = {  # an object that could be drawn, but for one fault
    "inverted box": {"boxes": [16, 4, 4, 16]},
    "box outside": {"boxes": [40, 4, 52, 16]},
    "a keypoint that is no number": {"keypoints": [[np.nan, 5, 2]]},
    "half a box": {"boxes": [4, 4, np.nan, 16]},
    "a point that is no number": {"outlines": [OUTLINED[0], np.array([[1, 1], [np.inf, 2], [3, 3.0]])]},
    "an unknown class": {"labels": -1},
}


@pytest.mark.parametrize("path", ["decoded", "resident"])
@pytest.mark.parametrize("fault", WRONG)
def test_what_a_finding_calls_an_error_takes_no_part(fault, path):
    """Beside a sound one, with the same outline: neither learnt from, nor pasted, nor judged by."""
    whole = {"boxes": [4.0, 4, 16, 16], "labels": 1, "keypoints": [[5, 5, 2]], "outlines": OUTLINED}
    both = [whole | {"labels": 0}, whole | WRONG[fault]]
    columns = {name: np.array([one[name] for one in both], float) for name in ("boxes", "keypoints")}
    rings = Ragged.pack_nested([one["outlines"] for one in both], np.empty((0, 2), np.float32))
    data = boxes_only(labels=[one["labels"] for one in both], outlines=rings, **columns)
    findings = object_faults(data.annotations["objects"].take(np.array([0])), np.array([[20, 30]]), str)
    assert {one.severity for one in findings} == {"error"} and "takes no part" in findings[0].action
    for augment in (Augment(), Augment(collage=Collage(mosaic=0.5, copy_paste=1.0)), None):
        preprocess = Preprocess((20, 30), 1)
        with Loader(data, lambda i: data.take("objects", i), preprocess, augment=augment, path=path) as loader:
            for batch in loader.batches(np.arange(5), 0, 5):
                assert batch.targets.labels.eq(0).all() and len(batch.targets.labels) >= 4
                assert augment is not None or batch.targets.source.labels.tolist() == [0] * 5


def test_run_lengths_of_another_size_take_no_part():
    runs = Ragged.pack(
        [np.array([100, 20, 480], np.uint32), np.array([100, 20, 481], np.uint32)], np.empty(0, np.uint32)
    )
    data = boxes_only([[5, 0, 6, 20], [5, 0, 6, 20]], [0, 1], runs=runs)
    for augment in (Augment(), None):
        with Loader(data, lambda i: data.take("objects", i), Preprocess((20, 30), 1), augment=augment) as loader:
            (batch,) = loader.batches(np.arange(3), 0, 3)
        assert batch.targets.labels.tolist() == [0, 0, 0]
        assert augment is not None or batch.targets.source.labels.tolist() == [0, 0, 0]


def test_of_a_crowd_any_part_counts_and_none_is_copied():
    objects = [[0, 0, 30, 20], [0, 0, 30, 20]]
    rings = Ragged.pack_nested([[rectangle(np.array(box, float))] for box in objects], np.empty((0, 2), np.float32))
    data = boxes_only(objects, [0, 1], flags=np.array([CROWD, 0], np.uint8), outlines=rings)
    paste = Augment(collage=Collage(copy_paste=1.0))
    with Loader(data, lambda i: data.take("objects", i), Preprocess((20, 30), 1), augment=paste, seed=1) as loader:
        (batch,) = loader.batches(np.arange(4), 0, 4)
    for row in range(4):
        own = batch.targets.image == row
        assert batch.targets.crowd[own].sum() <= 1 and (batch.targets.labels[own] == 1).sum() == 1
    assert batch.targets.crowd.sum() < 4, "some are covered by what was copied"
    zoom = Augment(crop=(0.05, 0.05))
    with Loader(data, lambda i: data.take("objects", i), Preprocess((20, 30), 1), augment=zoom, seed=1) as loader:
        (batch,) = loader.batches(np.arange(4), 0, 4)
    assert batch.targets.crowd.sum() == 4 and batch.targets.count == 4


def test_a_mask_that_can_not_be_read_takes_no_part():
    data = scenes(size=(64, 64))
    column = ListMasks(data.annotations["mask"].masks, data.annotations["mask"].classes, bad=(3,))
    for path in ("resident", "decoded"):
        preprocess = Preprocess((64, 64), 1)
        with Loader(data, lambda i: column.take(i), preprocess, augment=Augment(), path=path) as loader:
            (batch,) = loader.batches(np.arange(6), 0, 6)
        assert batch.weights.tolist() == [1, 1, 1, 0, 1, 1] and (batch.targets.values[3] == 255).all()
        assert loader.failed == {data.images.name(3): "its mask: torn"}


def test_a_part_that_can_not_be_read_leaves_its_place_black_and_empty():
    data = scenes()
    images = ListImages(data.images.pixels, bad=tuple(range(4, 16)))
    lost = Dataset("lost", images, data.annotations, data.classes)
    preprocess = Preprocess((64, 64), 1, mean=(0,), std=(1 / 255,))
    augment = Augment(collage=Collage(1.0, 1.0))
    with Loader(lost, wanted(lost), preprocess, augment=augment, seed=7) as loader:
        (batch,) = loader.batches(np.arange(16), 0, 16)
    assert batch.weights.tolist() == [1] * 4 + [0] * 12 and len(loader.failed) == 12
    check(batch.part(0, 4), least=0.1)
    assert (batch.targets["boxes"].image < 4).all() and (batch.targets["pixels"].values[4:] == 255).all()
    assert (batch.images[:4] == 0).float().mean() > 0.2, "black quadrants"
    assert (batch.targets["pixels"].values[:4][batch.images[:4, 0] == 0] == 255).float().mean() > 0.99


def test_masks_alone_are_copied_by_class():
    """Half of the classes that another image shows, never its background (arXiv:2007.07936)."""
    data = scenes()
    paste = Augment(collage=Collage(copy_paste=1.0))
    first, *_ = batches(data, paste, targets=lambda i: data.take("mask", i))
    plain, *_ = batches(data, Augment(), targets=lambda i: data.take("mask", i))
    changed = (first.images - plain.images).abs()[:, 0] > 20  # a step at an edge, resampled otherwise, is no copy
    assert 0.02 < changed.float().mean() < 0.6
    values = first.targets.values.long()
    assert (values[changed] > 0).float().mean() > 0.98 and not torch.equal(values, plain.targets.values.long())
    flat = torch.tensor([15, *level(np.arange(48)).tolist()])[values]
    inside = torch.from_numpy(np.stack([interior(image) for image in first.images[:, 0].numpy()]))
    assert torch.equal(flat[inside].float(), first.images[:, 0][inside])


def test_targets_of_several_tasks():
    """As a Joint task gives them: nested, with validity masks; what is no column is that of the batch's images."""
    data = scenes()
    objects = Joint({"a": InPlace("objects"), "b": InPlace("mask")})
    augment = Augment(collage=Collage(0.6, 0.6))
    for ours, theirs in zip(
        batches(data, augment, targets=lambda i: objects.targets(data, i)), batches(data, augment), strict=True
    ):
        assert torch.equal(ours.images, theirs.images) and ours.targets["a"]["valid"].tolist() == [True] * 8
        assert torch.equal(ours.targets["a"]["target"].boxes, theirs.targets["boxes"].boxes)
        assert torch.equal(ours.targets["b"]["target"].values, theirs.targets["pixels"].values)
    with pytest.raises(UserError, match=r"With augment\.mosaic and augment\.copy_paste one image is made of several"):
        batches(data, augment, targets=lambda i: (data.take("mask", i), torch.zeros(len(i))))


@dataclass(frozen=True)
class InPlace(Task):
    """Nothing but a column."""

    target: str = "objects"


def test_packed_targets_are_cut_chosen_and_joined():
    """Against a loop over the images."""
    whole = batches(scenes(), Augment(**EVERYTHING))[0].targets
    rows = torch.tensor([5, 0, 5, 7])
    for name in ("boxes", "instances"):
        boxes = whole[name]
        taken = boxes.take(rows)
        expected = torch.cat([(boxes.image == row).nonzero()[:, 0] for row in rows])
        assert taken.count == 4 and torch.equal(taken.labels, boxes.labels[expected])
        assert torch.equal(taken.boxes, boxes.boxes[expected]) and torch.equal(
            taken.keypoints, boxes.keypoints[expected]
        )
        assert taken.image.tolist() == [k for k, row in enumerate(rows) for _ in range(int((boxes.image == row).sum()))]
        joined = type(boxes).cat([boxes.part(0, 3), boxes.part(3, 4), boxes.part(4, 99)])
        assert joined.count == 8
        for column in ("boxes", "labels", "image", "flags", "keypoints"):
            assert torch.equal(getattr(joined, column), getattr(boxes, column))
        assert boxes.masks is None or torch.equal(joined.masks, boxes.masks)
    pixels = whole["pixels"]
    assert torch.equal(type(pixels).cat([pixels.part(0, 3), pixels.part(3, 8)]).values, pixels.values)
    assert torch.equal(pixels.take(rows).values, pixels.values[rows])
