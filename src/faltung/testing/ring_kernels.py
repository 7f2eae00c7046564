"""Negacyclic convolutions and their derivatives against their contracts."""

from typing import Any

import numpy as np

from faltung.kernels.native import lanes
from faltung.kernels.negacyclic import contract
from faltung.kernels.negacyclic.frame import Frame, frame_points, least_points
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import compare

# (B, N, C, O), signal, taps, results, first, points of a tile (0: one tile holds all)
CONVOLUTIONS = (
    ((1, 1, 1, 1), 1, 1, 1, 0, 0),
    ((2, 3, 1, 1), 300, 300, 300, 0, 0),
    ((1, 2, 3, 2), 1000, 200, 1100, 50, 0),
    ((2, 2, 2, 1), 1000, 100, 1099, 0, 256),
    ((1, 1, 1, 3), 700, 900, 500, -30, 0),
    ((1, 1, 1, 1), 3000, 30, 2990, 17, 256),
    ((1, 2, 1, 1), 1501, 1501, 1501, 750, 0),
    ((3, 1, 1, 1), 5000, 400, 4601, 399, 384),
    ((1, 1, 1, 1), 900, 5, 300, 700, 0),
)
GRADIENTS = (
    ((2, 3), 300, 300, 300, 0),
    ((1, 2), 1000, 1000, 1000, 500),
    ((3, 1), 700, 300, 1000, -5),
    ((2, 2), 1025, 33, 1057, 0),
    ((1, 1), 40, 7, 34, 6),
)


def check_negacyclic(tool: Any, seed: int = 0) -> int:
    """One tile and several, both halves of the frame, signals that begin late, sums over channels, every choice of derivatives."""
    cases = 0
    for dtype in ("float32", "float64"):
        random = np.random.default_rng(seed)
        for (B, N, C, O), n, reach, m, first, points in CONVOLUTIONS:
            least = points or least_points(n, reach, m, first)
            frame = Frame(dtype, B, N, C, O, n, reach, m, first, frame_points(least, lanes(dtype)))
            x, a = (random.standard_normal((B, N, C, n)).astype(dtype) for _ in "xa")
            h, b = (
                random.standard_normal((B, O, C, reach)).astype(dtype),
                random.standard_normal((B, N, O, m)).astype(dtype),
            )
            y, spectra = np.full((B, N, O, m), np.nan, dtype), frame.spectra(h, 1)
            near = 64 * ROUNDOFF[dtype] * C * float(np.abs(x).max() * np.abs(h).sum(-1).max())
            where = f"{dtype}, {(B, N, C, O)}, {n} with {reach} into {m} from {first} on, {frame.tiles} tiles"
            frame.convolve(x, spectra, y, 1 + cases % 2)
            compare(y, contract.convolve(x, h, m, first), near, f"negacyclic {where}")
            frame.convolve(x, spectra, y, 1, a, b)
            near *= float(np.abs(a).max() * np.abs(b).max())
            compare(y, b * contract.convolve(x * a, h, m, first), near, f"negacyclic with gates {where}")
            cases += 1
        for (B, N), n, reach, m, first in GRADIENTS:
            frame = Frame(
                dtype, B, N, 1, 1, n, reach, m, first, frame_points(least_points(n, reach, m, first), lanes(dtype))
            )
            x, a = (random.standard_normal((B, N, 1, n)).astype(dtype) for _ in "xa")
            g, b = (random.standard_normal((B, N, 1, m)).astype(dtype) for _ in "gb")
            h = random.standard_normal((B, reach)).astype(dtype)
            known = {"x": x[:, :, 0], "h": h, "g": g[:, :, 0]}
            spectra = frame.spectra(h[:, None, None], 1)
            for gates, wants in ((3, 15), (0, 3), (1, 5), (2, 8), (0, 2), (0, 1), (2, 11), (3, 7)):
                mine = a if gates & 1 else None, b if gates & 2 else None
                ones = (np.ones_like(t) if gate is None else gate for t, gate in zip((x, g), mine, strict=True))
                wanted = contract.gradients(**known, a=(one := [t[:, :, 0] for t in ones])[0], b=one[1], first=first)
                places = [
                    np.full_like(like, np.nan) if wants >> bit & 1 else None for bit, like in enumerate((x, h, x, g))
                ]
                frame.gradients(x, spectra, g, *mine, *places, 1 + cases % 2)
                for place, values in zip(places, wanted, strict=True):
                    if place is not None:
                        top = 256 * ROUNDOFF[dtype] * float(np.abs(values).max() + 1.0) * (1.0 + np.log2(n))
                        compare(
                            place.reshape(values.shape), values, top, f"derivatives {gates}, {wants} of {(B, N)}, {n}"
                        )
            cases += 1
    return cases
