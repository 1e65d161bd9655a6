"""--train_size: training sees smaller images than evaluation, of the same things at the same scale."""

import numpy as np
import pytest
import torch

import hubel
from hubel.errors import UserError
from hubel.session import new_session

SOURCE = "shapes:count=24,size=80x112,classes=3,most=2,kind=segmentation"


def session(**options):
    chosen = {"model": "resnet8", "precision": "fp32", "workers": 0, "batch_size": 8, **options}
    return new_session(hubel.load_dataset(SOURCE), [("command line", chosen)])


def test_training_sees_the_smaller_size_and_evaluation_the_whole():
    made = session(train_size=56, **{"augment.crop": 0.35})
    data = made.data()
    train = next(iter(data.train.batches(data.splits["train"], 0, 8)))
    plain = next(iter(data.batches_of("dev", 4)))
    assert train.images.shape == (8, 3, 56, 80) and train.targets.values.shape == (8, 56, 80)
    assert plain.images.shape == (4, 3, 80, 112) and plain.targets.values.shape == (4, 80, 112)
    scale = torch.linalg.det(train.matrices[:, :2, :2].double()).abs().sqrt()  # pixels of the source -> of the batch
    assert float(scale.min()) >= 0.7 and float(scale.max()) <= 0.7 / 0.35**0.5
    assert float(plain.matrices[0, 0, 0]) == 1


def test_masks_follow_the_pixels():
    """Of a crop that keeps everything: a nearest pixel of the mask moved by the batch's own matrix."""
    made = session(train_size=56, **{"augment.crop": 0.999, "augment.flip": "none"})
    data = made.data()
    index = data.splits["train"][:4]
    batch = next(iter(data.train.batches(index, 0, 4)))
    masks = made.dataset.annotations["mask"]
    for row, i in enumerate(index):
        mask, matrix = masks.read(int(i)), np.linalg.inv(batch.matrices[row].double().numpy())
        y, x = np.mgrid[:56, :80] + 0.5
        sx, sy, _ = matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
        near = mask[np.clip(sy, 0, 79).astype(int), np.clip(sx, 0, 111).astype(int)].reshape(56, 80)
        assert (near == batch.targets.values[row].numpy()).mean() > 0.97


def test_the_choice_for_masks():
    settings = session(**{"augment.policy": "standard"}).settings
    assert settings["train_size"].value is None  # 0.7 of 80 pixels: below 64
    large = hubel.load_dataset(SOURCE.replace("80x112", "96x128"))
    chosen = [("command line", {"model": "resnet8", "workers": 0})]
    assert new_session(large, chosen).recipe.train_size == 64
    chosen[0][1]["augment.policy"] = "none"
    assert new_session(large, chosen).recipe.train_size is None


def test_without_crops_it_is_refused():
    with pytest.raises(UserError, match="random crops"):
        session(train_size=56, **{"augment.policy": "none"})


def test_it_is_no_larger_than_the_size():
    with pytest.raises(UserError, match="above the size, 80"):
        session(train_size=96, **{"augment.crop": 0.35})


def digits(**options):
    layers = [("command line", {"augment.crop": 0.4, "model": "mlp", "train_size": 6, **options})]
    return new_session(hubel.load_dataset("digits"), layers)


def test_a_network_of_one_size_and_whitening_are_named():
    with pytest.raises(UserError, match=r"6 × 6 pixels.*no others than 8 × 8"):
        digits()
    with pytest.raises(UserError, match="pca and zca"):
        digits(normalize="pca")
