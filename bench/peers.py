"""The peers as they come: the usual loop by hand, Lightning, fastai, Keras; fp32, no augmentation, a DataLoader."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils import data
from turns import Turns
from work import MOMENTUM, RATE, Items, Work


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
