"""Cases for the automaton kernels: tables with unknown moves, all flags, both directions; weights of words over every algebra."""

import itertools
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
                special = (149, 40, -2)[cases % 3]
                scan(*(v.ctypes.data for v in (x, classes, table, at)), a, b, step, until, special, letters - 1)
                labels = classes[x].astype(np.int64)
                if special >= 0:
                    labels[special] = letters - 1
                wanted = contract.scan(labels, table.ravel(), start * (letters + 1), a, b, step, until)
                assert tuple(at.tolist()) == wanted, (
                    f"scan of {symbol} with {label}, step {step}: {at} instead of {wanted}"
                )
                cases += 1
    return cases


def check_found(tool: Any, seed: int = 0) -> int:
    """All matches at once, with tables that are whole and tables that are filled as the kernel asks.

    Raises:
        AssertionError: with the case that differs.
    """
    cases = 0
    for symbol, label, late, holes in itertools.product(("uint8", "uint32"), ("uint8", "int32"), (0, 1), (False, True)):
        find = tool.find(symbol, label)
        for states, letters in ((2, 2), (4, 3), (6, 5)):
            random = np.random.default_rng(seed + cases)
            classes = random.integers(0, letters, 256).astype(label)
            x, n = random.integers(0, 256, 120).astype(symbol), 120
            edge, stride = letters, letters + 2
            tables, firsts = [], []
            for backward in (0, 1):
                table = (random.integers(0, states, (states, stride)) * stride).astype(np.int32)
                table[:, 0] = random.choice([0, 0, ACCEPT, SINK, SINK | ACCEPT, LOOP, LOOP | ACCEPT], states)
                if backward:  # every end has a start
                    table[:, 0] |= ACCEPT
                tables.append(table)
                firsts.append((random.integers(0, states, letters + 1) * stride).astype(np.int32))
            special = n - 1 if cases % 2 else -2
            labels = classes[x].astype(np.int64)
            if special >= 0:
                labels[special] = letters - 1
            wanted = contract.find(
                labels, tables[0].ravel(), tables[1].ravel(), (firsts[0], firsts[1]), edge, bool(late)
            )
            have = [np.full_like(t, -1) if holes else t.copy() for t in (*tables, *firsts)]
            for mine, whole in zip(have[:2], tables, strict=True):
                mine[:, 0] = whole[:, 0]
            at, spans, came = np.zeros(8, np.int64), np.empty(14, np.int64), list[tuple[int, int]]()
            while True:
                arrays = (x, classes, *have, at, spans)
                find(*(a.ctypes.data for a in arrays), n, special, letters - 1, edge, late, 7)
                phase, state, asked = int(at[0]), int(at[1]), int(at[6])
                if asked >= 0:
                    which = phase // 2
                    if phase % 2:
                        have[which].flat[state + 1 + asked] = tables[which].flat[state + 1 + asked]
                    else:
                        have[2 + which][asked] = firsts[which][asked]
                    continue
                came += [tuple(pair) for pair in spans[: 2 * int(at[5])].reshape(-1, 2).tolist()]
                at[5] = 0
                if at[4] > n:
                    break
            assert came == wanted, (
                f"find in {symbol} with {label}, late {late}, holes {holes}: {came} instead of {wanted}"
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
