"""Kernels for channels innermost against their contracts: the indirect product and the transposition."""

from typing import Any

import numpy as np

from faltung.algebras import Algebra
from faltung.kernels.indirect import contract as indirect_contract
from faltung.kernels.indirect.layout import Indirect
from faltung.kernels.mix import contract as mix_contract
from faltung.kernels.pointwise import contract as pointwise_contract
from faltung.kernels.separable import contract as separable_contract
from faltung.kernels.turn import contract as turn_contract
from faltung.kernels.winograd import contract as winograd_contract
from faltung.kernels.winograd.layout import Minimal
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import CACHES, TILED, TYPICAL, compare, computed, data, tiled

# More outputs and channels than the tiled kernels' cases have: whole blocks and ragged ones, rows of taps read in one and not.
WIDE = (
    ((1, 2, 5, 32), (9, 10), (3, 3), (1, 1), (1, 1), (1, 1), "constant"),
    ((1, 3, 20, 48), (7, 7), (3, 3), (1, 1), (1, 1), (1, 1), "reflect"),
    ((2, 1, 17, 70), (8, 9), (3, 2), (2, 1), (1, 2), (2, 0), "wrap"),
    ((3, 2, 3, 16), (12,), (5,), (2,), (1,), (-1, 3), "edge"),
    ((1, 2, 2, 33), (5, 6, 7), (2, 3, 2), (1, 2, 1), (2, 1, 1), (1, 2), "symmetric"),
)


def check_indirect(tool: Any, seed: int = 0, algebras: tuple[Algebra, ...] = TYPICAL) -> int:
    """The kernel for channels innermost of every algebra that has vectors, on signals and filters in either memory order."""
    cases = 0
    for algebra in algebras:
        for dtype in computed(algebra) if algebra.vector_add else []:
            for case in (*TILED, *WIDE):
                random, cache = np.random.default_rng(seed + cases), CACHES[cases % 2]
                (B, N, C, O), k, x, common, extended = tiled(random, case, dtype, flat=False)
                common["fills"] = (algebra.zero(np.dtype(dtype)),) * len(common["n"])
                layout = Indirect(dtype, B, N, C, O, **common, algebra=algebra, cache=cache)
                layout.__dict__["_run"] = tool.indirect(dtype, algebra, *layout.shape)
                if cases % 3 == 1:  # channels innermost already
                    x = np.moveaxis(
                        np.ascontiguousarray(np.moveaxis(x, (1, 0, 2), (0, -2, -1))), (0, -2, -1), (1, 0, 2)
                    )
                    k = np.moveaxis(np.ascontiguousarray(np.moveaxis(k, 2, -1)), -1, 2)
                y = layout.correlate(x, layout.packed(k, 1 + cases % 2), 1 + cases % 2)
                first = np.moveaxis(extended(layout.extension), (1, 0, 2), (0, -2, -1))
                wanted = indirect_contract.indirect(first, k, layout.m, layout.stride, layout.dilation, algebra)
                taps = C * k[0, 0, 0].size
                near = (
                    0.0 if algebra.exact else 8 * ROUNDOFF[dtype] * taps * float(np.abs(x).max() * np.abs(k).max() + 1)
                )
                compare(
                    np.moveaxis(y, (1, 0, 2), (0, -2, -1)),
                    wanted,
                    near,
                    f"indirect of {algebra.name} in {dtype}, {case}",
                )
                cases += 1
    return cases


# (B, N, C, O), signal, taps, results of a tile, pads before and behind, boundary.
MINIMAL = (
    ((1, 2, 5, 32), (9, 10), (3, 3), (4, 4), (1, 1), "constant"),
    ((1, 1, 33, 40), (17, 12), (3, 3), (4, 4), (1, 1), "reflect"),
    ((1, 1, 70, 40), (5, 6), (3, 3), (4, 4), (1, 1), "reflect"),
    ((2, 3, 16, 7), (8, 9), (3, 2), (4, 4), (2, 0), "wrap"),
    ((1, 2, 20, 20), (21,), (5,), (4,), (-1, 3), "edge"),
    ((1, 1, 3, 33), (6, 7, 8), (2, 3, 1), (2, 2, 1), (1, 1), "symmetric"),
    ((1, 1, 18, 18), (6, 5, 7), (3, 3, 3), (2, 2, 2), (1, 1), "constant"),
)


def check_minimal(tool: Any, seed: int = 0) -> int:
    """Winograd tiles and filters together, on signals in either memory order, for two sizes of the cache."""
    cases = 0
    for dtype in ("float32", "float64"):
        for case in MINIMAL:
            for cache in CACHES:
                random = np.random.default_rng(seed + cases)
                sizes, n, t, outputs, pads, kind = case
                ones = (1,) * len(n)
                (B, N, C, O), k, x, common, _ = tiled(random, (sizes, n, t, ones, ones, pads, kind), dtype, flat=False)
                layout = Minimal(dtype, B, N, C, O, **common, outputs=outputs, cache=cache)
                layout.__dict__["_run"] = tool.minimal(dtype, layout.shape)
                layout.__dict__["_filters"] = tool.filters(dtype, layout.shape)
                if cases % 3 == 1:
                    x = np.moveaxis(
                        np.ascontiguousarray(np.moveaxis(x, (1, 0, 2), (0, -2, -1))), (0, -2, -1), (1, 0, 2)
                    )
                    k = np.moveaxis(np.ascontiguousarray(np.moveaxis(k, 2, -1)), -1, 2)
                y = layout.correlate(x, layout.packed(k, 2), 1 + cases % 2)
                reach = layout.extension.of(x)[
                    (..., *(slice(m + size - 1) for m, size in zip(layout.m, t, strict=True)))
                ]
                wanted = winograd_contract.minimal(np.moveaxis(reach, (1, 0, 2), (0, -2, -1)), k, layout.m)
                near = 256 * ROUNDOFF[dtype] * float(np.abs(k).sum(axis=(2, *range(3, k.ndim))).max() * np.abs(x).max())
                compare(np.moveaxis(y, (1, 0, 2), (0, -2, -1)), wanted, near, f"minimal in {dtype}, {case}")
                cases += 1
    return cases


def check_pointwise(tool: Any, seed: int = 0, algebras: tuple[Algebra, ...] = TYPICAL) -> int:
    """Sums over channels: whole panels and ragged ones, whole blocks of outputs and ragged ones."""
    cases = 0
    for algebra in algebras:
        for dtype in computed(algebra) if algebra.vector_add else []:
            for B, N, C, O, P in (
                (1, 1, 1, 1, 1),
                (1, 2, 7, 12, 64),
                (2, 3, 16, 13, 33),
                (3, 1, 5, 30, 31),
                (1, 1, 70, 5, 300),
            ):
                random = np.random.default_rng(seed + cases)
                x, k = data(random, (B, N, C, P), dtype), data(random, (B, O, C), dtype)
                wanted = pointwise_contract.pointwise(x, k, algebra)
                near = 0.0 if algebra.exact else 8 * ROUNDOFF[dtype] * C * float(np.abs(x).max() * np.abs(k).max() + 1)
                y = tool.pointwise(x, k, algebra, 1 + cases % 2)
                compare(y, wanted, near, f"pointwise of {algebra.name} in {dtype}, {(B, N, C, O, P)}")
                cases += 1
    return cases


def check_mix(tool: Any, seed: int = 0) -> int:
    """Sums over named channels: whole panels and ragged ones, odd numbers of outputs, channels named twice or never."""
    cases = 0
    for dtype in ("float32", "float64"):
        for N, C, O, J, P in (
            (1, 1, 1, 1, 1), (2, 5, 4, 3, 64), (3, 7, 9, 2, 33), (1, 30, 5, 30, 200), (2, 3, 40, 5, 63), (1, 64, 64, 9, 129),
            (2, 4, 3, 1, 31), (1, 6, 7, 4, 128), (4, 2, 2, 2, 5),
        ):  # fmt: skip
            random = np.random.default_rng(seed + cases)
            x, k = data(random, (N, C, P), dtype), data(random, (O, J), dtype)
            index = random.integers(0, C, (O, J))
            near = 8 * ROUNDOFF[dtype] * J * float(np.abs(x).max() * np.abs(k).max() + 1)
            wanted = mix_contract.mix(x, k, index)
            compare(tool.mix(x, k, index, 1 + cases % 2), wanted, near, f"mix in {dtype}, {(N, C, O, J, P)}")
            cases += 1
    return cases


def check_separable(tool: Any, seed: int = 0) -> int:
    """Filters in space with a mix behind: runs that end within a row and rows longer than a run, wide margins, more filters."""
    cases = 0
    for dtype in ("float32", "float64"):
        for (N, C, m, O), size, taps, pads in (
            ((1, 1, 1, 1), (1, 1), (1, 1), ((0, 0), (0, 0))),
            ((2, 5, 1, 13), (9, 10), (3, 3), ((1, 1), (1, 1))),
            ((1, 7, 2, 30), (28, 28), (3, 3), ((1, 1), (1, 1))),
            ((3, 4, 3, 12), (1, 70), (1, 5), ((0, 0), (2, 2))),
            ((1, 3, 1, 25), (6, 200), (3, 4), ((0, 2), (3, 0))),
            ((2, 2, 2, 5), (4, 3), (5, 7), ((3, 4), (5, 6))),
            ((1, 70, 1, 3), (7, 7), (2, 2), ((0, 0), (0, 0))),
            ((1, 2, 1, 14), (40, 2), (4, 1), ((1, 5), (1, 0))),
            ((2, 3, 1, 4), (3, 3), (3, 3), ((0, 0), (0, 0))),
        ):
            random = np.random.default_rng(seed + cases)
            x, d, k = (data(random, s, dtype) for s in ((N, C, *size), (C * m, *taps), (O, C * m)))
            wanted = separable_contract.separable(x, d, k, pads)
            largest = float(np.abs(x).max() * np.abs(d).max() * np.abs(k).max() + 1)
            near = 8 * ROUNDOFF[dtype] * C * m * taps[0] * taps[1] * largest
            compare(
                tool.separable(x, d, k, pads, 1 + cases % 2),
                wanted,
                near,
                f"separable in {dtype}, {(N, C, m, O)}, {size}",
            )
            cases += 1
    return cases


def check_turned(tool: Any, seed: int = 0) -> int:
    """Transpositions of every width of value: whole squares, ragged edges, outer axes, strided rows."""
    cases = 0
    for dtype in ("uint8", "float16", "float32", "float64"):
        for shape in ((1, 1, 1), (2, 16, 16), (3, 37, 21), (1, 200, 3), (2, 3, 200), (1, 130, 129)):
            random = np.random.default_rng(seed + cases)
            x = (random.standard_normal((shape[0], shape[1], shape[2] + 5)) * 50).astype(dtype)[:, :, : shape[2]]
            compare(tool.turned(x, 1 + cases % 2), turn_contract.turned(x), 0.0, f"{shape} {dtype} turned")
            cases += 1
            for order in ((0, 2, 3, 1), (0, 3, 1, 2), (2, 0, 1, 3), (0, 1, 2, 3)):
                y = data(random, (shape[0], 5, *shape[1:]), "float64").astype(dtype).transpose(order)
                came = tool.contiguous(np.concatenate([y] * 40, axis=order.index(1)) if shape[1] == 37 else y, 2)
                assert came.flags.c_contiguous, f"{shape} in order {order} is not contiguous"
                wanted = np.concatenate([y] * 40, axis=order.index(1)) if shape[1] == 37 else y
                compare(came, np.ascontiguousarray(wanted), 0.0, f"{shape} {dtype} in order {order}")
                cases += 1
    return cases
