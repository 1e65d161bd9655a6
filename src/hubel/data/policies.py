"""Named augmentations, and why each is what it is for a dataset: none, light, standard, strong, and two that choose.

Label-preserving by default, by the dataset's traits: "mirror" (does a mirrored image keep its label? colour photographs
do, characters do not), "upright" (False: satellite images, cells: any side may be up), "colour" (False: the colour
is the label) and "erase" (False: every pixel is an answer, so none is blanked).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from hubel.data.arrange import Collage
from hubel.data.augment import Augment
from hubel.data.chosen import Chosen
from hubel.data.geometric import Geometric
from hubel.data.mixing import Mixing
from hubel.data.photometric import Colour, Texture
from hubel.errors import UserError, close_to
from hubel.recipe import POLICIES

PARTS = {"geometric": Geometric, "colour": Colour, "texture": Texture, "mixing": Mixing, "collage": Collage}
SMALL = 64  # pixels: up to this side images are shifted, larger ones cropped


def policy(name: str, traits: Mapping[str, Any], size: tuple[int, int], channels: int) -> tuple[Augment, str]:
    """The augmentation called `name` for images of `size` (h, w), and why it is so."""
    if name not in POLICIES:
        raise UserError(f"augment is one of {', '.join(POLICIES)}; got '{name}'{close_to(name, POLICIES)}")
    if name == "none":
        return Augment(), "none was asked for"
    plain = "light" if name == "light" else "standard"
    augment, why = _moves(plain, traits, size, channels)
    if name == "strong":
        return _strong(augment, traits, size, channels), f"{why}; turned, tilted, other colours and sharpness"
    if name in ("randaugment", "trivialaugment"):
        return _choosing(name, augment, traits, channels), f"{why}; {_chosen_words(name)}"
    return augment, why


def _moves(name: str, traits: Mapping[str, Any], size: tuple[int, int], channels: int) -> tuple[Augment, str]:
    """Light and standard: crops or shifts, flips, cutout."""
    mirrored = bool(traits.get("mirror", channels == 3))
    flip = "random" if mirrored else "none"
    why = _mirror_words(mirrored, traits)
    side, border = min(size), "mirror" if channels == 3 else "zero"
    if side > SMALL:
        crop = (0.35, 1.0) if name == "standard" else (0.7, 1.0)
        return Augment(flip=flip, crop=crop), f"random crops of {crop[0]:.0%} to 100 % of the area; {why}"
    shift = max(1, round(side / (8 if name == "standard" and channels == 3 else 14)))
    cutout = side // 4 if name == "standard" and traits.get("erase", True) else 0
    erased = f", a square of {cutout} erased" if cutout else ""
    return (
        Augment(shift=shift, flip=flip, cutout=cutout, border=border),
        f"shifts up to {shift} of {side} pixels{erased}; {why}",
    )


def _mirror_words(mirrored: bool, traits: Mapping[str, Any]) -> str:
    if "mirror" in traits:
        return f"{'mirrored' if mirrored else 'never mirrored'}, as the dataset says of its labels"
    return "mirrored, as photographs may be" if mirrored else "not mirrored: grey images are often characters"


def _strong(augment: Augment, traits: Mapping[str, Any], size: tuple[int, int], channels: int) -> Augment:
    """Everything that keeps the label: small turns of what has an upright, any turn of what has none."""
    small, upright = min(size) <= SMALL, bool(traits.get("upright", True))
    coloured = channels == 3 and bool(traits.get("colour", True))
    turns = Geometric(
        rotate=15.0 if upright else 180.0, scale=0.15 if small else 0.0, shear=5.0, perspective=0.1,
        elastic=0.02 if augment.flip == "none" else 0.0,
    )  # fmt: skip
    extra = {"saturation": 0.3, "hue": 0.03, "cast": 0.1, "grey": 0.05} if coloured else {}
    return replace(
        augment,
        crop=None if small else (0.25, 1.0),
        cutout=min(size) // 4 if traits.get("erase", True) else 0,
        border="mirror" if channels == 3 else "zero",
        vertical=not upright,
        geometric=turns,
        colour=Colour(brightness=0.3, contrast=0.3, **extra),
        texture=Texture(blur=0.5 if small else 1.5, noise=0.03),
    )


def _choosing(name: str, augment: Augment, traits: Mapping[str, Any], channels: int) -> Augment:
    leave = () if channels == 3 and traits.get("colour", True) else ("saturation",)
    chosen = Chosen(2, 0.3, leave) if name == "randaugment" else Chosen(1, None, leave)
    return replace(augment, chosen=chosen, border="mirror" if channels == 3 else "zero")


def _chosen_words(name: str) -> str:
    words = "two operations of strength 0.3" if name == "randaugment" else "one operation of any strength"
    return f"{words} in {'RandAugment' if name == 'randaugment' else 'TrivialAugment'}'s style, without equalise"


# As single options -----------------------------------------------------------------------------------------------


def options_of(augment: Augment) -> dict[str, Any]:
    """Every option by the name that a recipe gives it; None where the augmentation does without."""
    found = {name: getattr(augment, name) for name in ("shift", "flip", "cutout", "border")}
    found["crop"] = augment.crop[0] if augment.crop else 0.0
    found["vertical"] = augment.vertical or None
    for part, kind in PARTS.items():
        plain = asdict(kind())
        found |= {n: v if v != plain[n] else None for n, v in asdict(getattr(augment, part)).items()}
    if augment.chosen is not None:
        found |= {"operations": augment.chosen.count, "magnitude": augment.chosen.magnitude or 0.0}
    return found


def from_options(options: Mapping[str, Any], traits: Mapping[str, Any], channels: int) -> Augment:
    """The augmentation that a recipe's options say; those that are None change nothing. Raises UserError."""
    given = {name: value for name, value in options.items() if value is not None}
    parts = {part: kind(**{n: given[n] for n in asdict(kind()) if n in given}) for part, kind in PARTS.items()}
    leave = () if channels == 3 and traits.get("colour", True) else ("saturation",)
    count, magnitude = given.get("operations", 0), given.get("magnitude", 0.3)
    return Augment(
        shift=given.get("shift", 0),
        flip=given.get("flip", "none"),
        cutout=given.get("cutout", 0),
        crop=(given["crop"], 1.0) if given.get("crop") else None,
        border=given.get("border", "mirror"),
        vertical=given.get("vertical", False),
        chosen=Chosen(count, magnitude or None, leave) if count else None,
        **parts,
    )
