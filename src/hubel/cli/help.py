"""Help texts for 80 columns: an overview with examples, and each verb with its options and their defaults. No torch."""

from __future__ import annotations

import textwrap
from dataclasses import fields
from typing import get_type_hints

from hubel.cli.commands import RESUME_OPTIONS, VERBS
from hubel.cli.options import placeholder, unknown_verb
from hubel.errors import UserError
from hubel.options import fields_by_key
from hubel.recipe import GROUPS, OPEN_GROUPS, Recipe

WIDTH = 80
COLUMN = 31  # where the help texts begin

OVERVIEW = """\
hubel: from a folder of images to a network: trained, checked and explained.

  hubel train                          learn handwritten digits: a first look
  hubel train photos/                  images in one folder per class
  hubel train fashion-mnist --epochs 20 --optimizer adam
  hubel predict runs/photos-resnet8/1 new/*.jpg
  hubel data photos/                   what is in there, and what is wrong

Commands:
{verbs}

`hubel COMMAND --help` shows the options of a command. All commands take --json."""

EXAMPLES = {
    "train": (
        "hubel train",
        "hubel train photos/ --model resnet20 --epochs 30 --augment light",
        "hubel train fashion-mnist --model mlp --model.hidden 100,50",
        "hubel train photos/ --model my_network.py:Net --from runs/photos-resnet8/1",
    ),
    "resume": ("hubel resume runs/digits-lenet5/1", "hubel resume runs/digits-lenet5/1 --epochs 40"),
    "evaluate": (
        "hubel evaluate runs/digits-lenet5/1 --split test",
        "hubel evaluate runs/photos-resnet8/1 --data other_photos/",
        "hubel evaluate runs/photos-resnet8/* --ensemble",
        "hubel evaluate runs/photos-resnet8/1 --dropout_samples 30",
    ),
    "predict": (
        "hubel predict runs/photos-resnet8/1 new/*.jpg",
        "hubel predict runs/photos-resnet8/1 runs/photos-resnet8/2 new/*.jpg",
        "hubel predict runs/map-unet/1 map.tif --masks out --files mask,coco --large",
        "hubel predict runs/crops-convnet/1 scene.jpg --slide --scales 1,0.5 --out out",
    ),
    "explain": (
        "hubel explain runs/photos-resnet8/1 new/*.jpg",
        "hubel explain runs/photos-resnet8/1 new/1.jpg --class cat --out cats",
    ),
    "baseline": ("hubel baseline photos/", "hubel baseline photos/ --run runs/photos-resnet8/1"),
    "data": (
        "hubel data photos/",
        "hubel data photos.tar --augment strong --out looked_at",
        "hubel data photos/ --json",
    ),
    "convert": (
        "hubel convert photos.tar photos_as_coco/ --format coco",
        "hubel convert scenes/ crops/ --format crops --side 24",
    ),
    "info": (
        "hubel info",
        "hubel info vgg16",
        "hubel info resnet50 --input 448 --page resnet50.html --image photo.jpg",
        "hubel info mlp --model.hidden 300,100 --input 1x28x28",
        "hubel info net.py:Net runs/photos-resnet8/1 resnet20 --page compared.html",
    ),
    "export": ("hubel export runs/photos-resnet8/1 photos.onnx",),
    "config": ("hubel config photos/ --epochs 5",),
    "runs": ("hubel runs", "hubel runs --prune 3", "hubel runs --prune 3 --yes", "hubel runs --prune failed --yes"),
}
NOTES = {
    "train": "SOURCE is `digits` (the default), `fashion-mnist`, `shapes`, a folder of images by class, a CSV table, "
    "COCO, YOLO or VOC annotations, IDX files, an .npz file with images and labels, or a .zip or .tar of these; `hubel "
    "data SOURCE` shows what it is taken for. An option without a [default] is chosen for the data, the network and "
    "the machine, or off: `hubel config SOURCE` shows each choice and why.",
    "data": "Everything is looked at once, and nothing of yours is changed. data.html shows samples with their "
    "annotations, counts, sizes, augmented images, and each finding with its file, reason, picture and what to do; "
    "findings.json is the same for programs. What is an error stands in quarantine.csv, which "
    "`hubel train SOURCE --quarantine FILE` leaves out.",
    "info": "Without a MODEL the networks that have a name. MODEL is one of them, your own as file.py:Net, or a run "
    "folder. Columns: weights are parameters; mults the multiplications of convolutions and dense layers for one "
    "image, % their share; MB (kB) the memory of a layer's output, train what is kept of it for the way back; field, "
    "jump and start are its receptive field in pixels: how many a cell sees, from cell to cell, and where the centre "
    "of the first one is. Several MODELs are compared; a run's score stands beside its cost.",
    "convert": "Formats: coco, yolo, voc, masks, csv, folder, identities, pairs, npz, idx. OUT is a new folder; "
    "images are copied as they are, and what the format can't say is named. crops: of data with boxes, each object cut "
    "out into the folder of its class, and background; a classifier of these finds objects with `hubel predict "
    "--slide`.",
    "evaluate": "Several runs, or one with one of the ways below, are judged on the same images: each network in a "
    "row, then what they make together, with intervals (95 %) and the difference from the best single network. "
    "`no difference shown`: its interval holds 0, or chance explains as much (p above 0.05).",
    "explain": "A class activation map says what each place of the image adds to the class's output; it is exact for "
    "networks that end in average pooling and one linear layer. The box surrounds its largest connected part above the "
    "threshold. A picture of each image goes to --out, as NAME-cam.png; colours are explained by the bar beside it.",
    "export": "The file takes images as uint8 (B, height, width, channels) of the network's size, with any B, and "
    "gives what the task answers. Normalisation is inside; how images are resized, the classes and the thresholds are "
    "in the file's metadata. Where ONNX Runtime is installed the file is run at once and compared with the network: "
    "exit status 1 where it differs.",
    "runs": "--prune N keeps the newest N runs of each dataset and network, the one with the best dev score, and any "
    "that is running.",
    "resume": "The training goes on from its last checkpoint as if it had never stopped. Only these may change:",
}


def overview() -> str:
    return OVERVIEW.format(verbs="\n".join(f"  {name:<10} {verb.summary}" for name, verb in VERBS.items()))


def verb(name: str) -> str:
    """Raises UserError for an unknown one."""
    if name not in VERBS:
        raise UserError(unknown_verb(name))
    chosen = VERBS[name]
    parts = [
        f"hubel {name} {chosen.words}".rstrip() + f" [options]\n\n{chosen.summary[0].upper()}{chosen.summary[1:]}."
    ]
    if name in EXAMPLES:
        parts.append("\n".join(f"  {line}" for line in EXAMPLES[name]))
    if name in NOTES:
        parts.append(textwrap.fill(NOTES[name], WIDTH))
    if chosen.options == "all":
        parts += _recipe_options()
    elif chosen.options == "resume":
        parts.append("\n".join(_option(key) for key in RESUME_OPTIONS))
    elif chosen.options == "model":
        parts.append(_entry("--model.OPTION VALUE", "an argument of the network: --model.hidden 100,50"))
    parts.append(
        "\n".join(
            ["More:", *(_entry(f"--{key} {value}".rstrip(), text) for key, (value, text) in chosen.flags.items())]
        )
    )
    return "\n\n".join(parts)


def _recipe_options() -> list[str]:
    """One block per group of the Recipe, headed by the first line of its docstring."""
    single = [f.name for f in fields(Recipe) if f.name not in GROUPS]
    blocks = ["\n".join(["Training:", *map(_option, single)])]
    hints = get_type_hints(Recipe)
    for group in [name for name in GROUPS if not name.endswith("_options")]:
        title = (hints[group].__doc__ or group).partition(".")[0]
        keys = [f"{group}.{f.name}" for f in fields(hints[group])]
        blocks.append("\n".join([f"{title}:", *map(_option, keys)]))
    own = {"model": "the network: --model.hidden 100,50", "task": "the task: --task.smoothing 0.1"}
    open_groups = [_entry(f"--{group}.OPTION VALUE", f"an argument of {own[group]}") for group in OPEN_GROUPS]
    return [*blocks, "\n".join(["The network's and the task's own:", *open_groups])]


def _option(key: str) -> str:
    f, _ = fields_by_key()[key]
    text, choices = f.metadata["help"], f.metadata.get("choices", ())
    default = "" if f.default is None or f.default is False else f" [{str(f.default).lower()}]"
    words = f": {', '.join(choices)}" if choices else ""
    return _entry(f"--{key} {placeholder('train', key)}".rstrip(), f"{text}{words}{default}")


def _entry(left: str, text: str) -> str:
    """`left` in its column, the text beside it, or below where `left` is too long."""
    head = f"  {left}"
    lines = textwrap.wrap(text, WIDTH - COLUMN, break_long_words=False, break_on_hyphens=False)
    if len(head) > COLUMN - 2:
        return "\n".join([head, *(" " * COLUMN + line for line in lines)])
    return "\n".join([head.ljust(COLUMN) + lines[0], *(" " * COLUMN + line for line in lines[1:])])
