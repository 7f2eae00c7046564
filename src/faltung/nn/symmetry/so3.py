"""Functions on the sphere and their rotations: real spherical harmonics, Wigner matrices, exact quadrature, products.

Conventions are e3nn's: degrees l = 0, 1, ... one after the other, orders m = −l ... l within each, the polar axis is y, and the
three functions of degree 1 are (x, y, z). Harmonics are orthonormal on the sphere (e3nn's "integral"): Y₁ = √(3/4π)·(x, y, z).
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from faltung.errors import ArgumentError


def spherical_harmonics(highest: int, points: Tensor) -> Tensor:
    """All real spherical harmonics up to a degree at unit vectors, (..., (highest + 1)²).

    Formula: `Y_lm = K_lm P_l^|m|(y) / (1 − y²)^(|m|/2) · Re or Im (z + i·x)^|m|`, the real part for m ≥ 0. These are
    polynomials in x, y, z, smooth at the poles.

    Args:
        highest: at least 0.   points: (..., 3) of length 1.

    Error: some roundings times the degree.   Cost: (highest + 1)² products a point.

    Example:
        >>> spherical_harmonics(1, torch.tensor([0.0, 1.0, 0.0]))  # √(1/4π), then √(3/4π)·(x, y, z)
        tensor([0.2821, 0.0000, 0.4886, 0.0000])
    """
    x, y, z = points.unbind(-1)
    real, imaginary = torch.ones_like(y), torch.zeros_like(y)
    found: dict[tuple[int, int], Tensor] = {}
    top = torch.full_like(y, math.sqrt(1 / (4 * math.pi)))
    for m in range(highest + 1):
        if m:
            real, imaginary = real * z - imaginary * x, real * x + imaginary * z
            top = top * math.sqrt((2 * m + 1) / (2 * m) * (2 if m == 1 else 1))
        before, own = torch.zeros_like(y), top
        for l in range(m, highest + 1):
            if l > m:
                a = math.sqrt((4 * l * l - 1) / (l * l - m * m))
                b = math.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1)) if l > m + 1 else 0.0
                before, own = own, a * (y * own - b * before)
            found[l, m] = own * real
            if m:
                found[l, -m] = own * imaginary
    return torch.stack([found[l, m] for l in range(highest + 1) for m in range(-l, l + 1)], -1)


@lru_cache(maxsize=64)
def quadrature(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) and weights (n) that integrate polynomials up to a degree over the sphere exactly; weights sum to 4π.

    Gauss–Legendre nodes along y times equal angles around it: ⌊degree/2⌋ + 1 by degree + 1.
    """
    nodes, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    count = degree + 1
    angle = 2 * np.pi * np.arange(count) / count
    ring = np.sqrt(1 - nodes**2)
    points = np.stack(
        np.broadcast_arrays(ring[:, None] * np.sin(angle), nodes[:, None], ring[:, None] * np.cos(angle)), -1
    )
    return points.reshape(-1, 3), np.repeat(weights * 2 * np.pi / count, count)


@lru_cache(maxsize=32)
def gaunt_table(l1: int, l2: int, l3: int) -> np.ndarray:
    """∫ Y_a Y_b Y_c for all harmonics up to these degrees: ((l1 + 1)², (l2 + 1)², (l3 + 1)²), by exact quadrature.

    Source: Gaunt (1929).

    Example:
        >>> float(gaunt_table(1, 1, 2)[2, 2, 6].round(8))  # y · y in the harmonic of degree 2 about y
        0.25231325
    """
    points, weights = quadrature(l1 + l2 + l3)
    values = spherical_harmonics(max(l1, l2, l3), torch.from_numpy(points)).numpy()
    first, second, third = (values[:, : (l + 1) ** 2] for l in (l1, l2, l3))
    found = np.einsum("pa,pb,pc->abc", first, second, third * weights[:, None], optimize=True)
    return np.where(np.abs(found) < 1e-13, 0, found)


@lru_cache(maxsize=64)
def _step(l: int) -> np.ndarray:
    """(2l + 1, 3, 2l − 1): the isometry that takes degree 1 times degree l − 1 to degree l."""
    points, weights = quadrature(2 * l)
    values = spherical_harmonics(l, torch.from_numpy(points)).numpy()
    one, before, own = values[:, 1:4], values[:, (l - 1) ** 2 : l * l], values[:, l * l :]
    found = np.einsum("pi,pa,pq->iaq", own * weights[:, None], one, before, optimize=True)
    return found / np.linalg.norm(found[0])


def couplings(highest: int) -> list[Tensor]:
    """What `wigner` couples degrees with, l = 2 ... highest: tensors (2l + 1, 3, 2l − 1) in double precision."""
    return [torch.from_numpy(_step(l)) for l in range(2, highest + 1)]


def wigner(highest: int, rotation: Tensor, coupled: Sequence[Tensor] | None = None) -> list[Tensor]:
    """The matrices D⁰, D¹, ... by which rotations act on harmonics: `Y_l(R p) = D_l(R) Y_l(p)`.

    Formula: D¹ = R, and D_l is the part of R ⊗ D_(l−1) on degree l. Every entry is a polynomial in those of R, so derivatives exist
    everywhere; angles of Euler would lose them at the poles.

    Args:
        highest: at least 0.   rotation: (..., 3, 3), orthogonal; with determinant −1 harmonics are mirrored as polynomials.
        coupled: `couplings(highest)` in the rotation's dtype and on its device. Default: made here.

    Returns:
        highest + 1 tensors (..., 2l + 1, 2l + 1).

    Error: about l roundings, 1e-13 at l = 12.   Cost: 3·(2l + 1)³ products for each degree.
    Source: Ivanic and Ruedenberg, Rotation matrices for real spherical harmonics (1996), for the idea of the recursion.

    Example:
        >>> quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        >>> [tuple(d.shape) for d in wigner(2, quarter)]
        [(1, 1), (3, 3), (5, 5)]
    """
    found = [rotation.new_ones(*rotation.shape[:-2], 1, 1)]
    steps = [s.to(rotation) for s in couplings(highest)] if coupled is None else coupled
    for l in range(1, highest + 1):
        if l == 1:
            found.append(rotation)
            continue
        step = steps[l - 2]
        half = torch.einsum("iap,...pq->...iaq", step, found[-1])
        turned = torch.einsum("...iaq,...ab->...ibq", half, rotation)
        found.append(torch.matmul(turned.flatten(-2), step.flatten(1).T))
    return found


@lru_cache(maxsize=16)
def generators(highest: int) -> np.ndarray:
    """How small turns about x, y and z change harmonics: (3, (highest + 1)², (highest + 1)²), antisymmetric.

    Formula: the derivative of `wigner` at the identity along the turn about each axis, degree by degree.

    Example:
        >>> generators(1)[1, 1:, 1:].round().astype(int).tolist()  # about y: z goes to x, x to −z
        [[0, 0, 1], [0, 0, 0], [-1, 0, 0]]
    """
    found = np.zeros((3, (highest + 1) ** 2, (highest + 1) ** 2))
    for i in range(3):
        turn = np.zeros((3, 3))
        turn[(i + 2) % 3, (i + 1) % 3], turn[(i + 1) % 3, (i + 2) % 3] = 1, -1
        own = turn
        for l in range(1, highest + 1):
            if l > 1:
                step = _step(l)
                both = np.einsum("iaq,ab->ibq", step, turn) + np.einsum("iap,pq->iaq", step, own)
                own = np.einsum("ibq,jbq->ij", both, step)
            found[i, l * l : (l + 1) ** 2, l * l : (l + 1) ** 2] = own
    return found


def slopes(highest: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of all harmonics along two directions of the sphere, each (points, (highest + 1)²).

    Formula: along rings of equal latitude, and along meridians upwards, both of length 1 and to the right of each other seen from
    outside: with a point p and `u = y × p / ‖y × p‖`, `v = p × u`, turned about v (that is, along u) and about u backwards.

    Args:
        points: (n, 3) of length 1, none at a pole.
    """
    values = spherical_harmonics(highest, torch.from_numpy(points)).numpy()
    around = np.cross([0.0, 1.0, 0.0], points)
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    upwards = np.cross(points, around)
    turned = np.einsum("pa,iba->pib", values, generators(highest))  # f(p turned about axis i), to first order
    return np.einsum("pi,pib->pb", upwards, turned), -np.einsum("pi,pib->pb", around, turned)


@lru_cache(maxsize=32)
def bracket_table(l1: int, l2: int, l3: int) -> np.ndarray:
    """∫ p·(∇Y_a × ∇Y_b) Y_c for all harmonics up to these degrees: the couplings of odd parity, by exact quadrature.

    The bracket of two functions of the sphere, antisymmetric, is what the product lacks: it couples degrees whose sum is odd.
    For degree 1 it is the cross product of vectors.

    Example:
        >>> (bracket_table(1, 1, 1)[1:, 1:, 1:] / (3 / (4 * np.pi)) ** 0.5).round(12)[0, 1].tolist()  # x × y = z
        [0.0, 0.0, 1.0]
    """
    points, weights = quadrature(l1 + l2 + l3)
    values = spherical_harmonics(l3, torch.from_numpy(points)).numpy() * weights[:, None]
    first, second = slopes(l1, points), slopes(l2, points)
    found = np.einsum("pa,pb,pc->abc", first[0], second[1], values, optimize=True)
    found -= np.einsum("pa,pb,pc->abc", first[1], second[0], values, optimize=True)
    return np.where(np.abs(found) < 1e-12, 0, found)


@lru_cache(maxsize=128)
def coupling(l1: int, l2: int, l3: int) -> np.ndarray:
    """The one tensor (2l1 + 1, 2l2 + 1, 2l3 + 1) of norm 1 that rotations leave alone: Wigner's 3j symbol in real harmonics.

    Formula: the block of `gaunt_table`, or of `bracket_table` where l1 + l2 + l3 is odd, divided by its norm, as e3nn has it,
    sign included.

    Raises:
        ArgumentError: degrees that do not couple.

    Example:
        >>> coupling(1, 1, 0).round(3).squeeze().tolist()  # the scalar product / √3
        [[0.577, 0.0, 0.0], [0.0, 0.577, 0.0], [0.0, 0.0, 0.577]]
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ArgumentError.of(
            "coupling", "degrees of which each is at most the sum of the others", f"{l1}, {l2}, {l3}", "choose others"
        )
    points, weights = quadrature(l1 + l2 + l3)
    own = [slice(l * l, (l + 1) ** 2) for l in (l1, l2, l3)]
    values = spherical_harmonics(max(l1, l2, l3), torch.from_numpy(points)).numpy()
    if (l1 + l2 + l3) % 2 == 0:
        pairs = values[:, own[0], None] * values[:, None, own[1]]
    else:
        a, b = (np.stack(slopes(l, points))[..., at] for l, at in zip((l1, l2), own, strict=False))
        pairs = a[0][:, :, None] * b[1][:, None] - a[1][:, :, None] * b[0][:, None]
    found = np.einsum("pab,pc->abc", pairs, values[:, own[2]] * weights[:, None], optimize=True)
    found /= np.linalg.norm(found)
    return np.where(np.abs(found) < 1e-13, 0, found)


def align(vectors: Tensor) -> Tensor:
    """A rotation that takes each vector to the polar axis y: `R v / ‖v‖ = (0, 1, 0)`, (..., 3, 3).

    About the axis v × y where y ≥ 0; elsewhere after half a turn about x. Every vector lies deep inside one of the two charts, so
    results and derivatives are finite at the poles too; a vector 0 counts as y. The roll about y is arbitrary: what is done with it
    must not depend on it.
    """
    x, y, z = normalize(vectors, dim=-1).unbind(-1)
    y = torch.where(vectors.detach().square().sum(-1) > 0, y, 1.0)
    sign = torch.where(y < 0, -1.0, 1.0).to(y.dtype)
    c, w = y * sign, z * sign
    s = 1 / (1 + c)
    first = torch.stack([1 - x * x * s, -x * sign, -x * w * s * sign], -1)
    second = torch.stack([x, c * sign, w * sign], -1)
    third = torch.stack([-x * w * s, -w * sign, (1 - w * w * s) * sign], -1)
    return torch.stack([first, second, third], -2)


def rotate(features: Tensor, matrices: list[Tensor], back: bool = False) -> Tensor:
    """Features (n, (l + 1)², channels), degree by degree times D_l, or its transpose.

    Of each D_l some rows may be left out, whose results are not wanted: (2l' + 1, 2l + 1) with l' ≤ l gives as many numbers, and
    takes as many on the way back.

    Raises:
        ArgumentError: other matrices than degrees.
    """
    sizes = [d.shape[-2 if back else -1] for d in matrices]
    if features.shape[1] != sum(sizes):
        raise ArgumentError.of(
            "rotate", f"{sum(sizes)} harmonics for {len(matrices)} matrices", str(features.shape[1]), "match them"
        )
    pieces = zip(features.split(sizes, 1), matrices, strict=True)
    return torch.cat([torch.matmul(d.mT if back else d, x) for x, d in pieces], 1)
