"""Fourier transforms on finite groups, where a convolution becomes products of matrices.

Symmetric groups by Young's orthogonal form, cyclic and dihedral ones by the FFT, any other of up to 1024 elements by
representations found numerically.
"""

import math
import re
from collections.abc import Hashable

import numpy as np

from faltung.cayley.irreducibles import irreducibles
from faltung.cayley.young import young_fourier, young_inverse
from faltung.domains.group import FAMILIES, Group, known
from faltung.errors import ArgumentError

Transform = dict[Hashable, np.ndarray]


def kind(G: Group | str) -> tuple[str, int]:
    """("symmetric" | "cyclic" | "dihedral" | "group", its parameter or order); symmetric groups need no table and no Group."""
    text = G if isinstance(G, str) else G.text
    found = re.fullmatch(r"(\w+)\((\d+)(-\w+)?\)", text.replace(" ", ""))
    if found and found[1] in FAMILIES:
        return found[1], int(found[2])
    made = G if isinstance(G, Group) else known(text)
    if made is None:
        raise ArgumentError.of("group", 'a group, or "symmetric(n)", "dihedral(n)", "cyclic(n)"', repr(G), "name one")
    return "group", made.order


def order(G: Group | str) -> int:
    """|G|."""
    family, n = kind(G)
    return {"symmetric": math.factorial(n), "dihedral": 2 * n}.get(family, n)


def group_fourier(x: np.ndarray, G: Group | str) -> Transform:
    """The Fourier transform of a function on a finite group: one square matrix for each irreducible representation.

    Formula: `F(x)(ρ) = Σ_g x(g) ρ(g)`; so `F(x ∗ k)(ρ) = F(x)(ρ) F(k)(ρ)` and `Σ_ρ d_ρ ‖F(x)(ρ)‖² / |G| = ‖x‖²`.

    Args:
        x: (|G|,) real or complex, in the group's order of elements.
        G: from `faltung.domains.group`, or its name; "symmetric(n)" up to n = 10, other groups up to 1024 elements.

    Returns:
        name → (d, d) matrix. Names: partitions for symmetric groups; the frequency k, ρ_k(g) = e^(−2πi·kg/n), for cyclic ones;
        "1", "s", "r", "rs" for the one-dimensional and 1, 2, ... for the two-dimensional ones of dihedral groups, real; numbers for
        others.

    Raises:
        ArgumentError: an array of another size, a group too large.

    Error: log₂|G| roundings for cyclic and dihedral groups, n² for symmetric ones, relative to Σ|x|; up to 1e-9 for others.
    Cost: |G|·log|G|; n²·n!/2 for symmetric groups; |G|² for others, whose representations are found once, by |G|³.
    Source: Frobenius (1896), Schur (1905); Young (1931) for symmetric groups.

    Example:
        >>> {name: m.tolist() for name, m in group_fourier(np.ones(6), "dihedral(3)").items()}
        {'1': [[6.0]], 's': [[0.0]], 1: [[0.0, 0.0], [0.0, 0.0]]}
    """
    family, n = kind(G)
    a = _checked(x, G)
    if family == "symmetric":
        F: Transform = {}
        F.update((shape, m) for shape, m in young_fourier(a, n).items())
        return F
    if family == "cyclic":
        return {k: v.reshape(1, 1) for k, v in enumerate(np.fft.fft(a))}
    if family == "dihedral":
        return _dihedral(a, n)
    return {i: np.tensordot(a, rho, axes=1) for i, rho in enumerate(irreducibles(_made(G)))}


def group_inverse(F: Transform, G: Group | str) -> np.ndarray:
    """The function with this Fourier transform: `x(g) = (1/|G|) Σ_ρ d_ρ tr(ρ(g⁻¹) F(ρ))`, (|G|,); complex where F is.

    Error: as the transform.
    """
    family, n = kind(G)
    if family == "symmetric":
        return young_inverse(F, n)  # type: ignore[arg-type]
    if family == "cyclic":
        return np.fft.ifft(np.array([F[k][0, 0] for k in range(n)]))
    if family == "dihedral":
        return _dihedral_inverse(F, n)
    group = _made(G)
    total = sum(
        rho.shape[1] * np.einsum("gij,ij->g", rho.conj(), F[i], optimize=True)
        for i, rho in enumerate(irreducibles(group))
    )
    return np.asarray(total) / group.order


def energies(F: Transform, G: Group | str) -> dict[Hashable, float]:
    """`d_ρ ‖F(ρ)‖² / |G|` of each representation; their sum is ‖x‖²."""
    size = order(G)
    return {name: len(m) * float(np.sum(np.abs(m) ** 2)) / size for name, m in F.items()}


def real_names(G: Group | str) -> tuple[tuple[Hashable, ...], ...]:
    """The representations in the groups that real functions cannot tell apart: each alone, or with its complex conjugate."""
    family, n = kind(G)
    if family == "cyclic":
        return tuple((k,) if 2 * k in (0, n) else (k, n - k) for k in range(n // 2 + 1))
    if family != "group":
        return tuple((name,) for name in group_fourier(np.zeros(order(G)), G))
    characters = [np.trace(r, axis1=1, axis2=2) for r in irreducibles(_made(G))]
    partner = [int(np.argmax([abs(np.sum(c * d)) for d in characters])) for c in characters]
    return tuple((i,) if i == j else (i, j) for i, j in enumerate(partner) if i <= j)


def _dihedral(a: np.ndarray, n: int) -> Transform:
    X, Y = np.fft.fft(a[:n]), np.fft.fft(a[n:])  # rotations, reflections
    back = -np.arange(n)
    (C, S), (D, T) = (((v + v[back]) / 2, (v[back] - v) / 2j) for v in (X, Y))  # sums with cosines and sines
    F: Transform = {"1": _one(C[0] + D[0]), "s": _one(C[0] - D[0])}
    if n % 2 == 0:
        F |= {"r": _one(C[n // 2] + D[n // 2]), "rs": _one(C[n // 2] - D[n // 2])}
    for j in range(1, (n + 1) // 2):
        F[j] = np.array([[C[j] + D[j], T[j] - S[j]], [S[j] + T[j], C[j] - D[j]]])
    return F if a.dtype.kind == "c" else {name: m.real for name, m in F.items()}


def _dihedral_inverse(F: Transform, n: int) -> np.ndarray:
    complex_ = any(np.iscomplexobj(m) for m in F.values())
    C, S, D, T = np.zeros((4, n), np.complex128 if complex_ else np.float64)
    ends = [(0, "1", "s")] + ([(n // 2, "r", "rs")] if n % 2 == 0 else [])
    for j, plus, minus in ends:
        p, m = F[plus][0, 0], F[minus][0, 0]
        C[j], D[j] = (p + m) / 2, (p - m) / 2
    for j in range(1, (n + 1) // 2):
        (a, b), (c, d) = F[j]
        C[j], D[j], S[j], T[j] = (a + d) / 2, (a - d) / 2, (c - b) / 2, (c + b) / 2
        C[-j], D[-j], S[-j], T[-j] = C[j], D[j], -S[j], -T[j]
    x = np.concatenate([np.fft.ifft(C - 1j * S), np.fft.ifft(D - 1j * T)])
    return x if complex_ else x.real


def _one(value: complex) -> np.ndarray:
    return np.array([[value]])


def _made(G: Group | str) -> Group:
    group = G if isinstance(G, Group) else known(G)
    assert group is not None  # kind() has looked
    return group


def _checked(x: np.ndarray, G: Group | str) -> np.ndarray:
    a = np.asarray(x)
    if a.shape != (order(G),):
        raise ArgumentError.of("group_fourier", f"{order(G)} values", f"shape {a.shape}", "give one for each element")
    return a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)
