"""Functions of the modulus that leave the phase alone: `ModTanh`, `SigLog`, and `ModBatchNorm`, the norm of its logarithm."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Symmetry, shown
from faltung.nn.contours.conv import SOURCE, ContourLayer, centred, moved


class _Radial(ContourLayer):
    """A function of the modulus, the phase kept."""

    cost = "1"
    source = SOURCE

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return 0

    def gain(self) -> float | None:
        return 1.0

    def symmetries(self) -> Iterable[Symmetry]:
        yield moved(1)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({}, ((2, 3, 4),), complex=True)


class ModTanh(_Radial):
    """The hyperbolic tangent of the modulus: `tanh(|z|)·z / |z|`, and 0 for z = 0.

    Shapes: any, complex.   Raises: DtypeError for real tensors.

    Example:
        >>> ModTanh()(torch.tensor([1000j, 0j]))
        tensor([0.+1.j, 0.+0.j])
    """

    name = "mod-tanh"
    summary = "the hyperbolic tangent of the modulus"
    portrait = shown("plane", (1, 1, 96, 96), complex=True)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        size = input.abs()
        safe = torch.where(size > 0, size, torch.ones_like(size))
        return input * torch.where(size > 0, torch.tanh(safe) / safe, torch.ones_like(size))

    def definition(self, *inputs: Any) -> Tensor:
        (z,) = inputs
        return torch.polar(torch.tanh(z.abs()), z.angle())


class SigLog(_Radial):
    """A modulus below 1: `z / (1 + |z|)`.

    Shapes: any, complex.   Raises: DtypeError for real tensors.

    Example:
        >>> SigLog()(torch.tensor([3j, -1 + 0j]))
        tensor([ 0.0000+0.7500j, -0.5000+0.0000j])
    """

    name = "sig-log"
    summary = "z / (1 + |z|)"
    portrait = shown("plane", (1, 1, 96, 96), complex=True)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        return input / (1 + input.abs())

    def definition(self, *inputs: Any) -> Tensor:
        (z,) = inputs
        size = z.abs()
        return torch.polar(size / (size + 1), z.angle())


class ModBatchNorm(ContourLayer):
    """Batch normalisation of the logarithm of the modulus, for curves about their means; phases stay.

    Formula: `y = z/|z| · exp(γ·(log|z| − μ)/√(σ² + ε) + β)` with z about its mean over the curve, and 0 for z = 0. In training μ
    and σ² are those of the batch, over samples and places, in evaluation the running ones. With γ = 0.1 moduli come
    out near 1, within some tenths: of the sizes little is left.

    Shapes: input (batch, channels, n), complex, returns the same; weight γ, bias β, running_mean, running_var (channels), real.

    Args:
        channels: at least 1.   eps: ε, above 0. Default 1e-5.   momentum: weight of the newest batch. Default 0.1.
        start: first γ. Default 0.1.   dtype: complex. Default complex64.

    Raises:
        ArgumentError: settings that name no layer.   DtypeError: real tensors.

    Source: as below.

    Example:
        >>> ModBatchNorm(2)(torch.randn(3, 2, 8, dtype=torch.complex64)).shape
        torch.Size([3, 2, 8])
    """

    name = "mod-batch-norm"
    summary = "batch normalisation of the logarithm of the modulus"
    cost = "2"
    source = SOURCE
    portrait = shown("cloud", (1, 1, 2000), complex=True, channels=1)

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        start: float = 0.1,
        device: Any = None,
        dtype: torch.dtype = torch.complex64,
    ) -> None:
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        if not eps > 0 or not 0 <= momentum <= 1:
            raise ArgumentError.of(
                "ModBatchNorm", "eps above 0 and momentum in [0, 1]", f"{eps}, {momentum}", "use 1e-5, 0.1"
            )
        if not isinstance(dtype, torch.dtype) or not dtype.is_complex:
            raise ArgumentError.of("ModBatchNorm", "a complex dtype", repr(dtype), "use torch.complex64")
        self.eps, self.momentum, real = eps, momentum, dtype.to_real()
        self.weight = nn.Parameter(torch.full((self.channels,), float(start), device=device, dtype=real))
        self.bias = nn.Parameter(torch.zeros(self.channels, device=device, dtype=real))
        self.register_buffer("running_mean", torch.zeros(self.channels, device=device, dtype=real))
        self.register_buffer("running_var", torch.ones(self.channels, device=device, dtype=real))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, 1)
        z = centred(input)
        size = z.abs()
        there = size > 0
        log = torch.where(there, size, torch.ones_like(size)).log()
        mean, var = self.running_mean, self.running_var
        if self.training and input.numel():
            count = there.sum((0, 2)).clamp(min=1).to(log.dtype)
            mean = log.sum((0, 2)) / count
            var = (torch.where(there, log - mean[:, None], 0.0)).square().sum((0, 2)) / count
            with torch.no_grad():
                self.running_mean.lerp_(mean.detach(), self.momentum)
                self.running_var.lerp_(var.detach() * count / (count - 1).clamp(min=1), self.momentum)
        scale = self.weight * (var + self.eps).rsqrt()
        # z/|z| · exp(...) as z · exp(... − log|z|): one exponential, and 0 stays 0.
        return z * torch.exp(scale[:, None] * (log - mean[:, None]) + self.bias[:, None] - log)

    def definition(self, *inputs: Any) -> Tensor:
        """In evaluation mode."""
        (z,) = inputs
        z = z - z.sum(-1, keepdim=True) / z.shape[-1]
        log = z.abs().clamp(min=1e-300).log()
        deviation = (self.running_var + self.eps) ** 0.5
        size = torch.exp(
            self.weight[:, None] * (log - self.running_mean[:, None]) / deviation[:, None] + self.bias[:, None]
        )
        return torch.polar(size, z.angle()) * (z != 0)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return 2 * self.channels

    def symmetries(self) -> Iterable[Symmetry]:
        yield moved(1, 1, 3 - 2j)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 3}, ((2, 3, 5),), complex=True)
        yield Example({"channels": 2, "start": 0.5, "eps": 1e-3}, ((3, 2, 4),), complex=True)
