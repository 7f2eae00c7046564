"""Channels to finer positions and back: torch's pixel shuffle in any number of dimensions and in both orders of channels."""

import math
from typing import Any

from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn.functional.convolution import numbers

ORDERS = ("torch", "tf")


def checked(order: str) -> str:
    """One of the orders of channels.

    Raises:
        ArgumentError: another word.
    """
    if order not in ORDERS:
        raise ArgumentError.of("order", f"one of {', '.join(ORDERS)}", repr(order), "choose one of these")
    return order


def adjoint_layout(weight: Tensor, groups: int) -> Tensor:
    """The kernel (in, out / groups, *t) of a transposed convolution from one (out, in / groups, *t), and the way back."""
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)


def pixel_shuffle(x: Tensor, scale: Any, order: str = "torch") -> Tensor:
    """Interleave channels as finer positions.

    Formula: `y[b, c, scale·p + a] = x[b, c·s + a, p]` for every residue a of a position, `s = Π scale` and a counted with the last
    axis fastest (order `torch`); `x[b, a·C + c, p]` in the order `tf`, where C channels come out.

    Shapes: x (batch, C·s, *n), returns (batch, C, *scale·n).

    Args:
        scale: whole numbers of at least 1, one for all spatial axes or one for each.
        order: `torch` or `tf` (channels fastest, as in TensorFlow and in the paper). Default torch.

    Raises:
        ArgumentError: channels that s does not divide, another order or scale.

    Cost: every value is moved once.   Source: Shi et al. (2016).

    Example:
        >>> pixel_shuffle(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2)
        tensor([[[1., 3., 2., 4.]]])
    """
    ndim = x.ndim - 2
    steps = numbers("scale", scale, ndim, 1)
    many = math.prod(steps)
    if ndim < 1 or x.shape[1] % many:
        raise ArgumentError.of(
            "pixel_shuffle", f"(batch, channels, *n) with channels that {many} divides", f"shape {tuple(x.shape)}",
            "change the scale or the number of channels",
        )  # fmt: skip
    channels = x.shape[1] // many
    first = checked(order) == "torch"
    x = x.unflatten(1, (channels, *steps) if first else (*steps, channels)).movedim(1 if first else 1 + ndim, 1)
    apart = x.permute(0, 1, *(axis for a in range(ndim) for axis in (2 + ndim + a, 2 + a)))
    sizes = [n * s for n, s in zip(x.shape[2 + ndim :], steps, strict=True)]
    return apart.reshape(x.shape[0], channels, *sizes)


def pixel_unshuffle(x: Tensor, scale: Any, order: str = "torch") -> Tensor:
    """Gather finer positions into channels: the inverse of `pixel_shuffle`.

    Shapes: x (batch, C, *scale·n), returns (batch, C·s, *n).

    Args: as for `pixel_shuffle`.

    Raises:
        ArgumentError: sizes that the scale does not divide, another order or scale.

    Example:
        >>> pixel_unshuffle(torch.tensor([[[1.0, 3.0, 2.0, 4.0]]]), 2)
        tensor([[[1., 2.],
                 [3., 4.]]])
    """
    ndim = x.ndim - 2
    steps = numbers("scale", scale, ndim, 1)
    if ndim < 1 or any(n % s for n, s in zip(x.shape[2:], steps, strict=True)):
        raise ArgumentError.of(
            "pixel_unshuffle", f"(batch, channels, *n) with sizes that {steps} divide", f"shape {tuple(x.shape)}",
            "pad or crop the signal",
        )  # fmt: skip
    sizes = [n // s for n, s in zip(x.shape[2:], steps, strict=True)]
    apart = x.reshape(*x.shape[:2], *(part for pair in zip(sizes, steps, strict=True) for part in pair))
    inner, outer = range(3, 3 + 2 * ndim, 2), range(2, 2 + 2 * ndim, 2)
    front = (1, *inner) if checked(order) == "torch" else (*inner, 1)
    return apart.permute(0, *front, *outer).reshape(
        x.shape[0], -1 if x.numel() else x.shape[1] * math.prod(steps), *sizes
    )
