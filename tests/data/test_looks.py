"""Measures of images against plain formulas; copies are found however they were made, and strangers are not."""

import io
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data as pictures

from hubel.data import alike
from hubel.data.alike import BITS, equal_groups, similar_pairs
from hubel.data.decode import BadImage
from hubel.data.images import ArrayImages
from hubel.data.looks import Levels, Looks, detail, measure, perceptual_print, to_luma

random = np.random.default_rng(0)
ASTRONAUT, CAT = pictures.astronaut(), pictures.chelsea()


def field(image, name):
    return Looks.of(Listed((image,))).rows[0][name]


@dataclass(frozen=True)
class Listed:
    """Images in a list, None where a file is damaged."""

    images: tuple
    channels: int = 3
    depth: int = 8

    def __len__(self):
        return len(self.images)

    def read(self, i):
        if self.images[i] is None:
            raise BadImage("truncated")
        return self.images[i]


def test_light_and_contrast():
    luma = to_luma(ASTRONAUT).astype(np.float64)
    plain = (ASTRONAUT / 255.0) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(luma, plain, atol=0.5 / 255 + 1e-3)  # whole grey levels
    assert field(ASTRONAUT, "mean") == pytest.approx(luma.mean(), abs=1e-5)
    assert field(ASTRONAUT, "contrast") == pytest.approx(luma.std(), abs=1e-4)
    assert field(ASTRONAUT, "low") == pytest.approx(np.sort(luma.ravel())[int(0.05 * luma.size)], abs=2 / 255)
    assert field(ASTRONAUT, "high") == pytest.approx(np.sort(luma.ravel())[int(0.95 * luma.size)], abs=2 / 255)
    deep = ASTRONAUT.astype(np.uint16) * 257
    assert field(deep, "mean") == pytest.approx(luma.mean(), abs=0.002)


def test_colour():
    grey = np.repeat(random.integers(0, 255, (40, 40, 1), dtype=np.uint8), 3, axis=2)
    assert field(grey, "colour") == 0
    pure = np.zeros((40, 40, 3), np.uint8)
    pure[:, :20, 0] = 255
    assert field(pure, "colour") == pytest.approx(0.5)


def test_filled_is_the_share_that_is_not_background():
    for background in (0, 90, 255):
        image = np.full((50, 40), background, np.uint8)
        image[10:20, 5:15] = 153  # 100 of 2,000 pixels
        assert Levels.of(image).filled() == pytest.approx(100 / 2000)
        deep = image.astype(np.uint16) * np.uint16(257)
        assert Levels.of(deep).filled() == pytest.approx(100 / 2000)
    assert Levels.of(np.full((50, 40), 128, np.uint8)).filled() == 0


def slow_filled(luma):
    """The definition, pixel by pixel: away from the median of the commonest of 64 bands."""
    counts, edges = np.histogram(luma, bins=64, range=(0, 1))
    common = counts.argmax()
    band = (luma >= edges[common]) & (luma < edges[common + 1])
    apart = np.abs(luma - np.median(luma[band]))
    return (apart > min(0.03, np.ptp(luma) / 7)).mean()


@pytest.mark.parametrize("image", [ASTRONAUT, CAT, CAT[:7, :9], pictures.camera()[..., None], ASTRONAUT // 9])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_levels_against_the_pixels(image, kind):
    image = image.astype(kind) * kind(257 if kind is np.uint16 else 1)
    luma, levels = to_luma(image).astype(np.float64), Levels.of(np.ascontiguousarray(image[..., 1 % image.shape[2]]))
    grey = image[..., 1 % image.shape[2]] / np.iinfo(kind).max
    wanted = grey.mean(), *np.percentile(grey, (5, 95)), grey.std()
    np.testing.assert_allclose(levels.summary(), wanted, atol=1e-12)
    assert levels.filled() == pytest.approx(slow_filled(grey), abs=2e-3)
    row = Looks.of(Listed((image,))).rows[0]
    np.testing.assert_allclose([row[name] for name in ("mean", "low", "high", "contrast")],
                               [luma.mean(), *np.percentile(luma, (5, 95)), luma.std()], atol=1e-6)  # fmt: skip
    spread = image.astype(np.float64) / np.iinfo(kind).max
    assert row["colour"] == pytest.approx((spread.max(2) - spread.min(2)).mean(), abs=1e-6)


def test_detail_tells_blurred_from_sharp():
    sharp = [detail(to_luma(image)) for image in (ASTRONAUT, CAT, pictures.coffee(), pictures.rocket())]
    blurred = [detail(to_luma(cv2.GaussianBlur(image, (0, 0), 3))) for image in (ASTRONAUT, CAT, pictures.coffee())]
    enlarged = [detail(cv2.resize(to_luma(CAT[100:200, 100:200]), (400, 400), interpolation=cv2.INTER_CUBIC))]
    assert min(sharp) > 0.1 and max(blurred + enlarged) < 0.05
    x = np.linspace(0, 1, 64, dtype=np.float32)
    ramp = np.tile(x, (64, 1))
    assert detail(ramp) == pytest.approx(0, abs=0.02)  # halving doubles the step: the ratio is a quarter
    assert detail(np.zeros((64, 64), np.float32)) == 1 and detail(ramp[:20]) == 1


def slow_print(luma):
    """The definition: cosine transform, lowest 8 × 8, above the median of 63."""
    small = cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float64)
    n = np.arange(32)
    basis = np.array([np.cos(np.pi * (n + 0.5) * k / 32) * np.sqrt((1 if k == 0 else 2) / 32) for k in range(8)])
    found = (basis @ small @ basis.T).ravel()
    median = np.median(found[1:])
    return sum(1 << k for k in range(1, 64) if found[k] > median)


@pytest.mark.parametrize("image", [ASTRONAUT, CAT, CAT[:33, :70], pictures.camera()[..., None]])
def test_print_against_its_definition(image):
    luma = to_luma(image)
    assert bin(perceptual_print(luma) ^ slow_print(luma)).count("1") <= 1  # one may lie at the median


def test_sizes_and_damaged_files():
    looks = Looks.of(Listed((CAT, None, ASTRONAUT)))
    assert looks.sizes.tolist() == [[300, 451], [0, 0], [512, 512]]
    assert looks.rows["read"].tolist() == [True, False, True]


def scenes(count, seed=1):
    """Different photos: crops of pictures far apart."""
    chosen = np.random.default_rng(seed)
    sources = (ASTRONAUT, CAT, pictures.coffee(), pictures.rocket(), pictures.retina()[300:1100, 300:1100])
    made = []
    for i in range(count):
        source = sources[i % len(sources)]
        y, x = (int(chosen.integers(0, n - 120)) for n in source.shape[:2])
        made.append(np.ascontiguousarray(source[y : y + 120, x : x + 120]))
    return made


def jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=40)
    return np.array(Image.open(file))


COPIES = {
    "recompressed": jpeg,
    "brighter": lambda image: np.clip(image * 1.1 + 4, 0, 255).astype(np.uint8),
    "half size": lambda image: cv2.resize(image, (60, 60), interpolation=cv2.INTER_AREA),
    "softened": lambda image: cv2.GaussianBlur(image, (0, 0), 1),
    "noisy": lambda image: np.clip(image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_copies_are_found(change):
    originals = scenes(12)
    looks = Looks.of(Listed((*originals, *(change(image) for image in originals))))
    strangers = {tuple(pair) for pair in similar_pairs(Looks.of(Listed(tuple(originals)))).tolist()}
    found = {tuple(pair) for pair in similar_pairs(looks).tolist()}
    copies = {(i, i + 12) for i in range(12)}
    assert not strangers  # twelve different pictures
    assert len(copies & found) >= 11 and not found - copies


def test_equal_images_are_groups_and_not_pairs():
    a, b, c = scenes(3)
    looks = Looks.of(Listed((a, b, a.copy(), c, b.copy(), a.copy())))
    assert [group.tolist() for group in equal_groups(looks)] == [[0, 2, 5], [1, 4]]
    assert len(similar_pairs(looks)) == 0
    grey = np.zeros((2, 30, 20, 1), np.uint8)
    assert not equal_groups(Looks.of(Listed((grey[0], grey[1].reshape(20, 30, 1)))))  # the same bytes, another shape


def test_images_without_contrast_are_like_nothing():
    flat = np.arange(90, 96, dtype=np.uint8)[:, None, None, None] + np.zeros((6, 40, 40, 1), np.uint8)
    assert len(similar_pairs(Looks.of(ArrayImages(flat)))) == 0


@pytest.mark.parametrize("crowd", [alike.CROWD, 3])
def test_bands_miss_no_pair(monkeypatch, crowd):
    """All pairs of at most BITS bits, by bands, against all pairs by a loop. A small crowd is compared in part."""
    chosen = np.random.default_rng(2)
    base = chosen.integers(0, 2**63, 40, dtype=np.uint64)
    flips = [sum(1 << int(bit) for bit in chosen.choice(64, chosen.integers(0, 9), replace=False)) for _ in range(200)]
    prints = np.array([int(base[i % 40]) ^ flip for i, flip in enumerate(flips)], dtype=np.uint64)
    rows = np.zeros(200, Looks.of(Listed((CAT,))).rows.dtype)
    rows["read"], rows["contrast"], rows["print"], rows["same"] = True, 1, prints, np.arange(200)
    monkeypatch.setattr(alike, "CROWD", crowd)
    found = {tuple(pair) for pair in similar_pairs(Looks(rows)).tolist()}
    near = {(i, j) for i in range(200) for j in range(i + 1, 200) if bin(int(prints[i] ^ prints[j])).count("1") <= BITS}
    assert found == near if crowd > 3 else found <= near


def test_an_image_measures_the_same_again():
    assert measure(CAT)[:11] == measure(CAT.copy())[:11]


def test_equal_prints_are_not_enough():
    rows = np.zeros(3, Looks.of(Listed((CAT,))).rows.dtype)
    rows["read"], rows["contrast"], rows["print"], rows["same"] = True, 1, 12345, np.arange(3)
    rows["small"] = random.integers(0, 255, (3, 16, 16))
    rows["small"][2] = rows["small"][0] // 2 + 20  # darker, and the same otherwise
    assert similar_pairs(Looks(rows)).tolist() == [[0, 2]]
