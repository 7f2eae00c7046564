"""Algebras of hypercomplex layers as tensors: tables of products, and algorithms with fewer; see `faltung.algebras.structure`."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from faltung.algebras import structure as tables
from faltung.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Structure:
    """An algebra: its table (n, n, n) in float64 and, where one saves products, a bilinear algorithm for it.

    Fields:
        left, right: (R, n), what is multiplied.   out: (n, R), what the products are added up with. None, all three, for algebras
        that only have their table.
    """

    name: str
    table: Tensor
    left: Tensor | None = None
    right: Tensor | None = None
    out: Tensor | None = None

    @property
    def n(self) -> int:
        return self.table.shape[0]

    @property
    def rank(self) -> int:
        """Products of the algorithm, n² without one."""
        return self.n**2 if self.left is None else self.left.shape[0]

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        """The product of elements (..., n) by the table."""
        return torch.einsum("ipq,...i,...q->...p", self.table.to(a.dtype), a, b)


@lru_cache(maxsize=64)
def structure(name: str, n: int, field: str = "real") -> Structure:
    """The algebra of that name in n dimensions as tensors; names, field and errors as in `faltung.algebras.structure`.

    Example:
        >>> [structure(name, n).rank for name, n in (("complex", 2), ("quaternion", 4), ("octonion", 8), ("dyadic", 8))]
        [3, 8, 30, 8]
    """
    found = tables.structure(name, n, field)
    parts = (None if a is None else torch.from_numpy(a) for a in (found.table, found.left, found.right, found.out))
    return Structure(name, *parts)


def of_tensor(given: Any, n: int) -> Structure:
    """The algebra of a table (n, n, n) that somebody wrote down.

    Raises:
        ArgumentError: another shape, or values that are not finite numbers.
    """
    try:
        table = torch.as_tensor(given).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError.of("algebra", "a name or numbers", repr(given), "write a tensor or nested lists") from error
    if tuple(table.shape) != (n, n, n):
        raise ArgumentError.of("algebra", f"a table of shape ({n}, {n}, {n})", f"shape {tuple(table.shape)}", "match n")
    return Structure("given", table.to(torch.complex128 if table.is_complex() else torch.float64))


def nearest_filters(table: Tensor, kernel: Tensor) -> Tensor:
    """The filters F (n, r, s, ...) whose kernel Σ_i table[i] ⊗ F_i is nearest to `kernel` (n, r, n, s, ...), by least squares."""
    n = table.shape[0]
    matrix = table.reshape(n, n * n).T  # (p q, i)
    values = kernel.transpose(1, 2).reshape(n * n, -1)
    return (torch.linalg.pinv(matrix) @ values).reshape(n, *kernel.shape[1:2], *kernel.shape[3:])
