"""Integers modulo p with + and ×, exact, for any p from 2 on.

Operands may be any integers; results lie in 0 ... p − 1. Up to p = 2⁶² values are machine integers (int64), beyond that Python's.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from faltung.algebras.algebra import INTEGERS, Algebra, no_star
from faltung.errors import ArgumentError

MACHINE = 1 << 62  # sums of two residues fit int64
SQUARES = 3_037_000_500  # products of two residues below this fit int64


@lru_cache(maxsize=256)
def modular(p: int) -> Algebra:
    """The residues modulo p.

    Args:
        p: from 2 on; a prime makes it a field.

    Example:
        >>> modular(7).mul(5, 3)
        np.int64(1)
    """
    if isinstance(p, bool) or not isinstance(p, (int, np.integer)) or p < 2:
        raise ArgumentError.of("modular", "a whole number from 2 on", repr(p), "write for example modular(998244353)")
    p = int(p)
    machine = p <= MACHINE
    types = ("bool", *INTEGERS) if machine else ("bool", *INTEGERS, "object")

    def admit(values: np.ndarray) -> np.ndarray:
        if not machine:
            return values.astype(object) % p
        if values.dtype == np.uint64:
            return (values % np.uint64(p)).astype(np.int64)
        values = values.astype(np.int64, copy=False)
        # Residues, the usual case, are told in one pass that is cheaper than division.
        inside = not values.size or (int(values.min()) >= 0 and int(values.max()) < p)
        return values if inside else values % p

    def add(a: Any, b: Any) -> Any:
        total = a + b
        return total % p if not machine else np.where(total < p, total, total - p)[()]

    def mul(a: Any, b: Any) -> Any:
        if not machine:
            return a * b % p
        if p <= SQUARES:
            return a * b % p
        return np.asarray(np.asarray(a).astype(object) * np.asarray(b).astype(object) % p).astype(np.int64)[()]

    def star(a: Any) -> Any:
        def one(v: Any) -> int:
            try:
                return pow(1 - int(v), -1, p)
            except ValueError:
                raise no_star(f"modular({p})", "a value whose 1 − a has an inverse", v) from None

        return np.frompyfunc(one, 1, 1)(a)

    return Algebra(
        name=f"modular({p})",
        notation="+, × mod p",
        summary=f"integers modulo {p}, exact",
        source_note="Gauss (1801)",
        add=add,
        mul=mul,
        zero=lambda dtype: 0,
        one=lambda dtype: 1,
        scalar_add=f"a + b - ({p} if a + b >= {p} else 0)",
        scalar_mul=f"a * b % {p}" if p <= SQUARES else "",
        dtypes=types,
        compute=lambda x, k: ("int64" if machine else "object") if all(t in types for t in (x, k)) else None,
        laws=frozenset({"ring", "commutative", "exact"}),
        arithmetic="residues" if machine else "objects",
        modulus=p,
        star=star,
        admit=admit,
        least=0,
    )
