"""What is measured by itself: memory, waking threads, and what libraries behind NumPy and SciPy take."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from faltung.kernels import native
from faltung.kernels.convert.on_numba import rounded
from faltung.kernels.delay_line.on_numba import delay_line, strip
from faltung.kernels.fourier import on_scipy as fourier
from faltung.planner.tune_lines import NUMBERS, REALS


def timed(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measured_alone(torch: bool) -> dict[str, float]:
    """These rates; the team's where torch is at hand."""
    rates = {"copy": _copy(), "thread": _elsewhere(_handing), "fft.product": _product()}
    if torch:
        rates["team"] = _handing()
    for dtype in NUMBERS:
        rates[f"fft.cache.{dtype}"] = _transform(dtype, (16, 8192), (8192,))
        rates[f"fft.spilled.{dtype}"] = _transform(dtype, (16, 32768), (32768,))
        rates[f"fft.memory.{dtype}"] = _transform(dtype, (1280, 1280), (1280, 1280))
    for dtype in REALS:
        rates[f"line.product.{dtype}"], rates[f"monarch.fma.{dtype}"] = spectra(dtype), small_matrices(dtype)
    return rates


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


def _copy() -> float:
    source, target = np.ones(1 << 23), np.empty(1 << 23)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    return sorted(times)[3] / source.nbytes


def _transform(dtype: str, shape: tuple[int, ...], lengths: tuple[int, ...]) -> float:
    """Seconds for one point and one doubling of a Fourier transform on one thread, there and back, halved."""
    x = np.ones(shape, dtype)
    times = []
    for _ in range(9):
        start = time.perf_counter()
        fourier.signal(fourier.spectrum(x, lengths), lengths, not np.iscomplexobj(x))
        times.append(time.perf_counter() - start)
    return sorted(times)[4] / 2 / (x.size * np.log2(np.prod(lengths)))


def _product() -> float:
    """Seconds for one product of two complex numbers of 8 bytes that lie in the cache."""
    x = np.ones((16, 4097), np.complex64)
    times = []
    for _ in range(25):
        start = time.perf_counter()
        fourier.product(x[None, None, None], x[None, None, None, 0], 1)
        times.append(time.perf_counter() - start)
    return sorted(times)[12] / x.size


def _handing() -> float:
    """What it costs to hand half of the work to a second thread, which has waited for it in the meantime."""
    work, times = np.ones(1 << 17, "float32"), []
    rounded(work, "uint8", 2)
    for _ in range(50):
        time.sleep(2e-4)
        alone = timed(lambda: rounded(work[: work.size // 2], "uint8", 1))
        time.sleep(2e-4)
        times.append(timed(lambda: rounded(work, "uint8", 2)) - alone)
    return max(sorted(times)[25], 1e-6)


def _elsewhere(measured: Callable[[], float]) -> float:
    """`measured` on a thread other than the main one, which is given no team: the pool's threads are woken."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(measured).result()
