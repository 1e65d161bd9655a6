"""What `auto` means where images carry objects: which of the tasks that know one object, and how long it trains."""

from __future__ import annotations

from hubel.errors import UserError

TO_SEE = 30_000  # images: epochs = this / n, between 10 and 100


def task(classes: int, crowded: int, joints: int) -> tuple[str, str]:
    """Of `crowded` images with several objects, whose objects have `joints` keypoints, 0 for none.

    Objects with joints are cut out, so there may be several in an image. Raises UserError where there are, without.
    """
    if joints and (classes == 1 or not crowded):
        return "heatmap", f"the objects carry {joints} joints; --task pose finds them as numbers, without a confidence"
    if not crowded and classes > 1:
        return "localisation", "each image shows one object at most: what it is, and where"
    if not crowded:
        return "box", "each image shows one object at most, of one class: where it is"
    ways = ["--task localisation, class and box of the largest object" if classes > 1 else "--task box, of the largest"]
    ways += ["--task heatmap, the joints of each object"] if joints else []
    raise UserError(
        f"{crowded:,} images show several objects, and there is no task yet that finds them all. What there is: "
        f"{'; '.join(ways)}. `hubel data` shows what is there."
    )


def epochs(n_train: int) -> tuple[int, str]:
    found = round(min(max(TO_SEE / max(n_train, 1), 10), 100))
    return found, f"until {TO_SEE:,} images are seen, each of which says where, in 10 to 100 epochs"
