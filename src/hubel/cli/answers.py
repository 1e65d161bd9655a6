"""Tables of what a network says of images: predictions, explanations, masks, objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hubel.cli.layout import near, print_parts, table, text_of, words_of

SHOWN = 5  # images whose cut-off parts are told


def predictions(found: Sequence[Mapping[str, Any]]) -> None:
    sure = [row.get("confidence") for row in found]
    doubt = [_doubt(row.get("uncertainty", {})) for row in found]
    columns = ["image", "prediction", *(["confidence"] if any(share is not None for share in sure) else [])]
    columns += ["uncertainty"] if any(doubt) else []
    rows = table(*columns, right=["confidence", "uncertainty"])
    for row, share, word in zip(found, sure, doubt, strict=True):
        cells = {"image": row["image"], "prediction": words_of(row["prediction"]), "uncertainty": word}
        cells["confidence"] = "" if share is None else f"{share:.1%}"
        rows.add_row(*(text_of(cells[name]) for name in columns))
    print_parts(rows)
    partly = [row for row in found if row.get("shown", {}).get("notable")]
    print_parts(*(f"{text_of(row['image'])}: {row['shown']['words']}" for row in partly[:SHOWN]))
    if len(partly) > SHOWN:
        print_parts(f"and {len(partly) - SHOWN:,} more images are cut, barred or stretched: see --json")


def _doubt(found: Mapping[str, Any]) -> str:
    """How unsure several networks or passes are together: nats, and the part that is disagreement; or deviations."""
    words = [f"{found['entropy']:.3f} ({found['information']:.3f} disagreement)"] if "entropy" in found else []
    return ", ".join([*words, *(f"± {value:.3g}" for value in found.get("deviation", ()))])


def explanations(found: Sequence[Mapping[str, Any]]) -> None:
    rows = table("image", "prediction", "class", "output", "box", "picture", right=["output"])
    for row in found:
        box = "none" if row["box"] is None else ", ".join(f"{v:g}" for v in row["box"])
        cells = (row["image"], words_of(row["prediction"]), row["class"], f"{row['output']:.3g}", box, row["picture"])
        rows.add_row(*map(text_of, cells))
    print_parts(rows)


def masks(found: Sequence[Mapping[str, Any]], out: str) -> None:
    """A row for each image: its size, how it was cut, its largest classes, and the first of its files."""
    rows = table("image", "pixels", "tiles", "classes", "file", right=["tiles"])
    for row in found:
        height, width = row["size"]
        parts = [f"{name} {share:.0%}".replace("%", " %") for name, share in row["shares"].items()]
        words = ", ".join([*parts[:3], *([f"{len(parts) - 3} more"] if len(parts) > 3 else [])])
        first = next(iter(row["files"].values()), "")
        cells = (row["image"], f"{width} x {height}", f"{row['tiles']:,}", words, near(str(first)))
        rows.add_row(*(text_of(cell) for cell in cells))
    print_parts(rows, f"written to {out}: {', '.join(dict.fromkeys(kind for row in found for kind in row['files']))}")


def slid(found: Sequence[Mapping[str, Any]]) -> None:
    """A row for each object; what was looked at, and where the pictures are."""
    rows = table("image", "class", "probability", "box", right=["probability"])
    for row in found:
        for one in row["objects"]:
            box = ", ".join(f"{v:.0f}" for v in one["box"])
            rows.add_row(*map(text_of, (row["image"], one["class"], f"{one['probability']:.1%}", box)))
        if not row["objects"]:
            rows.add_row(text_of(row["image"]), text_of("none"))
    way = "at once" if found[0]["convolutional"] else "one by one: this network pads, or its head can't slide"
    print_parts(rows, f"{sum(row['windows'] for row in found):,} windows were looked at, {way}")
    print_parts(*(f"picture     {near(row['picture'])}" for row in found if "picture" in row))
