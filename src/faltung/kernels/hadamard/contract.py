"""What the Hadamard kernel computes, in NumPy: the reference that every tool's version equals."""

import numpy as np


def hadamard(x: np.ndarray, axis: int = -1, scale: float = 1.0) -> np.ndarray:
    """The Walsh–Hadamard transform in natural order: `y[w] = scale · Σ_u (-1)^(number of ones in u & w) x[u]` along the axis.

    Shapes: any; the axis holds n = 2^m places. Integers wrap modulo 2 to the power of their bits, and have no scale.
    """
    y = np.moveaxis(x, axis, -1)
    shape, h = y.shape, 1
    while h < shape[-1]:
        pairs = y.reshape(*shape[:-1], shape[-1] // (2 * h), 2, h)
        a, b = pairs[..., 0, :], pairs[..., 1, :]
        y = np.stack((a + b, a - b), axis=-2).reshape(shape)
        h *= 2
    y = np.moveaxis(y, -1, axis)
    return y.copy() if scale == 1.0 else y * y.real.dtype.type(scale)
