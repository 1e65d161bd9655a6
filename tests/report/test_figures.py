"""The plots: what is drawn lies where the data says, measured with the ticks as the ruler."""

import math
import re

import numpy as np
import pytest
from reports import bare

from hubel.report import figures
from hubel.report.curves import curve_figures
from hubel.report.figures import Series, curves, level
from hubel.report.svg import Scale, element, fit, path, wants_log
from hubel.report.text import clean, figure, is_share, percent, shorten
from hubel.report.values import Calibration


def ticks(svg: str, axis: str) -> list[tuple[float, float]]:
    """(pixel, value) of every tick label of one axis."""
    found = []
    for attributes, text in re.findall(r"<text ([^>]*)>([^<]*)</text>", svg):
        if f"{axis}tick" in attributes:
            at = float(re.search(rf'\b{axis}="([^"]+)"', attributes)[1]) - (4 if axis == "y" else 0)
            value = float(text.replace("\u2212", "-").replace(",", "").rstrip("%")) / (100 if "%" in text else 1)
            found.append((at, value))
    return found


def ruler(svg: str, axis: str, log: bool = False):
    """The map from pixels to data that a reader of the labels has, from the first and the last tick."""
    f, g = (math.log10, lambda v: 10**v) if log else (float, float)
    (p1, v1), *_, (p2, v2) = ticks(svg, axis)
    return lambda p: g(f(v1) + (f(v2) - f(v1)) * (p - p1) / (p2 - p1))


def points(svg: str, name: str) -> list[tuple[float, float]]:
    d = re.search(rf'<path class="line {name}" d="([^"]*)"', svg)[1]
    return [(float(a), float(b)) for a, b in re.findall(r"[ML](-?[\d.]+),(-?[\d.]+)", d)]


@pytest.mark.parametrize("log", [False, True])
def test_curves_lie_where_the_data_says(log):
    losses = [4.0 / e**2 if log else 4.0 - 0.1 * e for e in range(1, 21)]
    svg = curves([Series("dev", list(enumerate(losses, 1)))], "loss", best=7)
    assert ("log scale" in svg) == log
    x, y = ruler(svg, "x"), ruler(svg, "y", log)
    drawn = points(svg, "dev")
    assert len(drawn) == 20
    for (a, b), (epoch, loss) in zip(drawn, enumerate(losses, 1), strict=True):
        assert x(a) == pytest.approx(epoch, abs=0.02)
        assert y(b) == pytest.approx(loss, rel=0.01)
    at = float(re.search(r'class="best" d="M([\d.]+),', svg)[1])
    assert x(at) == pytest.approx(7, abs=0.02)
    dot = re.search(r'class="bestdot" cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert y(float(dot[2])) == pytest.approx(losses[6], rel=0.01)


def test_percent_axis_ends_at_the_possible():
    svg = curves([Series("train", [(1, 0.2), (2, 1.0)]), Series("dev", [(1, 0.1), (2, 0.9)])], "accuracy", percent=True)
    y = ruler(svg, "y")
    assert [y(b) for _, b in points(svg, "train")] == pytest.approx([0.2, 1.0], abs=0.005)
    assert max(v for _, v in ticks(svg, "y")) == 1.0
    assert ">train<" in svg and ">dev<" in svg


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300, None, "", "nan"])
def test_what_is_not_finite_breaks_the_line_only(bad):
    values = [4.0, 3.0, bad, 2.0, 1.0]
    svg = curves([Series("train", list(enumerate(values, 1)))], "loss")
    assert "nan" not in svg and "inf" not in svg
    d = re.search(r'class="line train" d="([^"]*)"', svg)[1]
    assert (d.count("M"), d.count("L")) == (2, 2)
    y = ruler(svg, "y")
    assert [y(b) for _, b in points(svg, "train")] == pytest.approx([4, 3, 2, 1], abs=0.02)


@pytest.mark.parametrize(
    "values", [[], [0.0], [0.5], [math.nan], [1e-320, 1e29], [-1e29, 1e29], [3.0] * 5, [1.0, 1.0 + 1e-15]]
)
@pytest.mark.parametrize("shares", [False, True])
def test_odd_histories_are_drawn(values, shares):
    svg = curves([Series("dev", list(enumerate(values, 1)))], "loss", percent=shares, best=1)
    assert "nan" not in svg and "inf" not in svg
    drawn = re.findall(r'class="mark dev"', svg)
    assert len(drawn) == sum(not math.isnan(v) for v in values)


def test_long_histories_are_thinned():
    svg = curves([Series("train", [(i, math.sin(i)) for i in range(100_000)])], "loss")
    assert len(svg) < 30_000


def test_a_log_axis_where_the_range_needs_it():
    assert wants_log([0.01, 1.0]) and not wants_log([0.1, 1.0])
    assert not wants_log([0.0, 1.0]) and not wants_log([-1.0, 100.0]) and not wants_log([])


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.37, 0.42), (-3, 12345), (1e-9, 2e-9)])
def test_ticks_are_round_and_inside(low, high):
    values = Scale(low, high, 0, 100).ticks()
    assert 3 <= len(values) <= 12
    assert all(low - 1e-12 <= v <= high * (1 + 1e-9) for v in values)
    step = values[1] - values[0]
    assert round(step / 10 ** math.floor(math.log10(step * 1.0001)), 6) in (1, 2, 5)


def test_log_ticks_are_inside():
    assert Scale(0.008, 2.3, 0, 1, log=True).ticks() == pytest.approx([0.01, 0.03, 0.1, 0.3, 1])


def test_path_is_exact():
    assert path([(0, 0), (1, 10), (2, 5)], Scale(0, 2, 0, 100), Scale(0, 10, 50, 0)) == "M0,50L50,0L100,25"


def test_fit_holds_every_value():
    scale = fit([3, math.nan, -2, 7], 0, 100)
    assert scale.low < -2 and scale.high > 7
    assert 0 < scale(-2) < scale(7) < 100


def test_calibration_points():
    bins = Calibration((0.55, math.nan, 0.95), (0.5, math.nan, 0.9), (10, 0, 40), 0.05)
    svg = figures.calibration(bins)
    x, y = ruler(svg, "x"), ruler(svg, "y")
    circles = re.findall(r'class="area" cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', svg)
    assert [x(float(a)) for a, _, _ in circles] == pytest.approx([0.55, 0.95], abs=0.002)
    assert [y(float(b)) for _, b, _ in circles] == pytest.approx([0.5, 0.9], abs=0.002)
    assert float(circles[0][2]) < float(circles[1][2])


def test_scatter_points():
    truth, prediction = np.array([0.0, 5.0, np.nan, 10.0]), np.array([1.0, 4.0, 3.0, np.inf])
    svg = figures.scatter(truth, prediction, "age")
    d = re.search(r'class="dots" d="([^"]*)"', svg)[1]
    found = [(float(a), float(b)) for a, b in re.findall(r"M([\d.]+),([\d.]+)h0", d)]
    x, y = ruler(svg, "x"), ruler(svg, "y")
    assert [(x(a), y(b)) for a, b in found] == [pytest.approx(p, abs=0.05) for p in [(0, 1), (5, 4)]]
    assert "2 of 2 images" in svg


def test_scatter_of_nothing_and_of_many():
    figures.scatter(np.zeros(0), np.zeros(0), "age")
    svg = figures.scatter(np.arange(9e4), np.arange(9e4), "age")
    assert svg.count("h0") == 2000 and len(svg) < 60_000


def test_matrix_cells():
    confusion = np.zeros((30, 30), int)
    confusion[4, 4], confusion[4, 9], confusion[7, 2] = 9, 1, 3
    svg = figures.matrix(confusion)
    cells = {
        name: set(re.findall(r"M(\d+),(\d+)h1v1h-1z", d))
        for name, d in re.findall(r'<path class="([^"]+)" d="([^"]+)"', svg)
    }
    assert cells == {
        f"right s{level(9, 10)}": {("4", "4")},
        f"wrong s{level(1, 10)}": {("9", "4")},  # x is the prediction, y the truth
        "wrong s10": {("2", "7")},
    }  # fmt: skip
    assert figures.matrix(confusion, limit=2) is None


def test_levels():
    assert [level(n, 100) for n in (0, 1, 25, 100, 200)] == [0, 1, 5, 10, 10]
    assert level(1, 1_000_000) == 1  # a single mistake can be seen
    assert level(0, 0) == 0


def test_bar():
    svg = figures.bar(0.75, (0.5, 1.0), 0.5)
    x = Scale(0.5, 1.0, 4, 86)
    assert f'd="M{x(0.5):g},7H{x(1.0):g}"' in svg and f'cx="{x(0.75):g}"' in svg
    assert "nan" not in figures.bar(math.nan, (math.nan, 1.0), 0.5)


def test_elements_are_escaped():
    assert element("text", "\u202e\ud800", title="\x00") == '<text title="\\x00">‹U+202E›\\ud800</text>'
    assert (
        element("text", '<b>&"', title='"><script>')
        == '<text title="&#34;&gt;&lt;script&gt;">&lt;b&gt;&amp;&#34;</text>'
    )


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.979, "97.9"),
        (1.0, "100"),
        (0.0, "0"),
        (0.9999, "99.99"),
        (0.99996, "99.996"),
        (0.0004, "0.04"),
        (-0.019, "−1.9"),
    ],
)
def test_percent_never_rounds_to_perfect(share, text):
    assert percent(share) == f"{text}\u202f%"


def test_a_share_of_nothing_is_no_number():
    assert percent(math.nan) == "–"


def test_figures_as_text():
    values = [61706, 0.065131, 12345.6, -3, None, math.nan]
    assert [figure(v) for v in values] == ["61,706", "0.06513", "12,346", "−3", "None", "not finite"]


def test_shares_by_name():
    shares = ["accuracy", "top5", "top_5_accuracy", "macro_f1", "recall.cat", "map", "balanced_accuracy", "right"]
    assert all(map(is_share, [*shares, "box.localisation_error", "box.iou", "miou"]))
    assert not any(map(is_share, ["loss", "mae", "r2", "cross_entropy", "mean_squared_error_map2", "brighter"]))


def test_clean_and_shorten():
    assert clean("a\u202eb\udcffc\x07") == "a‹U+202E›b\\xffc\\x07"
    assert clean("käse 日本 👩‍🔬") == "käse 日本 👩‍🔬"
    assert shorten("abcdefghij", 7) == "abcd…ij" and shorten("abc", 7) == "abc"


def test_auxiliary_heads_have_lines_of_their_own_and_train_compares_with_dev():
    rows = [{"epoch": e, "train.loss": 2.5 - 0.5 * e, "train.cross_entropy": 1.9 - 0.4 * e, "train.auxiliary_1": 0.6,
             "train.auxiliary_2": 0.5, "dev.loss": 1.5 - 0.1 * e} for e in (1, 2)]  # fmt: skip
    svg = str(curve_figures(bare(history=rows))[0])
    y = ruler(svg, "y")
    for name, expected in (("train", (0.9, 0.4)), ("dev", (1.4, 1.3)), ("aux-1", (0.6, 0.6)),
                           ("aux-2", (0.5, 0.5))):  # fmt: skip
        assert [y(b) for _, b in points(svg, name)] == pytest.approx(expected, abs=0.01)
    svg = str(curve_figures(bare(history=[{"epoch": 1, "train.loss": 2.0, "train.cross_entropy": 2.0}]))[0])
    assert 'aria-label="loss over epochs: train"' in svg
