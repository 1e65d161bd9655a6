"""Names that users type: every one leads somewhere, and a wrong one is told how to be mended."""

import sys

import pytest

from hubel import names
from hubel.errors import UserError

TABLES = {"models": names.MODELS, "data": names.DATA, "tasks": names.TASKS, "recipes": names.RECIPES}


@pytest.mark.parametrize(("table", "word"), [(table, word) for table in TABLES for word in TABLES[table]])
def test_every_name_leads_somewhere(table, word):
    found = names.resolve(TABLES[table], word)
    if table == "models":
        assert {"classes", "input"} <= names.parameters(found).keys()
    elif table == "recipes":
        assert isinstance(found.OPTIONS, dict)
    else:
        assert callable(found)


@pytest.mark.parametrize(
    ("table", "word", "message"),
    [
        ("models", "resnt20", "There is no network 'resnt20' .*did you mean 'resnet20'"),
        ("models", "zzz", "file.py:Class.*known: .*lenet5"),
        ("data", "digit", "There is no dataset 'digit'; did you mean 'digits'"),
        ("tasks", "classify", "There is no task 'classify'.*did you mean 'classification'"),
        ("recipes", "digit", "There is no recipe 'digit'; did you mean 'digits'"),
    ],
)
def test_an_unknown_name(table, word, message):
    for ask in (names.check, names.resolve):
        with pytest.raises(UserError, match=message):
            ask(TABLES[table], word)


def test_a_check_imports_nothing(monkeypatch):
    monkeypatch.setattr(names.importlib, "import_module", lambda name: pytest.fail("imported"))
    names.check(names.MODELS, "lenet5")


OWN = """
from __future__ import annotations
from dataclasses import dataclass
from neighbour import WIDTH

@dataclass(frozen=True)
class Net:
    width: int = WIDTH
"""


def test_an_own_class_from_a_file_beside_its_neighbours(tmp_path):
    (tmp_path / "my net.py").write_text(OWN)
    (tmp_path / "neighbour.py").write_text("WIDTH = 7")
    before = list(sys.path)
    assert names.resolve(names.MODELS, f"{tmp_path}/my net.py:Net")().width == 7
    assert sys.path == before


@pytest.mark.parametrize(
    ("source", "word", "message"),
    [
        (OWN.replace("from neighbour import WIDTH", "WIDTH = 1"), "Nett", "has no 'Nett'; did you mean 'Net'"),
        ("x = 1", "Net", "has no 'Net'; it defines no class"),
        ("x = 1\ny = x / 0", "Net", r"can't be imported: ZeroDivisionError: division by zero \(line 2\)"),
        ("def f(:", "Net", "can't be imported: SyntaxError"),
        ("import sys; sys.exit(3)", "Net", "can't be imported: SystemExit"),
        ("import nosuchmodule", "Net", "can't be imported: ModuleNotFoundError.*nosuchmodule"),
    ],
)
def test_a_file_that_lacks_what_is_asked(tmp_path, source, word, message):
    (tmp_path / "own.py").write_text(source)
    with pytest.raises(UserError, match=message):
        names.resolve(names.TASKS, f"{tmp_path}/own.py:{word}")


def test_a_broken_file_leaves_nothing_behind(tmp_path):
    (tmp_path / "own.py").write_text("x = 1 / 0")
    before = set(sys.modules), list(sys.path)
    with pytest.raises(UserError):
        names.from_file(f"{tmp_path}/own.py:Net")
    assert (set(sys.modules), sys.path) == before


def test_a_missing_file_and_a_kind_without_files(tmp_path):
    with pytest.raises(UserError, match=r"There is no file .*nofile\.py; expected file\.py:Class"):
        names.resolve(names.MODELS, f"{tmp_path}/nofile.py:Net")
    with pytest.raises(UserError, match="There is no dataset"):
        names.resolve(names.DATA, f"{tmp_path}/nofile.py:Net")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("3", 3), ("-2", -2), ("0.5", 0.5), ("1e-3", 1e-3), ("true", True), ("False", False), ("none", None),
        ("100,50", (100, 50)), ("(100, 50)", (100, 50)), ("100,", (100,)), ("relu", "relu"),
        ("relu,tanh", ("relu", "tanh")),
        ("__import__('os')", "__import__('os')"), ("[1]", "[1]"),
    ],
)  # fmt: skip
def test_a_word_as_a_value(word, value):
    found = names.literal(word)
    assert found == value and type(found) is type(value)


def function(*, hidden=(1,), rate=0.1, layers=3, name="x", bias=True, free=None, classes=2):
    return hidden, rate, layers, name, bias, free


@pytest.mark.parametrize(
    ("key", "word", "value"),
    [
        ("hidden", "100", (100,)), ("hidden", "100,50", (100, 50)), ("hidden", [4, 5], (4, 5)), ("rate", "0.5", 0.5),
        ("rate", "0.5,0.1", (0.5, 0.1)), ("layers", "4", 4), ("name", "5", "5"), ("bias", "false", False),
        ("bias", "1", True), ("free", "7", 7),
        ("free", "word", "word"),
    ],
)  # fmt: skip
def test_options_by_signature(key, word, value):
    assert names.options_of(function, {key: word}, "network 'f'") == {key: value}


def test_a_word_for_each_layer():
    """--model.norm batch,none: where an argument takes one word or several."""
    found = names.options_of(names.resolve(names.MODELS, "mlp"), {"norm": "batch,none", "dropout": "0.1,0.5"}, "mlp")
    assert found == {"norm": ("batch", "none"), "dropout": (0.1, 0.5)}
    assert names.options_of(lambda *, plain="a": None, {"plain": "a,b"}, "f") == {"plain": "a,b"}


def test_options_that_the_function_lacks():
    with pytest.raises(UserError, match="The network 'f' has no option 'hiden'; did you mean 'hidden'"):
        names.options_of(function, {"hiden": 1}, "network 'f'")
    with pytest.raises(UserError, match="no option 'classes'"):
        names.options_of(function, {"classes": 1}, "network 'f'", hidden=("classes",))
    with pytest.raises(UserError, match="option 'layers' needs a number, got 'many'"):
        names.options_of(function, {"layers": "many"}, "network 'f'")
    with pytest.raises(UserError, match="has no option 'a', it takes none"):
        names.options_of(lambda: None, {"a": 1}, "network 'f'")
    with pytest.raises(UserError, match="option 'bias' needs true or false, got 'maybe'"):
        names.options_of(function, {"bias": "maybe"}, "network 'f'")
