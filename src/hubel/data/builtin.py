"""Data sets known by name: the digits that come with scikit-learn, and Fashion-MNIST (arXiv:1708.07747).

Nothing is downloaded unless the caller asks for it in that very call.
"""

from __future__ import annotations

import gzip
import hashlib
import urllib.request
import zlib
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.fetch_whole import Opener, fetch_whole
from hubel.data.formats import idx
from hubel.data.images import ArrayImages
from hubel.data.places import cache_folder as cache_folder
from hubel.errors import UserError

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FASHION_SYSTEM = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it
FASHION_ORIGIN = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
FASHION_FILES = {  # SHA-256 of the unpacked content, which does not depend on who packed it
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def digits() -> Dataset:
    """1,797 handwritten digits of 8×8 pixels, from scikit-learn: grey values 0 … 16 become round(v · 255 / 16)."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    pixels = np.round(data.images * (255 / 16)).astype(np.uint8)[..., None]  # (1797, 8, 8, 1)
    return Dataset(
        "digits",
        ArrayImages(pixels),
        {"label": data.target.astype(np.int64)},
        tuple(str(k) for k in range(10)),
        source="scikit-learn: load_digits",
        format="built-in",
        notes=("1,797 handwritten digits of 8 x 8 pixels, shipped with scikit-learn",),
        traits={"mirror": False},
    )


def fashion_mnist(folder: str | Path | None = None, download: bool = False, opener: Opener | None = None) -> Dataset:
    """70,000 grey images of clothes, 28×28, 60,000 of them for training.

    Looked for in `folder`, or else where Debian's package puts it and in the user's cache. With `download` it is
    fetched into the cache where it is missing. Raises UserError where it can't be found or fails its checksum.
    """
    cache = cache_folder() / "fashion-mnist"
    places = [Path(folder)] if folder is not None else [FASHION_SYSTEM, cache]
    found = next((place for place in places if idx.recognise(place) and (place != cache or _whole(place))), None)
    if found is None and download:
        found = places[-1]
        _download(found, opener or _over_https)
    if found is None:
        raise UserError(
            f"Fashion-MNIST isn't here; looked in {' and '.join(map(str, places))}. Install the Debian package "
            "`dataset-fashion-mnist`, give the folder with its four IDX files, or let it be downloaded (30 MB) "
            "with --download."
        )
    dataset = idx.read(found, "fashion-mnist", FASHION_CLASSES, mirror=True)
    return replace(dataset, notes=(*dataset.notes, "a mirrored garment keeps its class: flips are allowed"))


def _over_https(url: str) -> AbstractContextManager[IO[bytes]]:
    return urllib.request.urlopen(url, timeout=60)


def _whole(cache: Path) -> bool:
    """A download that broke off left some of the files."""
    return all((cache / name).exists() for name in FASHION_FILES)


def _download(folder: Path, opener: Opener) -> None:
    """Each file under a temporary name first, renamed when whole and right: a reader never sees half a file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, checksum in FASHION_FILES.items():
            if not (folder / name).exists():
                _fetch(FASHION_ORIGIN + name, folder / name, checksum, opener)
    except OSError as fault:
        raise UserError(
            f"Fashion-MNIST could not be downloaded into {folder}: {fault}. Try again, or install the Debian package "
            "`dataset-fashion-mnist`."
        ) from fault


def _fetch(url: str, target: Path, checksum: str, opener: Opener) -> None:
    def check(file: Path) -> None:
        found = _content_hash(file)
        if found != checksum:
            raise UserError(
                f"{url} unpacks to SHA-256 {found}, expected {checksum}. Nothing was kept; try again later."
            )

    fetch_whole(url, target, opener, check)


def _content_hash(packed: Path) -> str:
    try:
        with gzip.open(packed, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, EOFError, zlib.error):
        return "(no gzip file)"
