"""The commands about data: data looks at it, convert writes it anew, baseline learns it without a deep network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubel.cli.layout import print_parts, table, text_of
from hubel.cli.options import Command
from hubel.cli.scores import interval, metrics
from hubel.errors import UserError

Outcome = tuple[int, Any, Any]


def data(command: Command) -> Outcome:
    from hubel import converting, inspecting

    flags = command.flags
    options: dict[str, Any] = {"download": command.has("download"), "progress": command.progress}
    if "pack" in flags:
        side = None if flags.get("side") == "own" else command.whole("side", 256)
        quality, shards = command.whole("quality"), command.whole("shards", 1) or 1
        packed = converting.pack_data(
            command.words[0], flags["pack"], side=side, quality=quality, shards=shards, **options
        )  # fmt: skip
        return 0, packed, lambda: show_packed(packed)
    for word in ("side", "quality", "shards"):
        if word in flags:
            raise UserError(f"'--{word}' goes with --pack DIR.")
    augment = flags.get("augment", inspecting.POLICY)
    if "size" in flags and "model" not in flags:
        raise UserError("'--size' goes with --model MODEL.")
    options |= {"model": flags.get("model"), "size": command.whole("size", least=1)}
    found = inspecting.look(command.words[0], flags.get("out"), augment=augment, **options).settings()
    return 0, found, lambda: show_data(found)


def show_data(found: Mapping[str, Any]) -> None:
    """What was recognised, how much there is, and the kinds of findings, each with its first example."""
    print_parts(*found["notes"])
    parts = ", ".join(f"{name} {count:,}" for name, count in found["splits"].items())
    objects = f", {found['objects']:,} objects" if "objects" in found else ""
    classes = f", {len(found['classes']):,} classes" if found["classes"] else ""
    print_parts(f"{found['name']}: {found['images']:,} images{classes}{objects}" + (f"; {parts}" if parts else ""))
    kinds: dict[tuple[str, str], list[Any]] = {}
    for one in found["findings"]:
        kinds.setdefault((one["severity"], one["kind"]), []).append(one)
    if kinds:
        rows = table("", "finding", "count", "such as", right=["count"])
        for (severity, kind), members in kinds.items():
            rows.add_row(text_of(severity), text_of(kind), f"{len(members):,}", text_of(_example(members[0])))
        print_parts(rows)
    else:
        print_parts("Nothing wrong was found.")
    if "receptive_field" in found:
        print_parts(found["receptive_field"]["sentence"])
    for name in ("page", "quarantine"):
        if found[name]:
            print_parts(f"{name:<11} {found[name]}")


def _example(one: Mapping[str, Any]) -> str:
    """Where and why, in a line."""
    number = f", entry {one['line']}" if one["file"].endswith(".json") else f":{one.get('line')}"
    where = f"{one['file']}{number}" if "line" in one else one["file"]
    text = f"{where}: {one['reason']}" if where else one["reason"]
    return text if len(text) <= 160 else f"{text[:159]}…"


def show_packed(found: Mapping[str, Any]) -> None:
    print_parts(f"{found['images']:,} images are packed in {found['out']}: {found['bytes'] / 1e6:,.1f} MB")
    print_parts(f"Train on it: hubel train {found['out']}")


def convert(command: Command) -> Outcome:
    from hubel import converting

    source, out = command.words
    form = command.flags.get("format")
    if form is None:
        known = "coco, yolo, voc, masks, csv, folder, identities, pairs, npz, idx or crops"
        raise UserError(f"'hubel convert {source} {out}' needs --format NAME, one of {known}.")
    for word in ("side", "background"):
        if command.has(word) and form != converting.CROPS:
            raise UserError(f"'--{word}' goes with --format crops.")
    lost = converting.convert_data(
        source,
        out,
        form,
        side=command.whole("side", least=4) or converting.SIDE,
        background=command.number("background", 1.0),
        download=command.has("download"),
    )
    return 0, {"out": str(Path(out).absolute()), "format": form, "lost": lost}, lambda: show_converted(out, lost)


def show_converted(out: str, lost: Sequence[str]) -> None:
    print_parts(f"written to {out}", *(f"- {sentence}" for sentence in lost))


def baseline(command: Command) -> Outcome:
    from hubel.api import load_dataset
    from hubel.baselines.traditional import baseline

    flags = command.flags
    dataset = load_dataset(command.words[0], download=command.has("download"))
    if "mask" in dataset.annotations and "label" not in dataset.annotations:
        return _pixel_baseline(command, dataset)
    if "method" in flags:
        raise UserError("'--method' goes with data that has masks; this has none.")
    count = command.whole("images", 10_000) or 0
    found = baseline(
        dataset,
        features=flags.get("features", "both"),
        images=count,
        run=flags.get("run"),
        download=command.has("download"),
    ).settings()
    return 0, found, lambda: show_baseline(found)


def show_baseline(found: Mapping[str, Any]) -> None:
    """The traditional pipeline's scores, and what a network adds to them."""
    metrics(found["metrics"], "accuracy")
    for part, pair in found["intervals"].items():
        if part != "train":
            print_parts(f"{part} accuracy {found['metrics'][part]['accuracy']:.4f}, 95 %: {interval(pair)}")
    for part, row in found["network_minus_baseline"].items():
        print_parts(f"{part}: network - baseline {row['difference']:+.4f} ({interval(row['interval'], '+')}), "
               f"n = {row['n']:,}: {row['verdict']}")  # fmt: skip
    what = f"{found['count']:,} features ({found['features']}), {found['images']:,} training images"
    print_parts(f"{what}, C = {found['penalty']:g}")


def _pixel_baseline(command: Command, dataset: Any) -> Outcome:
    """Of data with masks: regions by clustering."""
    from hubel.baselines.clustered import USUAL, pixel_baseline

    for word in ("features", "run"):
        if command.has(word):
            raise UserError(f"'--{word}' goes with data that has a label for each image; this has masks.")
    count = command.whole("images", USUAL) or 0
    found = pixel_baseline(dataset, method=command.flags.get("method", "kmeans"), images=count).settings()
    return 0, found, lambda: show_pixel_baseline(found)


def show_pixel_baseline(found: Mapping[str, Any]) -> None:
    """Clustering's scores, and the best that any names for its regions could reach."""
    metrics(found["metrics"], "miou")
    for part, best in found["best_match"].items():
        print_parts(
            f"{part}: mIoU {found['metrics'][part]['miou']:.4f}; {best['miou']:.4f} if each region had its best name"
        )
    print_parts(
        f"{found['method']}: {found['regions']:.1f} regions an image, named by {found['images']:,} training images"
    )
