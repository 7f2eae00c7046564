"""Generating sets of matrices modulo m, by name: Heisenberg, unitriangular, special linear, affine."""

from collections.abc import Callable, Iterable
from math import gcd

import numpy as np

from faltung.cayley.families import FAMILIES, Family
from faltung.cayley.generators import Generators, matrices
from faltung.errors import ArgumentError


def matrix_family(listed: Iterable[tuple[int, ...]], inverses: bool = True) -> Callable:
    """Register a function of n and m that returns matrices; their inverses are added."""

    def register(rows: Callable[..., list[np.ndarray]]) -> Callable[..., Generators]:
        name = rows.__name__

        def make(*parameters: int) -> Generators:
            text = f"{name}({', '.join(map(str, parameters))})"
            if len(parameters) != 2 or parameters[0] < 2 or parameters[1] < 2:
                raise ArgumentError.of(name, "a size and a modulus from 2 on", text, f"write {name}(3, 5)")
            made = matrices(np.array(rows(*parameters)), parameters[1], text)
            made = made.closure() if inverses else made
            return Generators(made.rows, made.modulus, text=text)

        make.__name__, make.__doc__ = name, rows.__doc__
        FAMILIES[name] = Family(make, (rows.__doc__ or "").partition("\n")[0], tuple(listed))
        return make

    return register


def elementary(n: int, i: int, j: int) -> np.ndarray:
    """The identity and one more in row i, column j."""
    m = np.eye(n, dtype=np.int64)
    m[i, j] += 1
    return m


@matrix_family([(3, 5), (3, 15), (3, 7), (4, 3)])
def heisenberg(n: int, m: int) -> list[np.ndarray]:
    """I + E₁ⱼ and I + Eⱼₙ of size n modulo m, and inverses; for n = 3 the Heisenberg group."""
    return [elementary(n, 0, j) for j in range(1, n - 1)] + [elementary(n, j, n - 1) for j in range(1, n - 1)]


@matrix_family([(3, 4), (4, 3), (4, 5), (5, 2)])
def unitriangular(n: int, m: int) -> list[np.ndarray]:
    """I + E above the diagonal, neighbours only, and inverses: all matrices with ones on and zeros below the diagonal."""
    return [elementary(n, i, i + 1) for i in range(n - 1)]


@matrix_family([(2, 5), (2, 7), (2, 13), (3, 2), (3, 3)])
def special_linear(n: int, m: int) -> list[np.ndarray]:
    """I + E beside the diagonal, above and below, and inverses: all matrices of determinant one."""
    return [elementary(n, *p) for i in range(n - 1) for p in ((i, i + 1), (i + 1, i))]


@matrix_family([(2, 5), (2, 7), (3, 2), (3, 3)])
def special_linear_weyl(n: int, m: int) -> list[np.ndarray]:
    """I + E₁₂ and the cyclic permutation of the axes, of determinant one, and inverses."""
    turn = np.roll(np.eye(n, dtype=np.int64), 1, axis=0)
    turn[0] *= (-1) ** (n - 1)
    return [elementary(n, 0, 1), turn]


@matrix_family([(2, 3), (3, 2)])
def transvections(n: int, m: int) -> list[np.ndarray]:
    """All I + Eᵢⱼ off the diagonal, and inverses."""
    return [elementary(n, i, j) for i in range(n) for j in range(n) if i != j]


@matrix_family([(2, 5), (2, 7), (2, 11)])
def affine(n: int, m: int) -> list[np.ndarray]:
    """Steps along each axis and a unit's multiplication of the first, x → a·x + b, modulo m, and inverses."""
    unit = next((a for a in range(2, m) if gcd(a, m) == 1), 1)
    scale = np.eye(n, dtype=np.int64)
    scale[0, 0] = unit
    return [scale, *(elementary(n, i, n - 1) for i in range(n - 1))]
