"""Cases for the Hadamard and the zeta kernels: levels within vectors, in blocks, in strips; axes with odd numbers of neighbours."""

import itertools
from typing import Any

import numpy as np

from faltung.kernels.hadamard import contract as hadamard_contract
from faltung.kernels.zeta import contract as zeta_contract
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import compare

# Shapes and the axis.
CASES = (
    ((1,), 0),
    ((2,), 0),
    ((0, 4), 1),
    ((5, 4), 1),  # lines shorter than a vector, and some left over
    ((3, 16), 1),
    ((3, 8, 3), 1),  # neighbours that fill no vector
    ((2, 4, 40), 1),
    ((1, 64, 2), 1),
    ((3, 512), 1),
    ((2, 1 << 14), 1),  # blocks, and then one step
    ((64, 700), 0),
    ((1 << 9, 129), 0),  # strips with a remainder of columns
    ((1 << 18,), 0),
    ((1 << 8, 1 << 13), 0),
)
DTYPES = ("float32", "float64", "complex64", "complex128", "int64", "uint64", "int32", "uint8")


def check_hadamard(tool: Any, seed: int = 0) -> int:
    """The Hadamard kernel in every dtype, in place and not, on one thread and on two.

    Integers are drawn from their whole range, so that sums wrap; floating values are small whole numbers, so that every sum is
    exact and both sides must agree bit for bit; a last round of fractions with a scale is held to rounding.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for (shape, axis), dtype in itertools.product(CASES, DTYPES):
        x = _values(np.random.default_rng(seed + cases), shape, dtype)
        kept = x.copy()
        what = f"Hadamard transform of {shape} along {axis} in {dtype}"
        came = tool.hadamard(x, axis, 1.0, None, 1 + cases % 2)
        compare(came, hadamard_contract.hadamard(x, axis), 0.0, what)
        assert np.array_equal(x, kept), f"{what}: the operand was changed"
        same = tool.hadamard(x, axis, 1.0, x, 2 - cases % 2)
        assert same is x, f"{what}: in place came another array"
        compare(x, came, 0.0, f"{what}, in place")
        cases += 1
    for (shape, axis), dtype in itertools.product(CASES, DTYPES[:4]):
        random = np.random.default_rng(seed + cases)
        x = random.standard_normal(shape).astype(dtype)
        wanted = hadamard_contract.hadamard(x, axis, 0.37)
        near = 4 * ROUNDOFF[dtype] * (shape[axis].bit_length() + 2) * float(np.abs(x).sum(axis).max(initial=0.0))
        compare(
            tool.hadamard(x, axis, 0.37), wanted, near, f"scaled Hadamard transform of {shape} along {axis} in {dtype}"
        )
        cases += 1
    return cases


def check_zeta(tool: Any, seed: int = 0) -> int:
    """The zeta kernel: both orders and all operations, every dtype that has them, NaN among maxima.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for (shape, axis), operation, order in itertools.product(
        CASES, ("add", "sub", "max", "min"), ("subset", "superset")
    ):
        for dtype in (
            DTYPES[cases % 2 :: 3] if operation in ("add", "sub") else ("float32", "float64", "int64", "uint8")
        ):
            x = _values(np.random.default_rng(seed + cases), shape, dtype)
            what = f"zeta of {shape} along {axis} in {dtype}, {operation} over each {order}"
            came = tool.zeta(x, axis, order, operation, None, 1 + cases % 2)
            compare(came, zeta_contract.zeta(x, axis, order, operation), 0.0, what)
            tool.zeta(x, axis, order, operation, x, 2)
            compare(x, came, 0.0, f"{what}, in place")
            cases += 1
    for order, operation in itertools.product(("subset", "superset"), ("max", "min")):
        x = np.random.default_rng(seed).standard_normal(1 << 10)
        x[37] = np.nan
        x[512], x[5] = np.inf, -np.inf
        came, wanted = tool.zeta(x, 0, order, operation), zeta_contract.zeta(x, 0, order, operation)
        assert np.array_equal(came, wanted, equal_nan=True), f"{operation} over each {order}: NaN went elsewhere"
        cases += 1
    return cases


def _values(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype[0] in "iu":
        info = np.iinfo(dtype)
        return random.integers(info.min, info.max, shape, dtype, endpoint=True)
    whole = random.integers(-4, 5, shape).astype(dtype)  # sums of up to 2^18 of these are exact in float32
    return whole + 1j * whole[..., ::-1] if dtype[0] == "c" else whole
