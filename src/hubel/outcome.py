"""After the last step: the kept weights judged on every part, predictions and metrics saved, the report written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hubel.metrics.interval import wilson
from hubel.rebuild import load_weights
from hubel.report import page, values
from hubel.session import Session
from hubel.training import distributed
from hubel.training.evaluate import Evaluation, evaluate, evaluating, predict
from hubel.training.run import RunFolder
from hubel.types import Batch

ORDER = ("train", "train-dev", "dev", "test")
GALLERY = 60  # mistakes shown
SAMPLES = 20


def judge(session: Session, splits: Sequence[str], autocast: Any, loader: Any) -> dict[str, Evaluation]:
    """Evaluate the session's network on `splits`, unaugmented, with the recipe's views."""
    found = {}
    size = max(session.recipe.batch_size or 128, 256)
    for name in splits:
        batches = loader.batches(session.dataset.splits[name], 0, size, shard=(distributed.rank(), distributed.world()))
        found[name] = evaluate(
            session.network,
            session.task,
            batches,
            views=session.recipe.views or "single",
            autocast=autocast,
            collect=True,
        )
    return found


def finish(
    session: Session, loop: Any, folder: RunFolder, seconds: float, private: bool = False
) -> dict[str, dict[str, float]]:
    """Judge the kept weights, save what came out, write the report; returns the metrics by split."""
    keep = session.recipe.keep if loop.data.splits.get("dev") is not None else "last"
    epoch = load_weights(session.network, folder.path, keep or "last")
    splits = [name for name in ORDER if len(session.dataset.splits.get(name, ()))]
    evaluations = judge(session, splits, loop.autocast, loop.data.plain)
    metrics = {name: found.metrics for name, found in evaluations.items()}
    if not distributed.is_main():
        return metrics
    for name, found in evaluations.items():
        folder.save_predictions(name, **arrays_of(found))
    folder.write_metrics(
        {
            "metrics": metrics,
            "seconds": seconds,
            "epoch": epoch,
            "primary": session.task.primary.metric,
            "looks": {"test": 1 if "test" in metrics else 0},
            "notes": [*loop.notes],
        }
    )
    data = report_data(session, evaluations, folder, epoch, loop.notes)
    page.write(data, folder.path / "report.html", private=private)
    return metrics


def arrays_of(found: Evaluation) -> dict[str, np.ndarray]:
    """index, target (target.<name> for a Joint task) and the predictions' arrays."""
    assert found.predictions is not None
    arrays = {"index": found.index, **{f"output.{k}": v for k, v in found.predictions.arrays().items()}}
    arrays |= _target_arrays(found.targets, "target")
    return arrays


def _target_arrays(targets: Any, name: str) -> dict[str, np.ndarray]:
    if torch.is_tensor(targets):
        return {name: targets.numpy()}
    if isinstance(targets, Mapping):
        return {k: v for key, item in targets.items() for k, v in _target_arrays(item, f"{name}.{key}").items()}
    return {}


# The report --------------------------------------------------------------------------------------------------


def report_data(
    session: Session, evaluations: Mapping[str, Evaluation], folder: RunFolder, epoch: int, notes: Sequence[str]
) -> values.ReportData:
    """Everything that the page shows, from what was measured."""
    judged = "test" if "test" in evaluations else "dev" if "dev" in evaluations else None
    found = evaluations.get(judged) if judged else None
    details = as_values(session.task.details(found.predictions, found.targets, found.weights)) if found else {}
    primary = session.task.primary
    return values.ReportData(
        title=f"{label(session)} on {session.dataset.name}",
        dataset=data_facts(session),
        model=model_facts(session),
        task=session.task.name,
        primary=primary.metric,
        higher_is_better=primary.higher_is_better,
        metrics={name: e.metrics for name, e in evaluations.items()},
        n={name: len(e.index) for name, e in evaluations.items()},
        intervals={name: intervals(session, e) for name, e in evaluations.items()},
        judged=judged,
        test_looks=max(folder.test_looks, 1) if "test" in evaluations else None,
        selected=session.recipe.keep == "best" or session.recipe.regularize.patience is not None,
        history=folder.history,
        best_epoch=epoch,
        mistakes=mistakes(session, found) if found else None,
        mistake_count=int(wrong(session, found).sum()) if found else None,
        samples=samples(session, found) if found else None,
        filters=pictures(session.network),
        throughput=throughput(folder, session),
        configuration=[values.ConfigRow(k, s.value, s.source, s.reason) for k, s in sorted(session.settings.items())],
        manifest=folder.manifest,
        quarantine=[values.Quarantined(bad.name, bad.reason) for bad in session.dataset.quarantine],
        warnings=[*notes],
        **details,
    )


def as_values(details: Mapping[str, Any]) -> dict[str, Any]:
    """A task's details as the page's values; see Task.details."""
    found: dict[str, Any] = {}
    if "confusion" in details:
        found["confusion"] = np.asarray(details["confusion"])
    if "per_class" in details:
        found["per_class"] = [values.ClassRow(**row) for row in details["per_class"]]
    if "calibration" in details:
        found["calibration"] = values.Calibration(**details["calibration"])
    if "scatter" in details:
        found["scatter"] = values.Scatter(**details["scatter"])
    return found


def data_facts(session: Session) -> values.DataFacts:
    dataset = session.dataset
    labels, classes = dataset.annotations.get("label"), dataset.classes
    counts = {}
    if labels is not None and classes:
        counts = {n: np.bincount(labels[i], minlength=len(classes)).tolist() for n, i in dataset.splits.items()}
    return values.DataFacts(dataset.name, dataset.source, dataset.format, dataset.notes, classes, counts)


def model_facts(session: Session) -> values.ModelFacts:
    parameters = sum(p.numel() for p in session.network.parameters() if p.requires_grad)
    shape = (session.preprocess.channels, *session.preprocess.size)
    return values.ModelFacts(label(session), parameters, shape)


def label(session: Session) -> str:
    """The network's name; the class alone where it comes from a file."""
    return str(session.recipe.model).rpartition(":")[2]


def intervals(session: Session, found: Evaluation) -> dict[str, tuple[float, float]]:
    """A 95 % interval for each metric that is a share of the examples (Wilson)."""
    shares = {"accuracy", "top5"} & found.metrics.keys()
    n = int((found.weights > 0).sum()) if found.weights is not None else len(found.index)
    return {name: wilson(round(found.metrics[name] * n), n) for name in shares}


def wrong(session: Session, found: Evaluation) -> np.ndarray:
    """(n,) bool: is the example's prediction, in words, not its truth?"""
    task, rows = session.task, range(len(found.index))
    return np.array([task.describe(found.predictions, r)["prediction"] != task.truth(found.targets, r) for r in rows])


def mistakes(session: Session, found: Evaluation) -> list[values.Example]:
    """The worst first; where predictions are numbers all examples count as wrong, by their distance."""
    assert found.scores is not None
    rows = np.flatnonzero(wrong(session, found))
    worst = rows[np.argsort(-found.scores.numpy()[rows], kind="stable")][:GALLERY]
    return [example(session, found, int(row)) for row in worst]


def samples(session: Session, found: Evaluation) -> list[values.Example]:
    """A fixed random choice."""
    rows = np.random.default_rng(0).permutation(len(found.index))[:SAMPLES]
    return [example(session, found, int(row)) for row in rows]


def example(session: Session, found: Evaluation, row: int) -> values.Example:
    position = int(found.index[row])
    words = session.task.describe(found.predictions, row)
    try:
        image = as_bytes(session.dataset.images.read(position))
    except Exception:  # a picture that can't be shown must not lose the report
        image = None
    return values.Example(
        image,
        session.dataset.images.name(position),
        session.task.truth(found.targets, row),
        str(words["prediction"]),
        words.get("confidence"),
        float(found.scores[row]) if found.scores is not None else None,
    )


def as_bytes(image: np.ndarray) -> np.ndarray:
    """For the screen only: 16-bit images are stretched over what they use."""
    if image.dtype == np.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    return ((image - low) / max(high - low, 1.0) * 255).astype(np.uint8)


def pictures(network: Any) -> list[np.ndarray] | None:
    """The first layer as pictures: a linear network's templates, or filters of at least 5 x 5 pixels."""
    if hasattr(network, "templates"):
        return [picture(template) for template in network.templates().detach().cpu().numpy()]
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            filters = module.weight.detach().float().cpu().numpy()
            seen = filters.shape[1] in (1, 3) and min(filters.shape[2:]) >= 3
            return [picture(one) for one in filters[:64]] if seen else None
    return None


def picture(weights: np.ndarray) -> np.ndarray:
    """(C, h, w) -> (h, w) or (h, w, 3)."""
    return weights[0] if weights.shape[0] == 1 else np.moveaxis(weights, 0, -1)


def throughput(folder: RunFolder, session: Session) -> values.Throughput | None:
    rows = folder.history
    if not rows:
        return None
    rates = [row["images_per_second"] for row in rows if row.get("images_per_second")]
    waits = [row["wait_share"] for row in rows if row.get("wait_share") is not None]
    return values.Throughput(
        float(np.median(rates)),
        float(np.mean(waits)) if waits else None,
        float(sum(row["seconds"] for row in rows)),
        str(session.device),
    )


def predict_images(parts: Any, chosen: Any, images: Sequence[tuple[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Predictions in words for (name, image (H, W, C)) pairs, in batches of 64."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(images), 64):
        some = images[start : start + 64]
        made = [parts.preprocess.geometry(image) for _, image in some]
        pixels = torch.from_numpy(np.stack([pixels for pixels, _ in made])).to(parts.device)
        batch = Batch(
            parts.preprocess.normalise(pixels),
            None,
            torch.arange(len(some)),
            torch.ones(len(some)),
            torch.tensor([image.shape[:2] for _, image in some]),
            torch.from_numpy(np.stack([matrix for _, matrix in made])).float(),
        )
        with evaluating(parts.network):
            seen = predict(parts.network, parts.task, batch, chosen.views or "single", parts.autocast).cpu()
        found += [{"image": name, **parts.task.describe(seen, row)} for row, (name, _) in enumerate(some)]
    return found


def rewrite_report(session: Session, folder: RunFolder, private: bool) -> Path:
    """report.html from the kept weights and the data as it is now."""
    splits = [name for name in ORDER if len(session.dataset.splits.get(name, ()))]
    evaluations = judge(session, splits, session.autocast, session.plain())
    data = report_data(session, evaluations, folder, folder.best_epoch, folder.notes)
    path = folder.path / "report.html"
    page.write(data, path, private=private)
    return path
