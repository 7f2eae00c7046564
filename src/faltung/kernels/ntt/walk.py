"""Transforms of one row, as functions for kernels: the tree walked down and up, rows entered, spectra multiplied.

The tree X^2m − s² = (X^m − s)(X^m + s) is walked in radix 4, a block all the way down before its neighbour, so that the levels that
fit a cache stay in it. The last levels run inside squares of width² points, which turn in registers half-way. The spectrum
stays in the tree's order: products need no other. Nothing divides by the length; a filter's spectrum is scaled once.

Bounds in multiples of p, where the generators of `arithmetic` do not track them: rows enter below 0.6; `five`, `six` and `seven`
leave at most 1.2 (two such are added), all passes at most 2. Spectra stay below 7 and a scaled filter's below 0.54, so that their
product is exact (3.8 < 4) and below 1. The ways back of five, six and seven points take 2 and multiply at most 2.7 by constants
of 0.5.
"""

from functools import lru_cache
from types import SimpleNamespace

from faltung.kernels import native


@lru_cache(maxsize=4)
def walks(width: int) -> SimpleNamespace:
    """`forward(x, at, length, quarter, s, t, p, 1/p)`, `backward(..., forwards, half)`, and `enter`, `scale` and `multiply`."""
    from faltung.kernels.ntt.arithmetic import butterflies, words
    from faltung.kernels.simd import lanes

    v, f, w = lanes("float64", width), butterflies(width), words(width)
    load, store, splat = v.load, v.store, v.splat
    product, near, leaf, unleaf = f.product, f.near, f.leaf, f.unleaf
    split1, split2, join1, join2 = f.split(1), f.split(2), f.join(1), f.join(2)
    W, LEAF, TABLE = width, width * width, (width.bit_length() - 1) * width
    whole, signed, low = lanes("int64", width).load, w.signed, w.low
    high, high_unsigned = w.high, w.high_unsigned
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

    @jit
    def forward(x, at, length, quarter, s, t, p, inverse):
        """A row of residues, |value| ≤ 0.6·p, in place; what comes out stays below 7·p."""
        parts = length // quarter
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

    @jit
    def backward(x, at, length, quarter, s, t, p, inverse, forwards, half):
        """The way back from residues of at most p; s and t are the inverse constants, `forwards` the others."""
        parts = length // quarter
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

    @jit
    def enter(x, at, y, to, n, length, planes, hop, unsigned, p, inverse, shift):
        """n integers of `planes` 64-bit words, the lowest first, `hop` values apart, as residues, zeros behind them."""
        zero = splat(0.0)
        for j in range(0, n, W):
            i = min(j, n - W)
            word = whole(x, (planes - 1) * hop + at + i)
            top = signed(high_unsigned(word)) if unsigned != 0 else signed(high(word))
            total = near(product(top, shift, p, inverse) + signed(low(word)), p, inverse)
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

    @jit
    def scale(x, at, length, factor, p, inverse):
        for i in range(at, at + length, W):
            store(x, i, product(near(load(x, i), p, inverse), factor, p, inverse))

    @jit
    def multiply(x, at, k, to, length, factor, p, inverse):
        """x · k · factor point by point into x."""
        for i in range(0, length, W):
            other = product(near(load(k, to + i), p, inverse), factor, p, inverse)
            store(x, at + i, product(load(x, at + i), other, p, inverse))

    return SimpleNamespace(forward=forward, backward=backward, enter=enter, scale=scale, multiply=multiply)
