"""Bessel functions where no expansion in the size of order and argument holds: v < 16 and √(v² + x²) < 25.

I by its power series, whose terms are all positive. K at the order's distance from a whole number, carried up by the recurrence of
ratios, which is stable: for x < 2 by Temme's series, from 2 on by the trapezoidal rule, which converges geometrically on
`K_v(x) = ∫₀^∞ exp(−x cosh s) cosh(v s) ds`.
"""

import math

import numpy as np
from scipy.special import digamma, gammaln

SERIES = 70  # terms: (x²/4)^k / (k! (v+1)_k) falls below rounding of the sum for x ≤ 25
TEMME, TEMME_TERMS = 2.0, 14
STEP = 0.14  # of the trapezoidal rule, whose error is K_{v+iτ}(x) / K_v(x) at τ = 2π / STEP: below rounding for v < 16, w < 25
FALL = 45.0  # natural logarithm of what the integral's tail may lose

# Taylor coefficients of 1 / Γ(1 + μ) at 0: Abramowitz and Stegun (1964), 6.1.34, recomputed to 20 digits.
RECIPROCAL = (
    1.0, 0.57721566490153286061, -0.65587807152025388108, -0.042002635034095235529, 0.16653861138229148950,
    -0.042197734555544336748, -0.0096219715278769735621, 0.0072189432466630995424, -0.0011651675918590651121,
    -0.00021524167411495097282, 0.00012805028238811618615, -2.0134854780788238656e-5, -1.2504934821426706573e-6,
    1.1330272319816958824e-6, -2.0563384169776071035e-7, 6.1160951044814158179e-9, 5.0020076444692229301e-9,
    -1.1812745704870201446e-9, 1.0434267116911005105e-10, 7.7822634399050712541e-12, -3.6968056186422057082e-12,
    5.1003702874542759790e-13, -2.0583260535665067832e-14,
)  # fmt: skip


def log_i(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """log I_v(x)."""
    return v * np.log(x / 2) - gammaln(v + 1) + np.log(_sum(v, x))


def ratio_i(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """I_{v+1}(x) / I_v(x)."""
    return x / (2 * (v + 1)) * _sum(v + 1, x) / _sum(v, x)


def log_i_by_order(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The derivative of log I_v(x) by v."""
    return np.log(x / 2) - digamma(v + 1) + _sum_by_order(v, x) / _sum(v, x)


def _sum(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The power series without its first factor."""
    square = (x / 2) ** 2
    total, term = np.ones_like(x), np.ones_like(x)
    for k in range(1, SERIES + 1):
        term *= square / (k * (v + k))
        total += term
    return total


def _sum_by_order(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The derivative of `_sum` by v."""
    square = (x / 2) ** 2
    slope, term, harmonic = np.zeros_like(x), np.ones_like(x), np.zeros_like(x)
    for k in range(1, SERIES + 1):
        term *= square / (k * (v + k))
        harmonic += 1 / (v + k)
        slope -= term * harmonic
    return slope


def log_k(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """log K_v(x)."""
    return _raised(v, x)[0]


def fall_k(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """−d log K_v(x) / dx."""
    return _raised(v, x)[1] - v / x  # K_{v+1} / K_v ≥ 2v / x, so little cancels


def log_k_by_order(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The derivative of log K_v(x) by v, by the trapezoidal rule for every x.

    With s = s* + δ, sinh s* = v/x the place of the largest exponent, this falls by at least w(cosh δ − 1) from there.
    """
    w = np.hypot(v, x)
    place = np.arcsinh(v / x)
    end = place + np.arccosh(1 + FALL / w)
    count = math.ceil(float(end.max(initial=0.0)) / STEP)
    top, h = v * place - w, end / max(count, 1)
    total, slope = 0.5 * np.exp(-x - top), np.zeros_like(x)
    for n in range(1, count + 1):
        s = n * h
        up = np.exp(v * s - x * np.cosh(s) - top)
        down = up * np.exp(-2 * v * s)
        total += 0.5 * (up + down)
        slope += 0.5 * s * (up - down)
    return slope / total


def _raised(v: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log K_v and K_{v+1} / K_v, from the same of μ with v − μ whole and |μ| ≤ ½, by the recurrence of ratios."""
    steps = np.floor(v + 0.5)
    mu, near = v - steps, x < TEMME
    log, up = np.empty_like(x), np.empty_like(x)
    for where, way in ((near, _temme), (~near, _integrals)):
        if where.any():
            log[where], up[where] = way(mu[where], x[where])
    product, safe = np.ones_like(x), bool((x > 1e-15).all())  # then sixteen ratios multiply without overflow
    for j in range(1, int(steps.max(initial=0)) + 1):
        more = j <= steps
        product = np.where(more, product * up, product)
        if not safe:
            log, product = log + np.log(product), np.ones_like(x)
        up = np.where(more, 2 * (mu + j) / x + 1 / up, up)
    return log + np.log(product), up


def _integrals(mu: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log K_μ and K_{μ+1} / K_μ for x ≥ TEMME, by the trapezoidal rule on the integrals of both."""
    nodes = np.arange(math.ceil(math.acosh(1 + FALL / float(x.min(initial=np.inf))) / STEP) + 1) * STEP
    grow, power = np.exp(mu * STEP), np.ones_like(x)
    first = np.full_like(x, 0.5)
    second = first.copy()
    for s in nodes[1:]:
        power *= grow
        weight = np.exp(-2 * math.sinh(s / 2) ** 2 * x)  # cosh s − 1 without the subtraction
        even, odd = 0.5 * (power + 1 / power), 0.5 * (power - 1 / power)
        first += weight * even
        second += weight * (even * math.cosh(s) + odd * math.sinh(s))  # cosh (μ + 1)s
    return np.log(STEP * first) - x, second / first


def _temme(mu: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log K_μ and K_{μ+1} / K_μ for x < TEMME, by Temme's series."""
    powers = mu ** np.arange(len(RECIPROCAL))[:, None]
    even, odd = (np.tensordot(RECIPROCAL[start::2], powers[: len(RECIPROCAL[start::2]) * 2 : 2], 1) for start in (0, 1))
    above, below = even + mu * odd, even - mu * odd  # 1/Γ(1 + μ) and 1/Γ(1 − μ)
    far = np.log(2 / x)
    sigma = mu * far
    sinc = np.where(sigma == 0, 1.0, np.sinh(sigma) / np.where(sigma == 0, 1.0, sigma))
    f = (np.cosh(sigma) * -odd + sinc * far * even) / np.sinc(mu)
    p, q = 0.5 * np.exp(sigma) / above, 0.5 * np.exp(-sigma) / below
    square, factor = (x / 2) ** 2, np.ones_like(x)
    first, second = f.copy(), p.copy()
    for k in range(1, TEMME_TERMS + 1):
        f = (k * f + p + q) / (k * k - mu * mu)
        p, q = p / (k - mu), q / (k + mu)
        factor = factor * square / k
        first += factor * f
        second += factor * (p - k * f)
    return np.log(first), 2 / x * (second / first)
