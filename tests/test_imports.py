"""Imports point upwards in the list of docs/architecture.md, and what must be quick imports nothing heavy."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "hubel"
HEAVY = {"torch", "numpy", "rich", "cv2", "PIL", "sklearn", "safetensors", "jinja2"}
LIGHT = ("__init__", "__main__", "waiting", "errors", "recipe", "options", "names", "cli/__init__",
         "cli/commands", "cli/help",
         "cli/options", "cli/runs", "cli/layout", "cli/scores", "cli/answers", "cli/layers", "cli/training",
         "cli/evaluate", "cli/predict", "cli/data", "cli/info", "cli/folders", "cli/machine", "doctor",
         "training/atomic", "training/history", "training/machine", "training/manifest", "training/progress",
         "training/run", "training/places")  # fmt: skip


def layers(text: str) -> dict[str, int]:
    """{"errors": 0, "recipe": 1, …}: the first code block of the page; names on one line share a number."""
    block = text.split("```")[1].strip().splitlines()
    found = {}
    for number, line in enumerate(block):
        left = line[: len(line) - len(line.lstrip())] + line.strip()
        for word in left.split():
            if not word.endswith(("/", ".py")):
                break
            found[word.removesuffix("/").removesuffix(".py")] = number
    return found


def module_of(path: Path) -> str:
    """The name in the list that a file belongs to."""
    inside = path.relative_to(SOURCE)
    return inside.parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> list[tuple[str, int]]:
    """Names under hubel that a file imports, anywhere in it, with lines; imports for type checkers don't count."""
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide the direction"
            module = node.module or ""
            names = [f"hubel.{alias.name}" for alias in node.names] if module == "hubel" else [module]
            found += [(name, node.lineno) for name in names]
    return found


def offences(order: dict[str, int], module: str, tree: ast.AST) -> list[str]:
    """Imports of `module` that point down the list, or sideways to another name."""
    wrong = []
    for name, line in imported(tree):
        parts = name.split(".")
        if parts[0] != "hubel" or len(parts) < 2 or parts[1] == module:
            continue
        if parts[1] not in order or order[parts[1]] >= order[module]:
            wrong.append(f"line {line}: {module} imports {name}")
    return wrong


ORDER = layers((ROOT / "docs" / "architecture.md").read_text())
FILES = sorted(path for path in SOURCE.rglob("*.py") if module_of(path) not in ("__init__", "__main__"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_upwards(path):
    module = module_of(path)
    assert module in ORDER, f"docs/architecture.md does not say where {module} stands"
    assert not offences(ORDER, module, ast.parse(path.read_text()))


def test_a_wrong_direction_is_found():
    order = {"ops": 0, "data": 1, "nn": 2, "tune": 3, "explain": 3}
    for module, source in (
        ("ops", "from hubel.data.dataset import Dataset"),
        ("data", "def f():\n    import hubel.nn.init"),
        ("tune", "from hubel import explain"),
        ("nn", "from hubel.unknown import x"),
    ):
        assert offences(order, module, ast.parse(source)), source
    for module, source in (
        ("nn", "from hubel.data.dataset import Dataset\nfrom hubel.nn import init\nimport torch"),
        ("ops", "if TYPE_CHECKING:\n    from hubel.data.dataset import Dataset"),
    ):
        assert not offences(order, module, ast.parse(source)), source


@pytest.mark.parametrize("name", LIGHT)
def test_nothing_heavy_at_the_top_of_a_light_module(name):
    tree = ast.parse((SOURCE / f"{name}.py").read_text())
    top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = [name for node in top for name, _ in imported(ast.Module([node], []))]
    assert not {name.split(".")[0] for name in names} & HEAVY


@pytest.mark.parametrize(
    "code",
    [
        "import hubel; hubel.__version__; hubel.UserError; hubel.Recipe",
        "import hubel.names, hubel.recipe, hubel.errors",
        "from hubel.cli import main; assert main(['--help']) == 0",
        "from hubel.cli import main; assert main(['train', '--help']) == 0",
        "from hubel.cli import main; assert main(['version']) == 0",
        "from hubel.cli import main; assert main(['train', '--epoch', '3']) == 2",
    ],
)
def test_nothing_heavy_is_imported(code):
    check = f"import sys; {code}; print(sorted(set(sys.modules) & {HEAVY}), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_listing_runs_needs_no_torch(tmp_path):
    code = (
        f"import sys; from hubel.cli import main; main(['runs', '--out', {str(tmp_path)!r}])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def loaded_by(path: Path, modules: set[str]) -> set[str]:
    """The modules of ours that loading `path` loads: imports outside of functions, and the packages on their way."""
    found: set[str] = set()
    nodes: list[ast.AST] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            nodes += ast.iter_child_nodes(node)
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            found |= {".".join(parts[:k]) for k in range(2, len(parts) + 1)} & modules
    return found


def test_no_module_waits_for_itself():
    """Whichever module a program imports first, it loads: no two need each other."""
    files = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {name: loaded_by(path, set(files)) - {name} for name, path in files.items()}
    for name, path in files.items():  # a package is half loaded while its own modules are
        if path.name == "__init__.py":
            graph = {k: v - {name} if k.startswith(f"{name}.") else v for k, v in graph.items()}
    graphlib.TopologicalSorter(graph).prepare()
