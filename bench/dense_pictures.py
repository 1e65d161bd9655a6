"""The pictures of docs/dense_networks.md: one map enlarged in six ways, and a classifier of patches made dense.

python bench/dense_pictures.py        writes docs/pictures/upsampling.png and docs/pictures/stitching.png
"""

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import hubel
from hubel.models.convnet import convnet
from hubel.models.patchwise import patches
from hubel.models.surgery.convolve import convolutionalise
from hubel.models.surgery.stitch import heat_maps, shift_and_stitch
from hubel.nn.upsampling import PLAIN, upsampling
from hubel.ops.palette import compared, overlay

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SIDE, PATCH, STEPS, BATCH = 96, 30, 400, 128
GAP, BACKGROUND = 6, 0  # between pictures; the number of the class without a colour


def row(images: list[np.ndarray], times: int) -> np.ndarray:
    """Images (h, w, 3) side by side, each pixel as `times` × `times`."""
    tall = max(len(image) for image in images) * times
    found = []
    for image in images:
        large = image.repeat(times, 0).repeat(times, 1)
        found += [np.pad(large, ((0, tall - len(large)), (0, GAP), (0, 0)), constant_values=255)]
    return np.concatenate(found, 1)[:, :-GAP]


def to_bytes(x: torch.Tensor) -> np.ndarray:
    """(C, h, w) in [0, 1] -> (h, w, C) uint8."""
    return (x.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def enlarged(image: torch.Tensor) -> np.ndarray:
    """The image, its means over 6×6 pixels, and those twice as large: nearest, bilinear, nails, unpooled, spread."""
    coarse = F.avg_pool2d(image[None], 6)
    finer = F.avg_pool2d(image[None], 3)
    side = (finer.shape[2], finer.shape[3])
    ways = [upsampling(name, 3) for name in PLAIN if name in ("nearest", "bilinear", "nails")]
    made = [way(coarse, side)[0] for way in ways]
    made += [upsampling("unpool", 3, 3)(F.max_pool2d(finer, 2), side, finer)[0]]
    spread = F.conv_transpose2d(coarse, torch.full((3, 1, 3, 3), 0.55), stride=2, groups=3)[0, :, : side[0], : side[1]]
    small = F.interpolate(coarse, scale_factor=2)[0, :, : side[0] // 2 * 2, : side[1] // 2 * 2]
    return row([to_bytes(one) for one in (finer[0], small[:, ::2, ::2], *made, spread)], 6)


def examples(images: torch.Tensor, masks: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches around pixels, one in three of them of the background, and the class of each pixel."""
    draw = torch.Generator().manual_seed(seed)
    framed = F.pad(images, (PATCH // 2, PATCH - 1 - PATCH // 2) * 2, mode="reflect")
    chance = torch.where(masks.flatten() == 0, 0.5 / (masks == 0).float().mean(), 1 / (masks > 0).float().mean())
    places = torch.multinomial(chance, BATCH, generator=draw)
    n, r, c = (x.tolist() for x in torch.unravel_index(places, masks.shape))
    found = [framed[i, :, y : y + PATCH, x : x + PATCH] for i, y, x in zip(n, r, c, strict=True)]
    return torch.stack(found), masks.flatten()[places]


def trained(images: torch.Tensor, masks: torch.Tensor, classes: int) -> torch.nn.Module:
    """A small classifier without padding that has only ever seen patches and the class of the pixel in the middle."""
    torch.manual_seed(0)
    network = convnet(classes=classes, input=(3, PATCH, PATCH), widths=(16, 32), padding="valid")
    descent = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for step in range(STEPS):
        inputs, labels = examples(images, masks, step)
        descent.param_groups[0]["lr"] = 3e-3 * (1 - step / STEPS)
        descent.zero_grad()
        F.cross_entropy(network(inputs), labels).backward()
        descent.step()
    return network.eval()


@torch.no_grad()
def made_dense(network: torch.nn.Module, image: torch.Tensor, truth: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """A scene with its truth; the answer of the heat map, then of shift and stitch, each with what is wrong."""
    coarse = heat_maps(network, (3, PATCH, PATCH), image)[0].argmax(0).byte().numpy()
    framed = F.pad(image, (PATCH // 2, PATCH - 1 - PATCH // 2) * 2, mode="reflect")
    start = time.perf_counter()
    fine = shift_and_stitch(convolutionalise(network, (3, PATCH, PATCH)), framed, network.strides[-1])[0]
    stitched = time.perf_counter() - start
    start = time.perf_counter()
    slow = torch.cat([network(part) for part in patches(image, PATCH, 1).split(1024)])
    patched = time.perf_counter() - start
    same = slow.T.reshape(fine.shape)[:, PATCH:-PATCH, PATCH:-PATCH]
    print(f"shift and stitch {stitched:.2f} s, patch by patch {patched:.2f} s: {patched / stitched:.0f} times as long; "
          f"largest difference {float((same - fine[:, PATCH:-PATCH, PATCH:-PATCH]).abs().max()):.1e}")  # fmt: skip
    for name, found in (("heat map", coarse), ("shift and stitch", fine.argmax(0).byte().numpy())):
        print(f"{name}: {(found == truth).mean():.3f} of the pixels right")
    answers = [coarse, fine.argmax(0).byte().numpy()]
    wrong = [compared(shown, truth, answer)[:, -shown.shape[1] :] for answer in answers]
    labels = [overlay(shown, one, BACKGROUND) for one in (truth, *answers)]
    return row([shown, labels[0], labels[1], wrong[0], labels[2], wrong[1]], 2)


def main() -> None:
    data = hubel.load_dataset(f"shapes:count=120,size={SIDE}")
    pixels = np.stack([data.images.read(i) for i in range(120)])
    masks = np.stack([data.annotations["mask"].read(i) for i in range(120)])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    PICTURES.mkdir(exist_ok=True)
    Image.fromarray(enlarged(images[0])).save(PICTURES / "upsampling.png", optimize=True)
    labels = torch.from_numpy(masks.astype(np.int64))
    network = trained(images[:110] - 0.5, labels[:110], len(data.annotations["mask"].classes))
    sheet = made_dense(network, images[112:113] - 0.5, masks[112], pixels[112])
    Image.fromarray(sheet).save(PICTURES / "stitching.png", optimize=True)


if __name__ == "__main__":
    main()
