"""Singular values of many matrices and of a convolution's blocks, at the cost of eigenvalues where those are as good."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from math import pi

import numpy as np
from scipy.linalg.blas import dsyrk, zherk
from threadpoolctl import ThreadpoolController

from faltung.filters.symbol import Symbol
from faltung.kernels.threads import available, spread

_SMALL = 8  # sides below which decompositions cost nothing
_POOR = 1e-9  # squares of singular values, over the largest, below which products have lost digits


def singular_values(matrices: np.ndarray) -> np.ndarray:
    """The singular values of matrices, largest first.

    Formula: roots of the eigenvalues of A Aᴴ or Aᴴ A, whichever is smaller; where the least is below 1e-9 of the largest, which
    is where the product would cost more than seven digits of it, the matrix is decomposed itself.

    Shapes: matrices (..., rows, columns); returns (..., min(rows, columns)).

    Error: round-off for the largest, 1e-6 relative for the least.
    Cost: rows · columns · min / 2 and min³.

    Example:
        >>> singular_values(np.diag([3.0, 4.0]))
        array([4., 3.])
    """
    if min(matrices.shape[-2:]) <= _SMALL or not matrices.size:
        return np.linalg.svd(matrices, compute_uv=False)
    shape, (rows, columns) = matrices.shape[:-2], matrices.shape[-2:]
    found = np.zeros((np.prod(shape, dtype=int), min(rows, columns)))
    single = matrices.reshape(-1, rows, columns)

    def one(place: int) -> None:
        matrix = single[place]
        size = np.abs(matrix)
        used, read = size.any(1), size.any(0)  # a stride beyond the taps leaves channels of phases that nothing reads
        whole = used.all() and read.all()
        values = _values(matrix if whole else matrix[np.ix_(used, read)], float(size.max()))
        found[place, : len(values)] = values

    _each(one, len(single))
    return found.reshape(*shape, -1)


def _each(task: Callable[[int], None], count: int) -> None:
    """`task(n)` for every n < count, on all processors, each on one.

    NumPy and SciPy bring a library of matrices each. With threads of their own, those that one library has left waiting, which they
    do without sleeping, hold the processors that the other one wants.
    """

    def some(start: int, stop: int) -> None:
        for n in range(start, stop):
            task(n)

    with _libraries().limit(limits=1, user_api="blas"):
        spread(some, count, available(), multiplies=True)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def _values(matrix: np.ndarray, top: float) -> np.ndarray:
    """The singular values of one matrix without rows or columns of zeros, its largest element given."""
    if min(matrix.shape) <= _SMALL:
        return np.linalg.svd(matrix, compute_uv=False)
    scale = top if not 1e-100 < top < 1e100 else 1.0  # squares overflow or vanish
    a = matrix / scale if scale != 1 else matrix
    # The product of a matrix with its own adjoint is half the work of any other; the transpose is laid out as BLAS reads it.
    tall = a.shape[0] > a.shape[1]
    own = zherk if np.iscomplexobj(a) else dsyrk
    gram = own(1.0, a.T, trans=0 if tall else (2 if np.iscomplexobj(a) else 1))
    squares = np.linalg.eigvalsh(gram, "U")[::-1]
    if squares[-1] < _POOR * squares[0]:
        return scale * np.linalg.svd(a, compute_uv=False)
    return scale * np.sqrt(squares)


def frequencies(grid: tuple[int, ...], real: bool) -> Iterator[tuple[tuple[int, ...], int]]:
    """The frequencies 2πj / n of a grid that say all, with how many of the grid each stands for.

    A real kernel has conjugate blocks at j and −j, so that one of both is enough.

    Example:
        >>> list(frequencies((4,), True))
        [((0,), 1), ((1,), 2), ((2,), 1)]
    """
    for index in product(*map(range, grid)):
        opposite = tuple(-j % n for j, n in zip(index, grid, strict=True))
        if not real:
            yield index, 1
        elif index <= opposite:
            yield index, 1 if index == opposite else 2


def grid_values(symbol: Symbol, grid: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The singular values of a symbol without a stride on a grid of frequencies: (indices, how many each stands for, values).

    Shapes: indices (frequencies, axes), counts (frequencies), values (groups, frequencies, min(out, in) / groups).

    Cost: of `singular_values` for each frequency, half as many as the grid has; those where all phases are ±1 are real.

    Example:
        >>> grid_values(Symbol(np.array([[[1.0, -1.0]]])), (2,))[2].ravel()
        array([0., 2.])
    """
    taps = symbol.taps()
    flat = np.ascontiguousarray(np.moveaxis(taps.reshape(*taps.shape[:3], -1), -1, 0)).reshape(np.prod(symbol.size), -1)
    places = np.indices(symbol.size).reshape(symbol.ndim, -1) * np.array(symbol.dilation)[:, None]
    chosen = list(frequencies(grid, symbol.is_real))
    indices, counts = np.array([j for j, _ in chosen]), np.array([c for _, c in chosen])
    values = np.empty((symbol.groups, len(indices), min(symbol.channels)))

    def one(number: int) -> None:
        index = indices[number]
        # Turns and not angles are reduced, so that phases at 0 and π are exactly real.
        turns = sum(place * (j / n) for place, j, n in zip(places, index, grid, strict=True)) % 1.0
        halves = np.round(2 * turns)
        signs = np.abs(2 * turns - halves).max() < 1e-12
        if signs:
            block = (1 - 2 * (halves % 2)) @ flat
        else:  # real and imaginary parts apart, which leaves real taps as they are
            block = np.cos(2 * pi * turns) @ flat + 0j
            block -= 1j * (np.sin(2 * pi * turns) @ flat)
        values[:, number] = singular_values(block.reshape(symbol.groups, *symbol.channels))

    _each(one, len(indices))
    return indices, counts, values
