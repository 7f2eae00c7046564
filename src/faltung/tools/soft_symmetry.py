"""How symmetric a model's weights are, and how to make them more so: projections, penalties with automatic strengths, softening.

A layer y = W x is equivariant iff W is its own projection P W, the mean over the group of `ρ_out(g) W ρ_in(g)⁻¹`. The distance
½‖W − P W‖² is a penalty with gradient W − P W, and `P W + α (W − P W)` leads from a symmetric layer (α = 0) to the given one.
"""

import copy as copies
import fnmatch
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn.symmetry import groups as grids


class GridGroup:
    """A finite group of turns and mirrors of the grid, as `faltung.nn.GroupConv` knows them, acting on kernels and their channels.

    Formula: `P W = 1/|G| Σ over g of ρ_out(g) W(g⁻¹ ·) ρ_in(g)⁻¹`, the mean over each orbit of (channel, channel, tap).

    Args:
        name: see `faltung.nn.symmetry.grid_group`, capitals or not: `C1`, `C2`, `C4`, `D1` (reflection of the last axis), `D2`,
            `D4` (p4m), `p6`, `p6m`, `O`, `Oh`; the number of axes is that of the kernel.
        in_field, out_field: `trivial` (channels stay), `regular` (fibres of |G| channels), or a subgroup. Default trivial.

    Raises:
        ArgumentError: another group or field.

    Example:
        >>> kernel = torch.zeros(1, 1, 3, 3)
        >>> kernel[0, 0, 0, 1] = 1
        >>> group = GridGroup("C4")
        >>> (kernel - group.project(kernel)).square().sum().item() / 2
        0.375
    """

    def __init__(self, name: str, in_field: Any = "trivial", out_field: Any = "trivial") -> None:
        known = [acting for acting in (_acting(name, ndim) for ndim in (1, 2, 3)) if acting is not None]
        if not known:
            raise ArgumentError.of(
                "GridGroup", "a group that maps the grid to itself (C4, D4, p6m, Oh, ...)", repr(name),
                "other angles move taps between samples",
            )  # fmt: skip
        for acting in known:
            acting.fibre(in_field), acting.fibre(out_field)
        self.name, self.in_field, self.out_field, self.order = name, in_field, out_field, known[0].order

    def acting(self, ndim: int) -> grids.GridGroup:
        """The group on grids of that many axes.

        Raises:
            ArgumentError: none there.
        """
        found = _acting(self.name, ndim)
        if found is None:
            raise ArgumentError.of(
                "GridGroup", f"a kernel on whose axes {self.name} acts", f"{ndim} axes", "choose another"
            )
        return found

    def fits(self, layer: nn.Module) -> bool:
        """Whether the layer has a kernel for this group."""
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, Tensor) or not 3 <= weight.ndim <= 5:
            return False
        acting, sizes = _acting(self.name, weight.ndim - 2), weight.shape[2:]
        if acting is None or (acting.hexagonal and any(n % 2 == 0 for n in sizes)):
            return False
        axes = range(len(sizes))
        return all(sizes[a] == sizes[b] for a in axes for b in axes if acting.exchanges(a, b))

    def project(self, weight: Tensor) -> Tensor:
        """The nearest kernel (out, in, *t) that is equivariant."""
        acting, sizes = self.acting(weight.ndim - 2), tuple(weight.shape[2:])
        to, source = acting.fibre(self.out_field), acting.fibre(self.in_field)
        if weight.shape[0] % to.size or weight.shape[1] % source.size:
            raise ArgumentError.of(
                "GridGroup", f"channels in fibres of {to.size} and {source.size}", f"{tuple(weight.shape[:2])}",
                "use a trivial field there",
            )  # fmt: skip
        table = torch.from_numpy(grids.sharing(acting, sizes, to.subgroup, source.subgroup)).to(weight.device)
        numbers = int(table.max()) + 1
        where = torch.where(table < 0, numbers, table).flatten()  # behind the last: entries that must be zero
        blocks = weight.reshape(-1, to.size, weight.shape[1] // source.size, source.size, math.prod(sizes))
        flat = blocks.transpose(1, 2).flatten(2)
        sums = flat.new_zeros(*flat.shape[:2], numbers + 1).index_add(2, where, flat)[..., :numbers]
        means = nn.functional.pad(sums / where.bincount(minlength=numbers)[:numbers], (0, 1))
        return means[..., where].unflatten(2, table.shape).transpose(1, 2).reshape(weight.shape)

    def project_bias(self, bias: Tensor) -> Tensor:
        """The nearest bias (out) that is invariant."""
        fields = bias.reshape(-1, self._out_size())
        return fields.mean(1, keepdim=True).expand_as(fields).reshape(-1)

    def _out_size(self) -> int:
        acting = next(found for ndim in (1, 2, 3) if (found := _acting(self.name, ndim)) is not None)
        return acting.fibre(self.out_field).size


def _acting(name: Any, ndim: int) -> grids.GridGroup | None:
    """The group of that name on so many axes, if there is one that maps the grid to itself."""
    try:
        found = grids.grid_group(name.lower() if isinstance(name, str) else name, ndim)
    except ArgumentError:
        return None
    return found if found.exact else None


class LinearGroup:
    """A group that acts on vectors by matrices, before and after a linear layer: all elements, or what generates it.

    Formula: from all elements alone `P W = mean over g of ρ_out(g) W ρ_in(g)⁻¹` and `P b = mean over g of ρ_out(g) b`. With
    generators the orthogonal projection onto the W with `A_out W = W A_in` for every pair and the b with `A_out b = 0` (of a Lie
    algebra) or `ρ_out b = b` (discrete): what is left alone by all pairs together, elements too.

    Args:
        elements: pairs (ρ_in(g), ρ_out(g)) of all elements of a finite group; beside generators any elements.
        generators: pairs (A_in, A_out) of a Lie algebra, antisymmetric for rotations. Default: none.
        discrete: pairs (ρ_in(g), ρ_out(g)) of elements that with the rest generate the group: one mirror makes O(3) of the
            generators of SO(3), one turn a whole finite group. Default: none.

    Raises:
        ArgumentError: no pair at all, or pairs of other than square matrices, each of one size throughout.

    Error: a list of elements alone has to be a whole group, orthogonal; what is none gives no projection (`project` twice differs).
        With generators P is a projection for any matrices, up to rounding, whatever their lengths: each pair counts as if its
        largest entry were 1 (a generator and its multiples generate the same), and singular values below 1e-9 count as 0.
    Cost: a matrix product for each element; with generators one singular value decomposition at the start, of pairs·in·out rows
    and in·out columns.
    Source: Kim, Lee, Yang and Lee, Regularizing towards soft equivariance under mixed symmetries (2023).

    Example:
        >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> group = LinearGroup([(torch.matrix_power(turn, k),) * 2 for k in range(4)])
        >>> group.project(torch.tensor([[1.0, 0.0], [0.0, -1.0]])).abs().max().item()
        0.0
        >>> to_scalar = LinearGroup(generators=[(turn, torch.zeros(1, 1))])  # its bias is left as it is
        >>> to_scalar.project_bias(torch.tensor([2.0]))
        tensor([2.])
    """

    def __init__(
        self,
        elements: Sequence[tuple[Tensor, Tensor]] = (),
        generators: Sequence[tuple[Tensor, Tensor]] = (),
        discrete: Sequence[tuple[Tensor, Tensor]] = (),
    ) -> None:
        pairs = [(a.double(), b.double()) for a, b in (*elements, *generators, *discrete)]
        if not pairs:
            raise ArgumentError.of("LinearGroup", "elements or generators", "neither", "give pairs of matrices")
        ends = {(tuple(a.shape), tuple(b.shape)) for a, b in pairs}
        (before, *_), (after, *_) = pairs[0][0].shape, pairs[0][1].shape
        if ends != {((before, before), (after, after))}:
            raise ArgumentError.of(
                "LinearGroup", "pairs of square matrices, all of the same two sizes", f"{sorted(ends)}",
                "give (before, after) for every element or generator",
            )  # fmt: skip
        self.sizes = (after, before)
        self.elements = pairs[: len(elements)]
        self.basis: Tensor | None = None
        self.fixed: Tensor | None = None
        if generators or discrete:
            one, other = torch.eye(before).double(), torch.eye(after).double()
            # W flattened by rows: (A_out ⊗ I − I ⊗ A_inᵀ) vec W = 0, for elements as for generators of a Lie algebra.
            self.basis = _left_alone([
                (torch.kron(b, one) - torch.kron(other, a.T.contiguous())) / _largest(a, b) for a, b in pairs
            ])  # fmt: skip
            lie = range(len(elements), len(elements) + len(generators))
            self.fixed = _left_alone([
                b / _largest(b) if n in lie else (b - other) / _largest(b, other) for n, (_, b) in enumerate(pairs)
            ])  # fmt: skip

    def fits(self, layer: nn.Module) -> bool:
        """Whether the layer's weight has the size of the group's matrices."""
        weight = getattr(layer, "weight", None)
        return isinstance(weight, Tensor) and tuple(weight.shape) == self.sizes

    def project(self, weight: Tensor) -> Tensor:
        """The nearest matrix (out, in) that is equivariant."""
        w = weight.double()
        if self.basis is not None:
            basis = self.basis.to(w.device)
            return (basis.T @ (basis @ w.reshape(-1))).reshape(w.shape).to(weight.dtype)
        pairs = [(a.to(w.device), b.to(w.device)) for a, b in self.elements]
        return torch.stack([b @ w @ torch.linalg.inv(a) for a, b in pairs]).mean(0).to(weight.dtype)

    def project_bias(self, bias: Tensor) -> Tensor:
        """The nearest bias (out) that nothing in the group moves: of a sum of fields its scalars, and 0 elsewhere."""
        v = bias.double()
        if self.fixed is not None:
            fixed = self.fixed.to(v.device)
            return (fixed.T @ (fixed @ v)).to(bias.dtype)
        return torch.stack([b.to(v.device) @ v for _, b in self.elements]).mean(0).to(bias.dtype)


def _largest(*matrices: Tensor) -> float:
    """The size of the largest entry, 1 where all are 0."""
    return max(float(m.abs().max()) for m in matrices) or 1.0


def _left_alone(maps: list[Tensor]) -> Tensor:
    """An orthonormal basis, in rows, of what all these matrices send to 0, made of matrices whose largest entries are about 1."""
    _, sizes, right = torch.linalg.svd(torch.cat(maps), full_matrices=False)
    return right[int((sizes > 1e-9).sum()) :]


def symmetry_penalty(model: nn.Module, groups: Mapping[str, Any]) -> dict[str, Tensor]:
    """For each candidate symmetry, how far the weights of a model's layers are from it: a differentiable number to add to a loss.

    Formula: `R_j = Σ over layers of ½‖W − P_j W‖² + ½‖b − P_j b‖²`, with gradients W − P W and b − P b.

    Args:
        groups: for each name a `GridGroup` or `LinearGroup`, for all layers that it fits, or a mapping of patterns of layer names
            to groups, for hidden layers whose fields differ.

    Returns:
        A number for each name.

    Raises:
        ArgumentError: a group that fits no layer.

    Source: Kim, Lee, Yang and Lee, Regularizing towards soft equivariance under mixed symmetries (2023). Averages replace dense
    projectors of size (in · out)².

    Example:
        >>> layer = nn.Conv2d(1, 1, 3, bias=False)
        >>> nn.init.ones_(layer.weight) is layer.weight
        True
        >>> symmetry_penalty(layer, {"C4": GridGroup("C4")})["C4"].item()
        0.0
    """
    found = {}
    for name, group in groups.items():
        terms = []
        for _, layer, own in _fitting(model, group):
            terms.append((layer.weight - own.project(layer.weight)).square().sum() / 2)
            if getattr(layer, "bias", None) is not None:
                terms.append((layer.bias - own.project_bias(layer.bias)).square().sum() / 2)
        if not terms:
            raise ArgumentError.of(
                "symmetry_penalty", f"a layer that {name!r} fits", "none", "check the sizes of its matrices"
            )
        found[name] = torch.stack(terms).sum()
    return found


def soften(model: nn.Module, group: Any, alpha: float) -> nn.Module:
    """A copy of a model whose weights are part of the way to their symmetric projections, without any training.

    Formula: `W_α = P W + α (W − P W)`: α = 1 the model as it is, α = 0 layers that are exactly equivariant.

    Args:
        group: as in `symmetry_penalty`.   alpha: within [0, 1].

    Raises:
        ArgumentError: another α, a group that fits no layer.

    Source: as `symmetry_penalty`.

    Example:
        >>> soften(nn.Conv2d(1, 2, 3), GridGroup("C4"), 0.0).weight[0, 0, 0, 0].shape
        torch.Size([])
    """
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
        raise ArgumentError.of("soften", "an alpha within [0, 1]", repr(alpha), "0 is symmetric, 1 leaves all as it is")
    made = copies.deepcopy(model)
    layers = list(_fitting(made, group))
    if not layers:
        raise ArgumentError.of("soften", "a layer that the group fits", "none", "check kernels and matrices")
    with torch.no_grad():
        for _, layer, own in layers if alpha < 1 else ():
            near = own.project(layer.weight)
            layer.weight.copy_(near + alpha * (layer.weight - near))
            if getattr(layer, "bias", None) is not None:
                near = own.project_bias(layer.bias)
                layer.bias.copy_(near + alpha * (layer.bias - near))
    return made


def symmetric_share(model: nn.Module, group: Any) -> dict[str, float]:
    """Which share of each layer's weights is symmetric: ‖P W‖² / ‖W‖², from |invariants| / |weights| for noise to 1.

    Args:
        group: as in `symmetry_penalty`.

    Source: as `symmetry_penalty`.

    Example:
        >>> layer = nn.Conv2d(1, 1, 3)
        >>> nn.init.ones_(layer.weight) is layer.weight
        True
        >>> symmetric_share(layer, GridGroup("D4"))
        {'': 1.0}
    """
    with torch.no_grad():
        found = ((name, layer.weight.double(), own) for name, layer, own in _fitting(model, group))
        return {n: (own.project(w).square().sum() / w.square().sum().clamp(min=1e-300)).item() for n, w, own in found}


class AutoStrength:
    """Strengths of several symmetry penalties, set once from what training made of them: who is broken by the data counts less.

    Formula: all λ_j start equal; penalties R_j are averaged over calls of `update` until `adjust`, which sets
    `λ_j ← λ_j (min over i of R_i / R_j)^p`. The published factor is not known in detail; this is its stated principle.

    Args:
        start: the first strength of all, above 0. Default 1.   power: p, above 0. Default 1.

    Raises:
        ArgumentError: numbers out of range; an adjustment without penalties.

    Source: Kim, Lee, Yang and Lee, Regularizing towards soft equivariance under mixed symmetries (2023).

    Example:
        >>> strength = AutoStrength()
        >>> strength.update({"a": torch.tensor(0.5), "b": torch.tensor(2.0)}).item()
        2.5
        >>> strength.adjust()
        {'a': 1.0, 'b': 0.25}
    """

    def __init__(self, start: float = 1.0, power: float = 1.0) -> None:
        if not start > 0 or not power > 0:
            raise ArgumentError.of("AutoStrength", "a start and a power above 0", f"{start}, {power}", "use 1 and 1")
        self.start, self.power = start, power
        self.strengths: dict[str, float] = {}
        self._sums: dict[str, float] = {}

    def update(self, penalties: Mapping[str, Tensor]) -> Tensor:
        """The sum of the penalties by their strengths, to be added to the loss; their sizes are remembered."""
        for name, value in penalties.items():
            self.strengths.setdefault(name, self.start)
            self._sums[name] = self._sums.get(name, 0.0) + value.detach().double().item()
        return torch.stack([self.strengths[name] * value for name, value in penalties.items()]).sum()

    def adjust(self) -> dict[str, float]:
        """Set the strengths from the penalties so far, forget these, and return the strengths."""
        if not self._sums:
            raise ArgumentError.of("AutoStrength.adjust", "penalties", "none", "call update in the training loop first")
        least = max(min(self._sums.values()), 1e-300)
        for name, total in self._sums.items():
            self.strengths[name] *= (least / max(total, 1e-300)) ** self.power
        self._sums = {}
        return dict(self.strengths)


def _fitting(model: nn.Module, group: Any) -> Iterator[tuple[str, Any, Any]]:
    """Names, layers and the group of each layer that it fits."""
    patterns = group.items() if isinstance(group, Mapping) else (("*", group),)
    for name, layer in model.named_modules():
        own = next((g for pattern, g in patterns if fnmatch.fnmatchcase(name, pattern)), None)
        if own is not None and own.fits(layer):
            yield name, layer, own
