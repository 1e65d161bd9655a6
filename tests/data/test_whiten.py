"""Mean image, PCA and ZCA: against the formulas, and of the training part alone."""

import numpy as np
import pytest
import torch

from hubel.data.augment import Augment
from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.data.loader import Loader
from hubel.data.mixing import Mixing
from hubel.data.preprocess import Preprocess
from hubel.data.statistics import channel_statistics
from hubel.data.whiten import LARGEST, Whitening, fit
from hubel.errors import UserError

SIZE = (5, 4)
RNG = np.random.default_rng(0)


def images(n=300, channels=3, dtype=np.uint8, seed=0):
    """Correlated pixels."""
    rng = np.random.default_rng(seed)
    d = SIZE[0] * SIZE[1] * channels
    values = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * 4 + rng.uniform(90, 160, d)
    return (np.clip(values, 0, 255).astype(dtype) * (257 if dtype == np.uint16 else 1)).reshape(n, *SIZE, channels)


def data(array, train=None):
    train = np.arange(len(array)) if train is None else train
    return Dataset("test", ArrayImages(array), {}, splits={"train": train})


def plain(channels=3, depth=8):
    return Preprocess(SIZE, channels, policy="none", depth=depth)


def whitened(array, kind, epsilon=0.0, depth=8):
    found = fit(data(array), np.arange(len(array)), plain(array.shape[3], depth), kind, epsilon)
    preprocess = Preprocess(SIZE, array.shape[3], policy="none", depth=depth, whitening=found)
    return preprocess, preprocess.normalise(torch.from_numpy(array.astype(np.int32) if depth == 16 else array))


def flat(out):
    return out.permute(0, 2, 3, 1).reshape(len(out), -1).double().numpy()


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint8), (3, np.uint16)])
def test_mean_image(channels, dtype):
    array = images(channels=channels, dtype=dtype)
    x = array / np.iinfo(dtype).max
    _, out = whitened(array, "image", depth=8 * np.dtype(dtype).itemsize)
    deviation = np.sqrt(((x - x.mean(0)) ** 2).mean((0, 1, 2)))
    expected = (x - x.mean(0)) / deviation
    assert np.abs(out.permute(0, 2, 3, 1).numpy() - expected).max() < 1e-4
    assert out.dtype == torch.float32 and out.shape == (300, channels, *SIZE)


@pytest.mark.parametrize("kind", ["pca", "zca"])
@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint8), (3, np.uint16)])
def test_whitened_values_are_uncorrelated(kind, channels, dtype):
    array = images(2000, channels, dtype)
    _, out = whitened(array, kind, depth=8 * np.dtype(dtype).itemsize)
    assert np.abs(np.cov(flat(out).T, bias=True) - np.eye(flat(out).shape[1])).max() < 2e-3
    assert np.abs(flat(out).mean(0)).max() < 1e-4


def test_against_sklearn_and_the_formula():
    from sklearn.decomposition import PCA

    array = images(500)
    x = array.reshape(500, -1) / 255
    n, epsilon = len(x), 0.3
    pca = PCA(whiten=True, svd_solver="full").fit(x)
    ours = flat(whitened(array, "pca")[1])
    theirs = pca.transform(x) * np.sqrt(n / (n - 1))  # it divides by n − 1
    signs = np.sign((ours * theirs).sum(0))
    assert np.abs(ours - theirs * signs).max() < 1e-2
    covariance = np.cov(x.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    w = vectors @ np.diag((values + epsilon * values.mean()) ** -0.5) @ vectors.T
    assert np.abs(flat(whitened(array, "zca", epsilon)[1]) - (x - x.mean(0)) @ w.T).max() < 1e-3


def test_zca_stays_near_the_image_and_epsilon_damps():
    array = images(800)
    x = array.reshape(800, -1) / 255
    centred = (x - x.mean(0)) / x.std(0)
    z, p = (flat(whitened(array, kind, 0.1)[1]) for kind in ("zca", "pca"))
    assert (z * centred).mean() > (p * centred).mean() + 0.1
    assert np.abs(flat(whitened(array, "zca", 10.0)[1])).mean() < np.abs(z).mean()


@pytest.mark.parametrize("kind", ["channel", "image", "pca", "zca"])
def test_only_training_pixels_count(kind):
    """Other pixels in dev and test, or unreadable ones, change nothing, bit for bit; one in train does."""
    array = images(120)
    train = np.arange(0, 120, 2)
    before, changed, other = data(array, train), array.copy(), array.copy()
    changed[1::2] = RNG.integers(0, 256, changed[1::2].shape)
    other[0, 0, 0] ^= 64

    def arrays(found):
        return [found.mean, found.matrix] if isinstance(found, Whitening) else list(found)

    def fitted(dataset):
        if kind == "channel":
            return arrays(channel_statistics(dataset, dataset.splits["train"], plain()))
        return arrays(fit(dataset, dataset.splits["train"], plain(), kind))

    assert all(np.array_equal(a, b) for a, b in zip(fitted(before), fitted(data(changed, train)), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(fitted(before), fitted(data(other, train)), strict=True))


def test_the_order_of_images_does_not_matter():
    array = images(700)
    mixed = array[RNG.permutation(700)]
    first, second = (fit(data(a), np.arange(700), plain(), "zca") for a in (array, mixed))
    assert np.array_equal(first.mean, second.mean) and np.array_equal(first.matrix, second.matrix)


def test_constant_pixels_do_no_harm():
    array = images(50)
    array[:, :, 0] = 7
    for kind in ("image", "pca", "zca"):
        for epsilon in (0.0, 0.01):
            assert torch.isfinite(whitened(array, kind, epsilon)[1]).all()
    assert torch.isfinite(whitened(np.full_like(array, 9), "zca")[1]).all()


@pytest.mark.parametrize("kind", ["image", "pca", "zca"])
def test_saved_and_rebuilt(tmp_path, kind):
    preprocess, out = whitened(images(), kind)
    path = tmp_path / "whitening.safetensors"
    path.write_bytes(preprocess.whitening.content())
    again = Preprocess.from_settings(preprocess.settings(), path)
    assert torch.equal(again.normalise(torch.from_numpy(images())), out)
    assert again.settings() == preprocess.settings()
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(UserError, match="damaged"):
        Preprocess.from_settings(preprocess.settings(), path)
    path.unlink()
    with pytest.raises(UserError, match="can't be read"):
        Preprocess.from_settings(preprocess.settings(), path)


def test_refusals():
    large = Preprocess((64, 65), 1, policy="none")
    with pytest.raises(UserError, match=f"{LARGEST:,}"):
        fit(data(images()), np.arange(3), large, "zca")
    with pytest.raises(UserError, match="zca"):
        fit(data(images()), np.arange(3), plain(), "zcaa")
    with pytest.raises(UserError, match="epsilon"):
        fit(data(images()), np.arange(3), plain(), "zca", -1)


def test_erased_and_mixed_before_they_are_decorrelated():
    """The loader mixes and erases pixels, not components: its batch is what the formula makes of those."""
    array = images(64)
    preprocess, _ = whitened(array, "pca", 0.01)
    augment = Augment(cutout=3, mixing=Mixing(mixup=1.0))
    targets = {"targets": lambda index: torch.from_numpy(index)}
    with Loader(data(array), preprocess=preprocess, augment=augment, **targets) as loader:
        batch = next(loader.batches(np.arange(64), 0, 64))
    pixels = Preprocess(
        SIZE, 3, policy="none", whitening=Whitening("image", preprocess.whitening.mean, np.ones(3, np.float32), 0)
    )
    with Loader(data(array), preprocess=pixels, augment=augment, **targets) as loader:
        before = next(loader.batches(np.arange(64), 0, 64))
    assert (before.images == 0).any()
    expected = flat(before.images) @ preprocess.whitening.matrix.T.astype(float)
    assert np.abs(flat(batch.images) - expected).max() < 1e-3
