"""Previews of several images in one: which ones there are, and that they are what a training sees."""

import numpy as np
from drawn_scenes import scenes
from standins import thumbnails

from hubel.data.arrange import Collage
from hubel.data.augment import Augment
from hubel.data.dataset import Dataset
from hubel.data.loader import Loader
from hubel.data.preprocess import Preprocess
from hubel.data.preview import Previewer
from hubel.data.preview_mixed import mixtures


def previewer(data, augment=None):
    return Previewer(data, Preprocess.choose(data, size=64), augment or Augment(), "")


def test_what_the_annotations_allow():
    there = [one.option.removeprefix("augment.") for one in mixtures(previewer(scenes()), range(6))]
    assert there == ["mosaic", "copy_paste", "blend"]
    labelled = Dataset("labelled", thumbnails(), {"label": np.arange(24) % 2}, ("a", "b"))
    found = list(mixtures(previewer(labelled), range(6)))
    assert [one.option for one in found] == ["augment.mixup", "augment.cutmix", "augment.blend"]
    assert all(len(one.views) == 6 and one.views[0].image.dtype == np.uint8 for one in found)
    assert all(view.objects is None and view.mask is None for one in found for view in one.views)


def test_a_mosaic_is_what_the_loader_gives():
    data, shown = scenes(), previewer(scenes(), Augment(flip="random"))
    mosaic = next(mixtures(shown, range(6), seed=4))
    augment = Augment(flip="random", collage=Collage(mosaic=1.0))
    exact = Preprocess((64, 64), 1, mean=(0,), std=(1 / 255,), policy=shown.preprocess.policy)
    with Loader(data, lambda i: data.take("objects", i), exact, augment=augment, seed=4) as loader:
        (batch,) = loader.batches(np.arange(6), 0, 6)
    for row, view in enumerate(mosaic.views):
        np.testing.assert_array_equal(view.image[..., 0], batch.images[row, 0])
        own = batch.targets.image == row
        np.testing.assert_allclose(view.objects.boxes, batch.targets.boxes[own], rtol=1e-5)
        assert view.objects.labels.tolist() == batch.targets.labels[own].tolist() and view.mask.shape == (64, 64)


def test_mixed_pixels_are_pixels_again():
    """Without anything to mix, normalising and undoing it changes no grey level."""
    labelled = Dataset("labelled", thumbnails(side=64), {"label": np.arange(24) % 2}, ("a", "b"))
    cutmix = next(one for one in mixtures(previewer(labelled), range(6)) if one.option == "augment.cutmix")
    for i, view in enumerate(cutmix.views):
        own, other = (labelled.images.read(k) for k in (i, i ^ 1))
        same = (view.image == own).all(-1)
        assert 0.4 < same.mean() <= 1 and ((view.image == other).all(-1) | same).all()
