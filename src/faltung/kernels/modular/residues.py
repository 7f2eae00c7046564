"""From residues modulo several primes to the integers, compiled: mixed-radix digits (Garner), then words, int64 or residues.

With primes q₀, q₁, …, every integer |y| < Q/4, Q = q₀q₁⋯, is v₀ + q₀(v₁ + q₁(v₂ + …)) with digits |vᵢ| ≤ qᵢ/2·(1 + 2⁻⁴⁰). The sum
is congruent to y modulo Q and at most Q/2·(1 + 2⁻³⁹), so it differs from y by less than Q, and that is by nothing.

Source: Garner (1959); Knuth, The Art of Computer Programming 2, section 4.3.2.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from faltung.kernels import native
from faltung.kernels.ntt.primes import BITS
from faltung.kernels.ntt.tables import centred, width

KINDS = ("int64", "short", "long", "words")


def build(lanes_: int, kind: str) -> tuple[Callable, str]:
    """The kernel for one kind of result, rows [first, last)."""
    from faltung.kernels.modular.wide import high
    from faltung.kernels.ntt.arithmetic import butterflies, words
    from faltung.kernels.simd import lanes

    v, f, w, W = lanes("float64", lanes_), butterflies(lanes_), words(lanes_), lanes_
    integers = lanes("int64", lanes_)
    load, store, splat, product, near = v.load, v.store, v.splat, f.product, f.near
    put, fill, whole = integers.store, integers.splat, w.whole
    jit = native.inner
    zero, one, ones = np.uint64(0), np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF)

    @jit
    def digits(r, at, hop, K, q, d):
        """The digits of W values side by side into d[digit·W]."""
        for k in range(K):
            p, inverse = splat(q[2 * k]), splat(q[2 * k + 1])
            value = near(load(r, k * hop + at), p, inverse)
            for j in range(k):
                value = product(value - load(d, j * W), splat(q[2 * K + k * K + j]), p, inverse)
            store(d, k * W, near(value, p, inverse))

    @jit
    def int64(r, d, y, t, K, q, s, m, planes):
        total = whole(load(d, (K - 1) * W))
        for k in range(K - 2, -1, -1):
            total = total * fill(np.int64(q[2 * k])) + whole(load(d, k * W))
        put(t, 0, total)

    @jit
    def short(r, d, y, t, K, q, s, m, planes):
        """Modulo m < 2^49, which is the last in q, followed by its reciprocal and the primes modulo m."""
        base = 2 * K + K * K
        p, inverse = splat(q[base]), splat(q[base + 1])
        total = near(near(load(d, (K - 1) * W), p, inverse), p, inverse)
        for k in range(K - 2, -1, -1):
            total = product(total, splat(q[base + 2 + k]), p, inverse)
            total = near(near(total + load(d, k * W), p, inverse), p, inverse)
        put(t, 0, whole(total))
        for l in range(W):
            if t[l] < 0:
                t[l] += np.int64(m)

    @jit
    def long(r, d, y, t, K, q, s, m, planes):
        """Modulo m < 2^63: s holds the weight of every digit modulo m and its Shoup quotient 2^64·weight // m."""
        for l in range(W):
            total = zero
            for k in range(K):
                digit = np.int64(d[k * W + l])
                size = np.uint64(-digit if digit < 0 else digit)
                term = size * s[2 * k] - high(size, s[2 * k + 1]) * m
                if term >= m:
                    term -= m
                if digit < 0 and term != zero:
                    term = m - term
                total += term
                if total >= m:
                    total -= m
            t[l] = np.int64(total)

    @jit
    def many(d, y, to, first, count, K, q, planes, hop):
        """`count` values from lane `first` on in two's complement, word by word into planes `hop` values apart."""
        for l in range(count):
            digit = np.int64(d[(K - 1) * W + first + l])
            rest = ones if digit < 0 else zero
            y[to + l] = np.uint64(digit)
            for plane in range(1, planes):
                y[plane * hop + to + l] = rest
            for k in range(K - 2, -1, -1):
                digit = np.int64(d[k * W + first + l])
                word, rest, carry = np.uint64(digit), ones if digit < 0 else zero, zero
                factor = np.uint64(np.int64(q[2 * k]))
                for plane in range(planes):
                    a = y[plane * hop + to + l]
                    low = a * factor
                    upper = high(a, factor)
                    total = low + carry
                    upper += one if total < low else zero
                    sum_ = total + word
                    # What the added word carries goes to the next place together with the product's upper half, which is at
                    # most 2^49: no overflow.
                    carry = upper + (one if sum_ < total else zero)
                    y[plane * hop + to + l] = sum_
                    word = rest

    if kind == "words":

        def leave(r, y, first, last, length, offset, count, hop, K, planes, far, q, s, m, d):
            for row in range(first, last):
                i = 0
                while i < count:
                    at = min(offset + i, length - W)
                    skip = offset + i - at
                    some = min(W - skip, count - i)
                    digits(r, row * length + at, hop, K, q, d)
                    many(d, y, row * count + i, skip, some, K, q, planes, far)
                    i += some

        return leave, "p:float64,p:uint64,i,i,i,i,i,i,i,i,i,p:float64,p:uint64,p:uint64,p:float64"

    inner = {"int64": int64, "short": short, "long": long}[kind]

    def leave_words(r, y, first, last, length, offset, count, hop, K, planes, t, q, s, m, d):
        for row in range(first, last):
            i = 0
            while i < count:
                at = min(offset + i, length - W)
                skip = offset + i - at
                some = min(W - skip, count - i)
                digits(r, row * length + at, hop, K, q, d)
                inner(r, d, y, t, K, q, s, m[0], planes)
                for l in range(some):
                    y[row * count + i + l] = t[skip + l]
                i += some

    return leave_words, "p:float64,p:int64,i,i,i,i,i,i,i,i,p:int64,p:float64,p:uint64,p:uint64,p:float64"


@lru_cache(maxsize=256)
def _constants(primes: tuple[int, ...], modulus: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    K = len(primes)
    q = [v for p in primes for v in (float(p), 1.0 / p)]
    for k, p in enumerate(primes):
        q += [centred(pow(other, -1, p), p) if j < k else 0.0 for j, other in enumerate(primes)]
    weights, weight = [], 1
    for p in primes:
        w = weight % modulus if modulus else 0
        weights += [w, (w << 64) // modulus if modulus else 0]
        weight *= p
    if modulus and modulus < 1 << BITS:
        q += [float(modulus), 1.0 / modulus, *(centred(p, modulus) for p in primes)]
    assert len(q) >= 2 * K + K * K
    return np.array(q), np.array(weights, np.uint64), np.array([modulus], np.uint64)


def leave(
    residues: np.ndarray,
    out: np.ndarray,
    primes: tuple[int, ...],
    offset: int,
    modulus: int = 0,
    first: int = 0,
    last: int | None = None,
) -> np.ndarray:
    """Residues (primes, rows, length) to `count` integers a row from `offset` on.

    Args:
        residues: float64, of any size below 2^52.   primes: their moduli.
        out: int64 (rows, count), or uint64 (planes, rows, count) for words in two's complement, the lowest first.
        modulus: with int64, the residues modulo this number below 2^63 instead of the integers; 0 for these modulo 2^64.
        first, last: rows.

    Returns:
        `out`.
    """
    K, rows, length = residues.shape
    W = width()
    last = rows if last is None else last
    kind = "words" if out.ndim == 3 else "int64" if not modulus else "short" if modulus < 1 << BITS else "long"
    q, s, m = _constants(primes, modulus)
    digits, lane = np.empty(K * W), np.empty(W, np.int64)
    planes = out.shape[0] if out.ndim == 3 else 1
    count = out.shape[-1]
    middle = rows * count if kind == "words" else native.address(lane)
    kernel = native.load(f"residues-{kind}", build, W, kind)
    kernel(
        native.address(residues), native.address(out), first, last, length, offset, count, rows * length, K, planes, middle,
        native.address(q), native.address(s), native.address(m), native.address(digits),
    )  # fmt: skip
    return out
