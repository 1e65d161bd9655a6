"""Everything that an augmentation can do, through the loader: the same bits from every path and point of resumption."""

import numpy as np
import pytest
import torch
from standins import dataset, targets, thumbnails

from hubel.data.apply import apply_image, look_at_once, not_at_once
from hubel.data.augment import Augment
from hubel.data.chosen import Chosen
from hubel.data.dataset import Dataset
from hubel.data.geometric import Geometric
from hubel.data.images import ArrayImages
from hubel.data.loader import Loader
from hubel.data.mixing import Mixing
from hubel.data.objects import Objects
from hubel.data.path import choose_path
from hubel.data.photometric import Colour, Texture, apply_look
from hubel.data.preprocess import Preprocess
from hubel.errors import UserError

COLOUR = Colour(0.3, 0.3, 0.3, 0.1, 0.1, 0.2, 0.2)
EVERYTHING = Augment(
    shift=2, flip="random", cutout=4, border="mirror", vertical=True,
    geometric=Geometric(rotate=30, scale=0.3, shear=8, perspective=0.2, elastic=0.04),
    colour=COLOUR, texture=Texture(1.5, 0.05, 40, 0.2, 0.2), chosen=Chosen(), mixing=Mixing(mixup=0.4, cutmix=1.0),
)  # fmt: skip
ORDER = np.random.default_rng(3).permutation(24)
FIELDS = ("images", "targets", "index", "weights", "sizes", "matrices")


def small(channels: int = 3, dtype=np.uint8, count: int = 24) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (count, 16, 18, channels)).astype(dtype)
    return Dataset("small", ArrayImages(pixels), {"label": np.arange(count) % 3}, ("a", "b", "c"))


def loader(data: Dataset, augment: Augment = EVERYTHING, **options) -> Loader:
    preprocess = Preprocess.choose(data)
    return Loader(data, lambda index: data.take("label", index), preprocess, augment=augment, seed=7, **options)


def batches(made: Loader, *args, **options):
    with made:
        return list(made.batches(*args, **options))


def same(left, right) -> bool:
    return len(left) == len(right) and all(
        all(torch.equal(getattr(a, name), getattr(b, name)) for name in FIELDS)
        and torch.equal(a.mix.share, b.mix.share) and torch.equal(a.mix.targets, b.mix.targets)
        for a, b in zip(left, right, strict=True)
    )  # fmt: skip


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint8), (1, np.uint16)])
def test_both_paths_give_the_same_bits(channels, dtype):
    data = small(channels, dtype)
    resident = batches(loader(data, path="resident"), ORDER, 3, 8)
    assert same(resident, batches(loader(data, path="decoded"), ORDER, 3, 8))
    assert not same(resident, batches(loader(data, path="resident"), ORDER, 4, 8))
    assert all(b.images.is_contiguous(memory_format=torch.channels_last) for b in resident)


@pytest.mark.processes
def test_workers_and_resumption_change_nothing():
    data = small()
    whole = batches(loader(data, path="decoded", workers=2), ORDER, 3, 8)
    assert same(whole, batches(loader(data, path="decoded"), ORDER, 3, 8))
    assert same(whole[1:], batches(loader(data, path="decoded"), ORDER, 3, 8, start=1))


def test_shards_keep_pairs_together():
    data = small()
    whole = batches(loader(data), ORDER, 3, 8)
    parts = [batches(loader(data), ORDER, 3, 8, shard=(rank, 3)) for rank in range(3)]
    for k, batch in enumerate(whole):
        together = torch.cat([part[k].images for part in parts])
        assert torch.equal(together, batch.images)


def test_a_part_of_a_batch_keeps_its_partners_targets():
    batch = batches(loader(small()), ORDER, 3, 8)[0]
    part = batch.part(3, 6)
    assert torch.equal(part.mix.targets, batch.mix.targets[3:6]) and torch.equal(part.mix.share, batch.mix.share[3:6])
    other = torch.arange(8) ^ 1
    mixed = batch.mix.share < 1
    assert mixed.any() and torch.equal(batch.mix.targets[mixed], batch.targets[other][mixed])


def test_odd_batches_have_no_pairs():
    with pytest.raises(UserError, match="even"):
        batches(loader(small()), ORDER, 0, 7)
    alone = batches(loader(small()), ORDER[:9], 0, 99)  # one batch is the whole epoch
    assert alone[0].mix.share[8] == 1 and (alone[0].mix.share[:8] < 1).any()


def test_an_unreadable_partner_is_not_mixed_in():
    data = small()
    weights = np.ones(24, np.float32)
    weights[ORDER[0]] = 0
    lost = Dataset("small", data.images, data.annotations, data.classes, weights=weights)
    batch = batches(loader(lost, Augment(mixing=Mixing(mixup=1.0))), ORDER, 0, 8)[0]
    plain = batches(loader(lost, Augment()), ORDER, 0, 8)[0]
    assert batch.mix.share[0] == batch.mix.share[1] == 1
    assert torch.equal(batch.images[:2], plain.images[:2]) and not torch.equal(batch.images[2:], plain.images[2:])


def test_mixing_is_done_to_normalised_augmented_images():
    """And erased afterwards."""
    augment = Augment(shift=2, colour=COLOUR, cutout=4, mixing=Mixing(mixup=1.0))
    mixed = batches(loader(small(), augment), ORDER, 0, 8)
    plain = batches(loader(small(), Augment(shift=2, colour=COLOUR)), ORDER, 0, 8)
    for batch, own in zip(mixed, plain, strict=True):
        share = batch.mix.share[:, None, None, None]
        loop = share * own.images + (1 - share) * own.images[torch.arange(8) ^ 1]
        kept = batch.images != 0
        torch.testing.assert_close(batch.images[kept], loop[kept])
        assert 0.8 < kept.float().mean() < 1


def test_large_images_are_turned_and_fitted_in_one_resampling():
    data = dataset(thumbnails())
    preprocess = Preprocess((12, 12), 3, policy="crop")
    augment = Augment(geometric=Geometric(rotate=20), border="mirror")
    made = Loader(data, targets, preprocess, augment=augment, seed=5, path="decoded")
    batch = batches(made, np.arange(6), 0, 6)[0]
    for i in range(6):
        image = data.images.read(i)
        matrix = batch.matrices[i].double().numpy()
        draws = augment.draw(5, 0, np.array([i]), (12, 12), (12, 12))
        np.testing.assert_allclose(matrix, draws.matrices[0] @ preprocess.matrix(*image.shape[:2]), atol=1e-4)


@pytest.mark.parametrize("path", ["resident", "decoded"])
def test_targets_follow_their_pixels(path):
    """A white pixel is the brightest of the moved image, where its target says."""
    pixels = np.zeros((24, 16, 18, 1), np.uint8)
    pixels[:, 6:9, 9:12] = 255
    dots = np.tile([10.5, 7.5, 2], (24, 1, 1)).astype(np.float32)
    objects = Objects(np.arange(25), np.full((24, 4), np.nan), np.zeros(24, np.int64), keypoints=dots)
    data = Dataset("dots", ArrayImages(pixels), {"objects": objects}, ("a",))
    augment = Augment(shift=1, flip="random", geometric=Geometric(rotate=20, elastic=0.05))
    made = Loader(data, lambda i: data.take("objects", i), Preprocess.choose(data), augment=augment, seed=1, path=path)
    y, x = np.mgrid[:16, :18] + 0.5
    for batch in batches(made, ORDER, 0, 8):
        for image, point in zip(batch.images[:, 0].numpy(), batch.targets.keypoints[:, 0, :2].numpy(), strict=True):
            centre = np.array([(x * image).sum(), (y * image).sum()]) / image.sum()
            assert np.abs(centre - point).max() < 0.25


@pytest.mark.parametrize("channels", [1, 3])
def test_looks_at_once_equal_looks_one_by_one(channels):
    images = np.random.default_rng(0).integers(0, 256, (16, 14, 15, channels)).astype(np.uint8)
    augment = Augment(colour=COLOUR, texture=Texture(1.5, 0.05, 0, 0.3, 0.3))
    look = augment.draw(0, 0, np.arange(16), (14, 15), (14, 15)).look
    batch = look_at_once(torch.from_numpy(images), look).numpy().astype(int)
    loop = np.stack([apply_look(image, look, row) for row, image in enumerate(images)]).astype(int)
    wide = np.abs(batch - loop) > 2  # a table may turn a difference of one level into a larger one
    assert wide.mean() < 0.03 and np.abs(batch - loop).mean() < 0.8
    with pytest.raises(ValueError, match="JPEG"):
        look_at_once(
            torch.from_numpy(images),
            Augment(texture=Texture(jpeg=50)).draw(0, 0, np.arange(16), (14, 15), (14, 15)).look,
        )


def test_what_a_device_cannot_do_at_once_is_decoded():
    data, cuda = small(), torch.device("cuda")
    assert "JPEG" in not_at_once(Augment(texture=Texture(jpeg=50)), cuda, 8)
    assert "16 bits" in not_at_once(Augment(texture=Texture(solarise=0.5)), cuda, 16)
    assert not not_at_once(Augment(colour=COLOUR, geometric=Geometric(elastic=0.01)), cuda, 8)
    assert not not_at_once(EVERYTHING, torch.device("cpu"), 16)
    assert choose_path(data, Preprocess.choose(data), "cpu", EVERYTHING)[0] == "resident"
    path, reason = choose_path(data, Preprocess.choose(data), "cuda", EVERYTHING)
    assert path == "decoded" and "image by image" in reason


def test_a_checkerboard_turned_and_shrunk_is_grey():
    """One warp of it leaves a deviation of 43 grey levels; the area filter before it leaves less than 1."""
    import cv2

    board = np.indices((3000, 4000)).sum(0).astype(np.uint8)[:, :, None] % 2 * 255
    draws = Augment(geometric=Geometric(rotate=15), border="mirror").draw(0, 0, np.arange(1), (3000, 4000), (224, 224))
    naive = cv2.warpAffine(board, draws.matrices[0, :2], (224, 224), flags=cv2.INTER_LINEAR)
    assert apply_image(board, draws).std() < 1 and naive.std() > 35
