"""Convolution along a finite group by its irreducible matrices: a product of small blocks in place of one of |G| × |G| entries.

`y(g) = Σ over h of ψ(g⁻¹h) x(h)` becomes `Y(ρ) = X(ρ)·Ψ(ρ)` with `X(ρ) = Σ_h x(h) ρ(h)` and `Ψ(ρ) = Σ_k ψ(k) ρ(k)ᵀ`: of |G|²
products for each pair of fields `Σ_ρ d³` are left, 16 → 6 for C₄, 64 → 12 for D₄, 576 → 64 for the rotations of a cube.
"""

import itertools
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.domains.group import Group


@lru_cache(maxsize=64)
def real_irreps(group: Group) -> tuple[np.ndarray, ...]:
    """All irreducible real orthogonal representations, (|G|, d, d) each, up to equivalence.

    What commutes with all left translations of functions on the group are right convolutions; the eigenspaces of a symmetric one
    with numbers drawn at random are irreducible, and each kind of them comes at least once.

    Example:
        >>> from faltung.domains.group import dihedral
        >>> sorted(r.shape[1] for r in real_irreps(dihedral(4)))
        [1, 1, 1, 1, 2]
    """
    order, table = group.order, group.table
    draw = np.random.default_rng(0).normal(size=order)
    weights = draw + draw[group.inverses]
    right = np.zeros((order, order))
    for k in range(order):
        right[np.arange(order), table[:, k]] += weights[k]
    values, vectors = np.linalg.eigh(right)
    starts = [0, *(np.flatnonzero(np.diff(values) > 1e-8) + 1), order]
    found: list[np.ndarray] = []
    for lo, hi in itertools.pairwise(starts):
        basis = vectors[:, lo:hi]
        moved = np.stack([basis[table[group.inverses[g]]] for g in range(order)])  # (L_g v)(h) = v(g⁻¹h)
        matrices = np.einsum("ha,ghb->gab", basis, moved)
        traces = np.trace(matrices, axis1=1, axis2=2)
        if all(abs(np.trace(r, axis1=1, axis2=2) - traces).max() > 1e-6 for r in found):
            found.append(np.ascontiguousarray(matrices))
    return tuple(sorted(found, key=lambda r: (r.shape[1], -r[:, 0, 0].sum())))


def products(group: Group) -> int:
    """Multiplications for one pair of fields, Σ d³, pairs of conjugate representations taken together."""
    return sum(_rows(r) * r.shape[1] ** 2 for r in real_irreps(group))


def _rows(matrices: np.ndarray) -> int:
    """How many rows tell all: one of two where the matrices are turns of the plane, which are complex numbers."""
    turns = matrices.shape[1] == 2 and bool(abs(matrices[:, 0, 0] - matrices[:, 1, 1]).max() < 1e-9)
    return 1 if turns else matrices.shape[1]


class GroupProduct(nn.Module):
    """For fields on a group and a function on it for each pair of fields, the convolution along the group at every place.

    Formula: `y[o](g) = Σ over i, h of ψ[o, i](g⁻¹h) x[i](h)`.

    Shapes: x (batch, in, |G|, places), ψ (out, in, |G|), returns (batch, out, |G|, places).

    Cost: Σ d³ products for a pair of fields and a place, and 2·|G| for each value on the ways there and back.
    Source: Diaconis, Group representations in probability and statistics (1988), for the transform.
    """

    there: Tensor
    back: Tensor
    whole: Tensor

    def __init__(self, group: Group, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        kinds = sorted(((_rows(r), r.shape[1], r) for r in real_irreps(group)), key=lambda kind: kind[:2])
        rows = [r[:, :m].reshape(group.order, -1) for m, _, r in kinds]
        forth = np.concatenate(rows, 1)
        scales = np.concatenate([np.full(m * d, d / group.order) for m, d, _ in kinds])
        turned = np.concatenate([r.transpose(0, 2, 1).reshape(group.order, -1) for _, _, r in kinds], 1)
        for name, table in (("there", forth.T), ("back", forth * scales), ("whole", turned)):
            made = torch.tensor(np.ascontiguousarray(table)).to(device=device, dtype=dtype or torch.get_default_dtype())
            self.register_buffer(name, made, persistent=False)
        self.sizes = [(len(list(same)), *size) for size, same in itertools.groupby(kind[:2] for kind in kinds)]

    def forward(self, x: Tensor, psi: Tensor) -> Tensor:
        """All representations of one size in one batch of products."""
        (out, within), (batch, _, order, places) = psi.shape[:2], x.shape
        turned = torch.matmul(self.there, x.permute(2, 1, 0, 3).reshape(order, within * batch * places))
        weights = torch.matmul(psi, self.whole)  # (out, in, entries)
        found, at, start = [], 0, 0
        for count, m, d in self.sizes:
            block = weights[..., start : start + count * d * d].reshape(out, within, count, d, d).permute(2, 0, 4, 1, 3)
            part = turned[at : at + count * m * d].reshape(count, m, d, within, batch * places).permute(0, 3, 2, 1, 4)
            mixed = torch.bmm(
                block.reshape(count, out * d, within * d), part.reshape(count, within * d, m * batch * places)
            )
            mixed = mixed.reshape(count, out, d, m, batch * places).permute(0, 3, 2, 1, 4)
            found.append(mixed.reshape(count * m * d, out * batch * places))
            at, start = at + count * m * d, start + count * d * d
        return torch.matmul(self.back, torch.cat(found)).reshape(order, out, batch, places).permute(2, 1, 0, 3)
