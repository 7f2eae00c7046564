"""Norms of convolutions: never below the exact one, attained from below, and as close as the theory says."""

import itertools
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung.certify import gram_bound, spectral_norm
from faltung.certify.gram import both, prepared
from faltung.certify.operator import Operator, copies
from faltung.certify.supremum import over_all, tap_rows
from faltung.errors import ArgumentError
from faltung.filters import Symbol

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)
MODES = ("zeros", "circular", "reflect", "replicate")


def drawn_layer(rng):
    """(weight, settings, input size): any stride, dilation, groups, padding mode, transposed or not, in 1 to 3 dimensions."""
    ndim = int(rng.integers(1, 4))
    top = {1: 12, 2: 6, 3: 3}[ndim]
    kernel = tuple(int(k) for k in rng.integers(1, 5 if ndim < 3 else 3, ndim))
    transposed = bool(rng.random() < 0.2)
    mode = "zeros" if transposed else MODES[rng.integers(4)]
    while True:
        n = tuple(int(v) for v in rng.integers(1, top + 1, ndim))
        padding = tuple(int(v) for v in rng.integers(0, 4, ndim))
        dilation = tuple(int(v) for v in rng.integers(1, 4 if ndim < 3 else 2, ndim))
        stride = tuple(int(v) for v in rng.integers(1, 4, ndim))
        if mode == "circular" and any(p > a for p, a in zip(padding, n, strict=True)):
            continue
        if mode == "reflect" and any(p >= a for p, a in zip(padding, n, strict=True)):
            continue
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        if transposed:
            fits = all((a - 1) * s - 2 * p + r >= 1 for a, s, p, r in zip(n, stride, padding, reach, strict=True))
        else:
            fits = all(a + 2 * p >= r for a, p, r in zip(n, padding, reach, strict=True))
        if fits:
            break
    groups = int(rng.integers(1, 3))
    weight = rng.standard_normal((groups * rng.integers(1, 4), rng.integers(1, 4), *kernel))
    if (
        rng.random() < 0.3
    ):  # a peak at constants, as trained layers have it, and a case where bounds are nearly attained
        weight = np.abs(weight)
    given = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    given |= {"transposed": True} if transposed else {"padding_mode": mode}
    return torch.from_numpy(weight), given, n


def dense(weight, given, n):
    """The matrix of the layer, by torch's own convolution of unit impulses."""
    ndim = weight.ndim - 2
    given = dict(given)
    groups = given["groups"]
    if given.pop("transposed", False):
        apply = getattr(torch.nn.functional, f"conv_transpose{ndim}d")
        units = torch.eye(weight.shape[0] * math.prod(n), dtype=torch.float64).reshape(-1, weight.shape[0], *n)
        return apply(units, weight, **given).flatten(1).T
    channels = weight.shape[1] * groups
    units = torch.eye(channels * math.prod(n), dtype=torch.float64).reshape(-1, channels, *n)
    mode, padding = given.pop("padding_mode"), given.pop("padding")
    around = [p for p in reversed(padding) for _ in range(2)]
    units = torch.nn.functional.pad(units, around, mode="constant" if mode == "zeros" else mode)
    return getattr(torch.nn.functional, f"conv{ndim}d")(units, weight, **given).flatten(1).T


def check_never_below(first, count):
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        weight, given, n = drawn_layer(rng)
        exact = float(torch.linalg.matrix_norm(dense(weight, given, n), 2))
        everywhere = spectral_norm(weight, rtol=0.05, **given)
        here = spectral_norm(weight, n, rtol=0.05, **given)
        assert here.upper >= exact, seed
        assert here.lower <= exact * (1 + 1e-12), seed
        least = [int(word) for word in everywhere.certified_for.split() if word.isdigit()]
        if not least or all(a >= b for a, b in zip(n, least, strict=True)):
            assert everywhere.upper >= exact, seed
        assert everywhere.lower <= everywhere.upper
        rows, least, patches = (
            spectral_norm(weight, n, method=m, **given) for m in ("gram-tap", "reshaped", "patches")
        )
        assert min(rows.upper, least.upper) >= exact, seed
        assert exact * (1 - 1e-12) <= least.upper <= patches.upper, seed
        assert least.lower <= exact * (1 + 1e-12), seed


def test_bounds_are_never_below_the_dense_norm():
    check_never_below(0, 150)


@pytest.mark.slow
def test_bounds_are_never_below_the_dense_norm_of_a_thousand_layers():
    check_never_below(1000, 1000)


def test_the_check_sees_a_bound_that_is_too_low(monkeypatch):
    monkeypatch.setattr(sys.modules["faltung.certify.operator"], "copies", lambda *_: 1)
    monkeypatch.setattr(sys.modules["faltung.certify.norms"], "copies", lambda *_: 1)
    with pytest.raises(AssertionError):
        check_never_below(0, 150)


@few
@given(seed=seeds)
def test_the_supremum_is_met_by_large_inputs_and_both_ends_hold(seed):
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((*rng.integers(1, 4, 2), *rng.integers(1, 5, rng.integers(1, 3))))
    bound = spectral_norm(weight)
    ndim = weight.ndim - 2
    fine = Symbol(weight).norm(1009 if ndim == 1 else 101)
    assert fine <= bound.upper * (1 + 1e-12)
    assert bound.lower <= bound.upper <= bound.lower * 1.0101
    assert bound.lower <= fine * 1.01


@few
@given(seed=seeds, rank=st.integers(1, 5))
def test_gram_iteration_falls_and_keeps_its_ratio(seed, rank):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((rank, rank + 2)) + 1j * rng.standard_normal((rank, rank + 2))
    exact = np.linalg.norm(matrix, 2)
    bounds = [float(gram_bound(matrix, t)) for t in range(8)]
    assert all(b >= exact * (1 - 1e-13) for b in bounds)
    assert all(b <= a * (1 + 1e-13) for a, b in itertools.pairwise(bounds))
    assert all(b <= exact * rank**2.0 ** -(t + 1) * (1 + 1e-13) for t, b in enumerate(bounds))
    orders = [
        float((np.linalg.svd(matrix, compute_uv=False) ** 2 ** (t + 1)).sum() ** 2.0 ** -(t + 1)) for t in range(6)
    ]
    assert np.allclose(bounds[:6], orders, rtol=1e-12)
    _, lower = both(prepared(matrix), 5)
    assert float(lower) <= exact * (1 + 1e-13)


def test_the_identity_is_the_case_of_equality():
    weight = torch.zeros(64, 64, 3, 3, dtype=torch.float64)
    weight[range(64), range(64), 1, 1] = 1
    circular = spectral_norm(weight, 8, padding=1, padding_mode="circular", n_iter=5)
    assert abs(circular.upper - 1.0671404006768237) < 1e-8
    assert abs(float(gram_bound(torch.eye(64), 5)) - 1.0671404006768237) < 1e-14
    small = weight[:8, :8]
    assert torch.allclose(tap_rows(small[None], 4), torch.ones(1, 8, dtype=torch.float64), atol=1e-12)
    assert abs(spectral_norm(small, padding=1, method="gram-tap").upper - 1) < 1e-8


def test_published_suprema_and_toeplitz_norms():
    sobel = np.outer([1.0, 2, 1], [1, 0, -1])[None, None]
    for kernel, value in (
        (sobel, 8),
        (np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None], 8),
        (np.ones((1, 1, 3, 3)), 9),
    ):
        bound = spectral_norm(kernel, padding=1, rtol=1e-3)
        assert bound.lower <= value + 1e-9
        assert value <= bound.upper <= value * 1.001
    second = np.array([[[-1.0, 2, -1]]])
    zero, circular = spectral_norm(second, 16, padding=1), spectral_norm(second, 16, padding=1, padding_mode="circular")
    exact = 2 + 2 * math.cos(math.pi / 17)
    assert abs(zero.lower - 3.9659461994) < 1e-9
    assert exact <= zero.upper * (1 + 1e-15) <= 4.0001
    assert abs(circular.upper - 4) < 1e-8
    assert abs(circular.lower - 4) < 1e-8


@few
@given(seed=seeds)
def test_a_nonnegative_kernel_gains_the_sum_of_its_taps(seed):
    kernel = np.abs(np.random.default_rng(seed).standard_normal((1, 1, 3, 4)))
    bound = spectral_norm(kernel)
    assert bound.lower <= kernel.sum() * (1 + 1e-12)
    assert kernel.sum() <= bound.upper


def test_a_norm_on_one_circle_is_labelled_and_may_be_below_that_of_another():
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3))
    circle = {
        n: spectral_norm(weight, n, padding=1, padding_mode="circular", method="gram-fft", n_iter=12) for n in (8, 16)
    }
    everywhere = spectral_norm(weight, padding=1, padding_mode="circular", rtol=1e-4)
    assert circle[8].certified_for == "input size 8 x 8"
    assert circle[8].upper < circle[16].lower < everywhere.upper
    assert everywhere.certified_for == "every input size"
    for n, bound in circle.items():
        exact = float(Symbol(weight).norm(n))
        assert exact <= bound.upper <= exact * 3**2.0**-13 * (1 + 1e-9)


@few
@given(seed=seeds, factor=st.sampled_from([1e-30, 0.1, -3.0, 1e30]))
def test_bounds_scale(seed, factor):
    weight = np.random.default_rng(seed).standard_normal((3, 2, 3))
    assert math.isclose(spectral_norm(factor * weight).upper, abs(factor) * spectral_norm(weight).upper, rel_tol=1e-9)


def test_more_steps_never_hurt():
    for seed in range(5):
        weight = np.random.default_rng(seed).standard_normal((4, 5, 3, 3))
        for options in ({}, {"input_size": 7, "padding": 1, "padding_mode": "circular"}, {"method": "gram-tap"}):
            uppers = [spectral_norm(weight, n_iter=t, **options).upper for t in (1, 2, 3, 4, 5)]
            assert uppers == sorted(uppers, reverse=True)
            for t, upper in zip((1, 2, 3, 4, 5), uppers, strict=True):
                if "padding_mode" in options:
                    assert upper <= float(Symbol(weight).norm(7)) * 4**2.0 ** -(t + 1) * (1 + 1e-9)


def test_strides_dilations_and_groups_are_what_the_theory_says():
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((4, 2, 3, 3))
    plain = spectral_norm(weight, rtol=1e-3)
    assert math.isclose(spectral_norm(weight, dilation=3, rtol=1e-3).upper, plain.upper)
    halves = [spectral_norm(weight[:2], rtol=1e-3), spectral_norm(weight[2:], rtol=1e-3)]
    grouped = spectral_norm(weight, groups=2, rtol=1e-3)
    assert max(h.lower for h in halves) <= grouped.upper <= max(h.upper for h in halves) * 1.001
    patches = rng.standard_normal((5, 2, 3))  # stride = kernel: windows do not meet
    exact = float(np.linalg.norm(patches.reshape(5, 6), 2))
    assert exact <= spectral_norm(patches, stride=3).upper <= exact * 1.01


def test_gradient_is_that_of_the_bound():
    for options in (
        {},
        {"stride": 2, "groups": 2},
        {"input_size": 6, "padding_mode": "circular", "padding": 1},
        {"method": "gram-tap"},
        {"method": "reshaped"},
    ):
        rng = np.random.default_rng(5)
        weight = torch.tensor(rng.standard_normal((4, 2, 3)), requires_grad=True)
        bound = spectral_norm(weight, **options)
        (gradient,) = torch.autograd.grad(bound.upper, weight)
        direction = torch.tensor(rng.standard_normal((4, 2, 3)))
        with torch.no_grad():
            ends = [float(spectral_norm(weight + h * direction, **options).upper) for h in (-1e-5, 1e-5)]
        assert abs((ends[1] - ends[0]) / 2e-5 - float((gradient * direction).sum())) < 1e-4


def test_zero_and_single_taps():
    assert spectral_norm(np.zeros((2, 3, 3))).upper == 0
    assert spectral_norm(np.zeros((2, 3, 3)), method="gram-tap").upper == 0
    assert math.isclose(spectral_norm(np.full((1, 1, 1), -2.5)).upper, 2.5, rel_tol=1e-9)
    weight = torch.zeros(2, 2, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(spectral_norm(weight, n_iter=3).upper, weight)
    assert torch.equal(gradient, torch.zeros_like(weight))


def test_layers_of_torch_and_ours_are_read():
    from faltung.nn import Conv2d, ConvTranspose2d

    torch.manual_seed(0)
    for make in (torch.nn.Conv2d, Conv2d):
        layer = make(2, 3, 3, stride=2, padding=1, padding_mode="reflect")
        matrix = dense(
            layer.weight.detach().double(),
            {"stride": 2, "groups": 1, "padding": (1, 1), "padding_mode": "reflect"},
            (5, 6),
        )
        bound = spectral_norm(layer, (5, 6))
        exact = float(torch.linalg.matrix_norm(matrix, 2))
        assert bound.upper >= exact
        assert abs(bound.lower - exact) < 1e-5 * exact
    for make in (torch.nn.ConvTranspose2d, ConvTranspose2d):
        layer = make(2, 3, 3, stride=2, padding=1, output_padding=1)
        bound = spectral_norm(layer, (4, 4))
        weight = layer.weight.detach().double()
        matrix = dense(
            weight, {"stride": 2, "padding": 1, "output_padding": 1, "groups": 1, "transposed": True}, (4, 4)
        )
        exact = float(torch.linalg.matrix_norm(matrix, 2))
        assert bound.upper >= exact
        assert abs(bound.lower - exact) < 1e-5 * exact


def test_copies_are_the_norm_of_padding():
    for mode in MODES:
        for n, lo, hi in ((5, 2, 1), (3, 2, 2), (2, 1, 1), (4, 0, 3)):
            line = torch.eye(n, dtype=torch.float64)[:, None]
            padded = (
                torch.nn.functional.pad(line, (lo, hi))
                if mode == "zeros"
                else torch.nn.functional.pad(line, (lo, hi), mode)
            )
            exact = float(torch.linalg.matrix_norm(padded[:, 0], 2)) ** 2
            assert abs(copies(mode, n, lo, hi) - exact) < 1e-9


def test_the_theorem_holds_where_it_is_attained():
    """1 + cos ω, seen on a grid that misses its peak: the lower end plus the theorem's factor is the supremum itself."""
    theta = math.pi / 8
    taps = np.array([[[1.0, np.exp(1j * theta)]]])  # |F| = 2 |cos((ω − θ) / 2)|
    symbol = Symbol(torch.tensor(taps))
    grid = 8
    seen = float(symbol.norm(grid))
    assert abs(seen / math.cos(math.pi / (2 * grid)) - 2) < 1e-12
    peak = over_all(symbol, 0.01, None, False)
    assert peak.lower <= 2 <= peak.upper * (1 + 1e-12)
    coarse = over_all(symbol, 100.0, None, False)
    assert coarse.lower <= 2 <= coarse.upper * (1 + 1e-12)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: spectral_norm(torch.nn.Linear(2, 2)), "a convolution layer"),
        (lambda: spectral_norm(np.ones((1, 1, 3)), method="power"), "a method among"),
        (lambda: spectral_norm(np.ones((1, 1, 3)), rtol=0), "rtol above 0"),
        (lambda: spectral_norm(np.ones((1, 1, 3)), method="gram-fft"), "an input_size"),
        (lambda: spectral_norm(np.ones((1, 1, 3)), 1), "at least as large as"),
        (lambda: spectral_norm(np.ones((1, 1, 3)), kernel=1), "settings among"),
        (lambda: spectral_norm(torch.nn.Conv1d(1, 1, 3), stride=2), "a layer alone"),
        (lambda: spectral_norm(np.ones((1, 1, 3)), padding_mode="wrap"), "a padding_mode among"),
        (lambda: spectral_norm(np.ones((1, 1, 3)), (3, 3)), "1 sizes"),
    ],
)
def test_wrong_calls_are_refused(call, word):
    with pytest.raises(ArgumentError, match=word):
        call()


def test_operators_apply_what_torch_does():
    weight, given, n = drawn_layer(np.random.default_rng(11))
    operator = Operator.read(weight, "test", **given)
    matrix = dense(weight, given, n)
    x = torch.randn(1, operator.inputs, *n, dtype=torch.float64)
    assert torch.allclose(operator.apply(x).flatten(), matrix @ x.flatten())


def test_layouts_of_taps_are_bounds_and_met_by_what_they_fit():
    """The patches that overlap see a sample several times; where they do not, the matrix of patches is the operator."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((5, 3, 4, 4))
    flat = np.linalg.norm(weight.reshape(5, -1), 2)
    bound = {s: spectral_norm(weight, stride=s, method="patches").upper for s in (1, 2, 3, 4, 7)}
    for s, overlap in ((1, 4), (2, 2), (3, 2), (4, 1), (7, 1)):
        assert bound[s] == pytest.approx(overlap * flat, rel=1e-9)  # a square root for each of two axes
    assert spectral_norm(weight, 16, stride=4, method="svd").upper == pytest.approx(bound[4], rel=1e-9)
    layouts = [
        weight.transpose(axes).reshape(rows, -1)
        for axes, rows in (((0, 1, 2, 3), 5), ((0, 2, 1, 3), 20), ((0, 3, 1, 2), 20), ((0, 2, 3, 1), 80))
    ]
    wanted = 4 * min(np.linalg.norm(m, 2) for m in layouts)
    assert spectral_norm(weight, method="reshaped").upper == pytest.approx(wanted, rel=1e-9)
    even = np.ones((1, 1, 3, 3))  # all taps alike: attained at frequency 0
    assert spectral_norm(even, method="reshaped").upper == pytest.approx(9, rel=1e-9)


def test_the_published_kernel_has_the_published_gaps():
    """64 × 64 × 5 × 5, Gaussian, on a circle of 12: 83.09, 0.026 less than by 5 Gram steps, 94 less than by layouts. This is
    another draw, so numbers agree as far as such kernels are alike."""
    weight = torch.randn(64, 64, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    circle = {"padding": 2, "padding_mode": "circular"}
    exact = spectral_norm(weight, 12, method="svd", **circle).upper
    assert exact == pytest.approx(83.1, abs=3)
    gaps = {m: spectral_norm(weight, 12, method=m, n_iter=5, **circle).upper - exact for m in ("gram-fft", "reshaped")}
    assert 0 <= gaps["gram-fft"] < 0.05
    assert gaps["reshaped"] == pytest.approx(94, abs=4)


def test_the_published_matrix_converges_as_published():
    """500 × 400, Gaussian: 42.0, met by 15 Gram steps to about 4e-12."""
    matrix = torch.randn(500, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = float(torch.linalg.matrix_norm(matrix, 2))
    assert exact == pytest.approx(41.99, abs=0.8)
    assert abs(float(gram_bound(matrix, 15)) - exact) < 2e-11
