"""Filters against loops, SciPy and scikit-image, and the sums that textbooks print."""

import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch

from hubel.errors import UserError
from hubel.ops import filters
from hubel.ops.filters import ACROSS, DOWN, convolve, correlate, edges, gaussian, gradient, prewitt, sobel
from hubel.ops.padding import PADDINGS, pad

NUMBERS = torch.tensor([
    [3.0, 0, 1, 2, 7, 4], [1, 5, 8, 9, 3, 1], [2, 7, 2, 5, 1, 3],
    [0, 1, 3, 1, 7, 8], [4, 2, 1, 6, 2, 8], [2, 4, 5, 2, 3, 9],
])  # fmt: skip
VERTICAL = torch.tensor([[1.0, 0, -1]] * 3)  # bright on the left, dark on the right


def image(height=13, width=17, seed=0):
    return torch.rand(height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loop(pixels, kernel, sign):
    """The sum of the equation at every place where the filter lies inside."""
    (height, width), (rows, columns) = pixels.shape, kernel.shape
    found = torch.zeros(height - rows + 1, width - columns + 1, dtype=pixels.dtype)
    for r in range(found.shape[0]):
        for c in range(found.shape[1]):
            for u in range(rows):
                for v in range(columns):
                    row, column = (u, v) if sign > 0 else (rows - 1 - u, columns - 1 - v)
                    found[r, c] += kernel[u, v] * pixels[r + row, c + column]
    return found


def test_six_by_six_by_three_by_three_gives_four_by_four():
    found = correlate(NUMBERS, VERTICAL, "valid")
    assert found.tolist() == [[-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]]


def test_a_vertical_edge_answers_with_thirty():
    bright_to_dark = torch.tensor([[10.0, 10, 10, 0, 0, 0]] * 6)
    assert correlate(bright_to_dark, VERTICAL, "valid").tolist() == [[0, 30, 30, 0]] * 4
    assert correlate(bright_to_dark.flip(-1), VERTICAL, "valid").tolist() == [[0, -30, -30, 0]] * 4
    assert torch.equal(
        convolve(bright_to_dark.double(), prewitt(), "valid"), torch.tensor([[0.0, 30, 30, 0]] * 4).double()
    )


@pytest.mark.parametrize("slide, sign", [(correlate, 1), (convolve, -1)])
def test_both_ways_equal_their_loops(slide, sign):
    pixels, kernel = image(7, 9), torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(slide(pixels, kernel, "valid"), loop(pixels, kernel, sign))


@pytest.mark.parametrize("padding, mode", [("zero", "constant"), ("mirror", "mirror")])
def test_both_ways_equal_scipys(padding, mode):
    pixels, kernel = image(), torch.randn(3, 5, dtype=torch.float64)
    for ours, theirs in ((correlate, scipy.ndimage.correlate), (convolve, scipy.ndimage.convolve)):
        expected = theirs(pixels.numpy(), kernel.numpy(), mode=mode)
        np.testing.assert_allclose(ours(pixels, kernel, padding).numpy(), expected, atol=1e-12)


def test_convolution_commutes_and_associates_and_correlation_does_not():
    a, b, pixels = torch.randn(3, 3).double(), torch.randn(5, 5).double(), image(11, 11)

    def full(x, kernel, slide):
        return slide(pad(x, (kernel.shape[0] - 1, kernel.shape[1] - 1), "zero"), kernel, "valid")

    torch.testing.assert_close(full(a, b, convolve), full(b, a, convolve))
    np.testing.assert_allclose(full(a, b, convolve).numpy(), scipy.signal.convolve2d(a.numpy(), b.numpy()))
    assert not torch.allclose(full(a, b, correlate), full(b, a, correlate))
    one_after_the_other = full(full(pixels, a, convolve), b, convolve)
    torch.testing.assert_close(full(pixels, full(a, b, convolve), convolve), one_after_the_other)


def test_an_impulse_shows_the_filter_or_its_half_turn():
    impulse, kernel = torch.zeros(5, 5), torch.arange(9.0).view(3, 3)
    impulse[2, 2] = 1
    assert torch.equal(convolve(impulse, kernel)[1:4, 1:4], kernel)
    assert torch.equal(correlate(impulse, kernel)[1:4, 1:4], kernel.flip(0, 1))


def test_the_two_agree_on_a_gaussian_and_differ_in_sign_on_a_derivative():
    pixels = image()
    torch.testing.assert_close(correlate(pixels, gaussian(1.0)), convolve(pixels, gaussian(1.0)))
    torch.testing.assert_close(correlate(pixels, sobel()), -convolve(pixels, sobel()))


@pytest.mark.parametrize("name", ["prewitt", "sobel", "scharr"])
def test_derivatives_equal_those_of_scikit_image_and_scipy(name):
    skimage = pytest.importorskip("skimage.filters")
    pixels = image()
    across, down = gradient(pixels, name)
    for ours, axis in ((across, 1), (down, 0)):
        theirs = getattr(skimage, name)(pixels.numpy(), axis=axis, mode="mirror")
        np.testing.assert_allclose(2 * ours.numpy(), theirs, atol=1e-12)  # theirs: the change over two pixels
    root_of_mean = getattr(skimage, name)(pixels.numpy(), mode="mirror")
    np.testing.assert_allclose(2 * edges(pixels, name).numpy() / math.sqrt(2), root_of_mean, atol=1e-12)
    if name != "scharr":
        expected = getattr(scipy.ndimage, name)(pixels.numpy(), axis=1, mode="mirror")
        np.testing.assert_allclose(correlate(pixels, getattr(filters, name)()).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("name", filters.SMOOTHING)
def test_a_gradient_is_the_slope_per_pixel(name):
    rows, columns = torch.meshgrid(torch.arange(9.0).double(), torch.arange(8.0).double(), indexing="ij")
    across, down = gradient(3 * columns - 5 * rows, name, "valid")
    torch.testing.assert_close(across, torch.full_like(across, 3))
    torch.testing.assert_close(down, torch.full_like(down, -5))
    lengths = edges(3 * columns - 5 * rows, name, "valid")
    torch.testing.assert_close(lengths, torch.full_like(lengths, 34**0.5))


def test_scharr_depends_least_on_the_direction():
    """Waves of one length in all directions: the spread of the gradient's length over its mean."""
    rows, columns = torch.meshgrid(torch.arange(40.0).double(), torch.arange(40.0).double(), indexing="ij")
    spread = {}
    for name in filters.SMOOTHING:
        strengths = []
        for angle in np.linspace(0, math.pi / 2, 13):
            wave = torch.sin(0.8 * (math.cos(angle) * columns + math.sin(angle) * rows))
            strengths.append(edges(wave, name, "valid").amax().item())
        spread[name] = np.std(strengths) / np.mean(strengths)
    assert spread["scharr"] < spread["sobel"] / 2 < spread["prewitt"] / 4


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.5])
def test_a_gaussian_equals_scipys(sigma):
    pixels = image(31, 27)
    expected = scipy.ndimage.gaussian_filter(pixels.numpy(), sigma, mode="mirror")
    np.testing.assert_allclose(correlate(pixels, gaussian(sigma)).numpy(), expected, atol=1e-12)
    assert gaussian(sigma).sum().item() == pytest.approx(1)


def test_two_gaussians_are_one_with_the_variances_added():
    once = correlate(image(48, 48), gaussian(5.0), "mirror")
    twice = correlate(correlate(image(48, 48), gaussian(3.0)), gaussian(4.0))
    torch.testing.assert_close(once, twice, atol=2e-3, rtol=0)


def test_filters_go_over_batches_and_channels_alike():
    images = torch.rand(2, 3, 6, 7)
    found = correlate(images, sobel(DOWN))
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    torch.testing.assert_close(found[1, 2], correlate(images[1, 2], sobel(DOWN)))
    torch.testing.assert_close(correlate(images, sobel(ACROSS)).mT, correlate(images.mT, sobel(DOWN)))


@pytest.mark.parametrize("padding", PADDINGS)
def test_gradients_of_filtering(padding):
    pixels = image(5, 4)[None].requires_grad_()
    kernel = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: correlate(x, w, padding), (pixels, kernel))
    assert torch.autograd.gradcheck(lambda x: edges(x, "scharr", padding), pixels)


def test_nothing_flows_back_from_flat_parts():
    pixels = torch.zeros(1, 5, 6, requires_grad=True)
    with torch.no_grad():
        pixels[..., 4:] = 1
    found = edges(pixels)
    assert not found[..., :3].any() and found[..., 3:5].all()
    found.sum().backward()
    assert pixels.grad.isfinite().all() and not pixels.grad[..., :2].any() and pixels.grad[..., 2:].any()


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 5, 4)])
def test_padding_equals_numpys(shape):
    maps = torch.randn(shape, dtype=torch.float64)
    sides = [(0, 0)] * (len(shape) - 2) + [(2, 2), (3, 3)]
    assert torch.equal(pad(maps, (2, 3), "valid"), maps)
    np.testing.assert_array_equal(pad(maps, (2, 3), "zero").numpy(), np.pad(maps.numpy(), sides))
    np.testing.assert_array_equal(pad(maps, (2, 3), "mirror").numpy(), np.pad(maps.numpy(), sides, mode="reflect"))
    found = pad(maps, (2, 3), "mean")
    means = maps.mean((-2, -1), keepdim=True)
    assert torch.equal(found[..., 2:-2, 3:-3], maps)
    outside = torch.ones(found.shape[-2:], dtype=torch.bool)
    outside[2:-2, 3:-3] = False
    assert torch.equal(found[..., outside], means.flatten(-2).expand(*shape[:-2], int(outside.sum())))


def test_only_zeros_draw_an_edge_around_a_grey_image():
    grey = torch.full((8, 8), 0.5)
    assert edges(grey, padding="zero")[0].min() > 0.1
    assert not edges(grey, padding="mean").any()
    assert not edges(grey, padding="mirror").any()


@pytest.mark.parametrize("call, message", [
    (lambda: correlate(image(), sobel(), "miror"), "did you mean 'mirror'"),
    (lambda: correlate(image(), torch.ones(2, 2)), "2×2 has no centre"),
    (lambda: correlate(image(2, 2), sobel(), "valid"), "doesn't fit into 2×2"),
    (lambda: correlate(image(1, 5), sobel(), "mirror"), "side of at least 2, got 1"),
    (lambda: correlate(torch.zeros(3, 3, dtype=torch.uint8), sobel()), "floating-point"),
    (lambda: gradient(image(), "roberts"), "one of prewitt, sobel, scharr"),
    (lambda: sobel(0), "axis -1 .* or -2"),
    (lambda: gaussian(0.0), "above 0 pixels"),
])  # fmt: skip
def test_what_cannot_be_filtered_is_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()
