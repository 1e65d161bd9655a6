"""What the pages say is true: their Python runs, their commands are understood, their links and names lead somewhere.

The Python blocks of a page share one namespace, as in a session; they run in an empty folder that holds `photos/`.
"""

import ast
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_runs import save_folder, save_npz

from hubel import api
from hubel.cli.commands import VERBS
from hubel.cli.options import Command, parse
from hubel.errors import UserError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
INLINE = re.compile(r"`(hubel [^`]+)`")
LINK = re.compile(r"\]\(([^)#\s]*)#?([^)\s]*)\)")
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the line where its content starts."""

    page: Path
    language: str
    line: int
    text: str


def blocks(page: Path, language: str) -> list[Block]:
    found, lines = [], page.read_text().splitlines()
    start = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
        else:
            found.append(Block(page, lines[start][3:].strip(), start + 1, "\n".join(lines[start + 1 : number]) + "\n"))
            start = None
    assert start is None, f"{page}: a block that starts in line {start} has no end"
    return [block for block in found if block.language == language]


def commands(page: Path) -> list[str]:
    """Every command line of hubel on a page, in blocks and in running text; those with "…" are no whole commands."""
    lines = [line for block in blocks(page, "bash") for line in block.text.replace("\\\n", " ").splitlines()]
    lines = [line.partition("-m ")[2] if line.startswith(("torchrun ", "python ")) else line for line in lines]
    lines = [line.split("&& ")[-1] for line in lines]
    lines += INLINE.findall(page.read_text())
    return [line.partition(" #")[0].strip() for line in lines if line.startswith("hubel ") and "…" not in line]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder: empty, but for what the pages take for granted."""
    save_folder(tmp_path / "photos", side=32, channels=3)
    save_folder(tmp_path / "phone_photos", side=32, channels=3, seed=1)
    save_npz(tmp_path / "flowers.npz", side=16, channels=3)
    (tmp_path / "data-photos").mkdir()
    (tmp_path / "data-photos" / "quarantine.csv").write_text("image\na/000.png\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [n for n, page in zip(NAMES, PAGES, strict=True) if blocks(page, "python")])
def test_the_python_blocks_run(name, place):
    namespace = {"__name__": "__main__"}
    for block in blocks(ROOT / name, "python"):
        text = "\n" * block.line + block.text  # tracebacks name the page's own lines
        exec(compile(text, str(block.page), "exec"), namespace)


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_are_understood(name, place):
    for line in commands(ROOT / name):
        words = shlex.split(line)[1:]
        if len(words) == 1 and f"`{line}`" in (ROOT / name).read_text():
            assert words[0] in VERBS or words[0] == "--help", line  # running text names a command
        elif words[0] != "COMMAND":
            understood(parse(words), line)


def understood(command: Command, line: str) -> None:
    """The options fit together, too; only the data is another."""
    if command.verb not in ("train", "config"):
        return
    source = next(iter(command.words), "digits")
    known = source.partition(":")[0] in ("digits", "shapes")
    if source.startswith("shapes"):  # a thousand scenes take their time to be drawn
        options = [word for word in source.partition(":")[2].split(",") if word and not word.startswith("count=")]
        source = f"shapes:{','.join([*options, 'count=60'])}"
    source = source if known or Path(source).exists() else "photos"
    given = {key: command.flags[key] for key in ("recipe",) if key in command.flags}
    try:
        api.settle_for(source, layers=[("command line", dict(command.options))], **given)
    except UserError as fault:
        raise AssertionError(f"{line}: {fault}") from fault


@pytest.mark.parametrize("name", [n for n, page in zip(NAMES, PAGES, strict=True) if blocks(page, "toml")])
def test_the_configuration_files_are_understood(name, place):
    for block in blocks(ROOT / name, "toml"):
        (place / "options.toml").write_text(block.text)
        assert any(s.source == "config file" for s in api.settle_for("digits", config="options.toml").values())


@pytest.mark.parametrize("name", [*NAMES, "CONTRIBUTING.md", "bench/README.md"])
def test_links_lead_somewhere(name):
    page = ROOT / name
    for target, part in LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name} links to {target}"
            assert not part or part in headings(page.parent / target if target else page), f"{name}: {target}#{part}"


def headings(page: Path) -> set[str]:
    """The marks that links to the headings of a page end in."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


def test_the_walk_of_an_image_names_what_is_there():
    """Column "where" of the table: `module.function`, `Class.method`, or a name after one of these."""
    known = set()
    for path in (ROOT / "src").rglob("*.py"):
        module = path.parent.name if path.stem == "__init__" else path.stem
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                known |= {node.name, f"{module}.{node.name}"}
            if isinstance(node, ast.ClassDef):
                known |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    walk = (ROOT / "docs" / "architecture.md").read_text().partition("## The walk")[2].partition("\n## ")[0]
    cells = [line.split("|")[2] for line in walk.splitlines() if re.match(r"\| \d", line)]
    words = [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]
    names = [word.partition("(")[0].rpartition("/")[2] for word in words]
    missing = [name for name in names if ".".join(name.split(".")[-2:]) not in known | {"head"}]
    assert len(cells) == 15 and len(names) > 40 and not missing


def test_there_is_something_to_test():
    assert sum(len(blocks(page, "python")) for page in PAGES) >= 25
    assert sum(len(commands(page)) for page in PAGES) >= 30
    page = (ROOT / "docs" / "command_line.md").read_text()
    assert all(re.search(rf"`(hubel )?{verb}[ `]", page) for verb in VERBS), "command_line.md has every command"
