"""Batch normalisation of complex numbers: the two parts of a number are whitened together."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.base import Example, shown
from faltung.nn.complex.base import ComplexLayer


class BatchNorm(ComplexLayer):
    """Batch normalisation of complex channels by the inverse square root of their 2 × 2 covariance.

    Formula: with V the covariance of real and imaginary part over batch and positions, `y = Γ·(V + ε·I)^(−1/2)·(z − mean) + β`. For
    s = √det, t = √(trace + 2·s) the inverse root is `[[Vii + s, −Vri], [−Vri, Vrr + s]] / (s·t)`, ε added on the diagonal before.
    Γ starts as I/√2: numbers of mean 0, covariance ½·I and power 1 come out.

    In training V is that of the batch (divided by the count); the running covariance takes the unbiased one (count − 1), without ε,
    which is added once when it is used. In evaluation the running values are used.

    Shapes: input (batch, channels, *n), returns the same; weight (3, channels), real: Γrr, Γii, Γri; bias (channels), complex;
    running_mean (channels), complex; running_covariance (3, channels), real: Vrr, Vii, Vri, ½·I at first, with which a new layer is
    the identity.

    Args:
        channels: at least 1.   eps: ε, above 0. Default 1e-5.
        momentum: weight of the newest batch in the running values, None for the mean of all. Default 0.1.
        affine: whether Γ and β are learnt; without them Γ = I/√2 and β = 0. Default True.
        dtype: complex. Default complex64.

    Raises:
        ArgumentError: settings that name no layer; in training, a single value for each channel, which has no covariance.

    Source: Trabelsi et al., Deep complex networks (2018).

    Example:
        >>> BatchNorm(3)(torch.zeros(2, 3, 4, 4, dtype=torch.complex64)).dtype
        torch.complex64
    """

    name = "complex-batch-norm"
    summary = "batch normalisation that whitens real and imaginary part together"
    cost = "4"
    portrait = shown("cloud", (1, 1, 2000), complex=True, channels=1)
    source = "Trabelsi et al., Deep complex networks (2018)"

    running_mean: Tensor
    running_covariance: Tensor
    batches: Tensor

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        device: Any = None,
        dtype: torch.dtype = torch.complex64,
    ) -> None:
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        if not eps > 0 or (momentum is not None and not 0 <= momentum <= 1):
            raise ArgumentError.of(
                "complex.BatchNorm",
                "eps above 0 and momentum in [0, 1] or None",
                f"{eps!r} and {momentum!r}",
                "correct them",
            )
        if not isinstance(dtype, torch.dtype) or not dtype.is_complex:
            raise DtypeError.of(
                "complex.BatchNorm", "a complex dtype", repr(dtype), "use torch.nn.BatchNorm for real numbers"
            )
        self.eps, self.momentum = eps, momentum
        flat = torch.tensor([1.0, 1.0, 0.0], device=device, dtype=dtype.to_real())[:, None].expand(3, self.channels)
        zeros = torch.zeros(self.channels, device=device, dtype=dtype)
        self.register_parameter("weight", nn.Parameter(flat / 2**0.5) if affine else None)
        self.register_parameter("bias", nn.Parameter(zeros.clone()) if affine else None)
        self.register_buffer("running_mean", zeros)
        self.register_buffer("running_covariance", flat / 2)
        self.register_buffer("batches", torch.tensor(0, device=device))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, None)
        column = (-1, *[1] * (input.ndim - 2))
        if self.training:
            mean, spread = self._of_batch(input)
        else:
            mean, spread = self.running_mean, self.running_covariance
        z = input - mean.reshape(column)
        rr, ii, ri = self._whitening(spread)
        if self.weight is None:
            rr, ii, ri = (part / 2**0.5 for part in (rr, ii, ri))
            ir = ri
        else:  # Γ times the inverse root; the product of two symmetric matrices need not be symmetric
            grr, gii, gri = self.weight
            rr, ri, ir, ii = grr * rr + gri * ri, grr * ri + gri * ii, gri * rr + gii * ri, gri * ri + gii * ii
        rr, ri, ir, ii = (part.reshape(column) for part in (rr, ri, ir, ii))
        y = torch.complex(rr * z.real + ri * z.imag, ir * z.real + ii * z.imag)
        return y if self.bias is None else y + self.bias.reshape(column)

    def _of_batch(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and covariance (rr, ii, ri) of the batch; the running values move towards them."""
        count = input.numel() // self.channels
        if count < 2:
            raise ArgumentError.of(
                "complex.BatchNorm in training", "more than one value for each channel", f"shape {tuple(input.shape)}",
                "give it a larger batch, or call .eval()",
            )  # fmt: skip
        axes = (0, *range(2, input.ndim))
        mean = input.mean(axes)
        z = input - mean.reshape(-1, *[1] * (input.ndim - 2))
        a, b = z.real, z.imag
        spread = torch.stack([(a * a).mean(axes), (b * b).mean(axes), (a * b).mean(axes)])
        with torch.no_grad():
            self.batches += 1
            share = 1 / self.batches if self.momentum is None else self.momentum
            self.running_mean += share * (mean - self.running_mean)
            self.running_covariance += share * (spread * (count / (count - 1)) - self.running_covariance)
        return mean, spread

    def _whitening(self, spread: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The inverse square root of the covariance with ε on its diagonal: its entries rr, ii, ri."""
        vrr, vii, vri = spread
        # The determinant is at least ε·(trace + ε) because that of a covariance is not negative; roundoff would make it so where
        # one part follows the other.
        least = self.eps * (vrr + vii + self.eps)
        vrr, vii = vrr + self.eps, vii + self.eps
        s = torch.maximum(vrr * vii - vri * vri, least).sqrt()
        scale = 1 / (s * (vrr + vii + 2 * s).sqrt())
        return (vii + s) * scale, (vrr + s) * scale, -vri * scale

    def definition(self, *inputs: Any) -> Tensor:
        """By the eigenvectors of each channel's covariance."""
        (input,) = inputs
        mean, (vrr, vii, vri) = self.running_mean, self.running_covariance
        if self.training:
            flat = input.transpose(0, 1).flatten(1)
            mean = flat.mean(1)
            vrr, vii = flat.real.var(1, correction=0), flat.imag.var(1, correction=0)
            vri = ((flat - mean[:, None]).real * (flat - mean[:, None]).imag).mean(1)
        results = []
        for c in range(self.channels):
            v = torch.stack([vrr[c], vri[c], vri[c], vii[c]]).reshape(2, 2)
            values, vectors = torch.linalg.eigh(v + self.eps * torch.eye(2, dtype=v.dtype))
            root = vectors @ torch.diag(values**-0.5) @ vectors.T
            parts = torch.view_as_real(input[:, c] - mean[c])
            if self.weight is None:
                y = parts @ root.T / 2**0.5
            else:
                grr, gii, gri = self.weight[:, c]
                y = parts @ root.T @ torch.stack([grr, gri, gri, gii]).reshape(2, 2).T
            results.append(torch.view_as_complex(y.contiguous()) + (0 if self.bias is None else self.bias[c]))
        return torch.stack(results, 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return inputs[0]

    def parameter_count(self) -> int:
        return 0 if self.weight is None else 4 * self.channels

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2}, ((3, 2, 4),), complex=True)
        yield Example({"channels": 3, "affine": False, "momentum": None, "eps": 1e-3}, ((2, 3, 2, 3),), complex=True)
