"""Wigner's matrices of rotations about z and y, and spin-weighted harmonics: the functions of this family, in double precision.

A rotation is R = Rz(α) Ry(β) Rz(γ), `D_mn(R) = e^(−imα) d_mn(β) e^(−inγ)`, and d¹₁₀(β) = −sin β / √2 (Condon and Shortley's phase).
Harmonics of spin s are `Y_lm(θ, φ) = (−1)^s √((2l + 1)/4π) d_m,−s(θ) e^(imφ)`; for s = 0 these are the usual ones.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.errors import ArgumentError


def small_d(degree: int, orders: Sequence[int], beta: Any) -> np.ndarray:
    """d^l_mn(β) for all degrees and all m, for some n: (degree + 1, 2·degree + 1, orders, angles), zeros where |m| or |n| is
    above l.

    By recursion over l from l = max(|m|, |n|), where it is one product of powers of cos β/2 and sin β/2.

    Args:
        degree: at least 0.   orders: the n.   beta: angles in [0, π], any number of them.

    Error: some roundings times the degree; below 1e-13 at degree 100. Values under 1e-308 are 0.
    Cost: (2·degree + 1)·degree·orders·angles steps.
    Source: Kostelec and Rockmore, FFTs on the rotation group (2008), for the recursion.

    Example:
        >>> small_d(1, [-1, 0, 1], np.pi / 2)[1, :, :, 0].round(5)
        array([[ 0.5    ,  0.70711,  0.5    ],
               [-0.70711,  0.     ,  0.70711],
               [ 0.5    , -0.70711,  0.5    ]])
    """
    angle = np.atleast_1d(np.asarray(beta, float))
    m = np.arange(-degree, degree + 1)[:, None, None]
    n = np.asarray(orders, int)[None, :, None]
    start = np.maximum(abs(m), abs(n))
    first = _first(m, n, start, angle)
    found = np.zeros((degree + 1, *first.shape))
    cosine = np.cos(angle)
    for l in range(degree + 1):
        own = np.where(start == l, first, 0.0)
        if l:
            j = l - 1
            alive = start < l
            with np.errstate(divide="ignore", invalid="ignore"):
                size = np.sqrt(np.maximum((l * l - m * m) * (l * l - n * n), 0).astype(float))
                a = np.where(alive, l * (2 * l - 1) / size, 0.0)
                b = np.where(
                    alive,
                    l * np.sqrt(np.maximum((j * j - m * m) * (j * j - n * n), 0).astype(float)) / (max(j, 1) * size),
                    0.0,
                )
            own = own + a * (cosine - (m * n) / max(j * l, 1)) * found[j]
            own = own - b * found[j - 1] if j else own
        found[l] = own
    return found


def _first(m: np.ndarray, n: np.ndarray, l: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """d^l_mn where l is the larger of |m| and |n|: √binomial · cos^a · sin^b of the half angle, with its sign."""
    cosine, sine = np.cos(angle / 2), np.sin(angle / 2)
    a, b = abs(m + n), abs(m - n)  # the exponents: 2l = a + b
    logs = np.vectorize(math.lgamma, otypes=[float])
    with np.errstate(divide="ignore", invalid="ignore"):
        grown = 0.5 * (logs(2 * l + 1.0) - logs(a + 1.0) - logs(b + 1.0))
        rest = np.where(a == 0, 0.0, a * np.log(np.abs(cosine))) + np.where(b == 0, 0.0, b * np.log(np.abs(sine)))
        size = np.exp(grown + rest)
    return np.where((m > n) & (b % 2 == 1), -1.0, 1.0) * size


def small_d_by_sum(l: int, m: int, n: int, beta: float) -> float:
    """d^l_mn(β) by Wigner's sum over factorials: exact for low degrees, useless for high ones; what `small_d` is held against."""
    f = math.factorial
    c, s = math.cos(beta / 2), math.sin(beta / 2)
    if max(abs(m), abs(n)) > l:
        return 0.0
    root = math.sqrt(f(l + m) * f(l - m) * f(l + n) * f(l - n))
    total = 0.0
    for k in range(max(0, n - m), min(l + n, l - m) + 1):
        below = f(l + n - k) * f(k) * f(l - k - m) * f(k - n + m)
        total += (-1) ** (k - n + m) * root / below * c ** (2 * l - 2 * k + n - m) * s ** (2 * k - n + m)
    return total


@lru_cache(maxsize=64)
def euler(rotation: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """(α, β, γ) of a rotation matrix, given as nested tuples; at the poles, where only α ± γ counts, γ = 0."""
    r = np.array(rotation)
    beta = math.atan2(math.hypot(r[0, 2], r[1, 2]), r[2, 2])
    if math.sin(beta) > 1e-12:
        return math.atan2(r[1, 2], r[0, 2]), beta, math.atan2(r[2, 1], -r[2, 0])
    sign = 1.0 if r[2, 2] > 0 else -1.0
    return math.atan2(sign * r[1, 0], sign * r[0, 0]), 0.0 if sign > 0 else math.pi, 0.0


def angles_of(rotation: Any) -> tuple[float, float, float]:
    """(α, β, γ) of a rotation: three angles in radians as they are, or a matrix (3, 3).

    Raises:
        ArgumentError: neither, or a matrix that is no rotation.
    """
    given = np.asarray(rotation, float)
    if given.shape == (3,):
        return float(given[0]), float(given[1]), float(given[2])
    if given.shape != (3, 3) or abs(given @ given.T - np.eye(3)).max() > 1e-5 or np.linalg.det(given) < 0:
        raise ArgumentError.of(
            "rotation",
            "angles (α, β, γ) or an orthogonal matrix (3, 3) of determinant 1",
            f"an array {given.shape}",
            "give one of these",
        )
    return euler(tuple(map(tuple, given.tolist())))


def rotation_matrix(alpha: float, beta: float, gamma: float) -> np.ndarray:
    """Rz(α) Ry(β) Rz(γ), (3, 3)."""

    def about_z(t: float) -> np.ndarray:
        return np.array([[math.cos(t), -math.sin(t), 0], [math.sin(t), math.cos(t), 0], [0, 0, 1.0]])

    c, s = math.cos(beta), math.sin(beta)
    return about_z(alpha) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ about_z(gamma)


def random_rotation(random: np.random.Generator) -> tuple[float, float, float]:
    """Angles (α, β, γ) of a rotation, uniform over all of them."""
    return (
        float(random.uniform(0, 2 * math.pi)),
        math.acos(float(random.uniform(-1, 1))),
        float(random.uniform(0, 2 * math.pi)),
    )


def big_d(degree: int, rotation: Any) -> list[np.ndarray]:
    """D⁰, D¹, ... D^degree of a rotation, (2l + 1, 2l + 1) complex, rows m and columns n from −l to l.

    Coefficients of a function of any spin, turned: `a'_l = D^l(R) a_l`, which for spin 0 is `f'(x) = f(R⁻¹ x)`.

    Args:
        degree: at least 0.   rotation: (α, β, γ), or a matrix (3, 3).

    Example:
        >>> d = big_d(1, (0.0, np.pi / 2, 0.0))[1] @ [0, 1, 0]  # cos θ, turned from z to x
        >>> d.real.round(4) + 0
        array([ 0.7071,  0.    , -0.7071])
    """
    alpha, beta, gamma = angles_of(rotation)
    orders = np.arange(-degree, degree + 1)
    if not 0 <= beta <= math.pi:
        alpha, beta, gamma = angles_of(rotation_matrix(alpha, beta, gamma))
    small = small_d(degree, tuple(orders), beta)[..., 0]
    phase = np.exp(-1j * alpha * orders)[:, None] * np.exp(-1j * gamma * orders)
    inner = [slice(degree - l, degree + l + 1) for l in range(degree + 1)]
    return [(small[l] * phase)[inner[l], inner[l]] for l in range(degree + 1)]


def harmonics(degree: int, spin: int, theta: Any, phi: Any) -> np.ndarray:
    """Spin-weighted spherical harmonics at points, (..., (degree + 1)²), complex; the one of degree l and order m is at l² + l + m.

    Args:
        degree: at least 0.   spin: any whole number; harmonics of degrees below |spin| are 0.   theta, phi: angles of one shape.

    Example:
        >>> harmonics(1, 0, 0.0, 0.0).real.round(4) + 0  # √(1/4π), then √(3/4π) cos θ among zeros
        array([0.2821, 0.    , 0.4886, 0.    ])
    """
    theta, phi = np.broadcast_arrays(np.asarray(theta, float), np.asarray(phi, float))
    small = small_d(degree, [-spin], theta.ravel())[:, :, 0]
    waves = np.exp(1j * np.outer(np.arange(-degree, degree + 1), phi.ravel()))
    sign = (-1) ** spin
    found = [
        sign * math.sqrt((2 * l + 1) / (4 * math.pi)) * small[l, m + degree] * waves[m + degree]
        for l in range(degree + 1)
        for m in range(-l, l + 1)
    ]
    return np.stack(found, -1).reshape(*theta.shape, -1)
