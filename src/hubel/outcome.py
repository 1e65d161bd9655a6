"""After the last step: the kept weights judged on every part, predictions and metrics saved, the report written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hubel.facts import report_data
from hubel.rebuild import load_weights
from hubel.report import page
from hubel.session import Session
from hubel.training import distributed
from hubel.training.evaluate import During, Evaluation, evaluate, evaluating, predict, undisturbed
from hubel.training.feed import judged_at_once
from hubel.training.run import RunFolder
from hubel.types import Batch

ORDER = ("train", "train-dev", "dev", "test")


def judge(
    session: Session,
    splits: Sequence[str],
    autocast: Any,
    loader: Any,
    during: During = undisturbed,
    *,
    whole: bool = False,
) -> dict[str, Evaluation]:
    """Evaluate the session's network on `splits`, unaugmented, with the recipe's views; `whole`: see `evaluate`."""
    found = {}
    size = judged_at_once(session.recipe.batch_size or 128, session.task.dense, loader.preprocess.size)
    for name in splits:
        batches = loader.batches(session.dataset.splits[name], 0, size, shard=(distributed.rank(), distributed.world()))
        found[name] = evaluate(
            session.network,
            session.task,
            batches,
            views=session.recipe.views or "single",
            autocast=autocast,
            collect=True,
            whole=whole,
            during=during,
        )
    return found


def finish(
    session: Session, loop: Any, folder: RunFolder, seconds: float, private: bool = False
) -> dict[str, dict[str, float]]:
    """Judge the kept weights, save what came out, write the report; returns the metrics by split."""
    keep = session.recipe.keep if loop.data.splits.get("dev") is not None else "last"
    epoch = load_weights(session.network, folder.path, keep or "last")
    splits = [name for name in ORDER if len(session.dataset.splits.get(name, ()))]
    evaluations = judge(session, splits, loop.descent.autocast, loop.data.plain)
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
            "notes": [*loop.notes.kept],
        }
    )
    data = report_data(session, evaluations, folder, epoch, loop.notes.kept)
    page.write(data, folder.path / "report.html", private=private)
    return metrics


def parts_in_words(splits: Iterable[str], asked: str) -> str:
    """The parts that there are, for one who `asked` for another: "train, dev, test."."""
    known = list(splits)
    hint = " 'dev' is what others call val." if asked.startswith("val") and "dev" in known else ""
    return f"{', '.join(known) or 'none'}.{hint}"


def arrays_of(found: Evaluation) -> dict[str, np.ndarray]:
    """index, target (target.<name> for a Joint task) and the predictions' arrays."""
    assert found.predictions is not None
    arrays = {"index": found.index, **{f"output.{k}": v for k, v in found.predictions.arrays().items()}}
    arrays |= _target_arrays(found.targets, "target")
    return arrays


def _target_arrays(targets: Any, name: str) -> dict[str, np.ndarray]:
    if torch.is_tensor(targets):
        return {name: targets.numpy()}
    if hasattr(targets, "__dataclass_fields__"):  # packed ones
        targets = vars(targets)
    if isinstance(targets, Mapping):
        return {k: v for key, item in targets.items() for k, v in _target_arrays(item, f"{name}.{key}").items()}
    return {}


def predict_images(parts: Any, chosen: Any, images: Sequence[tuple[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Predictions in words for (name, image (H, W, C)) pairs."""
    return in_words(parts, predictions_of(parts, chosen, images), images) if images else []


def predictions_of(
    parts: Any, chosen: Any, images: Sequence[tuple[str, np.ndarray]], during: During = undisturbed
) -> Any:
    """The task's predictions for (name, image (H, W, C)) pairs, at least one, on the CPU, in batches of 64."""
    found: list[Any] = []
    with evaluating(parts.network), during(parts.network):  # around all batches: what draws goes on drawing
        for start in range(0, len(images), 64):
            batch = _batch_of(parts, images[start : start + 64])
            found.append(predict(parts.network, parts.task, batch, chosen.views or "single", parts.autocast).cpu())
    return type(found[0]).cat(found)


def _batch_of(parts: Any, images: Sequence[tuple[str, np.ndarray]]) -> Batch:
    made = [parts.preprocess.geometry(image) for _, image in images]
    pixels = torch.from_numpy(np.stack([pixels for pixels, _ in made])).to(parts.device)
    return Batch(
        parts.preprocess.normalise(pixels),
        None,
        torch.arange(len(images)),
        torch.ones(len(images)),
        torch.tensor([image.shape[:2] for _, image in images]),
        torch.from_numpy(np.stack([matrix for _, matrix in made])).float(),
    )


def in_words(parts: Any, seen: Any, images: Sequence[tuple[str, np.ndarray]]) -> list[dict[str, Any]]:
    """One dict for each of (name, image (H, W, C)), whose predictions `seen` holds."""
    return [
        {"image": name, **parts.task.describe(seen, row), "shown": shown(parts, image)}
        for row, (name, image) in enumerate(images)
    ]


def shown(parts: Any, image: np.ndarray) -> dict[str, Any]:
    """What the network saw of an image (H, W, C): shares cut off and barred, and the same in words."""
    found = parts.preprocess.shown(image.shape[0], image.shape[1])
    return {**found.settings(), "notable": found.notable, "words": found.words()}


def rewrite_report(session: Session, folder: RunFolder, private: bool) -> Path:
    """report.html from the kept weights and the data as it is now."""
    splits = [name for name in ORDER if len(session.dataset.splits.get(name, ()))]
    epoch = load_weights(session.network, folder.path, session.recipe.keep or "last")
    with session.plain() as loader:
        evaluations = judge(session, splits, session.autocast, loader)
    data = report_data(session, evaluations, folder, epoch, [*unfinished(folder, epoch), *folder.notes])
    path = folder.path / "report.html"
    page.write(data, path, private=private)
    return path


def unfinished(folder: RunFolder, epoch: int) -> list[str]:
    """What a reader must know of a run that did not reach its end."""
    if folder.state == "finished":
        return []
    ending = {"failed": f"This run failed. {folder.reason}", "running": "This run is still going on."}
    said = ending.get(folder.state, "This run was interrupted; `hubel resume` goes on with it.").strip()
    said += "" if said.endswith((".", "!", "?")) else "."  # a reason may be another library's
    return [f"{said} The figures are of the weights after epoch {epoch}."]
