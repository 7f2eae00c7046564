"""Exact integer products by Fourier transforms: the extremes of every type, the bound, and what happens without it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import Policy, Problem, convolve, plan
from faltung.algebras.algebra import INTEGERS
from faltung.errors import ExactnessError, RefusedError
from faltung.methods import limbs
from faltung.planner import choose

LIMBS = Policy(only="limbs")


def python_product(x, k):
    """The full product in Python's own integers."""
    return np.convolve(x.astype(object), k.astype(object))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32"])
def test_the_largest_values_of_a_type(dtype):
    """The norms of the bound are attained: all values at an end of the range, of one sign and of changing signs."""
    info, n = np.iinfo(dtype), 3000 if np.iinfo(dtype).bits < 32 else 1
    for low, high in ((info.min, info.min), (info.max, info.max), (info.min, info.max)):
        x = np.where(np.arange(2 * n) % 2, low, high).astype(dtype)
        k = np.full(n, high, dtype)
        y = convolve(x, k, policy=LIMBS)
        ramp = np.minimum(np.minimum(np.arange(1, 3 * n), n), np.arange(3 * n - 1, 0, -1))
        if low == high:
            assert np.array_equal(y.astype(object), ramp.astype(object) * int(low) * int(high))
        else:
            assert np.array_equal(y, convolve(x, k, policy=Policy(only="direct")))


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_sums_up_to_the_last_bit_of_the_accumulator(dtype):
    info = np.iinfo(dtype)
    x = np.array([info.max, 0, 1, info.max // 3, info.max - 5], dtype)
    if dtype == "int64":
        x[1] = -info.max
    for k in (np.array([1], dtype), np.array([0, 1, 0], dtype)):
        assert np.array_equal(convolve(x, k, policy=LIMBS).astype(object), python_product(x, k))
    with pytest.raises(ExactnessError):
        convolve(x, np.array([1, 1], dtype), policy=LIMBS)


@settings(max_examples=120, deadline=None, database=None, derandomize=True)
@given(st.data(), st.sampled_from(INTEGERS), st.sampled_from(INTEGERS))
def test_any_product_is_pythons(data, x_dtype, k_dtype):
    def values(dtype):
        info = np.iinfo(dtype)
        # What two operands of 64 bits may hold so that sixteen products surely fit.
        reach = 2 ** (29 if info.bits > 16 else 20)
        each = st.integers(max(int(info.min) + 1, -reach), min(int(info.max), reach))  # whose magnitude fits, too
        return np.array(data.draw(st.lists(each, min_size=1, max_size=16)), dtype)

    x, k = values(x_dtype), values(k_dtype)
    if len({x_dtype, k_dtype} & {"uint64"}) and min(int(x.min()), int(k.min())) < 0:
        x, k = np.abs(x.astype(object)).astype(x_dtype), np.abs(k.astype(object)).astype(k_dtype)
    assert np.array_equal(convolve(x, k, policy=LIMBS).astype(object), python_product(x, k))


def test_long_products_of_many_axes_and_channels():
    random = np.random.default_rng(2)
    x, k = random.integers(-(2**15), 2**15, (2, 3, 40, 50)), random.integers(-(2**15), 2**15, (4, 3, 9, 8))
    for dtype in ("int16", "int32", "int64"):
        given_ = x.astype(dtype), k.astype(dtype), "b c *s, o c *s -> b o *s"
        options = {"mode": "same", "stride": (2, 1), "dilation": (1, 3), "boundary": ("reflect", 7)}
        ours, direct = (convolve(*given_, **options, policy=Policy(only=m)) for m in ("limbs", "direct"))
        assert np.array_equal(ours, direct)
    x, k = random.integers(-(2**15), 2**15, 60_000).astype("int16"), random.integers(-99, 99, 4001).astype("int16")
    for mode in ("full", "same", "valid", ((-7, 3),), ((5000, 9000),)):
        ours, direct = (convolve(x, k, mode=mode, policy=Policy(only=m)) for m in ("limbs", "direct"))
        assert np.array_equal(ours, direct), mode


@pytest.mark.parametrize("n", [255, 4096, 50_000])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_what_rounding_does_stays_far_within_the_bound(n, dtype, monkeypatch):
    """The distance of the transforms' results from integers, seen where they are rounded."""
    seen, right = [], limbs._put_together

    def watched(parts, *rest):
        seen.extend(float(np.abs(part - np.rint(part)).max()) for part in parts)
        return right(parts, *rest)

    monkeypatch.setattr(limbs, "_put_together", watched)
    reach = min(np.iinfo(dtype).max, int(math.sqrt(2**62 / n)))
    x = np.where(np.random.default_rng(n).random(n) < 0.5, -reach, reach).astype(dtype)
    p = plan(x, x, policy=LIMBS)
    p(x, x)
    bound = limbs.rounding(p.problem, limbs._cut(p.problem))
    assert bound < limbs.SAFE
    assert 0.0 < max(seen) < bound / 4 or max(seen) == 0.0


def test_without_the_bound_rounding_would_show(monkeypatch):
    """The limbs are there for a reason: with none, large values come out wrong."""
    x = np.random.default_rng(0).integers(-(2**24), 2**24, 4000).astype("int32")
    wanted = convolve(x, x, policy=Policy(only="direct"))
    assert np.array_equal(convolve(x, x, policy=LIMBS), wanted)
    monkeypatch.setattr(limbs, "rounding", lambda problem, cut: 0.0)
    limbs._cut.cache_clear()
    choose.planned_on.cache_clear()
    try:
        assert not np.array_equal(plan(x, x, policy=LIMBS)(x, x), wanted)
    finally:
        limbs._cut.cache_clear()
        choose.planned_on.cache_clear()


def test_products_too_long_for_the_bound_are_refused():
    line = 'convolve "*s, *s -> *s" x=90000000:int64 k=90000000:int64 out=int64 pad=89999999:89999999 algebra=integer'
    problem = Problem.parse(line)
    assert "more than 8 limbs" in limbs.LIMBS.refuses(problem)
    with pytest.raises(RefusedError, match="real"):
        convolve([1.0, 2.0], [3.0], policy=LIMBS)


def test_the_planner_takes_limbs_for_long_products_only():
    long, short = np.ones(100_000, "int16"), np.ones(9, "int16")
    floating = Policy(without=("ntt",))  # which is faster there
    assert plan(long, long, policy=floating).method == "limbs"
    assert plan(long, short, policy=floating).method != "limbs"


def test_scratch_of_a_long_product_is_what_the_plan_says():
    import tracemalloc

    x = np.random.default_rng(1).integers(-(2**31), 2**31, 70_001)
    p = plan(x.astype("int32"), (x >> 20).astype("int32"), policy=LIMBS)
    p(x.astype("int32"), (x >> 20).astype("int32"))
    a, b = x.astype("int32"), (x >> 20).astype("int32")
    tracemalloc.start()
    try:
        y = p(a, b)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= p.scratch + y.nbytes + (24 << 10)
