"""`hubel info`: the figures of the notes come out of the command; the table of docs/info.md is what it says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import hubel
from hubel import catalogue, information, names
from hubel.cli import info as cli_info
from hubel.cli import layers as cli_layers
from hubel.cli import main
from hubel.errors import UserError
from hubel.report import network_page, volumes

DOCS = Path(__file__).parents[1] / "docs"
OWN = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, classes):
        layers = nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
        super().__init__(*layers)

class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.direct = nn.Conv2d(192, 32, 5, padding=2)
        self.narrow = nn.Sequential(nn.Conv2d(192, 16, 1), nn.Conv2d(16, 32, 5, padding=2))
    def forward(self, x):
        return torch.cat([self.direct(x), self.narrow(x)], 1)

def values(classes):
    torch.zeros(1).item()
    return nn.Sequential(nn.Flatten(), nn.Linear(int(torch.tensor(3 * 32 * 32).item()), classes))
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "net.py").write_text(OWN)
    return f"{tmp_path / 'net.py'}"


def document(capsys, *words):
    assert main(["info", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# Figures of the notes --------------------------------------------------------------------------------------------


def test_lenet5_layer_by_layer(capsys):
    found = document(capsys, "lenet5", "--input", "1x32x32")
    assert found["parameters"] == 61_706 and found["classes"] == 10
    assert [row["parameters"] for row in found["layers"] if row["parameters"]] == [156, 2_416, 48_120, 10_164, 850]
    assert [row["output"] for row in found["layers"] if row["type"] == "Conv2d"] == [[6, 28, 28], [16, 10, 10]]


@pytest.mark.parametrize("name, parameters, dense", [
    ("alexnet_paper", 60_965_224, 0.962), ("alexnet", 61_100_840, None), ("vgg16", 138_357_544, 0.89),
])  # fmt: skip
def test_most_parameters_are_dense(name, parameters, dense, capsys):
    found = document(capsys, name)
    assert (found["parameters"], found["classes"]) == (parameters, 1000)
    if dense is not None:
        assert found["kinds"]["dense"]["parameters"] / parameters == pytest.approx(dense, abs=0.005)
        convolutional = found["kinds"]["convolution"]["parameters"] / parameters
        assert convolutional == pytest.approx(1 - dense, abs=0.005)


def test_activations_of_vgg16(capsys):
    """15.24 M values: 61 MB in fp32; 115 MB with the ReLU outputs. The 96 MB of the notes' source are an error."""
    found = document(capsys, "vgg16")
    assert found["activation_bytes"] == 4 * 15_237_608
    assert found["peak_bytes"] == 4 * (2 * 64 * 224 * 224 + 3 * 224 * 224)  # the first two maps, and the image
    assert round(found["activation_bytes"] / 1e6) == 61 and round(found["output_bytes"] / 1e6) == 115
    pools = [row for row in found["layers"] if row["type"] == "MaxPool2d"]
    assert [row["output"][1] for row in pools] == [112, 56, 28, 14, 7]  # 2×2, stride 2
    assert all(row["receptive_field"]["jump"][0] == 224 / row["output"][1] for row in pools)


@pytest.mark.parametrize("name, plain, all_of_it", [("googlenet", 6_624_904, 13_004_888)])
def test_auxiliary_heads_serve_no_prediction(name, plain, all_of_it, capsys):
    found = document(capsys, name)
    assert (found["parameters"], found["parameters"] - found["idle_parameters"]) == (all_of_it, plain)
    idle = [row for row in found["layers"] if row["output"] is None]
    assert idle and sum(row["parameters"] for row in idle) == found["idle_parameters"]
    assert any(row["training_bytes"] for row in idle)  # they take part in training


def test_googlenet_of_the_paper(capsys):
    found = document(capsys, "googlenet_paper")
    assert found["parameters"] - found["idle_parameters"] == pytest.approx(6.9e6, rel=0.02)
    assert any(row["type"].endswith("ResponseNorm") for row in found["layers"])
    assert sum(row["type"] == "cat()" or row["type"] == "cat" for row in found["layers"]) == 9  # inception modules


EFFICIENTNETS = [(224, 5.3, 0.39), (240, 7.8, 0.69), (260, 9.2, 0.99), (300, 12, 1.83), (380, 19, 4.39),
                 (456, 30, 10.27), (528, 43, 19.07), (600, 66, 37.75)]  # fmt: skip


def test_efficientnets(capsys):
    """Pixels, parameters in M and multiply-adds in G of B0 to B7, as counted for the notes; docs/info.md is tested."""
    rows = {cells[0].strip("`"): cells for cells in figures()}
    for i, (side, millions, billions) in enumerate(EFFICIENTNETS):
        name = f"efficientnet_b{i}"
        parameters, multiplications = (int(cell.replace(",", "")) for cell in rows[name][1:3])
        assert parameters / 1e6 == pytest.approx(millions, rel=0.03)
        assert multiplications / 1e9 == pytest.approx(billions, abs=0.005)
        assert names.resolve(names.MODELS, name).size == side
    assert document(capsys, "efficientnet_b0")["receptive_field"]["whole"]


def test_inception_branch_of_a_network_of_ones_own(capsys, own):
    rows = {row["name"]: row for row in document(capsys, f"{own}:Inception", "--input", "192x28x28")["layers"]}
    assert rows["direct"]["multiplications"] == 120_422_400
    assert rows["narrow.0"]["multiplications"] + rows["narrow.1"]["multiplications"] == 12_443_648


# The command -----------------------------------------------------------------------------------------------------


def test_keys_of_the_document(capsys):
    found = document(capsys, "lenet5")
    for key in ("model", "input", "classes", "parameters", "multiplications", "activation_bytes", "layers"):
        assert key in found
    row = found["layers"][0]
    assert row["name"] == "fine.0" and row["type"] == "Conv2d" and row["output"] == [6, 28, 28]
    field = row["receptive_field"]
    assert (field["size"], field["jump"], field["start"]) == ([5, 5], [1, 1], [2.5, 2.5]) and not field["whole"]
    assert sum(one["share"] for one in found["layers"]) == pytest.approx(1)
    assert sum(one["parameters"] for one in found["layers"]) == found["parameters"]
    assert sum(one["activation_bytes"] for one in found["layers"]) + 4 * 3 * 32 * 32 == found["activation_bytes"]


@pytest.mark.parametrize(
    "words", [("resnet20",), ("googlenet",), ("resnet20", "lenet5"), ("lenet5", "--depth", "1"), ()]
)
def test_tables_fit_80_columns(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["info", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if not re.match(r"parameters|multiplications|activations", line)]
    assert max(map(len, table)) <= 80 and not any(line.rstrip().endswith("…") for line in table if words)
    assert len(lines) < 60 or not words


def test_blocks_are_summed_up_where_there_are_many_layers():
    layers = information.info("resnet56")["layers"]
    depth = cli_layers.fitting_depth(layers)
    found = list(cli_layers.rows(layers, depth))
    assert 10 < len(found) <= cli_layers.ROWS < len(list(cli_layers.rows(layers, 99)))
    assert sum(row["parameters"] for row in found) == 853_018
    assert sum(row["multiplications"] for row in found) == sum(row["multiplications"] for row in layers)


@pytest.mark.parametrize("number, words", [(0, "0"), (9_999, "9,999"), (61_706, "61.7k"), (1_234_567, "1.23M"),
                                           (138_357_544, "138.4M"), (15_470_264_320, "15.5G")])  # fmt: skip
def test_short_numbers(number, words):
    assert cli_layers.short(number) == words


def test_default_input_and_classes(capsys):
    assert document(capsys, "vgg11")["input"] == [3, 224, 224]
    assert document(capsys, "resnet20")["input"] == [3, 32, 32]
    assert document(capsys, "resnet20", "--classes", "7", "--input", "1x40x24")["layers"][-1]["output"] == [7]


def test_a_network_of_ones_own(capsys, own):
    found = document(capsys, f"{own}:Net", "--classes", "3")
    assert found["input"] == [1, 32, 32]  # the channels of its first convolution
    assert found["parameters"] == 40 + 15 and found["receptive_field"]["size"] == [3, 3]
    assert document(capsys, f"{own}:values")["parameters"] == 3072 * 10 + 10  # looks at values while it is built


def test_an_object_from_python():
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3 * 16, 5))
    found = hubel.info(network, input=(2, 6, 6))
    assert found["parameters"] == 57 + 245 and found["model"] == "Sequential"
    assert torch.equal(network[0].weight, network[0].weight)


@pytest.mark.parametrize("words, message", [
    (("lenet5", "--input", "8"), "8×8 pixels is too small for lenet5"),
    (("lenet5", "--depth", "0"), "'--depth' needs a whole number of at least 1"),
    (("lenet5", "mlp", "--image", "x.jpg"), "name one network"),
    (("lenet5", "mlp", "--model.hidden", "3"), "'--model.OPTION' is of one network"),
    (("lenet5", "--image", "nosuch.jpg"), "'nosuch.jpg' can't be read as an image"),
    (("runs/nosuch/1",), "There is no run folder runs/nosuch/1"),
    (("--classes", "3"), "'--classes' goes with a network"),
])  # fmt: skip
def test_mistakes_are_explained(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["info", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_network_that_fails_names_the_input(capsys, own):
    assert main(["info", f"{own}:Inception", "--input", "3x28x28"]) == 2
    err = capsys.readouterr().err
    assert "fails on an image of 3x28x28" in err and "--input CxHxW" in err


def test_a_run_and_a_comparison(capsys, tmp_path):
    options = {"epochs": 1, "out": tmp_path, "progress": "quiet", "layers": [("test", {"model.hidden": "5"})]}
    run = hubel.train("digits", model="mlp", **options)
    capsys.readouterr()
    found = document(capsys, str(run.path))
    assert found["parameters"] == 64 * 5 + 5 + 5 * 10 + 10 and found["input"] == [1, 8, 8]
    split = "test" if "test" in run.metrics else "dev"
    assert found["run"]["score"] == run.metrics[split]["accuracy"] and found["run"]["metric"] == "accuracy"
    page = tmp_path / "compared.html"
    several = document(capsys, str(run.path), "lenet5", "--page", str(page))
    assert [one["parameters"] for one in several["networks"]] == [385, 62_006] and several["page"] == str(page)
    text = page.read_text()
    assert "accuracy over multiplications" in text and "accuracy over parameters" in text
    assert main(["info", str(run.path), "--classes", "3"]) == 2
    assert "is a run: its network is what it is" in capsys.readouterr().err


# The list --------------------------------------------------------------------------------------------------------


def test_every_name_has_a_line_and_no_torch_is_imported(capsys):
    found = document(capsys)["families"]
    lines = {name: line for family in found.values() for name, line in family.items()}
    assert list(lines) and set(lines) == set(names.MODELS)
    assert all(line and len(line) < 200 for line in lines.values())
    assert all(found) and "LeNet-5" in found
    code = "import sys; from hubel.cli import main; main(['info']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_no_weights_are_made_and_no_compiler_is_imported():
    """The largest networks answer at once: see models/shapes.py."""
    code = (
        "import sys, torch; from hubel import information; before = set(sys.modules); "
        "assert information.info('vgg16')['parameters'] == 138_357_544; "
        "information.info('googlenet'), information.info('se_resnet18'), information.info('densenet40'); "
        "assert not {'sympy', 'torch._dynamo'} & (set(sys.modules) - before), 'a compiler was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_docstrings_of_a_module():
    family, lines = catalogue._docstrings("hubel.models.lenet")
    assert family == "LeNet-5" and lines["lenet5"] == "LeNet-5"


# The page --------------------------------------------------------------------------------------------------------


def test_the_page_with_a_photo(tmp_path, capsys):
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    page = tmp_path / "page.html"
    found = document(capsys, "lenet5", "--page", str(page), "--image", str(tmp_path / "photo.png"))
    text = page.read_text()
    assert (
        found["page"] == str(page) and "Receptive fields" in text and text.count("data:image/png") == 2
    )  # one per map
    assert "<script>" in text and "http" not in re.sub(r"http-equiv", "", text)
    assert len(re.findall(r"<tr><th scope=\"row\">", text)) == len(found["layers"])


def test_the_default_page_stands_here(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((30, 30), np.uint8)).save("photo.png")
    assert document(capsys, "lenet5", "--image", "photo.png")["page"] == str(tmp_path / "info-lenet5.html")


def test_a_field_is_drawn_where_it_is():
    """5 pixels around the cell at start + i · jump, at 10 pixels a pixel."""
    field = {"size": [5, 3], "jump": [2, 1], "start": [2.5, 1.5], "cells": [15, 34], "whole": False}
    svg = str(network_page.seen(field, np.zeros((36, 36, 3), np.uint8)))
    row, column = 2.5 + 7 * 2, 1.5 + 17  # the middle of 15 and of 34 cells
    box = (column - 1.5) * 10, (row - 2.5) * 10, (column + 1.5) * 10, (row + 2.5) * 10
    assert f'class="box seen" d="M{box[0]:g},{box[1]:g}H{box[2]:g}V{box[3]:g}H{box[0]:g}Z"' in svg
    assert svg.count("h0") == 15 * 34 + 1


def test_names_are_hostile_text(own, tmp_path):
    network = nn.Sequential()
    network.add_module("<script>x", nn.Conv2d(3, 1, 1))
    found = information.describe(network, input=(3, 4, 4))
    text = information.write_page([found], tmp_path / "page.html").read_text()
    assert "<script>x" not in text and "&lt;script&gt;x" in text


def test_volumes():
    found = volumes.blocks(information.info("vgg16"))
    assert [block.shape for block in found] == [
        (3, 224, 224), (64, 224, 224), (128, 112, 112), (256, 56, 56), (512, 28, 28), (512, 14, 14), (512, 7, 7),
        (4096,), (4096,), (1000,),
    ]  # fmt: skip
    assert [block.layers for block in found] == [0, 2, 2, 3, 3, 3, 0, 1, 1, 1]
    assert sum(block.parameters for block in found) == 138_357_544
    svg = str(volumes.drawing(information.info("vgg16")))
    assert svg.count("<g>") == len(found) and "224×224" in svg


# The docs --------------------------------------------------------------------------------------------------------


def figures():
    """(network, input, column, text) of the table in docs/info.md."""
    lines = [line for line in (DOCS / "info.md").read_text().splitlines() if line.startswith("| `")]
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and "…" not in cells[0]:
            yield cells


@pytest.mark.parametrize("cells", figures(), ids=lambda cells: cells[0])
def test_figures_of_the_docs(cells):
    command, parameters, multiplications, memory, field, _ = cells
    name, *options = command.strip("`").split()
    shape = cli_info.input_shape(options[options.index("--input") + 1]) if "--input" in options else None
    found = hubel.info(name, input=shape)
    assert f"{found['parameters'] - found['idle_parameters']:,}" == parameters
    assert f"{found['multiplications']:,}" == multiplications
    assert cli_layers.as_bytes(found["activation_bytes"]) == memory
    seen = found["receptive_field"]
    assert field == (cli_layers.axes(seen["size"]) + ("+" if seen["whole"] else ""))


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="did you mean 'lenet5'"):
        hubel.info("lenet6")
