"""Depthwise-separable convolution: a filter in space for each channel, then a mix of channels."""

import math
from typing import Any

import torch
from torch import Tensor

from faltung import torch_gate
from faltung.kernels.separable import on_numba as kernel
from faltung.kernels.threads import available
from faltung.nn.functional.convolution import conv, margins, numbers
from faltung.planner import Policy

ALONE = 500_000  # products that one thread does in the time in which another wakes


def separable_conv(
    input: Tensor,
    depthwise: Tensor,
    pointwise: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    policy: Policy | None = None,
) -> Tensor:
    """`conv(conv(input, depthwise), pointwise)`; in inference, where steps are of one sample, without the array between the two.

    Formula: `u[i·m + j] = depthwise[i·m + j] ∗ input[i]`, `y[o] = Σ over c of pointwise[o, c]·u[c] + bias[o]`.

    Shapes: input (batch, in, *n) or (in, *n), depthwise (in·m, 1, *t), pointwise (out, in·m / groups, 1, ...), bias (out); returns
    (batch, out, *k) or (out, *k) with the sizes of `faltung.nn.functional.conv`.

    Args:
        stride, padding, dilation, padding_mode: of the filters in space.   groups: of the mix.
        policy: limits, see `faltung.Policy`; with one the two convolutions are planned, each by itself.

    Returns:
        A tensor of the input's dtype, differentiable any number of times.

    Raises:
        ArgumentError, DtypeError: tensors or arguments that do not fit.

    Error: that of the two sums.
    Cost: the values between the two stay in the cache where one kernel does both: float32 and float64 on the CPU, one or two
    spatial axes, zeros beyond the edge, stride, dilation and groups 1, no derivative to be asked for. Else two planned calls.
    Source: Chollet, Xception: deep learning with depthwise separable convolutions (2017).

    Example:
        >>> separable_conv(torch.ones(1, 2, 3), torch.ones(2, 1, 2), torch.ones(4, 2, 1)).shape
        torch.Size([1, 4, 2])
    """
    options = (stride, padding, dilation)
    if policy is None and _together(input, depthwise, pointwise, bias, options, groups, padding_mode):
        return _fused(input, depthwise, pointwise, bias, options)
    channels = depthwise.shape[0]  # what is no signal is for the convolution to refuse
    if isinstance(input, Tensor) and input.ndim >= depthwise.ndim - 1:
        channels = max(1, input.shape[1 - depthwise.ndim])
    u = conv(input, depthwise, None, stride, padding, dilation, channels, padding_mode, policy)
    return conv(u, pointwise, bias, groups=groups, policy=policy)


def _together(
    input: Tensor,
    depthwise: Tensor,
    pointwise: Tensor,
    bias: Tensor | None,
    options: tuple,
    groups: int,
    padding_mode: str,
) -> bool:
    """Whether one kernel does both."""
    if not isinstance(input, Tensor) or not torch_gate.plain(input, depthwise, pointwise, bias):
        return False
    kinds = {a.dtype for a in (input, depthwise, pointwise, bias) if a is not None}
    if len(kinds) > 1 or input.dtype not in (torch.float32, torch.float64) or not input.is_contiguous():
        return False
    ndim = depthwise.ndim - 2
    if ndim not in (1, 2) or input.ndim != ndim + 2 or groups != 1 or padding_mode != "zeros" or not input.numel():
        return False
    stride, padding, dilation = options
    if any(e != 1 for name in (stride, dilation) for e in numbers("stride, dilation", name, ndim, 1)):
        return False
    deep, channels = depthwise.shape[0], input.shape[1]
    if deep % channels or depthwise.shape[1] != 1 or tuple(pointwise.shape[1:]) != (deep, *[1] * ndim):
        return False
    pads = margins(padding, stride, dilation, tuple(depthwise.shape[2:]))
    return all(n + lo + hi >= t for n, (lo, hi), t in zip(input.shape[2:], pads, depthwise.shape[2:], strict=True))


def _fused(input: Tensor, depthwise: Tensor, pointwise: Tensor, bias: Tensor | None, options: tuple) -> Tensor:
    stride, padding, dilation = options
    pads = margins(padding, stride, dilation, tuple(depthwise.shape[2:]))
    rows, columns = ((0, 0), pads[0]) if len(pads) == 1 else (pads[0], pads[1])
    x, d = (input.unsqueeze(2), depthwise) if len(pads) == 1 else (input, depthwise.squeeze(1))
    k = pointwise.reshape(pointwise.shape[:2])
    signal, filters, mix = (a.detach().contiguous().numpy() for a in (x, d, k))
    threads = min(available(), torch.get_num_threads(), max(1, math.prod(x.shape) * k.shape[0] // ALONE))
    y = torch.from_numpy(kernel.separable(signal, filters, mix, (rows, columns), threads))
    y = y.squeeze(2) if len(pads) == 1 else y
    return y if bias is None else y.add_(bias.detach().reshape(-1, *[1] * (y.ndim - 2)))
