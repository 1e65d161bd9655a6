"""What each verb does: a function from a Command to (exit status, JSON-ready result, function that shows it)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hubel import cli_show
from hubel.cli_options import Command
from hubel.errors import UserError

Outcome = tuple[int, Any, Any]


def train(command: Command) -> Outcome:
    from hubel import api

    flags = command.flags
    run = api.train(
        command.words[0] if command.words else "digits",
        recipe=flags.get("recipe"),
        config=flags.get("config"),
        out=flags.get("out", "runs"),
        from_run=flags.get("from"),
        download=command.has("download"),
        progress=_progress(command),
        layers=[("command line", dict(command.options))],
        private=command.has("private"),
    )
    return _trained(run)


def resume(command: Command) -> Outcome:
    from hubel import api

    run = api.resume(
        command.words[0],
        progress=_progress(command),
        layers=[("command line", dict(command.options))],
        private=command.has("private"),
    )
    return _trained(run)


def _trained(run: Any) -> Outcome:
    from hubel.training import distributed

    reports = [str(path) for path in _reports(run)]
    found = {"run": str(run.path), "report": reports[0] if reports else None, "seconds": run.seconds}
    found |= {"metrics": run.metrics, **({"reports": reports} if len(reports) > 1 else {})}
    distributed.finish()
    return 0, found, lambda: cli_show.trained(found, run.primary)


def _reports(run: Any) -> list[Path]:
    """The run's page; of several trainings with one network at the end also the page that compares them."""
    pages = [run.path / "report.html", run.path / "several.html"]
    return [page for page in pages if page.exists()] or pages[:1]


def _progress(command: Command) -> str | None:
    return "quiet" if command.has("quiet") else None


def evaluate(command: Command) -> Outcome:
    from hubel import api

    data: Any = command.flags.get("data")
    if data is not None and command.has("download"):
        data = api.load_dataset(data, download=True)
    if len(command.words) > 1 or any(command.has(flag) for flag in COMBINING):
        return _compare(command, data)
    run = api.Run.open(command.words[0])
    metrics = run.evaluate(split=command.flags.get("split"), data=data, path=command.flags.get("path"))
    found = {"run": str(run.path), "metrics": metrics, "path": _path_taken(run, command)}
    return 0, found, lambda: cli_show.metrics(metrics, run.primary)


def _path_taken(run: Any, command: Command) -> dict[str, Any]:
    """How the network ran; said where it was not as it was trained, or where somebody asked."""
    if (run.way.name != "eager" or command.has("path")) and not command.has("quiet"):
        print(f"hubel: the network ran {run.way.words()}", file=sys.stderr)
    return run.way.settings()


COMBINING = ("ensemble", "average", "polyak", "snapshots", "dropout_samples", "views")


def _compare(command: Command, data: Any) -> Outcome:
    """Several ways to predict, judged on the same images."""
    together = _together(command, command.words)
    judged = together.evaluate(split=command.flags.get("split"), data=data)
    primary = together.runs[0].primary
    found: dict[str, Any] = {"runs": [str(run.path) for run in together.runs], "primary": primary}
    found |= {"averaged": together.averaged(), "metrics": {k: one.rows[-1].metrics for k, one in judged.items()}}
    found |= {"compared": {part: one.settings() for part, one in judged.items()}}
    return 0, found, lambda: cli_show.compared(found)


def _together(command: Command, runs: Sequence[str]) -> Any:
    from hubel.ensemble import Ensemble

    asked = [flag for flag in ("ensemble", "average", "polyak") if command.has(flag)]
    if len(asked) > 1:
        raise UserError(f"'--{asked[0]}' and '--{asked[1]}' are two ways to combine networks. Give one of them.")
    if command.has("path"):
        raise UserError("'--path' goes with one network; what is combined or compared runs as it was trained.")
    more = [flag for flag in ("snapshots", "dropout_samples", "views") if command.has(flag)]
    combine = {"average": "weights", "polyak": "steps"}.get(asked[0], "predictions") if asked else ""
    word = command.flags.get("snapshots")
    return Ensemble(
        list(runs),
        combine=combine or ("predictions" if more or command.verb == "predict" else "none"),
        snapshots=0 if word == "all" else _whole(command, "snapshots"),
        dropout_samples=_whole(command, "dropout_samples", 0) or 0,
        views=command.flags.get("views"),
    )


def predict(command: Command) -> Outcome:
    from hubel import api

    runs = [word for word in command.words[1:] if (Path(word) / "config.json").exists()]
    place, images = command.words[0], [word for word in command.words[1:] if word not in runs]
    for image in images:
        if Path(image).is_dir():
            raise UserError(f"'{image}' is a folder; name the images: hubel predict {place} {image}/*")
    if not images:
        raise UserError(f"No images were named, only runs: hubel predict {' '.join(command.words)} IMAGE...")
    for flag, words in {"masks": MASK_FLAGS, "slide": SLIDE_FLAGS}.items():
        lone = [word for word in words if command.has(word) and not command.has(flag)]
        if lone:
            raise UserError(f"'--{lone[0]}' goes with --{flag}{' DIR' if flag == 'masks' else ''}.")
    together = runs or any(command.has(flag) for flag in COMBINING)
    if command.has("boxes") and (together or command.has("slide") or command.has("masks")):
        raise UserError("--boxes takes one run, as it was trained, and neither --masks nor --slide.")
    if command.has("slide"):
        return _slid(command, place, images, runs)
    if command.has("masks"):
        return _masks(command, place, images, runs)
    if together:
        found = _together(command, [place, *runs]).predict(images)
    else:
        found = _predicted(api.Run.open(place), images, command)
    return 0, found, lambda: cli_show.predictions(found)


MASK_FLAGS = ("files", "tile", "overlap", "scale", "large")


def _masks(command: Command, place: str, images: list[str], runs: list[str]) -> Outcome:
    """A class for every pixel of each image, written as files."""
    from hubel import api
    from hubel.mask_files import USUAL
    from hubel.tiling import Tiling

    if runs or any(command.has(flag) for flag in COMBINING):
        raise UserError("--masks takes one run, as it was trained. Leave the other runs and ways out.")
    flags = command.flags
    scale = _number(command, "scale", 1.0) if "scale" in flags else None
    tiling = Tiling(_whole(command, "tile"), _whole(command, "overlap"), scale)
    files = [word.strip() for word in flags["files"].split(",")] if "files" in flags else USUAL
    run = api.Run.open(place)
    found = run.masks(
        images, flags["masks"], files=files, tiling=tiling, large=command.has("large"), path=flags.get("path", "auto")
    )
    _path_taken(run, command)
    return 0, found, lambda: cli_show.masks(found, flags["masks"])


SLIDE_FLAGS = ("scales", "threshold", "suppress", "out")


def _slid(command: Command, place: str, images: list[str], runs: list[str]) -> Outcome:
    """Boxes of what a classifier finds in images larger than its own."""
    from hubel import api, slid
    from hubel.sliding import OVERLAP, SCALES, THRESHOLD

    if runs or any(command.has(flag) for flag in (*COMBINING, "masks", "path")):
        raise UserError("--slide takes one run, as it was trained. Leave the other runs and ways out.")
    threshold, most = _number(command, "threshold", THRESHOLD), _number(command, "suppress", OVERLAP)
    scales = _numbers(command, "scales", SCALES)
    parts = api.Run.open(place).parts()
    found = slid.find(parts, images, command.flags.get("out"), scales=scales, threshold=threshold, most=most)
    return 0, found, lambda: cli_show.slid(found)


def _predicted(run: Any, images: list[str], command: Command) -> list[dict[str, Any]]:
    found = run.predict(images, path=command.flags.get("path", "auto"), boxes=command.flags.get("boxes"))
    _path_taken(run, command)
    return found


def explain(command: Command) -> Outcome:
    from hubel.explaining import save_pictures
    from hubel.trained import Run

    flags, (place, *images) = command.flags, command.words
    share = _number(command, "threshold", 0.2)
    made = Run.open(place).explain(images, flags.get("method", "cam"), flags.get("class"), share)
    paths = save_pictures(made, flags.get("out", "explained"))
    found = [{**one.settings(), "picture": str(path)} for one, path in zip(made, paths, strict=True)]
    return 0, found, lambda: cli_show.explanations(found)


def baseline(command: Command) -> Outcome:
    from hubel.api import load_dataset
    from hubel.traditional import baseline

    flags = command.flags
    dataset = load_dataset(command.words[0], download=command.has("download"))
    if "mask" in dataset.annotations and "label" not in dataset.annotations:
        return _pixel_baseline(command, dataset)
    if "method" in flags:
        raise UserError("'--method' goes with data that has masks; this has none.")
    count = _whole(command, "images", 10_000) or 0
    found = baseline(
        dataset,
        features=flags.get("features", "both"),
        images=count,
        run=flags.get("run"),
        download=command.has("download"),
    ).settings()
    return 0, found, lambda: cli_show.baseline(found)


def _pixel_baseline(command: Command, dataset: Any) -> Outcome:
    """Of data with masks: regions by clustering."""
    from hubel.clustered import USUAL, pixel_baseline

    for word in ("features", "run"):
        if command.has(word):
            raise UserError(f"'--{word}' goes with data that has a label for each image; this has masks.")
    count = _whole(command, "images", USUAL) or 0
    found = pixel_baseline(dataset, method=command.flags.get("method", "kmeans"), images=count).settings()
    return 0, found, lambda: cli_show.pixel_baseline(found)


def data(command: Command) -> Outcome:
    from hubel import inspecting

    flags = command.flags
    options: dict[str, Any] = {"download": command.has("download"), "progress": _progress(command)}
    if "pack" in flags:
        side = None if flags.get("side") == "own" else _whole(command, "side", 256)
        quality, shards = _whole(command, "quality"), _whole(command, "shards", 1) or 1
        packed = inspecting.pack_data(
            command.words[0], flags["pack"], side=side, quality=quality, shards=shards, **options
        )  # fmt: skip
        return 0, packed, lambda: cli_show.packed(packed)
    for word in ("side", "quality", "shards"):
        if word in flags:
            raise UserError(f"'--{word}' goes with --pack DIR.")
    augment = flags.get("augment", inspecting.POLICY)
    if "size" in flags and "model" not in flags:
        raise UserError("'--size' goes with --model MODEL.")
    options |= {"model": flags.get("model"), "size": _whole(command, "size")}
    found = inspecting.look(command.words[0], flags.get("out"), augment=augment, **options).settings()
    return 0, found, lambda: cli_show.data(found)


def _whole(command: Command, name: str, default: int | None = None) -> int | None:
    """A flag that is a whole number."""
    word = command.flags.get(name)
    if word is not None and not word.isdecimal():
        raise UserError(f"'--{name}' needs a whole number, got '{word}'.")
    return default if word is None else int(word)


def _number(command: Command, name: str, default: float) -> float:
    """A flag that is a number."""
    word = command.flags.get(name)
    try:
        return default if word is None else float(word)
    except ValueError:
        raise UserError(f"'--{name}' needs a number, got '{word}'.") from None


def _numbers(command: Command, name: str, default: Sequence[float]) -> Sequence[float]:
    """A flag that is a list of numbers."""
    try:
        return [float(word) for word in command.flags[name].split(",")] if name in command.flags else default
    except ValueError:
        raise UserError(f"'--{name}' needs numbers with commas between them, got '{command.flags[name]}'.") from None


def convert(command: Command) -> Outcome:
    from hubel import inspecting

    source, out = command.words
    form = command.flags.get("format")
    if form is None:
        known = "coco, yolo, voc, masks, csv, folder, identities, pairs, npz or idx"
        raise UserError(f"'hubel convert {source} {out}' needs --format {known}.")
    lost = inspecting.convert_data(source, out, form, download=command.has("download"))
    return 0, {"out": str(Path(out).absolute()), "format": form, "lost": lost}, lambda: cli_show.converted(out, lost)


def info(command: Command) -> Outcome:
    from hubel import cli_info

    return cli_info.info(command)


def export(command: Command) -> Outcome:
    from hubel import api

    place, out = command.words
    run = api.Run.open(place)
    made = run.export(out)
    found = {"run": str(run.path), **made.settings()}
    return (0 if made.agrees else 1), found, lambda: print(f"{made.path} ({made.bytes / 1e6:,.1f} MB): {made.said}")


def report(command: Command) -> Outcome:
    from hubel import api

    run = api.Run.open(command.words[0])
    path = run.report(private=command.has("private"))
    return 0, {"run": str(run.path), "report": str(path)}, lambda: print(path)


def config(command: Command) -> Outcome:
    from hubel import api

    flags = command.flags
    settings = api.settle_for(
        command.words[0] if command.words else "digits",
        recipe=flags.get("recipe"),
        config=flags.get("config"),
        download=command.has("download"),
        layers=[("command line", dict(command.options))],
    )
    found = {key: {"value": s.value, "source": s.source, "reason": s.reason} for key, s in settings.items()}
    return 0, found, lambda: cli_show.settings(found)


def runs(command: Command) -> Outcome:
    from hubel import cli_runs

    root = Path(command.flags.get("out", "runs")).expanduser().absolute()
    rows = cli_runs.table(root)
    if "prune" not in command.flags:
        if command.has("yes"):
            raise UserError("'--yes' goes with --prune N.")
        return 0, {"runs": rows}, lambda: cli_show.runs(rows, root)
    doomed = cli_runs.to_remove(rows, command.flags["prune"])
    if command.has("yes"):
        for row in doomed:
            shutil.rmtree(row["run"])
    found = {"removed" if command.has("yes") else "would_remove": [row["run"] for row in doomed]}
    return 0, found, lambda: cli_show.pruned(doomed, command.has("yes"))


def doctor(command: Command) -> Outcome:
    from hubel.doctor import examine

    found = examine(Path(command.flags.get("out", "runs")))
    return (1 if found["problems"] else 0), found, lambda: cli_show.doctor(found)


def version(command: Command) -> Outcome:
    from importlib.metadata import version as of

    return 0, {"hubel": of("hubel")}, lambda: print(f"hubel {of('hubel')}")
