"""First values of complex kernels: circular normal numbers of the variance that keeps signals alive."""

import math
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError, DtypeError

KINDS = ("he", "glorot")


@torch.no_grad()
def complex_(tensor: Tensor, kind: str = "he", generator: Any = None) -> Tensor:
    """Fill a complex kernel with numbers whose modulus is Rayleigh distributed and whose phase is uniform.

    Formula: modulus Rayleigh(σ), so that `E|w|² = 2·σ²`, with σ = 1/√fan_in (`he`: 2 / fan_in, for a rectifier behind) or
    σ = 1/√(fan_in + fan_out) (`glorot`). Real and imaginary parts are then independent normal numbers of variance σ².

    Shapes: tensor (out, in / groups, *kernel_size), or (out, in).

    Args:
        tensor: complex, changed in place.   kind: `he` or `glorot`.   generator: of torch; None for its global one.

    Returns:
        The tensor.

    Raises:
        DtypeError: a real tensor.   ArgumentError: fewer than two axes, another kind.

    Source: Trabelsi et al., Deep complex networks (2018).

    Example:
        >>> complex_(torch.empty(8, 4, 3, 3, dtype=torch.complex64)).shape
        torch.Size([8, 4, 3, 3])
    """
    if not isinstance(tensor, Tensor) or not tensor.is_complex():
        came = str(tensor.dtype) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise DtypeError.of("init.complex_", "a complex tensor", came, "use torch.nn.init for real ones")
    if tensor.ndim < 2:
        raise ArgumentError.of("init.complex_", "a tensor (out, in, *)", f"shape {tuple(tensor.shape)}", "add an axis")
    if kind not in KINDS:
        raise ArgumentError.of("init.complex_", f"a kind among {', '.join(KINDS)}", repr(kind), "choose one of these")
    taps = math.prod(tensor.shape[2:])
    fan = tensor.shape[1] * taps + (tensor.shape[0] * taps if kind == "glorot" else 0)
    # A circular normal number is just that: Rayleigh modulus, uniform phase.
    return torch.view_as_complex(torch.view_as_real(tensor).normal_(0, 1 / math.sqrt(max(fan, 1)), generator=generator))
