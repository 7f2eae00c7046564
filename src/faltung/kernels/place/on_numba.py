"""Elements at real positions placed on a window of taps, and the derivatives of that; compiled.

An element gives its weight to the taps around its position, in proportion to a product of one profile for each axis. Only the taps
that the profiles reach are touched: two along each axis for bilinear interpolation, those whose share is above the type's
roundoff for a Gaussian. Neighbouring values of a Gaussian stand in a ratio that itself changes by a constant factor, so that three
exponentials an axis are enough whatever the width.

Rows are windows of their own, which stay in the cache while their elements are placed one after the other.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address
from faltung.kernels.place.contract import SMALLEST
from faltung.kernels.threads import available, scratch, spread

AXES = 4
FAR = 1e9  # no position beyond this is told from this
REACH = {"float32": 7.0, "float64": 9.5}  # in widths; beyond, shares and their slopes are less than the type's roundoff


def build(dtype: str, kind: str, backwards: bool) -> tuple[Callable, str]:
    """The kernel of one scalar type and profile: placing, or its derivatives."""
    jit, one, reach = native.inner, getattr(np, dtype), REACH[dtype] ** 2
    gauss, norm, nan = kind == "gauss", kind != "linear", np.nan

    @jit
    def begin(p, s, taps):
        """The first tap that the profile reaches, the last one, and the one nearest to the position."""
        near = int(min(max(np.floor(p + 0.5), 0.0), taps - 1.0))
        far = np.sqrt((near - p) * (near - p) + reach * s * s) if gauss else s
        first = int(max(np.ceil(min(p - far, float(taps))), 0.0))
        last = int(min(np.floor(max(p + far, -1.0)), taps - 1.0))
        return (min(first, near), max(last, near), near) if gauss else (first, last, near)

    @jit
    def heights(p, s, first, last, near, f, fp):
        """The profile at taps first to last, written from fp on; returns their sum."""
        total = 0.0
        if gauss:
            inverse = 1.0 / (s * s)
            bend = np.exp(-inverse)
            f[fp + near - first] = total = 1.0
            value, ratio = 1.0, np.exp((p - near - 0.5) * inverse)
            for q in range(near + 1, last + 1):
                value *= ratio
                ratio *= bend
                f[fp + q - first] = value
                total += value
            value, ratio = 1.0, np.exp((near - p - 0.5) * inverse)
            for q in range(near - 1, first - 1, -1):
                value *= ratio
                ratio *= bend
                f[fp + q - first] = value
                total += value
        else:
            for q in range(first, last + 1):
                f[fp + q - first] = s - abs(q - p)
                total += f[fp + q - first]
        return total

    @jit
    def slopes(p, s, first, last, total, f, fp, dp, ds):
        """The profile's derivatives for position (from dp on) and width (from ds on), and the profile divided by its sum."""
        sum_p, sum_s = 0.0, 0.0
        scale = 1.0
        if norm:
            scale = 1.0 / total if total > 0 else 0.0
        for q in range(first, last + 1):
            at, i = q - p, q - first
            value = f[fp + i] * scale
            if gauss:
                by_p = value * at / (s * s)
                by_s = by_p * at / s
            else:
                gap = s - abs(at)
                by_s = scale if gap > 0 else 0.5 * scale
                by_p = by_s if at > 0 else (-by_s if at < 0 else 0.0)
            f[fp + i], f[dp + i], f[ds + i] = value, by_p, by_s
            sum_p += by_p
            sum_s += by_s
        if norm:
            for i in range(last - first + 1):
                f[dp + i] -= f[fp + i] * sum_p
                f[ds + i] -= f[fp + i] * sum_s

    @jit
    def span(position, width, own, floor, at, taps, scale):
        """Position and width of an element along one axis, and its weight, which a NaN in either makes NaN."""
        p, s = float(position[at]) + taps // 2, abs(float(width[at * own])) + floor
        if p != p or s != s:
            return 0.0, np.inf, nan  # to every tap
        return min(max(p, -FAR), FAR), max(s, SMALLEST) if gauss else s, scale

    def place(weight, position, width, y, f, ends, first, last, R, M, n, k0, k1, k2, k3, own, floor):
        # ends holds first and last tap of each of four axes, of which the last n exist; f the profiles, `pitch` values apart.
        pitch = max(k0, k1, k2, k3)
        size = k0 * k1 * k2 * k3
        for r in range(first, last):
            for i in range(size):
                y[r * size + i] = one(0.0)
            for m in range(M):
                scale = float(weight[r * M + m])
                for axis in range(4):
                    taps = k0 if axis == 0 else (k1 if axis == 1 else (k2 if axis == 2 else k3))
                    if axis < 4 - n:
                        ends[2 * axis] = ends[2 * axis + 1] = 0
                        f[axis * pitch] = 1.0
                        continue
                    p, s, scale = span(position, width, own, floor, ((axis - 4 + n) * R + r) * M + m, taps, scale)
                    lo, hi, near = begin(p, s, taps)
                    ends[2 * axis], ends[2 * axis + 1] = lo, hi
                    total = heights(p, s, lo, hi, near, f, axis * pitch)
                    if norm and total > 0:
                        scale /= total
                for q0 in range(ends[0], ends[1] + 1):
                    a0 = scale * f[q0 - ends[0]]
                    for q1 in range(ends[2], ends[3] + 1):
                        a1 = a0 * f[pitch + q1 - ends[2]]
                        for q2 in range(ends[4], ends[5] + 1):
                            a2 = a1 * f[2 * pitch + q2 - ends[4]]
                            row = r * size + ((q0 * k1 + q1) * k2 + q2) * k3
                            for q3 in range(ends[6], ends[7] + 1):
                                y[row + q3] += one(a2 * f[3 * pitch + q3 - ends[6]])

    def derive(
        y,
        weight,
        position,
        width,
        by_weight,
        by_position,
        by_width,
        f,
        ends,
        first,
        last,
        R,
        M,
        n,
        k0,
        k1,
        k2,
        k3,
        own,
        floor,
    ):
        # For each axis f holds the profile, its two derivatives, and the sums of y against the profiles of all other axes.
        pitch = max(k0, k1, k2, k3)
        block = 4 * pitch
        size = k0 * k1 * k2 * k3
        for r in range(first, last):
            for m in range(M):
                valid = 1.0
                for axis in range(4):
                    taps = k0 if axis == 0 else (k1 if axis == 1 else (k2 if axis == 2 else k3))
                    at = axis * block
                    if axis < 4 - n:
                        ends[2 * axis] = ends[2 * axis + 1] = 0
                        f[at], f[at + 3 * pitch] = 1.0, 0.0
                        continue
                    p, s, valid = span(position, width, own, floor, ((axis - 4 + n) * R + r) * M + m, taps, valid)
                    lo, hi, near = begin(p, s, taps)
                    ends[2 * axis], ends[2 * axis + 1] = lo, hi
                    total = heights(p, s, lo, hi, near, f, at)
                    slopes(p, s, lo, hi, total, f, at, at + pitch, at + 2 * pitch)
                    for i in range(hi - lo + 1):
                        f[at + 3 * pitch + i] = 0.0
                whole = 0.0
                for q0 in range(ends[0], ends[1] + 1):
                    sum0 = 0.0
                    for q1 in range(ends[2], ends[3] + 1):
                        sum1 = 0.0
                        a1 = f[q0 - ends[0]] * f[block + q1 - ends[2]]
                        for q2 in range(ends[4], ends[5] + 1):
                            sum2 = 0.0
                            a2 = a1 * f[2 * block + q2 - ends[4]]
                            row = r * size + ((q0 * k1 + q1) * k2 + q2) * k3
                            for q3 in range(ends[6], ends[7] + 1):
                                value = float(y[row + q3])
                                sum2 += value * f[3 * block + q3 - ends[6]]
                                f[3 * block + 3 * pitch + q3 - ends[6]] += value * a2
                            f[2 * block + 3 * pitch + q2 - ends[4]] += a1 * sum2
                            sum1 += f[2 * block + q2 - ends[4]] * sum2
                        f[block + 3 * pitch + q1 - ends[2]] += f[q0 - ends[0]] * sum1
                        sum0 += f[block + q1 - ends[2]] * sum1
                    f[3 * pitch + q0 - ends[0]] += sum0
                    whole += f[q0 - ends[0]] * sum0
                by_weight[r * M + m] = one(whole * valid)
                scale = float(weight[r * M + m]) * valid
                for axis in range(4 - n, 4):
                    at, by_p, by_s = axis * block, 0.0, 0.0
                    for i in range(ends[2 * axis + 1] - ends[2 * axis] + 1):
                        by_p += f[at + 3 * pitch + i] * f[at + pitch + i]
                        by_s += f[at + 3 * pitch + i] * f[at + 2 * pitch + i]
                    place_at = ((axis - 4 + n) * R + r) * M + m
                    by_position[place_at] = one(scale * by_p)
                    if own:  # the derivative of |width| at 0 is that of a width that grows
                        by_width[place_at] = one(scale * (by_s if width[place_at] >= 0 else -by_s))

    pointer, sizes = f"p:{dtype}", "p:float64,p:int64," + ",".join("iiiiiiiiiid")
    arrays = 7 if backwards else 4
    return derive if backwards else place, ",".join([*[pointer] * arrays, sizes])


def placed(
    weight: np.ndarray,
    position: np.ndarray,
    width: np.ndarray,
    window: Sequence[int],
    kind: str,
    floor: float = 0.0,
    threads: int | None = None,
) -> np.ndarray:
    """The contract's result for positions from the window's middle tap `taps // 2` and widths `|width| + floor`, in their dtype.

    Args:
        weight: (R, M), contiguous.   position: (n, R, M), contiguous, n from 1 to 4.   window: n numbers of taps.
        width: (n, R, M), contiguous, or (), one for all elements and axes.
    """
    (n, R, M), sizes, own = position.shape, _sizes(window), int(width.ndim > 0)
    y = np.empty((R, *window), weight.dtype)
    work = native.load(*key(str(weight.dtype), kind, False))
    operands = [address(a) for a in (weight, position, width, y)]

    def task(first: int, last: int) -> None:
        memory = scratch(8 * AXES * max(sizes) + 16 * AXES)
        work(*operands, memory + 16 * AXES, memory, first, last, R, M, n, *sizes, own, floor)

    spread(task, R, threads or available(), _grain(M, n))
    return y


def gradients(
    y: np.ndarray,
    weight: np.ndarray,
    position: np.ndarray,
    width: np.ndarray,
    kind: str,
    floor: float = 0.0,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The contract's derivatives, for position and width as `placed` takes them; 0 for a width that all share.

    y: (R, *window), contiguous.
    """
    (n, R, M), sizes, own = position.shape, _sizes(y.shape[1:]), int(width.ndim > 0)
    results = np.empty_like(weight), np.empty_like(position), (np.empty_like if own else np.zeros_like)(width)
    work = native.load(*key(str(weight.dtype), kind, True))
    operands = [address(a) for a in (y, weight, position, width, *results)]

    def task(first: int, last: int) -> None:
        memory = scratch(32 * AXES * max(sizes) + 16 * AXES)
        work(*operands, memory + 16 * AXES, memory, first, last, R, M, n, *sizes, own, floor)

    spread(task, R, threads or available(), _grain(M, n))
    return results


def _sizes(window: Sequence[int]) -> tuple[int, ...]:
    return (*(1,) * (AXES - len(window)), *window)


def _grain(M: int, n: int) -> int:
    """Rows that are worth another thread."""
    return max(1, math.ceil(20_000 / (M * 30 * 3**n + 1)))


def key(dtype: str, kind: str, backwards: bool) -> tuple:
    """What `native.load` takes for one scalar type and profile."""
    return f"place-{kind}-{'derivatives' if backwards else 'taps'}-{dtype}", build, dtype, kind, backwards
