"""The mean image, PCA and ZCA: y = W (x − μ), x the d = h · w · C values of an image in [0, 1].

With the covariance C = U Λ Uᵀ of the training part: *image* W = 1 / σ of each channel, *pca* W = (Λ + ε)^−½ Uᵀ, whose
numbers have no place in the image any more, *zca* W = U (Λ + ε)^−½ Uᵀ, the whitening nearest to the images themselves
(Kessy, Lewin and Strimmer 2018, doi:10.1080/00031305.2016.1277159). ε is a share of the mean eigenvalue.

Sums are whole numbers in float64, exact below 2⁵³, so they do not depend on the order; eigenvectors are float64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from safetensors.numpy import load_file, save
from torch import Tensor

from hubel.data.decode import BadImage
from hubel.data.images import evenly
from hubel.errors import UserError, close_to

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset
    from hubel.data.preprocess import Preprocess

KINDS = ("image", "pca", "zca")
LARGEST = 4096  # numbers of an image: a matrix of 64 MiB, and eigenvectors in about a minute
EPSILON = 0.01
CHUNK = 256  # images whose products are added up at once
SMALLEST = 1e-3  # as in statistics.py: a channel that varies less is constant


@dataclass(frozen=True, eq=False)
class Whitening:
    """What was fitted. `mean` (h, w, C) float32; `matrix` (d, d) float32 for pca and zca, (C,) deviations for image."""

    kind: str
    mean: np.ndarray
    matrix: np.ndarray
    epsilon: float

    def centre(self, images: Tensor, top: int) -> Tensor:
        """(B, h, w, C) whole numbers -> (B, C, h, w) float32, channels_last: 0 is the mean image."""
        centred = images.to(torch.float32).div_(top).sub_(_on(self.mean, images.device))
        if self.kind == "image":
            centred.div_(_on(self.matrix, images.device))
        return centred.permute(0, 3, 1, 2)

    def turn(self, images: Tensor) -> Tensor:
        """(B, C, h, w) as `centre` gives them -> the same shape, decorrelated; component k of PCA is the k-th pixel."""
        if self.kind == "image":
            return images
        rows = images.permute(0, 2, 3, 1)  # (B, h, w, C)
        turned = rows.reshape(len(rows), -1) @ _on(self.matrix, images.device).T
        return turned.view(rows.shape).permute(0, 3, 1, 2)

    def settings(self) -> dict[str, Any]:
        """JSON-ready; the arrays are in a file of their own, known by their hash."""
        return {"kind": self.kind, "epsilon": self.epsilon, "hash": self.hash()}

    def hash(self) -> str:
        seen = hashlib.blake2b(self.kind.encode(), digest_size=16)
        for array in (self.mean, self.matrix):
            seen.update(f"{array.shape}".encode())
            seen.update(np.ascontiguousarray(array).data)
        return seen.hexdigest()

    def content(self) -> bytes:
        """The arrays as safetensors: what `load` reads."""
        return save({"mean": np.ascontiguousarray(self.mean), "matrix": np.ascontiguousarray(self.matrix)})

    @classmethod
    def load(cls, settings: dict[str, Any], path: Path) -> Self:
        """Raises UserError where the file is missing, damaged or another one."""
        try:
            arrays = load_file(path)
            found = cls(settings["kind"], arrays["mean"], arrays["matrix"], settings["epsilon"])
        except Exception as fault:
            raise UserError(
                f"{path} can't be read ({fault}); without it images can't be prepared as they were."
            ) from fault
        if found.hash() != settings["hash"]:
            raise UserError(f"{path} is damaged or of another run. Copy the run again.")
        return found


def fit(
    dataset: Dataset, index: np.ndarray, plain: Preprocess, kind: str, epsilon: float = EPSILON, most: int = 20_000
) -> Whitening:
    """Fitted on the images `index` alone (up to `most`, evenly spaced), as the network sees them through `plain`.

    Raises UserError for an unknown kind, images too large for a (d, d) matrix, or none that can be read.
    """
    if kind not in KINDS:
        raise UserError(f"normalize is one of channel, {', '.join(KINDS)}; got '{kind}'{close_to(kind, KINDS)}")
    if not 0 <= epsilon < np.inf:
        raise UserError(f"whiten_epsilon is a share of the mean variance, 0 or more; got {epsilon}")
    shape = (*plain.size, plain.channels)
    size = int(np.prod(shape))
    if kind != "image" and size > LARGEST:
        raise UserError(
            f"Whitening is for small images, of up to {LARGEST:,} numbers such as 32 x 32 x 3; these have {size:,}. "
            "Use --normalize image or channel, or a smaller --size."
        )
    rows = _rows(dataset, np.asarray(index)[evenly(len(index), most)], plain)
    count, total, products = _sums(rows, size, kind != "image")
    if not count:
        raise UserError(f"{dataset.name}: no image of the training part can be read. See the quarantine list.")
    top = 2**plain.depth - 1
    mean = total / (count * top)
    if kind == "image":
        variance = (products / (count * top**2) - mean**2).reshape(-1, shape[2]).mean(0)
        deviation = np.sqrt(np.maximum(variance, 0))
        matrix = np.where(deviation < SMALLEST, 1.0, deviation)
    else:
        matrix = _matrix(products / (count * top**2) - np.outer(mean, mean), kind, epsilon)
    return Whitening(kind, mean.reshape(shape).astype(np.float32), matrix.astype(np.float32), epsilon)


def _matrix(covariance: np.ndarray, kind: str, epsilon: float) -> np.ndarray:
    """(d, d) W; components of falling variance, each with its largest entry positive, so that they repeat."""
    values, vectors = torch.linalg.eigh(torch.from_numpy(covariance))  # float64, rising
    values, rows = values.flip(0).clamp(min=0), vectors.T.flip(0)  # (d,), (d, d): a component in each row
    rows = rows * rows.gather(1, rows.abs().argmax(1, keepdim=True)).sign()
    mean = values.mean()
    scale = (values + (epsilon * mean if mean > 0 else 1.0)).clamp(min=1e-12 * float(mean) + 1e-300).rsqrt()
    whitened = scale[:, None] * rows
    return (rows.T @ whitened if kind == "zca" else whitened).numpy()


def _sums(rows: Iterator[np.ndarray], size: int, all_pairs: bool) -> tuple[int, np.ndarray, np.ndarray]:
    """Count, Σx (d,), and Σxxᵀ (d, d) or Σx² (d,)."""
    count, total = 0, np.zeros(size)
    products = np.zeros((size, size) if all_pairs else size)
    for chunk in rows:  # (n, d) whole numbers
        values = chunk.astype(np.float64)
        count += len(values)
        total += values.sum(0)
        products += values.T @ values if all_pairs else (values**2).sum(0)
    return count, total, products


def _rows(dataset: Dataset, index: np.ndarray, plain: Preprocess) -> Iterator[np.ndarray]:
    """(n, d) pixels of up to CHUNK images at a time; what can't be read is left out."""

    def one(i: int) -> np.ndarray:
        try:
            return plain.geometry(dataset.images.read(int(i)))[0].reshape(1, -1)
        except (BadImage, OSError):
            return np.empty((0, plain.size[0] * plain.size[1] * plain.channels), np.uint8)

    with ThreadPoolExecutor(8) as pool:
        for start in range(0, len(index), CHUNK):
            yield np.concatenate(list(pool.map(one, index[start : start + CHUNK])))


_placed: dict[tuple[int, str], tuple[np.ndarray, Tensor]] = {}


def _on(array: np.ndarray, device: torch.device) -> Tensor:
    """The array on the device; the last few are kept there."""
    key = (id(array), str(device))
    if key not in _placed or _placed[key][0] is not array:
        while len(_placed) >= 8:
            _placed.pop(next(iter(_placed)))
        _placed[key] = array, torch.from_numpy(np.ascontiguousarray(array)).to(device)
    return _placed[key][1]
