"""Fields pooled over their fibres, and normalised with one mean and variance for each field."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, Symmetry
from faltung.nn.symmetry.acting import acts
from faltung.nn.symmetry.groups import grid_group

POOLS = ("max", "mean", "norm")


class GroupPool(Layer):
    """The values of a fibre pooled: over the whole group to an invariant, or over cosets to a coarser field.

    Formula: `y(gH) = max, mean or √Σ² over all x(c), c ⊂ gH`, for a field on the cosets c of a subgroup of H.

    Shapes: input (batch, fields·|F|, *n), returns (batch, fields·|F'|, *n).

    Args:
        ndim: number of spatial axes, 1 to 3.   fields: at least 1.   group: as for `GroupConv`.
        in_type, out_type: as for `GroupConv`; the subgroup of in_type lies in that of out_type. Default: "regular" to "trivial".
        pool: "max" (default), "mean" or "norm".

    Raises:
        ArgumentError: settings that name no layer.

    Source: Cohen and Welling, Group equivariant convolutional networks (2016).

    Example:
        >>> GroupPool(2, 3, "p4")(torch.zeros(1, 12, 5, 5)).shape
        torch.Size([1, 3, 5, 5])
    """

    name = "group-pool"
    summary = "the values of a fibre pooled to an invariant, or over cosets to a coarser field"
    source = "Cohen and Welling, Group equivariant convolutional networks (2016)"
    cost = "|F| / |F'|"
    dims = (1, 2, 3)

    table: Tensor

    def __init__(
        self,
        ndim: int,
        fields: int,
        group: str = "p4",
        in_type: Any = "regular",
        out_type: Any = "trivial",
        pool: str = "max",
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        (self.fields,) = functional.numbers("fields", fields, 1, 1)
        if pool not in POOLS:
            raise ArgumentError.of("GroupPool", f"pool among {', '.join(POOLS)}", repr(pool), "choose one of these")
        self.acting, self.pool = grid_group(group, self.ndim), pool
        self.before, self.after = self.acting.fibre(in_type), self.acting.fibre(out_type)
        if not self.before.subgroup <= self.after.subgroup:
            raise ArgumentError.of(
                "GroupPool", "an out_type that is coarser than in_type", f"{in_type!r} to {out_type!r}", "choose a larger one"
            )  # fmt: skip
        of = self.before.of
        rows = [sorted({int(of[g]) for g in coset}) for coset in self.after.cosets]
        self.register_buffer("table", torch.tensor(rows), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.fields * self.before.size, self.ndim)
        each = input.unflatten(1, (self.fields, self.before.size))[:, :, self.table]
        if self.pool == "max":
            return each.amax(3).flatten(1, 2)
        if self.pool == "mean":
            return each.mean(3).flatten(1, 2)
        square = each.square().sum(3)
        root = torch.where(square > 0, square, 1).sqrt()  # the norm has no slope at 0; 0 is taken
        return torch.where(square > 0, root, 0).flatten(1, 2)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        fibres = x.split(self.before.size, 1)
        results = []
        for fibre in fibres:
            for coset in self.after.cosets:
                values = torch.stack(
                    [fibre[:, c] for c, own in enumerate(self.before.cosets) if set(own) <= set(coset)]
                )
                if self.pool == "max":
                    results.append(values.max(0).values)
                else:
                    results.append(values.sum(0) / len(values) if self.pool == "mean" else values.norm(dim=0))
        return torch.stack(results, 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.fields * self.after.size, *inputs[0][2:])

    def parameter_count(self) -> int:
        return 0

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({PER_SAMPLE, LINEAR}) if self.pool == "mean" else frozenset({PER_SAMPLE})

    def symmetries(self) -> Iterable[Symmetry]:
        yield from acts(self.acting, self.before, self.after)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield from acts(self.acting, self.before, self.after, random)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "fields": 2, "group": "p4m", "out_type": "c4"}, ((2, 16, 3, 2),))
        yield Example(
            {"ndim": 3, "fields": 1, "group": "o", "in_type": "c2", "out_type": "c4", "pool": "mean"},
            ((1, 12, 2, 2, 1),),
        )


class GroupBatchNorm(Layer):
    """Batch normalisation with one mean, variance, factor and constant for each field, shared by its fibre.

    Formula: `y = weight·(x − mean) / √(variance + ε) + bias`, mean and variance over batch, places and fibre; running values in
    evaluation mode. torch's own normalisation on the flattened channels would weigh each value of a fibre on its own, and break the
    symmetry.

    Shapes: input (batch, fields·|F|, *n), returns the same; parameters and running values (fields).

    Args:
        ndim: number of spatial axes, 1 to 3.   fields: at least 1.   group, kind: group and type of the fields, as for `GroupConv`.
        eps, momentum, affine, device, dtype: as for `torch.nn.BatchNorm2d`.

    Source: Ioffe and Szegedy, Batch normalization (2015); Cohen and Welling, Group equivariant convolutional networks (2016).

    Example:
        >>> GroupBatchNorm(2, 3, "p4m")(torch.randn(2, 24, 4, 4)).shape
        torch.Size([2, 24, 4, 4])
    """

    name = "group-batch-norm"
    summary = "batch normalisation that treats the values of a fibre alike"
    source = "Cohen and Welling, Group equivariant convolutional networks (2016)"
    cost = "1"
    dims = (1, 2, 3)

    def __init__(
        self,
        ndim: int,
        fields: int,
        group: str = "p4",
        kind: Any = "regular",
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        (self.fields,) = functional.numbers("fields", fields, 1, 1)
        self.acting = grid_group(group, self.ndim)
        self.fibre = self.acting.fibre(kind)
        self.norm = nn.BatchNorm1d(self.fields, eps, momentum, affine, device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.fields * self.fibre.size, self.ndim)
        merged = input.reshape(input.shape[0], self.fields, self.fibre.size * math.prod(input.shape[2:]))
        return self.norm(merged).reshape(input.shape)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        results = []
        for f, values in enumerate(x.split(self.fibre.size, 1)):
            mean, variance = self.norm.running_mean[f], self.norm.running_var[f]
            y = (values - mean) / (variance + self.norm.eps).sqrt()
            results.append(y if self.norm.weight is None else y * self.norm.weight[f] + self.norm.bias[f])
        return torch.cat(results, 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return 2 * self.fields if self.norm.affine else 0

    def symmetries(self) -> Iterable[Symmetry]:
        yield from acts(self.acting, self.fibre, self.fibre)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield from acts(self.acting, self.fibre, self.fibre, random)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "fields": 2, "group": "d2"}, ((3, 8, 3, 2),))
