"""Digital nets in base 2: points whose differences form a group under XOR, and the scramblings that keep it."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from faltung.errors import ArgumentError

BITS = 53  # of every coordinate: all that float64 holds below 1
SCRAMBLES = ("lms+shift", "lms", "shift", "none")
_TRUST = 2.0**-40  # how far points made elsewhere may be from a net: they are rounded from more bits than float64 has


@dataclass(frozen=True, eq=False)
class DigitalNet:
    """Points `x_i = ⊕ over the bits b of i of C[b], ⊕ Δ`, coordinates being BITS-bit integers over 2^BITS.

    Made by `digital_net`.
    """

    n: int
    columns: np.ndarray  # (at least log₂ n, dim) of uint64
    shift: np.ndarray  # (dim,) of uint64

    group = "xor"

    @property
    def dim(self) -> int:
        return self.columns.shape[1]

    @cached_property
    def points(self) -> np.ndarray:
        """(n, dim), in [0, 1)."""
        return (self._integers() ^ self.shift) * 2.0**-BITS

    def differences(self, first: int = 0) -> np.ndarray:
        """Points from number `first` on, XOR the first point, as fractions; exact."""
        return self._integers()[first:] * 2.0**-BITS

    def _integers(self) -> np.ndarray:
        rows = np.zeros((self.n, self.dim), np.uint64)
        for b in range(self.n.bit_length() - 1):
            np.bitwise_xor(rows[: 1 << b], self.columns[b], out=rows[1 << b : 2 << b])
        return rows

    def double(self) -> "DigitalNet":
        """Twice the points, of which these are the first half."""
        if 2 * self.n > 1 << len(self.columns):
            raise ArgumentError.of(
                "double",
                f"a net of at most {1 << len(self.columns)} points",
                f"{2 * self.n}",
                "pass most= to digital_net",
            )
        return DigitalNet(2 * self.n, self.columns, self.shift)


def digital_net(
    n: int | None = None,
    dim: int | None = None,
    scramble: str = "lms+shift",
    rng: Any = None,
    columns: Any = None,
    points: Any = None,
    most: int | None = None,
) -> DigitalNet:
    """A scrambled Sobol' net of n = 2^m points in the unit cube, in natural order (not Gray code).

    Formula: `x_i = ⊕ over the bits b of i of (L C)[b] ⊕ Δ`, C Sobol's matrices, L random lower triangular matrices over two
        elements, Δ a random shift of bits.

    Args:
        n: points, a power of two.   dim: dimensions, 1 to 21201.
        scramble: lms+shift, lms, shift or none. Default lms+shift.   rng: a NumPy generator or seed. Default None: fresh.
        columns: (m, dim) integers below 2^53 in place of Sobol's, the most significant of 53 bits being the first after the point.
        points: an array (n, dim) in place of all others: points that were made elsewhere, in natural order or that of Gray codes,
            of which C and Δ are found and checked, to 40 bits.
        most: how far the net can be doubled. Default 2^20 or 2n, whichever is more.

    Returns:
        A `DigitalNet` with n, dim, columns, shift, points and double().

    Raises:
        ArgumentError: an n that is no power of two; a scrambling that is not linear over XOR, such as nested uniform scrambling or
            permuted digits; points that are no net.

    Cost: n·dim, and once for each dim and most the walk of SciPy's generator through `most` points.
    Source: Niederreiter (1987); Joe and Kuo, Constructing Sobol' sequences with better two-dimensional projections (2008);
        Matoušek, On the L2-discrepancy for anchored boxes (1998), for the linear scrambling.

    Example:
        >>> digital_net(4, 2, scramble="none").points.tolist()
        [[0.0, 0.0], [0.5, 0.5], [0.25, 0.75], [0.75, 0.25]]
    """
    if points is not None:
        return _recognised(np.asarray(points, float))
    if scramble not in SCRAMBLES:
        raise ArgumentError.of(
            "scramble",
            f"one of {', '.join(SCRAMBLES)}",
            repr(scramble),
            "others, such as nested uniform (Owen) scrambling or permuted digits, are not linear over XOR",
        )
    if n is None or dim is None or dim < 1 or n < 1 or n & (n - 1):
        raise ArgumentError.of(
            "digital_net", "2^m points in at least one dimension", f"n={n}, dim={dim}", "pass both, or points="
        )
    if columns is None:
        made = _sobol(dim, max(n, most or max(1 << 20, 2 * n)).bit_length() - 1)
    else:
        made = np.asarray(columns)
        if made.ndim != 2 or made.shape[1] != dim or made.dtype.kind not in "iu" or len(made) < n.bit_length() - 1:
            raise ArgumentError.of(
                "columns",
                f"integers ({n.bit_length() - 1} or more, {dim})",
                f"{made.dtype} {made.shape}",
                "a row for each bit of i",
            )
        made = made.astype(np.uint64)
    random = np.random.default_rng(rng)
    if scramble.startswith("lms"):
        made = _linear(made, random)
    shift = np.zeros(dim, np.uint64)
    if scramble.endswith("shift"):
        shift = random.integers(0, 1 << BITS, dim, np.uint64)
    return DigitalNet(n, made, shift)


@lru_cache(maxsize=8)
def _sobol(dim: int, bits: int) -> np.ndarray:
    """Sobol's columns, (bits, dim): column b has its ones in the first b + 1 digits, so 32 bits hold it.

    SciPy emits points in the order of Gray codes: its point 2^(b+1) − 1 is number 2^b.
    """
    from scipy.stats import qmc

    source = qmc.Sobol(dim, scramble=False, bits=32)
    columns, at = np.zeros((bits, dim), np.uint64), 0
    for b in range(len(columns)):
        if (2 << b) - 1 > at:
            source.fast_forward((2 << b) - 1 - at)
        columns[b] = (source.random(1)[0] * 2.0**BITS).astype(np.uint64)
        at = 2 << b
    columns.setflags(write=False)
    return columns


def _linear(columns: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Random lower triangular matrices with ones on the diagonal times the columns; the first digit is the highest bit."""
    made = np.zeros_like(columns)
    for digit in range(BITS):
        place = np.uint64(BITS - 1 - digit)
        row = (random.integers(0, 1 << digit, columns.shape[1], np.uint64) << (place + np.uint64(1))) | (
            np.uint64(1) << place
        )
        made |= (np.bitwise_count(columns & row).astype(np.uint64) & np.uint64(1)) << place
    return made


def _recognised(points: np.ndarray) -> DigitalNet:
    """The net that given points are."""
    if points.ndim != 2 or len(points) < 1 or len(points) & (len(points) - 1):
        raise ArgumentError.of("points", "an array (2^m, dim)", f"shape {points.shape}", "one row for each point")
    n = len(points)
    if not ((points >= 0) & (points < 1)).all():
        raise ArgumentError.of("points", "coordinates in [0, 1)", f"{points.min()} to {points.max()}", "scale them")
    integers = (points * 2.0**BITS).astype(np.uint64)
    # The order of Gray codes is linear over XOR as well: such points are a net in natural order of another matrix.
    found = DigitalNet(n, integers[1 << np.arange(n.bit_length() - 1)] ^ integers[0], integers[0])
    if (np.abs(found.points - points) < _TRUST).all():
        return found
    raise ArgumentError.of(
        "points",
        "a digitally shifted net in base 2",
        "points whose differences are no group under XOR",
        "nested uniform scrambling and permuted digits destroy the group that fast algorithms live on",
    )
