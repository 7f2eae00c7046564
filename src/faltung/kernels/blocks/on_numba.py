"""Correlation in register blocks: some rows of results, a few vectors wide, stay in registers while all taps pass by.

The signal of one tile, with its boundary, is copied into working memory that stays in the cache. Every vector read from there is
multiplied into all results of the block that need it: neighbouring rows of results share rows of the signal, and neighbouring
outputs share all of it. Sums run over channels, then over taps in their order, whatever the block and the tile, so the bits do
not depend on either.

Tap rows are given as chains: rows of taps that meet the same rows of the signal, one step further for the next row of
results. With stride 1 a channel's tap rows are one chain; a stride splits them, because a row of the signal then serves every
second tap row only.
"""

from collections.abc import Callable

import numpy as np

from faltung.algebras import Algebra
from faltung.kernels import extend, native

# Places in the array of sizes.
(Z, SAMPLES, CHANNELS, OUTPUTS, X_B, X_N, X_C, FILTER, U, SPACE, LINES, PITCH, PHASE, STRIDE, EXTENT, CHAINS, ROW, TAP, SHARE,
 TILES, BLOCKS, LENGTH, HOP, SIZE, COUNT) = range(25)  # fmt: skip


def build(dtype: str, add: str, mul: str, rows: int, vectors: int, outputs: bool, width: int) -> tuple[Callable, str]:
    """The kernel whose block is `rows` rows (of one output, or of as many outputs) by `vectors` vectors.

    `add` and `mul` are expressions in the vectors a and b.
    """
    from faltung.kernels.simd import TAME

    stage, block = stager(), blocker(dtype, add, mul, rows, vectors, outputs, width)
    picks = add in TAME and dtype.startswith("f")
    quick = blocker(dtype, TAME[add], mul, rows, vectors, outputs, width) if picks else block
    tame, tame_rows = tamer(add)
    R, WIDE, ITEM = rows, width * vectors, np.dtype(dtype).itemsize

    def blocks(
        x, k, y, buf, temp, zero, tables, fills, s, e, chain, tap, origin, row, block_at, y_at, temp_at, first, last
    ):
        O, parts, length = s[OUTPUTS], (s[OUTPUTS] + s[SHARE] - 1) // s[SHARE], s[LENGTH]
        for item in range(first, last):
            tile, rest = item // parts % s[TILES], item // parts // s[TILES]
            n, b = rest % s[SAMPLES], rest // s[SAMPLES]
            o0 = item % parts * s[SHARE]
            o1 = min(O, o0 + s[SHARE])
            corner = tile * (s[Z] + 2)
            for c in range(s[CHANNELS]):
                at = b * s[X_B] + n * s[X_N] + c * s[X_C]
                stage(x, at, buf, c * s[SPACE], temp, corner, s, e, tables, fills, origin, row)
            calm = False
            if picks and s[STRIDE] == 1:
                calm = tame(k, (b * O + o0) * s[FILTER], (o1 - o0) * s[FILTER])
                for c in range(s[CHANNELS]):
                    calm = calm and tame_rows(buf, c * s[SPACE], s)
            for i in range(s[BLOCKS]):
                good, hop = block_at[3 * i + 2], s[HOP]
                for j in range(0, length, WIDE):
                    for o in range(o0, o1, R if outputs else 1):
                        put = (rest * O + o) * s[SIZE] + origin[corner + s[Z] + 1] + block_at[3 * i + 1] + j
                        good = min(R, o1 - o) if outputs else good
                        fits = length - j >= WIDE
                        address = y_at + put * ITEM if fits else temp_at
                        row_at, kr = block_at[3 * i] + j, (b * O + o) * s[FILTER]
                        hop_ = hop if fits else WIDE
                        if picks and calm:
                            quick(
                                buf, row_at, k, kr, address, hop_, good, zero, s[U], s[ROW], s[TAP], s[FILTER], 0, s[CHAINS],
                                chain, tap,
                            )  # fmt: skip
                        else:
                            block(
                                buf, row_at, k, kr, address, hop_, good, zero, s[U], s[ROW], s[TAP], s[FILTER], 0, s[CHAINS],
                                chain, tap,
                            )  # fmt: skip
                        if not fits:
                            for r in range(good):
                                for q in range(length - j):
                                    y[put + r * hop + q] = temp[r * WIDE + q]

    pointer = f"p:{dtype}"
    return blocks, ",".join([*[pointer] * 6, "p:int64", pointer, *["p:int64"] * 7, *"iiii"])


def stager() -> Callable:
    """Compiled `stage(...)`: the extended signal of one tile and channel into working memory."""
    locate, copy_row = extend.readers()

    @native.inner
    def stage(x, at, to, put, temp, o, s, e, tables, fills, origin, row):
        """Copy the extended signal of one tile and channel, its last axis sorted by the phases of the stride."""
        z, length, stride = s[Z], s[EXTENT], s[STRIDE]
        for r in range(s[LINES]):
            p, edge, constant = at, fills[z], False
            inner = edge
            for d in range(z):
                source = locate(origin[o + d] + row[r * z + d], d, e, tables)
                if source >= 0:
                    p += source * e[extend.AXIS * d + extend.STEP]
                else:
                    constant, inner = True, fills[d]
            if stride == 1:
                copy_row(x, p, to, put, origin[o + z], length, z, e, tables, edge, constant, inner)
            else:
                copy_row(x, p, temp, 0, origin[o + z], length, z, e, tables, edge, constant, inner)
                for phase in range(stride):
                    for j in range((length - phase + stride - 1) // stride):
                        to[put + phase * s[PHASE] + j] = temp[phase + j * stride]
            put += s[PITCH]

    return stage


def tamer(add: str) -> tuple[Callable, Callable]:
    """Compiled `tame(x, at, count)` and `tame_rows(buf, at, s)`: whether no sum of such values can be a NaN.

    So it is where neither a NaN nor the infinity that wins is among them: a finite look at the operands saves one at every sum.
    """
    wins = np.inf if add == "larger" else -np.inf
    largest = add == "larger"

    @native.inner
    def tame(x, at, count):
        wild = 0
        for i in range(at, at + count):
            wild += 0 if (x[i] < wins if largest else x[i] > wins) else 1
        return wild == 0

    @native.inner
    def tame_rows(buf, at, s):
        calm = True
        for r in range(s[LINES]):
            calm = calm and tame(buf, at + r * s[PITCH], s[EXTENT])
        return calm

    return tame, tame_rows


def blocker(dtype: str, add: str, mul: str, rows: int, vectors: int, outputs: bool, width: int) -> Callable:
    """Compiled `block(...)`: one block of results from x[at] on and the filter at k[kr], written to an address."""
    from faltung.kernels.simd import tiles

    tile = tiles(dtype, width, rows, vectors, add, mul)
    scope = {"start": tile.start, "write": tile.write, "step": tile.step(0, rows)}
    for i in range(rows):
        scope |= {f"first{i}": tile.step(0, i + 1), f"last{i}": tile.step(i, rows), f"only{i}": tile.step(i, i + 1)}
    exec(_block_source(rows, outputs), scope)
    return native.inner(scope["block"])


def _block_source(rows: int, outputs: bool) -> str:
    """`block` with one loop for every set of rows that meets a row of the signal."""
    lines = [
        "def block(x, at, k, kr, address, hop, good, zero, U, ROW, TAP, FILTER, c0, c1, chain, tap):",
        "    a = start(zero[0])",
        "    for c in range(c0, c1):",
        "        xc, kc, length = at + chain[3 * c], kr + chain[3 * c + 1], chain[3 * c + 2]",
    ]

    def taps(depth: int, step: str, row: str, tap: str, between: str = "-TAP") -> None:
        lines.append("    " * depth + "for u in range(U):")
        lines.append(
            "    " * depth + f"    a = {step}(a, x, xc + ({row}) * ROW + tap[u], k, kc + ({tap}) * TAP + u, {between})"
        )

    if outputs:
        lines.append("        for t in range(length):")
        taps(3, "step", "t", "t", "FILTER")
    else:
        lines.append(f"        if length >= {rows}:")
        for i in range(rows - 1):
            taps(3, f"first{i}", str(i), str(i))
        lines.append(f"            for t in range({rows - 1}, length):")
        taps(4, "step", "t", "t")
        for i in range(1, rows):
            taps(3, f"last{i}", f"length - 1 + {i}", f"length - 1 + {i}")
        lines.append("        else:")
        lines.append("            for t in range(length):")
        for i in range(rows):
            taps(4, f"only{i}", f"t + {i}", f"t + {i}")
    lines.append("    write(a, address, hop, good)")
    return "\n".join(lines)


def key(dtype: str, algebra: Algebra, rows: int, vectors: int, outputs: bool) -> tuple:
    """What `native.load` takes for one shape of blocks."""
    if dtype == "uint64" and not algebra.ordered:  # sums and products wrap alike: one kernel for both
        dtype = "int64"
    name = f"blocks-{algebra.name}-{dtype}-{rows}x{vectors}{'o' if outputs else ''}"
    return name, build, dtype, algebra.vector_add, algebra.vector_mul, rows, vectors, outputs, native.lanes(dtype)


def blocks(dtype: str, algebra: Algebra, rows: int, vectors: int, outputs: bool) -> Callable[..., None]:
    """The compiled kernel for blocks of that shape; see `contract.blocks` for what it computes."""
    return native.load(*key(dtype, algebra, rows, vectors, outputs))
