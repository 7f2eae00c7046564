"""Functions of a square, `f(√s)/√s` for hyperbolic f: what scales vectors, with derivatives that are right at 0.

Everything that maps a ball to its tangent space and back scales vectors by such a function of c‖v‖². They are analytic in s: no
root, no division by a norm and no case for the zero vector is left, and the curvature c may be 0, where all is Euclidean.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_SMALL = 1e-2  # below it series: 8 terms are exact to the rounding, closed slopes would lose digits as 1/s

_SERIES = {
    "tanh": (1, -1 / 3, 2 / 15, -17 / 315, 62 / 2835, -1382 / 155925, 21844 / 6081075, -929569 / 638512875),
    "artanh": tuple(1 / (2 * k + 1) for k in range(9)),
    "sinh": tuple(1 / math.factorial(2 * k + 1) for k in range(8)),
    "arsinh": tuple((-1) ** k * math.comb(2 * k, k) / 4**k / (2 * k + 1) for k in range(9)),
    "cosh": tuple(1 / math.factorial(2 * k) for k in range(8)),
}
_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh, "artanh": torch.atanh, "sinh": torch.sinh, "arsinh": torch.asinh, "cosh": torch.cosh
}  # fmt: skip


def radial(name: str, square: Tensor) -> Tensor:
    """`f(√s)/√s` for f among tanh, artanh, sinh, arsinh, and `cosh(√s)`, for s ≥ 0; twice differentiable everywhere."""
    found: Tensor = (_radial if torch.compiler.is_compiling() else _Radial.apply)(square, name)
    return found


def _horner(terms: tuple[float, ...], s: Tensor) -> Tensor:
    total = torch.full_like(s, terms[-1])
    for term in terms[-2::-1]:
        total = total * s + term
    return total


def _value(name: str, s: Tensor) -> Tensor:
    close = s < _SMALL
    root = torch.where(close, 0.25, s).sqrt()
    far = _PLAIN[name](root)
    return torch.where(close, _horner(_SERIES[name], s), far if name == "cosh" else far / root)


def _slope(name: str, s: Tensor) -> Tensor:
    """The derivative in s, in closed form: `(f′(√s) − f(√s)/√s) / (2s)`."""
    close = s < _SMALL
    safe = torch.where(close, 0.25, s)
    root = safe.sqrt()
    f = _PLAIN[name](root) / root
    if name == "cosh":
        far = torch.sinh(root) / root / 2
    else:
        inner = {
            "tanh": lambda: 1 - (f * root) ** 2,
            "artanh": lambda: 1 / (1 - safe),
            "sinh": lambda: torch.cosh(root),
            "arsinh": lambda: torch.rsqrt(1 + safe),
        }[name]()
        far = (inner - f) / (2 * safe)
    terms = tuple(k * t for k, t in enumerate(_SERIES[name]))[1:]
    return torch.where(close, _horner(terms, s), far)


class _Radial(torch.autograd.Function):
    """In eager mode, where it can be differentiated twice and by transforms; a traced graph has one node, `faltung::radial`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(square: Tensor, name: str) -> Tensor:
        return _value(name, square)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.name = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (square,) = ctx.saved_tensors
        return gradients[0] * _slope(ctx.name, square), None


@torch.library.custom_op("faltung::radial", mutates_args=())
def _radial(square: Tensor, name: str) -> Tensor:
    return _value(name, square)


@_radial.register_fake
def _(square: Tensor, name: str) -> Tensor:
    return torch.empty_like(square)


@torch.library.custom_op("faltung::radial_slope", mutates_args=())
def _radial_slope(square: Tensor, name: str) -> Tensor:
    return _slope(name, square)


@_radial_slope.register_fake
def _(square: Tensor, name: str) -> Tensor:
    return torch.empty_like(square)


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.name = inputs[1]


def _backward(ctx: Any, gradient: Tensor) -> Any:
    return gradient * _radial_slope(ctx.saved_tensors[0], ctx.name), None


_radial.register_autograd(_backward, setup_context=_keep)
