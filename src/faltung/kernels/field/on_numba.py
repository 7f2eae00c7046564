"""Kernel fields, compiled: vectors along rows of places, blocks of outputs by samples in registers.

Every value of a field is used once a sample, so the field's way through memory is what counts: for a piece of places all samples
take their turn while the piece is in the cache. Its values lie as far apart as the field has places, often a power of two, which
caches bear badly; where they are read more than once they are put side by side first.
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.field.layout import Field, kept, pieces
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import Own, share

MOST = 8  # rows or columns of the largest block
# Places of a piece of work: as many as of all channels and samples fit into the cache, or a plane where there is one channel.
PIECE, PLANE = 120, 4096
DEPTH = 72  # sums for one block before the next: what a block reads of the field stays in the first cache
GRAIN = 1 << 16  # products of a piece of work that is worth another thread
MOST_TAPS, VECTORS = 9, 24  # of a block of fields
(PIECES, SECOND, LENGTH, OUTER, DEEP, MANY, BLOCK, TAPS, PLACES) = range(9)
(W_A, W_B, W_OUT, W_DEEP, S_A, S_B, S_MANY, S_DEEP, O_A, O_B, O_MANY, O_OUT) = range(9, 21)


def build_sums(dtype: str, width: int, rows: int, columns: int, packed: bool) -> tuple[Callable, str]:
    """Results or signals: sums over `deep` channels and the entries of a row, in blocks of outer channels by samples."""
    from faltung.kernels.field.tile import blocks

    b = blocks(dtype, width, rows, columns)
    zero, load, store, sums, pack, sum_packed = b.zero, b.load, b.store, b.sum, b.pack, b.sum_packed
    FULL = rows * width

    def kernel(w, s, o, table, starts, pieces, z, work, steps, put, back, buf, first, last):
        for item in range(first, last):
            piece, problem = item % z[PIECES] * 4, item // z[PIECES]
            a, b = problem // z[SECOND], problem % z[SECOND]
            w0, s0 = a * z[W_A] + b * z[W_B], a * z[S_A] + b * z[S_B]
            o0 = a * z[O_A] + b * z[O_B]
            r0, r1, c0, c1 = pieces[piece], pieces[piece + 1], pieces[piece + 2], pieces[piece + 3]
            for deep in range(0, z[DEEP], z[BLOCK]):
                end = min(z[DEEP], deep + z[BLOCK])
                for outer in range(0, z[OUTER], rows):
                    good = min(rows, z[OUTER] - outer)
                    for i in range(rows):
                        work[i] = (outer + min(i, good - 1)) * z[W_OUT]
                        put[i] = (outer + min(i, good - 1)) * z[O_OUT]
                    for r in range(r0, r1):
                        one = (end - deep) * (starts[r + 1] - starts[r]) * FULL
                        if packed:
                            to = 0
                            for k in range(deep, end):
                                for e in range(starts[r], starts[r + 1]):
                                    for c in range(c0, c1, width):
                                        pack(
                                            w, w0 + k * z[W_DEEP], work, table, e, c, buf, to + (c - c0) // width * one
                                        )
                                    to += FULL
                        for c in range(c0, c1, width):
                            count = min(width, c1 - c)
                            at = o0 + r * z[LENGTH] + c
                            for many in range(0, z[MANY], columns):
                                fine = min(columns, z[MANY] - many)
                                for i in range(columns):
                                    steps[i] = (many + min(i, fine - 1)) * z[S_MANY]
                                    back[i] = (many + min(i, fine - 1)) * z[O_MANY]
                                block = zero() if deep == 0 else load(o, at, put, back, count)
                                to = (c - c0) // width * one
                                for k in range(deep, end):
                                    q = s0 + k * z[S_DEEP]
                                    for e in range(starts[r], starts[r + 1]):
                                        if packed:
                                            block = sum_packed(block, buf, to, s, q, steps, table, e, c)
                                            to += FULL
                                        else:
                                            block = sums(block, w, w0 + k * z[W_DEEP], work, s, q, steps, table, e, c)
                                to = at + outer * z[O_OUT] + many * z[O_MANY]
                                store(block, o, to, z[O_OUT], z[O_MANY], good, fine, count)

    p, t = f"p:{dtype}", "p:int64"
    return kernel, ",".join([p, p, p, t, t, t, t, t, t, t, t, p, "i", "i"])


def build_fields(dtype: str, width: int, rows: int, columns: int) -> tuple[Callable, str]:
    """Fields: sums over samples, in blocks of outputs by taps."""
    from faltung.kernels.field.tile import blocks

    b = blocks(dtype, width, rows, columns)
    zero, store, cross = b.zero, b.store, b.cross

    def kernel(y, x, w, table, pieces, z, work, first, last):
        for item in range(first, last):
            piece, problem = item % z[PIECES] * 4, item // z[PIECES]
            a, b = problem // z[SECOND], problem % z[SECOND]
            w0, x0 = a * z[W_A] + b * z[W_B], a * z[S_A] + b * z[S_B]
            y0 = a * z[O_A] + b * z[O_B]
            r0, r1, c0, c1 = pieces[piece], pieces[piece + 1], pieces[piece + 2], pieces[piece + 3]
            for outer in range(0, z[OUTER], rows):
                good = min(rows, z[OUTER] - outer)
                for i in range(rows):
                    work[i] = (outer + min(i, good - 1)) * z[O_OUT]
                for k in range(z[DEEP]):
                    for tap in range(0, z[TAPS], columns):
                        fine = min(columns, z[TAPS] - tap)
                        to = w0 + outer * z[W_OUT] + k * z[W_DEEP] + tap * z[PLACES]
                        for r in range(r0, r1):
                            for c in range(c0, c1, width):
                                count, at, entry = min(width, c1 - c), r * z[LENGTH], r * z[TAPS] + tap
                                block = zero()
                                for n in range(z[MANY]):
                                    block = cross(
                                        block, y, y0 + n * z[O_MANY] + at, work, x, x0 + n * z[S_MANY] + k * z[S_DEEP],
                                        table, entry, fine - 1, c, count,
                                    )  # fmt: skip
                                store(block, w, to + at + c, z[W_OUT], z[PLACES], good, fine, count)

    p, t = f"p:{dtype}", "p:int64"
    return kernel, ",".join([p, p, p, t, t, t, t, "i", "i"])


def results(x: np.ndarray, w: np.ndarray, y: np.ndarray, field: Field, threads: int) -> None:
    """The contract's result into y. The axes after the fourth lie close together in x and y, all axes in w."""
    field = kept(field)
    table, starts = field.results
    s = _phases(x, field)
    _sums(w, s, y, (2, 3), field.m[-1], table, starts, field, threads)


def signals(w: np.ndarray, y: np.ndarray, x: np.ndarray, field: Field, threads: int) -> None:
    """The contract's result into x."""
    field = kept(field)
    table, starts = field.signals
    step, n = field.stride[-1], field.n[-1]
    o = x if step == 1 else np.empty((*x.shape[:-1], step, field.phase), x.dtype)
    _sums(w, y, o, (3, 2), field.phase, table, starts, field, threads)
    if step > 1:
        x[...] = o.swapaxes(-1, -2).reshape(*x.shape[:-1], step * field.phase)[..., :n]


def _sums(
    w: np.ndarray, s: np.ndarray, o: np.ndarray, axes: tuple[int, int], length: int, table: np.ndarray, starts: np.ndarray,
    field: Field, threads: int,
) -> None:  # fmt: skip
    """o[outer] = sums over deep of w[outer, deep]·s[deep]; `axes` are those of outer and deep in w."""
    (A, B), many, outer, deep = o.shape[:2], o.shape[2], w.shape[axes[0]], w.shape[axes[1]]
    if 0 in o.shape or deep == 0:
        o[...] = 0
        return
    dtype, width = str(o.dtype), lanes(str(o.dtype))
    rows, columns = _block(outer, many)
    packed = many > columns  # then each value of the field is read more than once
    cut = pieces(len(starts) - 1, length, PLANE if outer * deep == 1 else PIECE, width)
    z = np.zeros(21, np.int64)
    z[: PLACES + 1] = len(cut), B, length, outer, deep, many, max(1, DEPTH // field.taps), field.taps, field.places
    sizes = _steps(w, 0), _steps(w, 1), _steps(w, axes[0]), _steps(w, axes[1])
    z[W_A:] = (*sizes, *(_steps(s, a) for a in range(4)), *(_steps(o, a) for a in range(4)))
    kernel = native.load(f"field-sums-{dtype}", build_sums, dtype, width, rows, columns, packed)
    at = address(w), address(s), address(o), address(table), address(starts), address(cut), address(z)

    wide = -(-int((cut[:, 3] - cut[:, 2]).max()) // width) * width
    panel = int(z[BLOCK]) * field.taps * rows * wide * o.itemsize if packed else 0

    items, row = A * B * len(cut), 8 * MOST
    given = (*at, *(Own(i * row) for i in range(4)), Own(4 * row))
    share(kernel, given, items, threads, _grain(w.size * many, items), 4 * row + panel)


def fields(x: np.ndarray, y: np.ndarray, w: np.ndarray, field: Field, threads: int) -> None:
    """The contract's result into w, all of whose axes lie close together."""
    field = kept(field)
    if 0 in w.shape or x.shape[2] == 0:
        w[...] = 0
        return
    x = _phases(x, field)
    (A, B), many, outer, deep = w.shape[:2], x.shape[2], w.shape[2], w.shape[3]
    dtype, width = str(w.dtype), lanes(str(w.dtype))
    columns = -(-field.taps // -(-field.taps // MOST_TAPS))
    rows = min(outer, max(1, VECTORS // columns), MOST)
    table, length = field.taps_of, field.m[-1]
    cut = pieces(field.places // length, length, PLANE if outer * deep == 1 else PIECE, width)
    z = np.zeros(21, np.int64)
    z[: PLACES + 1] = len(cut), B, length, outer, deep, many, 1, field.taps, field.places
    z[W_A:] = [_steps(array, a) for array in (w, x, y) for a in range(4)]
    kernel = native.load(f"field-fields-{dtype}", build_fields, dtype, width, rows, columns)
    at = address(y), address(x), address(w), address(table), address(cut), address(z)

    items = A * B * len(cut)
    share(kernel, (*at, Own(0)), items, threads, _grain(w.size * many, items), 8 * MOST)


def _grain(products: int, items: int) -> int:
    """Items worth handing to another thread."""
    return max(1, GRAIN * items // max(products, 1))


def _block(outer: int, many: int) -> tuple[int, int]:
    """Outer channels and samples of a block of sums in registers."""
    if outer == 1:
        return 1, next(c for c in (1, 4, 8) if c >= many or c == 8)
    return (3 if outer <= 3 else 6), (1 if many == 1 else 4)


def _phases(x: np.ndarray, field: Field) -> np.ndarray:
    """The signal with every row split into its phases, one after the other."""
    step, n = field.stride[-1], field.n[-1]
    if step == 1:
        return x
    split = np.zeros((*x.shape[:-1], step, field.phase), x.dtype)
    for phase in range(min(step, n)):
        part = x[..., phase::step]
        split[..., phase, : part.shape[-1]] = part
    return split


def _steps(array: np.ndarray, axis: int) -> int:
    """Values from one index of an axis to the next."""
    return array.strides[axis] // array.itemsize
