"""The ring that a power series has its coefficients in: arrays of them, with + and ×, truncated products by the planner."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from faltung import algebras
from faltung.algebras import Algebra
from faltung.door import convolve
from faltung.errors import ArgumentError
from faltung.planner.policy import Policy

_DTYPES = {"real": "float64", "complex": "complex128", "rational": "object"}


class Ring:
    """Coefficients over one algebra: arrays whose last axis counts the powers of x."""

    def __init__(self, over: Algebra, policy: Policy | None) -> None:
        self.over, self.policy, self.p = over, policy, over.modulus
        self.dtype = _DTYPES.get(over.name) or ("int64" if over.arithmetic == "residues" else "object")

    def series(self, f: Any, n: int | None, who: str, name: str = "f") -> np.ndarray:
        """The caller's coefficients, cut or filled up with zeros to n of them."""
        values = np.asarray(f) if not isinstance(f, list | tuple) else self._listed(f)
        if values.ndim != 1 or not values.size:
            raise ArgumentError.of(
                who, f"{name}: coefficients in one dimension", f"shape {values.shape}", "pass a list"
            )
        allowed = self.over.compute(str(values.dtype), str(values.dtype))
        if allowed is None and values.dtype.kind in "iub":
            allowed = self.dtype
        if allowed is None:
            raise ArgumentError.of(
                who, f"{name} with values of {self.over.name}", f"dtype {values.dtype}", "name the algebra with over="
            )
        if self.over.admit is not None:
            values = self.over.admit(values)
        values = values.astype(self.dtype)
        if n is None:
            return values
        if n < 1:
            raise ArgumentError.of(who, "n of at least 1 coefficient", repr(n), "say how many coefficients are wanted")
        out = self.zeros(n)
        some = min(n, len(values))
        out[:some] = values[:some]
        return out

    def _listed(self, f: Any) -> np.ndarray:
        if self.dtype != "object" and not any(isinstance(v, int) and abs(v) >= 1 << 63 for v in f):
            return np.asarray(f)
        out = np.empty(len(f), object)
        out[:] = f
        return out if self.dtype == "object" or not self.p else (out % self.p).astype(np.int64)

    def zeros(self, n: int) -> np.ndarray:
        return np.zeros(n, self.dtype)

    # -- arithmetic -------------------------------------------------------------------------------------------------------

    def sum(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a + b) % self.p if self.p else a + b

    def difference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a - b) % self.p if self.p else a - b

    def times(self, a: np.ndarray, b: Any) -> np.ndarray:
        """Value by value."""
        return np.asarray(self.over.mul(a, b)).astype(self.dtype, copy=False)

    def product(self, a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
        """The first n coefficients of a product."""
        a, b = a[..., :n], b[..., :n]
        full = convolve(a, b, over=self.over.name, policy=self.policy)
        if full.shape[-1] >= n:
            return full[:n]
        out = self.zeros(n)
        out[: len(full)] = full
        return out

    def constant(self, value: Any, n: int) -> np.ndarray:
        out = self.zeros(n)
        out[0] = value % self.p if self.p else value
        return out

    def unit(self, value: Any, who: str) -> Any:
        """1 / value, or an ArgumentError."""
        try:
            if self.p:
                return pow(int(value), -1, self.p)
            return Fraction(1) / value if self.dtype == "object" else _inverse(value)
        except (ValueError, ZeroDivisionError):
            raise ArgumentError.of(
                who, f"a coefficient that has an inverse over {self.over.name}", repr(value),
                "scale or shift the series, or choose another algebra",
            ) from None  # fmt: skip

    def whole_inverses(self, n: int, who: str) -> np.ndarray:
        """1/1, 1/2, ..., 1/n."""
        if not self.p:
            return np.array([self.unit(i, who) for i in range(1, n + 1)], self.dtype)
        # 1/i by one inversion: products of all, then back.
        products = [1]
        for i in range(1, n + 1):
            products.append(products[-1] * i % self.p)
        rest, found = self.unit(products[-1], who) if n else 1, [0] * n
        for i in range(n, 0, -1):
            found[i - 1] = rest * products[i - 1] % self.p
            rest = rest * i % self.p
        return np.array(found, self.dtype)

    def root(self, value: Any, who: str) -> Any:
        """A square root of one coefficient."""
        found: Any = None
        if self.p:
            found = _modular_root(int(value), self.p)
        elif self.dtype == "object":
            above, below = Fraction(value).numerator, Fraction(value).denominator
            if above >= 0 and math.isqrt(above) ** 2 == above and math.isqrt(below) ** 2 == below:
                found = Fraction(math.isqrt(above), math.isqrt(below))
        elif self.dtype == "complex128" or value >= 0:
            found = value**0.5
        if found is None:
            raise ArgumentError.of(
                who, f"a constant term that has a square root over {self.over.name}", repr(value), "scale the series"
            )
        return found


class Gaussian(Ring):
    """Series with coefficients a + i·b over another ring, i² = −1, as arrays (2, n): what cosines and sines need."""

    def __init__(self, base: Ring) -> None:
        super().__init__(base.over, base.policy)
        self.base = base

    def zeros(self, n: int) -> np.ndarray:
        return np.zeros((2, n), self.dtype)

    def constant(self, value: Any, n: int) -> np.ndarray:
        out = self.zeros(n)
        out[0, 0] = value
        return out

    def product(self, a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
        """Three products for four, as Karatsuba's."""
        base = self.base
        real, imaginary = base.product(a[0], b[0], n), base.product(a[1], b[1], n)
        both = base.product(base.sum(a[0], a[1]), base.sum(b[0], b[1]), n)
        return np.stack([base.difference(real, imaginary), base.difference(both, base.sum(real, imaginary))])


def ring(over: str | Algebra, policy: Policy | None, who: str) -> Ring:
    """The ring of that name; ArgumentError for algebras that are none, or whose numbers end."""
    found = algebras.named(over)
    if found.name not in _DTYPES and not found.modulus:
        raise ArgumentError.of(
            who, "over real, complex, rational or modular(p)", repr(found.name), "series need differences and quotients"
        )
    return Ring(found, policy)


def _inverse(value: Any) -> Any:
    if value == 0:
        raise ZeroDivisionError
    return 1 / value


def _modular_root(a: int, p: int) -> int | None:
    """A square root modulo an odd prime, by Cipolla's algorithm; None where there is none or p is composite."""
    a %= p
    if a in (0, 1) or p == 2:
        return a
    if pow(a, (p - 1) // 2, p) != 1:
        return None
    t = next(t for t in range(p) if pow(t * t - a, (p - 1) // 2, p) == p - 1)
    w = (t * t - a) % p
    result, base, e = (1, 0), (t, 1), (p + 1) // 2
    while e:
        if e & 1:
            result = _times(result, base, w, p)
        base, e = _times(base, base, w, p), e >> 1
    return min(result[0], p - result[0]) if result[0] ** 2 % p == a else None


def _times(a: tuple[int, int], b: tuple[int, int], w: int, p: int) -> tuple[int, int]:
    return (a[0] * b[0] + a[1] * b[1] * w) % p, (a[0] * b[1] + a[1] * b[0]) % p
