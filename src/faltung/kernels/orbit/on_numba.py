"""The chaos game, compiled: a chain of dependent products, so the clock's latency is its price, some 15 cycles a point."""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address


def build() -> tuple[Callable, str]:
    """The kernel; products and sums are rounded one by one, so that every machine draws the same points."""
    from numba import njit

    @njit(nogil=True, fastmath=False, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)
    def moved(a, x, b, y, e):
        """Written without leave to contract: nothing is fused."""
        return a * x + b * y + e

    def orbit(maps, upto, draws, start, points, n, count):
        x, y = start[0], start[1]
        for t in range(count):
            u, i = draws[t], 0
            for j in range(n - 1):
                i += upto[j] <= u
            m = 6 * i
            x, y = (
                moved(maps[m], x, maps[m + 1], y, maps[m + 2]),
                moved(maps[m + 3], x, maps[m + 4], y, maps[m + 5]),
            )
            points[2 * t] = x
            points[2 * t + 1] = y

    pointer = "p:float64"
    return orbit, f"{pointer},{pointer},{pointer},{pointer},{pointer},i,i"


def orbit(maps: np.ndarray, upto: np.ndarray, draws: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The contract's points; all arrays contiguous, of float64."""
    points = np.empty((len(draws), 2))
    work = native.load(*key())
    work(*(address(a) for a in (maps, upto, draws, start, points)), len(maps), len(draws))
    return points


def key() -> tuple:
    """What `native.load` takes."""
    return "orbit", build
