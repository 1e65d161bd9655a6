"""The commands that ask a trained network about images: predict (masks and boxes too) and explain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hubel.cli import answers
from hubel.cli.evaluate import COMBINING, path_taken, together
from hubel.cli.options import Command
from hubel.errors import UserError

Outcome = tuple[int, Any, Any]
MASK_FLAGS = ("files", "tile", "overlap", "scale", "large")
SLIDE_FLAGS = ("scales", "threshold", "suppress", "out")


def predict(command: Command) -> Outcome:
    from hubel import api

    runs = [word for word in command.words[1:] if (Path(word) / "config.json").exists()]
    place, images = command.words[0], [word for word in command.words[1:] if word not in runs]
    for image in images:
        if Path(image).is_dir():
            raise UserError(f"'{image}' is a folder; name the images: hubel predict {place} {image}/*")
        if "*" in image and not Path(image).exists():  # a shell leaves a pattern as it is where nothing fits
            raise UserError(f"No file fits the pattern '{image}' in {Path.cwd()}.")
    if Path(place).is_file() and runs:
        raise UserError(f"Runs come first, then images: hubel predict {' '.join([*runs, place, *images])}")
    if not images:
        raise UserError(f"No images were named, only runs: hubel predict {' '.join(command.words)} IMAGE...")
    for flag, words in {"masks": MASK_FLAGS, "slide": SLIDE_FLAGS}.items():
        lone = [word for word in words if command.has(word) and not command.has(flag)]
        if lone:
            raise UserError(f"'--{lone[0]}' goes with --{flag}{' DIR' if flag == 'masks' else ''}.")
    several = runs or any(command.has(flag) for flag in COMBINING)
    asked = [flag for flag in ("boxes", "masks", "slide") if command.has(flag)]
    if len(asked) > 1:
        what = {"boxes": "joints in given boxes", "masks": "a class for every pixel", "slide": "boxes of objects"}
        raise UserError(
            f"'--{asked[0]}' asks for {what[asked[0]]}, '--{asked[1]}' for {what[asked[1]]}. Give one of them."
        )
    if command.has("slide"):
        return _slid(command, place, images, runs)
    if command.has("masks"):
        return _masks(command, place, images, runs)
    if several:
        found = together(command, [place, *runs]).predict(images, command.flags.get("boxes"))
    else:
        found = _predicted(api.Run.open(place), images, command)
    return 0, found, lambda: answers.predictions(found)


def _masks(command: Command, place: str, images: list[str], runs: list[str]) -> Outcome:
    """A class for every pixel of each image, written as files."""
    from hubel import api
    from hubel.prediction.mask_files import USUAL
    from hubel.prediction.tiling import Tiling

    flags = command.flags
    scale = command.number("scale", 1.0) if "scale" in flags else None
    tiling = Tiling(command.whole("tile"), command.whole("overlap"), scale)
    files = [word.strip() for word in flags["files"].split(",")] if "files" in flags else USUAL
    options: dict[str, Any] = {"files": files, "tiling": tiling, "large": command.has("large")}
    if runs or any(command.has(flag) for flag in COMBINING):
        found = together(command, [place, *runs]).masks(images, flags["masks"], **options)
    else:
        run = api.Run.open(place)
        found = run.masks(images, flags["masks"], **options, path=flags.get("path", "auto"))
        path_taken(run, command)
    return 0, found, lambda: answers.masks(found, flags["masks"])


def _slid(command: Command, place: str, images: list[str], runs: list[str]) -> Outcome:
    """Boxes of what a classifier finds in images larger than its own."""
    from hubel import api, slid
    from hubel.sliding import OVERLAP, SCALES, THRESHOLD

    other = [flag for flag in (*COMBINING, "path") if flag != "ensemble" and command.has(flag)]
    if other:
        raise UserError(f"'--slide' takes runs as they were trained, without --{other[0]}; several are averaged.")
    threshold, most = command.number("threshold", THRESHOLD), command.number("suppress", OVERLAP)
    scales = command.numbers("scales", SCALES)
    parts = [api.Run.open(word).parts() for word in (place, *runs)]
    found = slid.find(parts, images, command.flags.get("out"), scales=scales, threshold=threshold, most=most)
    return 0, found, lambda: answers.slid(found)


def _predicted(run: Any, images: list[str], command: Command) -> list[dict[str, Any]]:
    found = run.predict(images, path=command.flags.get("path", "auto"), boxes=command.flags.get("boxes"))
    path_taken(run, command)
    return found


def explain(command: Command) -> Outcome:
    from hubel.prediction.explaining import save_pictures
    from hubel.trained import Run

    flags, (place, *images) = command.flags, command.words
    share = command.number("threshold", 0.2)
    made = Run.open(place).explain(images, flags.get("method", "cam"), flags.get("class"), share)
    paths = save_pictures(made, flags.get("out", "explained"))
    found = [{**one.settings(), "picture": str(path)} for one, path in zip(made, paths, strict=True)]
    return 0, found, lambda: answers.explanations(found)
