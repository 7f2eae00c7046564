"""Activations that make no wave which the grid cannot hold: polynomials on a finer grid, alone and between mixes of channels."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, rolled, shown, uniform_bias
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.functional.waves import resample_ideal
from faltung.nn.phase.ideal import waves
from faltung.nn.polynomial.activation import Activation, least_squares

_SOURCE = "Michaeli, Michaeli and Soudry, Alias-free convnets (2023)"
GELU = (0.0169394634313126, 0.5, 0.3078363963999393)
"""The published quadratic fit of the GELU."""


class PolyActivation(Activation):
    """A learnt polynomial of each number, with coefficients for each channel: a product of d waves has d times their frequency.

    Formula: `p(x) = out · Σ over k ≤ degree of c_k (in · x)^k`, c for groups of channels, in and out for the layer.

    Shapes: input (batch, channels, *n), or any shape where groups = 1, returns the same; coefficients (groups, degree + 1).

    Args:
        degree: at least 1. Default 2.   groups: of channels, each with coefficients of its own; the number of channels for one
            each. Default 1.
        coeffs: `gelu` for the published quadratic, `identity`, or a list of degree + 1 numbers. Default gelu; of another degree
            than 2 the first values are the least squares of the GELU for normal numbers (`fit`).
        scale: first values of (in, out), (7, 7) in the published network. Default (1, 1).

    Raises:
        ArgumentError: settings that name no layer.

    Source: as below; the reference drops the highest coefficient of any degree above 2.

    Example:
        >>> [round(v, 5) for v in PolyActivation()(torch.tensor([0.0, 1.0, -1.0, 2.0])).tolist()]
        [0.01694, 0.82478, -0.17522, 2.24829]
    """

    name = "poly-activation"
    summary = "a learnt polynomial of each number"
    source = _SOURCE
    cost = "degree + 2"
    portrait = shown("graph", (121,))

    def __init__(
        self,
        degree: int = 2,
        groups: int = 1,
        coeffs: Any = "gelu",
        scale: tuple[float, float] = (1.0, 1.0),
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._settle(degree, groups)
        factory = {"device": device, "dtype": dtype}
        known = ("gelu", "identity") if isinstance(coeffs, str) else None
        if (known and coeffs not in known) or (known is None and len(tuple(coeffs)) != self.degree + 1):
            raise ArgumentError.of(
                "PolyActivation", f"gelu, identity or {self.degree + 1} numbers", repr(coeffs), "or call fit(function)"
            )
        if len(tuple(scale)) != 2:
            raise ArgumentError.of("PolyActivation", "a scale (in, out)", repr(scale), "use (1.0, 1.0)")
        self.coeffs, self.first = coeffs, (float(scale[0]), float(scale[1]))
        self.coefficients = nn.Parameter(torch.empty(self.groups, self.degree + 1, **factory))
        self.scale_in = nn.Parameter(torch.empty((), **factory))
        self.scale_out = nn.Parameter(torch.empty((), **factory))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """The coefficients that were asked for, the same for all groups."""
        self.scale_in.fill_(self.first[0])
        self.scale_out.fill_(self.first[1])
        if self.coeffs == "gelu" and self.degree != 2:
            self.scale_in.fill_(1.0)
            self.scale_out.fill_(1.0)
            if not self.coefficients.is_meta:
                self.fit(nn.functional.gelu)
            self.scale_in.fill_(self.first[0])
            self.scale_out.fill_(self.first[1])
            return
        identity = (0.0, 1.0, *[0.0] * (self.degree - 1))
        row = GELU if self.coeffs == "gelu" else identity if self.coeffs == "identity" else tuple(self.coeffs)
        self.coefficients.copy_(torch.tensor(row, dtype=torch.float64).expand_as(self.coefficients))

    def evaluate(self, x: Tensor, at: Callable[[Tensor], Tensor]) -> Tensor:
        u = self.scale_in * x
        value = at(self.coefficients[:, -1]).expand_as(x)
        for k in range(self.degree - 1, -1, -1):
            value = value * u + at(self.coefficients[:, k])
        return self.scale_out * value

    def definition(self, *inputs: Any) -> Tensor:
        def row(group: int, x: Tensor) -> Tensor:
            powers = (self.scale_in * x).unsqueeze(-1) ** torch.arange(self.degree + 1.0, dtype=x.dtype)
            return self.scale_out * powers @ self.coefficients[group]

        return self.by_groups(self._split(inputs[0]).flatten(1, 2) if self.groups > 1 else inputs[0], row)

    def _fit(self, nodes: np.ndarray, share: np.ndarray, wanted: np.ndarray) -> None:
        inner, outer = self.scale_in.item(), self.scale_out.item()
        u = inner * nodes
        values = np.stack([outer * u**k for k in range(self.degree + 1)], 1)
        slopes = np.stack([outer * inner * k * u ** max(k - 1, 0) for k in range(self.degree + 1)], 1)
        self._take(self.coefficients, least_squares(np.concatenate((values, slopes)), share, wanted))

    def parameter_count(self) -> int:
        return self.groups * (self.degree + 1) + 2

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({}, ((2, 3, 4),))
        yield Example({"degree": 3, "groups": 3, "coeffs": "identity"}, ((2, 3, 4),))
        yield Example({"degree": 2, "groups": 2, "coeffs": (0.1, 0.4, -0.3), "scale": (2.0, 0.5)}, ((2, 4, 2, 3),))
        yield Example({"degree": 4}, ((3, 2),))


def enough(degree: int) -> int:
    """By how much to enlarge before a polynomial of that degree: whole, at least (degree + 1)/2, so that no alias is kept."""
    return max(1, math.ceil((degree + 1) / 2))


class ShiftLayer(Layer):
    """A layer for (batch, channels, *n) that keeps shapes and commutes with circular shifts by any length."""

    dims = (1, 2, 3, 4)

    ndim: int
    channels: int

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def symmetries(self) -> Iterable[Symmetry]:
        yield rolled(1, self.ndim)


class _Enlarged(ShiftLayer):
    """A layer between ideal enlarging and shrinking; a subclass writes what it does on the finer grid."""

    up: int

    def _settle(self, ndim: Any, channels: Any, up: Any, degree: int) -> None:
        self.ndim, self.channels = functional.numbers("ndim, channels", (ndim, channels), 2, 1)
        (degree,) = functional.numbers("degree", degree, 1, 1)
        (self.up,) = functional.numbers("up", enough(degree) if up is None else up, 1, 1)

    def within(self, x: Tensor) -> Tensor:
        """What is done on the finer grid."""
        raise ArgumentError.of(type(self).__name__, "within()", "none", "write what is done on the finer grid")

    def definition_within(self, x: Tensor) -> Tensor:
        """The same by its formula."""
        raise ArgumentError.of(type(self).__name__, "definition_within()", "none", "write the formula down")

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        if self.up == 1:
            return self.within(input)
        sizes = tuple(input.shape[2:])
        return resample_ideal(self.within(resample_ideal(input, tuple(n * self.up for n in sizes))), sizes)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        sizes = tuple(enumerate(x.shape[2:], 2)) if self.up > 1 else ()
        for axis, n in sizes:
            x = waves(x, axis, n * self.up, n // 2, 1.0 if n % 2 else 0.5)
        x = self.definition_within(x)
        for axis, n in sizes:
            x = waves(x, axis, n, (n - 1) // 2, 1.0)
        return x


class AliasFreeActivation(_Enlarged):
    """A polynomial between enlarging and shrinking: an activation that commutes with shifts by fractions of a sample.

    Formula: `D(p(U(x)))`, U the ideal enlargement by `up`, p a `PolyActivation`, D the ideal way back. Waves of x up to n/2 become
    waves up to degree·n/2; those that fold over on the grid of up·n samples stay outside the kept band iff up ≥ (degree + 1)/2.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        ndim: number of spatial axes.   channels: at least 1.   degree, coeffs, scale: see `PolyActivation`.
        up: at least 1; less than (degree + 1)/2 leaves aliases. Default: the least whole number that leaves none.

    Raises:
        ArgumentError: settings that name no layer.

    Error: a few roundoffs under shifts of any length, for signals without frequency n/2.
    Cost: four Fourier transforms, and up^ndim times the memory between them.
    Source: as below.

    Example:
        >>> AliasFreeActivation(2, 3)(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 3, 8, 8])
    """

    name = "alias-free-activation"
    summary = "a polynomial between ideal enlarging and shrinking"
    source = _SOURCE
    cost = "Fourier transforms of up^ndim values"
    portrait = shown("photo", (1, 1, 96, 96), ndim=2, channels=1)

    def __init__(
        self,
        ndim: int,
        channels: int,
        degree: int = 2,
        coeffs: Any = "gelu",
        scale: tuple[float, float] = (1.0, 1.0),
        up: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._settle(ndim, channels, up, degree)
        self.polynomial = PolyActivation(degree, self.channels, coeffs, scale, device, dtype)

    def within(self, x: Tensor) -> Tensor:
        return self.polynomial(x)

    def definition_within(self, x: Tensor) -> Tensor:
        return self.polynomial.definition(x)

    def parameter_count(self) -> int:
        return self.polynomial.parameter_count()

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 2}, ((2, 2, 7),))
        yield Example({"ndim": 2, "channels": 2, "degree": 3, "coeffs": "identity"}, ((2, 2, 4, 5),))
        yield Example({"ndim": 3, "channels": 1, "up": 3}, ((1, 1, 3, 2, 3),))
        yield Example({"ndim": 4, "channels": 2, "up": 1}, ((1, 2, 2, 2, 2, 2),))


class AliasFreeMLP(_Enlarged):
    """Two pointwise mixes of channels with a polynomial between, all between enlarging and shrinking.

    Formula: `D(W₂ p(W₁ U(x) + b₁) + b₂)`. Enlarging commutes with the first mix and comes before it:
    there are fewer channels.

    Shapes: input (batch, channels, *n), returns the same; weights (hidden, channels) and (channels, hidden).

    Args:
        ndim: number of spatial axes.   channels: at least 1.   expansion: hidden channels for each channel. Default 4.
        degree, coeffs, scale, up: see `AliasFreeActivation`.

    Raises:
        ArgumentError: settings that name no layer.

    Source: as below.

    Example:
        >>> AliasFreeMLP(2, 3)(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 3, 8, 8])
    """

    name = "alias-free-mlp"
    summary = "two mixes of channels with a polynomial between, on a finer grid"
    source = _SOURCE
    cost = "2 · up^ndim · expansion · channels"
    portrait = shown("photo", (1, 2, 96, 96), ndim=2, channels=2)

    def __init__(
        self,
        ndim: int,
        channels: int,
        expansion: int = 4,
        degree: int = 2,
        coeffs: Any = "gelu",
        scale: tuple[float, float] = (1.0, 1.0),
        up: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._settle(ndim, channels, up, degree)
        (self.expansion,) = functional.numbers("expansion", expansion, 1, 1)
        factory, hidden = {"device": device, "dtype": dtype}, self.channels * self.expansion
        self.polynomial = PolyActivation(degree, hidden, coeffs, scale, device, dtype)
        self.widen = nn.Parameter(torch.empty(hidden, self.channels, *[1] * self.ndim, **factory))
        self.narrow = nn.Parameter(torch.empty(self.channels, hidden, *[1] * self.ndim, **factory))
        for weight in (self.widen, self.narrow):
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        self.widen_bias = uniform_bias(hidden, self.channels, factory)
        self.narrow_bias = uniform_bias(self.channels, hidden, factory)

    def within(self, x: Tensor) -> Tensor:
        return functional.conv(
            self.polynomial(functional.conv(x, self.widen, self.widen_bias)), self.narrow, self.narrow_bias
        )

    def definition_within(self, x: Tensor) -> Tensor:
        plain = ((1,) * self.ndim, ((0, 0),) * self.ndim, (1,) * self.ndim, 1, "zeros")
        x = self.polynomial.definition(conv_by_taps(x, self.widen, self.widen_bias, *plain))
        return conv_by_taps(x, self.narrow, self.narrow_bias, *plain)

    def parameter_count(self) -> int:
        hidden = self.channels * self.expansion
        return 2 * hidden * self.channels + hidden + self.channels + self.polynomial.parameter_count()

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 2}, ((2, 2, 6),))
        yield Example({"ndim": 2, "channels": 2, "expansion": 2, "degree": 3}, ((1, 2, 3, 4),))
        yield Example({"ndim": 3, "channels": 1, "expansion": 1, "up": 1}, ((1, 1, 3, 2, 3),))
        yield Example({"ndim": 4, "channels": 1, "expansion": 2}, ((1, 1, 2, 3, 1, 2),))


class Oversampled(nn.Module):
    """Any pointwise module between ideal enlarging and shrinking: fewer aliases, and none for polynomials of low degree.

    Formula: `D(module(U(x)))`, U the ideal enlargement by `up` of the last ndim axes, D the ideal way back. A kink (ReLU,
    GELU) makes waves of every frequency, so that some fold over whatever `up` is: they shrink as it grows.

    Args:
        module: keeps shapes.   ndim: number of spatial axes.   up: at least 1. Default 2.

    Source: Karras et al., Alias-free generative adversarial networks (2021), with ideal filters in place of windowed ones.

    Example:
        >>> Oversampled(nn.GELU(), 1)(torch.zeros(1, 3, 8)).shape
        torch.Size([1, 3, 8])
    """

    def __init__(self, module: nn.Module, ndim: int, up: int = 2) -> None:
        super().__init__()
        self.module = module
        self.ndim, self.up = functional.numbers("ndim, up", (ndim, up), 2, 1)

    def forward(self, input: Tensor) -> Tensor:
        sizes = tuple(input.shape[-self.ndim :])
        return resample_ideal(self.module(resample_ideal(input, tuple(n * self.up for n in sizes))), sizes)
