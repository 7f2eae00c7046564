"""Dispersion: the published matrix, its symmetries, and layers whose result keeps its size."""

import pytest
import torch

from faltung import nn, tools
from faltung.errors import ArgumentError, DtypeError

CORNER = [[0.5913, 0.3315, 0.5542], [0.3315, 0.1861, 0.3139], [0.5542, 0.3139, 0.5186]]


def test_the_matrix_is_the_published_one():
    sums = tools.dispersion_matrix(3, 5, 2, 0.05, grid=3).sum(1).reshape(5, 5)
    wanted = torch.tensor(CORNER).double()
    for turned in (sums, sums.flip(0), sums.flip(1), sums.T):
        torch.testing.assert_close(turned[:3, :3], wanted, rtol=0, atol=5e-5)


@pytest.mark.parametrize(("eta", "grid", "corner", "centre"), [(0.05, 5, 0.7235, 0.6001), (0.5, 3, 0.5752, 0.3887)])
def test_other_grids_and_weights(eta, grid, corner, centre):
    sums = tools.dispersion_matrix(3, 5, 2, eta, grid).sum(1).reshape(5, 5)
    assert abs(sums[0, 0] - corner) < 5e-5
    assert abs(sums[2, 2] - centre) < 5e-5


@pytest.mark.parametrize(
    ("small", "large", "scale", "ndim"),
    [(3, 5, 2, 2), (3, 7, 3, 2), (1, 3, 2, 2), (3, 5, 2, 1), (3, 5, 2, 3), (5, 9, 2, 1), (3, 3, 1, 2)],
)
def test_the_centre_stays_and_symmetries_are_kept(small, large, scale, ndim):
    matrix = tools.dispersion_matrix(small, large, scale, ndim=ndim)
    assert matrix.shape == (large**ndim, small**ndim)
    whole = matrix.reshape(*[large] * ndim, *[small] * ndim)
    centre = whole[(..., *[small // 2] * ndim)]
    delta = torch.zeros_like(centre)
    delta[(large // 2,) * ndim] = 1
    torch.testing.assert_close(centre, delta, rtol=0, atol=1e-12)
    for axis in range(ndim):
        torch.testing.assert_close(whole.flip(axis, ndim + axis), whole, rtol=0, atol=1e-10)
    if ndim > 1:
        torch.testing.assert_close(whole.transpose(0, 1).transpose(ndim, ndim + 1), whole, rtol=0, atol=1e-10)
        turned = whole.rot90(1, (0, 1)).rot90(1, (ndim, ndim + 1))
        torch.testing.assert_close(turned, whole, rtol=0, atol=1e-10)


def test_it_minimises_what_it_says():
    """Against the sum of squares itself, differentiated: no step from R makes it smaller."""
    torch.manual_seed(0)
    eta, scale = 0.1, 2
    matrix, kernel = tools.dispersion_matrix(3, 5, scale, eta), torch.randn(9).double()
    signals = torch.eye(9).double().reshape(9, 1, 3, 3)

    def up(x):
        return torch.nn.functional.interpolate(x, (5, 5), mode="bilinear", align_corners=True)

    def same(x, kernel, taps):
        return torch.nn.functional.conv2d(x, kernel.reshape(1, 1, taps, taps), padding=taps // 2)

    def loss(large):
        structure = same(up(signals), large, 5) - up(same(signals, kernel, 3))
        pixels = same(signals, large, 5) - same(signals, kernel, 3)
        return structure.square().sum() + eta**2 * pixels.square().sum()

    best = (matrix @ kernel).requires_grad_()
    (slope,) = torch.autograd.grad(loss(best), best)
    assert slope.abs().max() < 1e-10
    assert loss(best) < loss(torch.nn.functional.pad(kernel.reshape(3, 3), (1, 1, 1, 1)).flatten())


@pytest.mark.parametrize(
    "settings",
    [{"padding": 1}, {"padding": 1, "stride": 2, "groups": 2}, {"padding": "same", "bias": False}, {"dilation": 2}],
)
@pytest.mark.parametrize("ours", [True, False])
def test_layers_keep_their_size_and_the_taps_alone_change(settings, ours):
    make = nn.Conv2d if ours else torch.nn.Conv2d
    conv = make(4, 6, 3, dtype=torch.float64, **settings).eval()
    kept = {name: value.clone() for name, value in conv.state_dict().items()}
    matrix = tools.dispersion_matrix(3, 5, 2)
    made = tools.disperse(conv, 5, matrix)
    assert type(made) is type(conv)
    assert made.kernel_size == (5, 5)
    assert not made.training
    for o in range(6):
        for c in range(conv.weight.shape[1]):
            torch.testing.assert_close(made.weight[o, c].flatten(), matrix @ conv.weight[o, c].flatten())
    for n in (9, 12):
        x = torch.randn(1, 4, n, n, dtype=torch.float64)
        assert made(x).shape == conv(x).shape
    assert all(torch.equal(conv.state_dict()[name], value) for name, value in kept.items())
    assert (made.bias is None) == (conv.bias is None)


def test_enlarged_signals_are_treated_alike():
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False, dtype=torch.float64)
    made = tools.disperse(conv, 5, tools.dispersion_matrix(3, 5, 2))
    x = torch.nn.functional.avg_pool2d(torch.randn(1, 1, 36, 36, dtype=torch.float64), 5, 1)

    def up(x):
        return torch.nn.functional.interpolate(x, [2 * n - 1 for n in x.shape[2:]], mode="bilinear", align_corners=True)

    wanted = up(conv(x))
    plain, dispersed = (((c(up(x)) - wanted).norm() / wanted.norm()).item() for c in (conv, made))
    assert dispersed < plain / 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((4, 5, 2), "odd"),
        ((5, 3, 2), "no smaller"),
        ((3, 5, 1.5), "scale"),
        ((3, 5, 2, -1), "eta"),
        ((3, 5, 2, 0.05, 1), "grid"),
        ((3, 5, 2, 0.05, 3, 0), "ndim"),
    ],
)
def test_wrong_matrices_are_refused(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        tools.dispersion_matrix(*arguments)


def test_wrong_layers_are_refused():
    conv, matrix = torch.nn.Conv2d(1, 1, 3), tools.dispersion_matrix(3, 5, 2)
    with pytest.raises(ArgumentError, match="even numbers"):
        tools.disperse(conv, 4, matrix)
    with pytest.raises(ArgumentError, match=r"a matrix of shape \(49, 9\)"):
        tools.disperse(conv, 7, matrix)
    with pytest.raises(ArgumentError, match="list"):
        tools.disperse(conv, 5, [[1.0]])
    with pytest.raises(DtypeError, match="Linear"):
        tools.disperse(torch.nn.Linear(1, 1), 5, matrix)
