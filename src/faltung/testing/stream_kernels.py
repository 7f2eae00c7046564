"""The frequency-domain delay line and transforms by matrix products against their contracts."""

from typing import Any

import numpy as np

from faltung.kernels.delay_line import contract
from faltung.kernels.monarch import contract as monarch_contract
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import compare


def check_delay_line(tool: Any, seed: int = 0) -> int:
    """One block and many, one channel and several, lines that start in the middle, filters shared by samples and not."""
    cases = 0
    for dtype in ("float32", "float64"):
        for B, N, C, O, P, S, start, count, bins in (
            (1, 1, 1, 1, 1, 1, 0, 1, 1),
            (1, 1, 1, 1, 3, 9, 2, 1, 5),
            (1, 1, 1, 1, 5, 30, 20, 7, 33),
            (1, 3, 1, 2, 4, 8, 3, 5, 17),
            (2, 2, 3, 2, 2, 5, 1, 3, 65),
            (3, 1, 2, 1, 7, 12, 8, 2, 40),
            (2, 1, 1, 3, 1, 4, 0, 4, 16),
            (1, 2, 5, 4, 6, 11, 5, 6, 9),
            (1, 1, 1, 1, 40, 60, 50, 3, 129),
            (1, 2, 1, 1, 6, 4, -3, 14, 20),
            (2, 1, 2, 2, 3, 5, 1, 9, 33),
        ):
            random, W = np.random.default_rng(seed + cases), tool.strip(dtype)
            G = -(-bins // W)
            x, h = (
                random.standard_normal(shape).astype(dtype) for shape in ((B, N, C, G, S, 2, W), (B, O, C, G, P, 2, W))
            )  # fmt: skip
            wanted = contract.delay_line(x, h, start, count)
            near = 8 * ROUNDOFF[dtype] * C * P * 2 * float(np.abs(x).max() * np.abs(h).max())
            y = tool.delay_line(x, h, start, count, 1 + cases % 2)
            compare(y, wanted, near, f"delay line in {dtype}, {(B, N, C, O, P, S, start, count, bins)}")
            cases += 1
    return cases


def check_monarch(tool: Any, seed: int = 0) -> int:
    """Both ways, primes among the factors, signals shorter than the length, some of the digits only."""
    cases = 0
    for dtype in ("complex64", "complex128"):
        for factors in ((4, 4), (5, 3), (2, 7, 3), (3, 4, 2, 5), (8,), (13, 2), (2, 2, 2, 2)):
            random, N = np.random.default_rng(seed + cases), int(np.prod(factors))
            near = 16 * ROUNDOFF[dtype] * N
            with_, keep = tool.tables(factors, dtype), tuple(np.arange(0, f, 1 + cases % 2) for f in factors)
            places = np.arange(N).reshape(factors)[np.ix_(*keep)].ravel()
            for n in (N, N - N // 3):
                x, where = (random.standard_normal((2, 3, n, 2)) @ [1, 1j]).astype(dtype), f"{factors}, {n}, {dtype}"
                wanted = monarch_contract.forward(x, factors)
                compare(tool.forward(x, with_), wanted, near * float(np.abs(x).max()), f"monarch {where}")
                some = tool.sparse(with_, keep)
                compare(tool.forward(x, some), wanted[..., places], near * float(np.abs(x).max()), f"digits of {where}")
                spectrum = np.zeros((2, 3, N), dtype)
                spectrum[..., places] = (random.standard_normal((2, 3, len(places), 2)) @ [1, 1j]).astype(dtype)
                wanted = monarch_contract.backward(spectrum, factors)[..., :n]
                top = near * float(np.abs(spectrum).max())
                compare(tool.backward(spectrum, with_, n), wanted, top, f"monarch back {where}")
                compare(tool.backward(spectrum[..., places], some, n), wanted, top, f"digits back {where}")
                cases += 1
    return cases
