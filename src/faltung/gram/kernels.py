"""Product kernels that see differences only: modulo 1 for lattices, by XOR for digital nets."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.kernels.threads import available, spread

CHUNK = 1 << 12  # points whose values stay in the cache


@dataclass(frozen=True, eq=False)
class ProductKernel:
    """`K(x, t) = S · Π_j (1 + γ_j K̃_{α_j}(x_j ⊖ t_j))`; made by `shift_invariant` or `digital_shift_invariant`."""

    alpha: tuple[int, ...]
    weights: np.ndarray
    scale: float
    group: str  # cyclic: ⊖ is the difference modulo 1; xor: ⊖ is XOR of the binary digits
    open: bool = False  # said for one coordinate, and meant for as many as come

    def of_dim(self, dim: int) -> "ProductKernel":
        """The kernel of that many dimensions, where it was left open how many."""
        if not self.open:
            return self
        return replace(self, alpha=self.alpha * dim, weights=np.repeat(self.weights, dim), open=False)

    @property
    def dim(self) -> int:
        return len(self.alpha)

    def __call__(self, x: Any, t: Any, dx: Any = 0, dt: Any = 0) -> np.ndarray:
        """The matrix (n, m) of kernel values for x (n, dim) and t (m, dim).

        Args:
            dx, dt: orders of derivatives in each coordinate of x and of t; of cyclic kernels only. The sum of both must leave
                2α − dx − dt ≥ 2. Default 0.
        """
        x, t = np.atleast_2d(np.asarray(x, float)), np.atleast_2d(np.asarray(t, float))
        if self.open:
            return self.of_dim(x.shape[1])(x, t, dx, dt)
        orders = [np.broadcast_to(np.asarray(o, int), (self.dim,)) for o in (dx, dt)]
        if x.shape[1] != self.dim or t.shape[1] != self.dim:
            raise ArgumentError.of(
                "kernel", f"points of {self.dim} coordinates", f"{x.shape} and {t.shape}", "pass (n, dim)"
            )
        if self.group == "xor" and any(o.any() for o in orders):
            raise ArgumentError.of(
                "kernel", "no derivatives of a digital kernel", f"dx={dx}, dt={dt}", "use profile(u, j, order)"
            )
        total = np.full((len(x), len(t)), self.scale)
        for j in range(self.dim):
            a, b = int(orders[0][j]), int(orders[1][j])
            values = self.weights[j] * self.profile(self.difference(x[:, None, j], t[None, :, j]), j, a + b)
            total *= (-1.0) ** b * values if a + b else 1 + values
        return total

    def difference(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        """x ⊖ t."""
        if self.group == "cyclic":
            return (x - t) % 1.0
        return ((x * 2.0**53).astype(np.uint64) ^ (t * 2.0**53).astype(np.uint64)) * 2.0**-53

    def profile(self, u: Any, j: int = 0, order: int = 0) -> np.ndarray:
        """K̃_α of coordinate j, or its derivative of that order, at u in [0, 1)."""
        return (cyclic_profile if self.group == "cyclic" else digital_profile)(
            np.asarray(u, float), self.alpha[j], order
        )

    def minus_one(self, differences: np.ndarray) -> np.ndarray:
        """`K − S` for (n, dim) differences: without the one, of which sums would keep nothing else."""
        total = np.zeros(len(differences))

        def task(first: int, last: int) -> None:
            for start in range(first, last, CHUNK):
                rows = slice(start, min(start + CHUNK, last))
                part, u = total[rows], np.ascontiguousarray(differences[rows].T)
                for j in range(self.dim):
                    values = self.profile(u[j], j)
                    values *= self.weights[j]
                    part += values + part * values
                part *= self.scale

        spread(task, len(differences), available(), CHUNK)
        return total

    def pull_back(self, differences: np.ndarray, cotangent: np.ndarray) -> tuple[float, np.ndarray]:
        """The derivatives by log S and by log γ of `Σ cotangent · K`, (n, dim) differences."""
        by_scale, by_weights = 0.0, np.zeros(self.dim)
        for start in range(0, len(differences), CHUNK):
            u = differences[start : start + CHUNK].T
            shares = np.stack([self.weights[j] * self.profile(u[j], j) for j in range(self.dim)])
            front, back = np.ones_like(shares), np.ones_like(shares)  # products of the factors before and behind each
            front[1:] = np.cumprod(1 + shares[:-1], 0)
            back[:-1] = np.cumprod(1 + shares[:0:-1], 0)[::-1]
            part = self.scale * cotangent[start : start + CHUNK]
            by_weights += (front * back * shares) @ part
            by_scale += float(part @ (front[-1] * (1 + shares[-1])))
        return by_scale, by_weights

    def with_parameters(self, scale: float, weights: np.ndarray) -> "ProductKernel":
        """The same kernel with another S and γ."""
        return replace(self, scale=float(scale), weights=np.asarray(weights, float))


def shift_invariant(alpha: Any = 2, weights: Any = 1.0, scale: float = 1.0, dim: int | None = None) -> ProductKernel:
    """The kernel of periodic functions with α square-integrable derivatives in each coordinate.

    Formula: `K(x, t) = S · Π_j (1 + γ_j K̃_{α_j}((x_j − t_j) mod 1))`,
        `K̃_α(u) = (−1)^(α+1) (2π)^(2α) / (2α)! · B_{2α}(u) = 2 Σ_{h ≥ 1} cos(2πhu) / h^(2α)`.

    Args:
        alpha: smoothness, whole and at least 1, one for all or one for each coordinate. Default 2.
        weights: γ ≥ 0, one for all or one for each coordinate. Default 1.   scale: S > 0. Default 1.
        dim: dimensions; by default those of the lists, and without a list those of the points that the kernel meets.

    Returns:
        A kernel k: `k(x, t)` is the matrix, `k(x, t, dx, dt)` that of derivatives.

    Raises:
        ArgumentError: parameters out of range, or lists of different lengths.

    Source: Wahba, Spline models for observational data (1990); Sorokin (2025).

    Example:
        >>> float(shift_invariant(1, 1.0, dim=1)([[0.5]], [[0.5]])[0, 0])  # 1 + 2 ζ(2)
        4.28986813...
    """
    return _kernel("shift_invariant", "cyclic", alpha, weights, scale, dim, 16)


def digital_shift_invariant(
    alpha: Any = 2, weights: Any = 1.0, scale: float = 1.0, dim: int | None = None
) -> ProductKernel:
    """The kernel of functions smooth in the sense of Walsh series, matched to digital nets in base 2.

    Formula: `K(x, t) = S · Π_j (1 + γ_j K̃_{α_j}(x_j XOR t_j))`; for α = 2, 3, 4 `K̃_α(u) = Σ_{k ≥ 1} wal_k(u) 2^(−μ_α(k))`, μ_α the
        sum of the α highest positions of ones in k, counted from 1; for α = 1 half of `Σ_{k ≥ 1} wal_k(u) 4^(−⌊log₂ k⌋)`.

    Args:
        alpha: 1, 2, 3 or 4.   weights, scale, dim: as for `shift_invariant`.

    Returns:
        A kernel k: `k(x, t)` is the matrix.

    Raises:
        ArgumentError: parameters out of range, or lists of different lengths.

    Source: Dick and Pillichshammer, Digital nets and sequences (2010); Baldeaux, Dick, Leobacher, Nuyens and Pillichshammer,
        Efficient calculation of the worst-case error and (fast) component-by-component construction of higher order polynomial
        lattice rules (2012), for the closed forms.

    Example:
        >>> digital_shift_invariant(2, 1.0, dim=1)([[0.5], [0.0]], [[0.0]]).tolist()
        [[0.75], [2.5]]
    """
    return _kernel("digital_shift_invariant", "xor", alpha, weights, scale, dim, 4)


def _kernel(who: str, group: str, alpha: Any, weights: Any, scale: float, dim: int | None, most: int) -> ProductKernel:
    lists = [np.asarray(a) for a in (alpha, weights)]
    lengths = {len(a) for a in lists if a.ndim} | ({dim} if dim is not None else set()) or {1}
    if len(lengths) != 1 or min(lengths) < 1:
        raise ArgumentError.of(
            who, "one number of dimensions", f"{sorted(lengths)}", "pass dim, or lists of that length"
        )
    d = lengths.pop()
    alphas, gammas = (np.broadcast_to(a, (d,)) for a in lists)
    if not all(float(a).is_integer() and 1 <= a <= most for a in alphas):
        raise ArgumentError.of(
            who, f"whole alpha from 1 to {most}", f"{alpha}", "smoothness between has no closed form"
        )
    if not (np.isfinite(gammas).all() and (gammas >= 0).all() and np.isfinite(scale) and scale > 0):
        raise ArgumentError.of(
            who, "weights of at least 0 and a positive scale", f"{weights}, {scale}", "kernels are positive"
        )
    left_open = dim is None and not any(a.ndim for a in lists)
    return ProductKernel(tuple(map(int, alphas)), np.array(gammas, float), float(scale), group, left_open)


@lru_cache(maxsize=64)
def _bernoulli(n: int) -> np.ndarray:
    """Coefficients of B_n(u) by powers of (u − ½)², lowest first; odd n have a factor u − ½ beside."""
    numbers = [Fraction(1)]
    for m in range(1, n + 1):
        numbers.append(-sum((math.comb(m + 1, k) * numbers[k] for k in range(m)), Fraction(0)) / (m + 1))
    # B_n(½ + s) = Σ_k C(n, k) B_k(½) s^(n−k), B_k(½) = (2^(1−k) − 1) B_k
    coefficients = [math.comb(n, k) * (Fraction(2) ** (1 - k) - 1) * numbers[k] for k in range(n, -1, -1)]
    return np.array([float(c) for c in coefficients[n % 2 :: 2]])


def cyclic_profile(u: np.ndarray, alpha: int, order: int = 0) -> np.ndarray:
    """K̃_α of `shift_invariant` or its derivative; 2α − order ≥ 2."""
    n = 2 * alpha - order
    if order < 0 or n < 2:
        raise ArgumentError.of("derivative", f"an order from 0 to {2 * alpha - 2}", f"{order}", "take a larger alpha")
    s = u - 0.5
    square, total = s * s, np.zeros_like(s)
    for c in _bernoulli(n)[::-1]:
        total = total * square + c
    total *= (-1.0) ** (alpha + 1) * (2 * np.pi) ** (2 * alpha) / math.factorial(n)
    return total * s if n % 2 else total


def digital_profile(u: np.ndarray, alpha: int, order: int = 0) -> np.ndarray:
    """K̃_α of `digital_shift_invariant`, or its derivative within a dyadic piece: (−2)^order (1 + K̃_{α−order}), α − order ≥ 2."""
    if order:
        if order < 0 or alpha - order < 2:
            raise ArgumentError.of("derivative", f"an order from 0 to {alpha - 2}", f"{order}", "take a larger alpha")
        return (-2.0) ** order * (1 + digital_profile(u, alpha - order))
    fraction, exponent = np.frexp(u)
    beta = 1.0 - exponent  # −⌊log₂ u⌋
    t = u / (2 * fraction + (u == 0))  # 2^-β
    beta *= u > 0
    if alpha == 1:
        return 1 - 3 * t
    if alpha == 2:
        return -beta * u + 2.5 * (1 - t) - 1
    if alpha == 3:
        return beta * u**2 - 5 * (1 - t) * u + 43 / 18 * (1 - t**2) - 1
    # Σ_{a ≥ 0} wal_{2^a}(u) 8^-a, of which digit a + 1 of u is the sign; digits beyond 53 are zero.
    rest, walsh = u, np.full_like(u, 8 / 7)
    for a in range(20):
        rest = 2 * rest
        digit = rest >= 1
        rest = rest - digit
        walsh = walsh - 2 * digit * 8.0**-a
    smooth = -2 / 3 * beta * u**3 + 5 * (1 - t) * u**2 - 43 / 9 * (1 - t**2) * u + 701 / 294 * (1 - t**3) - 1
    return smooth + beta * (walsh / 48 - 1 / 42)
