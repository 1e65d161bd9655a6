"""Images that are drawings of their annotations: every object has a grey level of its own, which is its class."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from standins import ListImages

from hubel.data.dataset import Dataset
from hubel.data.decode import BadImage
from hubel.data.images import ArrayImages
from hubel.data.objects import Objects
from hubel.data.ragged import Ragged

EACH = 3  # objects of each image
FIRST, STEP = 40, 3  # grey levels: 40, 43 …; the ground is 15


@dataclass
class ListMasks:
    """Masks in memory."""

    masks: list
    classes: tuple
    bad: tuple = ()
    colours: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.uint8))

    def __len__(self):
        return len(self.masks)

    def read(self, i):
        if i in self.bad:
            raise BadImage("torn")
        return self.masks[i]

    def take(self, index):
        bad = tuple(k for k, i in enumerate(index) if i in self.bad)
        return ListMasks([self.masks[i] for i in index], self.classes, bad)

    def strange(self, i):
        return {}

    def name(self, i):
        return ""

    def digest(self):
        return b""


def level(labels):
    return FIRST + STEP * np.asarray(labels)


def corners(rng, height, width, k):
    """A quadrangle in the k-th third of the image, (4, 2) whole numbers."""
    x0, x1 = width * k / EACH + 2, width * (k + 1) / EACH - 2
    y0, y1 = 2 + rng.uniform(0, height / 4), height - 2 - rng.uniform(0, height / 4)
    low, high = np.array([x0, y0]), np.array([x1, y1])
    u = np.array([[0, 0], [1, rng.uniform(0, 0.3)], [1, 1], [rng.uniform(0, 0.4), 1]])
    return np.rint(low + u * (high - low))


def scenes(count=16, size=None, seed=0):
    """A Dataset with objects (outlines, boxes, areas, a keypoint in the middle) and masks; `size` or different ones."""
    rng = np.random.default_rng(seed)
    images, masks, rings, boxes, points = [], [], [], [], []
    for i in range(count):
        height, width = size or rng.integers(50, 110, 2).tolist()
        image, mask = np.full((height, width, 1), 15, np.uint8), np.zeros((height, width), np.uint8)
        for k in range(EACH):
            ring = corners(rng, height, width, k)
            inside = inside_of(ring, height, width)
            image[inside], mask[inside] = level(EACH * i + k), 1 + EACH * i + k
            rings.append([ring.astype(np.float32)])
            boxes.append([*ring.min(0), *ring.max(0)])
            points.append([[*ring.mean(0), 2]])
        images.append(image)
        masks.append(mask)
    objects = Objects(
        EACH * np.arange(count + 1), np.array(boxes), np.arange(EACH * count),
        outlines=Ragged.pack_nested(rings, np.empty((0, 2), np.float32)), keypoints=np.array(points, np.float32),
    )  # fmt: skip
    source = ArrayImages(np.stack(images)) if size else ListImages(images)
    names = tuple(f"k{i}" for i in range(EACH * count))
    columns = {"objects": objects, "mask": ListMasks(masks, ("background", *names))}
    return Dataset("scenes", source, columns, names)


def inside_of(ring, height, width):
    """(H, W) bool: pixel centres within the quadrangle, one by one."""
    shape = ring.astype(np.float32)[:, None]
    return np.array(
        [[cv2.pointPolygonTest(shape, (x + 0.5, y + 0.5), False) > 0 for x in range(width)] for y in range(height)]
    )
