"""torchvision and timm for the tests, or a skip where they are missing. Call these inside a test or a fixture."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType

import pytest
import torch


def torchvision() -> ModuleType:
    """The package; its networks are in `.models`."""
    _mend_torchvision()
    return pytest.importorskip("torchvision")


def timm() -> ModuleType:
    """The package; `timm.create_model(name)` makes its networks."""
    _mend_torchvision()  # which timm imports
    return pytest.importorskip("timm")


@cache
def _mend_torchvision() -> torch.library.Library | None:
    """Beside a torch for the CPU only, torchvision's compiled operators can't be loaded, and it asks for their names
    when it is imported: they are declared. No network calls one.
    """
    try:
        importlib.import_module("torchvision")
        return None
    except ModuleNotFoundError:
        return None  # a skip
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library  # what it declares vanishes with it
