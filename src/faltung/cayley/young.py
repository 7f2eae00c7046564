"""Fourier transforms on symmetric groups by Young's orthogonal form, from the trivial group upwards.

No table of products and no matrix of a general permutation is written down. The functions on S_k are k functions on S_{k−1},
one a coset; their transforms stand as blocks in that of S_k, are moved into place by transpositions of neighbours, which have at
most two values a row, and are added.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from faltung.cayley.partitions import Partition, dimension, partitions, smaller, tableaux
from faltung.errors import ArgumentError

MOST = 10  # points: 3 628 800 values


class Neighbours(NamedTuple):
    """ρ(s) of the transposition of points i and i + 1: `same` on the diagonal, `other` at the tableau `partner`."""

    same: np.ndarray
    other: np.ndarray
    partner: np.ndarray


@lru_cache(maxsize=4096)
def neighbours(shape: Partition, i: int) -> Neighbours:
    """Young's orthogonal matrix of the transposition of points i and i + 1, counted from 0.

    Formula: with the axial distance a from the box of i + 1 to that of i, `1/a` on the diagonal and `√(1 − 1/a²)` towards the
    tableau in which the two are exchanged.
    """
    basis = tableaux(shape)
    number = {t: k for k, t in enumerate(basis)}
    same, partner = np.empty(len(basis)), np.empty(len(basis), np.int64)
    for k, t in enumerate(basis):
        (r, c), (R, C) = t[i], t[i + 1]
        same[k] = 1.0 / ((C - R) - (c - r))
        partner[k] = number.get((*t[:i], t[i + 1], t[i], *t[i + 2 :]), k)
    return Neighbours(same, np.sqrt(np.maximum(0.0, 1.0 - same**2)), partner)


def representation(shape: Partition, permutation: tuple[int, ...]) -> np.ndarray:
    """ρ(p), the orthogonal matrix of one permutation, `(p · q)[i] = p[q[i]]`, from a reduced word.

    Example:
        >>> representation((2, 1), (1, 0, 2)).round(3).tolist()
        [[1.0, 0.0], [0.0, -1.0]]
    """
    rho, p = np.eye(dimension(shape)), list(permutation)
    word = []
    for end in range(len(p) - 1, 0, -1):  # bubble sort: p · s₁ · s₂ ⋯ = 1
        for i in range(end):
            if p[i] > p[i + 1]:
                p[i], p[i + 1] = p[i + 1], p[i]
                word.append(i)
    for i in word:  # p = ⋯ s₂ · s₁
        rho = _times(shape, i, rho)
    return rho


def young_fourier(x: np.ndarray, n: int) -> dict[Partition, np.ndarray]:
    """The Fourier transform of a function on the permutations of n points: one square matrix for each partition of n.

    Formula: `F(x)(λ) = Σ_p x(p) ρ_λ(p)`, ρ_λ Young's orthogonal form.

    Args:
        x: (n!,) real or complex, by the lexicographic rank of the permutation.   n: 1 ... 10 points.

    Returns:
        partition → (d, d) matrix in float64 or complex128.

    Raises:
        ArgumentError: an n out of range, an array of another shape.

    Error: n² roundings, relative to Σ|x|.
    Cost: about n²·n!/2 products.
    Source: Young (1931); Clausen (1989) for the recursion over cosets.

    Example:
        >>> F = young_fourier(np.array([1.0, 0, 0, 0, 0, 0]), 3)
        >>> {shape: m.tolist() for shape, m in F.items()}
        {(3,): [[1.0]], (2, 1): [[1.0, 0.0], [0.0, 1.0]], (1, 1, 1): [[1.0]]}
    """
    a = _checked(x, n)
    # Level k: for each coset of S_k in S_n the transforms of its function on S_k, (cosets, d, d).
    level: dict[Partition, np.ndarray] = {(1,): a[_cosets(n)].reshape(-1, 1, 1)}
    for k in range(2, n + 1):
        above = {}
        for shape in partitions(k):
            d = dimension(shape)
            block = np.zeros((len(a) // math.factorial(k), k, d, d), a.dtype)
            at = 0
            for less in smaller(shape):
                e = at + dimension(less)
                block[:, :, at:e, at:e] = level[less].reshape(-1, k, e - at, e - at)
                at = e
            for i in range(k - 2, -1, -1):  # coset j is s_j s_{j+1} ⋯ s_{k−2} times S_{k−1}
                block[:, : i + 1] = _times(shape, i, block[:, : i + 1])
            above[shape] = block.sum(axis=1)
        level = above
    return {shape: m[0] for shape, m in level.items()}


def young_inverse(F: dict[Partition, np.ndarray], n: int) -> np.ndarray:
    """The function on the permutations of n points with this Fourier transform, (n!,) by lexicographic rank.

    Formula: `x(p) = (1/n!) Σ_λ d_λ tr(ρ_λ(p)ᵀ F(λ))`.

    Error: n² roundings, relative to the largest singular value of F.
    Cost: as the transform.
    Source: Young (1931); Clausen and Baum (1993).
    """
    wrong = [shape for shape in partitions(n) if shape not in F or np.shape(F[shape]) != (dimension(shape),) * 2]
    if wrong:
        raise ArgumentError.of(
            "young_inverse", f"a square matrix for each partition of {n}", f"none, or another shape, for {wrong[0]}",
            "take the transform of young_fourier",
        )  # fmt: skip
    level = {shape: np.asarray(F[shape])[None] for shape in partitions(n)}
    for k in range(n, 1, -1):
        below: dict[Partition, np.ndarray] = {}
        for shape in partitions(k):
            d = dimension(shape)
            block = np.repeat(level[shape][:, None], k, axis=1)
            for i in range(k - 1):  # undo s_j ⋯ s_{k−2}, the first factor first; a transposition is its own inverse
                block[:, : i + 1] = _times(shape, i, block[:, : i + 1])
            at = 0
            for less in smaller(shape):
                e = at + dimension(less)
                part = block[:, :, at:e, at:e].reshape(-1, e - at, e - at) * (d / (k * (e - at)))
                below[less] = below[less] + part if less in below else part
                at = e
        level = below
    x = np.empty(math.factorial(n), level[(1,)].dtype)
    x[_cosets(n)] = level[(1,)].ravel()
    return x


def young_convolve(x: np.ndarray, k: np.ndarray, n: int) -> np.ndarray:
    """The convolution on S_n by Fourier transforms: `y(p) = Σ_q x(q) k(q⁻¹ p)`, (n!,) by lexicographic rank; n up to 10.

    Error: 3·n² + √n! roundings, relative to ‖x‖₂·‖k‖₂·√n!.
    Cost: three transforms and products of matrices, Σ d³ ≤ n!^1.5.
    """
    X, K = young_fourier(x, n), young_fourier(k, n)
    return young_inverse({shape: X[shape] @ K[shape] for shape in X}, n)


def _times(shape: Partition, i: int, block: np.ndarray) -> np.ndarray:
    """ρ(transposition of i and i + 1) times matrices (..., d, d)."""
    same, other, partner = neighbours(shape, i)
    return same[:, None] * block + other[:, None] * block[..., partner, :]


@lru_cache(maxsize=16)
def _cosets(n: int) -> np.ndarray:
    """Lexicographic ranks in the order of cosets: of c_j · q with c_j = s_j ⋯ s_{n−2} and q in S_{n−1}, by j, then by q."""
    p = np.zeros((1, 1), np.int64)
    for k in range(2, n + 1):
        # c_j takes k − 1 to j and moves those from j on up by one.
        points = np.arange(k)[:, None, None]
        moved = np.where(p[None] >= points, p[None] + 1, p[None])
        last = np.broadcast_to(points, (k, len(p), 1))
        p = np.concatenate([moved, last], axis=2).reshape(-1, k)
    rank = np.zeros(len(p), np.int64)
    for i in range(n):
        rank = rank * (n - i) + (p[:, i + 1 :] < p[:, i : i + 1]).sum(axis=1)
    return rank


def _checked(x: np.ndarray, n: int) -> np.ndarray:
    if not 1 <= n <= MOST:
        raise ArgumentError.of("young_fourier", f"from 1 to {MOST} points", repr(n), "choose n")
    a = np.asarray(x)
    if a.shape != (math.factorial(n),):
        raise ArgumentError.of(
            "young_fourier", f"{n}! = {math.factorial(n)} values", f"shape {a.shape}", "give one each"
        )
    return a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)
