"""Logarithms and ratios of Bessel functions of tensors, with gradients; computed by NumPy in float64, wherever the tensors live.

Gradients are formulas, never differences of logarithms: d log I/dx = R + v/x with R = I_{v+1}/I_v, d log K/dx = −F, and the slopes
of R and F are functions of their own. Derivatives by the order differentiate the expansion or the series.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from faltung.errors import RefusedError
from faltung.special.log_bessel import VALUES


def of_tensors(name: str, v: Any, x: Any) -> Tensor:
    """A function of `VALUES` where v, x or both are tensors; they broadcast."""
    device = next(a.device for a in (x, v) if isinstance(a, Tensor))
    given = [a if isinstance(a, Tensor) else torch.as_tensor(a, device=device) for a in (v, x)]
    dtype = torch.result_type(*given)
    dtype = dtype if dtype.is_floating_point else torch.float64
    v, x = torch.broadcast_tensors(*(a.to(torch.float64) for a in given))
    return _Function.apply(name, v, x).to(dtype)


class _Function(torch.autograd.Function):
    """A function of v and x, both float64 of one shape."""

    @staticmethod
    def forward(ctx: Any, name: str, v: Tensor, x: Tensor) -> Tensor:
        y = torch.as_tensor(VALUES[name](v.numpy(force=True), x.numpy(force=True)), device=x.device)
        ctx.name = name
        ctx.save_for_backward(v, x, y)
        return y

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple:
        slopes = zip(_SLOPES.get(ctx.name, (_refused, _refused)), ctx.needs_input_grad[1:], strict=True)
        return None, *(cotangent * slope(*ctx.saved_tensors) if asked else None for slope, asked in slopes)


def _other(name: str, v: Tensor, x: Tensor) -> Tensor:
    return _Function.apply(name, v, x)


def _refused(v: Tensor, x: Tensor, y: Tensor) -> Tensor:
    raise RefusedError.of(
        "log_iv, log_kv and bessel_ratio",
        "at most two derivatives by x, or one by v",
        "a derivative beyond these",
        "detach what needs no further derivative",
    )


# The derivatives by v and by x, as functions of v, x and the value.
_SLOPES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "log_iv": (
        lambda v, x, y: _other("log_iv_by_order", v, x),
        lambda v, x, y: _other("bessel_ratio", v, x) + v / x,
    ),
    "log_kv": (
        lambda v, x, y: _other("log_kv_by_order", v, x),
        lambda v, x, y: -_other("fall_kv", v, x),
    ),
    "bessel_ratio": (
        lambda v, x, y: y * (_other("log_iv_by_order", v + 1, x) - _other("log_iv_by_order", v, x)),
        lambda v, x, y: _other("ratio_slope", v, x),
    ),
    "fall_kv": (_refused, lambda v, x, y: _other("fall_slope", v, x)),
}
