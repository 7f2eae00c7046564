"""The grid: boundaries as in numpy.pad, modes as in SciPy, an adjoint that is one, and a definition judged by plain loops."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from faltung import Policy, convolve, correlate
from faltung.domains import ALL, KINDS, Boundary, Grid, named, pads_of_mode
from faltung.domains.boundary import read
from faltung.errors import ArgumentError
from faltung.planner import plan_problem
from faltung.testing.problems import draw, operands

NUMPY = {"constant": "constant", "edge": "edge", "reflect": "reflect", "symmetric": "symmetric", "wrap": "wrap"}
NDIMAGE = {"constant": "constant", "edge": "nearest", "reflect": "mirror", "symmetric": "reflect", "wrap": "wrap"}


def grid_of(n, pads, boundary, t=None):
    ndim = len(n)
    return Grid(tuple(n), t or (1,) * ndim, tuple(pads), (1,) * ndim, (1,) * ndim, tuple(boundary))


def padded_by_numpy(x, pads, boundary, zero, lead=0):
    """One axis after the other, first to last; a negative pad crops afterwards."""
    for axis, ((lo, hi), b) in enumerate(zip(pads, boundary, strict=True), start=lead):
        width = [(0, 0)] * x.ndim
        width[axis] = (max(lo, 0), max(hi, 0))
        extra = {"constant_values": zero if b.value is None else b.value} if b.kind == "constant" else {}
        x = np.pad(x, width, mode=NUMPY[b.kind], **extra)
        x = x[(slice(None),) * axis + (slice(max(-lo, 0), x.shape[axis] - max(-hi, 0)),)]
    return x


axis = st.tuples(
    st.integers(1, 6), st.integers(-2, 15), st.integers(-2, 15), st.sampled_from([*KINDS, "value"])
).filter(lambda a: a[0] + a[1] + a[2] > 0)


def facts(axes):
    boundary = [Boundary("constant", 2.5) if kind == "value" else Boundary(kind) for *_, kind in axes]
    return [a[0] for a in axes], [(a[1], a[2]) for a in axes], boundary


# A crop on one side reaches into what the other side adds where the signal is short: NumPy would crop the signal first.
def plain(axes):
    return all(n + min(lo, 0) + min(hi, 0) >= 1 for n, lo, hi, _ in axes)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(st.lists(axis, min_size=1, max_size=3).filter(plain))
def test_padding_is_numpys(axes):
    n, pads, boundary = facts(axes)
    x = np.random.default_rng(1).standard_normal((2, *n))
    assert np.array_equal(grid_of(n, pads, boundary).pad(x, 0.0), padded_by_numpy(x, pads, boundary, 0.0, 1))


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(
    st.lists(
        st.tuples(*(st.integers(1, 6), st.integers(-2, 9), st.integers(-2, 9), *[st.integers(1, 4)] * 3)),
        min_size=1,
        max_size=2,
    )
)
def test_products_with_samples_are_counted(axes):
    n, lo, hi, t, stride, dilation = zip(*axes, strict=True)
    pads = tuple(zip(lo, hi, strict=True))
    grid = Grid(n, t, pads, stride, dilation, (Boundary("constant"),) * len(n))
    assume(min(grid.m) > 0)
    inside = [np.prod([(at >= 0).sum() for at in sources]) for _, sources in grid.terms()]
    assert grid.met == pytest.approx(sum(inside) / (math.prod(grid.m) * grid.taps), abs=1e-12)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(st.lists(axis, min_size=1, max_size=3))
def test_folding_is_the_adjoint_of_padding(axes):
    n, pads, boundary = facts(axes)
    grid, random = grid_of(n, pads, boundary), np.random.default_rng(2)
    x = random.integers(-9, 9, (2, *n)).astype(float)
    w = random.integers(-9, 9, (2, *grid.padded)).astype(float)
    linear = grid.pad(x, 0.0) - grid.pad(np.zeros_like(x), 0.0)  # constants do not depend on x
    folded = grid.fold(w)
    assert folded.shape == x.shape
    assert (linear * w).sum() == (x * folded).sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_every_position_far_beyond_the_edge_has_its_source(kind, size):
    lo, hi = 4 * size + 1, 5 * size + 2
    marked = np.arange(1, size + 1)
    sources = Boundary(kind).sources(size, lo, hi)
    assert sources.shape == (lo + size + hi,)
    came = np.where(sources < 0, 0, marked[np.maximum(sources, 0)])
    assert came.tolist() == np.pad(marked, (lo, hi), mode=NUMPY[kind]).tolist()


def test_where_two_constants_meet_the_later_axis_wins():
    grid = grid_of((1, 1), [(1, 1), (1, 1)], [Boundary("constant", 7.0), Boundary("constant", 9.0)])
    assert grid.pad(np.zeros((1, 1)), 0.0).tolist() == [[9, 7, 9], [9, 0, 9], [9, 7, 9]]


# -- the definition, judged by loops that know nothing of it ------------------------------------------------------------------


def by_loops(problem, x, k):
    """y[p] = ⊕ over taps of x̃ ⊗ k, with every index written out, for plain and canonical dense patterns."""
    g, over = problem.grid, problem.over
    zero = over.zero(np.dtype(problem.compute_dtype))
    wide = padded_by_numpy(x, g.pads, g.boundary, zero)
    y = np.full(g.m, zero, dtype=problem.compute_dtype)
    for p in itertools.product(*map(range, g.m)):
        total = zero
        for u in itertools.product(*map(range, g.t)):
            at = tuple(i * s + v * d for i, s, v, d in zip(p, g.stride, u, g.dilation, strict=True))
            tap = tuple(t - 1 - v for t, v in zip(g.t, u, strict=True)) if problem.flip else u
            total = over.add(total, over.mul(wide[at], k[tap]))
        y[p] = total
    return y


@pytest.mark.parametrize("algebra", ["real", "complex", "integer", "boolean", "max-plus", "min-plus"])
@pytest.mark.parametrize("chunk", range(2))
def test_the_definition_equals_plain_loops(algebra, chunk):
    compared = 0
    for seed in range(30_000 + chunk * 40, 30_040 + chunk * 40):
        p = draw(seed, algebra=algebra, pattern="*s, *s -> *s", host="numpy", unknown="out")
        axes = list(zip(p.grid.n, *zip(*p.grid.pads, strict=True), [b.kind for b in p.boundary], strict=True))
        if p.macs > 3000 or not plain(axes) or p.out_dtype != p.compute_dtype:
            continue
        given_ = operands(p, seed)
        x, k = (given_[name].astype(p.compute_dtype) for name in "xk")
        came, wanted = plan_problem(p, Policy(only="definition"))(**given_), by_loops(p, x, k)
        if p.over.exact:
            assert np.array_equal(came, wanted), p.text
        else:
            near = 1e-4 if p.compute_dtype in ("float32", "complex64") else 1e-12
            assert np.allclose(came, wanted, rtol=near, atol=near * (1 + np.abs(k).sum())), p.text
        compared += 1
    assert compared >= 5


def test_patterns_are_sums_over_plain_convolutions():
    random = np.random.default_rng(5)
    x, k = random.standard_normal((2, 3, 7, 6)), random.standard_normal((4, 3, 3, 2))
    y = correlate(x, k, "b c *s, o c *s -> b o *s", mode="same", boundary="wrap")
    for b, o in np.ndindex(2, 4):
        assert np.allclose(
            y[b, o],
            sum(correlate(x[b, c], k[o, c], mode="same", boundary="wrap") for c in range(3)),
            rtol=0,
            atol=1e-12,
        )
    grouped = random.standard_normal((2, 2, 3, 7)), random.standard_normal((2, 4, 3, 3))
    y = convolve(*grouped, "b g c *s, g o c *s -> b g o *s")
    for b, g, o in np.ndindex(2, 2, 4):
        assert np.allclose(
            y[b, g, o], sum(convolve(grouped[0][b, g, c], grouped[1][g, o, c]) for c in range(3)), rtol=0, atol=1e-12
        )
    own = random.standard_normal((3, 2, 9)), random.standard_normal((3, 4, 2, 3))
    y = convolve(*own, "b c *s, b o c *s -> b o *s")
    for b in range(3):
        assert np.allclose(y[b], convolve(own[0][b], own[1][b], "c *s, o c *s -> o *s"), rtol=0, atol=1e-12)
    image, blur = random.standard_normal((8, 9, 3)), random.standard_normal((3, 3))
    y = convolve(image, blur, "*s c, *s -> *s c", mode="same")
    for c in range(3):
        assert np.allclose(y[..., c], convolve(image[..., c], blur, mode="same"), rtol=0, atol=1e-12)


def test_max_plus_gradients_follow_the_winning_tap():
    x, k, y = np.array([0.0, 5.0, 1.0, 0.0]), np.array([0.0, 0.0, 0.0]), np.array([1.0, 10.0])
    p = plan_problem(draw_valid(), Policy())
    assert p.problem.over.name == "max-plus"
    for unknown, wanted in (("x", [0.0, 11.0, 0.0, 0.0]), ("k", [10.0, 1.0, 0.0])):
        came = plan_problem(p.problem.gradient(unknown))(x=x, k=k, y=y)
        assert came.tolist() == wanted


def test_min_plus_gradients_follow_the_smallest_sum():
    x, k, y = np.array([9.0, 5.0, 7.0, 8.0]), np.zeros(3), np.array([1.0, 10.0])
    p = plan_problem(replace(draw_valid().gradient("x"), algebra="min-plus"))
    assert p(x=x, k=k, y=y).tolist() == [0.0, 11.0, 0.0, 0.0]
    assert plan_problem(p.problem.gradient("k"))(x=x, k=k, y=y).tolist() == [10.0, 1.0, 0.0]


def test_min_plus_is_max_plus_upside_down():
    random = np.random.default_rng(11)
    x, k = random.standard_normal((2, 30, 31)), random.standard_normal((2, 5, 4))
    x[0, 3, 4], x[1, 5] = np.nan, np.inf
    upside = convolve(-x, -k, "c *s, c *s -> c *s", over="max-plus", mode="same", boundary="reflect")
    assert np.array_equal(
        convolve(x, k, "c *s, c *s -> c *s", over="min-plus", mode="same", boundary="reflect"), -upside, equal_nan=True
    )


def test_min_plus_is_grey_erosion():
    random = np.random.default_rng(12)
    x, k = random.integers(0, 200, (12, 13)).astype(float), random.integers(0, 9, (3, 5)).astype(float)
    ours = correlate(x, -k, mode="same", boundary="symmetric", over="min-plus")
    assert np.array_equal(ours, scipy.ndimage.grey_erosion(x, structure=k))


def draw_valid():
    from faltung import Problem

    return Problem.parse(
        'correlate "*s, *s -> *s" x=4:float64 k=3:float64 out=float64 pad=0:0 boundary=constant algebra=max-plus'
    )


@pytest.mark.parametrize("unknown", ["x", "k"])
def test_gradients_are_difference_quotients(unknown):
    """Smooth algebras: exact, because the map is linear in either operand."""
    for seed in range(40_000, 40_040):
        p = draw(seed, algebra="real", host="numpy", unknown="out")
        dtypes = {"x_dtype": "float64", "k_dtype": "float64", "out_dtype": "float64"}
        p = type(p)(**{**{f: getattr(p, f) for f in p.__dataclass_fields__}, **dtypes})
        data = operands(p, seed)
        step = operands(p, seed + 1)[unknown]
        solve = plan_problem(p)
        moved = solve(**{**data, unknown: data[unknown] + step}) - solve(**data)
        gradient = plan_problem(p.gradient(unknown))(**data)
        left, right = float((moved * data["y"]).sum()), float((gradient * step).sum())
        assert abs(left - right) <= 1e-9 * (
            1 + np.abs(data["y"]).sum() * np.abs(data["x"]).max() * np.abs(data["k"]).sum()
        ), p.text


# -- neighbours' conventions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "taps"), [((11,), (3,)), ((9, 8), (3, 5)), ((7, 6, 5), (3, 3, 5))])
def test_odd_filters_are_scipy_ndimages(kind, shape, taps):
    random = np.random.default_rng(6)
    x, k = random.standard_normal(shape), random.standard_normal(taps)
    ours = correlate(x, k, mode="same", boundary=kind)
    assert np.allclose(ours, scipy.ndimage.correlate(x, k, mode=NDIMAGE[kind]), rtol=0, atol=1e-12)
    ours = convolve(x, k, mode="same", boundary=kind)
    assert np.allclose(ours, scipy.ndimage.convolve(x, k, mode=NDIMAGE[kind]), rtol=0, atol=1e-12)


def test_max_plus_is_grey_dilation():
    random = np.random.default_rng(7)
    x, k = random.integers(0, 200, (12, 13)).astype(float), random.integers(0, 9, (3, 5)).astype(float)
    ours = convolve(x, k, mode="same", boundary="symmetric", over="max-plus")
    assert np.array_equal(ours, scipy.ndimage.grey_dilation(x, structure=k))


def test_boolean_is_binary_dilation():
    random = np.random.default_rng(8)
    x, k = random.random((20, 21)) < 0.1, random.random((3, 5)) < 0.6
    assert np.array_equal(convolve(x, k, mode="same"), scipy.ndimage.binary_dilation(x, structure=k))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("n", "t"), [(1, 1), (5, 2), (6, 3), (7, 4), (9, 9)])
def test_modes_are_numpys(mode, n, t):
    x, k = np.arange(1.0, n + 1), np.arange(1.0, t + 1) ** 2
    assert np.allclose(convolve(x, k, mode=mode), np.convolve(x, k, mode=mode), rtol=1e-13)
    assert np.allclose(correlate(x, k, mode=mode), np.correlate(x, k, mode=mode), rtol=1e-13)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_a_mode_is_a_pair_of_pads(mode):
    x, k = np.arange(12.0).reshape(3, 4), np.ones((2, 3))
    for name in KINDS:
        assert np.array_equal(
            convolve(x, k, mode=pads_of_mode(mode, (2, 3)), boundary=name), convolve(x, k, mode=mode, boundary=name)
        )


def test_stride_keeps_every_other_result_and_dilation_spreads_the_taps():
    random = np.random.default_rng(9)
    x, k = random.standard_normal((13, 14)), random.standard_normal((3, 2))
    whole = convolve(x, k, boundary="reflect", mode="same", dilation=(2, 3))
    assert np.allclose(
        convolve(x, k, boundary="reflect", mode="same", dilation=(2, 3), stride=(3, 2)),
        whole[::3, ::2],
        rtol=0,
        atol=1e-13,
    )
    spread = np.zeros((5, 4))
    spread[::2, ::3] = k
    assert np.allclose(whole, convolve(x, spread, boundary="reflect", mode="same"), rtol=0, atol=1e-13)


def test_boundaries_are_read_from_words_numbers_and_lists():
    assert read("edge", 2) == (Boundary("edge"),) * 2
    assert read(3, 1) == (Boundary("constant", 3.0),)
    assert read(np.float32(0.5), 1) == (Boundary("constant", 0.5),)
    assert read(["edge", 2], 2) == (Boundary("edge"), Boundary("constant", 2.0))
    assert [Boundary.parse(Boundary(kind).text) for kind in KINDS] == [Boundary(kind) for kind in KINDS]
    for wrong in ("mirror", None, "constant()", b"edge", object()):
        with pytest.raises(ArgumentError, match="boundary"):
            Boundary.of(wrong)


def test_domains_are_listed_and_named():
    assert [d.name for d in ALL][:1] == ["grid"]
    assert all(d.summary and d.source and (isinstance(d, type) or named(d.name) is d) for d in ALL)
    with pytest.raises(ArgumentError, match="grid"):
        named("sphere")
