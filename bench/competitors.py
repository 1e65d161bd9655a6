"""Who competes: hubel, the tightest loop by hand (the limit), the usual loop by hand, Lightning, fastai, Keras.

Same images, network, batch size, optimiser (SGD with momentum 0.9) and learning rate, constant; the peers otherwise as
they come (fp32, no augmentation, batches from a dataset), hubel and the limit with shift and flip, and with bf16
where the machine has it. Each function trains epoch after epoch between `turns.begin()` and `turns.end(images)`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from limit import limit
from networks import NETWORKS
from peers import default, fastai, keras, lightning
from turns import Turns
from work import MOMENTUM, RATE, Work


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
            size=work.shape[1],  # by itself it takes photographs of 128 pixels at 64 on a CPU
            device=work.device,
            optimizer={"name": "momentum", "lr": RATE, "momentum": MOMENTUM},
            schedule="constant",
            augment={"shift": work.shift, "flip": "random"},
            split={"dev": 0.0, "test": 0.0},  # the others judge nothing either
            callbacks=[Epochs()],
            out=Path(folder),
        )


COMPETITORS = {
    "hubel": hubel,
    "limit": limit,
    "default": default,
    "lightning": lightning,
    "fastai": fastai,
    "keras": keras,
}
