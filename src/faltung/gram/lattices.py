"""Rank-1 lattices: points whose differences form a cyclic group, and vectors that make them even."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import scipy.fft

from faltung.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Lattice:
    """Points `x_i = (φ(i) z + Δ) mod 1`: z the generating vector, Δ the shift, φ the order.

    With n = 2^m points φ is the radical inverse in base 2, so that the first half is the lattice of half the size; with n prime it
    is i / n. Made by `lattice`.
    """

    n: int
    vector: np.ndarray
    shift: np.ndarray

    group = "cyclic"

    @property
    def dim(self) -> int:
        return len(self.vector)

    @property
    def extensible(self) -> bool:
        return self.n & (self.n - 1) == 0

    @cached_property
    def order(self) -> np.ndarray:
        """The number j of the point j·z / n that stands in place i."""
        return reversal(self.n) if self.extensible else np.arange(self.n)

    @cached_property
    def points(self) -> np.ndarray:
        """(n, dim), in [0, 1)."""
        return (self.differences() + self.shift) % 1.0

    def differences(self, first: int = 0) -> np.ndarray:
        """Points from number `first` on, minus the first point, modulo 1; exact."""
        numbers = self.order[first:, None] * self.vector
        numbers = numbers & (self.n - 1) if self.extensible else numbers % self.n
        return numbers * (1.0 / self.n) if self.extensible else numbers / self.n

    def double(self) -> "Lattice":
        """Twice the points, of which these are the first half."""
        if not self.extensible:
            raise ArgumentError.of("double", "a lattice of 2^m points", f"{self.n}", "make one with lattice(2**m, dim)")
        return Lattice(2 * self.n, self.vector, self.shift)


def lattice(
    n: int | None = None, dim: int | None = None, vector: Any = None, shift: Any = None, points: Any = None
) -> Lattice:
    """A shifted rank-1 lattice of n points in the unit cube.

    Formula: `x_i = (φ(i) z + Δ) mod 1`, φ the radical inverse in base 2 for n = 2^m, and i / n for n prime.

    Args:
        n: points, a power of two or a prime.   dim: dimensions, 1 to 250.
        vector: the whole numbers z, (dim,); by default those of `lattice_vector`, best for a smooth product kernel at this n.
        shift: Δ, (dim,); a NumPy generator or a seed to draw it from; None for no shift. Default None.
        points: an array (n, dim) in place of all others: points that were made elsewhere, of which z and Δ are found and checked.

    Returns:
        A `Lattice` with n, dim, vector, shift, points and double().

    Raises:
        ArgumentError: an n that is neither, a vector of another length, points that are no lattice in one of the two orders.

    Cost: n·dim for the points; the vector dim·n log n, once for each n and dim.
    Source: Nuyens and Cools, Fast algorithms for component-by-component construction of rank-1 lattice rules (2006); Hickernell,
        Hong, L'Ecuyer and Lemieux, Extensible lattice sequences for quasi-Monte Carlo quadrature (2000).

    Example:
        >>> lattice(4, 2, vector=[1, 3]).points.tolist()
        [[0.0, 0.0], [0.5, 0.5], [0.25, 0.75], [0.75, 0.25]]
    """
    if points is not None:
        return _recognised(np.asarray(points, float))
    if n is None or dim is None or dim < 1:
        raise ArgumentError.of(
            "lattice", "n points in at least one dimension", f"n={n}, dim={dim}", "pass both, or points="
        )
    _sized(n)
    z = lattice_vector(n, dim) if vector is None else np.asarray(vector)
    if z.shape != (dim,) or z.dtype.kind not in "iu":
        raise ArgumentError.of(
            "vector", f"{dim} whole numbers", f"shape {z.shape} of {z.dtype}", "one for each dimension"
        )
    return Lattice(n, z.astype(np.int64) % (n if n & (n - 1) else 1 << 62), shift_of(shift, dim))


def shift_of(shift: Any, dim: int) -> np.ndarray:
    """The shift that an argument names: values, a generator or seed to draw from, or None."""
    if shift is None:
        return np.zeros(dim)
    if isinstance(shift, int | np.integer | np.random.Generator):
        return np.random.default_rng(shift).random(dim)
    values = np.asarray(shift, float)
    if values.shape != (dim,) or not ((values >= 0) & (values < 1)).all():
        raise ArgumentError.of("shift", f"{dim} numbers in [0, 1)", f"{shift!r}", "or a generator, a seed or None")
    return values


@lru_cache(maxsize=32)
def reversal(n: int) -> np.ndarray:
    """The bits of 0 … n − 1 turned around, for n = 2^m."""
    turned = np.zeros(1, np.int64)
    while len(turned) < n:
        turned = np.concatenate((2 * turned, 2 * turned + 1))
    turned.setflags(write=False)
    return turned


def prime(n: int) -> bool:
    """Whether n has no divisor but itself."""
    return n > 1 and all(n % p for p in range(2, int(n**0.5) + 1))


def _sized(n: int) -> None:
    if n < 1 or (n & (n - 1) and not prime(n)):
        near = 1 << max(n, 1).bit_length()
        raise ArgumentError.of(
            "lattice",
            "a power of two or a prime number of points",
            f"{n}",
            f"take {near}: other sizes have no fast order",
        )


@lru_cache(maxsize=16)
def lattice_vector(n: int, dim: int, decay: float = 2.0) -> np.ndarray:
    """A generating vector, coordinate by coordinate the best for the kernel Π_j (1 + j^-decay · K̃_1), K̃_1(u) = 2π² B_2(u).

    Sums over all candidates at once are circular correlations along the powers of a generator of the multiplicative group.

    Args:
        n: a power of two or a prime.   dim: dimensions.   decay: how fast the coordinates lose weight. Default 2.

    Returns:
        (dim,) whole numbers below n, the first 1; read only.

    Raises:
        ArgumentError: an n that is neither.

    Cost: dim·n log n; kept for later calls.
    Source: Nuyens and Cools (2006).

    Example:
        >>> lattice_vector(101, 3).tolist()
        [1, 44, 64]
    """
    _sized(n)
    u = np.arange(n) / n
    profile = 2 * np.pi**2 * (u * u - u + 1 / 6)
    orbits = _orbits(n)
    candidates = orbits[0][1] if orbits else np.ones(1, np.int64)
    product, vector = np.ones(n), [1]
    for j in range(dim):
        if j:
            total = np.zeros(len(candidates))
            for modulus, orbit in orbits:
                at = orbit * (n // modulus)
                spectrum = scipy.fft.rfft(profile[at]) * np.conj(scipy.fft.rfft(product[at]))
                total += np.tile(scipy.fft.irfft(spectrum, len(orbit)), len(candidates) // len(orbit))
            # Candidates may be alike, as a number and its inverse are at first: the first is taken, not the one rounding prefers.
            vector.append(int(candidates[np.argmax(total <= total.min() + 1e-10 * np.abs(total).max())]))
        product *= 1 + (j + 1.0) ** -decay * profile[np.arange(n) * vector[j] % n]
    made = np.array(vector, np.int64)
    made.setflags(write=False)
    return made


def _orbits(n: int) -> list[tuple[int, np.ndarray]]:
    """For every modulus M that divides n, largest first, the powers of one generator that reach all units of M up to sign.

    Moduli with one unit up to sign are left out: there all candidates are alike.
    """
    orbits = []
    if n & (n - 1):
        moduli = [(n, _primitive_root(n), (n - 1) // 2)]
    else:
        moduli = [(1 << m, 5, 1 << (m - 2)) for m in range(n.bit_length() - 1, 2, -1)]
    for modulus, generator, size in moduli:
        powers = np.ones(1, np.int64)
        while len(powers) < size:
            powers = np.concatenate((powers, powers * pow(generator, len(powers), modulus) % modulus))
        if size > 1:
            orbits.append((modulus, powers[:size]))
    return orbits


def _primitive_root(p: int) -> int:
    """The smallest number whose powers are all units of the prime p."""
    rest, factors, q = p - 1, set(), 2
    while rest > 1:
        if rest % q == 0:
            factors.add(q)
            rest //= q
        else:
            q = q + 1 if q * q <= rest else rest
    return next(g for g in range(1, p) if all(pow(g, (p - 1) // f, p) != 1 for f in factors))


def _recognised(points: np.ndarray) -> Lattice:
    """The lattice that given points are."""
    if points.ndim != 2 or len(points) < 1:
        raise ArgumentError.of("points", "an array (n, dim)", f"shape {points.shape}", "one row for each point")
    n = len(points)
    _sized(n)
    shift = points[0] % 1.0
    for extensible in (True, False) if n & (n - 1) == 0 else (False,):
        place = n // 2 if extensible else 1
        step = (points[place % n] - shift) * n
        found = Lattice(n, np.rint(step).astype(np.int64) % n, shift)
        numbers = reversal(n) if extensible else np.arange(n)
        apart = points - (numbers[:, None] * found.vector % n) / n - shift
        if not (np.abs(apart - np.rint(apart)) < 1e-9).all():
            continue
        if extensible or n & (n - 1):
            return found
        raise ArgumentError.of(
            "points",
            "a lattice in the order of the radical inverse",
            "one in the order i / n",
            "reorder it: points[reversal(n)]",
        )
    raise ArgumentError.of(
        "points",
        "a shifted rank-1 lattice",
        "points whose differences are not those of a lattice",
        "a scrambling other than one shift modulo 1 destroys the group that fast algorithms live on",
    )
