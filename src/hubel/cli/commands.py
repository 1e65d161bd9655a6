"""The commands: how many words each takes, its flags, and which options of the Recipe. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

RESUME_OPTIONS = ("epochs", "device", "workers", "save_every", "micro_batch", "log", "regularize.patience")


@dataclass(frozen=True)
class Verb:
    """`least` … `most` words (None: any number) named `words`; `own`: {flag: (placeholder or "", help)}."""

    summary: str
    words: str = ""
    least: int = 0
    most: int | None = 0
    own: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # {"out": ("DIR", "help text")}
    options: str = ""  # which options of the Recipe: "all", "resume", "model" or none

    @property
    def flags(self) -> dict[str, tuple[str, str]]:
        """Its own, then those that every command takes."""
        return {**self.own, **COMMON}


RECIPE = {"recipe": ("NAME", "a measured recipe: see `hubel config --recipe NAME`")}
CONFIG = {"config": ("FILE", "options from a TOML file; the command line wins")}
DOWNLOAD = {"download": ("", "fetch a built-in dataset, or pretrained weights, that are missing here")}
OUT = {"out": ("DIR", "where the run folders are (default: runs)")}
PATH = {"path": ("WAY", "how the network runs: auto, eager, folded, fused, openvino (see docs/inference.md)")}
PRIVATE = {"private": ("", "keep paths and file names out of the report")}
ENSEMBLE = {
    "ensemble": ("", "average the predictions of several runs"),
    "snapshots": ("N", "the last N snapshots of --schedule cyclic, or `all`, in place of each run's network"),
    "dropout_samples": ("N", "average N passes with random dropout masks, and show how unsure they are"),
    "views": ("NAME", "average views of each image: single, mirror, shifts, crops, ten (default: as trained)"),
}
BOXES = {"boxes": ("FILE", "joints of the objects in these boxes, .json or .csv (docs/pose.md)")}
MASKS = {
    "masks": ("DIR", "write a class for every pixel of each image, of any size, into this new folder"),
    "files": ("NAMES", "masks: which files: mask,overlay,coco,polygons,images (default: mask,overlay)"),
    "tile": ("N", "masks: pixels a side that the network sees at once (default: its own size, at least 512)"),
    "overlap": ("N", "masks: pixels that neighbouring tiles share (default: an eighth; 0 without padding)"),
    "scale": ("X", "masks: pixels shown to the network for each of the image (default: as in training)"),
    "large": ("", "masks: also images of more than 179 million pixels"),
}
SLIDE = {
    "slide": ("", "slide the classifier over images of any size: boxes of the objects that it finds"),
    "scales": ("X,X", "slide: how much images are resized, a look at each (default: 1,0.71,0.5,0.35)"),
    "threshold": ("X", "slide: how probable an object is at least (default: 0.5)"),
    "suppress": ("X", "slide: of boxes that overlap by a larger IoU the best stays (default: 0.3)"),
    "out": ("DIR", "slide: also write each image with its boxes, into this folder"),
}
COMMON = {
    "json": ("", "one JSON document on standard output, the rest on standard error"),
    "quiet": ("", "no progress"),
    "help": ("", "this text"),
}

VERBS: dict[str, Verb] = {
    "train": Verb(
        "train a network, evaluate it and write its report", "[SOURCE]", 0, 1,
        {**RECIPE, **CONFIG, **OUT, "from": ("RUN", "start from this run's weights"), **DOWNLOAD, **PRIVATE}, "all",
    ),
    "resume": Verb("continue a run that stopped, or give it more epochs", "RUN", 1, 1, {**PRIVATE}, "resume"),
    "evaluate": Verb(
        "score a run's network; compare or combine several", "RUN...", 1, None,
        {"split": ("NAME", "train, train-dev, dev or test (default: all; of comparisons all but train)"),
         "data": ("SOURCE", "other data with the same classes"), **PATH, **ENSEMBLE,
         "average": ("", "one network with the mean of their weights"),
         "polyak": ("", "the running average of a run's weights, against its last weights"), **DOWNLOAD},
    ),
    "predict": Verb(
        "say what is in images", "RUN... IMAGE...", 2, None, {**PATH, **ENSEMBLE, **BOXES, **MASKS, **SLIDE}
    ),
    "explain": Verb(
        "show what a network looks at in images, and draw boxes", "RUN IMAGE...", 2, None,
        {"method": ("NAME", "cam, the class activation map (default: cam)"),
         "out": ("DIR", "where the pictures go (default: explained)"),
         "class": ("NAME", "the class to explain (default: the one with the highest output)"),
         "threshold": ("X", "the box surrounds what is above this share of the map's maximum (default: 0.2)")},
    ),
    "baseline": Verb(
        "is a deep network needed? gradients, colours, clustering", "SOURCE", 1, 1,
        {"features": ("NAME", "hog, colour or both (default: both)"),
         "method": ("NAME", "of masks: kmeans, mean_shift or graph (default: kmeans)"),
         "images": ("N", "training images, evenly spaced, at most (default: 10000, of masks 200; 0 for all)"),
         "run": ("RUN", "compare with this run's network, on its own parts"), **DOWNLOAD},
    ),
    "data": Verb(
        "look at data before training: what is in it, and what is wrong", "SOURCE", 1, 1,
        {"out": ("DIR", "where the page and the lists go (default: data-NAME)"),
         "augment": ("POLICY", "show its effect: none, light, standard, strong, randaugment, trivialaugment "
                               "(default: standard)"),
         "model": ("MODEL", "compare boxes and masks with what this network can see"),
         "size": ("N", "model: --size of a training (default: as it would choose)"),
         "pack": ("DIR", "instead: write the images once, resized, for fast training"),
         "side": ("N", "pack: shorter side in pixels, or `own` (default: 256)"),
         "quality": ("N", "pack: as JPEG of this quality, 1 to 100 (default: plain pixels)"),
         "shards": ("N", "pack: files, at least one for each machine (default: 1)"), **DOWNLOAD},
    ),
    "convert": Verb(
        "write data in another format", "SOURCE OUT", 2, 2,
        {"format": ("NAME", "the format of OUT: see above"),
         "side": ("N", "crops: pixels a side (default: 32)"),
         "background": ("X", "crops: windows without an object for each object (default: 1)"), **DOWNLOAD},
    ),
    "info": Verb(
        "what networks there are, and what one costs and sees", "[MODEL...]", 0, None,
        {"input": ("SIZE", "3x32x32 (channels x height x width) or 224 (default: what it wants)"),
         "classes": ("K", "outputs (default: 1000 for networks made for ImageNet, else 10)"),
         "depth": ("N", "show blocks down to N names, such as 2 for stages.0 (default: what fits a screen)"),
         "page": ("FILE", "also write a page: layers, volumes; of several networks a plot"),
         "image": ("PHOTO", "on the page: what cells see of this photo")}, "model",
    ),
    "export": Verb("write a run's network as one ONNX file, and check it", "RUN OUT.onnx", 2, 2),
    "report": Verb("write a run's report anew", "RUN", 1, 1, {**PRIVATE}),
    "config": Verb(
        "each effective option, where it came from and why", "[SOURCE]", 0, 1, {**RECIPE, **CONFIG, **DOWNLOAD}, "all"
    ),
    "runs": Verb(
        "list runs, compare them, remove old ones", "", 0, 0,
        {**OUT, "prune": ("N", "remove all but the newest N of each kind and its best; or `failed`"),
         "yes": ("", "really remove; without it they are only listed")},
    ),
    "doctor": Verb("what this machine offers, and what is missing", "", 0, 0, {**OUT}),
    "version": Verb("the version"),
}  # fmt: skip
