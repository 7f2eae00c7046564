"""Values with several components that multiply by a table: hypercomplex numbers, matrices, truncated polynomials, dual numbers.

A value occupies the last axes of an array. A convolution over such values is one over the algebra of their components with a few
channels more, so it has no methods of its own: `faltung.componentwise` rewrites it.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.algebras.algebra import Algebra
from faltung.algebras.structure import structure
from faltung.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Components:
    """An algebra of values with components.

    Fields:
        name: what it is called.   value: the last axes that one value occupies.
        table: (n, n, n), the product of the units i and q holds `table[i, p, q]` of the unit p.
        left, right, out: (R, n), (R, n), (n, R), the same by R products, or None.
        base: name of the algebra of the components, None for the natural one of their dtype.
    """

    name: str
    value: tuple[int, ...]
    table: np.ndarray
    left: np.ndarray | None = None
    right: np.ndarray | None = None
    out: np.ndarray | None = None
    base: str | None = None

    @property
    def n(self) -> int:
        return self.table.shape[0]

    @property
    def text(self) -> str:
        return self.name if self.base is None else f"{self.name} over {self.base}"

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Components) and (self.text, self.value) == (other.text, other.value)
        return same and np.array_equal(self.table, other.table)  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((self.text, self.value, self.table.tobytes()))

    def multiply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The product of values by the table, for rings of machine numbers: the definition that convolutions are held against."""
        shape = np.broadcast_shapes(a.shape, b.shape)
        flat = (v.reshape(*v.shape[: v.ndim - len(self.value)], self.n) for v in (a, b))
        return np.einsum("ipq,...i,...q->...p", self.table, *flat).reshape(shape)


def hypercomplex(name: str, base: str | Algebra | None = None) -> Components:
    """Numbers with several real components: values (..., n).

    Args:
        name: `complex` (n = 2, as pairs), `dual` (2), `split` (2), `quaternion` (4), `octonion` (8), or `Cl(p,q)` (2^(p + q)).
            Octonions multiply from the left, (x ∗ k) sums x(u)·k(v); they are not associative.
        base: algebra of the components, a ring. Default: the natural one of the arrays' dtype.

    Example:
        >>> hypercomplex("quaternion").multiply(np.array([0, 1, 0, 0]), np.array([0, 0, 1, 0]))
        array([0., 0., 0., 1.])
    """
    clifford = re.fullmatch(r"Cl\((\d+),\s*(\d+)\)", name) if isinstance(name, str) else None
    if clifford and sum(map(int, clifford.groups())) > 6:
        raise ArgumentError.of("hypercomplex", "at most 6 units, 64 components", name, "take fewer")
    if name == "dual":
        table = np.zeros((2, 2, 2))
        table[0, 0, 0] = table[0, 1, 1] = table[1, 1, 0] = 1
        return Components(name, (2,), table, base=_base(base))
    if name == "split":
        found = structure("Cl(1,0)", 2)
    elif clifford:
        found = structure(name, 2 ** sum(map(int, clifford.groups())))
    elif name in _SIZES:
        found = structure(name, _SIZES[name])
    else:
        raise ArgumentError.of(
            "hypercomplex",
            f"one of {', '.join(_SIZES)}, dual, split, Cl(p,q)",
            repr(name),
            "or write a table: given(table)",
        )
    return Components(name, (found.n,), found.table, found.left, found.right, found.out, _base(base))


def matrix(n: int, base: str | Algebra | None = None) -> Components:
    """Square matrices: values (..., n, n), multiplied as matrices over any algebra."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 16:
        raise ArgumentError.of("matrix", "a size from 1 to 16", repr(n), "take channels for larger ones")
    table = np.zeros((n * n,) * 3)
    for i in range(n):
        for j in range(n):
            for m in range(n):
                table[i * n + j, i * n + m, j * n + m] = 1
    return Components(f"matrix({n})", (n, n), table, base=_base(base))


def truncated(terms: int, base: str | Algebra | None = None) -> Components:
    """Polynomials cut after `terms` coefficients: values (..., terms), lowest first; with two terms the dual numbers."""
    if isinstance(terms, bool) or not isinstance(terms, int) or not 1 <= terms <= 64:
        raise ArgumentError.of("truncated", "from 1 to 64 terms", repr(terms), "make the exponent an axis of its own")
    table = np.zeros((terms,) * 3)
    for i in range(terms):
        for q in range(terms - i):
            table[i, i + q, q] = 1
    return Components(f"truncated({terms})", (terms,), table, base=_base(base))


def given(table: Any, base: str | Algebra | None = None, name: str = "given") -> Components:
    """The algebra of a table (n, n, n) that somebody wrote down: `table[i, p, q]` of the unit p is in the product of i and q."""
    values = np.array(table)
    if (
        values.ndim != 3
        or len(set(values.shape)) != 1
        or values.dtype.kind not in "biufc"
        or not np.isfinite(values).all()
    ):
        raise ArgumentError.of(
            "given", "a table (n, n, n) of finite numbers", f"shape {values.shape}", "match the axes"
        )
    return Components(name, (len(values),), values, base=_base(base))


def with_components(over: Any) -> Components | None:
    """The algebra of values with components that `over` names, or None where it names another kind."""
    if not isinstance(over, str):
        return over if isinstance(over, Components) else None
    return _components_of(over)


@lru_cache(maxsize=64)
def _components_of(over: str) -> Components | None:
    if over in ("dual", "split", "quaternion", "octonion") or over.startswith("Cl("):
        return hypercomplex(over)
    found = re.fullmatch(r"(matrix|truncated)\((\d+)\)", over)
    return None if found is None else {"matrix": matrix, "truncated": truncated}[found[1]](int(found[2]))


_SIZES = {"complex": 2, "quaternion": 4, "octonion": 8}


def _base(base: str | Algebra | None) -> str | None:
    return base.name if isinstance(base, Algebra) else base
