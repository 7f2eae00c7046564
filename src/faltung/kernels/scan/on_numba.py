"""Running sums along one axis, compiled: each result is its neighbour plus what enters minus what leaves.

Sums start afresh every `restart` results, so rounding errors do not pile up along the axis. Integer sums are exact.
"""

from collections.abc import Callable

from faltung.kernels import native


def build(dtype: str, wide: str) -> tuple[Callable, str]:
    """The kernel for one scalar type; sums are kept in `wide`, one column of `sums` a thread."""

    def running(x, y, sums, zero, first, last, taps, n, m, J, restart):
        # Item i of [first, last) is (line l, block of restart results); sums has room for J wide values.
        blocks = (m + restart - 1) // restart
        for item in range(first, last):
            i0 = item % blocks * restart
            i1 = min(m, i0 + restart)
            line = item // blocks
            xp, yp = line * n * J, line * m * J
            if J == 1:
                total = zero[0]
                for u in range(taps):
                    total += x[xp + i0 + u]
                y[yp + i0] = total
                for i in range(i0 + 1, i1):
                    total += x[xp + i + taps - 1] - x[xp + i - 1]
                    y[yp + i] = total
                continue
            for j in range(J):
                sums[j] = 0
            for u in range(taps):
                for j in range(J):
                    sums[j] += x[xp + (i0 + u) * J + j]
            for j in range(J):
                y[yp + i0 * J + j] = sums[j]
            for i in range(i0 + 1, i1):
                enters, leaves, to = xp + (i + taps - 1) * J, xp + (i - 1) * J, yp + i * J
                for j in range(J):
                    sums[j] += x[enters + j] - x[leaves + j]
                    y[to + j] = sums[j]

    return running, ",".join([f"p:{dtype}", f"p:{dtype}", f"p:{wide}", f"p:{wide}", *"iiiiiii"])


def running(dtype: str, wide: str) -> Callable[..., None]:
    """The compiled running sum; see `contract.running`."""
    return native.load(f"running-{dtype}", build, dtype, wide)
