"""What layers are to each other: matrices, sums, gradients, sizes and costs, in numbers.

Local connections and weight sharing stand in test_local.py, unpooling in test_unpooling.py, the variance of the weights
and symmetry in test_init.py, dropout in test_layers.py and below.
"""

import itertools

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hubel.nn.padding import conv2d
from hubel.nn.pooling import global_average_pool
from hubel.nn.unpooling import bed_of_nails


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def some(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def count(module):
    return sum(p.numel() for p in module.parameters())


def multiplications(module, *shape):
    """By torch's own counter, which counts a multiplication and an addition as two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, *shape))
    return counter.get_total_flops() // 2


# A convolution is a matrix -------------------------------------------------------------------------------------------


def matrix_of(weight, side, stride, padding):
    """The (outputs, inputs) matrix of a convolution, entry by entry; and which weight (or -1) each entry is."""
    n_out, n_in, height, width = weight.shape
    rows, columns = ((n + 2 * padding - f) // stride + 1 for n, f in zip(side, (height, width), strict=True))
    matrix = torch.zeros(n_out, rows, columns, n_in, *side, dtype=weight.dtype)
    source = torch.full(matrix.shape, -1)
    numbers = torch.arange(weight.numel()).view(weight.shape)
    for r, c, u, v in itertools.product(range(rows), range(columns), range(height), range(width)):
        row, column = stride * r + u - padding, stride * c + v - padding
        if 0 <= row < side[0] and 0 <= column < side[1]:
            matrix[:, r, c, :, row, column] = weight[:, :, u, v]
            source[:, r, c, :, row, column] = numbers[:, :, u, v]
    return matrix.flatten(3).flatten(0, 2), source.flatten(3).flatten(0, 2)


@pytest.mark.parametrize("stride, padding", [(1, 0), (2, 1)])
def test_a_convolution_is_a_sparse_matrix_with_shared_entries(stride, padding):
    layer, x = nn.Conv2d(2, 3, 3, stride, padding).double(), some(4, 2, 6, 5)
    matrix, source = matrix_of(layer.weight, (6, 5), stride, padding)
    y = layer(x)
    bias = layer.bias.repeat_interleave(y[0, 0].numel())
    torch.testing.assert_close(y.flatten(1), x.flatten(1) @ matrix.T + bias)
    assert matrix.ne(0).sum(1).max() <= 2 * 9 < matrix.shape[1]  # a row sees one window only
    assert source.unique().numel() - 1 == 2 * 3 * 9 < matrix.ne(0).sum()  # and few numbers make all entries


def test_one_row_of_a_convolution_in_one_dimension_is_the_next_one_shifted():
    matrix, _ = matrix_of(some(1, 1, 1, 3), (1, 8), 1, 0)
    assert matrix.shape == (6, 8)
    assert all(torch.equal(matrix[i + 1], matrix[i].roll(1)) for i in range(5))  # Toeplitz


def test_a_dense_layer_is_a_convolution_as_large_as_the_map():
    """n×n for the first dense layer, 1×1 for those behind it."""
    dense, behind, x = nn.Linear(3 * 5 * 4, 7).double(), nn.Linear(7, 2).double(), some(2, 3, 5, 4)
    large, small = nn.Conv2d(3, 7, (5, 4)).double(), nn.Conv2d(7, 2, 1).double()
    large.load_state_dict({"weight": dense.weight.view(7, 3, 5, 4), "bias": dense.bias})
    small.load_state_dict({"weight": behind.weight.view(2, 7, 1, 1), "bias": behind.bias})
    torch.testing.assert_close(small(large(x)).flatten(1), behind(dense(x.flatten(1))))
    wide = some(2, 3, 7, 6)  # on a larger map: the dense layers on every window
    slid = [behind(dense(wide[:, :, r : r + 5, c : c + 4].flatten(1))) for r in range(3) for c in range(3)]
    torch.testing.assert_close(small(large(wide)).flatten(2), torch.stack(slid, 2))


@pytest.mark.parametrize("stride, size, padding", [(2, 3, 1), (3, 5, 0), (4, 1, 0)])
def test_a_strided_convolution_is_the_dense_one_then_subsampling(stride, size, padding):
    x, weight = some(2, 3, 11, 13), some(4, 3, size, size)
    strided = F.conv2d(x, weight, stride=stride, padding=padding)
    torch.testing.assert_close(strided, F.conv2d(x, weight, padding=padding)[:, :, ::stride, ::stride])


def test_global_average_pooling_is_a_fixed_block_diagonal_matrix():
    x = some(2, 3, 4, 5)
    matrix = torch.block_diag(*[torch.full((1, 20), 1 / 20, dtype=torch.float64)] * 3)  # (C, C·H·W)
    torch.testing.assert_close(global_average_pool(x), x.flatten(1) @ matrix.T)


def test_pooled_features_move_less_under_a_shift_than_flattened_ones():
    layers = nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.Conv2d(8, 8, 5), nn.ReLU())
    scene = F.avg_pool2d(torch.rand(16, 1, 40, 40), 3, 1)
    here, there = (layers(scene[..., s : s + 32, s : s + 32]) for s in (0, 2))

    def moved(features):
        a, b = features(here), features(there)
        return ((a - b).norm() / (a - a.mean(0)).norm()).item()  # against how much images differ

    flattened, pooled = moved(lambda m: m.flatten(1)), moved(global_average_pool)
    assert pooled < 0.5 * flattened
    around = [layers(F.pad(scene[..., :16, :16], (12 + s, 12 - s, 12, 12))) for s in (0, 3)]  # nothing leaves the image
    a, b = (global_average_pool(m) for m in around)
    torch.testing.assert_close(a, b)


# Pooling and its reverse ---------------------------------------------------------------------------------------------


def test_max_pooling_routes_the_gradient_to_the_winner_only():
    x = some(2, 3, 6, 8).requires_grad_()
    upstream = some(2, 3, 3, 4)
    F.max_pool2d(x, 2).backward(upstream)
    for b, c, r, k in itertools.product(range(2), range(3), range(3), range(4)):
        window, gradient = (t[b, c, 2 * r : 2 * r + 2, 2 * k : 2 * k + 2].flatten() for t in (x, x.grad))
        expected = torch.zeros(4, dtype=torch.float64)
        expected[window.argmax()] = upstream[b, c, r, k]
        assert torch.equal(gradient, expected)


@pytest.mark.parametrize("pool", [nn.MaxPool2d, nn.AvgPool2d])
def test_two_by_two_pooling_rejects_three_quarters_and_has_no_parameters(pool):
    layer, x = pool(2), some(1, 4, 12, 10)
    assert layer.stride == 2
    assert 1 - layer(x).numel() / x.numel() == 0.75
    assert count(layer) == 0


@pytest.mark.parametrize("stride, padding", [(1, 0), (2, 0), (2, 1)])
def test_a_transposed_convolution_is_the_gradient_of_the_convolution(stride, padding):
    weight, x = some(4, 3, 3, 3), some(2, 3, 7, 9).requires_grad_()
    y = F.conv2d(x, weight, stride=stride, padding=padding)
    upstream = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, upstream)
    torch.testing.assert_close(F.conv_transpose2d(upstream, weight, stride=stride, padding=padding), gradient)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_transposed_convolution_sums_copies_of_the_filter(stride):
    """Each input lays its filter, weighted by itself, over the output; where copies overlap they add up."""
    weight, x = some(2, 4, 3, 3), some(1, 2, 3, 4)
    expected = torch.zeros(1, 4, stride * 2 + 3, stride * 3 + 3, dtype=torch.float64)
    for k, r, c in itertools.product(range(2), range(3), range(4)):
        expected[0, :, stride * r : stride * r + 3, stride * c : stride * c + 3] += x[0, k, r, c] * weight[k]
    torch.testing.assert_close(F.conv_transpose2d(x, weight, stride=stride), expected)


def test_a_transposed_convolution_is_a_bed_of_nails_and_a_convolution_with_the_filter_turned():
    weight, x = some(2, 4, 3, 3), some(2, 2, 4, 5)
    nails = F.pad(bed_of_nails(x, 2), (2, 1, 2, 1))  # the zeros behind the last nail are part of the bed
    turned = weight.flip(2, 3).transpose(0, 1)
    torch.testing.assert_close(F.conv2d(nails, turned), F.conv_transpose2d(x, weight, stride=2))


# Batch normalisation and dropout at test time ------------------------------------------------------------------------


def norm_with_history(channels):
    norm = nn.BatchNorm2d(channels).double()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm.eval()


def test_batch_norm_behind_a_convolution_is_part_of_it_at_test_time():
    """γ·(w∗x + b − μ)/√(σ² + ε) + β is a convolution with w·γ/√(σ² + ε) and (b − μ)·γ/√(σ² + ε) + β."""
    layer, norm = nn.Conv2d(3, 5, 3, padding=1).double(), norm_with_history(5)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    folded = nn.Conv2d(3, 5, 3, padding=1).double()
    folded.load_state_dict({
        "weight": layer.weight * scale[:, None, None, None],
        "bias": (layer.bias - norm.running_mean) * scale + norm.bias,
    })  # fmt: skip
    x = some(2, 3, 6, 6)
    torch.testing.assert_close(folded(x), norm(layer(x)))
    a, b = some(2, 1, 3, 6, 6)
    torch.testing.assert_close(norm(layer(a)) - norm(layer(b)), F.conv2d(a - b, folded.weight, padding=1))  # linear


def test_batch_norm_before_a_convolution_folds_inside_only():
    """Zeros at the border stay zeros, but the shift would have moved them: pre-activation networks can't be folded."""
    norm, layer = norm_with_history(3), nn.Conv2d(3, 5, 3, padding=1).double()
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    folded = nn.Conv2d(3, 5, 3, padding=1).double()
    weight = layer.weight * scale[:, None, None]
    folded.load_state_dict({"weight": weight, "bias": layer.bias + (layer.weight.sum((2, 3)) @ shift)})
    x = some(2, 3, 6, 6)
    torch.testing.assert_close(folded(x)[..., 1:-1, 1:-1], layer(norm(x))[..., 1:-1, 1:-1])
    assert not torch.allclose(folded(x)[..., 0, :], layer(norm(x))[..., 0, :], rtol=0.01)


def test_weight_scaling_approximates_the_average_over_many_masks():
    """Digits learnt with dropout of one half in two layers: one pass without masks against 400 with.

    It is near the geometric mean of what the masked networks say (normalised), and decides as their average does, which
    is less sure of itself. The masks leave weights half as strong: without scaling the answer is far from both.
    """
    pixels, labels = (torch.from_numpy(found) for found in load_digits(return_X_y=True))
    pixels = pixels.float() / 16
    hidden = [(nn.Linear(n, 100), nn.ReLU(), nn.Dropout(0.5)) for n in (64, 100)]
    network = nn.Sequential(*hidden[0], *hidden[1], nn.Linear(100, 10))
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(80):
        rows = torch.randint(0, 1500, (64,))
        optimizer.zero_grad()
        F.cross_entropy(network(pixels[rows]), labels[rows]).backward()
        optimizer.step()
    x = pixels[1500:1560]
    with torch.no_grad():
        masked = network(x.repeat(400, 1)).view(400, 60, 10).log_softmax(2)
        average, geometric = masked.exp().mean(0), masked.mean(0).softmax(1)
        scaled = network.eval()(x).softmax(1)
        for layer in (network[3], network[6]):
            layer.weight *= 2
        unscaled = network(x).softmax(1)

    def distance(a, b):
        return (a - b).abs().sum(1).mean().item() / 2  # total variation, 0 to 1

    assert distance(scaled, geometric) < 0.02
    assert distance(scaled, average) < 0.8 * distance(masked[0].exp(), average)
    assert distance(unscaled, geometric) > 3 * distance(scaled, geometric)
    assert scaled.argmax(1).eq(average.argmax(1)).float().mean() > 0.97


# Sizes and costs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f, p, s", [*itertools.product((1, 2, 3, 5), (0, 1, 2), (1, 2, 3))])
def test_the_output_of_a_convolution_has_floor_of_n_plus_2p_minus_f_by_s_plus_one_cells(f, p, s):
    for n in (5, 6, 7, 12):
        places = [first for first in range(-p, n + p, s) if first + f <= n + p]  # where the filter lies inside
        side = nn.Conv2d(1, 1, f, s, p)(torch.zeros(1, 1, n, n)).shape[-1]
        assert side == (n + 2 * p - f) // s + 1 == len(places)
        if 2 * p <= f:
            assert F.max_pool2d(torch.zeros(1, 1, n, n), f, s, p).shape[-1] == side


def test_six_by_six_by_three_by_three_and_the_same_size():
    assert nn.Conv2d(1, 1, 3)(torch.zeros(1, 1, 6, 6)).shape == (1, 1, 4, 4)
    for size in (1, 3, 5, 7):
        layer = conv2d(1, 1, size)
        assert layer.padding == ((size - 1) // 2,) * 2
        assert layer(torch.zeros(1, 1, 6, 6)).shape == (1, 1, 6, 6)


def test_ten_filters_of_three_by_three_by_three_are_280_numbers():
    assert count(conv2d(3, 10)) == (3 * 3 * 3) * 10 + 10 == 280
    assert count(nn.Conv2d(8, 16, (3, 5))) == (3 * 5 * 8) * 16 + 16


def seen(layer, side=15):
    """How many pixels a side the middle cell depends on."""
    x = torch.rand(1, 4, side, side, requires_grad=True)
    y = layer(x)
    (gradient,) = torch.autograd.grad(y[0, :, y.shape[2] // 2, y.shape[3] // 2].sum(), x)
    return int(gradient[0].abs().sum((0, 1)).ne(0).sum())


def test_three_small_layers_see_what_one_large_sees_with_fewer_weights_and_more_activations():
    stacked = nn.Sequential(*(layer for _ in range(3) for layer in (conv2d(4, 4, bias=False), nn.Softplus())))
    large = conv2d(4, 4, 7, bias=False)
    assert seen(stacked) == seen(large) == 7
    assert (count(stacked), count(large)) == (27 * 4**2, 49 * 4**2)


def test_depthwise_separable_saves_as_one_over_n_and_one_over_f_squared():
    full = nn.Conv2d(3, 5, 3, bias=False)
    separable = nn.Sequential(nn.Conv2d(3, 3, 3, groups=3, bias=False), nn.Conv2d(3, 5, 1, bias=False))
    assert full(torch.zeros(1, 3, 6, 6)).shape == separable(torch.zeros(1, 3, 6, 6)).shape == (1, 5, 4, 4)
    costs = multiplications(full, 3, 6, 6), multiplications(separable, 3, 6, 6)
    assert costs == (2160, 672)
    assert costs[1] / costs[0] == pytest.approx(1 / 5 + 1 / 9)


def test_a_bottleneck_takes_an_inception_branch_from_120_to_12_million():
    branch = nn.Conv2d(192, 32, 5, padding=2)
    narrow = nn.Sequential(nn.Conv2d(192, 16, 1), nn.Conv2d(16, 32, 5, padding=2))
    assert multiplications(branch, 192, 28, 28) == 120_422_400
    assert multiplications(narrow, 192, 28, 28) == 2_408_448 + 10_035_200  # 12.4 M
