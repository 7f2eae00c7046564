"""The log semiring: sums of probabilities that are kept as their logarithms.

`zero` is −inf. A sum log(eᵃ + eᵇ) is max(a, b) + log1p(e^−|a − b|), which neither overflows nor loses small terms; its derivative
is the share of each term (softmax), so gradients are posteriors.
"""

from typing import Any

import numpy as np

from faltung.algebras.algebra import REALS, Algebra, no_star, ones, widest_real


def _star(a: Any) -> Any:
    """−log(1 − eᵃ), for a < 0."""
    a = np.asarray(a, dtype="float64")
    if not (a < 0).all():
        raise no_star("log", "a value below 0 (a probability below 1)", a)
    # Near 0 the one form cancels, far below the other does (Mächler, 2012).
    return -np.where(a > -np.log(2.0), np.log(-np.expm1(a)), np.log1p(-np.exp(a)))


def _share(value: Any, total: Any) -> Any:
    """e^(value − total); nothing where the sum itself is nothing."""
    with np.errstate(invalid="ignore"):
        return np.where(total == -np.inf, 0.0, np.exp(value - total))


LOG = Algebra(
    name="log",
    notation="log(eᵃ + eᵇ), +",
    summary="logarithms of sums of probabilities, stable; gradients are posteriors",
    source_note="log-sum-exp; Mächler (2012) for its star",
    add=np.logaddexp,
    mul=np.add,
    zero=lambda dtype: dtype.type(-np.inf),
    one=lambda dtype: dtype.type(0),
    scalar_add="a + log1p(exp(b - a)) if a > b else (a + 0.6931471805599453 if a == b else b + log1p(exp(a - b)))",
    scalar_mul="a + b",
    dtypes=REALS,
    compute=lambda x, k: widest_real(x, k) if x in REALS and k in REALS else None,
    laws=frozenset({"commutative"}),
    star=_star,
    partials=ones,
    share=_share,
)
