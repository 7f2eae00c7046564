"""Lower envelopes of parabolas along one axis, compiled: linear time whatever the length of the filter.

Every sample of a row lifts a parabola of the same width; the result at a position is the lowest of those within its window. Two
such parabolas cross once, so from left to right the lowest changes hands in the order of the samples, and a queue of those that
still matter is all one needs.

A window that leaves samples behind would have to take parabolas out of the envelope. Instead the row is cut every `taps`
samples: a window that is as long meets the end of one piece and the start of the next. Starts only gain parabolas when the window
moves right, ends only when it moves left: one pass each way, and the lower of the two (the idea is van Herk's, 1992).

The parabola decides which sample wins; the value is the sum of that sample and its tap, as in the definition. Largest sums are the
smallest of the negated ones.

Source: Felzenszwalb and Huttenlocher, Distance Transforms of Sampled Functions (2012); van Herk (1992) for windows.
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address
from faltung.kernels.threads import scratch, spread

COLUMNS = 16  # rows that lie side by side in memory are taken together, one cache line of float32 at a time


def build(dtype: str, largest: bool) -> tuple[Callable, str]:
    """The kernel for one scalar type; `largest` turns the sums upside down."""
    jit, inf, nan = native.inner, np.inf, np.nan
    one = getattr(np, dtype)
    sign = one(-1.0 if largest else 1.0)

    @jit
    def settle(row, yp, hp, bp, at, turn, taps, origin, head, tail, query, s, last):
        """Results of windows s to last from parabolas that are all known; written, not compared."""
        count = last - s + 1
        if tail == head:
            for i in range(s, s + count):
                row[yp + i] = inf
            return
        # Where each parabola's turn comes, then the last whose turn has come: no branch depends on the values.
        for i in range(count):
            turn[i] = head
        for h in range(head + 1, tail):
            wait = row[bp + h] - query
            if wait > count - 1:
                break
            turn[int(np.ceil(max(wait, 0.0)))] = h
        now = head
        for i in range(count):
            now = max(now, turn[i])
            row[yp + s + i] = row[hp + now] + taps[at[now] + origin - s - i]

    @jit
    def scan(row, xp, yp, hp, bp, at, turn, taps, inverse, origin, j, stop, step, s, last, ahead, vertex, curvature):
        """Results of windows s to last; samples j to stop enter once the window, `ahead` samples further, has met them.

        Forwards (step 1) results are written, backwards they are compared with those that are there.
        """
        head, tail = 0, 0
        query = step * (s - origin + vertex)
        lift = row[hp]  # of the parabola that entered last, where it meets the axis x = origin
        while True:
            while j != stop and (j - s - ahead) * step <= 0:
                value = row[xp + j]
                if value < inf:
                    place, edge = (j - origin) * step, query
                    raised = value + curvature * place * place
                    while tail > head:
                        other = at[tail - 1]
                        edge = (raised - lift) * inverse[place - other]
                        # What is overtaken before its turn comes, or before the windows still to come, is forgotten.
                        if edge > (row[bp + tail - 1] if tail - 1 > head else query):
                            break
                        tail -= 1
                        if tail > head:
                            other = at[tail - 1]
                            lift = row[hp + tail - 1] + curvature * other * other
                    at[tail], row[hp + tail], row[bp + tail] = place, value, edge
                    tail += 1
                    lift = raised
                j += step
            while tail - head > 1 and row[bp + head + 1] <= query:
                head += 1
            if step > 0 and j == stop:
                settle(row, yp, hp, bp, at, turn, taps, origin, head, tail, query, s, last)
                return
            best = row[hp + head] + taps[at[head] * step + origin - s] if tail > head else inf
            row[yp + s] = best if step > 0 else min(row[yp + s], best)
            if s == last:
                return
            s += step
            query += 1

    @jit
    def cover(row, xp, yp, bad, n, m, lo, t):
        """Windows that meet a NaN are NaN, others that meet an infinity that wins are infinite."""
        never = n + m + t + abs(lo)
        spoilt, infinite = never, never
        for i in range(m - 1, -1, -1):
            first = i - lo
            # From the right: the first of each kind at or behind the start of the window.
            for j in range(min(first + (t if i == m - 1 else 1), n) - 1, first - 1, -1):
                if j < 0:
                    break
                if bad[xp + j] == 2:
                    spoilt = j
                elif bad[xp + j] == 1:
                    infinite = j
            if spoilt < first + t:
                row[yp + first] = nan
            elif infinite < first + t:
                row[yp + first] = -inf

    def envelope(x, y, taps, inverse, row, at, turn, bad, first, last, n, m, lo, t, J, pitch, wide, vertex, curvature):
        # Item i of [first, last) is (line, block of columns); row holds the columns, the results, heights and borders.
        blocks = (J + COLUMNS - 1) // COLUMNS
        space = COLUMNS if J > 1 else 1
        results = space * pitch
        heights = results + space * wide
        borders = heights + min(n, t) + 1
        for item in range(first, last):
            line, j0 = item // blocks, item % blocks * COLUMNS
            width = min(COLUMNS, J - j0)
            spoilt = False
            for i in range(n):
                for q in range(width):
                    value = sign * x[(line * n + i) * J + j0 + q]
                    kind = 0
                    if value != value:
                        kind = 2
                    elif value == -inf:
                        kind = 1
                    bad[q * pitch + i] = kind
                    spoilt |= kind > 0
                    row[q * pitch + i] = inf if kind else value
            for q in range(width):
                xp, yp = q * pitch, results + q * wide + lo
                s, end = -lo, m - 1 - lo
                while s <= end:
                    edge = -(-s // t) * t
                    stop = min(edge, end)
                    begin = max(edge, 0)
                    scan(
                        row, xp, yp, heights, borders, at, turn, taps, inverse, edge, begin,
                        max(begin, min(edge + t, n)), 1, s, stop, t - 1, vertex, curvature,
                    )  # fmt: skip
                    start, least = min(edge, n) - 1, max(s, 0)
                    if start >= least and s < edge:
                        scan(
                            row, xp, yp, heights, borders, at, turn, taps, inverse, edge, start, least - 1, -1,
                            min(stop, edge - 1), s, 0, vertex, curvature,
                        )  # fmt: skip
                    s = stop + 1
                if spoilt:
                    cover(row, xp, yp, bad, n, m, lo, t)
            for i in range(m):
                for q in range(width):
                    y[(line * m + i) * J + j0 + q] = sign * one(row[results + q * wide + i])

    pointer, real = f"p:{dtype}", "p:float64"
    return envelope, ",".join(
        [pointer, pointer, real, real, real, "p:int64", "p:int64", "p:int8", *"iiiiiiiii", "d", "d"]
    )


def envelope(
    x: np.ndarray, taps: np.ndarray, parabola: tuple[float, float], lo: int, outputs: int, largest: bool, threads: int
) -> np.ndarray:
    """The contract's result in the dtype of x, for taps that are nearly a parabola `curvature·(u − vertex)²` and a constant.

    Args:
        x: (L, n, J), contiguous.   taps: (t,), for the largest sums a parabola that opens downwards.
        parabola: its curvature, above zero also for the largest sums, and its vertex, in taps from the first.
    """
    (L, n, J), t, (curvature, vertex) = x.shape, taps.size, parabola
    y = np.empty((L, outputs, J), x.dtype)
    met, space = min(n, t) + 1, COLUMNS if J > 1 else 1
    pitch, wide = (
        -(-n // 8) * 8 + 8,
        -(-outputs // 8) * 8 + 8,
    )  # rows side by side must not share their place in the cache
    signed = np.ascontiguousarray(-taps if largest else taps, "float64")
    with np.errstate(divide="ignore"):
        inverse = 0.5 / (curvature * np.arange(met, dtype="float64"))
    work = kernel(str(x.dtype), largest)
    operands = address(x), address(y), address(signed), address(inverse)
    sizes = n, outputs, lo, t, J, pitch, wide

    def task(first: int, last: int) -> None:
        memory = scratch(scratch_bytes(n, outputs, t, J))
        at = memory + 8 * (space * (pitch + wide) + 2 * met)
        turn = at + 8 * met
        work(*operands, memory, at, turn, turn + 8 * outputs, first, last, *sizes, vertex, curvature)

    spread(task, L * -(-J // COLUMNS), threads, max(1, 20_000 // ((n + outputs) * min(J, COLUMNS))))
    return y


def scratch_bytes(n: int, outputs: int, t: int, J: int) -> int:
    """Working memory of one thread."""
    space = COLUMNS if J > 1 else 1
    return 8 * space * (n + outputs + 32) + 24 * (min(n, t) + 1) + 8 * outputs + space * (n + 16)


def key(dtype: str, largest: bool) -> tuple:
    """What `native.load` takes for one scalar type and direction."""
    return f"envelope-{'largest' if largest else 'smallest'}-{dtype}", build, dtype, largest


def kernel(dtype: str, largest: bool) -> Callable[..., None]:
    """The compiled kernel behind `envelope`."""
    return native.load(*key(dtype, largest))
