"""Plain convolutions taken apart into depthwise-separable ones of a given rank, and put together again."""

import math

from torch import nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import Conv, SeparableConv


def separate(conv: nn.Module, rank: int) -> SeparableConv:
    """The depthwise-separable layer nearest to a convolution: `rank` filters in space for each input channel.

    Formula: for each input channel the kernel is a matrix (outputs, taps); its singular vectors to the largest `rank` singular
    values are the layer's mix and its filters (spatial first). No other layer of that rank is nearer in the Frobenius norm: the
    squared distance is the sum of the squares of all singular values that were left out.

    Args:
        conv: torch's Conv1d, 2d or 3d, or `faltung.nn.Conv`; left alone.
        rank: filters for each input channel, 1 to min(out / groups, Π kernel_size), with which the layer is the same.

    Returns:
        A `faltung.nn.SeparableConv` with multiplier `rank` and the bias of the layer.

    Raises:
        DtypeError: no such layer.   ArgumentError: a rank outside the range.

    Cost: in / groups · groups decompositions of (out / groups) × Π kernel_size.
    Source: Chollet (2017) for the layer; Eckart and Young (1936) for its being the nearest.

    Example:
        >>> separate(nn.Conv2d(8, 16, 3), 2).multiplier
        2
    """
    plain = conv if isinstance(conv, Conv) else Conv.from_torch(conv)
    most = min(plain.out_channels // plain.groups, math.prod(plain.kernel_size))
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= most:
        raise ArgumentError.of("separate", f"a rank from 1 to {most}", repr(rank), "choose one in that range")
    return SeparableConv.from_conv(plain, multiplier=rank)


def merge(layer: SeparableConv) -> nn.Module:
    """The plain convolution that a depthwise-separable one is: torch's layer where there is one, else `faltung.nn.Conv`.

    Formula: `W[o, i] = Σ over j of P[o, i·m + j]·D[i, j]`.

    Raises:
        DtypeError: another layer.

    Example:
        >>> merge(SeparableConv(2, 8, 16, 3))
        Conv2d(8, 16, kernel_size=(3, 3), stride=(1, 1))
    """
    if not isinstance(layer, SeparableConv):
        raise DtypeError.of("merge", "a SeparableConv", type(layer).__name__, "call freeze() on other layers")
    return layer.freeze()
