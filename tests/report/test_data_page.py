"""The page on data: whole, small, closed to the network, deaf to hostile names; what is drawn is what is annotated."""

import base64
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_page import Outline

from hubel.data import rle
from hubel.data.dataset import Dataset
from hubel.data.findings import Finding
from hubel.data.images import ArrayImages
from hubel.data.inspect import inspect
from hubel.data.objects import Objects, Skeleton
from hubel.data.preview import Previewer
from hubel.data.ragged import Ragged
from hubel.data.shapes import shapes
from hubel.report import data_figures
from hubel.report.data_page import LIMIT, Augmented, render
from hubel.report.data_pictures import lenient
from hubel.report.draw import Marks, drawn, mask_uri

sys.path.insert(0, str(Path(__file__).parent.parent / "data"))
from malformed import good, photo

HOSTILE = "<script>alert(1)</script>\"'&\u202e\x1b[31m"


def augmented(data, name="strong"):
    previewer = Previewer.of(data, name)
    return Augmented(name, previewer.why, previewer.views(range(3), 5))


def hostile():
    random = np.random.default_rng(0)
    array = random.integers(0, 256, (12, 40, 40, 3), dtype=np.uint8)
    findings = tuple(
        Finding(HOSTILE if k % 3 == 0 else "zero area", HOSTILE, HOSTILE * 20, HOSTILE, k, k % 12, "error")
        for k in range(40)
    )
    return Dataset(
        HOSTILE, ArrayImages(array), {"label": np.arange(12) % 2}, (HOSTILE, "b"), source=HOSTILE, findings=findings,
        notes=(HOSTILE,),
    )  # fmt: skip


DATA = {
    "scenes": lambda: shapes(24, 48),
    "segmentation": lambda: shapes(24, 48, kind="segmentation"),
    "faces": lambda: shapes(40, 48, kind="faces"),
    "counts": lambda: shapes(12, 32, kind="counts"),
    "hostile": hostile,
}


@pytest.fixture(scope="module", params=DATA)
def page(request):
    data = DATA[request.param]()
    return render(inspect(data, workers=1), augmented(data), ["a file"])


def test_every_element_is_closed_and_links_lead_somewhere(page):
    outline = Outline(page)
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"] for a in outline.of("a")} <= {f"#{name}" for name in ids}
    assert len(outline.of("caption")) == len(outline.of("table"))
    assert all(s.get("aria-label") or s.get("aria-hidden") == "true" for s in outline.of("svg"))


def test_nothing_is_fetched_and_nothing_is_inline(page):
    outline = Outline(page)
    for _, attributes in outline.elements:
        for key, value in attributes.items():
            assert key != "style" and not key.startswith("on"), (key, value)
            if key in ("src", "href", "srcset", "data", "action"):
                assert value.startswith(("data:", "#")), (key, value)
    assert len(outline.of("script")) == len(outline.of("style")) == 1
    assert "url(" not in page and "@import" not in page
    assert len(page.encode()) <= LIMIT


def test_hostile_words_are_text():
    page = render(inspect(hostile(), workers=1))
    assert not re.search("[\x00\x1b\u202e\ud800-\udfff]", page)
    assert "<script>alert" not in page and "‹U+202E›" in page


def test_sections_of_a_scene():
    data = shapes(24, 48)
    ids = {a["id"] for _, a in Outline(render(inspect(data, workers=1), augmented(data))).elements if "id" in a}
    assert {"overview", "samples", "classes", "sizes", "augmentation", "channels"} <= ids


def test_long_lists_are_folded_and_stay_small():
    random = np.random.default_rng(0)
    findings = tuple(
        Finding(f"kind {k % 30}", f"file{k}.png", "words " * 60, "Do it. " * 40, k, k % 40) for k in range(20_000)
    )
    array = random.integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    page = render(inspect(Dataset("many", ArrayImages(array), {}, findings=findings), workers=1))
    assert len(page.encode()) <= LIMIT
    outline = Outline(page)
    assert len(outline.of("details")) == 30
    assert sum("finding" in a.get("class", "").split() for a in outline.of("li")) <= 1300


def test_a_leak_shows_both_images():
    random = np.random.default_rng(0)
    array = random.integers(0, 256, (12, 40, 40, 3), dtype=np.uint8)
    array[9] = array[2]
    data = Dataset(
        "leak", ArrayImages(array), {"label": np.zeros(12, np.int64)}, ("a",),
        {"train": np.arange(8), "test": np.arange(8, 12)},
    )  # fmt: skip
    found = inspect(data, workers=1)
    assert [one.kind for one in found.findings] == ["leak"]
    page = render(found)
    about = re.search(r'<div class="about two">(.*?)</div>', page, re.S)[1]
    assert about.count("<svg") == 2 and "train · a" in about and "test · a" in about
    uris = re.findall(r'href="(data:[^"]+)"', about)
    assert uris[0] == uris[1]


def test_damaged_files_are_drawn_as_far_as_they_go(tmp_path, capfd):
    """Each kind cut in half: the rows that come first are near the picture; and no decoder prints anything."""
    wanted = np.asarray(photo()).astype(float)
    for name, content in good().items():
        path = tmp_path / name
        path.write_bytes(content[: len(content) // 2])
        pixels = lenient(str(path))
        if name.endswith((".jpg", ".png", ".bmp", ".ppm")) and "grey" not in name:
            rows = slice(-12, None) if name.endswith(".bmp") else slice(12)  # BMP begins at the bottom
            assert pixels is not None and np.abs(pixels[rows] - wanted[rows]).mean() < 25, name
    assert lenient(None) is None and lenient(str(tmp_path / "missing.jpg")) is None
    assert capfd.readouterr() == ("", "")


# What is drawn -------------------------------------------------------------------------------------------------------


def boxes(*rows, **columns):
    return Objects(
        np.array([0, len(rows)]), np.array(rows, np.float64).reshape(-1, 4), np.zeros(len(rows), np.int64), **columns
    )


def paths(picture):
    return re.findall(r'<path class="([^"]+)" d="([^"]+)"', str(picture))


def test_boxes_stand_where_they_are():
    image = np.zeros((100, 200, 3), np.uint8)
    picture = drawn(image, Marks(boxes((10, 20, 60, 80))), "x", 100)
    assert paths(picture) == [("box k0", "M5,10H30V40H5Z")]
    assert 'viewBox="0 0 100 50"' in picture


def test_a_faulty_box_outside_widens_the_picture():
    image = np.zeros((100, 100, 3), np.uint8)
    picture = drawn(image, Marks(boxes((110, 20, 130, 80), (0, 0, 9, 9)), faulty=frozenset([0])), "x", 100)
    assert [name for name, _ in paths(picture)] == ["box k0 faint", "box k0 faulty"]
    assert 'viewBox="0 0 132 100"' in picture
    picture = drawn(image, Marks(boxes((-30, -900, 20, 20)), faulty=frozenset([0])), "x", 100)
    assert 'viewBox="-32 -50 132 150"' in picture  # half an image beyond, at most


def test_nothing_that_is_no_number_is_drawn():
    image = np.zeros((50, 50, 3), np.uint8)
    nan, inf = np.nan, np.inf
    marks = Marks(boxes((nan, 0, 9, 9), (0, 0, inf, 9), (1e300, 0, 9, 9)), faulty=frozenset([0, 1]))
    assert not re.search("nan|inf|e\\+", str(drawn(image, marks, "x", 50)).replace("faint", ""))


def test_a_box_without_area_is_a_cross():
    image = np.zeros((50, 50, 3), np.uint8)
    (_, d), *_ = paths(drawn(image, Marks(boxes((20, 30, 20, 30))), "x", 50))
    assert "M14,30h12" in d and "M20,24v12" in d


def test_outlines_and_keypoints():
    image = np.zeros((100, 100, 3), np.uint8)
    ring = np.array([[10, 10], [90, 10], [50, 80]], np.float32)
    outlines = Ragged.pack_nested([[ring]], np.empty((0, 2), np.float32))
    keypoints = np.array([[[10, 20, 2], [30, 40, 1], [0, 0, 0]]], np.float32)
    objects = boxes(
        (10, 10, 90, 80), outlines=outlines, keypoints=keypoints,
        skeleton=Skeleton(("a", "b", "c"), ((0, 1), (1, 2))),
    )  # fmt: skip
    found = dict(paths(drawn(image, Marks(objects), "x", 100)))
    assert found == {
        "outline k0": "M10,10L90,10L50,80Z", "bones k0": "M10,20L30,40", "joints k0": "M10,20h0M30,40h0",
    }  # fmt: skip


def decoded(uri):
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGBA"))


def test_masks_and_run_lengths_are_laid_over():
    assert (decoded(mask_uri(np.array([[255, 1]], np.uint8)))[0, :, 3] > 0).tolist() == [False, True]
    shape = np.zeros((40, 40), np.uint8)
    shape[5:20, 10:30] = 1
    objects = boxes((10, 5, 30, 20), runs=Ragged.pack([rle.encode(shape)], np.empty(0, np.uint32)))
    picture = str(drawn(np.zeros((40, 40, 3), np.uint8), Marks(objects), "x", 40))
    overlay = decoded(re.search(r'class="mask" href="([^"]+)"', picture)[1])
    assert np.array_equal(overlay[..., 3] > 0, shape > 0)


# Plots ---------------------------------------------------------------------------------------------------------------


def test_a_histogram_counts_everything():
    values = np.random.default_rng(0).lognormal(3, 1, 500)
    titles = re.findall(r"<title>[^<]*: ([\d,]+) boxes</title>", str(data_figures.histogram(values, "side", "boxes")))
    assert sum(int(n.replace(",", "")) for n in titles) == 500


def test_whole_numbers_have_a_bar_each():
    picture = str(data_figures.histogram(np.array([0, 1, 1, 3.0]), "objects", "images", whole=True))
    assert re.findall(r"<title>([^<]*) images</title>", picture) == ["0: 1", "1: 2", "3: 1"]
    many = str(data_figures.histogram(np.array([1, 2, 35.0]), "objects", "images", whole=True))
    columns = [float(x) for x in re.findall(r'class="column" d="M([\d.]+),', many)]
    assert abs((columns[2] - columns[0]) - 34 * (columns[1] - columns[0])) < 1  # evenly spaced, not logarithmic


@pytest.mark.parametrize("pairs", [[[5, 5]], [[5, 5], [5000, 3]], [[1, 1]] * 3, np.arange(1, 401).reshape(200, 2)])
def test_sizes_of_any_range(pairs):
    picture = str(data_figures.sizes(np.array(pairs), "images", ("width", "height")))
    assert "nan" not in picture and ("<circle" in picture or 'class="dots' in picture)
