"""A page that can be handed on: paths, file names and machine names left out; pictures, classes and figures stay.

Free text is judged as a whole: a note that seems to name a file goes entirely, since half a path still tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hubel.report.values import Example, ReportData

LEFT_OUT = "(left out)"
_HOST_KEYS = re.compile(r"host|user|node|cwd|path|folder|directory|command|argv|executable|remote|url", re.I)
_PATH = re.compile(
    r"""(^|[\s"'(\[=:,])(~|\.{1,2}|[A-Za-z]:)?[\\/]+[^\s\\/]   # /data, ~/x, ./x, C:\\x, \\\\server
      | [\w.-]+[\\/][^\s\\/]+[\\/]                              # a/b/…
      | \w[\\/]\S*\.\w{1,6}\b                                   # a/b.jpg
      | \.(png|jpe?g|gif|bmp|tiff?|webp|heic|avif|p[gp]m|dcm|np[yz]|csv|tsv|json|toml|ya?ml|py|txt|html
          |safetensors|gz|xz|zip|tar|mat|h5|parquet)\b          # anything.jpg
    """,
    re.I | re.X,
)


def without_names(data: ReportData) -> ReportData:
    """A copy of `data` without paths, file names, host and user names."""
    scrub = _scrubber(data)
    name = re.split(r"[\\/]", data.dataset.name.rstrip("\\/"))[-1]
    model = re.split(r"[\\/]|\.py:", data.model.name)[-1]
    dataset = replace(data.dataset, name=name, source="", notes=[scrub(note) for note in data.dataset.notes])
    title = data.title if scrub(data.title) == data.title else f"{name} · {model}"
    rows = [replace(r, value=_plain(r.value, scrub), reason=scrub(r.reason)) for r in data.configuration]
    return replace(
        data,
        title=title,
        dataset=dataset,
        model=replace(data.model, name=model),
        mistakes=_unnamed(data.mistakes),
        samples=_unnamed(data.samples),
        galleries=[replace(one, examples=_unnamed(one.examples) or ()) for one in data.galleries],
        quarantine=[replace(q, name=f"file {i}", reason=scrub(q.reason)) for i, q in enumerate(data.quarantine, 1)],
        configuration=rows,
        manifest=_plain_mapping(data.manifest, scrub),
        warnings=[scrub(text) for text in data.warnings],
    )


def _scrubber(data: ReportData) -> Callable[[str], str]:
    """Text -> itself, or LEFT_OUT where it holds a path, something like a file, or a name that we know."""
    examples = [*(data.mistakes or ()), *(data.samples or ())]
    names = {e.name for e in examples} | {q.name for q in data.quarantine} | {data.dataset.source}
    known = {part for name in names for part in (name, *re.split(r"[\\/]", name)[-1:])}
    known = {part for part in known if len(part) >= 4 and part != data.dataset.name}

    def scrub(text: str) -> str:
        return LEFT_OUT if _PATH.search(text) or any(part in text for part in known) else text

    return scrub


def _unnamed(examples: Sequence[Example] | None) -> list[Example] | None:
    return None if examples is None else [replace(example, name="") for example in examples]


def _plain(value: Any, scrub: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return _plain_mapping(value, scrub)
    if isinstance(value, list | tuple):
        return [_plain(item, scrub) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return LEFT_OUT if re.search(r"[\\/]", text) else scrub(text)


def _plain_mapping(values: Mapping[str, Any], scrub: Callable[[str], str]) -> dict[str, Any]:
    return {key: _plain(item, scrub) for key, item in values.items() if not _HOST_KEYS.search(key)}
