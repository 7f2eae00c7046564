"""Batch normalisation of fields on the sphere: `SpinBatchNorm`."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Symmetry
from faltung.nn.sphere.base import SCALED, SphereLayer, turns
from faltung.nn.sphere.grid import sphere_grid
from faltung.nn.sphere.transform import checked_spins


class SpinBatchNorm(SphereLayer):
    """Batch normalisation with means over the sphere, not over samples: rows near the poles count less. It turns with the sphere.

    Formula: `y = γ (z − μ) / √(v + ε) + β`, with `v = mean |z − μ|²`; μ and β for spin 0 only, since a constant of another
    spin would not turn. Means are over batch and sphere, by quadrature. From coefficients (Parseval): μ = mean a₀₀/√4π, v =
    mean Σ|a|²/4π − |μ|².

    Shapes: input (batch, channels · spins, rows, columns), returns the same; weight (channels, spins), real; bias (channels)
    for spin 0; running_mean (channels, spins), running_var (channels, spins).

    Args:
        channels: at least 1.   spins: whole numbers; with (0,) and a real dtype numbers are real.   resolution, grid: of the
            samples.
        eps: above 0. Default 1e-5.   momentum: weight of the newest batch. Default 0.1.   affine: whether γ and β are learnt.
        zero: whether γ starts as 0, for the last norm of a residual branch. Default False.

    Raises:
        ArgumentError: settings that name no layer.

    Error: the moments are those of the function where its degree is at most half the grid's exactness, that is, the grid's
    `degree`.
    Source: as below.

    Example:
        >>> norm = SpinBatchNorm(2, (0,), 8)
        >>> norm(torch.randn(3, 2, 8, 8)).shape
        torch.Size([3, 2, 8, 8])
    """

    name = "spin-batch-norm"
    summary = "batch normalisation with moments over the sphere"
    source = SCALED
    cost = "3"

    running_mean: Tensor
    running_var: Tensor
    batches: Tensor
    area: Tensor

    def __init__(
        self, channels: int, spins: Sequence[int], resolution: Any, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True,
        zero: bool = False, grid: str = "equiangular", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        self.spins = checked_spins("SpinBatchNorm", spins)
        self.grid = sphere_grid(resolution, grid)
        if not eps > 0 or not 0 <= momentum <= 1:
            raise ArgumentError.of(
                "SpinBatchNorm", "eps above 0 and momentum in [0, 1]", f"{eps!r} and {momentum!r}", "correct them"
            )
        self.eps, self.momentum = eps, momentum
        dtype = dtype or torch.get_default_dtype()
        self.real = self.spins == (0,) and not dtype.is_complex
        one = {"device": device, "dtype": dtype.to_real()}
        kind = {"device": device, "dtype": dtype.to_real() if self.real else dtype.to_complex()}
        shape = (self.channels, len(self.spins))
        start = torch.zeros if zero else torch.ones
        self.register_parameter("weight", nn.Parameter(start(shape, **one)) if affine else None)
        self.register_parameter(
            "bias", nn.Parameter(torch.zeros(self.channels, **kind)) if affine and 0 in self.spins else None
        )
        self.register_buffer("running_mean", torch.zeros(shape, **kind))
        self.register_buffer("running_var", torch.ones(shape, **one))
        self.register_buffer("batches", torch.tensor(0, device=device))
        self.keep(
            "area", self.grid.weights / (4 * np.pi), device, one["dtype"]
        )  # of each sample in a mean over the sphere
        centred = [float(s == 0) for s in self.spins]
        self.register_buffer("centred", torch.tensor(centred, device=device, dtype=one["dtype"]), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        z = self.samples(input, self.channels, self.spins, self.grid, self.real)
        if self.training:
            area = self.area[:, None]
            mean = (z * area).sum((3, 4)).mean(0) * self.centred
            var = ((z - mean[..., None, None]).abs().square() * area).sum((3, 4)).mean(0)
            self._run(mean.detach(), var.detach())
        else:
            mean, var = self.running_mean, self.running_var
        scale = (var + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        y = (z - mean[..., None, None]) * scale[..., None, None]
        return (y if self.bias is None else y + (self.bias[:, None] * self.centred)[..., None, None]).flatten(1, 2)

    def on_coefficients(self, a: Tensor) -> Tensor:
        """The same on coefficients (batch, channels, spins, (degree + 1)²) of `SpinSHT`: no samples are needed.

        Error: that of the samples' quadrature; equal for functions within the grid's degree.
        """
        root = float(np.sqrt(4 * np.pi))
        if self.training:
            mean = a[..., 0].mean(0) * self.centred / root
            var = a.abs().square().sum(-1).mean(0) / (4 * np.pi) - mean.abs().square()
            self._run(mean.detach(), var.detach())
        else:
            mean, var = self.running_mean, self.running_var
        scale = (var + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias[:, None] * self.centred - mean * scale
        y = a * scale[..., None]
        return torch.cat([y[..., :1] + root * shift[..., None], y[..., 1:]], -1)

    @torch.no_grad()
    def _run(self, mean: Tensor, var: Tensor) -> None:
        self.batches += 1
        self.running_mean += self.momentum * (
            (mean.real if self.real else mean).to(self.running_mean) - self.running_mean
        )
        self.running_var += self.momentum * (var - self.running_var)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        many, y = len(self.spins), []
        for c in range(x.shape[1]):
            channel, n = divmod(c, many)
            mean, var = self.running_mean[channel, n], self.running_var[channel, n]
            if self.training:
                weights = torch.tensor(
                    np.broadcast_to(self.grid.weights[:, None] / (4 * np.pi), x.shape[2:]).copy()
                ).to(x.real.dtype)
                mean = (x[:, c] * weights).sum() / x.shape[0] if self.spins[n] == 0 else x.new_zeros(())
                var = ((x[:, c] - mean).abs() ** 2 * weights).sum() / x.shape[0]
            own = (x[:, c] - mean) / (var + self.eps).sqrt()
            own = own if self.weight is None else own * self.weight[channel, n]
            y.append(own + self.bias[channel] if self.bias is not None and self.spins[n] == 0 else own)
        return torch.stack(y, 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        if self.weight is None:
            return 0
        return self.channels * (len(self.spins) + (0 in self.spins))

    def symmetries(self) -> Iterable[Symmetry]:
        _rotation, roll = turns(self.grid, self.spins, self.grid, self.spins)
        # Samples that are no band-limited function lose their rest when they are turned; the norm, pointwise, would keep it.
        yield roll

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "spins": (0,), "resolution": (6, 5)}, ((3, 2, 6, 5),))
        yield Example(
            {"channels": 2, "spins": (1, 0), "resolution": 4, "zero": True, "grid": "gauss"},
            ((2, 4, 4, 4),),
            complex=True,
        )
        yield Example(
            {"channels": 1, "spins": (0, -1), "resolution": 4, "affine": False}, ((2, 2, 4, 4),), complex=True
        )
