"""Cases of the chaos game's kernel: contracting, expanding and degenerate maps, one to seven of them, no point and many."""

from typing import Any

import numpy as np

from faltung.kernels.orbit import contract


def check_orbit(tool: Any, seed: int = 0) -> int:
    """Every point of every orbit, bit for bit; expanding maps run into infinity and NaN together with the reference.

    Raises:
        AssertionError: with the case.
    """
    cases = 0
    for n in (1, 2, 4, 7):
        for count in (0, 1, 777):
            for scale in (0.4, 1.0, 3.0):
                random = np.random.default_rng(seed + cases)
                maps = random.uniform(-scale, scale, (n, 2, 3))
                upto = np.cumsum(np.full(n, 1 / n))
                draws, start = random.random(count), random.standard_normal(2)
                if count:
                    draws[0] = upto[0] if n > 1 else 0.0  # a tie: the next map's
                with np.errstate(all="ignore"):
                    wanted = contract.orbit(maps, upto, draws, start)
                came = tool.orbit(maps, upto, draws, start)
                assert came.shape == wanted.shape, f"{n} maps, {count} points: {came.shape}"
                assert np.array_equal(came, wanted, equal_nan=True), f"{n} maps within ±{scale}, {count} points"
                cases += 1
    return cases
