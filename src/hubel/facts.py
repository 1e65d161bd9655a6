"""What the report shows of a run: from evaluations and the run folder to the plain values of report/values.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hubel import galleries
from hubel.effective import effective
from hubel.metrics.interval import Interval, bootstrap, wilson
from hubel.report import values
from hubel.session import Session
from hubel.training.evaluate import Evaluation
from hubel.training.run import RunFolder
from hubel.training.transfer import TELLS
from hubel.types import select

SHARES = ("accuracy", "top5", "exact_match")  # right examples over all: Wilson's interval holds
RESAMPLED = 20_000  # examples; the bootstrap of more would keep the user waiting


def report_data(
    session: Session, evaluations: Mapping[str, Evaluation], folder: RunFolder, epoch: int, notes: Sequence[str]
) -> values.ReportData:
    """Everything that the page shows, from what was measured."""
    judged = "test" if "test" in evaluations else "dev" if "dev" in evaluations else None
    found = evaluations.get(judged) if judged else None
    known = session.task.details(found.predictions, found.targets, found.weights) if found else {}
    details = as_values(known)
    primary = session.task.primary
    chosen = galleries.choose(session, found) if found else None
    shown = galleries.examples(session, found, chosen) if found and chosen else {}
    return values.ReportData(
        title=f"{label(session)} on {session.dataset.name}",
        dataset=data_facts(session, evaluations, known.get("classes")),
        model=model_facts(session),
        task=str(session.recipe.task or session.task.name).rpartition(":")[2],  # a joint task by the name of its kind
        primary=primary.metric,
        higher_is_better=primary.higher_is_better,
        metrics={name: e.metrics for name, e in evaluations.items()},
        n={name: len(e.index) for name, e in evaluations.items()},
        intervals={name: intervals(session, e) for name, e in evaluations.items()},
        judged=judged,
        baseline=constant(session, evaluations, known),
        test_looks=max(folder.test_looks, 1) if "test" in evaluations else None,
        selected=session.recipe.keep == "best" or session.recipe.regularize.patience is not None,
        history=folder.history,
        best_epoch=epoch,
        mistakes=[shown[row] for row in chosen.mistakes] if chosen else None,
        mistake_count=chosen.mistake_count if chosen else None,
        samples=[shown[row] for row in chosen.samples] if chosen else None,
        galleries=galleries.galleries(chosen, shown, session.task.measure) if chosen else (),
        unit=known.get("counted", "images"),
        filters=pictures(session.network),
        throughput=throughput(folder, session),
        configuration=[values.ConfigRow(k, s.value, s.source, s.reason) for k, s in sorted(effective(session).items())],
        manifest=folder.manifest,
        quarantine=[values.Quarantined(bad.name, bad.reason) for bad in session.dataset.quarantine],
        warnings=[note for note in notes if not note.startswith(TELLS)],
        stages=[note for note in notes if note.startswith(TELLS)],
        **details,
    )


def constant(
    session: Session, evaluations: Mapping[str, Evaluation], details: Mapping[str, Any]
) -> values.Baseline | None:
    """What the best single answer would score on the part that `details` are of, where the task knows one."""
    learnt = evaluations.get("train")
    if learnt is None or not details:
        return None
    task, targets = session.task.deciding(learnt.targets)
    found = task.constant(details, targets, learnt.weights)
    return None if found is None else values.Baseline(*found)


def as_values(details: Mapping[str, Any]) -> dict[str, Any]:
    """A task's details as the page's values; see Task.details."""
    found: dict[str, Any] = {}
    if "confusion" in details:
        found["confusion"] = np.asarray(details["confusion"])
    if "per_class" in details:
        found["per_class"] = [values.ClassRow(**row) for row in details["per_class"]]
    if "calibration" in details:
        found["calibration"] = values.Calibration(**details["calibration"])
    if "places" in details:
        found["places"] = [values.Place(*row) for row in details["places"]]
    if "scatter" in details:
        found["scatter"] = values.Scatter(**details["scatter"])
    return found


def data_facts(
    session: Session, evaluations: Mapping[str, Evaluation], classes: tuple[str, ...] | None = None
) -> values.DataFacts:
    """`counts` are images of each class; where a pixel has one of `classes`, those that show it."""
    dataset = session.dataset
    remarks = dataset.remarks(example=False)  # a page that is handed on names no file
    if classes is not None:
        own = {name: session.task.deciding(e.targets) for name, e in evaluations.items()}
        counts = {n: (pixels > 0).sum(0).tolist() for n, (task, pixels) in own.items() if task.every_pixel}
        return values.DataFacts(dataset.name, dataset.source, dataset.format, remarks, classes, counts)
    labels, classes, counts = dataset.annotations.get("label"), dataset.classes, {}
    if labels is not None and classes:
        counts = {n: np.bincount(labels[i], minlength=len(classes)).tolist() for n, i in dataset.splits.items()}
    return values.DataFacts(dataset.name, dataset.source, dataset.format, remarks, classes, counts)


def model_facts(session: Session) -> values.ModelFacts:
    parameters = sum(p.numel() for p in session.network.parameters() if p.requires_grad)
    shape = (session.preprocess.channels, *session.preprocess.size)
    return values.ModelFacts(label(session), parameters, shape)


def label(session: Session) -> str:
    """The network's name; the class alone where it comes from a file."""
    return str(session.recipe.model).rpartition(":")[2]


def intervals(session: Session, found: Evaluation) -> dict[str, Interval]:
    """95 %: Wilson's for shares of the examples, the bootstrap over examples for any other metric that decides."""
    n = int((found.weights > 0).sum()) if found.weights is not None else len(found.index)
    known = {name: wilson(round(found.metrics[name] * n), n) for name in SHARES if name in found.metrics}
    primary = session.task.primary.metric
    if primary not in known and primary in found.metrics and 0 < n <= RESAMPLED:
        low, high = bootstrap(deciding(session, found), len(found.index), resamples=400)
        known |= {primary: (low, high)} if low <= high else {}
    return known


def deciding(session: Session, found: Evaluation) -> Callable[[np.ndarray], float]:
    """The deciding metric as a function of rows (n,): a ratio of two sums where the task says that it is one."""
    pair = session.task.ratio(found.predictions, found.targets) if hasattr(session.task, "ratio") else None
    if pair is None:
        return lambda rows: score_of(session, found, rows)
    counted = 1.0 if found.weights is None else found.weights.double().numpy()
    above, below = (values.double().numpy() * counted for values in pair)

    def share(rows: np.ndarray) -> float:
        total = below[rows].sum()
        return float(above[rows].sum() / total) if total else float("nan")

    return share


def score_of(session: Session, found: Evaluation, rows: np.ndarray) -> float:
    """The deciding metric on some of the examples, by their rows (n,), with repetition."""
    assert found.predictions is not None
    chosen, metric = torch.from_numpy(rows), session.task.metric()
    targets = select(found.targets, chosen)
    weights = None if found.weights is None else found.weights[chosen]
    metric.update(found.predictions.take(chosen), targets, weights)
    return metric.compute()[session.task.primary.metric]


def pictures(network: Any) -> list[np.ndarray] | None:
    """The first layer as pictures: a linear network's templates, or filters of 3 x 3 pixels or more."""
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
    rates = [row["images_per_second"] for row in rows if row.get("images_per_second")]
    if not rates:
        return None
    waits = [row["wait_share"] for row in rows if row.get("wait_share") is not None]
    return values.Throughput(
        float(np.median(rates)),
        float(np.mean(waits)) if waits else None,
        float(sum(row["seconds"] for row in rows)),
        str(session.device),
    )
