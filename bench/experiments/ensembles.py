"""Better than one network, on Fashion-MNIST: what each way of combining gains over a single network.

    python bench/experiments/ensembles.py --save

One small convolutional network (small_cnn) for each seed, trained on `count` images for `epochs` epochs; snapshots of
one training of as many epochs as all seeds together, beside a single network trained for as long; a training at a
constant rate whose weights are averaged with decay 0.995 and evenly over its second half; an MLP with dropout. All are
judged on the 10,000 test images, each against the best of the single networks that it is made of, image by image.
Longer: --count 60000 --epochs 10.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import common

CNN = {"model": "small_cnn", "optimizer.name": "adamw", "optimizer.lr": 2e-3}
MLP = {
    "model": "mlp",
    "model.hidden": (512, 256),
    "model.dropout": 0.5,
    "optimizer.name": "adamw",
    "optimizer.lr": 1e-3,
}
PLAIN = {"batch_size": 64, "augment.policy": "none", "views": "single", "keep": "last"}


def data(asked: Any) -> Any:
    """`count` training images, evenly spaced, and the whole test part."""
    import hubel

    found = hubel.load_dataset("fashion-mnist")
    train, test = found.splits["train"], found.splits["test"]
    return found.with_splits({"train": train[:: max(len(train) // asked.count, 1)][: asked.count], "test": test})


def trained(dataset: Any, folder: Path, name: str, **options: Any) -> Any:
    import hubel

    run = hubel.train(dataset, out=folder / name, progress="quiet", layers=[("python", {**PLAIN, **options})])
    print(f"{name}: {run.metrics['test']['accuracy']:.2%} in {run.seconds:.0f} s", flush=True)
    return run


def judged(name: str, dataset: Any, runs: Any, **options: Any) -> dict[str, Any]:
    """The single networks and what they make together, as plain values."""
    from hubel.ensembles.ensemble import Ensemble

    found = Ensemble(runs, **options).evaluate("test", data=dataset)["test"].settings()
    print(name, *(f"\n  {row['name']}: {row['metrics']['accuracy']:.2%} {row['verdict']}" for row in found["rows"]))
    return {"way": name, **found}


def measure(asked: Any, folder: Path) -> list[dict[str, Any]]:
    dataset, seeds, epochs = data(asked), list(asked.seeds), asked.epochs
    one = {"schedule.name": "onecycle", "epochs": epochs}
    members = [trained(dataset, folder, f"member {seed}", **CNN, **one, seed=seed) for seed in seeds]
    rows = [judged("independent runs", dataset, members)]
    rows.append(judged("weights of independent runs", dataset, members, combine="weights"))
    rows += [judged(f"views: {views}", dataset, members[0], views=views) for views in ("mirror", "shifts")]
    total = {**CNN, "epochs": epochs * len(seeds), "seed": seeds[0]}
    cyclic = {"schedule.name": "cyclic", "schedule.cycles": len(seeds)}
    snapshots = trained(dataset, folder, "snapshots", **total, **cyclic)
    longer = trained(dataset, folder, "longer", **total, **{"schedule.name": "onecycle"})
    rows.append(judged("snapshots of one run", dataset, snapshots, snapshots=0))
    rows.append(judged("weights of snapshots", dataset, snapshots, snapshots=0, combine="weights"))
    rows.append(judged("one network, trained for as long", dataset, [members[0], longer], combine="none"))
    constant = {**CNN, "epochs": 2 * epochs, "seed": seeds[0], "schedule.name": "constant"}
    for name, option in (
        ("running average, 0.995", {"regularize.ema": 0.995}),
        ("mean of the second half", {"regularize.mean": 0.5}),
    ):
        rows.append(judged(name, dataset, trained(dataset, folder, name, **constant, **option), combine="steps"))
    dropped = trained(dataset, folder, "dropout", **MLP, **{**one, "epochs": 2 * epochs}, seed=seeds[0])
    rows.append(judged("Monte Carlo dropout, 30 masks", dataset, dropped, dropout_samples=30))
    return rows


def table(found: list[dict[str, Any]]) -> list[list[str]]:
    made = [["way", "single", "together", "95 %", "gain", "95 %", "p", ""]]
    for row in found:
        singles, last = row["rows"][:-1], row["rows"][-1]
        shares = [one["metrics"]["accuracy"] for one in singles]
        best = f"{max(shares):.2%}" if len(shares) == 1 else f"{min(shares):.2%} to {max(shares):.2%}"
        gain = ["", "", ""]
        if "difference" in last:
            low, high = last["difference_interval"]
            gain = [f"{100 * last['difference']:+.2f}", f"{100 * low:+.2f} to {100 * high:+.2f}", f"{last['p']:.2g}"]
        share, (low, high) = last["metrics"]["accuracy"], last["interval"]
        made.append([row["way"], best, f"{share:.2%}", f"{low:.1%}-{high:.1%}", *gain, last["verdict"]])
    return made


def main() -> None:
    asked = common.arguments(__doc__ or "", count=6000, epochs=3, seeds=(0, 1, 2, 3, 4))
    with tempfile.TemporaryDirectory() as folder:
        settings = {"count": asked.count, "epochs": asked.epochs, "seeds": asked.seeds}
        found = common.kept(asked.work, "ensembles", settings, lambda: measure(asked, Path(folder)))
    head = (
        f"Fashion-MNIST, {asked.count} training images, {asked.epochs} epochs for each of the seeds "
        f"{', '.join(map(str, asked.seeds))}; n = {found[0]['n']} test images; gain in points over the best single "
        "network\n"
    )
    unsure = found[-1]["uncertainty"]
    tail = "\n\nMonte Carlo dropout, nats: " + ", ".join(f"{name} {value:.3f}" for name, value in unsure.items())
    content = {"asked": settings, "found": found}
    common.write("experiment-ensembles", content, head + common.bench.table(table(found)) + tail, asked.save)


if __name__ == "__main__":
    main()
