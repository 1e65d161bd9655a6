"""Who competes: hubel, the tightest loop by hand (the limit), the usual loop by hand, Lightning, fastai, Keras.

Same images, network, batch size, optimiser (SGD with momentum 0.9) and learning rate, constant; the peers otherwise as
they come (fp32, no augmentation, batches from a dataset), hubel and the limit with shift and flip, and with bf16
where the machine has it. Each function trains epoch after epoch between `turns.begin()` and `turns.end(images)`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from networks import NETWORKS
from torch import nn
from torch.nn import functional as F
from torch.utils import data
from turns import Turns

MOMENTUM, RATE = 0.9, 0.02


@dataclass(frozen=True)
class Work:
    """What is to be learnt: images (N, H, W, C) uint8, labels (N,) int64."""

    network: str
    images: np.ndarray
    labels: np.ndarray
    batch: int
    epochs: int
    device: str = "cpu"

    @property
    def shape(self) -> tuple[int, int, int]:
        height, width, channels = self.images.shape[1:]
        return channels, height, width

    @property
    def shift(self) -> int:  # hubel's rule: an eighth of the side; 2 pixels in the recipe for Fashion-MNIST
        return 2 if self.shape[1] < 32 else self.shape[1] // 8

    def module(self) -> nn.Module:
        torch.manual_seed(0)
        return NETWORKS[self.network](classes=10, input=self.shape).to(self.device)

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation per channel, in [0, 1], of a sample."""
        some = self.images[:2000].reshape(-1, self.shape[0]) / 255
        return some.mean(0).astype(np.float32), some.std(0).astype(np.float32)


class Items(data.Dataset):
    """One normalised image and its label at a time, as the tutorials write it."""

    def __init__(self, work: Work):
        self.images, self.labels = work.images, work.labels
        self.mean, self.std = (torch.from_numpy(v)[:, None, None] for v in work.statistics())

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image = torch.from_numpy(self.images[i]).permute(2, 0, 1)
        return (image.float() / 255 - self.mean) / self.std, int(self.labels[i])


def hubel(work: Work, turns: Turns) -> None:
    """As a user gets it: augmentation, training metrics, history, checkpoint at each epoch's end, and the bar."""
    import hubel as package
    from hubel.data.dataset import Dataset
    from hubel.data.images import ArrayImages
    from hubel.names import MODELS

    class Epochs(package.Callback):
        def on_start(self, loop):
            turns.begin()

        def on_epoch(self, loop, row):
            turns.end(len(work.labels))
            turns.begin()

    names = tuple(f"class {k}" for k in range(10))
    splits = {"train": np.arange(len(work.labels))}
    dataset = Dataset("bench", ArrayImages(work.images), {"label": work.labels}, names, splits, source="<bench>")
    with tempfile.TemporaryDirectory() as folder:
        package.train(
            dataset,
            model=work.network if work.network in MODELS else NETWORKS[work.network],
            epochs=work.epochs,
            batch_size=work.batch,
            device=work.device,
            optimizer={"name": "momentum", "lr": RATE, "momentum": MOMENTUM},
            schedule="constant",
            augment={"shift": work.shift, "flip": "random"},
            split={"dev": 0.0, "test": 0.0},  # the others judge nothing either
            callbacks=[Epochs()],
            out=Path(folder),
        )


def limit(work: Work, turns: Turns) -> None:
    """The tightest loop: images resident as padded bytes, mirrored ones beside them, so that a batch is one gather."""
    from hubel.training.auto import native_bf16

    keep_memory()
    bf16, _ = native_bf16(work.device)
    network = work.module().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM, fused=True)
    windows = Windows(work)
    labels = torch.from_numpy(work.labels).to(work.device)
    device, count = work.device.partition(":")[0], len(work.labels)
    while True:
        turns.begin()
        order = np.random.permutation(count)
        targets = labels[torch.from_numpy(order).to(work.device)]
        for low in range(0, count, work.batch):
            images = windows.batch(order[low : low + work.batch])
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                logits = network(images)
            loss = F.cross_entropy(logits.float(), targets[low : low + work.batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        turns.end(count)


def keep_memory() -> None:
    """glibc gives freed blocks back to the system at each step and faults them in again: a third of the time."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        library.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, at its largest


class Windows:
    """Random shifts and mirrors by the cheapest means: a window into the padded image or into its mirror image."""

    def __init__(self, work: Work):
        s, (self.channels, self.height, self.width) = work.shift, work.shape
        both = np.concatenate([work.images, work.images[:, :, ::-1]])
        padded = np.pad(both, ((0, 0), (s, s), (s, s), (0, 0)), mode="reflect")  # (2N, H + 2s, W + 2s, C)
        self.count, self.moves, self.device = len(work.images), 2 * s + 1, work.device
        mean, std = (np.tile(v, self.width) for v in work.statistics())
        self.scale = torch.from_numpy(1 / (255 * std)).to(self.device)
        self.shift = torch.from_numpy(-mean / std).to(self.device)
        self.padded = padded
        (image, row, pixel), places = padded.strides[:3], (2 * self.count, self.moves, self.moves)
        if self.device == "cpu":  # a row of a window is one item
            item = np.dtype((np.void, self.width * self.channels))
            first = padded.reshape(-1)[: self.width * self.channels].view(item)
            self.view = np.lib.stride_tricks.as_strided(first, (*places, self.height), (image, row, pixel, row))
        else:
            shape = (*places, self.height, self.width * self.channels)
            self.view = torch.from_numpy(padded).to(self.device).as_strided(shape, (image, row, pixel, row, 1))

    def batch(self, rows: np.ndarray) -> torch.Tensor:
        """(B,) -> (B, C, H, W) float32, channels_last."""
        rows = rows + self.count * np.random.randint(0, 2, len(rows))
        y, x = np.random.randint(0, self.moves, (2, len(rows)))
        if self.device == "cpu":
            pixels = torch.from_numpy(self.view[rows, y, x].view(np.uint8))
        else:
            pixels = self.view[tuple(torch.from_numpy(i).to(self.device) for i in (rows, y, x))]
        values = pixels.reshape(len(rows), self.height, -1).float().mul_(self.scale).add_(self.shift)
        return values.view(len(rows), self.height, self.width, self.channels).permute(0, 3, 1, 2)


def default(work: Work, turns: Turns) -> None:
    """The loop of the tutorials: fp32, DataLoader, the loss read at each step."""
    loader = data.DataLoader(Items(work), batch_size=work.batch, shuffle=True)
    network = work.module().train()
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)
    criterion = nn.CrossEntropyLoss()
    while True:
        turns.begin()
        total = 0.0
        for images, targets in loader:
            images, targets = images.to(work.device), targets.to(work.device)
            optimizer.zero_grad()
            loss = criterion(network(images), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
        turns.end(len(work.labels))


def lightning(work: Work, turns: Turns) -> None:
    declare_operators()
    import lightning as package

    class Module(package.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = work.module()

        def training_step(self, batch, index):
            loss = F.cross_entropy(self.network(batch[0]), batch[1])
            self.log("train_loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=RATE, momentum=MOMENTUM)

    class Epochs(package.Callback):
        def on_train_epoch_start(self, trainer, module):
            turns.begin()

        def on_train_epoch_end(self, trainer, module):
            turns.end(len(work.labels))

    with tempfile.TemporaryDirectory() as folder:
        kind = "gpu" if work.device.startswith("cuda") else "cpu"
        trainer = package.Trainer(
            max_epochs=work.epochs, callbacks=[Epochs()], default_root_dir=folder, accelerator=kind
        )
        trainer.fit(Module(), data.DataLoader(Items(work), batch_size=work.batch, shuffle=True))


def fastai(work: Work, turns: Turns) -> None:
    declare_operators()
    from fastai.callback.core import Callback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import SGD

    class Epochs(Callback):
        def before_train(self):
            turns.begin()

        def after_train(self):
            turns.end(len(work.labels))

    items = Items(work)
    judged = data.Subset(items, range(work.batch))  # it insists on judging something, outside of the turn
    loaders = DataLoaders.from_dsets(items, judged, bs=work.batch, device=torch.device(work.device))
    loaders.c = 10
    learner = Learner(loaders, work.module(), loss_func=nn.CrossEntropyLoss(), opt_func=sgd(SGD), cbs=[Epochs()])
    learner.fit(work.epochs, RATE)


def sgd(rule):
    return lambda parameters, **options: rule(parameters, **{**options, "mom": MOMENTUM, "wd": 0.0})


def declare_operators() -> None:
    """torchvision, which Lightning and fastai import, wants to know its compiled operators; nothing here calls one.

    Beside a torch for the CPU only, the library that brings them can't be loaded: their names are declared instead.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    declare_operators.kept = library  # they vanish with it


def keras(work: Work, turns: Turns) -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    if not work.device.startswith("cuda"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import keras as package
    from keras_networks import NETWORKS as KERAS_NETWORKS

    class Epochs(package.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            turns.begin()

        def on_epoch_end(self, epoch, logs=None):
            turns.end(len(work.labels))

    mean, std = work.statistics()
    channels, height, width = work.shape
    model = KERAS_NETWORKS[work.network](10, (height, width, channels))
    model.compile(
        optimizer=package.optimizers.SGD(RATE, momentum=MOMENTUM),
        loss=package.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    images = (work.images / np.float32(255) - mean) / std
    model.fit(images, work.labels, batch_size=work.batch, epochs=work.epochs, callbacks=[Epochs()])


COMPETITORS = {
    "hubel": hubel,
    "limit": limit,
    "default": default,
    "lightning": lightning,
    "fastai": fastai,
    "keras": keras,
}
