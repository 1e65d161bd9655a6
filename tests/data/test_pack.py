"""Packs: what was packed comes back; what is damaged is refused; training from them sees what the source shows."""

import json
import multiprocessing
from dataclasses import replace

import cv2
import numpy as np
import pytest
from standins import ListImages, targets

from hubel.data.augment import Augment
from hubel.data.dataset import Bad, Dataset
from hubel.data.decode import BadImage
from hubel.data.findings import Finding
from hubel.data.formats import open_path
from hubel.data.formats import pack as packs
from hubel.data.images import ArrayImages, PackedNames
from hubel.data.loader import Loader
from hubel.data.objects import CROWD, Objects, Skeleton
from hubel.data.pack_write import pack
from hubel.data.path import choose_path
from hubel.data.preprocess import Preprocess
from hubel.data.ragged import Ragged
from hubel.data.sizes import image_sizes
from hubel.errors import UserError
from hubel.ops.geometry import move_points


def scenes(count=7, low=70, high=120, channels=3, dtype=np.uint8):
    """Smooth images of different sizes."""
    rng = np.random.default_rng(0)
    out = []
    for _ in range(count):
        height, width = rng.integers(low, high, 2)
        small = rng.integers(0, 256, (height // 12 + 2, width // 12 + 2, channels)).astype(np.uint8)
        image = cv2.resize(small, (int(width), int(height)), interpolation=cv2.INTER_CUBIC)
        out.append(image.reshape(height, width, channels).astype(dtype) * (257 if dtype == np.uint16 else 1))
    return ListImages(out)


class SomeMasks:
    """A column of masks, as data/masks.py has it."""

    classes = ("sky", "road")
    colours = np.array([[0, 0, 255], [90, 90, 90]], np.uint8)

    def __init__(self, masks):
        self.masks = masks

    def __len__(self):
        return len(self.masks)

    def read(self, i):
        if self.masks[i] is None:
            raise BadImage("truncated")
        return self.masks[i]

    def name(self, i):
        return f"mask{i}.png"


def objects(n=7):
    rings = [[np.float32([[1, 1], [9, 1], [9, 8]])], [], [np.float32([[0, 0], [4, 0], [4, 4], [0, 4]])] * 2]
    none = np.empty(0, np.uint32)
    found = Objects.unsorted(
        np.array([0, 3, 6]),
        n,
        labels=np.array([1, -1, 0]),
        boxes=np.array([[1.0, 1, 9, 8], [np.nan] * 4, [60, 60.25, 20, 90]]),  # faults are kept
        flags=np.array([CROWD, 0, 0], np.uint8),
        outlines=Ragged.pack_nested(rings, np.empty((0, 2), np.float32)),
        runs=Ragged.pack([np.array([3, 4], np.uint32), none, none], none),
        keypoints=np.arange(18, dtype=np.float32).reshape(3, 2, 3),
        areas=np.array([3.5, np.nan, 0]),
        ids=np.array([10, 20, 30]),
        lines=np.array([1, 2, 3]),
        skeleton=Skeleton(("left_eye", "right_eye"), ((0, 1),)),
    )
    return replace(found, files=PackedNames.pack([f"{i}.txt" for i in range(n)]))


def whole(images=None):
    """A dataset with everything that one can have."""
    rng = np.random.default_rng(2)
    images = images or scenes()
    n = len(images)
    masks = [rng.integers(0, 2, images.pixels[i].shape[:2]).astype(np.uint8) for i in range(n)]
    masks[2][:5] = 255
    columns = {
        "label": np.arange(n) % 2,
        "numbers": rng.random((n, 2)).astype(np.float32),
        "objects": objects(n),
        "mask": SomeMasks(masks),
        "declared_size": np.array([image.shape[:2] for image in images.pixels]),
    }
    return Dataset(
        "zoo",
        images,
        columns,
        ("chien d'été", "Katze"),
        {"train": np.array([0, 2, 4, 5]), "dev": np.array([1]), "test": np.array([3, 6])},
        np.linspace(0.5, 1, n, dtype=np.float32),
        source="somewhere",
        notes=("as it was",),
        quarantine=(Bad("x.jpg", "broken"),),
        traits={"mirror": False},
        findings=(Finding("unknown class", "a.txt", "no class 9", "mend it", 4),),
        tables={"pairs": np.array([[0, 1, 1], [2, 3, 0]])},
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def made(tmp_path, data=None, **options):
    out = pack(data or whole(), tmp_path / "zoo.pack", **options)
    return open_path(out)


pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("shards", [1, 3, 7])
@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint8), (3, np.uint16), (1, np.uint16)])
def test_everything_comes_back(tmp_path, shards, channels, dtype):
    before = whole(scenes(channels=channels, dtype=dtype))
    after = made(tmp_path, before, side=None, shards=shards)
    assert (after.images.channels, after.images.depth) == (channels, 8 * np.dtype(dtype).itemsize)
    for i, image in enumerate(before.images.pixels):
        found = after.images.read(i)
        assert found.dtype == dtype and np.array_equal(found, image)
        assert after.images.name(i) == before.images.name(i)
        assert np.array_equal(after.annotations["mask"].read(i), before.annotations["mask"].read(i))
    for column in ("label", "numbers", "declared_size"):
        assert np.array_equal(after.annotations[column], before.annotations[column])
    assert after.annotations["objects"].digest() == before.annotations["objects"].digest()
    assert after.annotations["objects"].skeleton == before.annotations["objects"].skeleton
    assert [after.annotations["objects"].files[i] for i in range(7)] == [f"{i}.txt".encode() for i in range(7)]
    assert np.array_equal(after.annotations["objects"].lines, [1, 2, 3])
    assert after.splits.keys() == before.splits.keys()
    assert all(np.array_equal(after.splits[part], before.splits[part]) for part in before.splits)
    assert np.array_equal(after.tables["pairs"], before.tables["pairs"])
    assert np.array_equal(after.weights, before.weights)
    for name in ("classes", "quarantine", "traits", "findings", "name"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.notes[-1] == "as it was" and "packed from somewhere" in after.notes[1]
    assert after.format == "pack"


def test_shorter_side_and_sizes_of_the_source(tmp_path):
    before = whole()
    after = made(tmp_path, side=50)
    for i, image in enumerate(before.images.pixels):
        found = after.images.read(i)
        assert min(found.shape[:2]) == 50 and found.shape[0] / found.shape[1] == pytest.approx(
            image.shape[0] / image.shape[1], rel=0.02
        )
        means = cv2.resize(image, found.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(found.astype(int) - means).max() <= 1
        assert after.images.open(i).size == image.shape[:2]
    assert np.array_equal(image_sizes(after.images), before.annotations["declared_size"])
    assert after.images.sizes(100).min(1).tolist() == [50] * 7
    assert np.array_equal(after.annotations["objects"].boxes, before.annotations["objects"].boxes, equal_nan=True)


def test_nothing_is_enlarged(tmp_path):
    after = made(tmp_path, side=500)
    assert np.array_equal(after.images.read(0), whole().images.pixels[0])


def test_jpeg_and_its_scales(tmp_path):
    before = whole(scenes(low=130, high=180))
    after = made(tmp_path, before, quality=95, side=None)
    for i, image in enumerate(before.images.pixels):
        assert np.abs(after.images.read(i).astype(int) - image).mean() < 4
        pixels, scale = after.images.open(i).pixels(2.5)
        assert scale == (0.5, 0.5) and pixels.shape[:2] == (image.shape[0] // 2, image.shape[1] // 2)
    assert sum(path.stat().st_size for path in tmp_path.rglob("images-*.bin")) < 0.5 * sum(
        image.nbytes for image in before.images.pixels
    )


def test_sixteen_bits_never_become_eight(tmp_path):
    with pytest.raises(UserError, match="JPEG has 8 bits"):
        pack(whole(scenes(dtype=np.uint16)), tmp_path / "a", quality=90)


@pytest.mark.parametrize("options", [{"side": 0}, {"quality": 0}, {"quality": 101}, {"shards": 0}, {"shards": 8}])
def test_wrong_options(tmp_path, options):
    with pytest.raises(UserError):
        pack(whole(), tmp_path / "a", **options)
    assert not list(tmp_path.glob("*pack*")) and not (tmp_path / "a").exists()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "zoo.pack").mkdir()
    with pytest.raises(UserError, match="exists"):
        made(tmp_path)


def test_what_cannot_be_read_keeps_its_place(tmp_path):
    before = whole()
    before.images.bad = (2, 5)
    before.annotations["mask"].masks[4] = None
    after = made(tmp_path, before, shards=2)
    assert after.weights[[2, 5]].tolist() == [0, 0] and (after.weights[[0, 1, 3, 4, 6]] > 0).all()
    assert {b.name: b.reason for b in after.quarantine} == {
        "x.jpg": "broken", "image2.png": "truncated", "image5.png": "truncated"
    }  # fmt: skip
    with pytest.raises(BadImage, match="truncated"):
        after.images.read(2)
    with pytest.raises(BadImage):
        after.annotations["mask"].read(4)
    loader = Loader(after, targets, Preprocess((20, 20), 3), path="packed")
    batch = next(loader.batches(np.arange(7), 0, 7))
    assert batch.weights.tolist() == after.weights.tolist() and loader.failed.keys() == {"image2.png", "image5.png"}


def test_leaves_nothing_behind_when_it_fails(tmp_path):
    before = whole()
    before.images.bugs = (3,)
    with pytest.raises(ZeroDivisionError):
        pack(before, tmp_path / "a.pack")
    assert not list(tmp_path.iterdir())


# Damage ----------------------------------------------------------------------------------------------------------


def files_of(tmp_path):
    made(tmp_path, shards=2)
    return sorted((tmp_path / "zoo.pack").iterdir())


@pytest.mark.parametrize("which", range(6))
def test_every_file_is_checked(tmp_path, which):
    path = files_of(tmp_path)[which]
    whole_file = path.read_bytes()
    for change in ("truncated", "longer", "flipped", "missing", "empty"):
        data = bytearray(whole_file)
        if change == "truncated":
            data = data[: len(data) // 2]
        elif change == "longer":
            data += b"\0"
        elif change == "flipped":
            data[len(data) // 3] ^= 1
        path.write_bytes(b"" if change == "empty" else bytes(data))
        if change == "missing":
            path.unlink()
        with pytest.raises(UserError) as told:
            packs.read(tmp_path / "zoo.pack")
        assert path.name in str(told.value) and "again" in str(told.value), change
        path.write_bytes(whole_file)
    packs.read(tmp_path / "zoo.pack")


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_refused_before_it_is_read(tmp_path, monkeypatch, change):
    path = next(one for one in files_of(tmp_path) if one.suffix == ".bin")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size + change)
    monkeypatch.setattr(packs, "_hash", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(UserError, match=f"{path.name} has {size + change:,} bytes instead of {size:,}"):
        packs.read(tmp_path / "zoo.pack")


def test_another_version(tmp_path):
    path = next(p for p in files_of(tmp_path) if p.name == "pack.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hubel pack": 2}))
    with pytest.raises(UserError, match="version 2"):
        open_path(path.parent)


def test_a_hostile_head(tmp_path):
    """Sealed anew, so that only its content speaks: no file elsewhere is opened, no place beyond a file."""
    from hubel.data.packed import seal_of

    path = next(p for p in files_of(tmp_path) if p.name == "pack.json")
    head = json.loads(path.read_text())
    other = tmp_path / "secret"
    other.write_text("x")
    for change in (
        {"files": {"../secret": {"bytes": 1, "blake2b": ""}}},
        {"files": []},
        {"files": {"images-00000.bin": {"bytes": "many"}}},
        {"shards": 9},
        {"depth": 12},
        {"kind": "pickle"},
        {"channels": 1},
        {"bad": {"x": "y"}},
        {"masks": 3},
        {"objects": {"ghost": None}},
        {"classes": ["one"]},
        {"classes": None},
    ):
        hostile = head | change
        path.write_text(json.dumps(hostile | {"seal": seal_of(hostile)}))
        with pytest.raises(UserError):
            packs.read(path.parent)


def test_hashes_are_remembered(tmp_path, monkeypatch):
    files_of(tmp_path)  # opened once
    monkeypatch.setattr(packs, "_hash", lambda path: pytest.fail("hashed again"))
    packs.read(tmp_path / "zoo.pack")


# Training from packs ---------------------------------------------------------------------------------------------


def test_the_path_is_announced(tmp_path):
    after = made(tmp_path)
    path, reason = choose_path(after, Preprocess((20, 20), 3), "cpu")
    assert path == "packed" and "pack" in reason
    small = Dataset("small", ArrayImages(np.zeros((4, 8, 8, 3), np.uint8)), {"label": np.zeros(4, int)}, ("a",))
    assert choose_path(open_path(pack(small, tmp_path / "s.pack")), Preprocess((8, 8), 3), "cpu")[0] == "resident"


@pytest.mark.parametrize("augment", [None, Augment(crop=(0.5, 1), flip="random"), Augment(shift=3, flip="random")])
def test_boxes_stay_in_source_pixels(tmp_path, augment):
    """The matrix of a batch leads from the source's pixels to those of the target: a marked corner lies there."""
    images = []
    for i in range(6):
        image = np.zeros((200 + 10 * i, 260, 3), np.uint8)
        image[90:110, 120:140] = 255
        images.append(image)
    after = made(tmp_path, Dataset("marks", ListImages(images), {}), side=100)
    with Loader(after, targets, Preprocess((80, 80), 3, std=(1 / 255,)), augment=augment, path="packed") as loader:
        batch = next(loader.batches(np.arange(6), 0, 6))
    assert batch.sizes[:, 0].tolist() == [200 + 10 * i for i in range(6)]
    for image, matrix in zip(batch.images, batch.matrices, strict=True):
        x, y = move_points(np.array([[130.0, 100.0]]), matrix.double().numpy())[0]
        if 5 < x < 75 and 5 < y < 75:
            rows, columns = np.nonzero(image[0].numpy() > 127)
            assert abs(columns.mean() + 0.5 - x) < 0.6 and abs(rows.mean() + 0.5 - y) < 0.6


def test_slots_decide_and_not_workers(tmp_path):
    after = made(tmp_path, shards=2, side=64)
    order, augment = np.random.default_rng(0).permutation(7), Augment(crop=(0.3, 1), flip="random")

    def read(workers, start=0):
        with Loader(after, targets, Preprocess((32, 32), 3), augment=augment, workers=workers, path="packed") as loader:
            return [batch.images for batch in loader.batches(order, 3, 2, start=start)]

    alone = read(0)
    assert all(np.array_equal(a, b) for a, b in zip(alone[2:], read(0, 2), strict=True))
    if multiprocessing.get_start_method() == "fork":
        assert all(np.array_equal(a, b) for a, b in zip(alone, read(2), strict=True))


def test_spawned_workers_map_their_own(tmp_path):
    import pickle

    after = made(tmp_path)
    after.images.read(0)
    data = pickle.dumps(after.images)
    assert len(data) < 20_000 and np.array_equal(pickle.loads(data).read(3), after.images.read(3))


def test_a_pack_can_be_packed_again(tmp_path):
    first = made(tmp_path, side=100)
    second = open_path(pack(first, tmp_path / "b.pack", side=50))
    assert second.images.open(1).size == whole().images.pixels[1].shape[:2]
    assert min(second.images.read(1).shape[:2]) == 50
    assert np.array_equal(second.annotations["mask"].read(1), first.annotations["mask"].read(1))


def test_masks_renumbered(tmp_path):
    masks = made(tmp_path).annotations["mask"]
    other = masks.renumbered(np.array([2, 0]), ("road", "x", "sky")).take(np.array([2, 1]))
    for k, i in enumerate((2, 1)):
        before = masks.read(i)
        assert np.array_equal(other.read(k), np.where(before == 255, 255, np.array([2, 0, 0])[np.minimum(before, 2)]))
    assert other.digest() != masks.digest() and other.colours.tolist() == [[90, 90, 90], [0, 0, 0], [0, 0, 255]]
