"""From the words of a command line to a Command. Options are the Recipe's fields, flags belong to a verb. No torch.

    hubel train digits --epochs 20 --optimizer.lr=0.1 --optimizer adam --model.hidden 100,50 --refit
    Command("train", ("digits",), {}, {"epochs": "20", "optimizer.lr": "0.1", "optimizer.name": "adam", …})

Words stay words here: the Recipe converts its own, and a network's or task's are read by its signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from hubel.cli.commands import RESUME_OPTIONS, VERBS
from hubel.errors import UserError, did_you_mean
from hubel.names import Switch
from hubel.options import convert, fields_by_key
from hubel.recipe import GROUPS, OPEN_GROUPS

SHORT = {"optimizer": "optimizer.name", "schedule": "schedule.name", "augment": "augment.policy",
         "transfer": "transfer.name"}  # fmt: skip
BOOLEAN_WORDS = ("true", "false", "yes", "no", "auto")


@dataclass(frozen=True)
class Command:
    """A command line, understood: `options` are flat Recipe options as words."""

    verb: str
    words: tuple[str, ...]
    flags: Mapping[str, str]
    options: Mapping[str, str]

    def has(self, flag: str) -> bool:
        return flag in self.flags

    @property
    def progress(self) -> str | None:
        """How much is told on the way; None: as much as usual."""
        return "quiet" if self.has("quiet") else None

    def whole(self, name: str, default: int | None = None, least: int = 0) -> int | None:
        """A flag that is a whole number; UserError where it is none, or below `least`."""
        word = self.flags.get(name)
        if word is not None and (not word.isdecimal() or int(word) < least):
            raise UserError(f"'--{name}' needs a whole number{f' of at least {least}' if least else ''}, got '{word}'.")
        return default if word is None else int(word)

    def number(self, name: str, default: float) -> float:
        """A flag that is a number."""
        word = self.flags.get(name)
        try:
            return default if word is None else float(word)
        except ValueError:
            raise UserError(f"'--{name}' needs a number, got '{word}'.") from None

    def numbers(self, name: str, default: Sequence[float]) -> Sequence[float]:
        """A flag that is a list of numbers."""
        try:
            return [float(word) for word in self.flags[name].split(",")] if name in self.flags else default
        except ValueError:
            raise UserError(f"'--{name}' needs numbers with commas between them, got '{self.flags[name]}'.") from None


def parse(arguments: Sequence[str]) -> Command:
    """Raises UserError for an unknown verb, flag or option, a missing value, or too few or too many words."""
    name, rest = arguments[0], list(arguments[1:])
    if name not in VERBS:
        raise UserError(unknown_verb(name))
    words: list[str] = []
    flags: dict[str, str] = {}
    options: dict[str, str] = {}
    while rest:
        word = rest.pop(0)
        if word == "--":
            words, rest = words + rest, []
        elif word == "-h":
            flags["help"] = ""
        elif word.startswith("-") and len(word) > 1:
            key, kind = _key(name, word.partition("=")[0])
            (flags if kind == "flag" else options)[key] = _value(name, key, kind, word, rest)
        else:
            words.append(word)
    if "help" not in flags:
        _check_words(name, words)
    return Command(name, tuple(words), flags, options)


def unknown_verb(name: str) -> str:
    from pathlib import Path

    from hubel.names import DATA

    if name.startswith("-"):
        return f"The command comes first, then its options: hubel train {name} …; `hubel --help` lists the commands"
    if name in DATA or Path(name).exists():
        return f"There is no command '{name}'; did you mean 'hubel train {name}'?"
    return f"There is no command '{name}'{did_you_mean(name, VERBS)}"


def allowed(verb: str) -> list[str]:
    """The fixed options of the Recipe that a verb takes."""
    return {"all": list(fields_by_key()), "resume": list(RESUME_OPTIONS)}.get(VERBS[verb].options, [])


def _key(verb: str, written: str) -> tuple[str, str]:
    """("epochs", "option") or ("json", "flag"); underscores and hyphens are the same."""
    key = written.removeprefix("--").replace("-", "_")
    chosen = VERBS[verb]
    if written.startswith("--") and key in chosen.flags:
        return key, "flag"
    if written.startswith("--") and SHORT.get(key, key) in allowed(verb):
        return SHORT.get(key, key), "option"
    group, _, name = key.partition(".")
    if written.startswith("--") and name and group in OPEN_GROUPS and chosen.options in ("all", group):
        return key, "option"
    raise UserError(_unknown(verb, written, key))


def _unknown(verb: str, written: str, key: str) -> str:
    """The message for an option that `verb` lacks, with the closest one that it has."""
    options = allowed(verb)
    taken = [*VERBS[verb].flags, *options, *(word for word, option in SHORT.items() if option in options)]
    if key in GROUPS and verb != "resume" and allowed(verb):
        inside = [f"--{option}" for option in taken if option.startswith(f"{key}.")]
        return f"'{written}' is a group of options: {', '.join(inside)}"
    if key in fields_by_key() or (key.partition(".")[0] in OPEN_GROUPS and "." in key):
        if verb == "resume":
            return (
                f"'{written}' can't change in mid-training: the run would no longer be one experiment. A resume takes "
                f"{_list(RESUME_OPTIONS)}. For the rest start anew from its weights: hubel train ... --from RUN"
            )
        return f"`hubel {verb}` takes no option of training such as '{written}'; it takes {_list(taken)}"
    leaves = {option.rpartition(".")[2]: option for option in reversed(taken)}
    hint = did_you_mean(key, taken) if _close(key, taken) else ""
    if not hint and _close(key, leaves):
        hint = f"; did you mean '{leaves[_close(key, leaves)]}'?"
    hint = hint.replace("mean '", "mean '--")
    return f"`hubel {verb}` has no option '{written}'{hint or f'; `hubel {verb} --help` lists them'}"


def _close(word: str, known: Any) -> str:
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"--{name}" for name in names)


def _value(verb: str, key: str, kind: str, word: str, rest: list[str]) -> str:
    """The value of an option: after "=", or the next word; switches need none."""
    _, given, value = word.partition("=")
    switch = kind == "flag" and not VERBS[verb].flags[key][0]
    if switch and given:
        raise UserError(f"'--{key}' takes no value, got '{value}'.")
    if not given and not switch:
        if kind == "option" and is_boolean(key):
            value = rest.pop(0) if rest and rest[0].lower() in BOOLEAN_WORDS else "true"
        elif kind == "option" and key not in fields_by_key() and (not rest or rest[0].startswith("--")):
            return Switch("true")  # of a network or task: it knows whether it needs a value
        elif not rest or rest[0].startswith("--"):
            raise UserError(f"'{word}' needs a value: {word} {placeholder(verb, key)}")
        else:
            value = rest.pop(0)
    if kind == "option":
        _check(key, value)
    return value


def _check(key: str, value: str) -> None:
    """Mistakes that can be seen without data, before anything heavy is imported."""
    from hubel import names

    tables = {"model": names.MODELS, "task": names.TASKS, "log": names.LOGGERS}
    if key in fields_by_key():
        convert(key, value)
    if key in tables and value != "auto":
        names.check(tables[key], value)


@cache
def is_boolean(key: str) -> bool:
    known = fields_by_key()
    return key in known and bool in (known[key][1], *get_args(known[key][1]))


def placeholder(verb: str, key: str) -> str:
    """What stands for the value in a help text: N, X, WORD; "" for a switch."""
    if key in VERBS[verb].flags:
        return VERBS[verb].flags[key][0]
    if key not in fields_by_key():
        return "VALUE"
    f, hint = fields_by_key()[key]
    kinds = {hint, *get_args(hint)}
    for kind, word in ((str, "WORD"), (int, "N"), (float, "X")):
        if kind in kinds:
            return word
    return "" if f.default is False else "BOOL"


def _check_words(verb: str, words: Sequence[str]) -> None:
    chosen = VERBS[verb]
    if len(words) < chosen.least:
        got = f"; got only {' '.join(map(repr, words))}" if words else ""
        raise UserError(f"Expected: hubel {verb} {chosen.words}{got}. `hubel {verb} --help` shows examples.")
    if chosen.most is not None and len(words) > chosen.most:
        extra = words[chosen.most]
        wanted = f"hubel {verb} {chosen.words}".rstrip()
        raise UserError(f"'{extra}' is one word too many. Expected: {wanted} [--option VALUE ...]")
