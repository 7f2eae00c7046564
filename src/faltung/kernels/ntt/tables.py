"""The constants of the transforms modulo one prime, made once for the longest length so far."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from faltung.kernels import native
from faltung.kernels.ntt.layout import FACTORS, quarter_of
from faltung.kernels.ntt.primes import root, two_order

KEEP = 1 << 28  # bytes of tables that are kept; beyond it they are made anew


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

    @cached_property
    def places(self) -> tuple[int, int, int, int]:
        """Addresses of s, t and their inverses."""
        return native.address(self.s), native.address(self.t), native.address(self.s_back), native.address(self.t_back)

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


CONSTANTS = 7  # of one prime, as `constants` lists them


@lru_cache(maxsize=1024)
def constants(p: int, length: int) -> tuple[float, ...]:
    """p, 1/p, 2^32 and 1/2 modulo p, and what the spectrum of each factor of the length is scaled by."""
    quarter = quarter_of(length)
    scales = [centred(pow(degree * quarter, -1, p), p) for degree, _ in FACTORS[length // quarter]]
    return (float(p), 1.0 / p, centred(1 << 32, p), centred(pow(2, -1, p), p), *scales, *[1.0] * (3 - len(scales)))
