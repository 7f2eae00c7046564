"""What the zeta kernel computes, in NumPy: the reference that every tool's version equals."""

import numpy as np

JOIN = {"add": np.add, "sub": np.subtract, "max": np.maximum, "min": np.minimum}


def zeta(x: np.ndarray, axis: int = -1, order: str = "subset", operation: str = "add") -> np.ndarray:
    """Every place joined with its subsets, or its supersets; places are sets, bit i of the place says whether i is in.

    Formula: subset `y[S] = ⊕ over T ⊆ S of x[T]`, superset `y[S] = ⊕ over T ⊇ S of x[T]`, ⊕ among add, max and min.
        The operation `sub` is the inverse of add (Möbius): `y[S] = Σ (-1)^|S \\ T| x[T]` over the same sets.

    Shapes: any; the axis holds n = 2^m places. Integers wrap.
    """
    y = np.moveaxis(x, axis, -1)
    shape, h = y.shape, 1
    while h < shape[-1]:
        pairs = y.reshape(*shape[:-1], shape[-1] // (2 * h), 2, h)
        a, b = pairs[..., 0, :], pairs[..., 1, :]
        a, b = (a, JOIN[operation](b, a)) if order == "subset" else (JOIN[operation](a, b), b)
        y = np.stack((a, b), axis=-2).reshape(shape)
        h *= 2
    return np.moveaxis(y, -1, axis).copy()
