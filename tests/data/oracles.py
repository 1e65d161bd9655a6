"""What cleanvision (0.3.7) and imagededup (0.3.3) say of the images of oracle_images.py, kept in oracle_results.json.

    python tests/data/oracles.py

writes that file anew; it needs both packages (`pip install hubel[oracles]`), and nothing of hubel.
"""

import io
import json
import logging
import sys
import tempfile
from pathlib import Path

from oracle_images import made
from PIL import Image

RESULTS = Path(__file__).with_name("oracle_results.json")
KINDS = ("dark", "light", "blurry", "low_information")
BITS = 8  # of 64 that imagededup's prints of a copy may differ in


def save(folder: Path) -> Path:
    for name, array in made().items():
        Image.fromarray(array).save(folder / f"{name}.png")
    return folder


def cleanvision(folder: Path) -> dict:
    """{"exact", "near": sets of names that are copies, kind: names}."""
    from cleanvision import Imagelab

    out, sys.stdout = sys.stdout, io.StringIO()  # it prints
    try:
        lab = Imagelab(data_path=str(folder))
        lab.find_issues(verbose=False)
    finally:
        sys.stdout = out
    found = {kind: sorted(Path(p).stem for p in lab.issues.index[lab.issues[f"is_{kind}_issue"]]) for kind in KINDS}
    sets = {"exact": lab.info["exact_duplicates"]["sets"], "near": lab.info["near_duplicates"]["sets"]}
    return found | {what: sorted(sorted(Path(p).stem for p in one) for one in rows) for what, rows in sets.items()}


def imagededup(folder: Path) -> dict:
    """{"prints": {name: 64 bits in hexadecimal digits}, "pairs": names whose prints differ in at most BITS bits}."""
    from imagededup.methods import PHash

    logging.disable(logging.INFO)
    try:
        method = PHash(verbose=False)
        prints = method.encode_images(image_dir=str(folder))
        found = method.find_duplicates(encoding_map=prints, max_distance_threshold=BITS)
    finally:
        logging.disable(logging.NOTSET)
    pairs = {tuple(sorted((Path(a).stem, Path(b).stem))) for a, others in found.items() for b in others}
    return {"prints": {Path(name).stem: text for name, text in sorted(prints.items())}, "pairs": sorted(pairs)}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        told = {"cleanvision": cleanvision(Path(folder)), "imagededup": imagededup(Path(folder))}
    RESULTS.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
