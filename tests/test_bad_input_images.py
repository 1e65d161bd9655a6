"""Images of other kinds at prediction."""

import numpy as np
import pytest
from PIL import Image
from small_runs import PLAIN, Quiet, save_npz, squares, with_size

import hubel
from hubel.errors import UserError

SMALL = {**PLAIN, "epochs": 1}


@pytest.fixture(scope="session")
def colour(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colour")
    data = save_npz(folder / "colour.npz", channels=3, side=12)
    return hubel.train(data, out=folder / "runs", progress=Quiet(), **SMALL | {"epochs": 3})


def words_of(found):
    return {k: v for k, v in found.items() if k != "image"}


def assert_alike(found, wanted, tolerance=1e-4):
    assert found["prediction"] == wanted["prediction"]
    assert found["confidence"] == pytest.approx(wanted["confidence"], abs=tolerance)


def assert_same_picture(found, wanted):
    """Every class in the same order; another size of batch may round fp32 differently."""
    assert_alike(found, wanted, 1e-6)
    assert [one["class"] for one in found["top"]] == [one["class"] for one in wanted["top"]]
    probabilities = [one["probability"] for one in wanted["top"]]
    assert [one["probability"] for one in found["top"]] == pytest.approx(probabilities, abs=1e-6)


def test_images_of_other_kinds(colour, tmp_path, untouched):
    picture = squares(3, side=12, channels=3, seed=9)[0][1]
    files = {}

    def save(name, image, **options):
        files[name] = tmp_path / name
        image.save(files[name], **options)

    plain = Image.fromarray(picture)
    save("plain.png", plain)
    save("really a png.jpg", plain, format="PNG")
    save("no extension", plain, format="PNG")
    save("large.png", plain.resize((36, 36), Image.Resampling.NEAREST))
    save("alpha.png", Image.fromarray(np.dstack([picture, np.full((12, 12), 255, np.uint8)])))
    save(
        "frames.gif",
        Image.fromarray(picture[:, :, 0]),
        save_all=True,
        append_images=[Image.fromarray(picture[:, :, 0] * 0)],
    )
    save("frame.png", Image.fromarray(picture[:, :, 0]))
    save("grey.png", plain.convert("L"))
    deep = picture[:, :, 0].astype(np.uint16) * 257
    save("deep.png", Image.fromarray(deep))
    for tag, turn in ((3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270)):
        exif = Image.Exif()
        exif[0x0112] = tag
        save(f"turned{tag}.png", plain.transpose(turn), exif=exif)
    untouched(tmp_path)
    names = list(files)
    found = dict(zip(names, colour.predict(files.values()), strict=True))
    assert [one["image"] for one in found.values()] == [str(path) for path in files.values()]
    for name in ("really a png.jpg", "no extension", "alpha.png", "turned3.png", "turned6.png", "turned8.png"):
        assert_same_picture(found[name], found["plain.png"])
    assert_alike(found["large.png"], found["plain.png"])
    assert_alike(found["frames.gif"], found["frame.png"])
    assert_alike(found["deep.png"], found["frame.png"], 0.01)
    for alone in ([picture], [plain], files["plain.png"]):  # a batch of one
        assert_same_picture(colour.predict(alone)[0], found["plain.png"])


def test_colour_for_a_network_that_saw_grey(finished, tmp_path):
    picture = squares(3, side=8, seed=9)[0][1, :, :, 0]
    Image.fromarray(picture).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([picture] * 3)).save(tmp_path / "colour.png")
    grey, colour = finished.predict([tmp_path / "grey.png", tmp_path / "colour.png"])
    assert words_of(grey) == words_of(colour)


def test_files_that_are_no_images(finished, tmp_path, untouched):
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    Image.fromarray(squares(1, side=64)[0][0, :, :, 0]).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "corrupt.png").write_bytes(whole[:80] + bytes(40) + whole[120:])
    for name, side in (("huge.png", 100_000), ("large.png", 16_000)):  # the headers promise 10,000 and 256 megapixels
        (tmp_path / name).write_bytes(with_size(whole, side))
    untouched(tmp_path)
    for name, message in (
        ("broken.png", "not an image of a known format"),
        ("empty.jpg", "empty"),
        ("truncated.png", "truncated|cut"),
        ("corrupt.png", "damaged|checksum"),
        ("huge.png", "too large"),
        ("large.png", "too large"),
        ("nowhere.png", "no file"),
        ("folder", "is a folder; name the images"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            finished.predict([tmp_path / name])
        assert name in str(caught.value)
    for wrong in (3.5, np.zeros((2, 2, 5)), np.zeros((4, 4), dtype=complex), None):
        with pytest.raises(UserError):
            finished.predict([wrong])
    assert finished.predict([]) == []
