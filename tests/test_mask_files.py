"""Files of masks: our own formats read back what was written; from Python and from the command line."""

import numpy as np
import pytest
from PIL import Image
from test_tiling import CLASSES, parts, photo

import hubel
from hubel.cli import options as cli_options
from hubel.cli import predict as cli_predict
from hubel.data import polygons, rle
from hubel.data.regions import regions
from hubel.errors import UserError
from hubel.ops.palette import PALETTE
from hubel.prediction import mask_files
from hubel.prediction.mask_files import MaskFolder, colours_of
from hubel.prediction.segmented import write_masks
from hubel.prediction.tiling import Tiling, Voter

NAMES = ("background", "cell", "border")


def mask_of(height=50, width=40, seed=0):
    coarse = np.random.default_rng(seed).integers(0, len(NAMES), (height // 5, width // 5)).astype(np.uint8)
    return coarse.repeat(5, 0).repeat(5, 1)


def bands(mask, rows=16):
    return ((y, mask[y : y + rows]) for y in range(0, len(mask), rows))


def written(tmp_path, kinds, masks, names=("a.png", "b.png")):
    pictures = [photo(*mask.shape, seed=k) for k, mask in enumerate(masks)]
    with MaskFolder(tmp_path / "out", NAMES, kinds) as folder:
        return [
            folder.add(name, regions(picture), bands(mask))
            for name, picture, mask in zip(names, pictures, masks, strict=True)
        ]


def test_index_pngs_with_their_images_are_a_data_set(tmp_path):
    masks = [mask_of(), mask_of(30, 60, 1)]
    found = written(tmp_path, ("mask", "images"), masks)
    dataset = hubel.load_dataset(tmp_path / "out")
    assert dataset.classes == NAMES and dataset.format == "masks"
    column = dataset.annotations["mask"]
    for k, mask in enumerate(masks):
        assert np.array_equal(column.read(k), mask)
        assert np.array_equal(dataset.images.read(k), photo(*mask.shape, seed=k))
        assert found[k]["pixels"].tolist() == np.bincount(mask.ravel(), minlength=3).tolist()
    assert np.array_equal(column.colours, colours_of(3)) and tuple(column.colours[2]) == PALETTE[2]
    with Image.open(tmp_path / "out" / "masks" / "a.png") as image:
        assert image.mode == "P"


@pytest.mark.parametrize("kind", ["coco", "polygons"])
def test_coco_files_give_the_masks_back(tmp_path, kind):
    masks = [mask_of(), mask_of(30, 60, 1)]
    written(tmp_path, (kind, "images"), masks)
    dataset = hubel.load_dataset(tmp_path / "out" / f"{kind}.json")
    assert dataset.classes == NAMES[1:]  # the background is no object
    objects = dataset.annotations["objects"]
    for i, mask in enumerate(masks):
        assert np.array_equal(dataset.images.read(i), photo(*mask.shape, seed=i))
        one, found = objects.take(np.array([i])), np.zeros(mask.shape, np.uint8)
        for m in range(one.count):
            if kind == "coco":
                inside = rle.decode(one.runs[m], *mask.shape) > 0
            else:
                inside = polygons.fill(np.asarray(one.outlines[m][0], np.float64), *mask.shape)
            assert one.areas[m] == inside.sum()
            found[inside] += int(one.labels[m]) + 1
        assert np.array_equal(found, mask)


def test_an_overlay_shows_the_colours_over_the_image(tmp_path):
    mask = mask_of()
    written(tmp_path, ("overlay",), [mask], ["a.png"])
    shown = np.asarray(Image.open(tmp_path / "out" / "overlays" / "a.png"))
    pixels = photo(*mask.shape)
    assert np.array_equal(shown[mask == 0], pixels[mask == 0])
    grey = pixels[mask == 2] @ np.array([0.299, 0.587, 0.114])
    expected = 0.4 * grey[:, None] + 0.6 * np.array(PALETTE[2])
    assert np.abs(shown[mask == 2] - expected).max() <= 0.51


@pytest.mark.parametrize("rows", [7, 16, 64])
def test_an_overlay_of_a_large_image_is_thinned_out(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(mask_files, "OVERLAY", 20)
    mask, pixels = mask_of(), photo(50, 40)
    with MaskFolder(tmp_path / "out", NAMES, ["overlay"]) as folder:
        folder.add("a.png", regions(pixels), bands(mask, rows))
    shown = np.asarray(Image.open(tmp_path / "out" / "overlays" / "a.png"))
    assert shown.shape == (17, 14, 3)
    plain = mask[::3, ::3] == 0
    assert np.array_equal(shown[plain], pixels[::3, ::3][plain])


def test_names_that_are_alike_stay_apart(tmp_path):
    found = written(tmp_path, ("mask",), [mask_of(), mask_of(seed=1)], ("x/a b.png", "y/a b.jpg"))
    assert [one["files"]["mask"].rpartition("/")[2] for one in found] == ["a_b.png", "a_b-2.png"]


def test_what_stands_there_is_never_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        MaskFolder(tmp_path / "out", NAMES)
    with pytest.raises(UserError, match="did you mean 'polygons'"):
        MaskFolder(tmp_path / "new", NAMES, ["polygon"])


def test_masks_of_images_as_arrays_and_as_files_agree(tmp_path):
    found, pixels = parts(), photo(70, 60)
    np.save(tmp_path / "a.npy", pixels)
    ways = Tiling(tile=38)
    (array,), way = write_masks([Voter(found)], [("#0", pixels)], None, tiling=ways, path="eager")
    (file,), _ = write_masks(
        [Voter(found)], [("a.npy", tmp_path / "a.npy")], tmp_path / "out", tiling=ways, path="eager"
    )
    assert array["mask"].shape == (70, 60) and way.name == "eager"
    assert np.array_equal(np.asarray(Image.open(file["files"]["mask"])), array["mask"])
    assert sum(array["shares"].values()) == pytest.approx(1) and array["shares"] == file["shares"]
    assert set(array["shares"]) <= set(CLASSES) and array["tiles"] == 6
    assert list(array["shares"].values()) == sorted(array["shares"].values(), reverse=True)


def test_tasks_without_pixels_have_no_masks():
    from dataclasses import replace

    from hubel.tasks.classification import Classification

    with pytest.raises(UserError, match="no class for every pixel"):
        write_masks([Voter(replace(parts(), task=Classification(CLASSES)))], [("#0", photo(9, 9))], None)


# The command line ------------------------------------------------------------------------------------------------


def command(*words):
    return cli_options.parse(["predict", *map(str, words)])


def test_the_command_line_says_what_the_run_is_asked(tmp_path, monkeypatch, capsys):
    asked = {}

    class Stub:
        way = None

        def masks(self, images, out, **options):
            asked.update(options, images=images, out=out)
            return [{"image": "a.png", "size": [5, 7], "tiles": 1, "shares": {"sky": 1.0}, "files": {"mask": "m.png"}}]

    from hubel import api

    monkeypatch.setattr(api.Run, "open", lambda place: Stub())
    monkeypatch.setattr(cli_predict, "path_taken", lambda run, command: None)
    status, found, show = cli_predict.predict(
        command("run", "a.png", "--masks", "out", "--files", "mask,coco", "--tile", "96", "--scale", "0.5", "--large")
    )
    show()
    assert status == 0 and found[0]["size"] == [5, 7] and "7 x 5" in capsys.readouterr().out
    assert asked == {
        "images": ["a.png"], "out": "out", "files": ["mask", "coco"], "large": True, "path": "auto",
        "tiling": Tiling(tile=96, scale=0.5),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tile", "96"], "goes with --masks"),
        (["--masks", "out", "--boxes", "b.json"], "Give one of them"),
        (["--masks", "out", "--scale", "big"], "needs a number"),
        (["--masks", "out", "--tile", "x"], "whole number"),
    ],
)
def test_options_that_do_not_fit_are_named(words, said):
    with pytest.raises(UserError, match=said):
        cli_predict.predict(command("run", "a.png", *words))


def test_a_trained_run_writes_masks(tmp_path):
    run = hubel.train(
        "shapes:kind=segmentation,count=12,size=16", task="segmentation", model="convnet", epochs=1, workers=0,
        out=tmp_path / "runs", progress="quiet",
    )  # fmt: skip
    (found,) = hubel.Run.open(run.path).masks([photo(33, 50)], tmp_path / "out", tiling=Tiling(tile=16))
    assert found["size"] == [33, 50] and found["scale"] == [1.0, 1.0] and found["tiles"] > 1
    assert np.asarray(Image.open(found["files"]["mask"])).shape == (33, 50)
