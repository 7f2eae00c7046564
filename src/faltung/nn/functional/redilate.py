"""Re-dilation: a trained convolution run with another dilation, whole or fractional, and the same size of result."""

import math
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional.convolution import conv, margins, numbers
from faltung.nn.functional.definition import padded
from faltung.planner import Policy

_SETTINGS = {
    "bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros", "policy": None,
}  # fmt: skip
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def redilate(
    layer: Any,
    input: Tensor,
    factor: Any,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    policy: Policy | None = None,
) -> Tensor:
    """A convolution whose taps stand `factor` times as far apart, with a result of unchanged size.

    Formula: `d = ⌈factor⌉`; the input is resized (linearly) by d / factor, convolved with the unchanged kernel at d times the
    dilation, and the result is resized to what the convolution alone would have. The margins grow by half of what the kernel grows:
    to d · (k − 1) / 2 where they were (k − 1) / 2. A whole factor needs no resizing, and factor 1 is the convolution itself.

    Shapes: input (batch, in, *n) or (in, *n); returns what the convolution returns.

    Args:
        layer: a convolution of torch or of `faltung.nn`, or a kernel (out, in / groups, *t).
        factor: above 0, one number for all spatial axes or one for each; below 1 the taps move together.
        bias, stride, padding, dilation, groups, padding_mode, policy: of a kernel, see `faltung.nn.functional.conv`; a layer has
            its own.

    Raises:
        ArgumentError: a factor that is not above 0, or settings beside a layer.   DtypeError: neither a layer nor a kernel.

    Cost: whole factors none; fractional ones two resizings, and Π (d / factor) as many products.

    Source: He, Yang et al., ScaleCrafter: tuning-free higher-resolution visual generation with diffusion models (2024).

    Example:
        >>> x, kernel = torch.arange(6.0).reshape(1, 1, 6), torch.tensor([[[1.0, 0.0, -1.0]]])
        >>> redilate(kernel, x, 2, padding=1)
        tensor([[[-2., -3., -4., -4.,  2.,  3.]]])
    """
    given = {
        "bias": bias, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
        "padding_mode": padding_mode, "policy": policy,
    }  # fmt: skip
    weight, settings = _kernel_of(layer, given)
    if not isinstance(input, Tensor):
        raise DtypeError.of("redilate", "a tensor", type(input).__name__, "convert it with torch.as_tensor")
    ndim = weight.ndim - 2
    wanted = factors(factor, ndim)
    spread = tuple(math.ceil(f) for f in wanted)
    if all(d == 1 and f == 1 for d, f in zip(spread, wanted, strict=True)):
        return conv(input, weight, **settings)
    if input.ndim == ndim + 1:
        return redilate(layer, input.unsqueeze(0), factor, **_own(layer, given)).squeeze(0)
    whole = all(d == f for d, f in zip(spread, wanted, strict=True))
    sizes = tuple(input.shape[2:])
    usual = numbers("dilation", settings["dilation"], ndim, 1)
    before = margins(settings["padding"], settings["stride"], usual, tuple(weight.shape[2:]))
    if not whole:
        lengths = [round(n * d / f) for n, d, f in zip(sizes, spread, wanted, strict=True)]
        input = _resized(input, [max(m, 1) for m in lengths])
    settings["dilation"] = tuple(u * d for u, d in zip(usual, spread, strict=True))
    grown = [u * (d - 1) * (t - 1) for u, d, t in zip(usual, spread, weight.shape[2:], strict=True)]
    around = [(lo + g // 2, hi + g - g // 2) for (lo, hi), g in zip(before, grown, strict=True)]
    if settings["padding"] != "same":  # which grows by itself
        if any(lo != hi for lo, hi in around):  # an even kernel
            input, settings["padding"] = padded(input, around, settings["padding_mode"]), 0
        else:
            settings["padding"] = tuple(lo for lo, _ in around)
    y = conv(input, weight, **settings)
    if whole:
        return y
    stride = numbers("stride", settings["stride"], ndim, 1)
    extents = zip(sizes, before, usual, weight.shape[2:], stride, strict=True)
    return _resized(y, [(n + lo + hi - u * (t - 1) - 1) // s + 1 for n, (lo, hi), u, t, s in extents])


def factors(factor: Any, ndim: int) -> tuple[float, ...]:
    """A factor for each spatial axis; ArgumentError where one is not above 0."""
    many = tuple(factor) if isinstance(factor, (tuple, list)) else (factor,) * ndim
    fit = all(isinstance(f, (int, float)) and not isinstance(f, bool) and 0 < f < math.inf for f in many)
    if not fit or len(many) != ndim:
        raise ArgumentError.of(
            "redilate", f"a factor above 0, one or {ndim}", repr(factor), "give one number for all spatial axes"
        )
    return many


def is_convolution(layer: Any) -> bool:
    """Whether it is a layer that is one convolution with one kernel: torch's, or one of ours that says so."""
    if isinstance(layer, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)):
        return True
    return hasattr(layer, "effective_kernel") and "shift-invariant" in layer.claims


def _kernel_of(layer: Any, given: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """The kernel and the settings of `conv`, from a layer or as they were given."""
    if isinstance(layer, Tensor):
        return layer, given
    if not is_convolution(layer):
        raise DtypeError.of(
            "redilate", "a convolution layer or its kernel", type(layer).__name__, "pass a Conv1d, Conv2d, Conv3d or the like"
        )  # fmt: skip
    unused = [name for name, usual in _SETTINGS.items() if given[name] is not usual and given[name] != usual]
    if unused:
        raise ArgumentError.of(
            "redilate", "no settings beside a layer, which has its own", ", ".join(unused), "pass its kernel instead"
        )
    ours = hasattr(layer, "effective_kernel")
    kernel = layer.effective_kernel() if ours else layer.weight
    settings = {name: getattr(layer, name, None) for name in _SETTINGS}
    if ours:
        settings["bias"] = layer.effective_bias()
    return kernel, settings


def _own(layer: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The settings to pass on: those of a kernel, none beside a layer."""
    return given if isinstance(layer, Tensor) else {}


def _resized(x: Tensor, sizes: list[int]) -> Tensor:
    """x (batch, channels, *n) at other sizes, linear between samples, which stand in the middle of their cells."""
    if tuple(x.shape[2:]) == tuple(sizes) or not x.numel():
        return x.new_empty((*x.shape[:2], *sizes)) if not x.numel() else x
    if x.is_complex():
        return torch.complex(_resized(x.real, sizes), _resized(x.imag, sizes))
    mode = _LINEAR.get(len(sizes))
    if mode is not None:
        return torch.nn.functional.interpolate(x, sizes, mode=mode, align_corners=False)
    for axis, n in enumerate(
        sizes, 2
    ):  # torch has no four-dimensional one, and none is needed: it is one axis at a time
        last = x.movedim(axis, -1)
        line = torch.nn.functional.interpolate(last.flatten(0, -2).unsqueeze(1), n, mode="linear", align_corners=False)
        x = line.reshape(*last.shape[:-1], n).movedim(-1, axis)
    return x
