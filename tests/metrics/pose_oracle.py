"""What pycocotools (2.0.11) says of the similarity of poses (OKS), kept in pose_oracle.json.

    python tests/metrics/pose_oracle.py

writes that file anew; it needs pycocotools, which is no part of the tests' own packages, and nothing of hubel.
"""

import contextlib
import io
import json
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).with_name("pose_oracle.json")
POSES, JOINTS = 12, 17


def poses() -> tuple[list, list, list]:
    """True joints (x, y, v), answers (x, y), areas: near and far, some joints hidden, some not labelled."""
    draws = np.random.default_rng(5)
    truth = draws.uniform(0, 200, (POSES, JOINTS, 2)).round(1)
    seen = draws.integers(0, 3, (POSES, JOINTS))
    seen[:, 0] = 2  # a pose without a labelled joint is judged by nobody
    found = (truth + draws.normal(0, np.geomspace(0.5, 60, POSES)[:, None, None], truth.shape)).round(2)
    points = np.concatenate([np.where(seen[..., None] > 0, truth, 0), seen[..., None]], -1)
    return points.tolist(), found.tolist(), draws.uniform(500, 40_000, POSES).round(1).tolist()


def similarities(truth: list, found: list, areas: list) -> list:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    box = [0, 0, 200, 200]
    people = [
        {"id": i + 1, "image_id": i + 1, "category_id": 1, "keypoints": np.ravel(t).tolist(), "area": a, "bbox": box,
         "iscrowd": 0, "num_keypoints": int((np.array(t)[:, 2] > 0).sum())}
        for i, (t, a) in enumerate(zip(truth, areas, strict=True))
    ]  # fmt: skip
    answers = [
        {"image_id": i + 1, "category_id": 1, "keypoints": np.ravel([[*p, 1] for p in f]).tolist(), "score": 1.0}
        for i, f in enumerate(found)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {"images": [{"id": i + 1} for i in range(POSES)], "annotations": people,
                         "categories": [{"id": 1, "name": "person"}]}  # fmt: skip
        known.createIndex()
        judge = COCOeval(known, known.loadRes(answers), "keypoints")
        judge.evaluate()
    return [float(judge.ious[i + 1, 1][0, 0]) for i in range(POSES)]


def main() -> None:
    truth, found, areas = poses()
    told = {"truth": truth, "found": found, "areas": areas, "oks": similarities(truth, found, areas)}
    RESULTS.write_text(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
