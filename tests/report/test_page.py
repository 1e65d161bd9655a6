"""The page: whole, small, closed to the network, and deaf to hostile names."""

import base64
import hashlib
import html
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from reports import HOSTILE, bare, example, full, image, regression

from hubel.errors import UserError
from hubel.report.page import (
    LIMIT,
    ClassRow,
    ConfigRow,
    DataFacts,
    Example,
    Quarantined,
    Scatter,
    render,
    write,
)

VOID = {"meta", "link", "img", "input", "br", "hr", "wbr"}


class Outline(HTMLParser):
    """Checks that every element is closed in order, and keeps elements, attributes and text."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len({key for key, _ in attrs}) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


REPORTS = {
    "bare": bare,
    "full": full,
    "regression": regression,
    "hostile": lambda: full(HOSTILE),
    "100 classes": lambda: full(
        confusion=np.eye(100, dtype=int) * 5 + 1,
        dataset=DataFacts("many", classes=tuple(f"c{i}" for i in range(100))),
    ),
}


@pytest.fixture(params=REPORTS)
def page(request) -> str:
    return render(REPORTS[request.param]())


def test_every_element_is_closed_and_ids_are_unique(page):
    outline = Outline(page)
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {a["href"] for a in outline.of("a")}
    assert links <= {f"#{name}" for name in ids}


def test_nothing_is_fetched_and_nothing_is_inline(page):
    for _, attributes in Outline(page).elements:
        for key, value in attributes.items():
            assert key != "style" and not key.startswith("on"), (key, value)
            if key in ("src", "href", "srcset", "data", "action", "poster"):
                assert value.startswith(("data:", "#")), (key, value)
    assert "url(" not in page and "@import" not in page


def test_the_policy_allows_exactly_what_is_there(page):
    metas = Outline(page).of("meta")
    policy = next(m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for rule, tag in (("style-src", "style"), ("script-src", "script")):
        bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        assert len(bodies) == 1
        digest = base64.b64encode(hashlib.sha256(bodies[0].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    # The policy binds only what follows it.
    assert page.index("Content-Security-Policy") < page.index("<style>") < page.index("<script>")


def test_accessible_names(page):
    outline = Outline(page)
    assert all(img.get("alt") for img in outline.of("img"))
    assert all(s.get("aria-label") or s.get("aria-hidden") == "true" for s in outline.of("svg"))
    assert len(outline.of("caption")) == len(outline.of("table"))
    assert all(th.get("scope") in ("col", "row") for th in outline.of("th"))
    assert len(outline.of("h1")) == 1 and outline.of("html")[0]["lang"] == "en"


def test_hostile_words_are_text():
    page = render(full(HOSTILE))
    page.encode("utf-8")
    outline = Outline(page)
    assert len(outline.of("script")) == 1
    assert not re.search("[\x00\x1b\u202e\u2066\ud800-\udfff]", page)
    text = "".join(outline.text)
    assert "<script>alert(1)</script>\"'&" in text  # shown as it is
    assert "‹U+202E›" in text and "\\xe9" in text and "\\ud800" in text
    known = {  # our own attributes; none comes from the words
        "class", "id", "href", "src", "alt", "title", "content", "name", "charset", "rel", "lang", "http-equiv",
        "scope", "tabindex", "role", "hidden", "type", "value", "open", "loading", "d", "x", "y", "cx", "cy",
        "r", "viewbox", "text-anchor", "width", "height",
    }  # fmt: skip
    for tag, attributes in outline.elements:
        extra = {key for key in attributes if not key.startswith(("data-", "aria-"))} - known
        assert not extra, (tag, extra)


def test_hostile_words_in_svg():
    page = render(regression(scatter=Scatter(np.ones(1), np.ones(1), (HOSTILE,))))
    assert len(Outline(page).of("script")) == 1
    page.encode("utf-8")


def test_500_large_mistakes_stay_below_the_limit():
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (224, 224, 3), dtype=np.uint8) for _ in range(20)]  # the worst to compress
    mistakes = [Example(noise[i % 20], f"{i}.jpg", "cat", "dog", 0.9, 500.0 - i) for i in range(500)]
    page = render(full(mistakes=mistakes, mistake_count=1234))
    assert 2_000_000 < len(page.encode()) < LIMIT
    shown = len(re.findall('<li class="example" data-truth="cat" data-prediction="dog"', page))
    assert 200 < shown < 500
    assert f"{shown} of 1,234 on test, those with the largest loss." in page
    assert ">0.jpg<" in page and ">499.jpg<" not in page


def test_long_hostile_names_count_towards_the_limit():
    mistakes = [Example(None, '"' * 4000 + str(i), "<" * 250, "&" * 250, 0.9, 1.0) for i in range(1000)]
    assert len(render(full(mistakes=mistakes)).encode()) < LIMIT


def test_many_classes_stay_below_the_limit():
    names = tuple(f"{'n' * 200}{i}" for i in range(3000))
    rows = [ClassRow(name, 5, 0.5, 0.5, i / 3000, (0.1, 0.9), (0.1, 0.9)) for i, name in enumerate(names)]
    data = full(
        per_class=rows,
        dataset=DataFacts("many", classes=names, counts={"train": (5,) * 3000, "test": (1,) * 3000}),
        confusion=np.eye(3000, dtype=np.int32),
    )  # fmt: skip
    page = render(data)
    assert len(page.encode()) < LIMIT
    assert "The 1000 worst of 3,000 classes." in page


def test_the_worst_mistakes_come_first():
    losses = [0.5, float("nan"), 3.0, None, 2.0]
    mistakes = [Example(image(i), f"{i}.jpg", "cat", "dog", 0.9, loss) for i, loss in enumerate(losses)]
    names = re.findall(r'class="file" title="(\d)\.jpg"', render(full(mistakes=mistakes, samples=None)))
    assert names == ["2", "4", "0", "1", "3"]


SECTIONS = {
    "history": ("curves", ()), "confusion": ("confusion", None), "per_class": ("classes", None),
    "calibration": ("calibration", None), "samples": ("samples", None), "filters": ("filters", None),
    "throughput": ("speed", None), "configuration": ("configuration", ()), "manifest": ("manifest", {}),
    "quarantine": ("quarantine", ()),
}  # fmt: skip


@pytest.mark.parametrize("field", SECTIONS)
def test_a_section_vanishes_with_its_data(field):
    section, nothing = SECTIONS[field]
    assert f'id="{section}"' in render(full())
    assert f'id="{section}"' not in render(full(**{field: nothing}))
    assert f'href="#{section}"' not in render(full(**{field: nothing}))


def test_mistakes_and_scatter_vanish_with_their_data():
    assert 'id="mistakes"' in render(full())
    assert 'id="mistakes"' not in render(full(mistakes=None, mistake_count=None))
    assert 'id="scatter"' in render(regression())
    assert 'id="scatter"' not in render(regression(scatter=None))


def test_numbers_of_a_run_are_on_the_page():
    text = re.sub(r"[ \n]+", " ", " ".join(Outline(render(full())).text))
    assert "85.0\u202f% of 60 test images right (95\u202f% interval 73.9–91.9\u202f%)" in text
    for words in ("61,706", "3,912", "31.0\u202f% waiting for data", "3 of 9 on test", "cat dog 3 15.0\u202f%"):
        assert words in text, words


def test_confusion_rows_are_the_truth():
    table = re.search(r'<table class="confusion.*?</table>', render(full()), re.S)[0]
    body = table.split("<tbody>")[1]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in body.split("</tr>")[:3]]
    assert rows == [["16", "3", "1"], ["2", "17", "1"], ["·", "2", "18"]]
    kinds = re.findall(r'<td class="(\w+) s(\d+)"', body)
    assert [kind for kind, _ in kinds[:3]] == ["right", "wrong", "wrong"]
    assert [int(s) for _, s in kinds[:3]] == [round(10 * (n / 20) ** 0.5) for n in (16, 3, 1)]


def test_a_class_without_images_has_no_score():
    counted = ClassRow("cat", 20, 0.9, 0.8, 0.85, (0.7, 0.95), (0.6, 0.9))
    page = render(full(per_class=[counted, ClassRow("dog", 0, 0.0, 0.0, 0.0, (0.0, 1.0), (0.0, 1.0))]))
    table = re.search(r'<table class="classes".*?</table>', page, re.S)[0]
    figures = re.findall(r'class="figure">(.*?)<', table)
    s = "\u202f%"
    assert figures == [f"90.0{s}", f"80.0{s}", f"85.0{s}", "–", "–", "–"]
    assert f"The bars run from 60{s}" in table


def test_the_most_frequent_confusions_first():
    confusion = np.array([[16, 3, 1], [0, 0, 0], [0, 5, 15]])  # no image of the second class
    table = re.search(r"The most frequent confusions.*?</table>", render(full(confusion=confusion)), re.S)[0]
    cells = [re.sub("<.*?>", "", cell) for cell in re.findall(r"<td.*?</td>", table)]
    rows = [tuple(cells[i : i + 4]) for i in range(0, len(cells), 4)]
    s = "\u202f%"
    assert rows == [("owl", "dog", "5", f"25.0{s}"), ("cat", "dog", "3", f"15.0{s}"), ("cat", "owl", "1", f"5.0{s}")]


def test_private_leaves_out_names_and_paths(tmp_path):
    secrets = ("/home/jane/scans", "patient_17.png", "jane-laptop", "seven.tif", "C:\\Users\\jane", "runs/jane/2")
    data = full(
        mistakes=[example(0, "anna/patient_17.png")],
        samples=[example(1, "bob/seven.tif"), example(2, "IMG-of-carl")],
        dataset=DataFacts("scans", "/home/jane/scans", "folder", ("read /home/jane/scans/a b.txt", "60 % train")),
        warnings=("seven.tif is grey", "IMG-of-carl is dark", "few images"),
        manifest={"hostname": "jane-laptop", "cwd": "/home/jane", "seed": 0, "deep": {"file": "C:\\Users\\jane\\x"}},
        configuration=[ConfigRow("from", "runs/jane/2", "command line", "see runs/jane/2/best")],
        quarantine=[Quarantined("anna/bad.png", "anna/bad.png is cut short")],
    )  # fmt: skip
    public, private = html.unescape(render(data)), html.unescape(render(data, private=True))
    for secret in (*secrets, "anna", "bob/", "carl"):
        assert secret in public
        assert secret not in private, secret
    for kept in ("60 % train", "few images", "(left out)", "scans"):
        assert kept in private


def test_write_is_atomic_and_says_what_is_wrong(tmp_path):
    target = write(full(HOSTILE), tmp_path / "report.html")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert target.read_bytes().decode("utf-8") == render(full(HOSTILE))
    before = target.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(PermissionError(13, "no")))
        with pytest.raises(UserError):
            write(bare(), target)
    assert target.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
