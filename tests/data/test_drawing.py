"""What is drawn: pure functions of (seed, epoch, slot, name), in their ranges; matrices that do what they say."""

import numpy as np
import pytest
from scipy import stats

from hubel.data.apply import apply_image
from hubel.data.augment import Augment
from hubel.data.chosen import OPERATIONS, Chosen
from hubel.data.draws import normal, symmetric_beta, uniform
from hubel.data.geometric import Geometric, matrices, shearing, tilting, turning
from hubel.data.photometric import Colour, Look, Texture, apply_look, look_of
from hubel.errors import UserError
from hubel.ops import colour, elastic
from hubel.ops.geometry import move_points

SLOTS = np.arange(4000)
ALL = (
    Geometric(rotate=20, scale=0.3, shear=10, perspective=0.2),
    Colour(0.4, 0.3, 0.5, 0.1, 0.2, 1.0, 0.2),
    Texture(blur=2, noise=0.05, jpeg=40, solarise=0.3, posterise=0.3),
    Chosen(),
    Chosen(1, None),
)


@pytest.mark.parametrize("options", ALL, ids=lambda o: type(o).__name__)
def test_a_draw_depends_on_its_slot_alone(options):
    some = np.array([7, 3, 3000, 8])
    whole, part = options.draw(3, 5, SLOTS), options.draw(3, 5, some)
    other = options.draw(3, 6, SLOTS), options.draw(4, 5, SLOTS)
    assert whole.keys() == part.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(values[some], part[name])
        assert all((values != draws[name]).any() for draws in other)


def test_an_added_operation_changes_no_other_draw():
    for options, more in (
        (Geometric(rotate=20), Geometric(rotate=20, scale=0.3, shear=3, perspective=0.1)),
        (Colour(hue=0.1), Colour(0.4, 0.3, 0.5, 0.1, 0.2, 1, 0.5)),
        (Texture(noise=0.1), Texture(1, 0.1, 50, 0.5, 0.5)),
    ):
        alone, all_of_them = options.draw(0, 0, SLOTS), more.draw(0, 0, SLOTS)
        for name, values in alone.items():
            np.testing.assert_array_equal(values, all_of_them[name])


def test_ranges():
    found = ALL[0].draw(0, 0, SLOTS)
    assert np.degrees(np.abs(found["turn"])).max() == pytest.approx(20, abs=0.1)
    assert found["factor"].max() == pytest.approx(1.3, abs=0.01) and found["factor"].min() == pytest.approx(
        1 / 1.3, abs=0.01
    )
    assert abs(np.log(found["factor"]).mean()) < 0.01  # as often larger as smaller
    found = ALL[1].draw(0, 0, SLOTS)
    assert found["brightness"].min() == pytest.approx(0.6, abs=0.01) and found["cast"].shape == (4000, 3)
    assert np.abs(found["hue"]).max() == pytest.approx(0.1, abs=0.001) and found["grey"].mean() == pytest.approx(
        0.2, abs=0.02
    )
    found = ALL[2].draw(0, 0, SLOTS)
    assert (found["blur"] == 0).mean() == pytest.approx(0.5, abs=0.03) and found["blur"].max() == pytest.approx(
        2, abs=0.01
    )
    quality = found["quality"][found["quality"] > 0]
    assert quality.min() == 40 and quality.max() == 100 and set(np.unique(found["bits"])) == {4, 5, 6, 7, 8}
    control = Geometric(elastic=0.03).draw_control(0, 0, SLOTS[:50])
    assert control.shape == (50, 2, elastic.POINTS, elastic.POINTS) and 0.029 < np.abs(control).max() <= 0.03


def test_normal_draws():
    draws = normal(0, 0, SLOTS, "some", 3)
    assert stats.kstest(draws.ravel(), "norm").pvalue > 0.01
    np.testing.assert_allclose(np.corrcoef(draws.T), np.eye(3), atol=0.05)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0, 8.0])
def test_symmetric_beta_is_the_inverse_distribution(alpha):
    u = uniform(0, 0, SLOTS, "beta", 1)[:, 0]
    np.testing.assert_allclose(stats.beta(alpha, alpha).cdf(symmetric_beta(u / 2, alpha)), u / 2, atol=1e-4)
    np.testing.assert_allclose(symmetric_beta(1 - u / 2, alpha), 1 - symmetric_beta(u / 2, alpha), atol=1e-9)


def test_matrices_turn_about_the_middle():
    size, middle = (40, 60), np.array([[30.0, 20.0]])
    found = matrices({"turn": np.array([np.pi / 2, 0.3]), "factor": np.array([2.0, 0.5])}, size, 2)
    for matrix in found:
        np.testing.assert_allclose(move_points(middle, matrix), middle, atol=1e-12)
    np.testing.assert_allclose(move_points(np.array([[40.0, 20.0]]), found[0]), [[30, 40]], atol=1e-12)
    assert matrices({"brightness": np.ones(2)}, size, 2) is None and Geometric().plain


def test_each_matrix():
    point = np.array([[1.0, 2.0]])
    angle, tangent, tilt = np.array(0.3), np.array(0.5), np.array(0.25)
    np.testing.assert_allclose(
        move_points(point, turning(angle)), [[np.cos(0.3) - 2 * np.sin(0.3), np.sin(0.3) + 2 * np.cos(0.3)]]
    )
    np.testing.assert_allclose(move_points(point, shearing(tangent, tangent)), [[2.0, 3.0]])
    assert np.linalg.det(shearing(tangent, tangent)) == pytest.approx(1)
    np.testing.assert_allclose(move_points(point, tilting(tilt, tilt)), point / 1.75)
    moved = matrices({"move_x": np.array([0.1])}, (40, 60), 1)
    np.testing.assert_allclose(move_points(np.array([[5.0, 5.0]]), moved[0]), [[11, 5]])


def test_perspective_keeps_the_target_in_front():
    found = Geometric(perspective=0.45).draw(0, 0, SLOTS)
    corners = np.array([[0.0, 0, 1], [60, 0, 1], [60, 40, 1], [0, 40, 1]])
    for matrix in np.linalg.inv(matrices(found, (40, 60), len(SLOTS))):
        w = corners @ matrix[2]
        assert (w * w[0] > 0).all()


def test_a_look_is_one_step_after_the_other():
    """In float64 with the operations' own functions, one rounding: the product; then table and filters."""
    rng = np.random.default_rng(0)
    image = rng.integers(60, 190, (12, 14, 3)).astype(np.uint8)
    amounts = Colour(0.2, 0.2, 0.3, 0.05, 0.1, 0.3, 0.3).draw(0, 0, SLOTS[:20])
    look = look_of(amounts)
    for row in range(20):
        v = image / 255
        for name in ("brightness", "contrast", "saturation", "hue", "cast", "lighting"):
            matrix = getattr(colour, name)(amounts[name][row])
            v = v @ matrix[:, :3].T + matrix[:, 3]
        v = np.repeat(v @ colour.LUMA[:, None], 3, 2) if amounts["grey"][row] else v
        assert np.abs(apply_look(image, look, row) - np.clip(v * 255, 0, 255)).max() <= 0.9
    assert Look().plain and not look.plain and look.rows(slice(3, 5)).colour.shape == (2, 3, 4)


def test_texture_follows_its_amounts():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    texture = look_of(Texture(blur=2, noise=0.1, jpeg=30, solarise=0.5, posterise=0.5).draw(0, 0, SLOTS[:100]))
    rows = np.arange(100)
    still = (
        (texture.blur == 0)
        & (texture.noise == 0)
        & (texture.quality == 0)
        & (texture.threshold > 1)
        & (texture.bits == 8)
    )
    assert still.any()
    for row in rows:
        same = np.array_equal(apply_look(image, texture, row), image)
        assert (
            same == still[row] or texture.threshold[row] > 0.99 or texture.noise[row] < 0.003 or texture.blur[row] < 0.1
        )
    np.testing.assert_array_equal(texture.tables[still.argmax()], np.arange(256))


def test_chosen_operations():
    chosen = Chosen(2, 0.3)
    strengths = chosen.strengths(0, 0, SLOTS)
    used = np.stack([np.abs(s) for s in strengths.values()], axis=1)
    assert len(strengths) == len(OPERATIONS) - 1
    assert used.sum(1).max() == pytest.approx(0.6) and ((used > 0).sum(1) <= 2).all()
    np.testing.assert_allclose((used > 0).mean(0), 2 / len(OPERATIONS), rtol=0.25)
    amounts = Chosen(1, None).draw(0, 0, SLOTS)
    assert np.degrees(amounts["turn"]).max() == pytest.approx(30, abs=1) and amounts["brightness"].min() >= 0.05
    assert amounts["bits"].min() == 4 and amounts["threshold"].max() == 2
    assert "saturation" not in Chosen(leave=("saturation",)).draw(0, 0, SLOTS)
    idle = Chosen(1, None).strengths(0, 0, SLOTS)
    assert (np.stack(list(idle.values())) == 0).all(0).mean() == pytest.approx(1 / len(OPERATIONS), rel=0.25)


@pytest.mark.parametrize(
    "make",
    [lambda: Geometric(rotate=200), lambda: Geometric(elastic=0.2), lambda: Geometric(scale=-1),
     lambda: Colour(hue=0.7), lambda: Colour(grey=2), lambda: Texture(jpeg=101), lambda: Texture(noise=-0.1),
     lambda: Chosen(0), lambda: Chosen(2, 0.0)],
)  # fmt: skip
def test_impossible_options(make):
    with pytest.raises(UserError):
        make()


EVERY = Texture(blur=2, noise=0.1, jpeg=30, solarise=0.5, posterise=0.5)
JITTER = Colour(0.3, 0.3, 0.3, 0.05)


@pytest.mark.parametrize("geometric", [Geometric(), Geometric(rotate=20), Geometric(elastic=0.03)])
@pytest.mark.parametrize(("colour", "texture"), [(JITTER, EVERY), (Colour(), Texture(blur=2)), (JITTER, Texture())])
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.uint8, 1), (np.uint16, 3), (np.uint16, 1)])
def test_written_into_what_was_given(geometric, colour, texture, dtype, channels):
    """The same bits as without it, for one image after another; the source stays what it was."""
    top = np.iinfo(dtype).max
    images = np.random.default_rng(0).integers(0, top, (12, 70, 60, channels)).astype(dtype)
    augment = Augment(crop=(0.5, 1.0), flip="random", geometric=geometric, colour=colour, texture=texture)
    draws = augment.draw(0, 0, np.arange(12), (70, 60), (64, 56))
    alone = [apply_image(image, draws, row).copy() for row, image in enumerate(images.copy())]
    before, out = images.copy(), np.zeros((12, 64, 56, channels), dtype)
    found = [apply_image(image, draws, row, out[row]) for row, image in enumerate(images)]
    for one, same in zip(alone, found, strict=True):
        np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(images, before)
