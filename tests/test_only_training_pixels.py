"""A whole training on images whose dev and test pixels are others: what was measured and saved is the same."""

import numpy as np
import pytest

from hubel import api
from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages

RNG = np.random.default_rng(0)
SPLITS = {"train": np.arange(0, 60), "dev": np.arange(60, 80), "test": np.arange(80, 100)}
ARRAY = RNG.integers(0, 256, (100, 6, 6, 3)).astype(np.uint8)
LABEL = RNG.integers(0, 2, 100)


def trained(array, out, **options):
    dataset = Dataset("made", ArrayImages(array), {"label": LABEL}, ("a", "b"), SPLITS)
    return api.train(dataset, model="linear", epochs=1, seed=0, out=out, progress="quiet", **options)


def fitted(run):
    """What was measured and saved with the run, to the last bit."""
    preprocess = run.parts().preprocess
    whitening = None if preprocess.whitening is None else preprocess.whitening.content()
    return preprocess.settings(), whitening


@pytest.mark.parametrize("options", [{"normalize": "channel"}, {"normalize": "image"}, {"normalize": "pca"},
    {"normalize": "zca"}, {"augment": "strong"}])  # fmt: skip
def test_pixels_of_dev_and_test_have_no_influence(tmp_path, options):
    before = fitted(trained(ARRAY, tmp_path / "before", **options))
    other = ARRAY.copy()
    other[60:] = RNG.integers(0, 256, other[60:].shape)
    assert fitted(trained(other, tmp_path / "other", **options)) == before
    seen = ARRAY.copy()
    seen[0] = 255 - seen[0]
    assert fitted(trained(seen, tmp_path / "seen", **options)) != before
