"""Drawn faces: one person's are alike, parts share no person, keypoints lie on the features."""

import numpy as np

from hubel.data import faces, scenes
from hubel.data.drawn import Drawn
from hubel.data.shapes import EACH, shapes


def test_faces_of_one_person_are_alike_and_no_two_pictures_the_same():
    dataset = shapes(6 * EACH, 48, kind="faces")
    same, pictures = Drawn(0, 48, 48, True, 8, 5), [dataset.images.read(i) for i in range(12)]
    assert len({image.tobytes() for image in pictures}) == 12
    people = [same.face(i)[0] for i in range(2 * EACH)]
    assert all(np.array_equal(p.traits, people[0].traits) for p in people[:EACH])
    assert not np.array_equal(people[0].traits, people[EACH].traits)
    views = [same.face(i)[1] for i in range(EACH)]
    assert len({v.yaw for v in views}) == EACH
    assert dataset.annotations["label"].tolist() == [i // EACH for i in range(6 * EACH)]
    assert dataset.traits["identities"]


def test_parts_share_no_person_and_do_not_depend_on_the_count():
    large, small = shapes(200, 16, kind="faces"), shapes(95, 16, kind="faces")
    label = large.annotations["label"]
    parts = {name: set(label[index].tolist()) for name, index in large.splits.items()}
    assert set(parts) == {"train", "dev", "test"}
    assert not parts["train"] & parts["test"] and not parts["train"] & parts["dev"] and not parts["dev"] & parts["test"]
    for name, index in small.splits.items():
        assert index.tolist() == [i for i in large.splits[name].tolist() if i < 95]


def test_pairs_are_of_the_test_part_and_true():
    dataset = shapes(200, 16, kind="faces")
    pairs, label = dataset.tables["pairs"], dataset.annotations["label"]
    assert set(pairs[:, :2].ravel().tolist()) <= set(dataset.splits["test"].tolist())
    assert ((label[pairs[:, 0]] == label[pairs[:, 1]]) == pairs[:, 2]).all()
    assert 0.4 < pairs[:, 2].mean() < 0.6 and (pairs[:, 0] != pairs[:, 1]).all()


def test_keypoints_of_faces_lie_on_the_features():
    """The pupils are darker than the skin beside them; the outline has the skin's colour inside."""
    dataset = shapes(60, 128, kind="faces", seed=2)
    objects, drawn = dataset.annotations["objects"], dataset.images.drawn
    darker = 0
    for i in range(0, 60, 3):
        image = dataset.images.read(i).astype(int).sum(2)
        (x, y), (x2, y2) = objects.keypoints[i, :2, :2]
        person, view = drawn.face(i)
        darker += image[int(y), int(x)] < 3 * person.skin.mean() * 0.95 or image[int(y2), int(x2)] < image.mean()
        assert x < x2  # left_eye is the one on the left
        box = objects.boxes[i]
        assert (box[:2] <= objects.keypoints[i, :, :2].min(0) + 6).all()
        assert (box[2:] >= objects.keypoints[i, :, :2].max(0) - 6).all()
        assert view.scale > 0
    assert darker >= 18
    assert objects.skeleton.mirrored().tolist() == [1, 0, 2, 4, 3]


def test_rotation_of_a_scene_is_bounded():
    """Figures stay within 30 degrees of upright, so that their corners keep their names."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        scene = scenes.random_scene(rng, 64, 64, 8, 5)
        for one in scene.placed:
            middle, top = one.keypoints[0], one.keypoints[1]
            up = top - middle
            assert np.degrees(np.arctan2(abs(up[0]), -up[1])) < 30.01
    assert faces.SKELETON.names[0] == "left_eye"
