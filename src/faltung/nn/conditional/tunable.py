"""Tunable layers: numbers that the user may move at any time blend kernels, matrices and parameters."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, shown, uniform_bias
from faltung.nn.conditional.bank import LINEAR_CLAIMS, KernelBank
from faltung.nn.conditional.mixing import Mixing, Tunable, one_omega
from faltung.planner import Policy

SOURCE = "Maggioni et al., Tunable convolutions with parametric multi-loss optimization (2023)"


class TunableConv(Tunable, KernelBank):
    """A convolution whose kernel is blended from several by numbers omega that come with the call.

    Formula: `π = ω` (linear) or `π = Aω + c` (affine), `W(ω) = Σ_i π_i W_i`, `b(ω) = Σ_i π_i b_i`, `y = conv(x, W(ω), b(ω))`.

    Shapes: input (batch, in, *n), omega (num_params), or (batch, num_params) for one of each sample; returns (batch, out, *m) as
    `Conv`. weight (num_params · expand, out, in / groups, *kernel_size), bias (num_params · expand, out).

    Args:
        ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, policy: as for `Conv`.
        num_params: how many numbers the user sets, one for each objective in training; usually each in [0, 1]. Default 2.
        expand: kernels for each number; more than one with affine mixing only. Default 1.
        mixing: `affine` or `linear`. Default affine, which starts as linear.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer; omega of another shape.   DtypeError: omega is no tensor of real numbers.

    Cost: with one omega for all samples that of `Conv`; with one for each that of `conv_mixed`. `faltung.tools.fold_tunable` makes
    a plain layer for a fixed omega.

    Each kernel is drawn by its own fan-in; a fan-in of all kernels together would make them too small by √(num_params · expand).

    Source: Maggioni et al., Tunable convolutions with parametric multi-loss optimization (2023).

    Example:
        >>> layer = TunableConv(2, 3, 8, 3, padding=1)
        >>> layer(torch.zeros(4, 3, 16, 16), torch.tensor([0.25, 0.75])).shape
        torch.Size([4, 8, 16, 16])
    """

    name = "tunable-conv"
    summary = "a convolution whose kernel is blended by numbers that the user sets with the call"
    source = SOURCE
    cost = "in / groups · Π kernel_size, and num_params · expand for each number of the kernel"
    portrait = shown(
        "omega", (1, 1, 96, 96), (1, 2), ndim=2, in_channels=1, out_channels=1, kernel_size=5, padding=2, mixing="linear"
    )  # fmt: skip

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        num_params: int = 2,
        expand: int = 1,
        mixing: str = "affine",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        factory = {"device": device, "dtype": dtype}
        self.mixing = Mixing("TunableConv", num_params, expand, mixing, 1 / math.sqrt(max(expand, 1)), factory)
        self._build(self.mixing.count, bias, factory)

    def forward(self, input: Tensor, omega: Tensor) -> Tensor:  # type: ignore[override]
        self.expect(input, self.in_channels, self.ndim)
        return self.mixed(input, self.mixing(omega, input.shape[0]))

    def definition(self, *inputs: Any) -> Tensor:
        return self.mixed_definition(inputs[0], self.mixing.definition(inputs[1]))

    def parameter_count(self) -> int:
        return self.bank_count() + self.mixing.parameter_count()

    @property
    def claims(self) -> frozenset[str]:
        return LINEAR_CLAIMS

    def folded(self, omega: Any) -> nn.Module:
        """torch's plain layer for one omega (num_params), or `faltung.nn.Conv` where torch has none."""
        with torch.no_grad():
            made = self.at(self.mixing(one_omega(omega, self.weight)))
        return made.to_torch() if made.has_torch() else made

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 2, "out_channels": 4, "kernel_size": 3}
        yield Example({"ndim": 1, **common, "stride": 2, "padding": 1, "num_params": 3}, ((2, 2, 40), (2, 3)))
        grouped = {"groups": 2, "padding": "same", "padding_mode": "circular", "expand": 2}
        yield Example({"ndim": 2, **common, **grouped}, ((2, 2, 6, 5), (2, 2)))
        yield Example({"ndim": 3, **common, "bias": False, "mixing": "linear"}, ((2, 2, 3, 4, 3), (2, 2)))


class TunableLinear(Tunable, Layer):
    """A fully connected layer whose matrix is blended from several by numbers omega that come with the call.

    Formula: `y = x W(ω)ᵀ + b(ω)` with `W(ω) = Σ_i π_i W_i`, `b(ω) = Σ_i π_i b_i` and π as for `TunableConv`.

    Shapes: input (batch, *m, in), omega (num_params) or (batch, num_params); returns (batch, *m, out). weight (num_params · expand,
    out, in), bias (num_params · expand, out). in and out may differ.

    Args:
        in_features, out_features: at least 1.   bias: whether there are biases. Default True.
        num_params, expand, mixing: as for `TunableConv`.   device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer; input or omega of another shape.

    Example:
        >>> TunableLinear(3, 5)(torch.zeros(4, 7, 3), torch.tensor([1.0, 0.0])).shape
        torch.Size([4, 7, 5])
    """

    name = "tunable-linear"
    summary = "a fully connected layer whose matrix is blended by numbers that the user sets with the call"
    source = SOURCE
    cost = "in_features, and num_params · expand for each number of the matrix"
    portrait = shown("omega", (24, 24), (24, 2), in_features=24, out_features=24, mixing="linear")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        num_params: int = 2,
        expand: int = 1,
        mixing: str = "affine",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = functional.numbers(
            "in_features, out_features", (in_features, out_features), 2, 1
        )
        factory = {"device": device, "dtype": dtype}
        self.mixing = Mixing("TunableLinear", num_params, expand, mixing, 1 / math.sqrt(max(expand, 1)), factory)
        count = self.mixing.count
        self.weight = nn.Parameter(torch.empty(count, self.out_features, self.in_features, **factory))
        for matrix in self.weight:
            nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))
        made = uniform_bias(count * self.out_features, self.in_features, factory) if bias else None
        self.register_parameter("bias", None if made is None else nn.Parameter(made.detach().reshape(count, -1)))

    def forward(self, input: Tensor, omega: Tensor) -> Tensor:
        self.expect(input, None, None)
        if input.ndim < 2 or input.shape[-1] != self.in_features:
            raise ArgumentError.of(
                "TunableLinear", f"an input (batch, *m, {self.in_features})", f"shape {tuple(input.shape)}",
                f"bring {self.in_features} features to the last axis",
            )  # fmt: skip
        weights = self.mixing(omega, input.shape[0])
        matrix = functional.mixture(self.weight, weights)
        rows = input.reshape(input.shape[0], math.prod(input.shape[1:-1]), self.in_features)
        y = rows @ matrix.mT
        if self.bias is not None:
            y = y + (weights @ self.bias).unsqueeze(-2)
        return y.reshape(*input.shape[:-1], self.out_features)

    def definition(self, *inputs: Any) -> Tensor:
        x, weights = inputs[0], self.mixing.definition(inputs[1])
        total: Any = 0.0
        for i in range(self.mixing.count):
            y = (x[..., None, :] * self.weight[i]).sum(-1)
            y = y if self.bias is None else y + self.bias[i]
            total = total + y * weights[..., i].reshape(-1, *[1] * (x.ndim - 1))
        return total

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (*inputs[0][:-1], self.out_features)

    def parameter_count(self) -> int:
        biases = 0 if self.bias is None else self.out_features
        return self.mixing.count * (self.out_features * self.in_features + biases) + self.mixing.parameter_count()

    @property
    def claims(self) -> frozenset[str]:
        return LINEAR_CLAIMS

    def folded(self, omega: Any) -> nn.Module:
        """torch's plain layer for one omega (num_params)."""
        with torch.no_grad():
            weights = self.mixing(one_omega(omega, self.weight))
            made = nn.Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
            made.weight = nn.Parameter(functional.mixture(self.weight, weights).clone())
            if self.bias is not None:
                made.bias = nn.Parameter((weights @ self.bias).clone())
        return made.train(self.training)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"in_features": 3, "out_features": 2, "expand": 2}, ((2, 3), (2, 2)))
        yield Example(
            {"in_features": 2, "out_features": 4, "bias": False, "mixing": "linear", "num_params": 3},
            ((2, 5, 2), (2, 3)),
        )


class Fixed(nn.Module):
    """What a `TunableParameter` becomes when omega is fixed: the same tensor for every call."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value)

    def forward(self, omega: Any = None) -> Tensor:
        """The value; omega is fixed and of no account."""
        return self.value


class TunableParameter(Tunable, Layer):
    """A scalar, vector or tensor that is blended from several by numbers omega: a slope, a scale, a threshold.

    Formula: `v(ω) = Σ_i π_i v_i`, π as for `TunableConv`. All copies start alike: at first v(ω) = Σ ω_i · value.

    Shapes: omega (num_params) or (batch, num_params); returns `shape` or (batch, *shape).

    Args:
        shape: of the parameter, () for a scalar. Default ().   value: what all copies start at. Default 1.
        num_params, expand, mixing: as for `TunableConv`.   device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no parameter; omega of another shape.

    Example:
        >>> TunableParameter((2,), value=3.0, mixing="linear")(torch.tensor([0.5, 0.5]))
        tensor([3., 3.], grad_fn=<UnsafeViewBackward0>)
    """

    name = "tunable-parameter"
    summary = "a scalar, vector or tensor that is blended by numbers that the user sets with the call"
    source = SOURCE
    cost = "num_params · expand"

    def __init__(
        self,
        shape: tuple[int, ...] = (),
        value: float = 1.0,
        num_params: int = 2,
        expand: int = 1,
        mixing: str = "affine",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        factory = {"device": device, "dtype": dtype}
        self.mixing = Mixing("TunableParameter", num_params, expand, mixing, 1 / max(expand, 1), factory)
        self.values = nn.Parameter(torch.full((self.mixing.count, *self.shape), float(value), **factory))

    def forward(self, omega: Tensor) -> Tensor:
        return functional.mixture(self.values, self.mixing(omega)) if self.shape else self.mixing(omega) @ self.values

    def definition(self, *inputs: Any) -> Tensor:
        weights = self.mixing.definition(inputs[0])
        column = weights.shape[:-1] + (1,) * len(self.shape)
        return sum(weights[..., i].reshape(column) * self.values[i] for i in range(self.mixing.count))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (*inputs[0][:-1], *self.shape)

    def parameter_count(self) -> int:
        return self.mixing.count * math.prod(self.shape) + self.mixing.parameter_count()

    def folded(self, omega: Any) -> nn.Module:
        """The value for one omega (num_params), as a module that is called without it."""
        with torch.no_grad():
            return Fixed(self(one_omega(omega, self.values)).clone())

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"expand": 2}, ((2, 2),))
        yield Example({"shape": (3, 1), "value": 0.25, "num_params": 3, "mixing": "linear"}, ((2, 3),))
