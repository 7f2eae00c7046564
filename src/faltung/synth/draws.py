"""Where random numbers come from: a seed or a generator of the caller's, never a global one."""

import numpy as np

from faltung.errors import ArgumentError

Source = int | np.random.Generator


def random(rng: Source, who: str) -> np.random.Generator:
    """The generator itself, or one made from a seed."""
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and rng >= 0:
        return np.random.default_rng(int(rng))
    raise ArgumentError.of(
        who,
        "a seed (an integer, at least 0) or a numpy.random.Generator",
        repr(rng),
        "say rng=0 for results that repeat",
    )
