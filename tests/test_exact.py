"""Exact products by transforms modulo primes and by splitting: ends of all ranges, any size, and what happens without the bound."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import Policy, convolve, plan
from faltung.algebras.algebra import INTEGERS
from faltung.algebras.rational import RATIONAL
from faltung.errors import ExactnessError, RefusedError
from faltung.kernels.modular import objects, product, transformed
from faltung.kernels.ntt.layout import FACTORS, length_for, pieces, quarter_of
from faltung.kernels.ntt.primes import is_prime, primes, root, two_order
from faltung.testing.number_kernels import check_modular, check_ntt

NTT, KARATSUBA = Policy(only="ntt"), Policy(only="karatsuba")
ANY = settings(max_examples=60, deadline=None, database=None, derandomize=True)


def python_product(x, k):
    """The full product in Python's own integers."""
    return np.convolve(np.asarray(x).astype(object), np.asarray(k).astype(object))


# -- the number theory under it ---------------------------------------------------------------------------------------------


def test_primes_are_told_from_composites():
    sieve = [n for n in range(2, 2000) if all(n % d for d in range(2, math.isqrt(n) + 1))]
    assert [n for n in range(2000) if is_prime(n)] == sieve
    # Strong pseudoprimes to the first bases, and a Carmichael number.
    assert not any(map(is_prime, (2047, 1373653, 25326001, 3215031751, 3825123056546413051, 561)))
    assert is_prime(2**61 - 1)
    assert not is_prime((2**31 - 1) * (2**61 - 1))


def test_the_primes_of_the_transforms_are_what_they_say():
    chosen = primes(64)
    assert len(set(chosen)) == 64
    for p in chosen:
        assert is_prime(p)
        assert 2**48 < p < 2**49
        assert p % 2**30 == 1
        r = root(p, 30)
        assert pow(r, 2**30, p) == 1
        assert pow(r, 2**29, p) == p - 1
    assert two_order(998244353) == 23
    assert two_order(2**31 + 11) == 1
    assert two_order(2**32 + 1) == 0  # 641 divides it
    with pytest.raises(ValueError, match="no root"):
        root(998244353, 24)


@pytest.mark.parametrize("leaf", [16, 64])
def test_lengths_grow_by_quarters_and_their_factors_fill_them(leaf):
    for n in [*range(1, 3000), 99_999, 10**6]:
        length = length_for(n, leaf)
        assert n <= length
        assert length in (leaf, 2 * leaf) or length <= max(4 * leaf, n * 5 / 4 + 1), (n, length)
        assert length // quarter_of(length) in FACTORS
        found = pieces(length)
        assert [at for at, _, _ in found] == [sum(d for _, d, _ in found[:i]) for i in range(len(found))]
        assert sum(degree for _, degree, _ in found) == length
        for circle in (n // 2, n - 1):
            shorter = length_for(n, leaf, circle)
            assert shorter <= length
            assert shorter >= n or (shorter >= circle and shorter & (shorter - 1) == 0)


# -- integers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32"])
def test_the_largest_values_of_a_type(dtype):
    info, n = np.iinfo(dtype), 3000 if np.iinfo(dtype).bits < 32 else 1
    for low, high in ((info.min, info.min), (info.max, info.max), (info.min, info.max)):
        x = np.where(np.arange(2 * n) % 2, low, high).astype(dtype)
        k = np.full(n, high, dtype)
        y = convolve(x, k, policy=NTT)
        assert np.array_equal(y, convolve(x, k, policy=Policy(only="direct")))


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_sums_up_to_the_last_bit_of_the_accumulator(dtype):
    info = np.iinfo(dtype)
    x = np.array([info.max, 0, 1, info.max // 3, info.max - 5], dtype)
    if dtype == "int64":
        x[1] = -info.max
    for k in (np.array([1], dtype), np.array([0, 1, 0], dtype)):
        assert np.array_equal(convolve(x, k, policy=NTT).astype(object), python_product(x, k))
    with pytest.raises(ExactnessError):
        convolve(x, np.array([1, 1], dtype), policy=NTT)


@ANY
@given(st.data(), st.sampled_from(INTEGERS), st.sampled_from(INTEGERS))
def test_any_product_is_pythons(data, x_dtype, k_dtype):
    def values(dtype):
        info = np.iinfo(dtype)
        reach = 2 ** (29 if info.bits > 16 else 20)
        signed = info.min < 0 and "uint64" not in (x_dtype, k_dtype)
        each = st.integers(max(int(info.min), -reach) if signed else 0, min(int(info.max), reach))
        return np.array(data.draw(st.lists(each, min_size=1, max_size=40)), dtype)

    x, k = values(x_dtype), values(k_dtype)
    assert np.array_equal(convolve(x, k, policy=NTT).astype(object), python_product(x, k))


def test_long_products_of_many_axes_and_channels():
    random = np.random.default_rng(2)
    x, k = random.integers(-(2**15), 2**15, (2, 3, 40, 50)), random.integers(-(2**15), 2**15, (4, 3, 9, 8))
    options = {"mode": "same", "stride": (2, 1), "dilation": (1, 3), "boundary": ("reflect", 7)}
    for over in ("integer", "modular(1000003)", "modular(998244353)", "modular(4611686018427387847)"):
        given_ = x, k, "b c *s, o c *s -> b o *s"
        ours = [convolve(*given_, **options, over=over, policy=Policy(only="ntt", threads=t)) for t in (1, 2)]
        direct = convolve(*given_, **options, over=over, policy=Policy(only="definition"))
        assert np.array_equal(ours[0], direct)
        assert np.array_equal(ours[1], direct)
    x, k = random.integers(-(2**15), 2**15, 60_000), random.integers(-99, 99, 4001)
    for mode in ("full", "same", "valid", ((-7, 3),), ((5000, 9000),)):
        ours, direct = (convolve(x, k, mode=mode, policy=Policy(only=m)) for m in ("ntt", "direct"))
        assert np.array_equal(ours, direct), mode


# -- residues ---------------------------------------------------------------------------------------------------------------

MODULI = (2, 3, 97, 65537, 998244353, 2**31 - 1, 2**31 + 11, 2**40 * 453 + 1, 2**49 - 81, 2**61 - 1, 2**62)


@pytest.mark.parametrize("p", MODULI)
@pytest.mark.parametrize("n", [1, 30, 400, 1500])
def test_products_of_residues(p, n):
    random = np.random.default_rng(n)
    x, k = random.integers(0, p, (2, n)), random.integers(0, p, (2, max(1, 2 * n // 3)))
    x[0], k[0] = p - 1, p - 1
    y = product.modular(x, k, p)
    for row in range(2):
        wanted = python_product(x[row], k[row]) % p
        assert np.array_equal(y[row].astype(object), wanted)
    ours = [convolve(x[1], k[1], over=f"modular({p})", policy=policy) for policy in (NTT, KARATSUBA)]
    assert all(np.array_equal(came, y[1]) for came in ours)


def test_squares_take_one_transform_less_and_are_right():
    x = np.random.default_rng(1).integers(0, 2**61 - 1, (1, 5000))
    kept = x.copy()
    assert np.array_equal(product.modular(x, x, 2**61 - 1), product.modular(x, kept, 2**61 - 1))
    assert np.array_equal(x, kept)


def test_threads_do_not_meet():
    """Working memory is each thread's own, tables of constants are shared and grow."""
    random = np.random.default_rng(5)
    cases = [(random.integers(0, p, (1, n)), p) for n in (500, 3000, 20_000) for p in (998244353, 2**61 - 1, 2**31 - 1)]
    wanted = [product.modular(x, x[:, ::-1].copy(), p) for x, p in cases]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda case: product.modular(case[0], case[0][:, ::-1].copy(), case[1], 2), cases * 4))
    assert all(np.array_equal(came, wanted[i % len(cases)]) for i, came in enumerate(found))


@pytest.mark.parametrize("n", [1, 63, 64, 65, 5000, 31_000])
def test_products_of_bits(n):
    random = np.random.default_rng(n)
    x, k = random.integers(0, 2, (2, n + 7)), random.integers(0, 2, (2, n))
    x[0], k[0] = 1, 1
    wanted = product.words(x, k)[0] & np.uint64(1)
    assert np.array_equal(product.binary(x, k), wanted)
    assert np.array_equal(product.binary(k, x), wanted)


# -- Python's numbers -------------------------------------------------------------------------------------------------------

SIZES = st.sampled_from([1, 31, 32, 62, 63, 64, 65, 100, 128, 700, 1600, 4000])


@ANY
@given(st.data(), SIZES, SIZES)
def test_integers_of_any_size(data, x_bits, k_bits):
    def values(bits):
        ends = st.sampled_from([-(2**bits), 2**bits, 2**bits - 1, 0, 1, -1])
        each = st.one_of(ends, st.integers(-(2**bits), 2**bits))
        return np.array([*data.draw(st.lists(each, min_size=1, max_size=24)), 0], object)[:-1]

    x, k = values(x_bits), values(k_bits)
    wanted = np.array([*np.convolve(x, k)], object)
    assert np.array_equal(product.integers(x, k), wanted)
    by_digits = objects.convolved(x[None], k[None], (1, 1, 1, 1), len(wanted), 0, len(wanted), most=0)
    assert np.array_equal(by_digits[0], wanted)
    for policy in (NTT, KARATSUBA):
        assert np.array_equal(convolve(x, k, over="rational", policy=policy), wanted)


@ANY
@given(
    st.lists(st.fractions(max_denominator=60), min_size=1, max_size=60),
    st.lists(st.fractions(), min_size=1, max_size=30),
)
def test_fractions(x, k):
    x, k = np.array([*x, None], object)[:-1], np.array([*k, None], object)[:-1]
    wanted = np.convolve(x, k)
    for policy in (NTT, KARATSUBA, Policy()):
        y = convolve(x, k, over="rational", policy=policy)
        assert np.array_equal(y, wanted)
        assert all(isinstance(v, (int, Fraction)) for v in y)


@ANY
@given(
    st.lists(st.sampled_from([0, 0, 1, 5, 10**30, math.inf]), min_size=1, max_size=30),
    st.lists(st.sampled_from([0, 0, 2, 7, math.inf]), min_size=1, max_size=30),
)
def test_counting_knows_infinity(x, k):
    x, k = np.array([*x, None], object)[:-1], np.array([*k, None], object)[:-1]
    ours, wanted = (convolve(x, k, over="count", policy=Policy(only=m)) for m in ("ntt", "definition"))
    assert np.array_equal(ours, wanted)


def test_binomials_of_a_thousand():
    """(1 + X)^1000 by squaring: integers of a thousand bits."""
    row, power, n = np.array([1], object), np.array([1, 1], object), 1000
    while n:
        row = convolve(row, power, over="rational", policy=NTT) if n % 2 else row
        power, n = convolve(power, power, over="rational", policy=NTT), n // 2
    assert row.tolist() == [math.comb(1000, i) for i in range(1001)]


# -- refusing, and what the proofs are for ----------------------------------------------------------------------------------


def test_refusals_say_why():
    x = np.ones(8)
    with pytest.raises(RefusedError, match="exact sums of products, the algebra is real"):
        convolve(x, x, policy=NTT)
    with pytest.raises(RefusedError, match="residues and Python's numbers, real has the machine's own"):
        convolve(x, x, policy=KARATSUBA)
    with pytest.raises(RefusedError, match="differences, which count does not have"):
        convolve(np.ones(8, int), np.ones(8, int), over="count", policy=KARATSUBA)
    # Numbers of the caller's own, whose + and × Python does not know.
    least = replace(
        RATIONAL, name="least", add=np.frompyfunc(min, 2, 1), mul=np.frompyfunc(lambda a, b: a + b, 2, 1), admit=None
    )
    for policy in (NTT, KARATSUBA):
        with pytest.raises(RefusedError, match="least"):
            convolve(np.array([1, 2], object), np.array([3, 4], object), over=least, policy=policy)
    with pytest.raises(OverflowError, match="bits"):
        transformed.needed(1 << 4000)


def test_long_products_are_planned_by_transforms_and_short_ones_are_not():
    for over in ("integer", "modular(97)", "modular(2305843009213693951)", "count", "rational"):
        long, short = np.ones(50_000, int), np.ones(4, int)
        assert plan(long, long, over=over).method == "ntt"
        # What has no differences has no splitting either, and Python's own sums are slower.
        assert (plan(short, short, over=over).method == "ntt") == (over == "count")
    medium = np.ones(100, int)
    assert plan(medium, medium, over="modular(2305843009213693951)").method == "karatsuba"


def test_with_too_few_primes_results_are_wrong(monkeypatch):
    """The bound is there for a reason."""
    x = np.random.default_rng(0).integers(0, 2**61 - 1, (1, 4000))
    wanted = product.modular(x, x[:, ::-1].copy(), 2**61 - 1)
    monkeypatch.setattr(transformed, "needed", lambda bound: 2)
    assert not np.array_equal(product.modular(x, x[:, ::-1].copy(), 2**61 - 1), wanted)


class Broken:
    """A tool with one function replaced."""

    def __init__(self, module, **wrong):
        self.module, self.wrong = module, wrong

    def __getattr__(self, name):
        return self.wrong.get(name) or getattr(self.module, name)


def test_the_suite_sees_wrong_kernels():
    from faltung.kernels.modular import on_numba as modular
    from faltung.kernels.ntt import on_numba as ntt

    def late(rows, p):
        ntt.forward(rows, p)
        rows[0, 3] += 1.0

    def half(rows, p):
        ntt.scaled(rows, p)
        rows *= 0.5

    def lost(found, primes, modulus=0):
        return modular.leave(found, primes, modulus) - (modulus == 2**49 + 1)

    for wrong in ({"forward": late}, {"scaled": half}):
        with pytest.raises(AssertionError):
            check_ntt(Broken(ntt, **wrong))
    with pytest.raises(AssertionError, match="residues modulo 562949953421313"):
        check_modular(Broken(modular, leave=lost))
