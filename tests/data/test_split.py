"""Splits: disjoint, complete, in proportion, decided by the seed alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubel.data import split as s
from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.errors import UserError
from hubel.recipe import SplitOptions


def make(labels, splits=None, **columns):
    labels = np.asarray(labels)
    n = len(labels)
    pixels = np.arange(n, dtype=np.uint16).astype(np.uint8).reshape(n, 1, 1, 1)
    names = tuple(f"c{k}" for k in range(int(labels.max()) + 1))
    splits = {name: np.asarray(index) for name, index in (splits or {}).items()}
    return Dataset("made", ArrayImages(pixels), {"label": labels, **columns}, names, splits, source="made")


def parts_of(dataset, **options):
    return s.split(dataset, SplitOptions(**options)).splits


def assert_partition(parts, expected):
    together = np.concatenate(list(parts.values()))
    assert sorted(together.tolist()) == sorted(expected)


# Sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "train", "held"),
    [
        (100, 0.6, 0.2),
        (10_000, 0.6, 0.2),
        (1_000_000, 0.98, 0.01),
        (10_000_000, 0.995, 0.0025),
        (10**9, 0.995, 0.0025),
    ],
)
def test_the_rule_passes_through_the_figures_of_the_notes(n, train, held):
    assert s.sizes(n) == pytest.approx((train, held, held))


def test_more_images_never_give_a_smaller_part():
    ns = np.unique(np.logspace(0, 8, 200).astype(int))
    assert (np.diff([n * s.sizes(n)[1] for n in ns]) > 0).all()
    assert (np.diff([s.sizes(n)[1] for n in ns]) <= 1e-12).all()
    carved = [n * s.dev_share(n) for n in ns]
    assert (np.diff(carved) >= -1e-6).all()
    assert [s.dev_share(n) * n for n in (1000, 60_000, 10**6)] == pytest.approx([100, 5000, 10_000])


# Carving -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.integers(0, 5))
def test_a_split_is_disjoint_complete_and_stratified(counts, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    parts = parts_of(make(labels), seed=seed)
    assert_partition(parts, range(len(labels)))
    for k, count in enumerate(counts):
        found = {name: int((labels[index] == k).sum()) for name, index in parts.items()}
        assert found["train"] >= 1
        if count >= 3:
            assert min(found.values()) >= 1
        if count >= 3:
            assert abs(found["test"] - 0.2 * count) < 1.01 and abs(found["dev"] - 0.2 * count) < 2.01


def test_sizes_are_exact_where_classes_are_large():
    parts = parts_of(make(np.arange(1000) % 7))
    assert {name: len(index) for name, index in parts.items()} == {"train": 600, "dev": 200, "test": 200}


def test_the_seed_and_the_labels_decide_alone():
    dataset = make(np.arange(300) % 3)
    first, again, other = parts_of(dataset), parts_of(dataset), parts_of(dataset, seed=1)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["dev"], other["dev"])
    renamed = replace(dataset, name="other", images=ArrayImages(np.zeros((300, 2, 2, 3), np.uint8)))
    assert np.array_equal(parts_of(renamed)["test"], first["test"])
    assert first["test"][:8].tolist() == [2, 5, 11, 12, 15, 29, 31, 32]  # stays in later versions, too


def test_a_single_example_is_learnt_from_and_noted():
    labels = [0] * 20 + [1] * 20 + [2]
    found = s.split(make(labels), SplitOptions())
    assert 40 in found.splits["train"]
    assert any("dev has no image of c2" in note for note in found.notes)


def test_given_parts_are_kept():
    dataset = make(np.arange(100) % 2, {"train": range(60), "dev": range(60, 80), "test": range(80, 100)})
    found = s.split(dataset, SplitOptions())
    assert {name: index.tolist() for name, index in found.splits.items()} == {
        "train": list(range(60)), "dev": list(range(60, 80)), "test": list(range(80, 100)),
    }  # fmt: skip


def test_train_and_test_give_up_a_dev_part_from_train():
    dataset = make(np.arange(100) % 2, {"train": range(80), "test": range(80, 100)})
    found = s.split(dataset, SplitOptions())
    assert found.splits["test"].tolist() == list(range(80, 100))
    assert len(found.splits["dev"]) == 8 and found.splits["dev"].max() < 80
    assert any("dev: 8 images carved from the training part" in note for note in found.notes)
    assert_partition(found.splits, range(100))


def test_without_a_test_part_the_score_is_labelled():
    dataset = make(np.arange(100) % 2, {"train": range(80), "dev": range(80, 100)})
    found = s.split(dataset, SplitOptions())
    assert set(found.splits) == {"train", "dev"}
    assert any("dev, used for selection" in note for note in found.notes)
    assert len(parts_of(dataset, test=0.25)["test"]) == 20  # on request


def test_shares_on_request():
    parts = parts_of(make(np.arange(100) % 2), dev=0.1, test=0.3)
    assert {name: len(index) for name, index in parts.items()} == {"train": 60, "dev": 10, "test": 30}
    assert set(parts_of(make(np.arange(100) % 2), dev=0.0, test=0.0)) == {"train"}


def test_train_dev_and_moved_dev():
    dataset = make(np.arange(1000) % 4)
    plain, parts = parts_of(dataset), parts_of(dataset, train_dev=0.1, move_dev=0.25)
    assert_partition(parts, range(1000))
    assert len(parts["dev"]) == 150 and set(parts["dev"]) < set(plain["dev"])
    assert len(parts["train-dev"]) == 65  # a tenth of 600 + 50
    assert np.bincount(np.arange(1000)[parts["dev"]] % 4).max() <= 38
    assert np.array_equal(parts["test"], plain["test"])


def test_bad_files_are_in_no_part():
    dataset = make(np.arange(100) % 2).without(np.arange(10), ())
    assert_partition(parts_of(dataset), range(10, 100))


def test_not_stratified():
    labels = np.repeat([0, 1], [90, 10])
    counts = {int(labels[parts_of(make(labels), stratify=False, seed=k)["dev"]].sum()) for k in range(8)}
    assert len(counts) > 1
    assert {int(labels[parts_of(make(labels), seed=k)["dev"]].sum()) for k in range(8)} == {2}


def test_several_labels_keep_the_rare_one():
    rows = np.zeros((200, 3), np.float32)
    rows[:, 0] = 1
    rows[:100, 1] = 1
    rows[::20, 2] = 1  # 10 of them
    dataset = Dataset("m", ArrayImages(np.zeros((200, 1, 1, 1), np.uint8)), {"labels": rows}, ("a", "b", "c"))
    for index in parts_of(dataset).values():
        assert rows[index, 2].mean() == pytest.approx(0.05, abs=0.01)


# Groups ------------------------------------------------------------------------------------------------------------


def test_groups_stay_whole():
    group = np.random.default_rng(0).integers(0, 40, 400)
    dataset = make(np.arange(400) % 2, group=group)
    for options in ({}, {"train_dev": 0.2}, {"bootstrap": True}):
        parts = parts_of(dataset, **options)
        seen = [set(group[index]) for index in parts.values()]
        assert all(not a & b for i, a in enumerate(seen) for b in seen[:i])
        assert set().union(*seen) == set(group)
    assert abs(len(parts_of(dataset)["dev"]) - 80) < 15
    for train, dev in s.folds(dataset, np.arange(400), 5, 0):
        assert not set(group[train]) & set(group[dev])


def test_groups_may_have_any_names():
    groups = np.array([f"patient {i // 10}" for i in range(200)])
    found = s.split(make(np.arange(200) % 2), SplitOptions(), groups)
    seen = [set(groups[index]) for index in found.splits.values()]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


# Folds and the bootstrap ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 5, 7])
def test_folds(k):
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    dataset, pool = make(labels), np.setdiff1d(np.arange(100), [3, 60])
    pairs = s.folds(dataset, pool, k, 0)
    assert len(pairs) == k
    assert sorted(np.concatenate([dev for _, dev in pairs]).tolist()) == pool.tolist()
    for train, dev in pairs:
        assert sorted([*train, *dev]) == pool.tolist()
        assert abs(len(dev) - len(pool) / k) < 1
        for c in range(3):
            assert abs((labels[dev] == c).sum() - (labels[pool] == c).sum() / k) < 1.01
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(pairs, s.folds(dataset, pool, k, 0), strict=True))
    assert not np.array_equal(pairs[0][1], s.folds(dataset, pool, k, 1)[0][1])


def test_leave_one_out():
    pairs = s.folds(make(np.arange(9) % 3), np.arange(9), -1, 0)
    assert [len(dev) for _, dev in pairs] == [1] * 9
    assert sorted(int(dev[0]) for _, dev in pairs) == list(range(9))


def test_bootstrap():
    bag, out = s.bootstrap(np.arange(100, 5100), 0)
    assert len(bag) == 5000 and not set(bag) & set(out)
    assert set(bag) | set(out) == set(range(100, 5100))
    assert len(out) / 5000 == pytest.approx(np.exp(-1), abs=0.02)
    assert np.bincount(bag - 100).max() >= 4  # drawn with replacement
    assert np.array_equal(bag, s.bootstrap(np.arange(100, 5100), 0)[0])
    assert not np.array_equal(bag, s.bootstrap(np.arange(100, 5100), 1)[0])


def test_bootstrap_as_an_option():
    dataset = make(np.arange(500) % 2)
    parts = parts_of(dataset, bootstrap=True)
    assert len(parts["test"]) == 100 and len(parts["train"]) == 400
    assert not set(parts["train"]) & set(parts["dev"])
    assert set(parts["train"]) | set(parts["dev"]) | set(parts["test"]) == set(range(500))


# Two sources ---------------------------------------------------------------------------------------------------------


def test_train_here_judge_there():
    here = make(np.arange(60) % 3)
    there = replace(make([0, 1] * 20), classes=("c2", "c0"), name="there")
    found = s.train_here_judge_there(here, there)
    assert len(found) == 100
    assert found.splits["train"].tolist() == list(range(60))
    assert len(found.splits["dev"]) == len(found.splits["test"]) == 20
    assert found.annotations["label"][60:].tolist() == [2, 0] * 20
    assert found.images.read(61)[0, 0, 0] == 1
    final = s.split(found, SplitOptions())
    assert_partition(final.splits, range(100))
    given = replace(there, splits={"train": np.arange(20), "dev": np.arange(20, 30), "test": np.arange(30, 40)})
    kept = s.train_here_judge_there(here, given)
    assert kept.splits["dev"].tolist() == list(range(80, 90)) and kept.splits["test"].tolist() == list(range(90, 100))


def test_two_sources_must_fit():
    with pytest.raises(UserError, match="classes that made lacks: c3"):
        s.train_here_judge_there(make(np.arange(9) % 3), make(np.arange(12) % 4))
    numbers = Dataset("n", ArrayImages(np.zeros((4, 1, 1, 1), np.uint8)), {"numbers": np.zeros((4, 1))})
    with pytest.raises(UserError, match="has no 'label'"):
        s.train_here_judge_there(make(np.arange(9) % 3), numbers)


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("splits", "options", "message"),
    [
        ({"test": range(10)}, {}, "no training part"),
        ({"train": range(0, 100, 2), "test": range(1, 100, 2)}, {}, "no image of c1"),
        ({"train": range(60), "dev": range(50, 80)}, {}, "train and dev share 10 images"),
        ({"train": range(60), "dev": range(60, 80)}, {"dev": 0.1}, "brings its own dev"),
        ({}, {"dev": 1.5}, "is a share"),
        ({}, {"test": -0.1}, "is a share"),
        ({}, {"dev": 0.5, "test": 0.5}, "nothing to learn"),
        ({}, {"bootstrap": True, "dev": 0.1}, "bootstrap"),
        ({}, {"dev": 0.0, "move_dev": 0.5}, "needs a dev part"),
    ],
)
def test_refusals(splits, options, message):
    with pytest.raises(UserError, match=message):
        s.split(make(np.arange(100) % 2, splits), SplitOptions(**options))


@pytest.mark.parametrize("k", [0, 1, -2, 11])
def test_impossible_folds(k):
    with pytest.raises(UserError, match="folds"):
        s.folds(make(np.arange(10) % 2), np.arange(10), k, 0)
