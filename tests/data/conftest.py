"""Fixtures of the tests of formats: small data sets on disk."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_sets import DOT, photo, save_image


@pytest.fixture
def make(make_folder):
    """make({name: text, or (height, width), …}) writes a data set and returns its folder."""
    return make_folder


@pytest.fixture
def fresh(tmp_path_factory):
    """A new folder each time it is called."""
    return lambda: Path(tmp_path_factory.mktemp("made"))


@pytest.fixture
def masked(tmp_path):
    """masked({stem: values}, yaml) writes images/ and masks/ and returns their folder."""

    def write(values, yaml=None, name="set", image="images/{}.jpg", mask="masks/{}.png", mode=None):
        root = tmp_path / name
        for stem, one in values.items():
            h, w = np.asarray(one).shape[:2]
            save_image(root / image.format(stem), photo(h, w))
            save_image(root / mask.format(stem), one, mode)
        if yaml is not None:
            (root / "data.yaml").write_text(yaml)
        return root

    return write


@pytest.fixture
def table(tmp_path):
    """table(text, "a.png", …): a folder with images and labels.csv."""

    def make(text, *images, name="labels.csv"):
        root = tmp_path / "set"
        for image in images:
            (root / image).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(DOT).save(root / image)
        root.mkdir(exist_ok=True)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return root

    return make
