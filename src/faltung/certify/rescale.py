"""Filters divided by what makes the layer's norm at most 1, as a parametrisation."""

from typing import Any

from torch import Tensor, nn

from faltung.certify import supremum
from faltung.errors import ArgumentError
from faltung.filters import Symbol
from faltung.filters.filter import whole


class SpectralRescale(nn.Module):
    """A parametrisation that makes a convolution 1-Lipschitz: each filter is divided by its own bound.

    Formula: `K[a] / t_a`, `t_a = (Σ_{b, τ} |K_T[a, b, τ]|)^(2^−T)` with the T-th Gram iterate K_T. Then
    `‖K‖ ≤ 1` for every input size, with zero or circular padding; T = 1 is the almost-orthogonal layer. For a transposed layer the
    filters are those of its first axis.

    Shapes: weight (out, in / groups, *k); returns the same.
    Args:
        stride, dilation, groups: of the layer. Default 1.   n_iter: T, at least 1. Default 2; more is closer to norm 1 and dearer.
    Error: the weight's dtype: in float32 the norm may exceed 1 by about 1e-6.
    Source: Delattre et al. (2024), spectral rescaling; Prach and Lampert, Almost-orthogonal layers (2022).

    Example:
        >>> layer = nn.Conv2d(3, 8, 3, padding=1)
        >>> _ = nn.utils.parametrize.register_parametrization(layer, "weight", SpectralRescale())
        >>> from faltung.certify import spectral_norm
        >>> spectral_norm(layer.weight.detach(), padding=1).upper < 1.011
        True
    """

    def __init__(self, stride: Any = 1, dilation: Any = 1, groups: int = 1, n_iter: int = 2) -> None:
        super().__init__()
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.n_iter = whole("SpectralRescale", "n_iter", n_iter, 1)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim < 3:
            raise ArgumentError.of(
                "SpectralRescale", "the weight of a convolution", f"shape {tuple(weight.shape)}", "add axes"
            )
        phases = Symbol(weight, self.stride, self.dilation, self.groups).reduced().polyphase()
        rows = supremum.tap_rows(phases.taps(), self.n_iter).flatten()
        # a filter of zeros stays one
        scale = rows.clamp(min=1e-300).reshape(-1, *[1] * (weight.ndim - 1))
        return (weight / scale).to(weight.dtype)
