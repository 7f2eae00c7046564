"""Holds compiled kernels against their `contract.py`: the same numbers from plain NumPy.

`check(kernel)` runs the cases of a registered kernel. `CHECKS` maps each operation to its cases; these take any object with the
operation's functions in place of the tool's module, so that a plug-in's version, or a wrong one, goes through the same cases.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from faltung.algebras import ALL, Algebra
from faltung.domains import Boundary
from faltung.kernels import Kernel
from faltung.kernels.blocks import contract as blocks_contract
from faltung.kernels.blocks.layout import Blocks
from faltung.kernels.convert import contract as convert_contract
from faltung.kernels.correlate import contract as correlate_contract
from faltung.kernels.correlate.on_numba import STRIP
from faltung.kernels.fourier import contract as fourier_contract
from faltung.kernels.fourier.layout import Layout
from faltung.kernels.passes import contract as passes_contract
from faltung.kernels.passes.layout import Passes
from faltung.kernels.scan import contract as scan_contract
from faltung.methods.method import ROUNDOFF
from faltung.testing.automaton_kernels import check_found, check_scanned, check_weighed
from faltung.testing.block_kernels import check_first, check_inverted
from faltung.testing.cayley_kernels import check_ranks, check_states
from faltung.testing.channel_kernels import (
    check_indirect,
    check_minimal,
    check_mix,
    check_pointwise,
    check_separable,
    check_turned,
)
from faltung.testing.enlarge_kernels import check_enlarged
from faltung.testing.envelope_kernels import check_envelope
from faltung.testing.field_kernels import check_field
from faltung.testing.gather_kernels import check_gather
from faltung.testing.hadamard_kernels import check_hadamard, check_zeta
from faltung.testing.kernel_cases import CACHES, TILED, TYPICAL, compare, computed, data, tiled
from faltung.testing.number_kernels import check_modular, check_ntt
from faltung.testing.orbit_kernels import check_orbit
from faltung.testing.place_kernels import check_delayed, check_placed
from faltung.testing.plane_kernels import check_planes
from faltung.testing.product_kernels import check_semiring_product
from faltung.testing.ring_kernels import check_negacyclic
from faltung.testing.scatter_kernels import check_paired
from faltung.testing.scattering_kernels import check_scattered
from faltung.testing.semiring_kernels import check_log_sums, check_monotone, check_selected, check_united
from faltung.testing.stream_kernels import check_delay_line, check_monarch
from faltung.testing.triangular_kernels import check_wavefront
from faltung.testing.triton_kernels import TRITON_CHECKS

# Filters (taps rows T, taps a row U) around every unrolled length; rows around a strip.
TAPS = (
    (1, 1),
    (1, 2),
    (1, 3),
    (1, 7),
    (1, 8),
    (1, 9),
    (1, 12),
    (1, 16),
    (1, 19),
    (2, 1),
    (5, 1),
    (6, 1),
    (7, 1),
    (13, 1),
    (3, 4),
    (4, 11),
)
LENGTHS = (1, 2, 17, STRIP, STRIP + 5)


def check(kernel: Kernel, seed: int = 0) -> int:
    """All cases of a registered kernel; returns how many were compared.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    return CHECKS[kernel.name](kernel.module, seed)


def check_rows(tool: Any, seed: int = 0, algebras: tuple[Algebra, ...] = ALL) -> int:
    """The row kernel of every algebra and dtype."""
    cases = 0
    for algebra in algebras:
        for dtype in computed(algebra) if algebra.scalar_mul else []:
            for taps in TAPS:
                for unit in (True, False):
                    _rows(
                        np.random.default_rng(seed + cases),
                        tool.rows,
                        algebra,
                        dtype,
                        taps,
                        LENGTHS[cases % len(LENGTHS)],
                        unit,
                    )
                    cases += 1
    return cases


def _rows(
    random: np.random.Generator,
    make: Callable,
    algebra: Algebra,
    dtype: str,
    taps: tuple[int, int],
    length: int,
    unit: bool,
) -> None:
    stride, dilation = (1, 1) if unit else (int(random.integers(1, 4)), int(random.integers(1, 4)))
    (T, U), R, B, N, O = taps, 3, 2, 2, 2
    reach = (length - 1) * stride + (U - 1) * dilation + 1
    base, offset = random.integers(0, 9, R), random.integers(0, 9, T)
    size = reach + 17
    x, k = data(random, (B, N, size), dtype), data(random, (B, O, T, U), dtype)
    y = np.empty((B, N, O, R, length), dtype)
    zero = np.array([algebra.zero(np.dtype(dtype))], dtype)
    kernel = make("uint8" if dtype == "bool" else dtype, algebra, unit)
    strips = -(-length // STRIP)
    items = B * N * O * R * strips
    sizes = np.array([R, T, U, length, stride, dilation, size, N, O], np.int64)
    addresses = [a.ctypes.data for a in (x, k, y, base, offset, zero, sizes)]
    for first, last in ((0, items // 3), (items // 3, items)):  # pieces, as threads take them
        kernel(*addresses, first, last)
    for b, n in np.ndindex(B, N):
        wanted = correlate_contract.rows(x[b, n], k[b], base, offset, length, stride, dilation, algebra)
        # A fused multiply-add rounds once where the reference rounds twice.
        size_of = (
            0.0
            if algebra.exact
            else (T * U + 2) * 4 * ROUNDOFF[dtype] * (T * U) * float(np.abs(x[b, n]).max() * np.abs(k[b]).max() + 1)
        )
        compare(
            y[b, n],
            wanted,
            size_of,
            f"rows of {algebra.name} in {dtype}, taps {taps}, length {length}, stride {stride}, dilation {dilation}",
        )


def check_blocks(tool: Any, seed: int = 0, algebras: tuple[Algebra, ...] = TYPICAL) -> int:
    """The block kernel of every algebra that has vectors."""
    cases = 0
    for algebra in algebras:
        for dtype in computed(algebra) if algebra.vector_add else []:
            for case in TILED:
                random, cache = np.random.default_rng(seed + cases), CACHES[cases % 2]
                (B, N, C, O), k, x, common, extended = tiled(random, case, dtype, flat=True)
                zero = algebra.zero(np.dtype(dtype))
                common["fills"] = (zero,) * len(common["n"])
                layout = Blocks(dtype, B, N, C, O, **common, algebra=algebra, cache=cache)
                layout.__dict__["_work"] = tool.blocks(dtype, algebra, *layout.shape)
                y = layout.correlate(x, layout.packed(k), 1 + cases % 2)
                wanted = blocks_contract.blocks(
                    extended(layout.extension), k, layout.m, layout.stride, layout.dilation, algebra
                )
                taps = C * math.prod(layout.t)
                near = (
                    0.0 if algebra.exact else 8 * ROUNDOFF[dtype] * taps * float(np.abs(x).max() * np.abs(k).max() + 1)
                )
                compare(y, wanted, near, f"blocks {layout.shape} of {algebra.name} in {dtype}, {case}")
                cases += 1
    return cases


def check_tiles(tool: Any, seed: int = 0) -> int:
    """Overlap-save in lanes: filters and tiles together."""
    cases = 0
    for dtype in ("float32", "float64", "complex64", "complex128"):
        for case in TILED:
            random = np.random.default_rng(seed + cases)
            (B, N, C, O), k, x, common, extended = tiled(random, case, dtype, flat=False)
            reach = [(t - 1) * d + 1 for t, d in zip(common["t"], common["dilation"], strict=True)]
            lengths = tuple(next(f for f in (4, 6, 8, 12, 16, 24, 32, 48, 64) if f > r) for r in reach)
            layout = Layout(dtype, B, N, C, O, **common, lengths=lengths)
            layout.__dict__["_tiles"], layout.__dict__["_filters"] = tool.tiles(layout.real), tool.filters(layout.real)
            y = layout.convolve(x, layout.spectra(k, 2), 1 + cases % 2)
            wanted = fourier_contract.tiles(extended(layout.extension), k, layout.m, layout.stride, layout.dilation)
            near = 64 * ROUNDOFF[dtype] * C * float(np.abs(k).sum() * np.abs(x).max())
            compare(y, wanted, near, f"tiles of {lengths} in {dtype}, {case}")
            cases += 1
    return cases


# (B, N), signal, taps, terms (0: a window), pads before and behind, boundary.
PASSED = (
    ((1, 1), (40, 100), (5, 7), 1, (2, 3), "constant"),
    ((2, 3), (40, 100), (5, 7), 3, (2, 3), "reflect"),
    ((1, 2), (40, 100), (5, 7), 0, (2, 3), "wrap"),
    ((2, 1), (90, 300), (31, 31), 0, (15, 15), "symmetric"),
    ((1, 1), (90, 300), (1, 16), 0, (0, 9), "edge"),
    ((1, 1), (90, 300), (16, 1), 0, (-3, 9), "constant"),
    ((1, 1), (70, 33), (8, 2), 2, (9, 9), "edge"),
    ((1, 2), (20, 21, 37), (3, 4, 5), 1, (1, 2), "wrap"),
    ((1, 1), (20, 21, 37), (3, 4, 5), 0, (4, 0), "reflect"),
    ((2, 1), (9, 8, 11, 17), (3, 2, 2, 5), 2, (1, 1), "symmetric"),
)


def check_passes(tool: Any, seed: int = 0, algebras: tuple[Algebra, ...] = TYPICAL) -> int:
    """The pass kernel of every algebra that has vectors: rows of taps, and windows."""
    cases = 0
    for algebra in algebras:
        for dtype in computed(algebra) if algebra.vector_add else []:
            for case in PASSED:
                (B, N), n, t, terms, (lo, hi), kind = case
                if terms > 1 and algebra.ordered:
                    continue  # terms are added, which only rings have a use for
                random, cache = np.random.default_rng(seed + cases), CACHES[cases % 2]
                values = np.abs if algebra.least == 0 else np.asarray
                x, boundary = values(data(random, (B, N, 1, *n), dtype)), Boundary(kind)
                factors = [
                    [[values(data(random, (size,), dtype)) for size in t] for _ in range(max(terms, 1))]
                    for _ in range(B)
                ]
                if terms == 0:
                    one = algebra.one(np.dtype(dtype))
                    for rows in factors:
                        rows[0] = [np.full_like(r, one if a + 1 < len(t) else r[0]) for a, r in enumerate(rows[0])]

                def sources(axis: int, first: int, stop: int, b: Boundary = boundary, n: tuple = n) -> np.ndarray:
                    return b.sources(n[axis], -first, stop - n[axis])

                ones, m = (1,) * len(n), tuple(size + lo + hi - taps + 1 for size, taps in zip(n, t, strict=True))
                fills = (algebra.zero(np.dtype(dtype)),) * len(n)
                layout = Passes(
                    dtype, B, N, 1, 1, n, t, m, ones, ones, (lo,) * len(n), sources, fills, algebra, cache, max(terms, 1), not terms
                )  # fmt: skip
                layout.__dict__["_work"] = tool.passes(dtype, algebra)
                k = np.array([[np.concatenate(rows) for rows in terms_] for terms_ in factors], dtype)
                y = layout.correlate(x, k, 1 + cases % 2)
                for _ in range(4 * (terms > 1)):  # tiles overlap: threads must not see each other's unfinished sums
                    again = layout.correlate(x, k, 2)
                    assert np.array_equal(again, y), (
                        f"passes of {algebra.name} in {dtype}, {case}: two threads, other bits"
                    )
                wanted = passes_contract.passes(layout.extension.of(x), factors, m, algebra)
                top = max(1.0, max(float(np.abs(r).max()) for rows in factors for row in rows for r in row)) ** len(n)
                near = 0.0 if algebra.exact else 64 * ROUNDOFF[dtype] * math.prod(t) * float(np.abs(x).max() * top + 1)
                compare(y, wanted, near, f"passes of {algebra.name} in {dtype}, {case}")
                cases += 1
    return cases


def check_running(tool: Any, seed: int = 0) -> int:
    """The running sum in every dtype that the method of that name uses."""
    cases = 0
    for dtype, wide in (("float32", "float64"), ("float64", "float64"), ("int64", "int64")):
        kernel = tool.running(dtype, wide)
        for taps, outputs, width, restart in (
            (1, 5, 1, 4),
            (3, 40, 1, 8),
            (7, 33, 5, 8),
            (12, 100, 3, 512),
            (5, 1, 2, 8),
            (9, 64, 1, 64),
        ):
            random = np.random.default_rng(seed + cases)
            lines, n = 3, outputs + taps - 1
            x = data(random, (lines, n, width), dtype)
            y, sums, zero = np.empty((lines, outputs, width), dtype), np.empty(width, wide), np.zeros(1, wide)
            items = lines * -(-outputs // restart)
            at = [a.ctypes.data for a in (x, y, sums, zero)]
            kernel(*at, 0, items // 2, taps, n, outputs, width, restart)
            kernel(*at, items // 2, items, taps, n, outputs, width, restart)
            wanted = scan_contract.running(x.astype(wide), taps, outputs)
            near = (
                0.0
                if dtype == "int64"
                else 2 * ROUNDOFF[dtype] * taps * float(np.abs(x).max()) * (1 if dtype == "float32" else restart + taps)
            )
            compare(
                y,
                wanted,
                near,
                f"running sum in {dtype}, {taps} taps, {outputs} outputs, width {width}, restart {restart}",
            )
            cases += 1
    return cases


def check_fourier(tool: Any, seed: int = 0) -> int:
    """Transform, product and inverse together are the circular convolution."""
    cases = 0
    for dtype in ("float32", "float64", "complex64", "complex128"):
        for lengths, channels, tiles in (
            ((12,), (1, 1), ()),
            ((15,), (3, 2), (2,)),
            ((6, 10), (1, 3), ()),
            ((4, 5, 6), (2, 1), ()),
            ((8, 9), (2, 2), (2, 3)),
        ):
            random = np.random.default_rng(seed + cases)
            C, O = channels
            x = data(random, (2, 2, C, *tiles, *(n - 1 for n in lengths)), dtype)
            k = data(random, (2, O, C, *(min(3, n) for n in lengths)), dtype)
            mixed = tool.product(tool.spectrum(x, lengths), tool.spectrum(k, lengths), len(lengths))
            y = tool.signal(mixed, lengths, not dtype.startswith("complex"))
            wanted = np.zeros((2, 2, O, *tiles, *lengths), np.result_type(dtype, np.float64))
            inner = (slice(None), None, None, *[None] * len(tiles))
            for o, c in np.ndindex(O, C):
                wanted[:, :, o] += fourier_contract.circular(
                    x[:, :, c], k[:, o, c][(inner[0], None, *inner[3:])], lengths
                )
            assert y.dtype == dtype, f"Fourier kernels turn {dtype} into {y.dtype}"
            near = 64 * ROUNDOFF[dtype] * C * float(np.abs(k).sum() * np.abs(x).max())
            compare(
                y, wanted, near, f"Fourier product in {dtype}, lengths {lengths}, channels {channels}, tiles {tiles}"
            )
            cases += 1
    return cases


def check_rounded(tool: Any, seed: int = 0) -> int:
    """Rounding into small integers: halves, both ends of the range, NaN and infinity, on one thread and on two."""
    cases = 0
    random = np.random.default_rng(seed)
    for source in ("float32", "float64"):
        for target in ("uint8", "int8", "uint16", "int16"):
            info = np.iinfo(target)
            ends = [v + d for v in (info.min, info.max) for d in (-1.5, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 1e6)]
            special = [np.nan, np.inf, -np.inf, -0.0, 1e30, -1e30, *np.arange(-4.5, 5.0, 0.5), *ends]
            for size, threads in ((1, 1), (7, 1), (150_000, 1), (150_000, 2)):
                x = (random.standard_normal(size) * float(info.max)).astype(source)
                x[: len(special)] = special[:size]
                compare(
                    tool.rounded(x, target, threads),
                    convert_contract.rounded(x, target),
                    0.0,
                    f"{source} rounded to {target}, {size} values",
                )
                cases += 1
    return cases


CHECKS: dict[str, Callable[..., int]] = {
    "rows": check_rows,
    "blocks": check_blocks,
    "indirect": check_indirect,
    "field": check_field,
    "gather": check_gather,
    "pointwise": check_pointwise,
    "paired": check_paired,
    "selected": check_selected,
    "log-sums": check_log_sums,
    "united": check_united,
    "monotone": check_monotone,
    "semiring-product": check_semiring_product,
    "planes": check_planes,
    "mix": check_mix,
    "separable": check_separable,
    "inverted-block": check_inverted,
    "first-block": check_first,
    "turned": check_turned,
    "hadamard": check_hadamard,
    "zeta": check_zeta,
    "states": check_states,
    "ranks": check_ranks,
    "minimal": check_minimal,
    "passes": check_passes,
    "tiles": check_tiles,
    "running": check_running,
    "envelope": check_envelope,
    "scanned": check_scanned,
    "found": check_found,
    "weighed": check_weighed,
    "enlarged": check_enlarged,
    "wavefront": check_wavefront,
    "scattered": check_scattered,
    "placed": check_placed,
    "delayed": check_delayed,
    "orbit": check_orbit,
    "delay-line": check_delay_line,
    "negacyclic": check_negacyclic,
    "rounded": check_rounded,
    "fourier": check_fourier,
    "monarch": check_monarch,
    "ntt": check_ntt,
    "modular": check_modular,
    **TRITON_CHECKS,
}
