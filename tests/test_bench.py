"""The benchmarks' own arithmetic, their networks, and that each explains itself."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture(autouse=True)
def bench_modules(monkeypatch):
    """The scripts import each other by plain names, which other tests' helpers have too: apart from those."""
    names = {path.stem for path in BENCH.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in names & set(sys.modules)}
    monkeypatch.syspath_prepend(BENCH)
    yield
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(others)


def test_ratio_pairs_rounds():
    from common import ratio, spread

    found = ratio([10.0, 30.0, 20.0], [5.0, 10.0, 20.0])  # 2, 3, 1
    assert (found.median, found.low, found.high, found.n) == (2.0, 1.0, 3.0, 3)
    assert found.text(1) == "2.0 (1.0–3.0)"
    assert spread([1.0, 4.0]).median == 2.5
    # pair by pair: 1, 1, 1, though the medians' ratio would be the same only by chance
    assert ratio([1.0, 5.0, 9.0], [1.0, 5.0, 9.0]).text(2) == "1.00 (1.00–1.00)"


@pytest.mark.parametrize(("ours", "theirs"), [([1.0], [1.0, 2.0]), ([1.0], [0.0]), ([], [])])
def test_ratio_refuses_what_does_not_pair(ours, theirs):
    from common import ratio

    with pytest.raises(ValueError):
        ratio(ours, theirs)


def test_table_lines_up():
    from common import table

    assert table([["who", "n"], ["a", 100], ["bcd", 1]]) == "who    n\n--------\na    100\nbcd    1"


def test_rows_name_goals_and_what_was_not_measured():
    from train import rows_of

    rates = {"hubel": [100.0, 110.0], "limit": [102.0, 112.0], "default": [50.0, 50.0]}
    rows = {row[0]: row[2:] for row in rows_of({"images_per_second": rates, "missing": {"fastai": "No module"}})}
    assert rows["limit"] == ["0.98 (0.98–0.98)", "≥ 0.97", "met"]
    assert rows["default"] == ["2.10 (2.00–2.20)", "≥ 2.5", "missed"]
    assert rows["fastai"][0] == "No module"
    without = {row[0]: row[2:] for row in rows_of({"images_per_second": rates, "missing": {}}, None)}
    assert without["default"] == ["2.10 (2.00–2.20)", "", ""]  # no goal without native bf16


def test_networks_are_those_of_the_zoo():
    from networks import NETWORKS

    import hubel

    for name, size in (("lenet5", 61_706), ("small_cnn", None)):
        shape = (1, 28, 28)
        ours, theirs = hubel.create_model(name, input=shape), NETWORKS[name](input=shape)
        assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
        assert size is None or sum(p.numel() for p in theirs.parameters()) == size
        theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
        images = torch.randn(2, *shape)
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))
    assert sum(p.numel() for p in NETWORKS["resnet18"](classes=1000).parameters()) == 11_689_512


def test_windows_shift_and_mirror():
    """The limit's augmentation against an obvious loop."""
    import numpy as np
    from limit import Windows
    from work import Work

    random = np.random.default_rng(0)
    work = Work("small_cnn", random.integers(0, 256, (5, 8, 6, 3), dtype=np.uint8), np.zeros(5, np.int64), 2, 1)
    windows = Windows(work)
    assert work.shift == 2
    np.random.seed(0)
    rows = np.array([3, 0, 3, 4])
    got = windows.batch(rows)
    np.random.seed(0)
    mirrored = np.random.randint(0, 2, 4)
    (y, x), (mean, std) = np.random.randint(0, 5, (2, 4)), work.statistics()
    for b, row in enumerate(rows):
        image = work.images[row][:, ::-1] if mirrored[b] else work.images[row]
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")[y[b] : y[b] + 8, x[b] : x[b] + 6]
        wanted = torch.from_numpy((padded / 255 - mean) / std).permute(2, 0, 1).float()
        torch.testing.assert_close(got[b], wanted, rtol=1e-4, atol=1e-5)


RUN_ALL = """
import pathlib, runpy, sys
folder = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(folder))
for path in sorted(folder.glob("*.py")):
    try:
        runpy.run_path(str(path), run_name="looked at")
    except ModuleNotFoundError as fault:
        if fault.name not in ("keras",):
            raise
"""


def test_every_script_finds_what_it_imports():
    """Peers are imported where they take part, so that one that is missing only misses its row."""
    subprocess.run([sys.executable, "-c", RUN_ALL, BENCH], check=True)


def test_inference_rows_name_goals_and_what_was_not_measured():
    from inference import rows_of

    rates = {"torchvision": [10.0, 20.0], "openvino": [50.0, 90.0], "hubel": [25.0, 50.0]}
    rates["hubel+openvino"] = [45.0, 81.0]
    rows = {row[0]: row[2:] for row in rows_of("vgg16", {"images_per_second": rates, "missing": {"timm": "No module"}})}
    assert rows["vgg16: hubel"] == ["2.50 (2.50–2.50)", "goal 2.2: met"]
    assert rows["vgg16: hubel+openvino"] == ["4.28 (4.05–4.50)", "0.90 (0.90–0.90) of openvino, the best: missed"]
    assert rows["vgg16: timm"] == ["–", "No module"]
    again = {row[0]: row[3] for row in rows_of("resnet50", {"images_per_second": rates, "missing": {}})}
    assert again["resnet50: hubel"] == "goal 3: missed"


def test_masks_are_judged_by_counting(tmp_path):
    """Intersection over union of known pixels against an obvious loop, over two images together."""
    import numpy as np
    from PIL import Image
    from segmentation import judged, quality_rows, speed_rows

    draws = np.random.default_rng(0)
    truth, answers = draws.integers(0, 4, (2, 2, 9, 7), np.uint8)
    answers[answers == 3] = 2
    for folder in ("images", "masks"):
        (tmp_path / "val" / folder).mkdir(parents=True)
    for i, one in enumerate(truth):
        Image.fromarray(one).save(tmp_path / "val" / "masks" / f"{i}.png")
        Image.fromarray(one).save(tmp_path / "val" / "images" / f"{i}.png")
    (tmp_path / "data.yaml").write_text("names: {0: sky, 1: road, 2: car}\nignore: 3\n")
    kept = {"masks": answers, "masks_single": truth, "seconds": np.array(90), "parameters": np.array(5)}
    found = judged("smp", kept, tmp_path)
    known = truth != 3
    wanted = [
        (known & (truth == k) & (answers == k)).sum() / (known & ((truth == k) | (answers == k))).sum()
        for k in range(3)
    ]
    assert list(found["smp"]["iou"].values()) == pytest.approx(wanted)
    assert found["smp"]["miou"] == pytest.approx(sum(wanted) / 3) and found["smp_single"]["miou"] == 1
    seeds = {"smp": [found["smp"], found["smp_single"]], "smp_single": [found["smp_single"]]}
    rows = quality_rows({"trained": seeds, "missing": {"hubel": "why"}})
    assert rows[2][1:] == ["1.0000", "1", "1.5", "5", "1.00", "1.00", "1.00"]
    assert rows[3][:2] == ["hubel", "not measured"]
    mean, deviation = (1 + found["smp"]["miou"]) / 2, (1 - found["smp"]["miou"]) / 2**0.5
    assert rows[1][1:3] == [f"{mean:.4f} ± {deviation:.4f}", "2"] and {len(row) for row in rows} == {8}
    rates = {"hubel": [20.0, 30.0], "hubel_whole": [10.0, 15.0], "smp": [10.0, 10.0]}
    rows = speed_rows({"images_per_second": rates, "missing": {"smp_tuned": "why"}})
    assert rows[3] == ["smp", "10.0 (10.0–10.0)", "2.50 (2.00–3.00)", "1.25 (1.00–1.50)", "≥ 2", "met"]
    assert rows[1][2:] == rows[2][2:] == ["", "", "", ""] and {len(row) for row in rows} == {6}


@pytest.mark.parametrize("script", ["train.py", "kill.py", "inference.py"])
def test_help(script):
    found = subprocess.run([sys.executable, BENCH / script, "--help"], capture_output=True, text=True, check=True)
    assert "python bench/" in found.stdout
