"""Images with masks: what values mean, which mask is whose, how masks lie on images; round trips; what is refused."""

import os
import pickle
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hubel.data.dataset import Dataset
from hubel.data.decode import BadImage, decode
from hubel.data.formats import masks, open_path
from hubel.data.images import FileImages, PackedNames
from hubel.data.masks import Masks
from hubel.errors import UserError

often = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
RNG = np.random.default_rng(0)


def save(path, values, mode=None, **options):
    """An array, or a PIL image, to a file of any kind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = values if isinstance(values, Image.Image) else Image.fromarray(np.asarray(values))
    (image.convert(mode) if mode else image).save(path, **options)


def photo(h, w):
    return RNG.integers(0, 256, (h, w, 3)).astype(np.uint8)


@pytest.fixture
def make(tmp_path):
    """make({stem: values}, yaml) writes images/ and masks/ and returns their folder."""

    def write(values, yaml=None, name="set", image="images/{}.jpg", mask="masks/{}.png", mode=None):
        root = tmp_path / name
        for stem, one in values.items():
            h, w = np.asarray(one).shape[:2]
            save(root / image.format(stem), photo(h, w))
            save(root / mask.format(stem), one, mode)
        if yaml is not None:
            (root / "data.yaml").write_text(yaml)
        return root

    return write


@pytest.fixture
def fresh(tmp_path_factory):
    """A new folder each time it is called."""
    return lambda: Path(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def camvid_dev(data_dir, tmp_path_factory):
    """150 training and 40 dev images of road scenes with masks of 11 classes and 11 = unlabelled."""
    if not (data_dir / "camvid_dev.tar").exists():
        pytest.skip("HUBEL_DATA has no camvid_dev.tar")
    folder = tmp_path_factory.mktemp("data") / "camvid_dev"
    with tarfile.open(data_dir / "camvid_dev.tar") as tar:
        tar.extractall(folder, filter="data")
    return folder


def kinds(dataset):
    return [(f.kind, f.file) for f in dataset.findings]


def read_all(dataset):
    column = dataset.annotations["mask"]
    return {Path(dataset.images.name(i)).stem: column.read(i).tolist() for i in range(len(dataset))}


# The real set --------------------------------------------------------------------------------------------------


def test_camvid_against_a_loop(camvid_dev, untouched):
    found = masks.read(untouched(camvid_dev))
    column = found.annotations["mask"]
    assert found.classes[:3] == ("Sky", "Building", "Pole") and len(found.classes) == 11
    assert {k: len(v) for k, v in found.splits.items()} == {"train": 150, "dev": 40} and not found.findings
    for i in range(0, len(found), 7):
        path = camvid_dev / found.images.name(i).replace("images", "masks").replace(".jpg", ".png")
        expected = np.asarray(Image.open(path)).copy()
        expected[expected == 11] = 255
        assert np.array_equal(column.read(i), expected) and column.read(i).dtype == np.uint8
        assert column.read(i).shape == found.images.read(i).shape[:2] and column.strange(i) == {}
    assert masks.read(camvid_dev / "data.yaml").hash() == found.hash()


def test_camvid_options_come_before_data_yaml(camvid_dev):
    found = masks.read(camvid_dev, names={3: "road", 8: "car"}, ignore=[0, 1, 2, 4, 5, 6, 7, 9, 10, 11])
    assert found.classes == ("road", "car")
    assert set(np.unique(found.annotations["mask"].read(0))) <= {0, 1, 255}
    found = masks.read(camvid_dev, names="Sky,Building", ignore=11)
    raw = np.asarray(Image.open(camvid_dev / "train/masks" / f"{Path(found.images.name(0)).stem}.png"))
    values, counts = np.unique(raw, return_counts=True)
    expected = {v: n for v, n in zip(values.tolist(), counts.tolist(), strict=True) if v not in (0, 1, 11)}
    assert found.annotations["mask"].strange(0) == expected
    assert (found.annotations["mask"].read(0)[raw > 1] == 255).all()


def test_camvid_round_trip(camvid_dev, tmp_path):
    found = masks.read(camvid_dev)
    assert masks.write(found, tmp_path / "out") == []
    back = masks.read(tmp_path / "out")
    assert (back.classes, back.findings) == (found.classes, ())
    assert [back.images.name(i) for i in range(190)] == [found.images.name(i) for i in range(190)]
    assert {k: v.tolist() for k, v in back.splits.items()} == {k: v.tolist() for k, v in found.splits.items()}
    for i in range(0, 190, 19):
        assert np.array_equal(back.annotations["mask"].read(i), found.annotations["mask"].read(i))
        assert Path(back.images.path(i)).read_bytes() == Path(found.images.path(i)).read_bytes()


# What values mean ----------------------------------------------------------------------------------------------

INDEX = np.array([[0, 1, 2], [2, 255, 7]], np.uint8)


@pytest.mark.parametrize("kind", ["grey", "palette", "sixteen", "rgb", "rgba"])
def test_numbers_of_every_kind(make, kind):
    values = Image.fromarray(INDEX)
    if kind == "palette":
        values.putpalette(RNG.integers(0, 256, 768).astype(np.uint8).tobytes())
    elif kind == "sixteen":
        values = Image.fromarray(INDEX.astype(np.uint16))
    elif kind in ("rgb", "rgba"):
        values = values.convert(kind.upper())
    found = masks.read(make({"a": values}, "names: [x, y, z]"))
    column = found.annotations["mask"]
    assert column.read(0).tolist() == [[0, 1, 2], [2, 255, 255]]
    assert column.strange(0) == {7: 1} and column.ignore == (255,)


def test_sixteen_bits_with_values_above_255(make):
    values = np.array([[300, 0], [65535, 1000]], np.uint16)
    found = masks.read(make({"a": values}, "names: {300: road, 1000: sky}\nignore: [0, 65535]"))
    assert found.classes == ("road", "sky") and read_all(found) == {"a": [[0, 255], [255, 1]]}
    unnamed = masks.read(make({"a": values}, name="b"))
    assert unnamed.classes == ("0", "300", "1000", "65535")


def test_few_bits(tmp_path):
    """PNG of 2 and 4 bits: Pillow spreads grey values over 0 … 255, the file has 0 … 3 and 0 … 15."""
    for bits, values in ((2, [0, 1, 2, 3]), (4, [0, 3, 14, 15])):
        row = sum(value << (4 - 1 - k) * bits for k, value in enumerate(values)).to_bytes(4 * bits // 8, "big")
        head = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n"
        for name, body in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")):
            data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        root = tmp_path / str(bits)
        save(root / "images/a.png", photo(1, 4))
        (root / "masks").mkdir()
        (root / "masks/a.png").write_bytes(data)
        found = masks.read(root, names=[str(k) for k in range(16)])
        assert read_all(found) == {"a": [values]}


@pytest.mark.parametrize(
    ("values", "yaml", "classes", "expected"),
    [
        ([[0, 255]], None, ("background", "foreground"), [[0, 1]]),
        ([[0, 1]], None, ("background", "foreground"), [[0, 1]]),
        ([[0, 255]], "names: [skin, mole]", ("skin", "mole"), [[0, 1]]),
        ([[0, 255]], "names: [mole]", ("background", "mole"), [[0, 1]]),
        ([[0, 1]], "names: [mole]", ("background", "mole"), [[0, 1]]),
        ([[0, 255]], "names: [skin, mole]\nignore: 255", ("skin", "mole"), [[0, 255]]),
        ([[0, 255]], "names: {0: skin, 255: mole}", ("skin", "mole"), [[0, 1]]),
        ([[0, 2, 255]], None, ("0", "1", "2"), [[0, 2, 255]]),
        ([[0, 2, 255]], "names: [a, b, c]\nignore: []", ("a", "b", "c"), [[0, 2, 255]]),
        ([[0, 2, 4]], "names: [a, b, c, d, e]\nignore: 2", ("a", "b", "d", "e"), [[0, 255, 3]]),
    ],
)
def test_meaning_of_numbers(make, values, yaml, classes, expected):
    found = masks.read(make({"a": np.array(values, np.uint8)}, yaml))
    assert found.classes == classes and read_all(found) == {"a": expected}


def test_one_bit(make):
    found = masks.read(make({"a": Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")}, "names: [no, yes]"))
    assert found.classes == ("no", "yes") and read_all(found) == {"a": [[0, 1]]}


COLOURS = np.array([[[128, 0, 0], [0, 128, 64]], [[0, 0, 0], [9, 9, 9]]], np.uint8)


def test_colours(make):
    yaml = "names: [road, sky]\ncolors: [[128, 0, 0], '#008040']\nignore: [0, 0, 0]\n"
    found = masks.read(make({"a": COLOURS}, yaml))
    column = found.annotations["mask"]
    assert found.classes == ("road", "sky") and read_all(found) == {"a": [[0, 1], [255, 255]]}
    assert column.strange(0) == {0x090909: 1} and column.colours.tolist() == [[128, 0, 0], [0, 128, 64]]
    again = masks.read(
        make({"a": COLOURS}, name="b"), names=["road", "sky"], colors=["128,0,0", (0, 128, 64)], ignore="#000000"
    )
    assert read_all(again) == read_all(found)


def test_colours_without_names(make):
    found = masks.read(make({"a": COLOURS}))
    assert found.classes == ("#000000", "#008040", "#090909", "#800000")
    assert read_all(found) == {"a": [[3, 1], [0, 2]]}
    with pytest.raises(UserError, match="Give `colors`"):
        masks.read(make({"a": COLOURS}, "names: [a, b]", name="b"))


def test_a_palette_whose_numbers_mean_nothing(make):
    """Programs that save coloured masks with a palette number the colours as they come: colours decide."""
    picture = Image.fromarray(COLOURS[:1]).convert("P", palette=Image.Palette.ADAPTIVE)
    assert sorted(np.unique(np.asarray(picture))) == [0, 1]
    found = masks.read(make({"a": picture}, "names: [sky, road]\ncolors: ['#008040', '#800000']"))
    assert read_all(found) == {"a": [[1, 0]]}


def test_colours_to_draw_index_masks_with(make):
    picture = Image.fromarray(INDEX)
    picture.putpalette(RNG.integers(0, 256, 768).astype(np.uint8).tobytes())
    found = masks.read(make({"a": picture}, "names: [x, y, z]\ncolors: ['#010203', '#040506', '#070809']"))
    assert found.annotations["mask"].read(0).tolist() == [[0, 1, 2], [2, 255, 255]]
    assert found.annotations["mask"].colours.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_names_of_classes_txt(make):
    root = make({"a": INDEX})
    (root / "classes.txt").write_text("x\r\ny\n\nz\n")
    assert masks.read(root).classes == ("x", "y", "z")


@pytest.mark.parametrize(
    ("values", "yaml", "words"),
    [
        (INDEX, "names: x", "names must be"),
        (INDEX, "names: [x]\nignore: many", "ignore is a value"),
        (INDEX, "names: [x]\nignore: -1", "ignore is a value"),
        (INDEX, "names: [x]\nignore: 0", "0 classes"),
        (INDEX, "names: [x]\ncolors: [red]", "a colour is"),
        (COLOURS, "names: [x, y]\ncolors: ['#000000']", "2 names but 1 colors"),
        (COLOURS, "names: [x, y]\ncolors: ['#000000', '#000000']", "the same colour"),
        (np.full((2, 2), 255, np.uint8), "ignore: 255", "name no class"),
        (photo(90, 90), None, "a photograph"),
    ],
)
def test_settings_that_cannot_be_understood(make, values, yaml, words):
    with pytest.raises(UserError, match=words):
        masks.read(make({"a": values}, yaml))


def test_settings_that_are_anything(make):
    root = make({"a": INDEX})

    @often
    @given(st.one_of(st.binary(max_size=40), st.text("names:colorigt {}[],#0123-'\n", max_size=50).map(str.encode)))
    def check(content):
        (root / "data.yaml").write_bytes(content)
        try:
            assert masks.read(root).annotations["mask"].read(0).shape == (2, 3)
        except UserError as fault:
            assert str(root) in str(fault) or "data.yaml" in str(fault)

    check()


# Which mask is whose -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("images/x/{}.png", "masks/x/{}.png"),
        ("images/{}.jpg", "masks/{}_mask.png"),
        ("images/{}.jpg", "masks/{}_label.png"),
        ("Images/{}.jpg", "Masks/{}.bmp"),
        ("images/{}.jpg", "labels/{}.png"),
        ("images/{}.jpg", "annotations/{}.tif"),
    ],
)
def test_names_of_masks(make, image, mask, untouched):
    root = untouched(make({"10": INDEX, "9": INDEX * 0}, "names: [x, y, z]", image=image, mask=mask))
    found = masks.read(root)
    assert [Path(found.images.name(i)).stem for i in range(2)] == ["9", "10"] and not found.findings
    assert read_all(found) == {"9": [[0] * 3] * 2, "10": [[0, 1, 2], [2, 255, 255]]}
    assert masks.recognise(root) and found.splits == {} and found.format == "masks" and found.source == str(root)


def test_parts(make):
    layouts = [("{p}/images/{{}}.jpg", "{p}/masks/{{}}.png"), ("images/{p}/{{}}.jpg", "masks/{p}/{{}}.png")]
    for k, layout in enumerate(layouts):
        for part in ("train", "validation", "test"):
            image, mask = (one.format(p=part) for one in layout)
            root = make({part[0]: INDEX}, "names: [x, y, z]", name=f"set{k}", image=image, mask=mask)
        found = masks.read(root)
        assert {p: [Path(found.images.name(i)).stem for i in v] for p, v in found.splits.items()} == {
            "train": ["t"], "dev": ["v"], "test": ["t"]}  # fmt: skip


@pytest.mark.parametrize("mask", ["{}annot/{{}}.png", "{}_masks/{{}}_mask.gif"])
def test_masks_in_a_folder_beside_each_part(make, mask):
    for part, stem in (("train", "a"), ("val", "b")):
        root = make({stem: INDEX}, "names: [x, y, z]", image=f"{part}/{{}}.png", mask=mask.format(part))
    found = open_path(root)
    assert found.format == "masks" and {p: v.tolist() for p, v in found.splits.items()} == {"train": [0], "dev": [1]}
    assert read_all(found) == {key: [[0, 1, 2], [2, 255, 255]] for key in "ab"}


def test_lists_and_data_yaml_name_the_parts(make):
    root = make({"a": INDEX, "b": INDEX, "c": INDEX}, "names: [x, y, z]")
    (root / "train.txt").write_text("a\r\nimages/b.jpg masks/b.png\nno\n")
    (root / "val.txt").write_text("c.jpg\n")
    found = masks.read(root)
    assert {k: v.tolist() for k, v in found.splits.items()} == {"train": [0, 1], "dev": [2]}
    assert [(f.kind, f.file, f.line) for f in found.findings] == [("missing file", "train.txt", 3)]
    (root / "data.yaml").write_text("names: [x, y, z]\ntrain: images\nval: [images/c.jpg]\n")
    found = masks.read(root)
    assert {k: v.tolist() for k, v in found.splits.items()} == {"train": [0, 1, 2], "dev": [2]}
    assert [f.reason for f in found.findings] == ["the image is in train and in dev"]


def test_images_without_masks_and_masks_without_images(make):
    root = make({"a": INDEX, "b": INDEX}, "names: [x, y, z]")
    (root / "masks/a.png").rename(root / "masks/gone.png")
    found = masks.read(root)
    assert kinds(found) == [("missing file", "masks/gone.png")]
    assert found.annotations["mask"].read(0).tolist() == [[255] * 3] * 2
    assert any("1 images have no mask" in note for note in found.notes)


def test_a_part_without_masks(make):
    root = make({"a": INDEX}, "names: [x, y, z]", image="train/images/{}.jpg", mask="train/masks/{}.png")
    save(root / "test/images/b.jpg", photo(4, 5))
    found = masks.read(root)
    assert {k: len(v) for k, v in found.splits.items()} == {"train": 1, "test": 1}
    assert (found.annotations["mask"].read(1) == 255).all() and found.annotations["mask"].read(1).shape == (4, 5)


def test_hostile_names(make, tmp_path):
    elsewhere = make({"s": INDEX}, name="elsewhere")
    root = make({"a": INDEX, "b": INDEX, "c": INDEX}, "names: [x, y, z]")
    (root / "masks/a.png").unlink()
    (root / "masks/a.png").symlink_to(elsewhere / "masks/s.png")
    (root / "masks/b.png").unlink()
    os.mkfifo(root / "masks/b.png")
    (root / "images/s.jpg").symlink_to(elsewhere / "images/s.jpg")
    (root / "classes.txt").symlink_to(tmp_path / "elsewhere/images/s.jpg")
    found = masks.read(root)
    assert [found.images.name(i) for i in range(len(found))] == ["images/a.jpg", "images/b.jpg", "images/c.jpg"]
    assert sorted(kinds(found)) == [("outside folder", "images/s.jpg"), ("outside folder", "masks/a.png")]
    assert [bool(len(found.annotations["mask"].names[i])) for i in range(3)] == [False, False, True]


def test_lossy_masks_are_refused(make):
    root = make({"a": INDEX}, mask="masks/{}.jpg")
    assert masks.recognise(root)
    with pytest.raises(UserError, match="JPEG files change values"):
        masks.read(root)


def test_what_is_no_mask_set(make, tmp_path):
    assert masks.recognise(make({"a": INDEX}, image="cat/{}.jpg", mask="dog/{}.png")) is None
    assert masks.recognise(tmp_path / "nothing") is None
    root = make({"a": INDEX}, name="b", mask="labels/{}.png")
    (root / "labels/a.png").rename(root / "labels/a.txt")
    assert masks.recognise(root) is None


# The column ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(1, 9))
def test_masks_lie_on_the_image_as_it_is_shown(tmp_path, turn):
    """The camera stored a turned image; the mask was drawn on the stored pixels, or on what viewers show."""
    stored = RNG.integers(0, 200, (4, 6)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = turn
    save(tmp_path / "images/a.png", np.repeat(stored[:, :, None], 3, 2), exif=exif)
    shown = decode(tmp_path / "images/a.png")[:, :, 0]
    save(tmp_path / "masks/a.png", shown)
    names = [str(k) for k in range(255)]
    assert np.array_equal(masks.read(tmp_path, names=names).annotations["mask"].read(0), shown)
    save(tmp_path / "masks/a.png", stored, exif=exif)  # the mask says itself how it is turned
    assert np.array_equal(masks.read(tmp_path, names=names).annotations["mask"].read(0), shown)
    save(tmp_path / "masks/a.png", stored)
    if turn >= 5:  # its size says that it lies on the stored pixels
        assert np.array_equal(masks.read(tmp_path, names=names).annotations["mask"].read(0), shown)


def test_a_mask_of_another_size_is_bad(make):
    root = make({"a": INDEX}, "names: [x, y, z]")
    save(root / "masks/a.png", INDEX.T)
    column = masks.read(root).annotations["mask"]
    with pytest.raises(BadImage, match="the mask has 2 x 3 pixels, the image 3 x 2"):
        column.read(0)
    assert column.strange(0) == {7: 1}


def test_damaged_masks_are_bad(make):
    root = make({"a": RNG.integers(0, 3, (30, 30)).astype(np.uint8), "b": INDEX}, "names: [x, y, z]")
    whole = (root / "masks/a.png").read_bytes()
    column = masks.read(root).annotations["mask"]
    for length in range(0, len(whole), len(whole) // 16):
        (root / "masks/a.png").write_bytes(whole[:length])
        with pytest.raises(BadImage):
            column.read(0)
    (root / "masks/a.png").write_bytes(b"GIF89a" + bytes(20))
    with pytest.raises(BadImage):
        column.read(0)
    (root / "masks/a.png").unlink()
    with pytest.raises(BadImage):
        column.read(0)
    save(root / "masks/a.png", photo(30, 30))
    with pytest.raises(BadImage, match="a mask in colours among masks of numbers"):
        column.read(0)


def test_take_pickle_and_digest(make):
    root = make({"a": INDEX, "b": INDEX * 0, "c": INDEX}, "names: [x, y, z]")
    column = masks.read(root).annotations["mask"]
    taken = pickle.loads(pickle.dumps(column.take(np.array([1, 0, 1]))))
    assert [taken.read(i).tolist() for i in range(3)] == [column.read(i).tolist() for i in (1, 0, 1)]
    assert len(taken) == 3 and taken.name(0) == "masks/b.png"
    column.read(0)  # its tables are not pickled
    assert len(pickle.dumps(column)) < 3000
    before = column.digest()
    assert masks.read(root).annotations["mask"].digest() == before
    assert masks.read(root, ignore=2).annotations["mask"].digest() != before
    os.utime(root / "masks/b.png", (1, 1))
    assert column.digest() != before


def test_renumbered(make):
    column = masks.read(make({"a": INDEX}, "names: [x, y, z]\ncolors: ['#010101', '#020202', '#030303']")).annotations[
        "mask"
    ]
    other = column.renumbered(np.array([3, 0, 1]), ("y", "z", "w", "x"))
    assert other.read(0).tolist() == [[3, 0, 1], [1, 255, 255]]
    assert other.colours.tolist() == [[2] * 3, [3] * 3, [0] * 3, [1] * 3]


def test_what_a_column_must_be():
    names = PackedNames.pack(["a"])
    with pytest.raises(ValueError, match="2 classes, 1 values"):
        Masks("", names, names, ("a", "b"), np.array([0]))
    with pytest.raises(ValueError, match="1 images but 0 masks"):
        Masks("", PackedNames.pack([]), names, ("a",), np.array([0]))


# Writing -------------------------------------------------------------------------------------------------------


@often
@given(st.data())
def test_round_trip(tmp_path_factory, data):
    root = Path(tmp_path_factory.mktemp("made"))
    coloured = data.draw(st.booleans())
    n, k = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    values = np.array(
        data.draw(st.lists(st.integers(0, 2**24 - 1 if coloured else 255), min_size=k, max_size=k, unique=True))
    )
    has = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    for i in range(n):
        save(root / f"images/{i}.png", np.full((3, 4, 3), i, np.uint8))
        picked = values[RNG.integers(0, k, (3, 4))]
        picked = np.stack([picked >> 16, picked >> 8 & 255, picked & 255], -1) if coloured else picked
        if has[i]:
            save(root / f"masks/{i}.png", picked.astype(np.uint8))
    names = [PackedNames.pack(f"masks/{i}.png" if has[i] else "" for i in range(n))]
    names += [PackedNames.pack(f"images/{i}.png" for i in range(n))]
    words = st.text(min_size=1, max_size=5).filter(str.strip)
    classes = tuple(data.draw(st.lists(words, min_size=k, max_size=k, unique=True)))
    column = Masks(str(root), *names, classes, values, (), coloured)
    parts = data.draw(st.sampled_from([(), ("train",), ("train", "dev"), ("train-dev", "test")]))
    where = np.array(data.draw(st.lists(st.integers(0, len(parts)), min_size=n, max_size=n)))
    index = {part: np.flatnonzero(where == p) for p, part in enumerate(parts)}
    if data.draw(st.booleans()) and index:
        index[parts[0]] = np.arange(n)  # parts that overlap
    made = Dataset("made", FileImages(str(root), names[1]), {"mask": column}, classes, index)
    out = Path(tmp_path_factory.mktemp("made")) / "out"
    if not any(has):
        return
    assert masks.write(made, out) == []
    back = masks.read(out)
    assert back.classes == classes and not [f for f in back.findings if f.kind != "listed twice"]
    order = [int(back.images.read(i)[0, 0, 0]) for i in range(n)]
    assert sorted(order) == list(range(n))
    assert {p: sorted(order[i] for i in v) for p, v in back.splits.items()} == {
        p: v.tolist() for p, v in index.items() if len(v)
    }
    for i in range(n):
        assert np.array_equal(back.annotations["mask"].read(i), column.read(order[i]))


def test_nothing_is_overwritten(make, fresh):
    found = masks.read(make({"a": INDEX}))
    root = fresh()
    (root / "here.txt").write_text("mine")
    with pytest.raises(UserError, match="never overwritten"):
        masks.write(found, root)
    with pytest.raises(UserError, match="no masks, only label"):
        masks.write(Dataset("x", found.images, {"label": np.zeros(1, np.int64)}, ("a",)), fresh() / "out")
