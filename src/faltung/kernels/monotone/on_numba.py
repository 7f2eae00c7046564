"""Smallest sums of a signal and convex taps along one axis, compiled: where the smallest is found only moves forward.

Taken as a matrix, `x[p] + taps[p − i]` with convex taps (infinite beyond their ends) is totally monotone: the place of the smallest
sum of result i never lies behind that of an earlier result. So results are found at wide steps first; those between look between
their neighbours' places only, n + m places a level. If the signal is convex, too, the sum is convex in p, and one walk forward
meets all places: the slopes of both are merged.

Largest sums with concave taps are the smallest of the negated ones. Samples that are the algebra's zero are left out; NaN, and the
infinity that wins, go to the windows that meet them.

Source: Aggarwal, Klawe, Moran, Shor and Wilber, Geometric applications of a matrix-searching algorithm (1987).
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address
from faltung.kernels.threads import spread


def build(dtype: str, largest: bool) -> tuple[Callable, str]:
    """The kernel for one scalar type; `largest` turns the sums upside down."""
    inf, nan, one, sign = np.inf, np.nan, getattr(np, dtype), -1.0 if largest else 1.0

    @native.inner
    def walk(v, taps, y, n, m, lo, t):
        """A convex signal: from each result's place forward to the next one's."""
        p = 0
        for i in range(m):
            w = i - lo
            first, last = max(w, 0), min(w + t, n) - 1
            if first > last:
                y[i] = inf
                continue
            p = min(max(p, first), last)
            best = v[p] + taps[p - w]
            while p < last:
                after = v[p + 1] + taps[p + 1 - w]
                if after > best:
                    break
                best = after
                p += 1
            y[i] = best

    @native.inner
    def search(v, taps, y, place, count, below, above, m, lo, t, n):
        """Any signal: results at wide steps first; place lists samples that count, count[p] how many lie before p."""
        step = 1
        while 2 * step <= m:
            step *= 2
        while step >= 1:
            for i in range(step - 1, m, 2 * step):
                w = i - lo
                first = count[min(max(w, 0), n)]
                last = count[min(max(w + t, 0), n)] - 1
                y[i] = inf
                below[i], above[i] = first, last
                if first > last:
                    continue
                a = max(first, below[i - step]) if i >= step else first
                b = min(last, above[i + step]) if i + step < m else last
                best, found = inf, a
                for q in range(a, b + 1):
                    value = v[place[q]] + taps[place[q] - w]
                    if value < best:
                        best, found = value, q
                y[i] = best
                below[i], above[i] = found, found
            step //= 2

    def monotone(x, taps, out, v, y, place, count, below, above, first, last, n, m, J, lo, t):
        for item in range(first, last):
            line, j = item // J, item % J
            total, spoilt, convex = 0, 0, 1
            for p in range(n):
                value = sign * np.float64(x[(line * n + p) * J + j])
                v[p], count[p] = value, total
                if value < inf and value > -inf:
                    place[total] = p
                    total += 1
                elif value != inf:  # NaN, too
                    spoilt += 1
                if p > 1 and not (v[p] - v[p - 1] >= v[p - 1] - v[p - 2]):
                    convex = 0
            count[n] = total
            if convex and total == n:
                walk(v, taps, y, n, m, lo, t)
            else:
                search(v, taps, y, place, count, below, above, m, lo, t, n)
            if spoilt:
                lost, won = 0, 0  # within the window
                for i in range(-t + 1, m):
                    enter, leave = i - lo + t - 1, i - lo - 1
                    if enter >= 0 and enter < n:
                        lost += 1 if v[enter] != v[enter] else 0
                        won += 1 if v[enter] == -inf else 0
                    if i > -t + 1 and leave >= 0 and leave < n and leave >= -t + 1 - lo + t - 1:
                        lost -= 1 if v[leave] != v[leave] else 0
                        won -= 1 if v[leave] == -inf else 0
                    if i >= 0 and won > 0:
                        y[i] = -inf
                    if i >= 0 and lost > 0:
                        y[i] = nan
            for i in range(m):
                out[(line * m + i) * J + j] = one(sign * y[i])

    pointer, real, long = f"p:{dtype}", "p:float64", "p:int64"
    return monotone, ",".join([pointer, real, pointer, real, real, long, long, long, long, *"iiiiiii"])


def build_hull() -> tuple[Callable, str]:
    """The kernel that lowers a row to the greatest convex function below it."""

    def hull(row, corners, n):
        count = 0
        for i in range(n):
            while count > 1:
                a, b = corners[count - 2], corners[count - 1]
                if (row[b] - row[a]) * (i - b) <= (row[i] - row[b]) * (b - a):
                    break
                count -= 1
            corners[count] = i
            count += 1
        for c in range(count - 1):
            a, b = corners[c], corners[c + 1]
            slope = (row[b] - row[a]) / (b - a)
            for i in range(a + 1, b):
                row[i] = row[a] + slope * (i - a)

    return hull, "p:float64,p:int64,i"


def hull(row: np.ndarray) -> np.ndarray:
    """The greatest convex function below a row of float64, which is left as it is."""
    lowered, corners = np.array(row, "float64"), np.empty(row.size, np.int64)
    native.load("hull", build_hull)(address(lowered), address(corners), row.size)
    return lowered


def key(dtype: str, largest: bool) -> tuple:
    """What `native.load` takes."""
    return f"monotone-{'largest' if largest else 'smallest'}-{dtype}", build, dtype, largest


def scratch_bytes(n: int, m: int) -> int:
    """Working memory of one thread."""
    return 8 * (3 * n + 3 * m + 64)


def monotone(x: np.ndarray, taps: np.ndarray, lo: int, outputs: int, largest: bool, threads: int) -> np.ndarray:
    """The contract's result in the dtype of x, which is contiguous; taps are concave where the largest sums are wanted."""
    L, n, J = x.shape
    out = np.empty((L, outputs, J), x.dtype)
    weights = np.ascontiguousarray(-taps if largest else taps, "float64")
    work = native.load(*key(str(x.dtype), largest))

    def task(first: int, last: int) -> None:
        v, y = np.empty(n + 1), np.empty(outputs)
        place, count = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
        below, above = np.empty(outputs, np.int64), np.empty(outputs, np.int64)
        buffers = [address(a) for a in (v, y, place, count, below, above)]
        work(address(x), address(weights), address(out), *buffers, first, last, n, outputs, J, lo, taps.size)

    spread(task, L * J, threads, max(1, 20_000 // (n + outputs)))
    return out
