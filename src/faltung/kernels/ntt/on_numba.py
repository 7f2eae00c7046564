"""Number-theoretic transforms, compiled: rows of residues modulo one prime below 2^49, of any of the lengths of `layout`.

The tree X^2m − s² = (X^m − s)(X^m + s) is walked in radix 4, a block all the way down before its neighbour, so that the levels that
fit a cache stay in it. The last levels run inside squares of width² points, which turn in registers half-way. The spectrum
stays in the tree's order: products need no other. Nothing divides by the length; `scaled` does, once for a filter.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from faltung.kernels import native
from faltung.kernels.ntt.layout import FACTORS, pieces
from faltung.kernels.ntt.primes import root, two_order

KEEP = 1 << 28  # bytes of tables that are kept; beyond it they are made anew


def build_transform(width: int, back: bool) -> tuple[Callable, str]:
    """The kernel that transforms rows [first, last)."""
    from faltung.kernels.ntt.arithmetic import butterflies
    from faltung.kernels.simd import lanes

    v, f = lanes("float64", width), butterflies(width)
    load, store, splat = v.load, v.store, v.splat
    product, near, leaf, unleaf = f.product, f.near, f.leaf, f.unleaf
    split1, split2, join1, join2 = f.split(1), f.split(2), f.join(1), f.join(2)
    W, LEAF, TABLE = width, width * width, (width.bit_length() - 1) * width
    jit = native.inner

    @jit
    def four(x, at, size, j, s, p, inverse):
        hop = size // 4
        for i in range(at, at + hop, W):
            split2(x, i, hop, s, j, p, inverse)

    @jit
    def unfour(x, at, size, j, s, p, inverse):
        hop = size // 4
        for i in range(at, at + hop, W):
            join2(x, i, hop, s, j, p, inverse)

    @jit
    def down(x, at, m, node, s, t, p, inverse):
        size = LEAF
        while size * 4 <= m:
            size *= 4
        if size < m:
            for i in range(at, at + size, W):
                split1(x, i, size, s, node, p, inverse)
        for b in range(m // size):
            first, j = at + b * size, node * (m // size) + b
            for done in range(0, size, LEAF):
                z = size
                while done % z != 0:
                    z //= 4
                while z > LEAF:
                    four(x, first + done, z, j * (size // z) + done // z, s, p, inverse)
                    z //= 4
                tile = j * (size // LEAF) + done // LEAF
                leaf(x, first + done, s, tile, t, tile * TABLE, p, inverse)

    @jit
    def up(x, at, m, node, s, t, p, inverse):
        size = LEAF
        while size * 4 <= m:
            size *= 4
        for b in range(m // size):
            first, j = at + b * size, node * (m // size) + b
            for done in range(0, size, LEAF):
                tile = j * (size // LEAF) + done // LEAF
                unleaf(x, first + done, s, tile, t, tile * TABLE, p, inverse)
                z = 4 * LEAF
                while z <= size and (done + LEAF) % z == 0:
                    unfour(x, first + done + LEAF - z, z, j * (size // z) + done // z, s, p, inverse)
                    z *= 4
        if size < m:
            for i in range(at, at + size, W):
                join1(x, i, size, s, node, p, inverse)

    @jit
    def five(x, at, q, s, p, inverse):
        """Modulo X^4q − 1 and X^q − c, c⁴ = −1: five points into five."""
        c = splat(s[2])
        for i in range(at, at + q, W):
            u0, u4 = load(x, i), load(x, i + 4 * q)
            r = load(x, i + 3 * q)
            r = near(product(r, c, p, inverse) + load(x, i + 2 * q), p, inverse)
            r = near(product(r, c, p, inverse) + load(x, i + q), p, inverse)
            store(x, i, u0 + u4)
            store(x, i + 4 * q, near(product(r, c, p, inverse) + (u0 - u4), p, inverse))

    @jit
    def unfive(x, at, q, s, half, p, inverse):
        c = splat(s[2])
        for i in range(at, at + q, W):
            r = near(load(x, i + 3 * q), p, inverse)
            r = near(product(r, c, p, inverse) + load(x, i + 2 * q), p, inverse)
            r = near(product(r, c, p, inverse) + load(x, i + q), p, inverse)
            d = near(load(x, i + 4 * q) - product(r, c, p, inverse), p, inverse)
            low = load(x, i)
            store(x, i, product(low + d, half, p, inverse))
            store(x, i + 4 * q, product(low - d, half, p, inverse))

    @jit
    def six(x, at, q, s, p, inverse):
        """Modulo X^4q − 1 and X^2q − i: three points into three."""
        c = splat(s[1])
        for i in range(at, at + 2 * q, W):
            u0, u1, u2 = load(x, i), load(x, i + 2 * q), load(x, i + 4 * q)
            store(x, i, u0 + u2)
            store(x, i + 4 * q, near(product(u1, c, p, inverse) + (u0 - u2), p, inverse))

    @jit
    def unsix(x, at, q, s, half, p, inverse):
        c = splat(s[1])
        for i in range(at, at + 2 * q, W):
            low = load(x, i)
            d = near(load(x, i + 4 * q) - product(load(x, i + 2 * q), c, p, inverse), p, inverse)
            store(x, i, product(low + d, half, p, inverse))
            store(x, i + 4 * q, product(low - d, half, p, inverse))

    @jit
    def seven(x, at, q, s, p, inverse):
        """Modulo X^4q − 1, X^2q − i and X^q − c, c² = −i: seven points into seven."""
        one, c = splat(s[1]), splat(s[3])
        for i in range(at, at + q, W):
            u0, u1, u2 = load(x, i), load(x, i + q), load(x, i + 2 * q)
            u4, u5, u6 = load(x, i + 4 * q), load(x, i + 5 * q), load(x, i + 6 * q)
            store(x, i, u0 + u4)
            store(x, i + q, u1 + u5)
            store(x, i + 2 * q, u2 + u6)
            r0, r1 = u0 - u4, u1 - u5
            r2, r3 = product(u2 - u6, one, p, inverse), product(load(x, i + 3 * q), one, p, inverse)
            store(x, i + 4 * q, near(r0 + r2, p, inverse))
            store(x, i + 5 * q, near(r1 + r3, p, inverse))
            store(x, i + 6 * q, near(product(near(r1 - r3, p, inverse), c, p, inverse) + (r0 - r2), p, inverse))

    @jit
    def unseven(x, at, q, s, half, p, inverse):
        one, c = splat(s[1]), splat(s[3])
        for i in range(at, at + q, W):
            r3 = product(load(x, i + 3 * q), one, p, inverse)
            first, r1 = load(x, i + 4 * q), near(load(x, i + 5 * q) - r3, p, inverse)
            other = near(load(x, i + 6 * q) - product(near(r1 - r3, p, inverse), c, p, inverse), p, inverse)
            r0 = product(first + other, half, p, inverse)
            r2 = product(product(other - first, half, p, inverse), one, p, inverse)
            low0, low1, low2 = load(x, i), load(x, i + q), load(x, i + 2 * q)
            store(x, i, product(low0 + r0, half, p, inverse))
            store(x, i + q, product(low1 + r1, half, p, inverse))
            store(x, i + 2 * q, product(low2 + r2, half, p, inverse))
            store(x, i + 4 * q, product(low0 - r0, half, p, inverse))
            store(x, i + 5 * q, product(low1 - r1, half, p, inverse))
            store(x, i + 6 * q, product(low2 - r2, half, p, inverse))

    def forward(x, first, last, length, quarter, s, t, p_, inverse_, half_):
        p, inverse = splat(p_), splat(inverse_)
        parts = length // quarter
        for row in range(first, last):
            at = row * length
            if parts == 5:
                five(x, at, quarter, s, p, inverse)
            elif parts == 6:
                six(x, at, quarter, s, p, inverse)
            elif parts == 7:
                seven(x, at, quarter, s, p, inverse)
            down(x, at, 4 * quarter, 0, s, t, p, inverse)
            if parts == 5:
                down(x, at + 4 * quarter, quarter, 4, s, t, p, inverse)
            elif parts >= 6:
                down(x, at + 4 * quarter, 2 * quarter, 2, s, t, p, inverse)
            if parts == 7:
                down(x, at + 6 * quarter, quarter, 6, s, t, p, inverse)

    def backward(x, first, last, length, quarter, s, t, p_, inverse_, half_, forwards):
        p, inverse, half = splat(p_), splat(inverse_), splat(half_)
        parts = length // quarter
        for row in range(first, last):
            at = row * length
            up(x, at, 4 * quarter, 0, s, t, p, inverse)
            if parts == 5:
                up(x, at + 4 * quarter, quarter, 4, s, t, p, inverse)
                unfive(x, at, quarter, forwards, half, p, inverse)
            elif parts >= 6:
                up(x, at + 4 * quarter, 2 * quarter, 2, s, t, p, inverse)
            if parts == 6:
                unsix(x, at, quarter, forwards, half, p, inverse)
            elif parts == 7:
                up(x, at + 6 * quarter, quarter, 6, s, t, p, inverse)
                unseven(x, at, quarter, forwards, half, p, inverse)

    shared = "p:float64,i,i,i,i,p:float64,p:float64,d,d,d"
    return (backward, shared + ",p:float64") if back else (forward, shared)


def build_enter(width: int, unsigned: bool) -> tuple[Callable, str]:
    """Rows of integers as residues, zeros behind them. `planes` 64-bit words an integer, the lowest first, `hop` values apart."""
    from faltung.kernels.ntt.arithmetic import butterflies, words
    from faltung.kernels.simd import lanes

    v, f, w, W = lanes("float64", width), butterflies(width), words(width), width
    store, splat, product, near, whole = v.store, v.splat, f.product, f.near, lanes("int64", width).load
    signed, low, high_unsigned = w.signed, w.low, w.high_unsigned
    high = high_unsigned if unsigned else w.high

    def enter(x, y, first, last, n, length, planes, hop, p_, inverse_, shift_):
        p, inverse, shift, zero = splat(p_), splat(inverse_), splat(shift_), splat(0.0)
        for row in range(first, last):
            at, to = row * n, row * length
            for j in range(0, n, W):
                i = min(j, n - W)
                word = whole(x, (planes - 1) * hop + at + i)
                total = product(signed(high(word)), shift, p, inverse)
                total = near(total + signed(low(word)), p, inverse)
                for plane in range(planes - 2, -1, -1):
                    word = whole(x, plane * hop + at + i)
                    total = near(product(total, shift, p, inverse) + signed(high_unsigned(word)), p, inverse)
                    total = near(product(total, shift, p, inverse) + signed(low(word)), p, inverse)
                store(y, to + i, total)
            behind = min((n + W - 1) // W * W, length)
            for i in range(to + n, to + behind):
                y[i] = 0.0
            for i in range(to + behind, to + length, W):
                store(y, i, zero)

    return enter, "p:int64,p:float64,i,i,i,i,i,i,d,d,d"


def build_mix(width: int) -> tuple[Callable, str]:
    """y[n, o] = Σ over c of x[n, c] · k[o, c], points [first, last) of vectors; the filter's spectra come scaled."""
    from faltung.kernels.ntt.arithmetic import butterflies
    from faltung.kernels.simd import lanes

    v, f, W = lanes("float64", width), butterflies(width), width
    load, store, splat, product, near = v.load, v.store, v.splat, f.product, f.near

    def mix(x, k, y, first, last, N, O, C, length, p_, inverse_):
        p, inverse = splat(p_), splat(inverse_)
        for n in range(N):
            for o in range(O):
                for i in range(first * W, last * W, W):
                    total = product(load(x, n * C * length + i), load(k, o * C * length + i), p, inverse)
                    for c in range(1, C):
                        at, other = (n * C + c) * length + i, (o * C + c) * length + i
                        total = near(total + product(load(x, at), load(k, other), p, inverse), p, inverse)
                    store(y, (n * O + o) * length + i, total)

    return mix, "p:float64,p:float64,p:float64,i,i,i,i,i,i,d,d"


def build_scale(width: int) -> tuple[Callable, str]:
    """x[i] · w for points [first, last) of vectors, in place."""
    from faltung.kernels.ntt.arithmetic import butterflies
    from faltung.kernels.simd import lanes

    v, f, W = lanes("float64", width), butterflies(width), width
    load, store, splat, product, near = v.load, v.store, v.splat, f.product, f.near

    def scale(x, first, last, w_, p_, inverse_):
        p, inverse, w = splat(p_), splat(inverse_), splat(w_)
        for i in range(first * W, last * W, W):
            store(x, i, product(near(load(x, i), p, inverse), w, p, inverse))

    return scale, "p:float64,i,i,d,d,d"


def build_table(width: int) -> tuple[Callable, str]:
    """s[2^b + j] = s[j] · z[b] for j < 2^b, from `start` entries on, a power of two of at least `width`."""
    from faltung.kernels.ntt.arithmetic import butterflies
    from faltung.kernels.simd import lanes

    v, f, W = lanes("float64", width), butterflies(width), width
    load, store, splat, product, near = v.load, v.store, v.splat, f.product, f.near

    def table(s, z, bit, start, stop, p_, inverse_):
        p, inverse = splat(p_), splat(inverse_)
        size = start
        while size < stop:
            w = splat(z[bit])
            for j in range(0, size, W):
                store(s, size + j, near(product(load(s, j), w, p, inverse), p, inverse))
            size *= 2
            bit += 1

    return table, "p:float64,p:float64,i,i,i,d,d"


@dataclass(frozen=True)
class Tables:
    """Constants of one prime for lengths of up to `points`: s and its inverses, and both for the leaves' lanes."""

    points: int
    s: np.ndarray
    t: np.ndarray
    s_back: np.ndarray
    t_back: np.ndarray

    @property
    def bytes(self) -> int:
        return self.s.nbytes + self.t.nbytes + self.s_back.nbytes + self.t_back.nbytes


def width() -> int:
    """Residues in a vector."""
    return native.lanes("float64")


def leaf() -> int:
    """Points of the smallest transform."""
    return width() ** 2


_tables: dict[int, Tables] = {}
_lock = threading.Lock()


def tables(p: int, length: int) -> Tables:
    """The constants modulo p, made once for the longest transform so far."""
    found = _tables.get(p)
    if found is not None and found.points >= length:
        return found
    points = max(1 << (length - 1).bit_length(), 1 << 12)
    order = two_order(p)
    if points > 1 << order:  # a prime with few roots: exactly what this length takes
        points = length
    with _lock:
        found = _tables.get(p)
        if found is None or found.points < length:
            found = _made(p, points)
            if sum(table.bytes for other, table in _tables.items() if other != p) + found.bytes > KEEP:
                _tables.clear()
            _tables[p] = found
    return found


def _made(p: int, points: int) -> Tables:
    W, levels = width(), width().bit_length() - 1
    nodes = max(W, points // W)  # the leaves' rows
    deepest = (nodes - 1).bit_length() + levels - 1
    top = root(p, min(deepest + 2, two_order(p)))
    roots = [pow(top, 1 << max(0, min(deepest + 2, two_order(p)) - bit - 2), p) for bit in range(deepest + 1)]
    made = []
    for constants in (roots, [pow(r, -1, p) for r in roots]):
        few = max(W, nodes // W * W // 2)
        s = _table(p, constants, max(few, W), 0)
        rows = [_table(p, constants, nodes, level)[:nodes].reshape(-1, 1, W) for level in range(levels)]
        made += [s, np.ascontiguousarray(np.concatenate(rows, axis=1))]
    return Tables(points, *made)


def _table(p: int, roots: list[int], entries: int, level: int) -> np.ndarray:
    """s[2^level · j] for j below `entries`, rounded up to a power of two."""
    W = width()
    size = max(W, 1 << (entries - 1).bit_length())
    s, z = np.empty(size), np.array([centred(r, p) for r in roots[level:]] or [1.0])
    first = [1]
    for bit in range(W.bit_length() - 1):
        r = roots[level + bit] if level + bit < len(roots) else 1
        first += [v * r % p for v in first]
    s[:W] = [centred(v, p) for v in first]
    kernel = native.load("ntt-table", build_table, W)
    kernel(native.address(s), native.address(z), W.bit_length() - 1, W, size, float(p), 1.0 / p)
    return s


def centred(value: int, p: int) -> float:
    """The residue next to zero."""
    value %= p
    return float(value - p if 2 * value > p else value)


def forward(rows: np.ndarray, p: int, first: int = 0, last: int | None = None) -> None:
    """Transform rows of residues (rows, length), |value| ≤ 0.6·p, in place; what comes out stays below 7·p."""
    _transform(rows, p, False, first, last)


def backward(rows: np.ndarray, p: int, first: int = 0, last: int | None = None) -> None:
    """The way back from residues of at most p; the degrees of the factors stay in the result unless `scaled` took them out."""
    _transform(rows, p, True, first, last)


def _transform(rows: np.ndarray, p: int, back: bool, first: int, last: int | None) -> None:
    length = rows.shape[-1]
    table = tables(p, length)
    half, quarter = centred(pow(2, -1, p), p), (1 << (length.bit_length() - 1)) // 4
    kernel = native.load(f"ntt-{'backward' if back else 'forward'}", build_transform, width(), back)
    s, t = (table.s_back, table.t_back) if back else (table.s, table.t)
    last = len(rows) if last is None else last
    more = (native.address(table.s),) if back else ()
    kernel(
        native.address(rows), first, last, length, quarter, native.address(s), native.address(t), float(p), 1.0 / p, half, *more
    )  # fmt: skip


def enter(values: np.ndarray, rows: np.ndarray, p: int, first: int = 0, last: int | None = None) -> None:
    """Rows of integers (planes, rows, n) into rows (rows, length) of residues next to zero, zeros behind.

    Plane i of int64 or uint64 counts 2^(64·i); the last is signed if its dtype is. A row holds at least `width()` integers.
    """
    kernel = native.load("ntt-enter", build_enter, width(), values.dtype.kind == "u")
    planes, count, n = values.shape
    kernel(
        native.address(values), native.address(rows), first, count if last is None else last, n, rows.shape[-1],
        planes, count * n, float(p), 1.0 / p, centred(1 << 32, p),
    )  # fmt: skip


def scaled(rows: np.ndarray, p: int, first: int = 0, last: int | None = None) -> None:
    """Divide rows of a spectrum by what the way back will multiply them with."""
    length = rows.shape[-1]
    kernel = native.load("ntt-scale", build_scale, width())
    for row in range(first, len(rows) if last is None else last):
        for at, degree, _ in pieces(length):
            start = (row * length + at) // width()
            kernel(
                native.address(rows), start, start + degree // width(), centred(pow(degree, -1, p), p), float(p), 1.0 / p
            )  # fmt: skip


def mix(x: np.ndarray, k: np.ndarray, y: np.ndarray, p: int, first: int = 0, last: int | None = None) -> None:
    """y[n, o] = Σ over c of x[n, c] · k[o, c] point by point, spectra (N, C, length) and (O, C, length) that `scaled` has seen."""
    length = x.shape[-1]
    kernel = native.load("ntt-mix", build_mix, width())
    last = length // width() if last is None else last
    kernel(
        native.address(x), native.address(k), native.address(y), first, last,
        x.shape[0], k.shape[0], x.shape[1], length, float(p), 1.0 / p,
    )  # fmt: skip


__all__ = ["FACTORS", "backward", "enter", "forward", "leaf", "mix", "scaled", "tables"]
