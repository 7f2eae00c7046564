"""Measuring what kernels of spectra take: products along a line, small matrices, negacyclic transforms."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from faltung.kernels import native
from faltung.kernels.delay_line.on_numba import delay_line, strip
from faltung.kernels.negacyclic.frame import Frame
from faltung.methods import negacyclic
from faltung.planner import machine as machines


def timed(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# Tiles (channels in, channels out, points) of the negacyclic kernel.
_RING = (
    (1, 1, 256),
    (1, 1, 1024),
    (1, 1, 4096),
    (1, 1, 16384),
    (1, 1, 65536),
    (1, 1, 262144),
    (4, 4, 1024),
    (8, 1, 1024),
)


def ring(dtype: str) -> tuple[float, ...]:
    """The rates of negacyclic transforms: least squares over tiles of all sizes, each on one thread."""
    from scipy.optimize import nnls

    work, cache = [], machines.this_machine().cache
    for C, O, points in _RING:
        N = max(1, (1 << 15) // points)
        frame = Frame(dtype, 1, N, C, O, 2 * points - 7, 8, 2 * points - 7, 0, points)
        x, y = np.ones((1, N, C, frame.n), dtype), np.empty((1, N, O, frame.m), dtype)
        spectra = frame.spectra(np.ones((1, O, C, 8), dtype), 1)
        frame.convolve(x, spectra, y, 1)
        seconds = min(timed(partial(frame.convolve, x, spectra, y, 1)) for _ in range(5)) / N
        work.append([amount / seconds for amount in negacyclic.tile_work(frame, cache)])
    rates, _ = nnls(np.array(work), np.ones(len(work)))
    return tuple(max(float(rate), 1e-13) for rate in rates)


def spectra(dtype: str) -> float:
    """Seconds for one product of two vectors of spectra along a delay line that does not fit the first cache."""
    wide, strips, pieces, count = strip(dtype), 128, 64, 32
    x, h = (np.ones((1, 1, 1, strips, n, 2, wide), dtype) for n in (pieces + count, pieces))
    times = [timed(lambda: delay_line(x, h, pieces, count, 1)) for _ in range(9)]
    return sorted(times)[4] / (strips * pieces * count * wide / native.lanes(dtype))


def small_matrices(dtype: str) -> float:
    """Seconds for one multiply-add of complex matrix products of 32 rows, as the libraries behind NumPy compute them."""
    size, batch = 32, 64
    complex_ = np.result_type(dtype, np.complex64)
    matrix, x = np.ones((size, size), complex_), np.ones((batch, size, size), complex_)
    times = [timed(lambda: matrix @ x) for _ in range(25)]
    return sorted(times)[12] / (4.0 * batch * size**3)
