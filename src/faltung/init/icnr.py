"""First values for sub-pixel convolutions."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError


def _usual(tensor: Tensor) -> Tensor:
    return nn.init.kaiming_uniform_(tensor, a=math.sqrt(5))


@torch.no_grad()
def icnr_(tensor: Tensor, scale: int, order: str = "torch", initializer: Callable[[Tensor], Any] = _usual) -> Tensor:
    """Fill the kernel of a sub-pixel convolution with copies of smaller ones, so that it starts without checkerboards.

    Formula: one kernel is drawn for every channel that comes out, and all `scale` channels that are interleaved into it get it. The
    first result is that of a convolution enlarged by nearest neighbours.

    Shapes: tensor (C·scale, …), a kernel or a bias; filled in place and returned.

    Args:
        scale: how many channels are interleaved into one, `r^n` for a factor r along n axes.
        order: `torch` (channels that are interleaved are neighbours) or `tf` (they are C apart). Default torch.
        initializer: draws a smaller tensor in place. Default: as torch's convolutions.

    Raises:
        ArgumentError: a first axis that scale does not divide, or another order.

    Source: Aitken et al., Checkerboard artifact free sub-pixel convolution (2017).

    Example:
        >>> icnr_(torch.empty(8, 2, 3, 3), 4)[:4].unique(dim=0).shape
        torch.Size([1, 2, 3, 3])
    """
    if scale < 1 or tensor.shape[0] % scale:
        raise ArgumentError.of(
            "icnr_", f"a first axis that {scale} divides", str(tuple(tensor.shape)), "check the scale"
        )
    if order not in ("torch", "tf"):
        raise ArgumentError.of("icnr_", "order torch or tf", repr(order), "choose one of these")
    drawn = torch.empty_like(tensor[: tensor.shape[0] // scale])
    initializer(drawn)
    spread = drawn.repeat_interleave(scale, 0) if order == "torch" else drawn.repeat(scale, *[1] * (tensor.ndim - 1))
    return tensor.copy_(spread)
