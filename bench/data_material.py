"""What the paths of bench/data.py read: drawn photographs, packs of them; and how sharp a crop is by each library.

Amplitudes fall with frequency as in photographs; JPEG of quality 90, about 100 kB each. Sharpness: PSNR in dB, 10
log10(255² / mean square), of a crop against Lanczos of three lobes, antialiased, in float64, from the same pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common import spread

SIZE = (375, 500)
SIDE = 256  # of the shorter side in a pack


def photograph(random: Any, size: tuple[int, int] = SIZE) -> Any:
    """(H, W, 3) uint8: brightness of amplitude 1 / f^1.15, and paler colours."""
    import numpy as np

    y, x = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
    amplitude = 1 / np.maximum(np.hypot(y, x), 1 / size[1]) ** 1.15
    fields = [np.fft.irfft2(amplitude * np.exp(2j * np.pi * random.random(amplitude.shape)), size) for _ in range(3)]
    light, red, blue = (field / field.std() for field in fields)
    colours = [128 + 50 * light + shift for shift in (17 * red, -4 * blue - 8.5 * red, 21 * blue)]
    return np.clip(np.stack(colours, -1), 0, 255).astype(np.uint8)


def prepare(place: Path, count: int, photos: str | None) -> None:
    """place/photos/{even,odd}/*.jpg, place/raw.pack and place/jpeg.pack."""
    import cv2
    import numpy as np

    from hubel.data.formats import folder
    from hubel.data.pack_write import pack

    names = [place / "photos" / ("even", "odd")[i % 2] / f"{i:05}.jpg" for i in range(count)]
    for folder_of in {name.parent for name in names}:
        folder_of.mkdir(parents=True)
    if photos:
        for name, path in zip(names, sorted(Path(photos).rglob("*.jpg")), strict=False):
            name.write_bytes(path.read_bytes())
    else:
        random = np.random.default_rng(0)
        for name in names:
            data = cv2.imencode(".jpg", photograph(random)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
            name.write_bytes(data.tobytes())
    dataset = folder.read(place / "photos")
    pack(dataset, place / "raw.pack")
    pack(dataset, place / "jpeg.pack", quality=90)


def sharpness(count: int = 12) -> dict[str, dict[str, Any]]:
    """{what: {name: Spread of dB}} of the same crops by each library.

    "as resampled" compares with Lanczos of the very pixels that were resampled, "from the file" with that of the
    photograph of full size: a pack, whose images are smaller, has lost the finest of it.
    """
    import numpy as np

    from hubel.data.augment import Augment

    random = np.random.default_rng(5)
    values: dict[str, dict[str, list[float]]] = {}
    for i in range(count):
        image = photograph(random)
        matrix = Augment(crop=(0.08, 1.0)).draw(0, 0, np.array([i]), SIZE, (224, 224)).matrices[0]
        for what, found in _crops(image, matrix).items():
            for name, (out, expected) in found.items():
                decibel = 10 * np.log10(255**2 / np.mean((out - expected) ** 2))
                values.setdefault(what, {}).setdefault(name, []).append(decibel)
    return {what: {name: spread(found) for name, found in one.items()} for what, one in values.items()}


def _crops(image: Any, matrix: Any) -> dict[str, dict[str, tuple[Any, Any]]]:
    """{what: {name: (crop, what it should be)}}"""
    from hubel.data.pack_write import _fit
    from hubel.ops.crop import resample, snap

    size, packed = (224, 224), _fit(image, SIDE)
    scale = packed.shape[1] / image.shape[1], packed.shape[0] / image.shape[0]
    box, small = snap(matrix, SIZE, size), snap(matrix, packed.shape[:2], size, scale)
    assert box is not None and small is not None
    part, part_of_pack = image[box.y0 : box.y1, box.x0 : box.x1], packed[small.y0 : small.y1, small.x0 : small.x1]
    expected, ours, out = lanczos(part, size), resample(image, box, size), resample(packed, small, size)
    low, high = small.x0 / scale[0], small.x1 / scale[0]  # where the pack's crop lies in the photograph
    top, bottom = small.y0 / scale[1], small.y1 / scale[1]
    whole = lanczos(image, size, (low, high), (top, bottom))
    others = {name: (other, expected) for name, other in _others(part).items()}
    return {
        "as resampled": {"hubel": (ours, expected), "hubel packed": (out, lanczos(part_of_pack, size)), **others},
        "from the file": {"hubel": (ours, expected), "hubel packed": (out, whole), **others},
    }


def _others(part: Any) -> dict[str, Any]:
    import cv2
    import numpy as np
    import torch

    found = {"albumentations": cv2.resize(part, (224, 224), interpolation=cv2.INTER_LINEAR)}
    try:
        from peers import declare_operators

        declare_operators()
        from torchvision.transforms.v2 import functional

        tensor = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)
        found["torchvision"] = functional.resize(tensor, [224, 224], antialias=True).permute(1, 2, 0).numpy()
    except ImportError:
        pass
    return found


def lanczos(image: Any, size: tuple[int, int], across: Any = None, down: Any = None) -> Any:
    """(H, W, C) -> (h, w, C) float64, antialiased; of the part between two places `across` and `down`."""
    import numpy as np

    def weights(n_in: int, n_out: int, span: Any) -> Any:
        low, high = span or (0, n_in)
        step = (high - low) / n_out
        x = (np.arange(n_in) + 0.5 - low - (np.arange(n_out)[:, None] + 0.5) * step) / max(step, 1)
        found = np.where(abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
        return found / found.sum(1, keepdims=True)

    rows, columns = weights(image.shape[0], size[0], down), weights(image.shape[1], size[1], across)
    return np.clip(np.einsum("ij,jkc,lk->ilc", rows, image.astype(float), columns, optimize=True), 0, 255)
