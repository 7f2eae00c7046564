"""Cases for the scattering kernel: planes and lines, odd factors, lanes that do not fill up, scales without seconds."""

from typing import Any

import numpy as np

from faltung.kernels.scattering import contract
from faltung.kernels.scattering.layout import Scale
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import compare, data

# Size of the spectra, grid of the first moduli, grids of the seconds; signals, first wavelets, second ones of each scale.
CASES = (
    ((20, 40), (20, 40), ((10, 20), (5, 10)), 3, 8, (2, 3)),
    ((1, 96), (1, 48), ((1, 24), (1, 12)), 1, 1, (1, 4)),
    ((36, 28), (18, 14), ((9, 7),), 2, 5, (3,)),
    ((30, 44), (30, 44), ((15, 11),), 17, 1, (2,)),
    ((1, 63), (1, 63), ((1, 21),), 4, 3, (1,)),
    ((12, 34), (12, 34), (), 2, 2, ()),
    ((1, 128), (1, 32), ((1, 2), (1, 1)), 5, 7, (1, 1)),
    ((50, 16), (25, 8), ((5, 8),), 4, 4, (5,)),
    ((24, 1), (24, 1), ((12, 1),), 1, 16, (2,)),
)


def check_scattered(tool: Any, seed: int = 0) -> int:
    """Features of both orders, in both dtypes, on one thread and on two.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for dtype in ("float32", "float64"):
        for size, grid, grids, samples, waves, counts in CASES:
            random = np.random.default_rng(seed + cases)
            spectra = np.fft.fft2(data(random, (samples, *size), dtype))
            first = random.standard_normal((waves, *size))
            seconds = [(g, random.standard_normal((count, *grid))) for g, count in zip(grids, counts, strict=True)]
            m = (1 if size[0] == 1 else 3, 19)  # more than a vector of results
            lines = {
                g: (random.standard_normal((m[0], g[0])), random.standard_normal((m[1], g[1]))) for g in (grid, *grids)
            }
            one, two = contract.scattered(spectra, first, grid, seconds, lines)
            paths = random.permutation(waves * (1 + sum(counts)))
            scale = Scale(
                np.dtype(dtype),
                size,
                first,
                grid,
                seconds,
                lines,
                paths[:waves],
                paths[waves:].reshape(waves, -1),
                tool,
            )
            wanted = np.empty((samples, len(paths), *m))
            wanted[:, paths[:waves]] = one
            wanted[:, paths[waves:]] = two.reshape(samples, -1, *m)
            y = np.full(wanted.shape, np.nan, dtype)
            scale.run(np.stack([spectra.real, spectra.imag], 1).astype(dtype), y, 1 + cases % 2)
            near = 64 * ROUNDOFF[dtype] * float(np.abs(wanted).max())
            compare(y, wanted, near, f"scattered, {size} to {grid} and {grids}, {dtype}")
            cases += 1
    return cases
