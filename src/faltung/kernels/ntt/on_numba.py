"""Number-theoretic transforms, compiled: rows of residues modulo one prime below 2^49, of any of the lengths of `layout`."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.kernels import native
from faltung.kernels.ntt.layout import pieces, quarter_of
from faltung.kernels.ntt.tables import CONSTANTS, constants, leaf, tables, width


def build_transform(width: int, back: bool) -> tuple[Callable, str]:
    """The kernel that transforms rows [first, last)."""
    from faltung.kernels.ntt.walk import walks
    from faltung.kernels.simd import lanes

    v, walk = lanes("float64", width), walks(width)
    splat, down, up = v.splat, walk.forward, walk.backward

    def forward(x, first, last, length, quarter, s, t, p_, inverse_):
        p, inverse = splat(p_), splat(inverse_)
        for row in range(first, last):
            down(x, row * length, length, quarter, s, t, p, inverse)

    def backward(x, first, last, length, quarter, s, t, p_, inverse_, half_, forwards):
        p, inverse, half = splat(p_), splat(inverse_), splat(half_)
        for row in range(first, last):
            up(x, row * length, length, quarter, s, t, p, inverse, forwards, half)

    shared = "p:float64,i,i,i,i,p:float64,p:float64,d,d"
    return (backward, shared + ",d,p:float64") if back else (forward, shared)


def build_enter(width: int) -> tuple[Callable, str]:
    """Rows of integers as residues, zeros behind them."""
    from faltung.kernels.ntt.walk import walks
    from faltung.kernels.simd import lanes

    splat, one = lanes("float64", width).splat, walks(width).enter

    def enter(x, y, first, last, n, length, planes, hop, unsigned, p, inverse, shift):
        for row in range(first, last):
            one(x, row * n, y, row * length, n, length, planes, hop, unsigned, splat(p), splat(inverse), splat(shift))

    return enter, "p:int64,p:float64,i,i,i,i,i,i,i,d,d,d"


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
    """x[i] · w for points [first, last), in place."""
    from faltung.kernels.ntt.walk import walks
    from faltung.kernels.simd import lanes

    splat, one = lanes("float64", width).splat, walks(width).scale

    def scale(x, first, last, w, p, inverse):
        one(x, first, last - first, splat(w), splat(p), splat(inverse))

    return scale, "p:float64,i,i,d,d,d"


def build_products(width: int) -> tuple[Callable, str]:
    """Whole products of rows modulo several primes in one call: item (prime, row) of [first, last) into y[item].

    `c` holds CONSTANTS numbers a prime, `tables` four addresses; `spare` is room for one row. For squares k is x.
    """
    from faltung.kernels.ntt.arithmetic import pointer
    from faltung.kernels.ntt.walk import walks
    from faltung.kernels.simd import lanes

    v, walk, W = lanes("float64", width), walks(width), width
    load, store, splat = v.load, v.store, v.splat
    enter, forward, backward, multiply = walk.enter, walk.forward, walk.backward, walk.multiply
    MANY = CONSTANTS

    def products(x, k, y, spare, first, last, rows, n, t, length, quarter, planes, unsigned, square, c, tables):
        for item in range(first, last):
            number, row = item // rows, item % rows
            at, own = item * length, number * MANY
            p, inverse, shift, half = splat(c[own]), splat(c[own + 1]), splat(c[own + 2]), splat(c[own + 3])
            s, leaves = pointer(tables[4 * number]), pointer(tables[4 * number + 1])
            s_back, leaves_back = pointer(tables[4 * number + 2]), pointer(tables[4 * number + 3])
            enter(x, row * n, y, at, n, length, planes, rows * n, unsigned, p, inverse, shift)
            forward(y, at, length, quarter, s, leaves, p, inverse)
            if square != 0:
                for i in range(0, length, W):
                    store(spare, i, load(y, at + i))
            else:
                enter(k, row * t, spare, 0, t, length, planes, rows * t, unsigned, p, inverse, shift)
                forward(spare, 0, length, quarter, s, leaves, p, inverse)
            multiply(y, at, spare, 0, 4 * quarter, splat(c[own + 4]), p, inverse)
            if length > 4 * quarter:
                middle = length if length < 6 * quarter else 6 * quarter
                multiply(y, at + 4 * quarter, spare, 4 * quarter, middle - 4 * quarter, splat(c[own + 5]), p, inverse)
                if length > middle:
                    multiply(y, at + middle, spare, middle, length - middle, splat(c[own + 6]), p, inverse)
            backward(y, at, length, quarter, s_back, leaves_back, p, inverse, s, half)

    return products, "p:int64,p:int64,p:float64,p:float64,i,i,i,i,i,i,i,i,i,i,p:float64,p:int64"


def forward(rows: np.ndarray, p: int, first: int = 0, last: int | None = None) -> None:
    """Transform rows of residues (rows, length), |value| ≤ 0.6·p, in place; what comes out stays below 7·p."""
    length, table = rows.shape[-1], tables(p, rows.shape[-1])
    kernel = native.load("ntt-forward", build_transform, width(), False)
    kernel(
        native.address(rows), first, len(rows) if last is None else last, length, quarter_of(length), *table.places[:2],
        float(p), 1.0 / p,
    )  # fmt: skip


def backward(rows: np.ndarray, p: int, first: int = 0, last: int | None = None) -> None:
    """The way back from residues of at most p; the degrees of the factors stay in the result unless `scaled` took them out."""
    length, table = rows.shape[-1], tables(p, rows.shape[-1])
    kernel = native.load("ntt-backward", build_transform, width(), True)
    kernel(
        native.address(rows), first, len(rows) if last is None else last, length, quarter_of(length), *table.places[2:],
        float(p), 1.0 / p, constants(p, length)[3], table.places[0],
    )  # fmt: skip


def enter(values: np.ndarray, rows: np.ndarray, p: int, first: int = 0, last: int | None = None) -> None:
    """Rows of integers (planes, rows, n) into rows (rows, length) of residues next to zero, zeros behind.

    Plane i of int64 or uint64 counts 2^(64·i); the last is signed if its dtype is. A row holds at least `width()` integers.
    """
    kernel, length = native.load("ntt-enter", build_enter, width()), rows.shape[-1]
    planes, count, n = values.shape
    kernel(
        native.address(values), native.address(rows), first, count if last is None else last, n, length,
        planes, count * n, int(values.dtype.kind == "u"), *constants(p, length)[:3],
    )  # fmt: skip


def scaled(rows: np.ndarray, p: int, first: int = 0, last: int | None = None) -> None:
    """Divide rows of a spectrum by what the way back will multiply them with."""
    length = rows.shape[-1]
    kernel, own = native.load("ntt-scale", build_scale, width()), constants(p, length)
    for row in range(first, len(rows) if last is None else last):
        for number, (at, degree, _) in enumerate(pieces(length)):
            start = row * length + at
            kernel(native.address(rows), start, start + degree, own[4 + number], own[0], own[1])


def mix(x: np.ndarray, k: np.ndarray, y: np.ndarray, p: int, first: int = 0, last: int | None = None) -> None:
    """y[n, o] = Σ over c of x[n, c] · k[o, c] point by point, spectra (N, C, length) and (O, C, length) that `scaled` has seen."""
    length = x.shape[-1]
    kernel = native.load("ntt-mix", build_mix, width())
    last = length // width() if last is None else last
    kernel(
        native.address(x), native.address(k), native.address(y), first, last,
        x.shape[0], k.shape[0], x.shape[1], length, float(p), 1.0 / p,
    )  # fmt: skip


def keys(at_once: bool) -> tuple[tuple, ...]:
    """What `native.load` takes for the kernels that take long to make: of whole products, or of transforms one by one."""
    if at_once:
        return (("ntt-products", build_products, width()),)
    return tuple((f"ntt-{name}", build_transform, width(), name == "backward") for name in ("forward", "backward"))


@lru_cache(maxsize=64)
def _constants(primes: tuple[int, ...], length: int) -> np.ndarray:
    return np.array([constants(p, length) for p in primes])


def products(
    x: np.ndarray, k: np.ndarray, primes: tuple[int, ...], y: np.ndarray, spare: np.ndarray, first: int = 0,
    last: int | None = None,
) -> None:  # fmt: skip
    """Products of rows of integers (planes, rows, n) and (planes, rows, t) modulo primes into y (primes, rows, length).

    Args:
        x, k: as for `enter`; the same array for squares.   spare: room for one row of y.
        first, last: which of the primes·rows results, those of the first prime first.
    """
    planes, rows, n = x.shape
    length = y.shape[-1]
    made: list[Any] = [tables(p, length) for p in primes]
    places = np.array([table.places for table in made], np.int64)
    kernel, own = native.load("ntt-products", build_products, width()), _constants(primes, length)
    kernel(
        native.address(x), native.address(k), native.address(y), native.address(spare), first,
        rows * len(primes) if last is None else last, rows, n, k.shape[-1], length, quarter_of(length), planes,
        int(x.dtype.kind == "u"), int(x is k), native.address(own), native.address(places),
    )  # fmt: skip


__all__ = ["backward", "enter", "forward", "keys", "leaf", "mix", "products", "scaled", "tables", "width"]
