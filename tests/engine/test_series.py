"""Power series: the laws of calculus hold exactly, values equal known series, and what does not exist is refused."""

import math
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import Policy
from faltung.engine import series
from faltung.errors import ArgumentError, RefusedError

ANY = settings(max_examples=40, deadline=None, database=None, derandomize=True)
PRIMES = (998244353, 2**61 - 1, 2**31 - 1, 2**89 - 1)
EXACT = ("rational", *(f"modular({p})" for p in PRIMES))


@st.composite
def coefficients(draw, over, first=None, longest=20):
    """Coefficients of a series, the constant one given or not."""
    small = st.integers(-9, 9)
    values = st.one_of(small, st.fractions(-3, 3, max_denominator=5)) if over == "rational" else st.integers(0, 2**31)
    drawn = draw(st.lists(values, min_size=1, max_size=longest))
    return [*([] if first is None else [first]), *drawn]


def padded(f, n):
    return [*f, *[0] * n][:n]


def equal(a, b, over):
    p = int(over[8:-1]) if over.startswith("modular") else 0
    return [v % p if p else v for v in a] == [v % p if p else v for v in b]


# -- reference values -------------------------------------------------------------------------------------------------------


def test_powers_of_a_binomial():
    assert series.power([3, 1], 3, 4).tolist() == [27, 27, 9, 1]
    assert series.power([3, 1], 7, 8).tolist() == [2187, 5103, 5103, 2835, 945, 189, 21, 1]
    fifth = series.power([3, 1], 5, 6)
    assert sum(c * 17**i for i, c in enumerate(fifth.tolist())) == 20**5


def test_sine_and_cosine_are_exact():
    sin, cos = series.sin_cos([0, 1], 20)
    assert (sin[7], cos[8], sin[13]) == (F(-1, 5040), F(1, 40320), F(1, 6227020800))
    product = series.multiply(sin, cos, 14)
    wanted = {1: 1, 3: F(-2, 3), 5: F(2, 15), 7: F(-4, 315), 9: F(2, 2835), 11: F(-4, 155925), 13: F(4, 6081075)}
    assert product.tolist() == [wanted.get(i, 0) for i in range(14)]
    one = series.multiply(sin, sin, 20) + series.multiply(cos, cos, 20)
    assert one.tolist() == padded([1], 20)
    assert series.derivative(sin).tolist() == cos[:19].tolist()
    assert series.derivative(cos).tolist() == (-sin[:19]).tolist()
    assert series.integral(cos)[:20].tolist() == sin.tolist()
    assert (-series.integral(sin, -1)[:20]).tolist() == cos.tolist()
    e = series.exp([0, 1], 20)
    assert series.derivative(e).tolist() == e[:19].tolist()
    assert series.integral(e, 1)[:20].tolist() == e.tolist()
    assert e.tolist() == [F(1, math.factorial(i)) for i in range(20)]


def test_known_series():
    assert series.inverse([1, -1, -1], 12).tolist() == [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144]
    root = series.sqrt([1, -4], 11)  # 1 − 2x·(Catalan)
    assert [-v / 2 for v in root[1:].tolist()] == [math.comb(2 * n, n) // (n + 1) for n in range(10)]
    assert series.log([1, 1], 9).tolist()[1:] == [F((-1) ** (i + 1), i) for i in range(1, 9)]
    assert series.power([1, 1], F(1, 3), 4).tolist() == [1, F(1, 3), F(-1, 9), F(5, 81)]
    # Bell numbers: exp(exp(x) − 1).
    inner = series.exp([0, 1], 9)
    inner[0] = 0
    bell = [v * math.factorial(i) for i, v in enumerate(series.exp(inner, 9).tolist())]
    assert bell == [1, 1, 2, 5, 15, 52, 203, 877, 4140]
    # Bernoulli numbers: x / (exp(x) − 1).
    numbers = series.inverse(series.exp([0, 1], 11)[1:], 10).tolist()
    assert [v * math.factorial(i) for i, v in enumerate(numbers)][:7] == [
        1,
        F(-1, 2),
        F(1, 6),
        0,
        F(-1, 30),
        0,
        F(1, 42),
    ]


def test_numbers_of_partitions_modulo_a_prime():
    """∏ 1/(1 − xⁱ): the logarithm is a sum over divisors; p(10⁴) is known to all its digits."""
    n, p = 10_001, 998244353
    sums = np.zeros(n, np.int64)
    for d in range(1, n):
        sums[d::d] += d
    log = sums.astype(object) * np.array([0, *(pow(i, -1, p) for i in range(1, n))], object) % p
    found = series.exp(log.astype(np.int64), n, over=f"modular({p})")
    assert found[:11].tolist() == [1, 1, 2, 3, 5, 7, 11, 15, 22, 30, 42]
    euler = [0] * n  # Euler's recurrence
    euler[0] = 1
    for i in range(1, 1001):
        k, total = 1, 0
        while (first := k * (3 * k - 1) // 2) <= i:
            sign = 1 if k % 2 else -1
            total += sign * (euler[i - first] + (euler[i - first - k] if first + k <= i else 0))
            k += 1
        euler[i] = total
    assert found[:1001].tolist() == [v % p for v in euler[:1001]]


# -- laws -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", EXACT)
@ANY
@given(st.data(), st.integers(1, 40))
def test_exp_and_log_undo_each_other(over, data, n):
    f = data.draw(coefficients(over, 0))
    assert equal(series.log(series.exp(f, n, over), n, over), series.multiply(padded(f, n), [1], n, over), over)
    g = data.draw(coefficients(over, 1))
    assert equal(series.exp(series.log(g, n, over), n, over), series.multiply(padded(g, n), [1], n, over), over)
    # exp(a + b) = exp a · exp b
    h = data.draw(coefficients(over, 0))
    total = [a + b for a, b in zip(padded(f, n), padded(h, n), strict=True)]
    product = series.multiply(series.exp(f, n, over), series.exp(h, n, over), n, over)
    assert equal(series.exp(total, n, over), product, over)


@pytest.mark.parametrize("over", EXACT)
@ANY
@given(st.data(), st.integers(1, 40))
def test_sines_and_cosines_of_any_series(over, data, n):
    f = data.draw(coefficients(over, 0))
    sin, cos = series.sin_cos(f, n, over)
    one = series.multiply(sin, sin, n, over) + series.multiply(cos, cos, n, over)
    assert equal(one, padded([1], n), over)
    if n > 1:
        slope = series.derivative(padded(f, n), over)
        assert equal(series.derivative(sin, over), series.multiply(cos, slope, n - 1, over), over)


@pytest.mark.parametrize("over", EXACT)
@ANY
@given(st.data(), st.integers(1, 50))
def test_inverses_and_quotients(over, data, n):
    f, g = data.draw(coefficients(over, 3)), data.draw(coefficients(over))
    assert equal(series.multiply(f, series.inverse(f, n, over), n, over), padded([1], n), over)
    quotient = series.divide(g, f, n, over)
    assert equal(series.multiply(quotient, f, n, over), series.multiply(padded(g, n), [1], n, over), over)


@pytest.mark.parametrize("over", EXACT)
@ANY
@given(st.data(), st.integers(1, 40))
def test_roots_and_powers(over, data, n):
    f = data.draw(coefficients(over, 4))
    lead = [0] * (2 * data.draw(st.integers(0, 3)))
    root = series.sqrt([*lead, *f], n, over)
    squared = series.multiply(root, root, n, over)
    # Of a root with n coefficients, x^s in front, the square is known to n + s.
    assert equal(squared, padded([*lead, *f], n), over)
    e = data.draw(st.integers(0, 6))
    wanted = [1]
    for _ in range(e):
        wanted = series.multiply(wanted, f, n, over)
    assert equal(series.power(f, e, n, over), padded(list(wanted), n), over)
    back = series.multiply(series.power(f, -e, n, over), series.power(f, e, n, over), n, over)
    assert equal(back, padded([1], n), over)
    g = data.draw(coefficients(over, 1))
    third = series.power(g, F(1, 3), n, over)
    assert equal(series.power(third, 3, n, over), padded(g, n), over)


@pytest.mark.parametrize("over", EXACT)
@ANY
@given(st.data(), st.integers(1, 30))
def test_composition(over, data, n):
    f, g, h = data.draw(coefficients(over)), data.draw(coefficients(over, 0)), data.draw(coefficients(over, 0))
    found = series.compose(f, g, n, over)
    wanted, power = np.zeros(n, object), [1]
    for c in padded(f, n):
        terms = np.zeros(n, object)
        terms[:] = [c * v for v in padded(list(map(_int, power)), n)]
        wanted = wanted + terms
        power = series.multiply(power, g, n, over)
    assert equal(found, wanted, over)
    twice = series.compose(f, series.compose(g, h, n, over), n, over)
    assert equal(series.compose(found, h, n, over), twice, over)
    # exp is a composition
    exp = series.exp([0, 1], n, over)
    assert equal(series.compose(exp, g, n, over), series.exp(g, n, over), over)


def _int(v):
    return v if isinstance(v, F) else int(v)


@pytest.mark.parametrize("over", EXACT)
@ANY
@given(st.data())
def test_division_with_remainder(over, data):
    a = data.draw(coefficients(over, longest=40))
    b = [*data.draw(coefficients(over, longest=12)), data.draw(st.integers(1, 9))]
    q, r = series.divmod(a, b, over)
    product = series.multiply(b, q, None, over)
    size = max(len(product), len(r), len(a))
    total = np.array(padded(list(product), size), object) + np.array(padded(list(r), size), object)
    assert equal(total, padded(a, size), over)
    assert len(r) < len(b) or not any(r[len(b) - 1 :])


@pytest.mark.parametrize("over", EXACT)
@ANY
@given(st.data())
def test_middle_products(over, data):
    g = data.draw(coefficients(over))
    f = [*data.draw(coefficients(over, longest=30)), *g]
    full = series.multiply(f, g, None, over)
    assert equal(series.middle_product(f, g, over), full[len(g) - 1 : len(f)], over)


@pytest.mark.parametrize("over", ["real", "complex"])
def test_real_and_complex_series(over):
    n, direct = 60, Policy(only="direct")
    random = np.random.default_rng(3)
    f = random.standard_normal(n) / 2.0 ** np.arange(n)
    if over == "complex":
        f = f + 1j * random.standard_normal(n) / 2.0 ** np.arange(n)
    f[0] = 0
    e = series.exp(f, n, over, policy=direct)
    np.testing.assert_allclose(series.log(e, n, over, policy=direct), f, rtol=0, atol=1e-13)
    np.testing.assert_allclose(series.compose(series.exp([0.0, 1.0], n, over), f, n, over), e, rtol=1e-9, atol=1e-13)
    sin, cos = series.sin_cos(f, n, over)
    one = series.multiply(sin, sin, n, over) + series.multiply(cos, cos, n, over)
    np.testing.assert_allclose(one, padded([1], n), atol=1e-13)
    root = series.sqrt(e, n, over)
    np.testing.assert_allclose(root, series.exp(f / 2, n, over), atol=1e-13)
    np.testing.assert_allclose(series.power(e, 0.5, n, over), root, atol=1e-13)
    np.testing.assert_allclose(series.inverse(e, n, over), series.exp(-f, n, over), atol=1e-13)
    factorials = series.exp([0.0, 1.0], 15, over)
    np.testing.assert_allclose(factorials, [1 / math.factorial(i) for i in range(15)], atol=1e-15)


def test_long_series_modulo_primes_of_every_kind():
    for p in (998244353, 2**61 - 1):
        f = np.random.default_rng(1).integers(0, p, 3000)
        f[0] = 0
        over = f"modular({p})"
        e = series.exp(f, 3000, over)
        assert np.array_equal(series.log(e, 3000, over), f)
        assert np.array_equal(series.multiply(e, series.inverse(e, 3000, over), 3000, over), padded([1], 3000))


# -- refusing ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: series.inverse([0, 1], 4), "has an inverse over rational"),
        (lambda: series.inverse([2, 1], 4, "modular(6)"), r"has an inverse over modular\(6\)"),
        (lambda: series.inverse([0.0, 1], 4, "real"), "has an inverse over real"),
        (lambda: series.log([2, 1], 4), "constant term of 1"),
        (lambda: series.exp([1, 1], 4), "constant term of 0"),
        (lambda: series.exp([0, 1], 8, "modular(7)"), "has an inverse"),
        (lambda: series.integral([1] * 7, over="modular(7)"), "has an inverse"),
        (lambda: series.sqrt([0, 1], 4), "even power of x"),
        (lambda: series.sqrt([2, 1], 4), "has a square root over rational"),
        (lambda: series.sqrt([3, 1], 4, "modular(7)"), "has a square root"),
        (lambda: series.sqrt([-1.0, 1], 4, "real"), "has a square root over real"),
        (lambda: series.compose([1, 1], [1, 1], 4), "constant term of 0"),
        (lambda: series.divmod([1, 2, 3], [0]), "has an inverse"),
        (lambda: series.middle_product([1], [1, 2]), "no shorter than g"),
        (lambda: series.multiply([1], [1], over="max-plus"), "over real, complex, rational"),
        (lambda: series.inverse([1], 0), "at least 1 coefficient"),
        (lambda: series.inverse([], 4), "in one dimension"),
        (lambda: series.inverse(np.ones((2, 2), int), 4), "in one dimension"),
        (lambda: series.inverse(np.ones(3), 4, "rational"), "dtype float64"),
        (lambda: series.inverse([1j, 1], 4, "real"), "dtype complex128"),
    ],
)
def test_what_does_not_exist_is_refused(call, said):
    with pytest.raises((ArgumentError, RefusedError), match=said):
        call()


def test_the_callers_arrays_stay_as_they_are():
    f = np.array([0, 1, 2, 3])
    series.exp(f, 9, "modular(998244353)")
    series.power(f, 3, 9)
    assert f.tolist() == [0, 1, 2, 3]
