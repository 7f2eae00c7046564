"""Cases for the kernels of matrix products over semirings: edges of blocks, long sums, infinities that a zero annihilates, NaN."""

import itertools
from typing import Any

import numpy as np

from faltung import algebras
from faltung.algebras import Algebra
from faltung.kernels.semiring_product import contract
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import computed

COMPILED = [a for a in (*algebras.ALL, algebras.modular(7)) if a.scalar_mul and a.name not in ("real", "complex")]
SIZES = ((1, 1, 1), (7, 3, 5), (8, 20, 48), (17, 2100, 53), (30, 40, 200), (3, 0, 4), (0, 3, 4), (5, 3, 0))
CONTENTS = ("plain", "zeros", "infinite", "spoilt")


def check_semiring_product(tool: Any, seed: int = 0) -> int:
    """Products over every algebra and dtype, first choices over the ordered ones, closures where the star is known.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for algebra in COMPILED:
        for dtype, sizes, content in itertools.product(computed(algebra), SIZES, CONTENTS):
            if dtype == "object" or (content != "plain" and not dtype.startswith("float")):
                continue
            random = np.random.default_rng(seed + cases)
            m, K, n = sizes
            a, b = (_values(random, shape, algebra, dtype, content) for shape in ((m, K), (K, n)))
            what = f"product over {algebra.name} in {dtype}, {sizes}, {content} values"
            _compare(tool.product(a, b, algebra, 1 + cases % 2), contract.product(a, b, algebra), algebra, what, K)
            if algebra.beats is not None and K:
                came, wanted = tool.chosen(a, b, algebra, 1 + cases % 2), contract.chosen(a, b, algebra)
                assert np.array_equal(came, wanted), f"first choice, {what}"
            cases += 1
    for algebra in COMPILED:
        if algebra.star is None or not (algebra.ordered or algebra.name == "boolean"):
            continue
        for n, dtype in itertools.product((1, 2, 9, 33), computed(algebra)):
            random = np.random.default_rng(seed + cases)
            a = _values(random, (n, n), algebra, dtype, "plain")
            a = a / 16 if algebra.name == "max-times" else a
            _compare(
                tool.kleene(a, algebra),
                contract.kleene(a, algebra, algebra.star),
                algebra,
                f"closure over {algebra.name}",
                n,
            )
            cases += 1
    gaining = np.full((2, 2), 2.0)
    assert tool.kleene(gaining, algebras.named("max-times")) is None, "a circle above 1 has no star over max-times"
    return cases + 1


def _values(random: np.random.Generator, shape: tuple, algebra: Algebra, dtype: str, content: str) -> np.ndarray:
    if dtype == "bool":
        return random.random(shape) < 0.3
    if not dtype.startswith("float"):
        return random.integers(0, 7, shape).astype(dtype)
    a = random.integers(0 if algebra.least == 0 else -8, 9, shape).astype(dtype)  # few values: ties
    if content != "plain":
        a[random.random(shape) < 0.3] = algebra.zero(a.dtype)
    if content in ("infinite", "spoilt"):
        a[random.random(shape) < 0.2] = np.inf
        a[random.random(shape) < 0.2] = max(-np.inf, algebra.least)
    if content == "spoilt":
        a[random.random(shape) < 0.05] = np.nan
    return a


def _compare(came: np.ndarray, wanted: np.ndarray, algebra: Algebra, what: str, depth: int) -> None:
    assert (came.dtype, came.shape) == (wanted.dtype, wanted.shape), f"{what}: {came.dtype} {came.shape}"
    same = came == wanted
    if came.dtype.kind == "f":
        near = 4 * (depth + 4) * ROUNDOFF[str(came.dtype)] * 20 if algebra.share is not None else 0.0
        with np.errstate(invalid="ignore"):
            same |= (np.isnan(came) & np.isnan(wanted)) | (np.abs(came - wanted) <= near)
    assert same.all(), f"{what}: {came[~same][0]}, the contract {wanted[~same][0]}"
