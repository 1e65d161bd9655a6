"""Figures of label maps against scikit-learn, SciPy and obvious loops; streams add up."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from hubel.metrics.boundaries import border_counts, borders, f_scores, near_and_far, reach
from hubel.metrics.segmentation import PixelCounts, Segmentation, confusions, iou
from hubel.metrics.segmentation_report import miou_of_one
from hubel.ops.pixel_maps import labels_in_source, moved
from hubel.tasks.dense import SegmentationPredictions
from hubel.types import PixelClasses

K, SIZE = 5, (23, 31)
NAMES = tuple("abcde")


def patches(seed: int) -> np.ndarray:
    """(H, W) uint8 in patches, class 4 never, an ignored corner."""
    draws = np.random.default_rng(seed)
    small = draws.integers(0, 4, (6, 8))
    return np.kron(small, np.ones((4, 4)))[: SIZE[0], : SIZE[1]].astype(np.uint8)


def pairs(count: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for i in range(count):
        truth, answers = patches(i), patches(i)
        wrong = np.random.default_rng(100 + i).random(SIZE) < 0.2
        answers = np.where(wrong, patches(50 + i), np.roll(answers, 1, 1))
        truth[:5, :9] = 255
        found.append((truth, answers.astype(np.uint8)))
    return found


def predictions(answers: list[np.ndarray]) -> SegmentationPredictions:
    labels = torch.from_numpy(np.stack(answers)).long()
    n = len(answers)
    p = torch.nn.functional.one_hot(labels, K).permute(0, 3, 1, 2).float() * 0.6 + 0.08
    return SegmentationPredictions(p, torch.eye(3).expand(n, 3, 3), torch.tensor([SIZE] * n))


def metric_of(found: list[tuple[np.ndarray, np.ndarray]], tolerance: float | None = 0.05) -> Segmentation:
    metric = Segmentation(NAMES, tolerance)
    truth = torch.from_numpy(np.stack([t for t, _ in found]))
    metric.update(predictions([a for _, a in found]), PixelClasses(truth, tuple(truth)))
    return metric


def test_all_shares_are_scikit_learn_s():
    sk = pytest.importorskip("sklearn.metrics")
    found = pairs()
    truth = np.concatenate([t[t != 255] for t, _ in found])
    said = np.concatenate([a[t != 255] for t, a in found])
    metric, known = metric_of(found), np.union1d(truth, said)
    values = metric.compute()
    np.testing.assert_array_equal(metric.matrix, sk.confusion_matrix(truth, said, labels=range(K)))
    assert values["pixel_accuracy"] == pytest.approx(sk.accuracy_score(truth, said))
    assert values["miou"] == pytest.approx(sk.jaccard_score(truth, said, labels=known, average="macro"))
    assert values["mean_dice"] == pytest.approx(sk.f1_score(truth, said, labels=known, average="macro"))
    assert values["mean_accuracy"] == pytest.approx(
        sk.recall_score(truth, said, labels=np.unique(truth), average="macro")
    )
    each = sk.jaccard_score(truth, said, labels=range(4), average=None)
    np.testing.assert_allclose([values[f"iou.{name}"] for name in NAMES[:4]], each)
    assert np.isnan(values["iou.e"]) and np.isnan(metric.per_class()["iou"][4])


def slow_borders(labels: np.ndarray) -> np.ndarray:
    found = np.zeros(labels.shape, bool)
    for y, x in np.ndindex(labels.shape):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= v < labels.shape[0] and 0 <= u < labels.shape[1]
            if inside and 255 not in (labels[y, x], labels[v, u]) and labels[y, x] != labels[v, u]:
                found[y, x] = True
    return found


def test_borders_are_those_of_a_loop():
    for truth, _ in pairs():
        np.testing.assert_array_equal(borders(truth), slow_borders(truth))


@pytest.mark.parametrize("distance", [1.0, 1.5, 3.0, 5.25, 12.5])
def test_met_borders_are_those_of_scipy_s_distances(distance):
    for truth, answers in pairs():
        said = np.where(truth == 255, 255, answers).astype(np.uint8)
        counts = border_counts(truth, said, K, distance)
        for k in range(K):
            true, own = slow_borders(truth) & (truth == k), slow_borders(said) & (said == k)
            far = np.full(SIZE, np.inf)
            to_true = ndimage.distance_transform_edt(~true) if true.any() else far
            to_own = ndimage.distance_transform_edt(~own) if own.any() else far
            wanted = (own & (to_true <= distance)).sum(), own.sum(), (true & (to_own <= distance)).sum(), true.sum()
            assert tuple(counts[k]) == wanted
        close = ndimage.distance_transform_edt(~slow_borders(truth)) <= distance
        right, known = truth == said, truth != 255
        found = near_and_far(truth, said, distance)
        parts = (right & known & close, known & close, right & known & ~close, known & ~close)
        assert tuple(found) == tuple(part.sum() for part in parts)


def test_boundary_f_of_a_moved_square():
    truth = np.zeros((40, 40), np.uint8)
    truth[10:30, 10:30] = 1
    answers = np.roll(truth, 3, 1)
    assert np.all(f_scores(border_counts(truth, answers, 2, 3.0)) == 1)
    strict = f_scores(border_counts(truth, answers, 2, 1.0))
    assert 0.3 < strict[1] < 0.6  # upper and lower edges meet but for three columns, left and right ones don't
    assert np.isnan(f_scores(np.zeros((1, 4), np.int64)))[0]
    assert reach((300, 400), 0.0075) == pytest.approx(3.75) and reach((8, 8), 0.0075) == 1.0


def test_a_stream_merged_saved_and_loaded_is_one_pass():
    found = pairs(6)
    whole, first, second = metric_of(found), metric_of(found[:2]), metric_of(found[2:])
    again = Segmentation(NAMES, 0.05)
    again.load(first.state())
    again.merge(second.state())
    assert again.compute() == pytest.approx(whole.compute(), nan_ok=True)


def test_weights_count_images_and_nothing_seen_is_not_zero():
    found = pairs(2)
    metric = Segmentation(NAMES)
    truth = torch.from_numpy(np.stack([t for t, _ in found]))
    metric.update(predictions([a for _, a in found]), PixelClasses(truth), torch.tensor([0.0, 2.0]))
    np.testing.assert_array_equal(metric.matrix, 2 * metric_of(found[1:]).matrix)
    assert all(np.isnan(v) for v in Segmentation(NAMES, 0.05).compute().values())


def test_counts_have_no_mean():
    with pytest.raises(TypeError, match="probabilities"):
        PixelCounts.mean([])


def test_a_map_is_read_at_the_centres_of_pixels():
    """Against a loop that looks up the four neighbours."""
    draws = torch.Generator().manual_seed(0)
    maps = torch.rand(1, 2, 5, 7, generator=draws)
    matrix = torch.tensor([[1.7, 0.2, 0.5], [-0.1, 2.1, 0.3], [0.0, 0.0, 1.0]])
    found = moved(maps, matrix, (9, 11))
    inverse = np.linalg.inv(matrix.double().numpy())
    for y, x in np.ndindex(9, 11):
        u, v, _ = inverse @ (x + 0.5, y + 0.5, 1.0)
        u, v = np.clip(u - 0.5, 0, 6), np.clip(v - 0.5, 0, 4)
        c, r = min(int(u), 5), min(int(v), 3)
        fx, fy = u - c, v - r
        m = maps[0, :, r : r + 2, c : c + 2].double().numpy()
        wanted = m[:, 0, 0] * (1 - fx) * (1 - fy) + m[:, 0, 1] * fx * (1 - fy) + m[:, 1, 0] * (1 - fx) * fy
        np.testing.assert_allclose(found[0, :, y, x], wanted + m[:, 1, 1] * fx * fy, atol=1e-4)


def test_a_photo_is_labelled_in_strips(monkeypatch):
    p = torch.rand(3, 8, 10, generator=torch.Generator().manual_seed(1))
    matrix = torch.diag(torch.tensor([0.25, 0.2, 1.0]))
    whole = labels_in_source(p, matrix, (40, 40))
    monkeypatch.setattr("hubel.ops.pixel_maps.STRIP", 3 * 40 * 7)
    assert torch.equal(labels_in_source(p, matrix, (40, 40)), whole)
    assert whole.shape == (40, 40) and whole.dtype == torch.uint8


def test_iou_of_a_class_that_is_nowhere_is_not_measured():
    truth, said = torch.tensor([[0, 0, 1]], dtype=torch.uint8), torch.tensor([[0, 1, 1]], dtype=torch.uint8)
    np.testing.assert_allclose(iou(confusions(truth[None], said[None], 3)[0, :3].numpy()), [0.5, 0.5, np.nan])


def test_one_answer_for_every_pixel_scores_its_share_over_the_classes_that_occur():
    sk = pytest.importorskip("sklearn.metrics")
    truth = np.array([[0, 0, 0, 1, 1]], np.uint8)
    confusion = confusions(torch.from_numpy(truth)[None], torch.zeros(1, 1, 5, dtype=torch.uint8), 3)[0, :3].numpy()
    wanted = sk.jaccard_score(truth.ravel(), np.zeros(5), labels=[0, 1], average="macro")
    assert miou_of_one(confusion, 0) == pytest.approx(wanted) == 0.3
