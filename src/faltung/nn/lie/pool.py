"""What follows group convolutions on sampled elements: a pool over them, and a norm that treats them alike."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, Example, Layer, Symmetry, rolled
from faltung.nn.branches.merging import AnyBatchNorm

SOURCE = "Mironenco and Forré, Lie group decompositions for equivariant neural networks (2024)"
KINDS = ("max", "mean")


class LieGroupPool(Layer):
    """The maximum or the mean of each field over the elements of a sample: what is left moves with the image alone.

    Formula: `y(x, c) = max over g of f(x, g, c)`, or the mean.

    Shapes: input (batch, fields·|sample|, *n), returns (batch, fields, *n).

    Args:
        ndim: number of spatial axes, 1 to 3.   fields: at least 1; how many elements there are is read off the input.
        kind: "max" (default) or "mean".

    Raises:
        ArgumentError: channels that fields do not divide.

    Error: invariant to the group as far as the sample represents it.
    Source: Mironenco and Forré, Lie group decompositions for equivariant neural networks (2024).

    Example:
        >>> LieGroupPool(2, 8)(torch.zeros(1, 80, 5, 5)).shape
        torch.Size([1, 8, 5, 5])
    """

    name = "lie-group-pool"
    summary = "the maximum or mean over sampled elements of a matrix group"
    source = SOURCE
    cost = "0"
    dims = (1, 2, 3)

    def __init__(self, ndim: int, fields: int, kind: str = "max") -> None:
        super().__init__()
        self.ndim, self.fields = functional.numbers("ndim, fields", (ndim, fields), 2, 1)
        if kind not in KINDS:
            raise ArgumentError.of(
                "LieGroupPool", f"a kind among {', '.join(KINDS)}", repr(kind), "choose one of these"
            )
        self.kind = kind

    def forward(self, input: Tensor) -> Tensor:
        split = fibres(self, input)
        return split.amax(2) if self.kind == "max" else split.mean(2)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        parts = [
            x[:, c * (x.shape[1] // self.fields) : (c + 1) * (x.shape[1] // self.fields)] for c in range(self.fields)
        ]
        if self.kind == "max":
            return torch.stack([p.max(1).values for p in parts], 1)
        return torch.stack([sum(p.unbind(1)) / p.shape[1] for p in parts], 1)

    @property
    def claims(self) -> frozenset[str]:
        return super().claims | ({LINEAR} if self.kind == "mean" else set())

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.fields, *inputs[0][2:])

    def parameter_count(self) -> int:
        return 0

    def symmetries(self) -> Iterable[Symmetry]:
        yield rolled(1, self.ndim)
        yield Symmetry("elements in another order", partial(_exchanged, self.fields))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "fields": 2}, ((2, 6, 3, 2),))
        yield Example({"ndim": 1, "fields": 3, "kind": "mean"}, ((2, 6, 4),))


class LieBatchNorm(Layer):
    """Batch normalisation with one mean, variance, factor and constant for each field, shared by all elements of the sample.

    Formula: `y = weight·(x − mean) / √(variance + ε) + bias`, over batch, places and elements; running values in evaluation mode.
    Elements are drawn anew in training, so that values of their own would belong to none of them.

    Shapes: input (batch, fields·|sample|, *n), returns the same; parameters and running values (fields).

    Args:
        ndim: number of spatial axes, 1 to 3.   fields: at least 1.   eps, momentum, device, dtype: as for `torch.nn.BatchNorm2d`.

    Raises:
        ArgumentError: channels that fields do not divide.

    Source: Ioffe and Szegedy, Batch normalization (2015).

    Example:
        >>> LieBatchNorm(2, 3)(torch.randn(2, 30, 4, 4)).shape
        torch.Size([2, 30, 4, 4])
    """

    name = "lie-batch-norm"
    summary = "batch normalisation that treats sampled elements of a group alike"
    source = "Ioffe and Szegedy, Batch normalization (2015)"
    cost = "1"
    dims = (1, 2, 3)

    def __init__(
        self,
        ndim: int,
        fields: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.ndim, self.fields = functional.numbers("ndim, fields", (ndim, fields), 2, 1)
        self.norm = AnyBatchNorm(self.fields, eps, momentum, device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        return self.norm(fibres(self, input)).flatten(1, 2)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        many, results = x.shape[1] // self.fields, []
        for channel in range(x.shape[1]):
            f = channel // many
            y = (x[:, channel] - self.norm.running_mean[f]) / (self.norm.running_var[f] + self.norm.eps) ** 0.5
            results.append(y * self.norm.weight[f] + self.norm.bias[f])
        return torch.stack(results, 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return 2 * self.fields

    def symmetries(self) -> Iterable[Symmetry]:
        yield rolled(1, self.ndim)
        other = partial(_exchanged, self.fields)
        yield Symmetry("elements in another order", other, other)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "fields": 2}, ((3, 6, 3, 2),))
        yield Example({"ndim": 1, "fields": 1, "momentum": None}, ((2, 3, 4),))


def _exchanged(fields: int, x: Tensor) -> Tensor:
    """Elements of every field in the opposite order."""
    return x.unflatten(1, (fields, -1)).flip(2).flatten(1, 2)


def fibres(layer: Any, input: Tensor) -> Tensor:
    """The input as (batch, fields, |sample|, *n), refused where that cannot be."""
    layer.expect(input, None, layer.ndim)
    if input.shape[1] % layer.fields or not input.shape[1]:
        raise ArgumentError.of(
            type(layer).__name__, f"a multiple of {layer.fields} channels", str(input.shape[1]), "give it the fields of its name"
        )  # fmt: skip
    return input.unflatten(1, (layer.fields, input.shape[1] // layer.fields))
