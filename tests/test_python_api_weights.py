"""Weights of examples, from an archive, arrays and a torch dataset: 2 is twice the same example, 0 is none."""

import numpy as np
import pytest
import torch
from small_runs import Quiet, squares
from torch import nn

import hubel
from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages

N, TRAIN = 48, 30


class Exact(nn.Module):
    """fp64; each image is standardised, so that mean and deviation of the training part don't matter."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.last = nn.Linear(64, 3).double()

    def forward(self, images):
        pixels = images.double().flatten(1)
        return self.last((pixels - pixels.mean(1, keepdim=True)) / pixels.std(1, keepdim=True))


def learnt(source, tmp_path):
    """(weights after 5 full-batch steps of plain SGD, the run)"""
    options = {"optimizer": {"name": "sgd", "lr": 0.5}, "schedule": "constant", "augment": "none", "workers": 0}
    run = hubel.train(
        source, model=Exact(), epochs=5, batch_size=0, keep="last", precision="fp32", out=tmp_path, progress=Quiet(),
        **options,
    )  # fmt: skip
    return hubel.Run.open(run.path, model=Exact()).network.last.weight.detach(), run


def example(weights=None, order=None):
    """Arrays by name: the training part in `order`, with weights."""
    images, labels = squares(N)
    order = np.arange(TRAIN) if order is None else np.asarray(order)
    arrays = {"train_images": images[order], "train_labels": labels[order]}
    arrays |= {"test_images": images[TRAIN:], "test_labels": labels[TRAIN:]}
    arrays |= {"dev_images": images[TRAIN:], "dev_labels": labels[TRAIN:]}
    return arrays if weights is None else {**arrays, "train_weights": np.asarray(weights, np.float32)}


def close(one, other):
    return torch.allclose(one, other, rtol=0, atol=1e-6)  # normalised pixels are fp32


def test_weight_two_is_the_example_twice_and_weight_zero_none(tmp_path):
    weights = np.ones(TRAIN)
    weights[4], weights[7] = 2, 0
    weighted, run = learnt(example(weights), tmp_path)
    listed, _ = learnt(example(order=[*range(7), 4, *range(8, TRAIN)]), tmp_path)
    plain, _ = learnt(example(), tmp_path)
    assert close(weighted, listed) and not close(weighted, plain)
    assert len(run.splits["train"]) == TRAIN - 1 and len(run.splits["dev"]) == N - TRAIN


def test_an_archive_and_arrays_give_the_same(tmp_path):
    arrays = example(np.linspace(0.5, 2, TRAIN))
    np.savez(tmp_path / "d.npz", **arrays)
    found = [hubel.load_dataset(source) for source in (arrays, tmp_path / "d.npz")]
    for dataset in found:
        assert dataset.weights[:TRAIN] == pytest.approx(np.linspace(0.5, 2, TRAIN))
        assert (dataset.weights[TRAIN:] == 1).all() and dataset.weights.dtype == np.float32
    assert found[0].hash() == found[1].hash() != hubel.load_dataset(example()).hash()


def test_a_torch_dataset_and_a_dataset_give_weights(tmp_path):
    images, labels = squares(N)
    weights = np.r_[np.full(N // 2, 3.0), np.ones(N // 2)].astype(np.float32)
    triples = torch.utils.data.TensorDataset(*map(torch.from_numpy, (images[..., 0], labels, weights)))
    ours = Dataset("own", ArrayImages(images), {"label": labels}, ("0", "1", "2"), weights=weights)
    first, run = learnt(triples, tmp_path / "a")
    second, _ = learnt(ours, tmp_path / "b")
    pairs = [(image[..., 0], int(label)) for image, label in zip(images, labels, strict=True)]
    assert torch.equal(first, second) and not close(first, learnt(pairs, tmp_path / "c")[0])
    with pytest.raises(hubel.UserError, match="has changed since the run began"):  # without its weights
        hubel.resume(run.path, source=pairs, model=Exact(), epochs=6, progress=Quiet())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(5), r"weights are float64 \(5,\) for 30 train images"),
        (np.full(TRAIN, "a"), r"expected one number for each"),
        (np.full(TRAIN, -1.0), r"weights of examples are -1\.0 … 1\.0; expected finite numbers from 0"),
        (np.full(TRAIN, np.nan), r"expected finite"),
    ],
)
def test_wrong_weights(weights, message):
    with pytest.raises(hubel.UserError, match=message):
        hubel.load_dataset({**example(), "train_weights": weights})


@pytest.mark.parametrize("item", [(np.zeros((4, 4), np.uint8),), (np.zeros((4, 4), np.uint8), 0, "much")])
def test_wrong_items(item):
    with pytest.raises(hubel.UserError, match=r"\[0\].*(expected \(image, target\) or|is a number, got 'much')"):
        hubel.load_dataset([item])


@pytest.mark.parametrize(("weights", "model"), [
    ("timm:resnet18.a1_in1k", "resnet18"), ("timm:vit_tiny", "timm:vit_tiny"), ("net.pth", "resnet50"),
])  # fmt: skip
def test_weights_without_their_network(weights, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.pth").touch()
    with pytest.raises(hubel.UserError, match=f"Say which: --model {model},"):
        hubel.train("digits", weights=weights)
