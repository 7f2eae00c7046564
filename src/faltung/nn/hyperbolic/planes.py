"""The fully connected step between balls: signed distances to hyperplanes as coordinates, without leaving tangent vectors."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.special import gammaln

from faltung.errors import ArgumentError
from faltung.nn.hyperbolic.ball import deepest, square_norm
from faltung.nn.hyperbolic.radial import radial

SOURCE = "van Spengler, Berkhout and Mettes, Poincaré ResNet (2023)"
INITS = ("identity", "normal")
_STEEPEST = 40.0  # sinh of more would leave float32; results of half as much are on the rim already


def through_planes(inner: Tensor, square: Tensor, length: Tensor, shift: Tensor, c: float, dim: int = 1) -> Tensor:
    """A fully connected layer of the ball on a tangent vector u at 0, with a tangent vector at 0 as its result.

    Formula: with x = expmap0(u), λ = 2/(1 − c‖x‖²) and the planes z_k, r_k: `v_k = (2‖z_k‖/√c) arsinh(√c λ⟨x, z_k⟩/‖z_k‖
    cosh(2√c r_k) − (λ − 1) sinh(2√c r_k))`, `w = sinh(√c v)/√c`, `y = w/(1 + √(1 + c‖w‖²))`, and logmap0(y). In terms of u no ball
    is left: λ⟨x, z⟩ = sinh(2√c‖u‖)/(√c‖u‖)·⟨u, z⟩, λ − 1 = cosh(2√c‖u‖), and logmap0(y) = arsinh(√c‖w‖)/(2√c‖w‖)·w.

    Shapes: inner ⟨u, z_k⟩/‖z_k‖ with k along `dim`; square ‖u‖², length ‖z_k‖ and shift r_k broadcast against it.

    Error: tangent vectors are cut at artanh(1 − ε)/√c, and √c v at ±40, beyond which directions on the rim are rough.
    """
    if c == 0:
        return 2 * length * (inner - shift)
    most, root = deepest(inner), math.sqrt(c)
    cut = most * torch.rsqrt((c * square).clamp(min=most**2))
    fourfold = 4 * c * square * cut**2
    slope = radial("sinh", fourfold) * (2 * root * cut)
    # Of the size of all results only what follows: everything else has one number a place, or one a plane.
    arg = inner * slope * torch.cosh(2 * root * shift) - radial("cosh", fourfold) * torch.sinh(2 * root * shift)
    w = torch.sinh((torch.asinh(arg) * (2 * length)).clamp(-_STEEPEST, _STEEPEST))
    total = square_norm(w, dim)
    size = radial("arsinh", total) / 2
    # c‖y‖² of the tangent vector is size²·total: shortened to the rim where it is beyond.
    short = most * torch.rsqrt((size**2 * total).clamp(min=most**2))
    return w * (size * short / root)


def unit_planes(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of a weight (out, ...) with length 1, and their lengths (out)."""
    length = weight.flatten(1).square().sum(1).clamp(min=torch.finfo(weight.dtype).tiny).sqrt()
    return weight / length.reshape(-1, *[1] * (weight.ndim - 1)), length


def beta_ratio(channels: int, taps: int) -> float:
    """B(n·taps/2, ½) / B(n/2, ½) of Euler's function: what keeps the size of vectors when `taps` of n numbers are joined.

    Example:
        >>> round(beta_ratio(4, 9), 5), round(beta_ratio(16, 9), 5)
        (0.31551, 0.32874)
    """

    def log_beta(n: float) -> Tensor:
        half = torch.tensor([n / 2, n / 2 + 0.5], dtype=torch.float64)
        both = gammaln(half)
        return both[0] - both[1]

    return float(torch.exp(log_beta(channels * taps) - log_beta(channels)))


@torch.no_grad()
def identity_planes(weight: Tensor, gain: float) -> None:
    """½·gain·I on the middle tap; where there are more outputs than inputs, inputs come several times, together as long as once."""
    weight.zero_()
    out, within = weight.shape[:2]
    middle = tuple(n // 2 for n in weight.shape[2:])
    for k in range(out):
        copies = len(range(k % within, out, within))
        weight[(k, k % within, *middle)] = 0.5 * gain / math.sqrt(copies)


def settings(who: str, c: Any, gain: Any, init: Any, ratio: float) -> tuple[float, float]:
    """c and the gain as numbers, "preserve" as 1 / ratio.

    Raises:
        ArgumentError: a curvature below 0, another gain, another word.
    """
    if isinstance(c, bool) or not isinstance(c, (int, float)) or not 0 <= c < math.inf:
        raise ArgumentError.of(who, "c of at least 0 for the curvature −c", repr(c), "use 0.1")
    if init not in INITS:
        raise ArgumentError.of(who, f"init among {', '.join(INITS)}", repr(init), "leave it out")
    if gain == "preserve":
        return float(c), 1 / ratio
    if isinstance(gain, (str, bool)) or not 0 < gain < math.inf:
        raise ArgumentError.of(who, 'a gain above 0, or "preserve"', repr(gain), "leave it out")
    return float(c), float(gain)


def by_formula(x: Tensor, planes: Tensor, shift: Tensor, c: float) -> Tensor:
    """The same on points (rows, n) of the ball, with planes (out, n), literally; c above 0."""
    root = math.sqrt(c)
    conformal = 2 / (1 - c * (x**2).sum(1, keepdim=True))
    length = (planes**2).sum(1).sqrt()
    inside = root * conformal * (x @ planes.T) / length * torch.cosh(2 * root * shift)
    v = 2 * length / root * torch.asinh(inside - (conformal - 1) * torch.sinh(2 * root * shift))
    w = torch.sinh(root * v) / root
    return w / (1 + torch.sqrt(1 + c * (w**2).sum(1, keepdim=True)))
