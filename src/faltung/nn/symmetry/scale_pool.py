"""ScalePool: the largest or the mean value over scales."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, Example, Layer, Symmetry, rolled

POOLS = ("max", "mean")


class ScalePool(Layer):
    """The maximum or the mean of each field over its scales: what is left moves with the image alone.

    Formula: `y(c) = max over j of x(j, c)`, or the mean.

    Shapes: input (batch, fields·scales, *n) as `ScaleConv` makes it, returns (batch, fields, *n).

    Args:
        ndim: number of spatial axes, 1 to 3.   fields, scales: at least 1.   pool: "max" (default) or "mean".

    Raises:
        ArgumentError: settings that name no layer.

    Error: a zoom of the image leaves the result as it is but for the scales that leave at one end and come in at the other: a
    maximum keeps its value as long as its own scale stays.
    Source: Sosnovik, Szmaja and Smeulders, Scale-equivariant steerable networks (2020).

    Example:
        >>> ScalePool(2, 8, 4)(torch.zeros(1, 32, 5, 5)).shape
        torch.Size([1, 8, 5, 5])
    """

    name = "scale-pool"
    summary = "the maximum or mean of fields over scales"
    source = "Sosnovik, Szmaja and Smeulders, Scale-equivariant steerable networks (2020)"
    cost = "scales"
    dims = (1, 2, 3)

    def __init__(self, ndim: int, fields: int, scales: int = 4, pool: str = "max") -> None:
        super().__init__()
        self.ndim, self.fields, self.scales = functional.numbers("ndim, fields, scales", (ndim, fields, scales), 3, 1)
        if pool not in POOLS:
            raise ArgumentError.of("ScalePool", f"pool among {', '.join(POOLS)}", repr(pool), "choose one of these")
        self.pool = pool

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.fields * self.scales, self.ndim)
        each = input.unflatten(1, (self.fields, self.scales))
        return each.amax(2) if self.pool == "max" else each.mean(2)

    def definition(self, *inputs: Any) -> Tensor:
        fields = inputs[0].split(self.scales, 1)
        if self.pool == "max":
            return torch.stack([field.max(1).values for field in fields], 1)
        return torch.stack([sum(field.unbind(1)) / self.scales for field in fields], 1)

    @property
    def claims(self) -> frozenset[str]:
        return super().claims | ({LINEAR} if self.pool == "mean" else set())

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.fields, *inputs[0][2:])

    def parameter_count(self) -> int:
        return 0

    def symmetries(self) -> Iterable[Symmetry]:
        def along(x: Tensor) -> Tensor:
            return x.unflatten(1, (self.fields, self.scales)).roll(1, 2).flatten(1, 2)

        yield rolled(1, self.ndim)
        yield Symmetry("scales exchanged", along)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "fields": 2, "scales": 3}, ((2, 6, 3, 2),))
        yield Example({"ndim": 1, "fields": 3, "scales": 2, "pool": "mean"}, ((2, 6, 4),))
