"""What the suites of compiled kernels share: cases, random values, the comparison."""

import numpy as np

from faltung.algebras import ALL, Algebra
from faltung.domains import Boundary
from faltung.methods.method import ROUNDOFF

# What kernels in vectors are held against: max-min and min-max have the operations of max-plus and min-plus on vectors.
TYPICAL = tuple(algebra for algebra in ALL if algebra.name not in ("max-min", "min-max"))


def computed(algebra: Algebra) -> list[str]:
    """The dtypes of an algebra's arithmetic."""
    return sorted({dtype for x in algebra.dtypes for k in algebra.dtypes if (dtype := algebra.compute(x, k))})


# (B, N, C, O), signal, taps, stride, dilation, pads before and behind, boundary: every way through the two tiled kernels.
TILED = (
    ((1, 1, 1, 1), (100,), (7,), (1,), (1,), (3, 3), "constant"),
    ((1, 3, 1, 1), (100,), (7,), (2,), (1,), (6, 3), "reflect"),
    ((33, 2, 1, 1), (50,), (5,), (2,), (2,), (2, 2), "wrap"),
    ((20, 1, 1, 3), (50,), (5,), (1,), (2,), (9, 0), "edge"),
    ((2, 2, 3, 5), (50,), (4,), (3,), (1,), (-2, 2), "constant"),
    ((1, 2, 3, 9), (20, 21), (5, 3), (1, 2), (1, 1), (2, 1), "symmetric"),
    ((1, 1, 1, 1), (40, 150), (7, 3), (2, 1), (1, 1), (2, 2), "constant"),
    ((1, 1, 2, 1), (40, 41), (7, 3), (1, 1), (2, 1), (3, 2), "reflect"),
    ((1, 1, 2, 1), (40, 41), (3, 3), (3, 1), (2, 1), (3, 2), "wrap"),
    ((1, 1, 1, 17), (9, 33), (1, 1), (1, 1), (1, 1), (0, 0), "constant"),
    ((2, 1, 2, 3), (12, 13, 14), (3, 3, 2), (1, 2, 1), (1, 1, 2), (2, 1), "edge"),
    ((3, 1, 1, 1), (6, 7, 8, 5), (3, 3, 2, 2), (1, 1, 1, 1), (1, 1, 1, 1), (1, 1), "symmetric"),
)
CACHES = (1 << 20, 1 << 12)  # one in which a signal fits and one in which it does not


def tiled(random: np.random.Generator, case: tuple, dtype: str, flat: bool) -> tuple:
    """Sizes, filters, signal, what the layouts share, and a function from an extension to the extended signal."""
    (B, N, C, O), n, t, stride, dilation, (lo, hi), kind = case
    x, k = data(random, (B, N, C, *n), dtype), data(random, (B, O, C, *t), dtype)
    if flat and len(n) == 1:
        n, t, stride, dilation = (1, *n), (1, *t), (1, *stride), (1, *dilation)
        x, k = x[:, :, :, None], k[:, :, :, None]
        los, his = (0, lo), (0, hi)
    else:
        los, his = (lo,) * len(n), (hi,) * len(n)
    m = tuple(
        (size + a + b - (taps - 1) * d - 1) // s + 1
        for size, a, b, taps, d, s in zip(n, los, his, t, dilation, stride, strict=True)
    )
    boundary = Boundary(kind)

    def sources(axis: int, first: int, stop: int) -> np.ndarray:
        return boundary.sources(n[axis], -first, stop - n[axis])

    fills = (0.0,) * len(n)
    common = {
        "n": n,
        "t": t,
        "m": m,
        "stride": stride,
        "dilation": dilation,
        "lo": los,
        "sources": sources,
        "fills": fills,
    }
    return (B, N, C, O), k, x, common, lambda extension: extension.of(x)


def data(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Random values of a dtype."""
    if dtype == "bool":
        return random.random(shape) < 0.3
    if dtype in ("int64", "uint64"):
        return random.integers(0 if dtype[0] == "u" else -1000, 1000, shape).astype(dtype)
    values = random.standard_normal(shape)
    return (
        (values + 1j * random.standard_normal(shape)).astype(dtype)
        if dtype.startswith("complex")
        else values.astype(dtype)
    )


def compare(came: np.ndarray, wanted: np.ndarray, near: float, what: str) -> None:
    """AssertionError with the first value that is further than `near` and two roundings from what is wanted."""
    assert came.shape == wanted.shape, f"{what}: shape {came.shape}, the contract {wanted.shape}"
    if near == 0.0:
        wrong = came != wanted
    else:
        with np.errstate(invalid="ignore"):  # equal infinities have no difference
            apart = np.abs(came - wanted)
        wrong = (came != wanted) & ~(apart <= near + 2 * ROUNDOFF[str(came.dtype)] * np.abs(wanted))
    if wrong.any():
        at = np.unravel_index(np.argmax(wrong), wrong.shape)
        raise AssertionError(f"{what}: {came[at]} at {tuple(map(int, at))}, the contract {wanted[at]}")
