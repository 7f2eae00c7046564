"""Logarithms of Bessel functions against 40 digits, identities, limits, gradients and refusals."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from faltung.errors import ArgumentError, DtypeError, RefusedError
from faltung.special import bessel_ratio, log_iv, log_kv
from faltung.special.log_bessel import VALUES

ROUNDOFF = 2.0**-53
# v, x, log I, log K: to 18 digits, from the literature and from series with 60 digits.
KNOWN = (
    (0, 1, 0.235914358507178649, -0.865064398906788),
    (0.5, 2, 0.716002429689468043, -2.12078223763525),
    (100, 10, -202.548358937420741, 197.245065921321),
    (1023, 1, -6780.36973451667879, 6772.7460920923971),
    (1023, 1000, 507.83022839542616, -515.78920349512486),
    (1023, 5000, 4890.51990891394919, -4899.75075362759),
    (4095, 2000, -1445.6851950567511, 1436.56756124665),
    (16383, 20000, 13600.3391594264804, -13611.192507296),
)
orders = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 15.999, 16.0]), st.floats(0, 30))
arguments = st.one_of(
    st.sampled_from([1e-300, 1.9999, 2.0, 24.999, 25.0]), st.floats(-8, 2).map(lambda e: 10**e), st.floats(0.1, 40)
)


def exact(what, v, x):
    with mpmath.workdps(40):
        v, x = mpmath.mpf(v), mpmath.mpf(x)
        if what == "log_iv":
            return mpmath.log(mpmath.besseli(v, x))
        if what == "log_kv":
            return mpmath.log(mpmath.besselk(v, x))
        if what == "fall_kv":
            return mpmath.besselk(v - 1, x) / mpmath.besselk(v, x) + v / x
        ratio = mpmath.besseli(v + 1, x) / mpmath.besseli(v, x)
        return (
            ratio
            if what == "bessel_ratio"
            else ratio * (1 / x + mpmath.besseli(v + 2, x) / mpmath.besseli(v + 1, x) - ratio)
        )


@pytest.mark.parametrize(("v", "x", "i", "k"), KNOWN)
def test_known_values(v, x, i, k):
    assert abs(log_iv(v, x) - i) <= 1e-12 * max(1, abs(i))
    assert abs(log_kv(v, x) - k) <= 1e-12 * max(1, abs(k))


@given(orders, arguments)
def test_forty_digits_agree(v, x):
    for name in ("log_iv", "log_kv"):
        wanted = exact(name, v, x)
        assert abs(float(VALUES[name](v, x)) - wanted) <= 1e-13 * max(1, abs(wanted)), name
    for name, near in (("bessel_ratio", 1e-13), ("fall_kv", 1e-13), ("ratio_slope", 1e-10)):
        wanted = exact(name, v, x)
        assert abs(float(VALUES[name](v, x)) - wanted) <= near * abs(wanted), name


@pytest.mark.parametrize("v", [100.0, 1023.0, 16383.5, 1e5])
@pytest.mark.parametrize("part", [0.01, 0.6627, 1.0, 7.0])
def test_large_orders_agree_with_forty_digits(v, part):
    """At x = 0.6627 v the logarithm of I is small against v: there it is the absolute error that is bounded."""
    x = part * v
    with mpmath.workdps(
        60
    ):  # from Debye's expansion with exact coefficients and 30 terms, which is good to 60 digits here
        wanted_i, wanted_k, ratio = independently(v, x)
    for came, wanted in ((log_iv(v, x), wanted_i), (log_kv(v, x), wanted_k)):
        assert abs(float(came) - wanted) <= 1e-13 * max(1, abs(wanted)) + 4 * ROUNDOFF * (v + x + abs(wanted))
    assert abs(float(bessel_ratio(v, x)) - ratio) <= 1e-13 * ratio


def independently(v, x):
    """log I by its power series, log K by its integral, I_{v+1}/I_v by its continued fraction: mpmath's own fail at such orders."""
    v, x = mpmath.mpf(v), mpmath.mpf(x)
    ratio = mpmath.mpf(0)
    for j in range(min(int(4 * (v + x)), 20000), 0, -1):
        ratio = 1 / (2 * (v + j) / x + ratio)
    total = term = mpmath.mpf(1)
    k = 0
    while term > total * mpmath.mpf(10) ** -50:
        k += 1
        term *= (x / 2) ** 2 / (k * (v + k))
        total += term
    log_i = v * mpmath.log(x / 2) - mpmath.loggamma(v + 1) + mpmath.log(total)
    return log_i, _log_k(v, x, mpmath.hypot(v, x)), ratio


def _log_k(v, x, w):
    """log K by the trapezoidal rule about its integrand's peak, which converges geometrically."""
    peak, width = mpmath.asinh(v / x), 12 / mpmath.sqrt(w) * mpmath.sqrt(2)
    top = v * peak - w
    n = 400
    h = 2 * width / n
    values = (mpmath.exp(v * s - x * mpmath.cosh(s) - top) for s in (peak - width + h * j for j in range(n + 1)))
    return top + mpmath.log(mpmath.fsum(values) * h / 2)


@pytest.mark.parametrize("x", [1e-300, 1e-3, 0.3, 5.0, 40.0, 700.0])
def test_half_integers_are_elementary(x):
    with mpmath.workdps(40):
        exactly = mpmath.log(mpmath.sqrt(2 / (mpmath.pi * mpmath.mpf(x))) * mpmath.sinh(mpmath.mpf(x)))
        other = mpmath.log(mpmath.sqrt(mpmath.pi / (2 * mpmath.mpf(x)))) - mpmath.mpf(x)
    assert abs(log_iv(0.5, x) - exactly) <= 1e-13 * max(1, abs(exactly))
    assert abs(log_kv(0.5, x) - other) <= 1e-13 * max(1, abs(other))


@given(st.floats(0, 1e4), st.floats(-3, 4).map(lambda e: 10**e))
def test_wronskian(v, x):
    """`I_v K_{v+1} + I_{v+1} K_v = 1/x`."""
    i, k = log_iv([v, v + 1], x), log_kv([v, v + 1], x)
    slack = 1e-13 + 16 * ROUNDOFF * (v + x + abs(i).max() + abs(k).max())
    assert abs(np.logaddexp(i[0] + k[1], i[1] + k[0]) + np.log(x)) <= slack


def test_finite_and_monotone_everywhere():
    v = np.array([0, 1e-9, 0.5, 1, 15.9, 16, 1e3, 1e6])[:, None]
    x = 10.0 ** np.linspace(-300, 300, 2401)
    i, k, ratio = log_iv(v, x), log_kv(v, x), bessel_ratio(v, x)
    assert all(np.isfinite(a).all() for a in (i, k, ratio))
    assert (np.diff(i, axis=1) >= 0).all()
    assert (np.diff(k, axis=1) <= 0).all()
    assert (np.diff(ratio, axis=1) >= -1e-13 * ratio[:, 1:]).all()  # level to within its error
    assert ((ratio > 0) & (ratio <= 1)).all()
    assert (np.diff(i, axis=0) <= 0).all()


def test_limits():
    assert log_iv([0.0, 1.0], 0.0).tolist() == [0.0, -np.inf]
    assert log_kv(2.0, [0.0, np.inf]).tolist() == [np.inf, -np.inf]
    assert bessel_ratio(2.0, [0.0, np.inf]).tolist() == [0.0, 1.0]
    assert np.isnan(log_iv(1.0, np.nan))
    assert np.isnan(log_kv(np.nan, 1.0))
    assert log_iv(np.zeros((2, 0)), 1.0).shape == (2, 0)


def test_single_precision_is_computed_in_double():
    x = np.linspace(1, 50, 40, dtype=np.float32)
    y = log_iv(3.0, x)
    assert y.dtype == np.float32
    assert np.array_equal(y, log_iv(3.0, x.astype(float)).astype(np.float32))
    assert log_iv(torch.tensor(3.0), torch.tensor(1.0)).dtype == torch.float32


@pytest.mark.parametrize("function", [log_iv, log_kv, bessel_ratio])
def test_gradients(function):
    v = torch.tensor([0.3, 1.0, 7.7, 15.9, 16.0, 80.0], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[0.4], [3.0], [20.0], [60.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (v, x), rtol=1e-6)
    np.testing.assert_array_equal(function(v, x).detach(), function(v.detach().numpy(), x.detach().numpy()))
    if function is not bessel_ratio:
        assert torch.autograd.gradgradcheck(lambda t: function(v.detach(), t), x, rtol=1e-6)


@pytest.mark.parametrize(("name", "v", "x"), [("log_iv", 3.0, 1e5), ("bessel_ratio", 2.0, 1e6), ("log_kv", 0.0, 1e6)])
def test_second_derivatives_do_not_cancel(name, v, x):
    """For large x: R' → (2v + 1)/(2x²), and of log I or log K the second derivative → ±1/(2x²)."""
    t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    function = {"log_iv": log_iv, "log_kv": log_kv, "bessel_ratio": bessel_ratio}[name]
    slope = torch.autograd.grad(function(v, t), t, create_graph=True)[0]
    if name == "bessel_ratio":
        assert abs(float(slope.detach()) * 2 * x**2 / (2 * v + 1) - 1) < 1e-4
    else:
        curve = torch.autograd.grad(slope, t)[0]
        assert abs(float(curve.detach()) * 2 * x**2 - 1) < 1e-3


def test_derivatives_by_the_order():
    for v in (0.0, 0.3, 7.7, 15.9, 16.0, 20.0):
        for x in (1e-20, 1e-3, 1.9, 2.1, 24.0, 60.0):
            for name in ("log_iv", "log_kv"):
                with mpmath.workdps(40):
                    step = mpmath.mpf(10) ** -12
                    wanted = (exact(name, v + step, x) - exact(name, max(v - step, mpmath.mpf(0)), x)) / (
                        2 * step if v else step
                    )
                came = float(VALUES[f"{name}_by_order"](v, x))
                assert abs(came - wanted) <= 1e-9 * max(1, abs(wanted)), (name, v, x)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: log_iv(-1.0, 2.0), ArgumentError, "at least 0"),
        (lambda: log_kv(1.0, [-2.0, 1.0]), ArgumentError, "-2"),
        (lambda: bessel_ratio(1.0, torch.tensor(-1.0)), ArgumentError, "at least 0"),
        (lambda: log_iv(1.0, 2j), DtypeError, "real"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_third_derivatives_are_refused():
    t = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    second = log_iv(1.0, t)
    for _ in range(2):
        (second,) = torch.autograd.grad(second, t, create_graph=True)
    with pytest.raises(RefusedError, match="at most two"):
        torch.autograd.grad(second, t)
