"""The same slots show the same pixels, whatever path they come by, up to the path's stated resampling."""

import numpy as np
import pytest
import torch
from PIL import Image
from standins import ListImages, targets

from hubel.data.augment import Augment
from hubel.data.dataset import Dataset
from hubel.data.formats import open_path
from hubel.data.images import FileImages, PackedNames
from hubel.data.loader import Loader
from hubel.data.order import epoch_order
from hubel.data.pack_write import pack
from hubel.data.preprocess import Preprocess
from hubel.data.shares import owned_parts

AUGMENTS = {
    "plain": None,
    "crop": Augment(crop=(0.2, 1.0), flip="random"),
    "shift": Augment(shift=5, flip="random", cutout=9),
    "alternating": Augment(flip="alternating", shift=1),
}


def smooth(height, width, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(rng.uniform(0.01, 0.12) * x + rng.uniform(0.01, 0.12) * y + rng.uniform(0, 6)) for _ in range(9)]
    return np.stack([127 + 40 * sum(waves[3 * c : 3 * c + 3]) for c in range(3)], -1).clip(0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """JPEG files of different sizes, some turned by EXIF."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    sizes = np.random.default_rng(0).integers(150, 420, (12, 2))
    for i, (height, width) in enumerate(sizes.tolist()):
        exif = Image.Exif()
        exif[0x0112] = 6 if i % 4 == 3 else 1
        image = Image.fromarray(smooth(height, width, i))
        image.save(tmp_path / "photos" / f"{i:02}.jpg", quality=95, subsampling=0, exif=exif)
    return tmp_path


def files(folder):
    names = PackedNames.pack(sorted(path.name for path in (folder / "photos").iterdir()))
    return Dataset("photos", FileImages(str(folder / "photos"), names), {}, splits={"train": np.arange(12)})


def whole(folder):
    """The same, every pixel of the file, without the fast lane."""
    images = files(folder).images
    return Dataset("photos", ListImages([images.read(i) for i in range(12)]), {})


def batch(dataset, augment, size=(96, 96), path=None, workers=0, **options):
    preprocess = Preprocess(size, 3, std=(1 / 255,))
    order = epoch_order(np.arange(12), 3, 7, "shuffle")
    with Loader(dataset, targets, preprocess, augment=augment, seed=7, path=path, workers=workers) as loader:
        return next(iter(loader.batches(order, 3, 12, **options)))


@pytest.mark.parametrize("name", AUGMENTS)
def test_decoded_at_a_scale_or_whole(folder, name):
    """The fast lane shows what full decoding shows: bit for bit without a crop, else within two grey levels."""
    fast, full = (batch(data(folder), AUGMENTS[name], path="decoded") for data in (files, whole))
    assert torch.equal(fast.sizes, full.sizes) and torch.equal(fast.index, full.index)
    if name != "crop":
        assert torch.equal(fast.images, full.images) and torch.equal(fast.matrices, full.matrices)
    assert (fast.images - full.images).abs().mean() < 2
    assert (fast.matrices - full.matrices).abs().max() < 1.01  # a pixel of the target at its far edge


@pytest.mark.parametrize("quality", [None, 95])
@pytest.mark.parametrize("name", AUGMENTS)
def test_packed_or_decoded(folder, name, quality):
    packed = open_path(pack(files(folder), folder / "photos.pack", side=140, quality=quality, shards=3))
    ours, theirs = batch(packed, AUGMENTS[name]), batch(files(folder), AUGMENTS[name])
    assert torch.equal(ours.sizes, theirs.sizes)
    assert (ours.images - theirs.images).abs().mean() < 3
    assert (ours.matrices[:, :2, :2] - theirs.matrices[:, :2, :2]).abs().max() < 0.02


def test_packed_as_it_is_equals_decoded(folder):
    """Nothing is resized twice: full size, raw, no crop that could be scaled."""
    packed = open_path(pack(files(folder), folder / "photos.pack", side=None))
    for name in ("plain", "shift", "alternating"):
        assert torch.equal(batch(packed, AUGMENTS[name]).images, batch(files(folder), AUGMENTS[name]).images)


def test_resident_or_decoded_or_packed(folder):
    """Thumbnails of one size: moves by whole pixels are the same bits on every path."""
    thumbs = ListImages([smooth(32, 32, i) for i in range(12)])
    dataset = Dataset("thumbs", thumbs, {})
    packed = open_path(pack(dataset, folder / "thumbs.pack"))
    for name in ("plain", "shift", "alternating"):
        resident = batch(dataset, AUGMENTS[name], (32, 32), "resident")
        for data, path in ((dataset, "decoded"), (packed, "packed")):
            other = batch(data, AUGMENTS[name], (32, 32), path)
            assert torch.equal(resident.images, other.images) and torch.equal(resident.matrices, other.matrices)
    resident, decoded = (batch(dataset, AUGMENTS["crop"], (32, 32), path) for path in ("resident", "decoded"))
    assert torch.equal(resident.matrices, decoded.matrices)
    assert (resident.images - decoded.images).abs().mean() < 2


@pytest.mark.processes
@pytest.mark.parametrize("workers", [1, 4])
def test_workers_change_nothing(folder, workers):
    packed = open_path(pack(files(folder), folder / "photos.pack", side=140, shards=3))
    for data in (files(folder), packed):
        alone = batch(data, AUGMENTS["crop"])
        found = batch(data, AUGMENTS["crop"], workers=workers)
        assert torch.equal(alone.images, found.images) and torch.equal(alone.matrices, found.matrices)


# Shards and processes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("n", "batch_size", "world"), [(100, 16, 2), (101, 16, 3), (7, 4, 2), (64, 64, 4), (5, 64, 2)])
def test_each_process_reads_its_own(n, batch_size, world, drop_last):
    order = np.random.default_rng(1).permutation(n)
    owners = np.random.default_rng(2).integers(0, world, n)
    found = [owned_parts(order, owners, batch_size, (rank, world), drop_last) for rank in range(world)]
    new = found[0][0]
    count = n // batch_size if drop_last else -(-n // batch_size)
    slots = []
    for rank, (own, parts) in enumerate(found):
        assert np.array_equal(own, new) and len(parts) == count
        assert all((owners[new[part]] == rank).all() for part in parts)
        slots += parts
        mine = np.concatenate([new[part] for part in parts]) if count else np.empty(0, int)
        before = [i for i in order if owners[i] == rank]
        assert mine.tolist() == before[: len(mine)]  # the epoch's order, as far as it goes
    seen = np.sort(np.concatenate(slots)) if slots else np.empty(0, int)
    assert np.array_equal(seen, np.arange(len(new)))  # every slot once
    if not drop_last:
        assert np.array_equal(np.sort(new), np.arange(n))  # every image once
    if count:
        sizes = np.sum([[len(part) for part in parts] for _, parts in found], axis=0)
        assert sizes.max() <= batch_size + 2 * world


def test_a_pack_is_shared_out(folder):
    packed = open_path(pack(files(folder), folder / "photos.pack", side=100, shards=4))
    preprocess, order = Preprocess((32, 32), 3), np.arange(12)[::-1].copy()
    seen = []
    for rank in (0, 1):
        with Loader(packed, targets, preprocess, path="packed") as loader:
            batches = list(loader.batches(order, 0, 4, shard=(rank, 2)))
            later = list(loader.batches(order, 0, 4, start=1, shard=(rank, 2)))
        assert len(batches) == 3 and torch.equal(later[0].images, batches[1].images)
        index = torch.cat([b.index for b in batches]).tolist()
        assert all(i % 4 % 2 == rank for i in index)  # its own shards
        seen += index
    assert sorted(seen) == list(range(12))
    assert packed.images.owners(5) is None  # fewer shards than processes: anyone reads anything
