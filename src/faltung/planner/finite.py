"""Whether a result is finite, found out in one pass over it."""

import numpy as np

from faltung.kernels.threads import spread

PIECE = 1 << 16


def finite(values: np.ndarray, threads: int) -> bool:
    """Whether all values are finite; sums of pieces are looked at, which a NaN or infinity never leaves."""
    if not isinstance(values, np.ndarray):
        return bool(values.isfinite().all())
    flat = values.ravel("K")  # in memory's order: no copy where axes have changed places
    flat = flat.view(f"f{flat.dtype.itemsize // 2}") if flat.dtype.kind == "c" else flat
    bad: list[bool] = []

    def task(first: int, last: int) -> None:
        for start in range(first, last):
            piece = flat[start * PIECE : (start + 1) * PIECE]
            # A finite sum proves finite values at the price of one pass; an infinite one may be mere overflow.
            if not np.isfinite(piece.sum()) and not np.isfinite(piece).all():
                bad.append(True)

    spread(task, -(-flat.size // PIECE), threads, 8)
    return not bad
