"""Statistics of the training part: the numbers of numpy in double precision, from no other part."""

import numpy as np
import pytest

from hubel.data import formats
from hubel.data.check import check_files
from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.data.preprocess import Preprocess
from hubel.data.statistics import channel_statistics
from hubel.errors import UserError

RNG = np.random.default_rng(0)


def made(array):
    return Dataset("made", ArrayImages(array), {})


@pytest.mark.parametrize(("channels", "kind", "top"), [(1, np.uint8, 255), (3, np.uint8, 255), (3, np.uint16, 65535)])
def test_mean_and_deviation(channels, kind, top):
    array = RNG.integers(0, top + 1, (600, 5, 7, channels)).astype(kind)
    index = RNG.permutation(600)[:500]
    pre = Preprocess((5, 7), channels, policy="none", depth=8 * np.dtype(kind).itemsize)
    mean, std = channel_statistics(made(array), index, pre)
    pixels = array[index].reshape(-1, channels) / top
    assert mean.shape == std.shape == (channels,)
    assert np.abs(mean - pixels.mean(0)).max() < 1e-12 and np.abs(std - pixels.std(0)).max() < 1e-9


def test_other_parts_have_no_influence():
    array = RNG.integers(0, 256, (100, 4, 4, 3)).astype(np.uint8)
    train = np.arange(60)
    pre = Preprocess((4, 4), 3)
    before = channel_statistics(made(array), train, pre)
    changed = array.copy()
    changed[60:] = 255 - changed[60:]
    after = channel_statistics(made(changed), train, pre)
    assert np.array_equal(before, after)
    changed[59] = 0
    assert not np.array_equal(before, channel_statistics(made(changed), train, pre))


def test_other_parts_are_not_even_read():
    class Spy(ArrayImages):
        def read(self, i):
            assert i in (2, 3, 5)
            return super().read(i)

    dataset = Dataset("spy", Spy(np.zeros((9, 2, 2, 1), np.uint8)), {})
    channel_statistics(dataset, np.array([2, 3, 5]), Preprocess((2, 2), 1))


def test_of_what_the_network_sees():
    """Black bars of a letterbox count; what a crop leaves out does not."""
    array = np.zeros((1, 4, 8, 1), np.uint8)
    array[:, :, 2:6] = 255
    mean, _ = channel_statistics(made(array), np.array([0]), Preprocess((4, 4), 1, policy="crop"))
    assert mean[0] == 1
    mean, _ = channel_statistics(made(array), np.array([0]), Preprocess((8, 8), 1, policy="letterbox"))
    assert mean[0] == 0.25


def test_large_numbers_stay_exact():
    """Single precision sums would drift: a million pixels of 65534 and 65535."""
    array = np.full((16, 256, 256, 1), 65535, np.uint16)
    array[::2] -= 1
    mean, std = channel_statistics(made(array), np.arange(16), Preprocess((256, 256), 1, depth=16))
    assert mean[0] == pytest.approx(65534.5 / 65535, rel=1e-15)
    assert std[0] == 1  # a spread of half a step of 65535: constant


def test_constant_channels_are_not_magnified():
    mean, std = channel_statistics(made(np.full((3, 2, 2, 3), 51, np.uint8)), np.arange(3), Preprocess((2, 2), 3))
    assert mean.tolist() == [0.2] * 3 and std.tolist() == [1] * 3


def test_of_many_images_an_even_sample():
    array = np.repeat(np.arange(100, dtype=np.uint8), 1).reshape(100, 1, 1, 1)
    mean, _ = channel_statistics(made(array), np.arange(100), Preprocess((1, 1), 1), most=11)
    assert mean[0] * 255 == pytest.approx(49.5, abs=0.5)


def test_files_that_fail_are_left_out(make_folder, tmp_path):
    root = make_folder({f"{c}/{i}.png": np.full((3, 3, 3), 51) for c in "ab" for i in range(3)})
    dataset = check_files(formats.open_path(root), cache=tmp_path / "cache")
    (root / "a/1.png").write_bytes(b"broken since")
    mean, _ = channel_statistics(dataset, np.arange(6), Preprocess((3, 3), 3))
    assert mean.tolist() == [0.2] * 3
    for path in root.rglob("*.png"):
        path.unlink()
    with pytest.raises(UserError, match="can be read"):
        channel_statistics(dataset, np.arange(6), Preprocess((3, 3), 3))
