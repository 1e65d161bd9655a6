"""The page on several trainings: its figures are those of the children, one by one."""

import json
import re
import statistics

import numpy as np
import pytest
from small_runs import PLAIN, Quiet, save_npz

import hubel
from hubel.cli.training import _reports
from hubel.report import several_page
from hubel.report.several_page import Child, Several
from hubel.report.text import percent


def several(scores, kind="folds", n=10, **options):
    children = [
        Child(i, f"{kind}/{i}/report.html", {"dev": {"loss": 1.0, "accuracy": s}, "test": {"accuracy": 0.5}}, 3, 2.0, n)
        for i, s in enumerate(scores, start=1)
    ]
    return Several(kind, "mlp on <i>digits</i>", "<i>digits</i>", "mlp", "accuracy", children, **options)


def test_mean_deviation_and_range_in_one_sentence():
    scores = [0.9, 0.8, 0.95]
    found = several_page.verdict(several(scores))
    percents = [float(word) for word in re.findall(r"([\d.]+)\s%", found)]
    wanted = [statistics.fmean(scores), statistics.stdev(scores), min(scores), max(scores)]
    assert percents == pytest.approx([100 * value for value in wanted], abs=0.051), found
    assert found.startswith("3 folds: dev accuracy")
    assert several_page.verdict(several(scores, "restarts", kept=3)).endswith("Restart 3 is kept.")


def test_leaving_one_out_is_told_as_such():
    found = several_page.verdict(several([1.0, 0.0, 1.0, 1.0], n=1))
    assert "Each of 4 images was left out once" in found and "75.0" in found and "deviation" not in found


def test_the_page_names_every_training_and_escapes():
    page = several_page.render(several([0.9, 0.8, 0.95], "restarts", kept=2, page="report.html"))
    assert [f'href="restarts/{i}/report.html"' in page for i in (1, 2, 3)] == [True] * 3
    assert page.count('class="tag">kept') == 1 and 'href="report.html"' in page
    assert "<i>digits" not in page and "&lt;i&gt;digits" in page
    assert page.count("h0") == 3, "a dot for each"
    assert "default-src &#39;none&#39;" in page and ' style="' not in page


def test_a_thousand_children_make_a_small_page():
    page = several_page.render(several(np.linspace(0, 1, 3000), n=1))
    assert len(page.encode()) < 1_000_000 and "the first 1,000 of 3,000" in page


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_npz(tmp_path_factory.mktemp("data") / "squares.npz", n=24)


KINDS = [({"folds": 3}, 3, ["report.html"]), ({"folds": -1}, 18, ["report.html"]),
         ({"restarts": 2}, 2, ["report.html", "several.html"]), ({"folds": 2, "refit": True}, 2,
         ["report.html", "several.html"])]  # fmt: skip


@pytest.mark.train
@pytest.mark.parametrize(("several_of", "count", "pages"), KINDS, ids=str)
def test_a_run_of_several_has_one_page(data, tmp_path, several_of, count, pages):
    run = hubel.train(data, out=tmp_path, progress=Quiet(), **{**PLAIN, "epochs": 1}, **several_of)
    assert [path.name for path in _reports(run)] == pages
    page = (run.path / pages[-1]).read_text()
    links = re.findall(r'<a href="((?:folds|restarts)/\d+/report.html)"', page)
    assert len(links) == count and all((run.path / link).exists() for link in links)
    children = json.loads((run.path / "several.json").read_text())["children"]
    scores = [child["metrics"]["dev"]["accuracy"] for child in children]
    assert f"{percent(statistics.fmean(scores))}" in page
    (run.path / pages[-1]).unlink()
    assert hubel.Run.open(run.path).report() == run.path / "report.html"
    assert (run.path / pages[-1]).read_text() == page
    if several_of == {"folds": 3}:
        assert run.primary == "accuracy" and run.metrics["dev"]["accuracy"] == pytest.approx(statistics.fmean(scores))


@pytest.mark.train
def test_every_image_is_predicted_by_the_fold_that_left_it_out(data, tmp_path):
    run = hubel.train(data, out=tmp_path, progress=Quiet(), folds=3, **{**PLAIN, "epochs": 1})
    pooled = np.load(run.path / "predictions" / "dev.npz")
    splits = run.splits
    assert sorted(pooled["index"]) == sorted([*splits["train"], *splits["dev"]])
    for fold in (1, 2, 3):
        own = np.load(run.path / "folds" / str(fold) / "predictions" / "dev.npz")
        rows = np.isin(pooled["index"], own["index"])
        for name in own.files:
            np.testing.assert_array_equal(pooled[name][rows], own[name])
