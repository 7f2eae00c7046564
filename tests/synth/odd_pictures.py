"""Pictures whose Fourier transforms vanish somewhere or everywhere: there a phase is that of rounding."""

import numpy as np

KINDS = ["flat", "nothing", "stripes", "even", "noise", "one"]


def odd_picture(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A batch (b, c, *n) in [0, 1), float64: one value, zeros, equal rows, mirror symmetry, noise, one point at the origin."""
    x = rng.random(shape)
    if kind == "flat":
        x[:] = rng.random() + 0.01
    elif kind == "nothing":
        x[:] = 0
    elif kind == "stripes":
        x[:] = x[:, :, :1]
    elif kind == "even":
        x = x + x[..., ::-1]
    elif kind == "one":
        x[:] = 0
        x[(..., *(0,) * (x.ndim - 2))] = 1
    return x
