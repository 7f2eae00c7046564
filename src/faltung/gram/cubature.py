"""Integrals over the unit cube with a credible error: Bayesian cubature on lattices and digital nets that double."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.gram.kernels import digital_shift_invariant, shift_invariant
from faltung.gram.lattices import Lattice, lattice, lattice_vector
from faltung.gram.nets import digital_net
from faltung.gram.operator import Gram, operator

SIGMAS = 2.5758293035489004  # 99 % of a normal variable


@dataclass(frozen=True)
class Integral:
    """A value, half the width of its 99 % credible interval, and how many points it took."""

    value: float
    error: float
    n: int
    reached: bool

    def __repr__(self) -> str:
        note = "" if self.reached else ", tolerance not reached"
        return f"<Integral {self.value:.10g} ± {self.error:.2g} from {self.n} points{note}>"


def integrate(
    f: Callable[[np.ndarray], Any],
    dim: int,
    tolerance: float = 1e-4,
    design: str = "lattice",
    alpha: int | None = None,
    periodise: str | None = "auto",
    start: int = 1 << 8,
    most: int = 1 << 20,
    rng: Any = None,
) -> Integral:
    """The integral of a function over the unit cube, with points doubled until the credible error is small enough.

    Formula: f is taken for a Gaussian process with kernel S·Π(1 + γ K̃_α); given its values at the design the integral has mean ȳ
        and variance `σ² S λ₀′ / λ₀`, λ₀′ = λ₀ − n S; γ (once, at the start) and σ² (always) are those of greatest likelihood.

    Args:
        f: takes points (n, dim), returns values (n,).   dim: dimensions.
        tolerance: absolute, on half the width of the 99 % interval. Default 1e-4.
        design: lattice or net. Default lattice.   alpha: smoothness of the kernel; by default 1 for lattices, 2 for nets.
        periodise: tent, x ↦ 1 − |2x − 1|, which keeps integrals and makes every function periodic; None for functions that are
            periodic; auto is tent for lattices and None for nets. Default auto.
        start, most: numbers of points, powers of two. Default 2^8 and 2^20.   rng: generator or seed of the shift. Default None.

    Returns:
        An `Integral`: value, error, n, reached.

    Raises:
        ArgumentError: sizes that are no powers of two, another design, values that are not finite or of another shape.

    Error: a credible interval, not a bound: as good as the assumption that f is a draw from the process. Constants are exact.
    Cost: f at n points, and n log n for each doubling.
    Source: Rathinavel and Hickernell, Fast automatic Bayesian cubature using lattice sampling (2019).

    Example:
        >>> result = integrate(lambda x: np.exp(x.sum(1)), 2, rng=0)
        >>> bool(abs(result.value - (np.e - 1) ** 2) < 1e-4)
        True
    """
    if any(n < 2 or n & (n - 1) for n in (start, most)) or start > most:
        raise ArgumentError.of(
            "integrate", "powers of two with 2 ≤ start ≤ most", f"{start}, {most}", "for example 256, 2**20"
        )
    if design not in ("lattice", "net") or periodise not in ("auto", "tent", None):
        raise ArgumentError.of(
            "integrate",
            "design lattice or net, periodise auto, tent or None",
            f"{design!r}, {periodise!r}",
            "choose among these",
        )
    random = np.random.default_rng(rng)
    cyclic = design == "lattice"
    sites: Any = (
        lattice(start, dim, vector=lattice_vector(min(most, 1 << 16), dim), shift=random)
        if cyclic
        else digital_net(start, dim, rng=random, most=most)
    )
    kernel_of = shift_invariant if cyclic else digital_shift_invariant
    alpha = alpha or (1 if cyclic else 2)
    tent = periodise == "tent" or (periodise == "auto" and cyclic)

    def values(points: np.ndarray) -> np.ndarray:
        y = np.asarray(f(1 - np.abs(2 * points - 1) if tent else points), float)
        if y.shape != (len(points),) or not np.isfinite(y).all():
            raise ArgumentError.of("f", f"finite values ({len(points)},)", f"shape {y.shape}", "map (n, dim) to (n,)")
        return y

    y = values(sites.points)
    gram = operator(sites, kernel_of(alpha, _likeliest(sites, y, lambda g: kernel_of(alpha, g, dim=dim)), dim=dim))
    while True:
        error = SIGMAS * _deviation(gram, y)
        if error <= tolerance or 2 * sites.n > most:
            return Integral(float(y.mean()), float(error), sites.n, bool(error <= tolerance))
        gram = gram.double()
        sites = gram.design
        y = np.concatenate((y, values(sites.points[sites.n // 2 :])))


def _roughness(gram: Gram, y: np.ndarray) -> float:
    """σ²: the scale of greatest likelihood for the fluctuating part of y; eigenvalues lost to rounding count as their rounding."""
    power = gram.multiplicity * np.abs(gram.transform(y - y.mean())) ** 2
    return float((power[1:] / np.maximum(gram.eigenvalues[1:], gram.floor)).sum() / len(y))


def _deviation(gram: Gram, y: np.ndarray) -> float:
    first = max(float(gram._spectrum[0]), 0.0)
    return float(np.sqrt(_roughness(gram, y) * gram.kernel.scale * first / gram.eigenvalues[0]))


def _likeliest(sites: Lattice | Any, y: np.ndarray, kernel_of: Callable) -> float:
    """The γ, common to all coordinates, of greatest likelihood at the best scale."""
    from scipy.optimize import minimize_scalar

    if float(np.ptp(y)) == 0.0:
        return 1.0

    def loss(log: float) -> float:
        gram = operator(sites, kernel_of(float(np.exp(log))))
        values = np.maximum(gram.eigenvalues, gram.floor)
        return float(len(y) * np.log(_roughness(gram, y)) + gram.multiplicity @ np.log(values))

    return float(np.exp(minimize_scalar(loss, bounds=(-10.0, 3.0), method="bounded", options={"xatol": 0.05}).x))
