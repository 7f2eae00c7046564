"""Powers, stars and liftings: the laws that define them, on every domain and over every algebra."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import algebras, convolve, correlate, domains
from faltung.engine import lift, power, star
from faltung.errors import ArgumentError, DtypeError, ExactnessError

ON = ("series", "cyclic", "dyadic", "or", "and", "subsets", "max", "min", "dirichlet", "lcm", "dihedral(4)")
POWERS = ("integer", "boolean", "max-plus", "count", "modular(1000003)")
LIFTED = ("integer", "max-plus", "rational", "modular(11)", "log", "count")
small = st.lists(st.integers(0, 3), min_size=8, max_size=8).map(np.array)


def numbers(most):
    return st.lists(st.integers(-9, 9), min_size=1, max_size=most)


def values(x, over):
    """Small whole numbers as values of an algebra."""
    if over == "boolean":
        return x > 1
    if over in ("count", "rational"):
        return x.astype(object)
    return x if over == "integer" or over.startswith("modular") else x.astype("float64")


@settings(max_examples=80, deadline=None, database=None, derandomize=True)
@given(
    small,
    st.integers(0, 6),
    st.sampled_from(["grid", *ON]),
    st.sampled_from(["integer", "boolean", "max-plus", "count", "modular(1000003)"]),
)
def test_powers_are_repeated_products(x, n, on, over):
    x = values(x, over)
    one = power(x, 0, on=on, over=over)
    wanted = one
    for _ in range(n):
        wanted = convolve(wanted, x, on=on, over=over)
    came = power(x, n, on=on, over=over)
    assert came.dtype == wanted.dtype or n == 0
    assert (came == wanted).all()


def test_known_powers():
    assert power([3, 1], 3).tolist() == [27, 27, 9, 1]
    assert power([3, 1], 7).tolist() == [2187, 5103, 5103, 2835, 945, 189, 21, 1]
    assert sum(c * 17**i for i, c in enumerate(power([3, 1], 5).tolist())) == 20**5
    cube = power(np.array([[[0, 1], [1, 0]], [[1, 0], [0, 0]]]), 3)  # (x + y + z)^3
    assert sorted(cube[cube > 0].tolist()) == [1] * 3 + [3] * 6 + [6]
    dice = power(np.r_[0, np.full(6, Fraction(1, 6))], 3, over="rational")
    assert dice[10] == Fraction(27, 216)
    assert (
        power(np.array([1, 1]), 200, over="count").max() == 90548514656103281165404177077484163874504589675413336841320
    )


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(
    small,
    st.sampled_from(ON),
    st.sampled_from(["boolean", "max-plus", "min-plus", "max-min", "min-max", "max-times", "log"]),
)
def test_star_is_one_more_round(x, on, over):
    """x* = one ⊕ x ∗ x*, wherever there is a star."""
    algebra = algebras.named(over)
    x = values(x, over)
    if over == "max-plus":
        x = -x
    elif over in ("max-times",):
        x = x / 3
    elif over == "log":
        x = -x - 4.0
    s = star(x, on=on, over=over)
    assert s.shape == x.shape
    again = algebra.add(power(x, 0, on=on, over=over), convolve(x, s, on=on, over=over))
    assert np.allclose(again, s, rtol=1e-12) if over in ("log", "max-times") else (again == s).all()


@pytest.mark.parametrize("over", ["integer", "rational", "count", "modular(1000003)", "real"])
@pytest.mark.parametrize("on", ["series", "subsets", "dirichlet"])
def test_star_is_the_inverse_of_one_minus_x(on, over):
    """Where the value at the neutral index is 0, powers of x end."""
    x = values(np.array([0, 1, 2, 0, 1, 3, 0, 1]), over)
    s, one = star(x, on=on, over=over), power(x, 0, on=on, over=over)
    over = algebras.named(over)
    again = over.add(one, convolve(x, s, on=on, over=over))
    assert np.allclose(again, s) if over.name == "real" else (again == s).all()


def test_the_star_of_feedback_is_a_recursive_filter():
    taps = np.array([0.0, 1.6, -0.8, 0.1])
    x = np.random.default_rng(0).standard_normal(400)
    response = star(np.r_[taps, np.zeros(396)], on="series")
    wanted = scipy.signal.lfilter([1.0], np.r_[1.0, -taps[1:]], x)
    assert np.allclose(convolve(response, x, on="series"), wanted, atol=1e-11)
    with_gain = star(np.r_[0.25, taps[1:], np.zeros(396)], on="series")  # 1 / (1 − ¼ − ...)
    assert np.allclose(
        with_gain, scipy.signal.lfilter([1.0], np.r_[0.75, -taps[1:]], np.r_[1.0, np.zeros(399)]), atol=1e-9
    )


@pytest.mark.parametrize("over", ["rational", "min-plus", "boolean", "modular(1000003)"])
def test_stars_of_series_in_two_variables(over):
    x = values(np.random.default_rng(1).integers(0, 3, (7, 5)), over)
    x[0, 0] = 0 if over != "boolean" else False
    algebra, s = algebras.named(over), star(x, on="series", over=over)
    again = algebra.add(power(x, 0, on="series", over=over), convolve(x, s, on="series", over=over))
    assert (again == s).all()


def test_long_series_go_by_blocks():
    x = np.zeros(3000)
    x[[1, 7, 300]] = 0.3, -0.2, 0.25
    wanted = scipy.signal.lfilter([1.0], np.r_[1.0, -x[1:]], np.r_[1.0, np.zeros(2999)])
    assert np.allclose(star(x, on="series"), wanted, atol=1e-13)
    ways = star((np.arange(500) % 7 == 1).astype(object), on="series", over="count")
    recurrence = [1]
    for i in range(1, 500):
        recurrence.append(sum(recurrence[i - j] for j in range(1, i + 1) if j % 7 == 1))
    assert ways.tolist() == recurrence


def test_known_stars():
    coins = np.array([sum(t == c for c in (1, 2, 5)) for t in range(11)], object)
    assert star(coins, on="series", over="count")[10] == 128  # ordered ways to pay 10 with coins of 1, 2 and 5
    catalan = [1]
    for _ in range(9):
        catalan.append(sum(a * b for a, b in zip(catalan, catalan[::-1], strict=True)))
    numbers = np.array([0, *catalan[:-1]], object)  # C = 1 / (1 − t·C)
    assert star(numbers, on="series", over="count").tolist() == catalan
    moebius = star(np.array([0] + [-1] * 29), on="dirichlet")  # 1 / ζ
    assert moebius[:12].tolist() == [1, -1, -1, 0, -1, 1, -1, 0, 0, 1, -1, 0]
    steps = np.full(24, np.inf)
    group = domains.symmetric(4)
    for swap in ((1, 0, 2, 3), (0, 2, 1, 3), (0, 1, 3, 2)):
        steps[group.index(swap)] = 1.0
    distance = star(steps, on=group, over="min-plus")
    assert np.bincount(distance.astype(int)).tolist() == [1, 3, 5, 6, 5, 3, 1]  # Mahonian numbers


def test_sums_that_do_not_exist():
    for x, options in (
        ([0, 2, 0], {"on": "cyclic", "over": "count"}),
        ([0.0, 1.5, 0.0], {"on": "cyclic"}),
        (np.array([0.0, -1.0, 0.0]), {"on": "cyclic", "over": "min-plus"}),
        (np.array([1.0, 0.0]), {"on": "series"}),
    ):
        with pytest.raises(ArgumentError, match="star"):
            star(np.array(x, object) if options.get("over") == "count" else x, **options)
    with pytest.raises(ArgumentError, match="no end"):
        star([0.0, 0.5])
    with pytest.raises(ArgumentError, match="neutral"):
        star([0.0, 0.5], on="gcd")
    with pytest.raises(ArgumentError, match="factors"):
        power([1, 2], -1)
    with pytest.raises(ExactnessError):
        power(np.array([10**6, 1]), 5)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    st.lists(st.integers(-9, 9), min_size=1, max_size=8),
    st.lists(st.integers(-9, 9), min_size=1, max_size=5),
    st.sampled_from(["integer", "max-plus", "rational", "modular(11)", "log", "count"]),
)
def test_lift_of_a_sum_is_convolution(x, k, over):
    x, k = (np.abs(np.array(a)) if over == "count" else np.array(a) for a in (x, k))
    x, k = values(x, over), values(k, over)
    y = lift(lambda u, v: u + v, x, k, over=over)
    wanted = convolve(x, k, over=over)
    assert np.allclose(y, wanted, rtol=1e-12) if over == "log" else (y == wanted).all()
    three = lift(lambda u, v, w: u + v + w, x, k, k, over=over)
    again = convolve(wanted, k, over=over)
    assert np.allclose(three, again, rtol=1e-12) if over == "log" else (three == again).all()


def test_liftings_of_other_maps():
    x, k = np.arange(1, 8), np.array([1, -2, 3])
    assert lift(lambda u, v: u - v + 2, x, k).tolist() == correlate(x, k).tolist()
    strided = lift(lambda u, v: np.where((u + v) % 2 == 0, (u + v) // 2, -1), x, k)
    assert strided.tolist() == np.convolve(x, k)[::2].tolist()
    assert lift(lambda u: u // 2, [1, 2, 3, 4]).tolist() == [3, 7]
    table = domains.symmetric(3).table
    a, b = np.arange(6), np.arange(6)[::-1]
    assert lift(lambda u, v: table[u, v], a, b).tolist() == convolve(a, b, on="symmetric(3)").tolist()
    assert lift(lambda u: u * 0 - 1, [1.0, 2.0], size=3).tolist() == [0.0, 0.0, 0.0]


def test_push_forward_along_a_homomorphism_is_one():
    """lift(h)(x ∗ k) = lift(h)(x) ∗ lift(h)(k) for h = n mod 3 on the circle of 12."""
    x, k = np.random.default_rng(0).integers(0, 9, (2, 12))

    def h(u):
        return u % 3

    assert (lift(h, convolve(x, k, on="cyclic")) == convolve(lift(h, x), lift(h, k), on="cyclic")).all()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: lift(lambda: 0), ArgumentError, "at least one array"),
        (lambda: lift(lambda u: u, [[1]]), ArgumentError, "one-dimensional"),
        (lambda: lift(lambda u: u * 0.5, [1, 2]), ArgumentError, "whole numbers"),
        (lambda: lift(lambda u: u, [1, 2], size=1), ArgumentError, "below 1"),
        (lambda: lift(lambda u, v: np.zeros((3, 3), int), [1], [2]), (ArgumentError, ValueError), "shape"),
        (lambda: lift(lambda u, v: u, [1.0], [2.0], over="integer"), DtypeError, "one algebra"),
        (lambda: lift(lambda u: u * 0, [2**62, 2**62]), ExactnessError, "int64"),
    ],
)
def test_wrong_liftings_say_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()
