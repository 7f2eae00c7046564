"""A shortcut around a block whose own part is scaled for each channel and, in training, left out for some samples."""

from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError


class ScaledResidual(nn.Module):
    """Add to the input what a block makes of it, scaled by a learnt number for each channel (layer scale, stochastic depth).

    Formula: `x + keep · s ⊙ y`; in training keep is 0 with probability drop_path for each sample, else 1 / (1 − drop_path).

    Shapes: x and y (batch, channels, *n), returns the same.

    Args:
        channels: at least 1.   layer_scale: the first value of s, None for no such parameter.
        drop_path: from 0 to below 1.

    Raises:
        ArgumentError: drop_path out of range.

    Source: Huang et al., Deep networks with stochastic depth (2016); Touvron et al., Going deeper with image transformers (2021).
    """

    def __init__(self, channels: int, layer_scale: float | None, drop_path: float, factory: dict[str, Any]) -> None:
        super().__init__()
        if not 0 <= drop_path < 1:
            raise ArgumentError.of("drop_path", "a probability from 0 to below 1", repr(drop_path), "use 0 for none")
        self.drop_path = drop_path
        scale = None if layer_scale is None else nn.Parameter(torch.full((channels,), float(layer_scale), **factory))
        self.register_parameter("scale", scale)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The sum of shortcut and block."""
        if self.scale is not None:
            y = y * self.scale.reshape(-1, *[1] * (y.ndim - 2))
        if self.training and self.drop_path:
            kept = torch.rand((y.shape[0], *[1] * (y.ndim - 1)), device=y.device) >= self.drop_path
            y = y * (kept / (1 - self.drop_path)).to(y.dtype)
        return x + y
