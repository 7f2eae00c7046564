"""Deformable convolution: every tap of every place looks where an offset says, between the samples as well."""

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional.convolution import margins, numbers
from faltung.nn.functional.gather import gather
from faltung.nn.functional.trilinear import SINGLE, agree


def deform_conv(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    deform_groups: int = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """A convolution whose taps are moved by offsets that depend on tap and place.

    Formula: `y[n, o, p] = bias[o] + Σ over i, t of weight[o, i, t] · mask[n, d, t, p] · x(n, i, p·stride − padding + t·dilation +
    offset[n, d, t, :, p])`, d the group of channel i among the deform_groups; between samples x is interpolated linearly along
    every axis, outside it is zero.

    Shapes: input (N, in, *n), weight (out, in / groups, *t), bias (out), offset (N, deform_groups · Π t · ndim, *m) in the order
    group, tap, axis (axes as in the tensor: rows before columns), mask (N, deform_groups · Π t, *m); returns (N, out, *m) with
    `m = ⌊(n + 2·padding − dilation·(t − 1) − 1) / stride⌋ + 1`.

    Args:
        offset: in samples, any real numbers.   mask: factors of the samples. Default: ones.
        stride, padding, dilation, groups: as for `faltung.nn.functional.conv`; what lies outside is zero.
        deform_groups: into how many parts the input channels fall that have offsets of their own. Default 1.

    Returns:
        A tensor of the input's dtype, differentiable any number of times for every operand; half types are summed in float32.

    Raises:
        ArgumentError: shapes or settings that do not fit.   DtypeError: no tensors, or of different or complex dtypes.

    Error: positions are rounded to the dtype, as they would be in any implementation.
    Cost: 2^ndim·Π t products for each place and input channel, and those of a 1×1 convolution of Π t·in channels.
    Source: Dai et al., Deformable convolutional networks (2017); Zhu et al., Deformable ConvNets v2 (2019).

    Example:
        >>> x, still = torch.randn(1, 2, 5, 5), torch.zeros(1, 18, 3, 3)
        >>> deform_conv(x, still, torch.ones(4, 2, 3, 3)).shape
        torch.Size([1, 4, 3, 3])
    """
    taps, pads, steps, spread, m = _checked(
        input, offset, weight, bias, stride, padding, dilation, groups, deform_groups, mask
    )
    ndim, n = len(taps), tuple(input.shape[2:])
    batch, channels, each = input.shape[0], input.shape[1], input.shape[1] // deform_groups
    count, places = math.prod(taps), math.prod(m)
    moved = (
        offset.to(SINGLE.get(offset.dtype, offset.dtype))
        .reshape(batch, deform_groups, count, ndim, places)
        .permute(3, 0, 1, 4, 2)
    )
    index, factors = _neighbours(moved, n, m, taps, pads, steps, spread)
    if mask is not None:
        factors = factors * mask.reshape(batch, deform_groups, count, places).transpose(2, 3).unsqueeze(-1)
    rows = input.reshape(batch * deform_groups, each, math.prod(n)).transpose(1, 2)
    corners = 2**ndim
    several = (batch * deform_groups, places * count, corners)
    seen = gather(rows, factors.to(input.dtype).reshape(several), None, index.reshape(several), math.prod(n))
    seen = seen.reshape(batch, deform_groups, places, count, each).permute(0, 2, 3, 1, 4)
    y = _summed(seen.reshape(batch, places, count, channels), weight.flatten(2), groups)
    y = y.transpose(1, 2).reshape(batch, weight.shape[0], *m)
    return y if bias is None else y + bias.to(y.dtype).reshape(-1, *[1] * ndim)


def _neighbours(
    moved: Tensor, n: Any, m: Any, taps: Any, pads: Any, stride: Any, dilation: Any
) -> tuple[Tensor, Tensor]:
    """The samples around every position and their factors, (N, groups, places, taps, 2^ndim); -1 for what lies outside.

    Shapes: moved (ndim, N, groups, places, taps).
    """
    index, factors = [], []
    device = moved.device
    below, part = [], []
    for axis in range(len(n)):
        place = torch.arange(m[axis], device=device) * stride[axis] - pads[axis][0]
        place = place.reshape([-1 if a == axis else 1 for a in range(len(m))]).expand(*m).reshape(-1, 1)
        tap = torch.arange(taps[axis], device=device) * dilation[axis]
        tap = tap.reshape([-1 if a == axis else 1 for a in range(len(m))]).expand(*taps).reshape(-1)
        # The whole part of an offset is split off before the grid is added: near a large coordinate less of it would be left.
        whole = moved[axis].detach().floor()
        part.append(moved[axis] - whole)
        below.append(whole.clamp(-(2**30), 2**30).long() + (place + tap))
    for corner in itertools.product((0, 1), repeat=len(n)):
        at: Any = 0
        factor: Any = 1
        outside: Any = False
        for axis, up in enumerate(corner):
            sample = below[axis] + up
            at, outside = at * n[axis] + sample, (sample < 0) | (sample >= n[axis]) | outside
            factor = factor * (part[axis] if up else 1 - part[axis])
        index.append(at.masked_fill(outside, -1))
        factors.append(factor)
    return torch.stack(index, -1), torch.stack(factors, -1)


def _summed(seen: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Samples (N, places, taps, in) times weights (out, in / groups, taps), summed: (N, places, out)."""
    count, channels = seen.shape[2:]
    if groups == 1:
        return seen.flatten(2) @ weight.permute(2, 1, 0).reshape(count * channels, -1).to(seen.dtype)
    if groups == channels == weight.shape[0]:  # depthwise: no sum over channels, one tap after the other
        parts, factors = seen.unbind(2), weight[:, 0].to(seen.dtype).unbind(1)
        y = parts[0] * factors[0]
        for part, factor in zip(parts[1:], factors[1:], strict=True):
            y = torch.addcmul(y, part, factor)
        return y
    seen = seen.unflatten(3, (groups, channels // groups))
    return torch.einsum("nptgi,goit->npgo", seen, weight.unflatten(0, (groups, weight.shape[0] // groups))).flatten(2)


def _checked(
    input: Any, offset: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any, deform_groups: Any,
    mask: Any,
) -> tuple[tuple[int, ...], tuple, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:  # fmt: skip
    """Taps, margins, stride, dilation and sizes of the result, after a look at every shape."""
    who = "deform_conv"
    for name, tensor in (("input", input), ("offset", offset), ("weight", weight), ("bias", bias), ("mask", mask)):
        if not isinstance(tensor, Tensor) and not (name in ("bias", "mask") and tensor is None):
            raise DtypeError.of(who, f"{name} as a torch tensor", type(tensor).__name__, "use torch.as_tensor")
    agree(who, input, offset, weight, bias, mask)
    ndim = weight.ndim - 2
    if ndim < 1 or input.ndim != ndim + 2:
        raise ArgumentError.of(
            who, "an input (N, in, *n) and a weight (out, in / groups, *t)", f"{tuple(input.shape)} and {tuple(weight.shape)}",
            "give both as many spatial axes",
        )  # fmt: skip
    numbers("groups", groups, 1, 1)
    numbers("deform_groups", deform_groups, 1, 1)
    channels = input.shape[1]
    if weight.shape[1] * groups != channels or weight.shape[0] % groups or channels % deform_groups:
        raise ArgumentError.of(
            who, f"{weight.shape[1] * groups} input channels, and channels that groups and deform_groups divide",
            f"{channels} channels, {groups} groups, {deform_groups} deform_groups", "match channels and groups",
        )  # fmt: skip
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ArgumentError.of(
            who, f"a bias of shape ({weight.shape[0]},)", f"{tuple(bias.shape)}", "give one for each output"
        )
    taps, steps = tuple(weight.shape[2:]), numbers("stride", stride, ndim, 1)
    spread, pads = numbers("dilation", dilation, ndim, 1), margins(padding, stride, dilation, taps)
    sizes = zip(input.shape[2:], pads, spread, taps, steps, strict=True)
    m = tuple((n + lo + hi - d * (t - 1) - 1) // s + 1 for n, (lo, hi), d, t, s in sizes)
    if any(size < 1 for size in m):
        raise ArgumentError.of(
            who, "a result with at least one place", f"sizes {m}", "use more padding or a larger input"
        )
    many = deform_groups * math.prod(taps)
    for name, tensor, wanted in (("offset", offset, many * ndim), ("mask", mask, many)):
        if tensor is not None and tuple(tensor.shape) != (input.shape[0], wanted, *m):
            raise ArgumentError.of(
                who, f"{name} of shape {(input.shape[0], wanted, *m)}", f"{tuple(tensor.shape)}",
                "give every place of the result its own: group, tap" + (", axis" if name == "offset" else ""),
            )  # fmt: skip
    return taps, pads, steps, spread, m
