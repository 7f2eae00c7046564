"""Matrix products over semirings, compiled and tiled like products over the reals.

`product` has four ways. Where the algebra's two operations are vector instructions and no operand holds a NaN or the infinity that
a zero would have to annihilate, blocks of C stay in registers while all k pass by, a panel of B in the cache. Where one does, or
where there are no such instructions, rows of C pass by with both operations spelled out. Truth values are taken 64 to a word. The
log semiring goes through exponentials below the maxima of rows and columns, a product over the reals, and what is too small
in that is computed again from its terms.

Source: blocks after Goto and van de Geijn (2008).
"""

from collections.abc import Callable

import numpy as np

from faltung.algebras import Algebra
from faltung.algebras.algebra import operation
from faltung.kernels import native
from faltung.kernels.log_sums import on_numba as log_sums
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import available, spread

DEPTH, PACKED, STRIP, GRAIN = 2048, 1 << 24, 1024, 1 << 17
# Of each ordered algebra's star the value where it exists, as an expression in a; NaN where it does not.
STARS = {
    "max-plus": "0.0 if a <= 0.0 else inf",
    "min-plus": "0.0 if a >= 0.0 else -inf",
    "max-times": "1.0 if a <= 1.0 else nan",
    "max-min": "inf",
    "min-max": "-inf",
    "boolean": "1",
}


def _tile(dtype: str) -> tuple[int, int]:
    """Rows and vectors of a block: what thirty-two registers of 64 bytes hold, or sixteen of 32."""
    return (8, 3) if lanes(dtype) * np.dtype(dtype).itemsize == 64 else (4, 2)


def build(dtype: str, add: str, mul: str, rows: int, vectors: int, width: int) -> tuple[Callable, str]:
    """The kernel of blocks for one scalar type and two operations on vectors that meet no NaN."""
    from faltung.kernels.simd import TAME, combiner, tiles
    from faltung.kernels.simd import lanes as vectors_of

    quick = TAME.get(add, add) if dtype.startswith("f") else add
    tile, v = (
        tiles(dtype, width, rows, vectors, quick, TAME.get(mul, mul) if dtype.startswith("f") else mul),
        vectors_of(dtype, width),
    )
    start, write, step, load, store, plus = (
        tile.start,
        tile.write,
        tile.step(0, rows),
        v.load,
        v.store,
        combiner(dtype, width, add),
    )
    WIDE, ITEM, W = width * vectors, np.dtype(dtype).itemsize, width

    def product(a, tail, b, c, temp, zero, c_at, temp_at, first, last, m, K, lda, n, ldc, more):
        blocks = (m + rows - 1) // rows
        for item in range(first, last):
            panel, i = item // blocks, item % blocks * rows
            good, j = min(rows, m - i), panel * WIDE
            block, bp = start(zero[0]), panel * K * WIDE
            if good == rows:
                for k in range(K):
                    block = step(block, b, bp + k * WIDE, a, i * lda + k, lda)
            else:
                for k in range(K):
                    block = step(block, b, bp + k * WIDE, tail, k, K)
            fits = n - j >= WIDE
            if fits and more == 0:
                write(block, c_at + (i * ldc + j) * ITEM, ldc, good)
                continue
            write(block, temp_at, WIDE, good)
            for r in range(good):
                p, q = i * ldc + r * ldc + j, r * WIDE
                if fits:
                    for w in range(0, WIDE, W):
                        store(c, p + w, plus(load(c, p + w), load(temp, q + w)))
                else:
                    whole = (n - j) // W * W if more else 0
                    for w in range(0, whole, W):
                        store(c, p + w, plus(load(c, p + w), load(temp, q + w)))
                    if more and whole < n - j:
                        for w in range(n - j - whole):
                            temp[rows * WIDE + w] = c[p + whole + w]
                        store(temp, q + whole, plus(load(temp, rows * WIDE), load(temp, q + whole)))
                    for w in range(whole, n - j):
                        c[p + w] = temp[q + w]

    pointer = f"p:{dtype}"
    return product, ",".join([*[pointer] * 6, *"iiiiiiiiii"])


def annihilating(algebra: Algebra, dtype: str) -> str:
    """The scalar product in which zero ⊗ ±∞ is zero."""
    if not dtype.startswith("f"):
        return algebra.scalar_mul
    zero = {np.inf: "inf", -np.inf: "-inf"}.get(float(algebra.zero(np.dtype(dtype))), "0.0")
    return f"({zero}) if ((a == {zero}) & (b == b)) | ((b == {zero}) & (a == a)) else {algebra.scalar_mul}"


def _scalar(expression: str) -> Callable:
    scope: dict = {"inf": np.inf, "nan": np.nan}
    exec(f"def scalar(a, b): return {expression}", scope)
    return native.inner(scope["scalar"])


def build_plain(dtype: str, plus: str, times: str, larger: int) -> tuple[Callable, str]:
    """The kernel of rows: any two scalar operations. `larger` is 1 or −1 where it also says which k is picked, else 0."""
    add, mul = native.inner(operation(plus)), _scalar(times)
    beats = native.inner(operation("a > b" if larger > 0 else "a < b"))

    def plain(a, b, c, choice, zero, first, last, K, n):
        for item in range(first, last):
            for j0 in range(0, n, STRIP):
                w, cp = min(STRIP, n - j0), item * n + j0
                for j in range(w):
                    c[cp + j] = zero[0]
                for k in range(K):
                    f, bp = a[item * K + k], k * n + j0
                    if larger and k == 0:
                        for j in range(w):
                            c[cp + j], choice[cp + j] = mul(f, b[bp + j]), 0
                    elif larger:
                        number = np.int32(k)
                        for j in range(w):
                            v, best, pick = mul(f, b[bp + j]), c[cp + j], choice[cp + j]
                            take = beats(v, best)
                            c[cp + j] = v if take else best
                            choice[cp + j] = number if take else pick
                    else:
                        for j in range(w):
                            c[cp + j] = add(c[cp + j], mul(f, b[bp + j]))

    pointer = f"p:{dtype}"
    return plain, ",".join([pointer, pointer, pointer, "p:int32", pointer, *"iiii"])


def build_bits() -> tuple[Callable, str]:
    """The kernel of truth values: rows of B, packed, are united where A has a one."""

    def bits(a, b, c, first, last, K, words):
        for i in range(first, last):
            for w in range(words):
                c[i * words + w] = np.uint64(0)
            for k in range(K):
                if a[i * K + k]:
                    for w in range(words):
                        c[i * words + w] |= b[k * words + w]

    return bits, "p:uint8,p:uint64,p:uint64,i,i,i,i"


def build_kleene(dtype: str, plus: str, times: str, star: str) -> tuple[Callable, str]:
    """The kernel of closures over ordered algebras, in place; failed[0] becomes 1 where a star does not exist."""
    add, mul, around = native.inner(operation(plus)), _scalar(times), _scalar(star)
    number = getattr(np, dtype)

    def kleene(a, failed, n):
        for k in range(n):
            s = number(around(a[k * n + k], a[k * n + k]))
            if s != s:
                failed[0] = 1
            for i in range(n):
                f = number(mul(a[i * n + k], s))
                for j in range(n):
                    a[i * n + j] = add(a[i * n + j], number(mul(f, a[k * n + j])))

    return kleene, f"p:{dtype},p:int64,i"


def product(a: np.ndarray, b: np.ndarray, algebra: Algebra, threads: int | None = None) -> np.ndarray:
    """The contract's result for matrices of one dtype of the algebra's arithmetic."""
    threads = threads or available()
    if algebra.name == "boolean":
        return _bits(a, b, threads)
    if algebra.name == "log":
        return _log(a, b, threads)
    if algebra.vector_add and algebra.vector_mul and _tame(a, algebra) and _tame(b, algebra):
        return _blocks(a, b, algebra, threads)
    return _plain(a, b, algebra, threads, False)[0]


def chosen(a: np.ndarray, b: np.ndarray, algebra: Algebra, threads: int | None = None) -> np.ndarray:
    """The contract's result, in int32."""
    return _plain(a, b, algebra, threads or available(), True)[1]


def kleene(a: np.ndarray, algebra: Algebra) -> np.ndarray | None:
    """The contract's result over ordered algebras; None where the star of an element does not exist."""
    dtype = "uint8" if a.dtype == bool else str(a.dtype)
    times = algebra.scalar_mul if a.dtype == bool else annihilating(algebra, dtype)
    out, failed = np.array(a, order="C"), np.zeros(1, np.int64)
    work = native.load(
        f"kleene-{algebra.name}-{dtype}", build_kleene, dtype, algebra.scalar_add, times, STARS[algebra.name]
    )
    work(address(out), address(failed), a.shape[0])
    at = np.arange(a.shape[0])
    out[at, at] = algebra.add(out[at, at], algebra.one(a.dtype))
    return None if failed[0] else out


def _tame(a: np.ndarray, algebra: Algebra) -> bool:
    """Whether no product with such values can be NaN: none of them is one, or an infinity other than the algebra's zero."""
    if a.dtype.kind != "f":
        return True
    low, high = float(a.min(initial=0.0)), float(a.max(initial=0.0))
    if np.isnan(low) or np.isnan(high):
        return False
    if algebra.vector_mul in ("larger", "smaller"):
        return True
    zero = float(algebra.zero(a.dtype))
    return all(np.isfinite(v) or v == zero for v in (low, high))


def _blocks(a: np.ndarray, b: np.ndarray, algebra: Algebra, threads: int) -> np.ndarray:
    dtype, (m, K), n = str(a.dtype), a.shape, b.shape[1]
    rows, vectors = _tile(dtype)
    wide, item = vectors * lanes(dtype), a.dtype.itemsize
    work = native.load(
        f"product-{algebra.name}-{dtype}",
        build,
        dtype,
        algebra.vector_add,
        algebra.vector_mul,
        rows,
        vectors,
        lanes(dtype),
    )
    zero = np.array([algebra.zero(a.dtype)], a.dtype)
    c = np.full((m, n), zero[0]) if K == 0 else np.empty((m, n), dtype)
    if m == 0 or n == 0:
        return c
    a = a if a.flags.c_contiguous and a.flags.aligned else np.ascontiguousarray(a)
    for k0 in range(0, K, DEPTH):
        depth = min(DEPTH, K - k0)
        tail = np.zeros((rows, depth), dtype)
        left = m % rows
        tail[:left] = a[m - left :, k0 : k0 + depth]
        share = max(1, PACKED // (depth * wide * item)) * wide
        for j0 in range(0, n, share):
            columns = min(share, n - j0)
            panels = -(-columns // wide)
            packed = np.zeros((panels, depth, wide), dtype)
            for p in range(panels):
                part = b[k0 : k0 + depth, j0 + p * wide : min(j0 + (p + 1) * wide, n)]
                packed[p, :, : part.shape[1]] = part
            at = address(a) + k0 * item, address(tail), address(packed), address(c) + j0 * item

            def task(
                first: int, last: int, at: tuple = at, k0: int = k0, depth: int = depth, columns: int = columns
            ) -> None:
                temp = np.zeros((rows + 1) * wide + 64, dtype)
                work(
                    *at,
                    address(temp),
                    address(zero),
                    at[3],
                    address(temp),
                    first,
                    last,
                    m,
                    depth,
                    K,
                    columns,
                    n,
                    int(k0 > 0),
                )

            spread(task, -(-m // rows) * panels, threads, max(1, GRAIN // (rows * wide * depth)))
    return c


def _plain(
    a: np.ndarray, b: np.ndarray, algebra: Algebra, threads: int, choosing: bool
) -> tuple[np.ndarray, np.ndarray]:
    dtype, (m, K), n = str(a.dtype), a.shape, b.shape[1]
    larger = (1 if algebra.vector_add == "larger" else -1) if choosing else 0
    times = algebra.scalar_mul if _tame(a, algebra) and _tame(b, algebra) else annihilating(algebra, dtype)
    work = native.load(f"product-plain-{algebra.name}-{dtype}", build_plain, dtype, algebra.scalar_add, times, larger)
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    c, choice = np.empty((m, n), dtype), np.empty((m, n) if choosing else 1, np.int32)
    zero = np.array([algebra.zero(a.dtype)], a.dtype)
    at = [address(v) for v in (a, b, c, choice, zero)]
    spread(lambda first, last: work(*at, first, last, K, n), m, threads, max(1, GRAIN // (n * K + 1)))
    return c, choice


def _bits(a: np.ndarray, b: np.ndarray, threads: int) -> np.ndarray:
    (m, K), n = a.shape, b.shape[1]
    words = max(1, -(-n // 64))
    packed = np.zeros((K, 8 * words), np.uint8)
    packed[:, : -(-n // 8)] = np.packbits(b, axis=1, bitorder="little")
    a, c = np.ascontiguousarray(a), np.empty((m, words), np.uint64)
    work = native.load("product-bits", build_bits)
    at = [address(v) for v in (a, packed, c)]
    spread(lambda first, last: work(*at, first, last, K, words), m, threads, max(1, GRAIN // (words * K + 1)))
    return np.unpackbits(c.view(np.uint8), axis=1, count=n, bitorder="little").view(bool)


def _log(a: np.ndarray, b: np.ndarray, threads: int) -> np.ndarray:
    (m, K), n = a.shape, b.shape[1]
    if np.isposinf(a).any() or np.isposinf(b).any():  # what is infinite is known without a sum; zero annihilates it
        far, near = [_bits(np.isposinf(a), ~np.isneginf(b), threads), _bits(~np.isneginf(a), np.isposinf(b), threads)]
        c = _log(np.where(np.isposinf(a), -np.inf, a), np.where(np.isposinf(b), -np.inf, b), threads)
        return np.where((far | near) & ~np.isnan(c), np.inf, c).astype(a.dtype)
    c = np.empty((m, n), a.dtype)
    rows = columns = max(16, min(1024, (1 << 21) // max(K, 1)))
    for j in range(0, n, columns):
        right, b_top = _below(b[:, j : j + columns], 0)
        for i in range(0, m, rows):
            left, a_top = _below(a[i : i + rows], 1)
            sums = left @ right
            with np.errstate(divide="ignore"):
                part = (np.log(sums) + a_top + b_top).astype(a.dtype)
            if not ((sums >= log_sums.LEAST) & (sums < np.inf)).all():
                whole = np.ascontiguousarray(b[:, j : j + columns]), np.ascontiguousarray(a[i : i + rows])
                place = np.arange(K, dtype=np.int64) * part.shape[1]
                shape = (1, 1, part.shape[0], 1, part.shape[1])
                log_sums.repaired(
                    whole[0].reshape(1, 1, -1), whole[1][None], sums.reshape(shape), part.reshape(shape), np.zeros(1, np.int64),
                    place, 1, threads,
                )  # fmt: skip
            c[i : i + rows, j : j + columns] = part
    return c


def _below(a: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Exponentials below the largest finite value along an axis, and these values; float64."""
    wide = a.astype("float64")
    top = np.max(wide, axis=axis, keepdims=True, initial=-np.inf, where=~np.isnan(wide))
    top = np.where(np.isfinite(top), top, 0.0)
    wide -= top
    np.exp(wide, out=wide)
    wide[wide < 2.0**-1020] = 0.0  # not to be carried through the product as denormal numbers
    return wide, top
