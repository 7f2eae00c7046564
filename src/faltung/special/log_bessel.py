"""Logarithms and ratios of modified Bessel functions, for orders and arguments at which the functions themselves overflow."""

from collections.abc import Callable
from typing import Any

import numpy as np

from faltung.arrays import as_array, dtype_name, is_torch
from faltung.errors import ArgumentError, DtypeError
from faltung.special import small
from faltung.special.uniform import CHUNK, Expansion, holds


def log_iv(v: Any, x: Any) -> Any:
    """The logarithm of the modified Bessel function of the first kind.

    Formula: `log I_v(x)`, `I_v(x) = Σ_k (x/2)^(v+2k) / (k! Γ(v+k+1))`.

    Shapes: v and x broadcast.

    Args:
        v: order, real, 0 ≤ v ≤ 1e6.   x: argument, 1e-300 ≤ x ≤ 1e300, or 0 or infinity, where the limits are taken. NumPy arrays,
            numbers or torch tensors.

    Returns:
        An array of x's kind (torch if either is a tensor); float32 in gives float32, computed in float64. Tensors carry gradients
        for v and x; twice for x.

    Raises:
        ArgumentError: an order or argument below 0.   DtypeError: complex numbers.

    Error: at most 1e-13 · max(1, |log I|) + 4 · 2⁻⁵³ · (v + x + |log I|): near the zeros of the logarithm it is the absolute
        error that is small, as good as x itself is known.
    Cost: about 0.1 µs a value where v ≥ 16 or √(v² + x²) ≥ 25, 0.2 µs elsewhere.
    Source: NIST Digital Library, 10.41; Plesner, Sørensen and Hauberg, Accurate computation of the logarithm of modified Bessel
        functions on GPUs (2024), for the choice by region.

    Example:
        >>> float(log_iv(1023, 500.0))  # the function itself is below the smallest double
        -363.478015720...
    """
    return _public("log_iv", v, x)


def log_kv(v: Any, x: Any) -> Any:
    """The logarithm of the modified Bessel function of the second kind.

    Formula: `log K_v(x)`, `K_v(x) = ∫₀^∞ exp(−x cosh s) cosh(v s) ds`.

    Shapes, Args, Returns, Raises, Error and Source: as for `log_iv`; K_v(0) is infinite. The gradient for v at x < 2 costs a sum
    over 7 log(100/x) nodes.

    Cost: about 0.1 µs a value where v ≥ 16 or √(v² + x²) ≥ 25, 0.5 µs elsewhere.

    Example:
        >>> float(log_kv(0.5, 2.0))
        -2.1207822376...
    """
    return _public("log_kv", v, x)


def bessel_ratio(v: Any, x: Any) -> Any:
    """The ratio of neighbouring modified Bessel functions, the mean resultant length of directions.

    Formula: `I_{v+1}(x) / I_v(x)`, between 0 and 1.

    Shapes, Args, Returns, Raises and Source: as for `log_iv`.

    Error: at most 1e-13 of the value, for every v and x.
    Cost: as `log_iv`, elsewhere twice that.

    Example:
        >>> float(bessel_ratio(0.5, 10.0))  # coth 10 − 1/10
        0.9000000041223...
    """
    return _public("bessel_ratio", v, x)


def _public(name: str, v: Any, x: Any) -> Any:
    v, x = as_array(v, name), as_array(x, name)
    for what, a in (("v", v), ("x", x)):
        if dtype_name(a).startswith("complex"):
            raise DtypeError.of(name, f"real {what}", dtype_name(a), "pass its real part if that is meant")
        if 0 not in a.shape and bool((a < 0).any()):
            raise ArgumentError.of(
                name, f"{what} of at least 0", f"{float(a.min())}", "take the absolute value if that is meant"
            )
    if is_torch(v) or is_torch(x):
        from faltung.special.log_bessel_torch import of_tensors

        return of_tensors(name, v, x)
    dtype = np.result_type(v, x)
    single = dtype in (np.float32, np.float16) or (x.dtype == np.float32 and v.ndim == 0)
    y = VALUES[name](v, x)
    return y.astype(np.float32) if single else y


def evaluate(v: Any, x: Any, wide: Callable, narrow: Callable, zero: Callable, infinity: float) -> np.ndarray:
    """A function of two arrays by region, in float64, in pieces that stay in the cache.

    Args:
        wide, narrow: the function where the expansion holds, and elsewhere.   zero: its limits at x = 0 for an array of orders.
        infinity: its limit for x → ∞.
    """
    v, x = np.broadcast_arrays(np.asarray(v, float), np.asarray(x, float))
    orders, arguments, y = v.ravel(), x.ravel(), np.empty(x.size)
    for start in range(0, x.size, CHUNK):
        piece = slice(start, start + CHUNK)
        a, b, out = orders[piece], arguments[piece], y[piece]
        usual = (b > 0) & np.isfinite(b) & np.isfinite(a)
        large = usual & holds(a, b)
        if large.all():
            out[:] = wide(a, b)
            continue
        for where, way in ((large, wide), (usual & ~large, narrow)):
            if where.any():
                out[where] = way(a[where], b[where])
        out[~usual] = np.nan
        out[(b == 0) & np.isfinite(a)] = zero(a[(b == 0) & np.isfinite(a)])
        out[np.isposinf(b) & np.isfinite(a)] = infinity
    return y.reshape(x.shape)


def _log_iv(v: Any, x: Any) -> np.ndarray:
    return evaluate(
        v, x, lambda a, b: Expansion(a, b, 1).log(), small.log_i, lambda a: np.where(a == 0, 0.0, -np.inf), np.inf
    )


def _log_kv(v: Any, x: Any) -> np.ndarray:
    return evaluate(
        v, x, lambda a, b: Expansion(a, b, -1).log(), small.log_k, lambda a: np.full_like(a, np.inf), -np.inf
    )


def _bessel_ratio(v: Any, x: Any) -> np.ndarray:
    return evaluate(v, x, lambda a, b: Expansion(a, b, 1).ratio(), small.ratio_i, np.zeros_like, 1.0)


def fall_kv(v: Any, x: Any) -> np.ndarray:
    """−d log K_v(x) / dx."""
    return evaluate(
        v, x, lambda a, b: Expansion(a, b, -1).ratio() + a / b, small.fall_k, lambda a: np.full_like(a, np.inf), 1.0
    )


def log_iv_by_order(v: Any, x: Any) -> np.ndarray:
    """The derivative of log I_v(x) by v."""
    return evaluate(
        v, x, lambda a, b: Expansion(a, b, 1).by_order(), small.log_i_by_order, lambda a: np.full_like(a, -np.inf), 0.0
    )


def log_kv_by_order(v: Any, x: Any) -> np.ndarray:
    """The derivative of log K_v(x) by v."""
    return evaluate(
        v,
        x,
        lambda a, b: Expansion(a, b, -1).by_order(),
        small.log_k_by_order,
        lambda a: np.where(a == 0, 0.0, np.inf),
        0.0,
    )


def ratio_slope(v: Any, x: Any) -> np.ndarray:
    """The derivative of I_{v+1}(x) / I_v(x) by x."""

    def narrow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        ratio = small.ratio_i(a, b)
        return ratio * (1 / b + _bessel_ratio(a + 1, b) - ratio)

    return evaluate(v, x, lambda a, b: Expansion(a, b, 1).ratio_slope(), narrow, lambda a: 0.5 / (a + 1), 0.0)


def fall_slope(v: Any, x: Any) -> np.ndarray:
    """The derivative of `fall_kv` by x."""

    def narrow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        fall = small.fall_k(a, b)
        return (fall - a / b) * (fall + a / b) - fall / b - 1

    return evaluate(
        v, x, lambda a, b: Expansion(a, b, -1).ratio_slope() - a / b**2, narrow, lambda a: np.full_like(a, -np.inf), 0.0
    )


VALUES: dict[str, Callable] = {
    "log_iv": _log_iv,
    "log_kv": _log_kv,
    "bessel_ratio": _bessel_ratio,
    "fall_kv": fall_kv,
    "ratio_slope": ratio_slope,
    "fall_slope": fall_slope,
    "log_iv_by_order": log_iv_by_order,
    "log_kv_by_order": log_kv_by_order,
}
