"""Cases for the automaton kernels: tables with unknown moves, all flags, both directions; weights of words over every algebra."""

from itertools import pairwise
from typing import Any

import numpy as np

from faltung.algebras import ALL, Algebra, modular
from faltung.kernels.automaton import contract
from faltung.kernels.automaton.contract import ACCEPT, LOOP, SINK
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import compare


def check_scanned(tool: Any, seed: int = 0) -> int:
    """The scanning loop for all symbols, labels and directions.

    Raises:
        AssertionError: with the case that differs.
    """
    cases = 0
    for symbol, label, step in ((s, c, d) for s in ("uint8", "uint32") for c in ("uint8", "int32") for d in (1, -1)):
        scan = tool.scan(symbol, label)
        for states, letters, unknown, until in (
            (1, 1, 0.0, SINK),
            (3, 2, 0.0, SINK),
            (5, 4, 0.02, SINK),
            (4, 3, 0.0, SINK | ACCEPT),
        ):
            random = np.random.default_rng(seed + cases)
            classes = random.integers(0, letters, 256).astype(label)
            x = random.integers(0, 256, 200).astype(symbol)
            table = random.integers(0, states, (states, letters + 1)) * (letters + 1)
            table[random.random(table.shape) < unknown] = -1
            table[:, 0] = random.choice([0, 0, ACCEPT, LOOP, LOOP | ACCEPT], states)
            table = table.astype(np.int32)
            for start in (0, states - 1):
                at = np.array([start * (letters + 1), 0, -1], np.int64)
                a, b = (0, 150) if step > 0 else (180, 30)
                shift = 0 if step > 0 else x.itemsize  # a place lies before the symbol of its number
                scan(x.ctypes.data - shift, classes.ctypes.data, table.ctypes.data, at.ctypes.data, a, b, step, until)
                y = x if step > 0 else np.roll(x, 1)
                wanted = contract.scan(y, classes, table.ravel(), start * (letters + 1), a, b, step, until)
                assert tuple(at.tolist()) == wanted, (
                    f"scan of {symbol} with {label}, step {step}: {at} instead of {wanted}"
                )
                cases += 1
    return cases


def check_weighed(tool: Any, seed: int = 0, algebras: tuple[Algebra, ...] = (*ALL, modular(97))) -> int:
    """Weights of words over every algebra with scalar operations in a wide type."""
    cases = 0
    for algebra in algebras:
        for dtype in ("float64", "int64", "complex128"):
            if not (algebra.scalar_add and algebra.scalar_mul) or dtype not in {
                algebra.compute(t, t) for t in algebra.dtypes
            }:
                continue
            for symbol, states in (("uint8", 1), ("uint32", 7)):
                _weighed(np.random.default_rng(seed + cases), tool, algebra, dtype, symbol, states)
                cases += 1
    return cases


def _weighed(random: np.random.Generator, tool: Any, algebra: Algebra, dtype: str, symbol: str, states: int) -> None:
    letters = 3
    classes = random.integers(0, letters, 256).astype("uint8")
    reads = random.random((letters, states)) < 0.7
    zero = np.array([algebra.zero(np.dtype(dtype))], dtype)

    def weights(*shape: int) -> np.ndarray:
        drawn = random.integers(0, 4, shape) if dtype == "int64" else random.random(shape)
        return np.where(random.random(shape) < 0.3, zero[0], drawn.astype(dtype))

    follow, first, last = weights(states, states), weights(states), weights(states)
    bounds = np.cumsum([0, 1, 2, 5, 9])
    x = random.integers(0, 256, bounds[-1]).astype(symbol)
    moves = [[(i, follow[i, j]) for i in range(states) if follow[i, j] != zero[0]] for j in range(states)]
    reads_at = np.cumsum([0, *reads.sum(axis=1)])
    into_at = np.cumsum([0, *map(len, moves)])
    into = np.array([i for row in moves for i, _ in row], np.int64)
    weight = np.array([w for row in moves for _, w in row], dtype)
    v, y, out, peak = np.full(states, zero[0], dtype), np.empty(states, dtype), np.empty(4, dtype), np.zeros(1, dtype)
    arrays = (
        x,
        classes,
        bounds,
        reads_at,
        np.ascontiguousarray(np.nonzero(reads)[1]),
        into_at,
        into,
        weight,
        first,
        last,
        zero,
        v,
        y,
        out,
        peak,
    )
    kernel = tool.weighed(symbol, "uint8", algebra, dtype)
    kernel(*(a.ctypes.data for a in arrays), 0, 2)
    kernel(*(a.ctypes.data for a in arrays), 2, 4)
    wanted = np.array([
        contract.weighed(x[a:b], classes, reads, follow, first, last, algebra)
        for a, b in pairwise(bounds)
    ], dtype)  # fmt: skip
    finite = wanted[np.isfinite(wanted)]
    near = 0.0 if dtype == "int64" else 64 * ROUNDOFF[dtype] * (1 + float(np.abs(finite).max(initial=0)))
    compare(out, wanted, near, f"weights over {algebra.name} in {dtype}, {states} states, {symbol}")
