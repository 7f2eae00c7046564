"""Power series and polynomials over real, complex, rational and modular(p) numbers: Newton's iteration on planned convolutions.

A series is the array of its first coefficients, the constant one first. Results over rational and modular(p) are exact. Over real
and complex errors are relative to the largest coefficient that meets on the way, as the planner's bounds are for each product, and
not to each coefficient: scale x so that coefficients are of one size.

Source: Brent and Kung, Fast algorithms for manipulating formal power series (1978); Hanrot and Zimmermann, Newton iteration
revisited (2004); Bernstein, Removing redundancy in high-precision Newton iteration (2004).
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from faltung.algebras import Algebra
from faltung.door import convolve
from faltung.engine.coefficients import Gaussian, Ring, ring
from faltung.errors import ArgumentError
from faltung.planner.policy import Policy

Over = str | Algebra


def multiply(f: Any, g: Any, n: int | None = None, over: Over = "rational", policy: Policy | None = None) -> np.ndarray:
    """The product of two series, `h[i] = Σ_u f[u] · g[i − u]`, n coefficients of it or all.

    Args:
        f, g: coefficients.   n: how many are wanted, None for all.   over: real, complex, rational or modular(p).
        policy: limits for the planner.

    Example:
        >>> multiply([3, 1], [3, 1]).tolist()
        [9, 6, 1]
    """
    own = ring(over, policy, "multiply")
    f, g = own.series(f, None, "multiply"), own.series(g, None, "multiply", "g")
    return own.product(f, g, len(f) + len(g) - 1 if n is None else n)


def middle_product(f: Any, g: Any, over: Over = "rational", policy: Policy | None = None) -> np.ndarray:
    """Those coefficients of f·g that all of g takes part in: `h[i] = Σ_u f[i + t − 1 − u] · g[u]`, i = 0 ... n − t.

    The transpose of multiplication with g, at the cost of one transform of f's length.

    Shapes: f (n), g (t), n >= t -> (n − t + 1).
    Source: Hanrot, Quercia and Zimmermann, The middle product algorithm (2004).

    Example:
        >>> middle_product([1, 2, 3, 4], [1, 10]).tolist()
        [12, 23, 34]
    """
    own = ring(over, policy, "middle_product")
    f, g = own.series(f, None, "middle_product"), own.series(g, None, "middle_product", "g")
    if len(f) < len(g):
        raise ArgumentError.of(
            "middle_product", "f no shorter than g", f"{len(f)} and {len(g)} coefficients", "exchange them"
        )
    return convolve(f, g, mode="valid", over=own.over.name, policy=policy)


def derivative(f: Any, over: Over = "rational") -> np.ndarray:
    """f′, one coefficient less (one zero for a constant): `(i + 1) · f[i + 1]`.

    Example:
        >>> derivative([5, 1, 3]).tolist()
        [1, 6]
    """
    own = ring(over, None, "derivative")
    return _derived(own, own.series(f, None, "derivative"))


def integral(f: Any, constant: Any = 0, over: Over = "rational") -> np.ndarray:
    """∫f with that constant term, one coefficient more: `f[i − 1] / i`.

    Raises:
        ArgumentError: over modular(p) where p divides one of the denominators.

    Example:
        >>> integral([1, 1, 1]).tolist()
        [0, Fraction(1, 1), Fraction(1, 2), Fraction(1, 3)]
    """
    own = ring(over, None, "integral")
    f = own.series(f, None, "integral")
    out = _integrated(own, f, len(f) + 1)
    out[0] = own.series([constant], 1, "integral", "constant")[0]
    return out


def inverse(f: Any, n: int, over: Over = "rational", policy: Policy | None = None) -> np.ndarray:
    """n coefficients of 1/f.

    Formula: `g ← g − g·(f·g − 1)`, twice as many coefficients a step.
    Args:
        f: coefficients; f[0] must have an inverse.   n: how many are wanted.   over, policy: as in `multiply`.
    Raises:
        ArgumentError: f[0] has no inverse.
    Cost: about three products of n coefficients.

    Example:
        >>> inverse([1, -1, -1], 8).tolist() == [1, 1, 2, 3, 5, 8, 13, 21]
        True
    """
    own = ring(over, policy, "inverse")
    return _inverse(own, own.series(f, n, "inverse"), n, "inverse")


def divide(f: Any, g: Any, n: int, over: Over = "rational", policy: Policy | None = None) -> np.ndarray:
    """n coefficients of f/g; ArgumentError where g[0] has no inverse.

    Example:
        >>> divide([0, 1], [1, -2, 1], 5).tolist() == [0, 1, 2, 3, 4]
        True
    """
    own = ring(over, policy, "divide")
    f, g = own.series(f, n, "divide"), own.series(g, n, "divide", "g")
    return own.product(f, _inverse(own, g, n, "divide"), n)


def divmod(a: Any, b: Any, over: Over = "rational", policy: Policy | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Quotient and remainder of two polynomials: a = b·q + r with fewer coefficients in r than in b.

    Formula: the reversed quotient is the reversed a times the inverse of the reversed b.
    Raises:
        ArgumentError: the leading coefficient of b has no inverse.
    Cost: one inverse of deg a − deg b coefficients and two products.

    Example:
        >>> q, r = divmod([1, 0, 0, 1], [1, 1])
        >>> q.tolist() == [1, -1, 1] and r.tolist() == [0]
        True
    """
    own = ring(over, policy, "divmod")
    a, b = (_trimmed(own.series(v, None, "divmod", name)) for v, name in ((a, "a"), (b, "b")))
    many = len(a) - len(b) + 1
    if many < 1:
        own.unit(b[-1], "divmod")
        return own.zeros(1), a
    backwards = np.concatenate([b[::-1][:many], own.zeros(max(0, many - len(b)))])
    q = own.product(a[::-1].copy(), _inverse(own, backwards, many, "divmod"), many)[::-1].copy()
    left = max(1, len(b) - 1)
    product = own.product(b, q, left)
    return q, own.difference(a[:left], product) if len(b) > 1 else own.zeros(1)


def log(f: Any, n: int, over: Over = "rational", policy: Policy | None = None) -> np.ndarray:
    """n coefficients of log f, `∫ f′/f`; f[0] must be 1.

    Example:
        >>> log([1, 1], 4).tolist()
        [0, Fraction(1, 1), Fraction(-1, 2), Fraction(1, 3)]
    """
    own = ring(over, policy, "log")
    return _log(own, _one(own, own.series(f, n, "log"), "log"), n)


def exp(f: Any, n: int, over: Over = "rational", policy: Policy | None = None) -> np.ndarray:
    """n coefficients of exp f; f[0] must be 0.

    Formula: g doubles its coefficients by `g ← g + g·(f − ∫ (f′ + h·(g′ − g·f′)))`, h the inverse of g, which doubles along.
    Raises:
        ArgumentError: f[0] is not 0; over modular(p), p divides a factorial that is needed.
    Cost: about six products of n coefficients.

    Example:
        >>> exp([0, 1], 5).tolist() == [1, 1, Fraction(1, 2), Fraction(1, 6), Fraction(1, 24)]
        True
    """
    own = ring(over, policy, "exp")
    return _exp(own, _none(own.series(f, n, "exp"), "exp"), n)


def sin_cos(f: Any, n: int, over: Over = "rational", policy: Policy | None = None) -> tuple[np.ndarray, np.ndarray]:
    """n coefficients of sin f and of cos f, the two parts of exp(i·f); f[0] must be 0.

    Example:
        >>> sin, cos = sin_cos([0, 1], 8)
        >>> sin[7], cos[6]
        (Fraction(-1, 5040), Fraction(-1, 720))
    """
    own = ring(over, policy, "sin_cos")
    f = _none(own.series(f, n, "sin_cos"), "sin_cos")
    both = _exp(Gaussian(own), np.stack([own.zeros(n), f]), n)
    return both[1], both[0]


def sqrt(f: Any, n: int, over: Over = "rational", policy: Policy | None = None) -> np.ndarray:
    """n coefficients of the square root of f whose constant term is that of f[0].

    Formula: `h ← h + h·(1 − f·h²)/2` for h = f^(−1/2); the root is f·h. Factors x² in front leave as x.
    Args:
        f: the first coefficient that is not 0 stands in an even place and has a root: a square, over modular(p) one modulo the
            prime p, whose smaller root is taken.
    Raises:
        ArgumentError: there is no such root.

    Example:
        >>> sqrt([1, 2, 1], 3).tolist() == [1, 1, 0]
        True
    """
    own = ring(over, policy, "sqrt")
    whole = own.series(f, None, "sqrt")
    first = _first(whole)
    if first is None:
        return own.zeros(n)
    if first % 2:
        raise ArgumentError.of("sqrt", "an even power of x in front", f"x^{first}", "such a series has no root")
    start = own.root(whole[first], "sqrt")
    f = own.series(whole[first:], n, "sqrt")
    half = own.unit(2, "sqrt")
    h = own.constant(own.unit(start, "sqrt"), 1)
    size = 1
    while size < n:
        size = min(2 * size, n)
        wide = np.concatenate([h, own.zeros(size - len(h))])
        rest = own.difference(own.constant(1, size), own.product(f, own.product(wide, wide, size), size))
        h = own.sum(wide, own.times(own.product(wide, rest, size), half))
    out = own.zeros(n)
    some = max(0, n - first // 2)
    out[first // 2 :] = own.product(f, h, n)[:some]
    return out


def power(f: Any, e: Any, n: int, over: Over = "rational", policy: Policy | None = None) -> np.ndarray:
    """n coefficients of f^e.

    Args:
        e: an integer, for any f (below 0 f[0] must have an inverse): squared again and again. Otherwise a fraction or a float,
            for f[0] = 1: exp(e·log f).
    Raises:
        ArgumentError: f[0] does not allow it.

    Example:
        >>> power([3, 1], 3, 4).tolist()
        [27, 27, 9, 1]
    """
    own = ring(over, policy, "power")
    f = own.series(f, n, "power")
    if isinstance(e, int | np.integer) and not isinstance(e, bool):
        if e < 0:
            f, e = _inverse(own, f, n, "power"), -int(e)
        first = _first(f)
        if e == 0 or first is None or first * e >= n:  # x^(first·e) leaves nothing
            return own.constant(1 if e == 0 else 0, n)
        base, left, found = f[first:], n - first * int(e), None
        e, base = int(e), base[:left]
        while e:
            if e & 1:
                found = base if found is None else own.product(found, base, left)
            e >>= 1
            base = own.product(base, base, left) if e else base
        assert found is not None
        return np.concatenate([own.zeros(n - left), found, own.zeros(max(0, left - len(found)))])[:n]
    if own.p:
        e = Fraction(e)
        e = e.numerator * own.unit(e.denominator, "power") % own.p
    return _exp(own, own.times(_log(own, _one(own, f, "power"), n), e), n)


def compose(f: Any, g: Any, n: int, over: Over = "rational", policy: Policy | None = None) -> np.ndarray:
    """n coefficients of f(g(x)); g[0] must be 0.

    Formula: Brent and Kung's: f in √n pieces of √n coefficients; one matrix product gives each piece at g, from the powers of g
        that it needs; Horner's rule in g^√n joins them.
    Cost: 2·√n products of n coefficients and a matrix product of n^2 multiplications.

    Example:
        >>> compose([1, 1, 1], [0, 2, 1], 3).tolist()
        [1, 2, 5]
    """
    own = ring(over, policy, "compose")
    f, g = own.series(f, n, "compose"), _none(own.series(g, n, "compose", "g"), "compose")
    step = max(1, math.isqrt(n - 1) + 1)
    powers = [own.constant(1, n)]
    for _ in range(step):
        powers.append(own.product(powers[-1], g, n))
    pieces = -(-n // step)
    table = np.concatenate([f, own.zeros(pieces * step - n)]).reshape(pieces, step, 1)
    # A matrix product is a convolution with one tap: sums over the channel.
    at_g = convolve(np.stack(powers[:step]), table, "c *s, o c *s -> o *s", over=own.over.name, policy=policy)
    found = at_g[-1]
    for piece in at_g[-2::-1]:
        found = own.sum(own.product(found, powers[step], n), piece)
    return found


# -- on arrays that are known to fit ----------------------------------------------------------------------------------------


def _derived(own: Ring, f: np.ndarray) -> np.ndarray:
    count = f.shape[-1]
    if count == 1:
        return f * 0
    return own.times(f[..., 1:], _whole(own, count))


def _whole(own: Ring, count: int) -> np.ndarray:
    """1, 2, ..., count − 1 as values of the ring."""
    numbers = np.arange(1, count)
    return (numbers.astype(object) % own.p if own.p else numbers).astype(own.dtype)


def _integrated(own: Ring, f: np.ndarray, n: int) -> np.ndarray:
    out = own.zeros(n)
    out[..., 1:] = own.times(f[..., : n - 1], own.whole_inverses(n - 1, "integral"))
    return out


def _inverse(own: Ring, f: np.ndarray, n: int, who: str) -> np.ndarray:
    g, size = own.constant(own.unit(f[0], who), 1), 1
    while size < n:
        g, size = _refined(own, f, g, min(2 * size, n)), min(2 * size, n)
    return g


def _refined(own: Ring, f: np.ndarray, g: np.ndarray, size: int) -> np.ndarray:
    """The inverse g of f to `size` coefficients, up to twice as many as it has."""
    have = g.shape[-1]
    rest = own.product(f, g, size)[..., have:]  # what f·g has beyond 1
    more = own.product(g, rest, size - have)
    return np.concatenate([g, own.difference(more * 0, more)], axis=-1)


def _log(own: Ring, f: np.ndarray, n: int) -> np.ndarray:
    if n == 1:
        return own.zeros(1)
    return _integrated(own, own.product(_derived(own, f), _inverse(own, f, n - 1, "log"), n - 1), n)


def _exp(own: Ring, f: np.ndarray, n: int) -> np.ndarray:
    g, h, size = own.constant(1, 1), own.constant(1, 1), 1
    slope, inverses = _derived(own, f), own.whole_inverses(n - 1, "exp") if n > 1 else own.zeros(1)
    while size < n:
        new = min(2 * size, n)
        h = _refined(own, g, h, size) if h.shape[-1] < size else h
        # h·(g′ − g·f′) is known to vanish below size − 1, so the product of h to size coefficients is enough.
        wide = np.concatenate([_derived(own, g), own.zeros(new - max(1, size - 1))], axis=-1)[..., : new - 1]
        wrong = own.difference(wide, own.product(g, slope, new - 1))
        w = own.sum(slope[..., : new - 1], own.product(h, wrong, new - 1))
        rest = own.difference(f[..., 1:new], own.times(w, inverses[: new - 1]))[..., size - 1 :]
        g = np.concatenate([g, own.product(g, rest, new - size)], axis=-1)
        size = new
    return g


def _one(own: Ring, f: np.ndarray, who: str) -> np.ndarray:
    if f[0] != 1:
        raise ArgumentError.of(who, "a constant term of 1", repr(f[0]), "divide by the constant term first")
    return f


def _none(f: np.ndarray, who: str) -> np.ndarray:
    if f[0] != 0:
        raise ArgumentError.of(who, "a constant term of 0", repr(f[0]), "take the constant term out first")
    return f


def _first(f: np.ndarray) -> int | None:
    """The first place that is not 0."""
    found = np.flatnonzero(f != 0)
    return int(found[0]) if found.size else None


def _trimmed(f: np.ndarray) -> np.ndarray:
    """Without zeros at the top."""
    found = np.flatnonzero(f != 0)
    return f[: int(found[-1]) + 1] if found.size else f[:1]
