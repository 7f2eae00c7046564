"""Batch normalisation of fields: scalars by mean and variance, all others by the size of their numbers alone."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn.base import Example
from faltung.nn.symmetry.of_fields import OfFields, per_field


class FieldBatchNorm(OfFields):
    """Batch normalisation that turns with its fields: one factor for each field, a mean and a constant for scalars only.

    Formula: `y = weight·(x − mean) / √(variance + ε) + bias` for scalars, `y = weight·x / √(second + ε)` for all other fields, with
    `second = mean of ‖x‖² / size`, the second moment of one of its numbers. Mean, variance and second moment are over batch and
    places, in evaluation mode their running values. A mean of another field would turn with it, and a constant would not.

    Shapes: input (batch, irreps' dim, h, w), for "o3" (batch, dim, x, y, z), with `last` (..., dim), returns the same; weight and
    running_second (fields), the variance for scalars; bias and running_mean (scalars).

    Args:
        fields: as for `SteerableConv`, for "o3" as for `VoxelConv`.   group: "so2", "o2" or "o3" (default).
        last: whether fields stand on the last axis, as those of points do, see `PointConv`. Default False.
        eps: ε, above 0. Default 1e-5.   momentum: share of a new batch in the running values, from 0 to 1. Default 0.1.
        affine: whether there are weight and bias. Default True.   device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer; a batch without places in training mode.

    Error: rounding; commutes with every element of the group. The conventions are those of e3nn's `BatchNorm` ("component"): "0e"
    and "0" are scalars, those that a mirror negates are not; running values take the variance as it is, torch's own that of a
    sample, n/(n − 1) as large.
    Cost: two products a number.
    Source: Ioffe and Szegedy, Batch normalization (2015); Weiler et al., 3D steerable CNNs (2018).

    Example:
        >>> FieldBatchNorm("2x0e + 1o")(torch.randn(2, 5, 3, 3, 3)).shape
        torch.Size([2, 5, 3, 3, 3])
        >>> FieldBatchNorm("2x0e + 1o", last=True)(torch.randn(7, 5)).shape
        torch.Size([7, 5])
    """

    name = "field-batch-norm"
    summary = (
        "batch normalisation of fields of the plane or of space: scalars by mean and variance, others by their lengths"
    )
    source = "Weiler et al., 3D steerable CNNs (2018)"
    cost = "2"

    running_mean: Tensor
    running_second: Tensor

    def __init__(
        self,
        fields: str,
        group: str = "o3",
        last: bool = False,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._name(fields, group, last)
        if not eps > 0 or not 0 <= momentum <= 1:
            raise ArgumentError.of(
                "FieldBatchNorm", "eps above 0 and momentum from 0 to 1", f"{eps} and {momentum}", "use 1e-5 and 0.1"
            )
        self.eps, self.momentum, self.affine = float(eps), float(momentum), bool(affine)
        factory, count = {"device": device, "dtype": dtype}, self.fields.count
        self.still = sum(many for many, name in self.fields.parts if name == self.scalar)
        self.register_parameter("weight", nn.Parameter(torch.ones(count, **factory)) if affine else None)
        held = affine and self.still
        self.register_parameter("bias", nn.Parameter(torch.zeros(self.still, **factory)) if held else None)
        self.register_buffer("running_mean", torch.zeros(self.still, **factory))
        self.register_buffer("running_second", torch.ones(count, **factory))

    def forward(self, input: Tensor) -> Tensor:
        x = self._opened(input, self.fields.dim)
        if self.training and not x.numel():
            raise ArgumentError.of(
                "FieldBatchNorm", "a batch with places in training mode", f"shape {tuple(input.shape)}", "call eval()"
            )
        means, seconds, results, at, still = [], [], [], 0, 0
        for many, name, values in self._parts(x):
            others = (0, *range(2, values.ndim))
            if name == self.scalar:
                own = self.running_mean[still : still + many]
                mean = values.mean(others) if self.training else own
                means.append(mean)
                values = values - per_field(mean, values)
            if self.training:
                second = values.square().mean(others)
                seconds.append(second)
            else:
                second = self.running_second[at : at + many]
            factor = (second + self.eps).rsqrt()
            if self.weight is not None:
                factor = factor * self.weight[at : at + many]
            values = values * per_field(factor, values)
            if name == self.scalar:
                if self.bias is not None:
                    values = values + per_field(self.bias[still : still + many], values)
                still += many
            at += many
            results.append(values.flatten(1, 2))
        if self.training:
            with torch.no_grad():
                self.running_second.lerp_(torch.cat(seconds).to(self.running_second), self.momentum)
                if means:
                    self.running_mean.lerp_(torch.cat(means).to(self.running_mean), self.momentum)
        return self._closed(torch.cat(results, 1))

    def definition(self, *inputs: Any) -> Tensor:
        """Field by field, with the running values."""
        results, means = [], iter(self.running_mean)
        constants = iter(self.running_mean * 0 if self.bias is None else self.bias)
        for n, (name, own) in enumerate(self._each(self._opened(inputs[0], self.fields.dim))):
            scale = (self.running_second[n] + self.eps) ** 0.5
            weight = 1.0 if self.weight is None else self.weight[n]
            if name == self.scalar:
                results.append((own - next(means)) / scale * weight + next(constants))
            else:
                results.append(own / scale * weight)
        return self._closed(torch.cat(results, 1))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return self.fields.count + self.still if self.affine else 0

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"fields": "2x0e + 1o + 0o"}, ((2, 6, 2, 1, 3),))
        yield Example({"fields": "0- + 2x1 + 2x0", "group": "o2", "affine": False}, ((2, 7, 3, 2),))
        yield Example({"fields": "1e + 2x0e + 2x2o", "last": True}, ((3, 15),))
