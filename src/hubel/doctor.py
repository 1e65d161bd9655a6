"""`hubel doctor`: what this machine offers to a training, and what is missing. Works where torch is broken or absent.

`examine` returns facts by name, with "problems" (what keeps hubel from running) and "hints" (what would help);
`summary` puts them in words.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from hubel.training import machine

NEEDED = {
    "torch": "torch", "numpy": "numpy", "pillow": "PIL", "opencv-python-headless": "cv2", "scikit-learn": "sklearn",
    "safetensors": "safetensors", "rich": "rich", "jinja2": "jinja2",
}  # fmt: skip
OPTIONAL = {
    "tensorboard": ("tensorboard", "--log tensorboard: pip install 'hubel[tensorboard]'"),
    "onnx": ("onnx", "hubel export: pip install 'hubel[export]'"),
    "openvino": ("openvino", "faster predictions on CPUs: pip install 'hubel[openvino]'"),
}
COMPILERS = ("c++", "g++", "clang++", "cl")


def examine(out: Path) -> dict[str, Any]:
    """Every fact, JSON-ready. `out` is where runs will be written."""
    found: dict[str, Any] = {"problems": [], "hints": []}
    for part in (_versions, _devices, _threads, _memory, _disk, _compiler, _optional, _inference, _data):
        part(found, out)
    return found


def _versions(found: dict[str, Any], out: Path) -> None:
    """What is installed, and whether it can be imported: a wheel for another machine may not."""
    found["hubel"] = _version("hubel")
    found["python"] = platform.python_version()
    found["executable"] = sys.executable
    found["system"] = platform.platform()
    found["packages"] = {name: _version(name) for name in NEEDED}
    for name, module in NEEDED.items():
        try:
            importlib.import_module(module)
        except Exception as fault:  # a broken installation raises anything: OSError, AttributeError …
            state = "is not installed" if found["packages"][name] is None else f"can't be imported: {fault}"
            found["problems"].append(f"{name} {state}. Mend it with: pip install --force-reinstall {name}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except Exception:
        return None


def _devices(found: dict[str, Any], out: Path) -> None:
    torch = _torch()
    flags = machine.bf16_flags()
    found["devices"] = [{"device": "cpu", "name": machine.processor(), "native_bf16": bool(flags), "flags": flags}]
    found["default_device"] = "cpu"
    if torch is None:
        return
    found["torch_build"] = {"cuda": torch.version.cuda, "hip": getattr(torch.version, "hip", None)}
    if torch.cuda.is_available():
        found["default_device"] = "cuda"
        found["devices"] += [_gpu(torch, i) for i in range(torch.cuda.device_count())]
    elif shutil.which("nvidia-smi") and torch.version.cuda is None:
        found["hints"].append("A driver for NVIDIA GPUs is here, but this torch was built for the CPU only.")
    if torch.backends.mps.is_available():
        found["devices"].append({"device": "mps", "name": "Apple GPU", "native_bf16": None})


def _gpu(torch: Any, i: int) -> dict[str, Any]:
    facts = torch.cuda.get_device_properties(i)
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return {"device": f"cuda:{i}", "name": facts.name, "memory": facts.total_memory, "native_bf16": native}


def _threads(found: dict[str, Any], out: Path) -> None:
    torch = _torch()
    found["cores"] = {"machine": os.cpu_count(), "affinity": machine.affinity(), "quota": machine.cpu_quota(),
                      "usable": machine.cores()}  # fmt: skip
    found["threads"] = torch.get_num_threads() if torch is not None else None
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > machine.cores():
        found["hints"].append(f"OMP_NUM_THREADS={asked}, but only {machine.cores()} cores may be used: unset it.")


def _memory(found: dict[str, Any], out: Path) -> None:
    free, total = machine.memory()
    found["memory"] = {"free": free, "total": total}
    if free is not None and free < 2**30:
        found["hints"].append("Less than 1 GB of memory is free: keep --batch_size small and --workers 0.")


def _disk(found: dict[str, Any], out: Path) -> None:
    parent = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    found["disk"] = {"folder": str(out.absolute()), "free": shutil.disk_usage(parent).free,
                     "writable": parent.is_dir() and os.access(parent, os.W_OK)}  # fmt: skip
    if not found["disk"]["writable"]:
        found["problems"].append(f"Runs can't be written to {out.absolute()}. Choose another folder with --out.")
    elif found["disk"]["free"] < 2**30:
        found["hints"].append(f"Less than 1 GB is free at {parent}: `hubel runs --prune N` makes room.")


def _compiler(found: dict[str, Any], out: Path) -> None:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else COMPILERS
    found["compiler"] = next((path for name in names if (path := shutil.which(name))), None)
    if found["compiler"] is None:
        found["hints"].append("No C++ compiler was found: --compile needs one on the CPU (Debian: g++).")


def _optional(found: dict[str, Any], out: Path) -> None:
    found["optional"] = {name: _version(name) for name in OPTIONAL}
    for name, (_, purpose) in OPTIONAL.items():
        if found["optional"][name] is None:
            found["hints"].append(f"{name} is not installed; it is for {purpose}")


def _inference(found: dict[str, Any], out: Path) -> None:
    """How `hubel predict` runs a network over many images: see inference.py."""
    gpu = found["default_device"] != "cpu"
    native = found["devices"][1 if gpu else 0]["native_bf16"]
    way = "folded" if gpu else "openvino" if found["optional"]["openvino"] else "fused"
    found["inference"] = {"path": way, "precision": "bf16" if native else "fp32"}


def _data(found: dict[str, Any], out: Path) -> None:
    """Where Fashion-MNIST was found; the digits come with scikit-learn."""
    found["fashion_mnist"] = None
    try:
        from hubel.data import builtin
        from hubel.data.formats import idx

        places = [builtin.FASHION_SYSTEM, builtin.cache_folder() / "fashion-mnist"]
        found["fashion_mnist"] = next((str(place) for place in places if idx.recognise(place)), None)
    except Exception:  # without torch the data package can't be asked; the problem is listed already
        return
    if found["fashion_mnist"] is None:
        found["hints"].append(
            "Fashion-MNIST is not here: `hubel train fashion-mnist --download` fetches 30 MB, or install the "
            "Debian package dataset-fashion-mnist."
        )


def summary(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts in words, for a person."""
    cores, memory, disk = found["cores"], found["memory"], found["disk"]
    quota = "no limit" if cores["quota"] is None else f"a limit of {cores['quota']:g}"
    rows = [("hubel", f"{found['hubel']}, Python {found['python']}"), ("system", found["system"])]
    rows += [(name, version or "missing") for name, version in found["packages"].items()]
    rows += [(one["device"], _device_words(one)) for one in found["devices"]]
    threads = "" if found["threads"] is None else f"; torch uses {found['threads']} threads"
    rows += [
        ("cores", f"{cores['usable']} usable of {cores['machine']} ({quota} by the container){threads}"),
        ("memory", f"{_gigabytes(memory['free'])} free of {_gigabytes(memory['total'])}"),
        ("disk", f"{_gigabytes(disk['free'])} free at {disk['folder']}"),
        ("C++ compiler", found["compiler"] or "none"),
        *((name, version or "not installed") for name, version in found["optional"].items()),
        ("predictions", f"{found['inference']['path']}, {found['inference']['precision']}, where images are many"),
        ("fashion-mnist", found["fashion_mnist"] or "not found"),
    ]
    return rows


def _device_words(one: dict[str, Any]) -> str:
    native = {True: "native bf16", False: "no native bf16", None: "bf16 not measured"}[one["native_bf16"]]
    flags = f" ({', '.join(one['flags'])})" if one.get("flags") else ""
    memory = f", {_gigabytes(one['memory'])}" if one.get("memory") else ""
    return f"{one['name']}{memory}, {native}{flags}"


def _gigabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e9:,.1f} GB"
