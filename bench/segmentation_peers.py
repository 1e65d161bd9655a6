"""Who competes in bench/segmentation.py: hubel as it comes, and segmentation_models.pytorch as its users train it.

Each one's `take_turns(work, turns, epochs)` trains epochs between `turns.begin()` and `turns.end(images)`; its
`learn(work)` is a whole training: "masks" (n, H, W) uint8 of val, "seconds" from the first file to the chosen weights,
"parameters". smp has no trainer; its loop here is that of its CamVid example (Adam at 2e-4, cosine, Dice loss, fp32,
batches from a DataLoader with two workers, its own IoU on val after each epoch); `tuned` has hubel's weighted
cross-entropy, AdamW at 2e-3 and one cycle instead. Both see hubel's crops, mirrors and light.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from peers import declare_operators
from segmentation_work import Scenes, Work
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from turns import Turns

WORKERS = 2
IGNORED = 255
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # smp's own for this encoder


class Hubel:
    """As a user gets it: augmentation, training metrics, history, checkpoints; the report at the end of a training.

    On a CPU it learns from crops on smaller images than it judges (--train_size); `whole` makes them as large.
    """

    def __init__(self, whole: bool = False):
        self.whole = whole

    def _train(self, data: Any, work: Work, folder: str, **more: Any) -> Any:
        import hubel

        options = {"epochs": work.epochs, "batch_size": work.batch, "seed": work.seed, "out": Path(folder), **more}
        if self.whole:
            options["train_size"] = min(Scenes(work.data, "train").mask(0).shape)
        return hubel.train(data, model="unet", **{"model.encoder": "resnet18"}, **options)

    def take_turns(self, work: Work, turns: Turns, epochs: int) -> None:
        import hubel

        class Epochs(hubel.Callback):
            def on_start(self, loop):
                turns.begin()

            def on_epoch(self, loop, row):
                turns.end(len(loop.data.splits["train"]))
                turns.begin()

        dataset = hubel.load_dataset(str(work.data))
        dataset = dataset.with_splits({"train": dataset.splits["train"]})  # nobody judges anything
        with tempfile.TemporaryDirectory() as folder:
            work = replace(work, epochs=epochs)
            self._train(dataset, work, folder, callbacks=[Epochs()], split={"dev": 0.0, "test": 0.0})

    def learn(self, work: Work) -> dict[str, Any]:
        from hubel.outcome import predictions_of

        started, scenes = time.perf_counter(), Scenes(work.data, "val")
        with tempfile.TemporaryDirectory() as folder:
            run = self._train(str(work.data), work, folder, progress="quiet")
            found: dict[str, Any] = {"seconds": time.perf_counter() - started}
            parts, images = run.parts(), [(str(i), scenes.image(i)) for i in range(len(scenes))]
            found["parameters"] = sum(p.numel() for p in parts.network.parameters())
            for key, views in (("masks", run.recipe.views), ("masks_single", "single")):
                seen = predictions_of(parts, replace(run.recipe, views=views), images)
                found[key] = np.stack([seen.in_source(i).numpy() for i in range(len(images))])
        return found


@dataclass(frozen=True)
class Rules:
    """How smp's network learns; `loss(scores, masks)`, optimiser, schedule."""

    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    schedule: Any


def example(network: nn.Module, steps: int, scenes: Scenes) -> Rules:
    import segmentation_models_pytorch as smp

    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps, eta_min=1e-5)
    return Rules(smp.losses.DiceLoss("multiclass", from_logits=True, ignore_index=IGNORED), optimizer, schedule)


def tuned(network: nn.Module, steps: int, scenes: Scenes) -> Rules:
    """Classes weighed by (n / (K·n_k))^0.5, as hubel does."""
    pixels = sum(np.bincount(scenes.mask(i).ravel(), minlength=256) for i in range(len(scenes)))[: len(scenes.names)]
    weights = torch.tensor(np.sqrt(pixels.sum() / (len(pixels) * np.maximum(pixels, 1))), dtype=torch.float32)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    return Rules(nn.CrossEntropyLoss(weights, ignore_index=IGNORED), optimizer, schedule)


class Smp:
    def __init__(self, rules: Callable[[nn.Module, int, Scenes], Rules]):
        self.rules = rules

    def take_turns(self, work: Work, turns: Turns, epochs: int) -> None:
        train, (network, rules) = loader(work, "train"), self._begin(work, epochs)
        while True:
            turns.begin()
            turns.end(epoch(network, rules, train))

    def learn(self, work: Work) -> dict[str, Any]:
        started, train, val = time.perf_counter(), loader(work, "train"), loader(work, "val")
        network, rules = self._begin(work, work.epochs)
        best, kept = -1.0, None
        for _ in range(work.epochs):
            epoch(network, rules, train)
            score = own_iou(network, val)
            if score > best:
                best, kept = score, copy.deepcopy(network.state_dict())
        seconds = time.perf_counter() - started
        network.load_state_dict(kept)
        height, width = val.dataset.scenes.mask(0).shape
        masks = np.concatenate([answers(network, images).numpy()[:, :height, :width] for images, _ in val])
        return {"seconds": seconds, "masks": masks, "parameters": sum(p.numel() for p in network.parameters())}

    def _begin(self, work: Work, epochs: int) -> tuple[nn.Module, Rules]:
        declare_operators()
        import segmentation_models_pytorch as smp

        torch.manual_seed(work.seed)
        scenes = Scenes(work.data, "train")
        network = smp.Unet("resnet18", encoder_weights=None, classes=len(scenes.names))
        return network, self.rules(network, epochs * (len(scenes) // work.batch), scenes)


class Items(Dataset):
    """(image (3, H, W) float32, mask (H, W) int64), sides filled up to multiples of 32, which smp's U-Net needs."""

    def __init__(self, work: Work, part: str):
        declare_operators()
        from torchvision import tv_tensors
        from torchvision.transforms import v2

        self.scenes, self.kinds = Scenes(work.data, part), tv_tensors
        height, width = self.scenes.mask(0).shape
        shape = width / height
        crop = v2.RandomResizedCrop((height, width), scale=(0.35, 1.0), ratio=(shape * 3 / 4, shape * 4 / 3))
        moves = [crop, v2.RandomHorizontalFlip(), v2.ColorJitter(0.3, 0.3)]
        last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
        self.steps = v2.Compose([*(moves if part == "train" else []), *last])

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        mask = self.scenes.mask(i)
        mask[mask == self.scenes.ignore] = IGNORED
        image = self.kinds.Image(torch.from_numpy(self.scenes.image(i)).permute(2, 0, 1))
        image, mask = self.steps(image, self.kinds.Mask(torch.from_numpy(mask)))
        below, right = (-side % 32 for side in mask.shape)
        mask = F.pad(mask.as_subclass(Tensor), (0, right, 0, below), value=IGNORED).long()
        return F.pad(image.as_subclass(Tensor), (0, right, 0, below)), mask


def loader(work: Work, part: str) -> DataLoader:
    learning = part == "train"
    return DataLoader(Items(work, part), work.batch, shuffle=learning, drop_last=learning, num_workers=WORKERS)


def epoch(network: nn.Module, rules: Rules, batches: DataLoader) -> int:
    network.train()
    count = 0
    for images, masks in batches:
        rules.optimizer.zero_grad()
        rules.loss(network(images), masks).backward()
        rules.optimizer.step()
        rules.schedule.step()
        count += len(images)
    return count


@contextmanager
def judging(network: nn.Module) -> Iterator[None]:
    network.eval()
    with torch.no_grad():
        yield


def own_iou(network: nn.Module, batches: DataLoader) -> float:
    """smp's IoU over the classes, of all images together, by which its users choose their weights."""
    import segmentation_models_pytorch as smp

    found = []
    with judging(network):
        for images, masks in batches:
            scores = network(images)
            given = {"mode": "multiclass", "num_classes": scores.shape[1], "ignore_index": IGNORED}
            found.append(torch.stack(smp.metrics.get_stats(scores.argmax(1), masks, **given)))
    counts = torch.cat(found, 1).sum(1, keepdim=True)
    return float(smp.metrics.iou_score(*counts, reduction="macro"))


def answers(network: nn.Module, images: Tensor) -> Tensor:
    with judging(network):
        return network(images).argmax(1).to(torch.uint8)


COMPETITORS = {"hubel": Hubel(), "hubel_whole": Hubel(True), "smp": Smp(example), "smp_tuned": Smp(tuned)}
