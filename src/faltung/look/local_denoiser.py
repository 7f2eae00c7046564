"""What a convolutional denoiser does, said by its training images alone: each place of them weighs what it sees around it."""

from math import isfinite, prod
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.filters.filter import whole


class LocalDenoiser:
    """A denoiser without weights: at every place the mean of the training images, weighted by how well they fit around it.

    Formula: for y = √α x + √β ε, with W = S (S + (β / α) I)⁻¹ the best linear denoiser for the images' covariance S,
    `M_pq = |W_pq / W_pp| ≥ τ max |W_rs / W_rr|` and `f(y)_p = Σ_i s_ip x_ip`, `s_·p = softmax_i(−Σ_q M_pq (y_q − √α x_iq)² / 2 β)`.
    M_pp is 1 always, so that no place is left with nothing to see; a place that no image varies at sees itself alone.

    Shapes: images (count, channels, *n), real; y (batch, channels, *n); returns the same, of y's type. A place is one element,
    channels counted.

    Args:
        images: the training images.   tau: 0 to 1. With 0 every place sees all others and f is the posterior mean of y's
        source among the images, which learns nothing new. Default 0.05.
        block: images at a time, a matter of memory alone: sums over blocks are scaled to a common largest term, so that their
        cuts move the result by rounding only. Default 256.

    Raises: ArgumentError: no images, images or y of other shapes or types, tau outside 0 to 1, block below 1, alpha
        outside 0 to 1, alpha, beta not above 0 or beta not finite.

    Error: computed in float64; exponents are differences to the smallest one before they are divided by β, so that no α
        or β gives NaN.
    Cost: once d³ for the eigenvectors of S, d = channels · places; a call batch · count · d², d · (block + d) numbers of memory.
    Source: Lukoianov et al., Locality in image diffusion models emerges from data statistics (2025).

    Example:
        >>> dark, light = torch.zeros(1, 4), torch.ones(1, 4)
        >>> LocalDenoiser(torch.stack([dark, light]), tau=0)(torch.full((1, 1, 4), 0.9), beta=0.01)
        tensor([[[1., 1., 1., 1.]]])
    """

    def __init__(self, images: Tensor, *, tau: float = 0.05, block: int = 256) -> None:
        if not isinstance(images, Tensor) or images.ndim < 3 or not images.numel() or not images.is_floating_point():
            came = f"{tuple(images.shape)} of {images.dtype}" if isinstance(images, Tensor) else type(images).__name__
            raise ArgumentError.of(
                "LocalDenoiser", "images (count, channels, *n) of real numbers, at least one", came, "stack them"
            )
        if not 0 <= tau <= 1:
            raise ArgumentError.of("LocalDenoiser", "tau from 0 to 1", repr(tau), "use 0.05")
        self.tau, self.block = float(tau), whole("LocalDenoiser", "block", block, 1)
        self.shape = tuple(images.shape[1:])
        self._rows = images.detach().double().flatten(1)
        centred = self._rows - self._rows.mean(0)
        values, self._vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        # What is below the rounding of the largest is no variance; it would matter for W where β is smaller still.
        floor = torch.finfo(torch.float64).eps * len(values) * values[-1].clamp(min=0)
        self._values = torch.where(values > floor, values, 0)

    def mask(self, alpha: float = 1.0, beta: float | None = None) -> Tensor:
        """M: which places each place sees, (d, d) of booleans, the seeing place first. Args: as for a call."""
        alpha, beta = _levels(alpha, beta)
        gains = torch.where(self._values > 0, 1 / (1 + beta / alpha / self._values), 0)
        top = gains.max()
        if not top > 0:
            return torch.eye(len(gains), dtype=torch.bool, device=gains.device)
        wiener = (self._vectors * (gains / top)) @ self._vectors.T
        own = wiener.diagonal().clone()
        seen = own > torch.finfo(torch.float64).eps * len(own)
        rows = torch.where(seen[:, None], wiener / torch.where(seen, own, 1)[:, None], 0).abs()
        near = rows >= self.tau * rows.max()
        if self.tau:
            near &= seen[:, None]
        return near | torch.eye(len(own), dtype=torch.bool, device=own.device)

    def __call__(self, y: Tensor, alpha: float = 1.0, beta: float | None = None) -> Tensor:
        """The denoised signal.

        Args: alpha: the share of the image's power that is left, 0 to 1. Default 1.   beta: the noise's power; default 1 − alpha.
        """
        alpha, beta = _levels(alpha, beta)
        if not isinstance(y, Tensor) or tuple(y.shape[1:]) != self.shape or not y.is_floating_point():
            came = f"{tuple(y.shape)} of {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
            raise ArgumentError.of(
                "LocalDenoiser", f"signals (batch, {', '.join(map(str, self.shape))})", came, "crop them as the images"
            )
        mask = self.mask(alpha, beta).double()
        with torch.no_grad():
            rows = y.double().reshape(len(y), prod(self.shape))
            made = [self._mean(row, mask, alpha, beta) for row in rows]
        return torch.stack(made).reshape(y.shape).to(y) if made else y.clone()

    def _mean(self, row: Tensor, mask: Tensor, alpha: float, beta: float) -> Tensor:
        """The weighted mean of the images for one signal."""
        least = above = below = torch.zeros(0, dtype=row.dtype)
        for images in self._rows.split(self.block):
            distances = (row - alpha**0.5 * images).square() @ mask.T
            low = distances.amin(0)
            if not len(least):
                least, above, below = low, torch.zeros_like(low), torch.zeros_like(low)
            fresh = torch.minimum(least, low)
            faded = torch.exp(-(least - fresh) / (2 * beta))
            weights = torch.exp(-(distances - fresh) / (2 * beta))
            above, below = faded * above + (weights * images).sum(0), faded * below + weights.sum(0)
            least = fresh
        return above / below


def _levels(alpha: Any, beta: Any) -> tuple[float, float]:
    beta = 1 - alpha if beta is None else beta
    if not (0 < alpha <= 1 and beta > 0 and isfinite(beta)):
        raise ArgumentError.of(
            "LocalDenoiser",
            "alpha above 0, at most 1, and beta above 0",
            f"alpha {alpha}, beta {beta}",
            "give beta where alpha is 1",
        )
    return float(alpha), float(beta)
