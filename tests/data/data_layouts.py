"""Generated data sets for the tests of formats: images with boxes, outlines, keypoints and flags."""

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from hubel.data.dataset import Dataset
from hubel.data.images import FileImages, PackedNames
from hubel.data.objects import Objects, Skeleton
from hubel.data.ragged import Ragged

names_of_classes = st.lists(
    st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=6)
    .map(str.strip)
    .filter(lambda name: name and "".join(name.split(" ")).isprintable() and "  " not in name and name.isprintable()),
    min_size=1,
    max_size=4,
    unique=True,
)
pixels = st.one_of(
    st.integers(-3, 60).map(float),
    st.integers(0, 6000).map(lambda n: n / 100),
    st.floats(-100, 100, allow_subnormal=False),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12),
)
splits = st.sampled_from([(), ("train",), ("train", "dev"), ("train", "dev", "test"), ("train", "train-dev", "dev")])


@st.composite
def datasets(draw, root, *, outlines=False, keypoints=False, flags=False, coordinates=pixels):
    """A data set of up to four images below `root`, written there."""
    sizes = draw(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=4))
    names = write_images(root, sizes, draw(st.booleans()))
    n = len(sizes)
    classes = tuple(draw(names_of_classes))
    counts = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    m = sum(counts)

    def numbers(*shape):
        size = int(np.prod(shape))
        return np.array(draw(st.lists(coordinates, min_size=size, max_size=size)), dtype=np.float64).reshape(shape)

    columns = {"boxes": numbers(m, 4), "lines": np.arange(1, m + 1)}
    if flags:
        columns["flags"] = np.array(draw(st.lists(st.sampled_from([0, 2, 4, 8, 14]), min_size=m, max_size=m)), np.uint8)
    if keypoints:
        seen = draw(st.lists(st.integers(0, 2), min_size=2 * m, max_size=2 * m))
        places = numbers(m, 2, 2).astype(np.float32)
        columns["keypoints"] = np.concatenate([places, np.array(seen, np.float32).reshape(m, 2, 1)], axis=2)
        columns["skeleton"] = Skeleton(("left eye", "right eye"), ((0, 1),))
    if outlines:
        corners = draw(st.lists(st.sampled_from([0, 3, 4, 7]), min_size=m, max_size=m))
        rings = [[numbers(k, 2).astype(np.float32)] if k else [] for k in corners]
        columns["outlines"] = Ragged.pack_nested(rings, np.empty((0, 2), np.float32))
        for k, ring in enumerate(rings):  # a polygon's box is its extent
            if ring:
                columns["boxes"][k] = [*ring[0].min(0), *ring[0].max(0)]
    labels = np.array(draw(st.lists(st.integers(0, len(classes) - 1), min_size=m, max_size=m)), dtype=np.int64)
    objects = Objects(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), labels=labels, **columns)
    parts = draw(splits)
    where = draw(st.lists(st.integers(0, len(parts)), min_size=n, max_size=n))
    index = {part: np.flatnonzero(np.array(where) == k) for k, part in enumerate(parts)}
    return Dataset("made", FileImages(str(root), PackedNames.pack(names)), {"objects": objects}, classes, index)


def write_images(root, sizes, nested):
    """PNG files of these heights and widths, told apart by their first pixel; gives their names."""
    names = []
    for i, (h, w) in enumerate(sizes):
        name = f"{'ab'[i % 2]}/{i}.png" if nested else f"{i}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((h, w, 3), np.uint8)
        pixels[0, 0] = i
        Image.fromarray(pixels).save(root / name)
        names.append(name)
    return names


def by_image(dataset):
    """{mark of the image: (splits, its objects as plain lists)}: what must be the same, whatever order images have."""
    objects = dataset.annotations["objects"]
    flags = objects.flags if len(objects.flags) else np.zeros(objects.count, np.uint8)
    found = {}
    for i in range(len(dataset)):
        rows = range(objects.offsets[i], objects.offsets[i + 1])
        things = [
            (
                dataset.classes[objects.labels[m]],
                objects.boxes[m].tolist(),
                int(flags[m]),
                [ring.tolist() for ring in objects.outlines[m]] if objects.outlines is not None else [],
                objects.keypoints[m].tolist() if len(objects.keypoints) else [],
            )
            for m in rows
        ]
        parts = sorted(part for part, index in dataset.splits.items() if i in index)
        found[int(dataset.images.read(i)[0, 0, 0])] = (parts, things)
    return found
