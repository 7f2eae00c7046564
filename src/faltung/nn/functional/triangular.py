"""Convolutions that are triangular systems: each position's result needs that position and earlier ones only; and their inverse.

"Earlier" is raster order as seen from a corner of the grid. Every group of channels has a corner of its own: a kernel is written as
if the corner were the one where all indices are 0, and a group's signal is flipped along the axes that its `flips` name. With all
taps but the corner's looking back along every axis (an anchor at the kernel's last tap), this is the convolution of FInC; with the
anchor in the middle, it is a raster mask's.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from faltung import torch_gate
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional import causal_solvers
from faltung.nn.functional.convolution import conv
from faltung.nn.functional.shuffle import adjoint_layout
from faltung.planner import Policy

SOLVERS = ("auto", "wavefront", "newton", "scan")
Flips = Sequence[Sequence[bool]]


def causal_conv(
    x: Tensor, weight: Tensor, flips: Flips, anchor: Sequence[int] | None = None, policy: Policy | None = None
) -> Tensor:
    """Convolve each group of channels from a corner of its own, zeros beyond the edge, sizes kept.

    Formula, in a group's own frame: `y[o, p] = Σ over i, t of weight[o, i, t] · x[i, p + t − anchor]`.

    Shapes: x and the result (batch, channels, *n), weight (channels, channels / groups, *k).

    Args:
        flips: for each group, whether its frame is flipped along each spatial axis.
        anchor: the tap that meets the current position. Default: the last.

    Source: Kallappa, Nagar, Varma, FInC Flow (2023).

    Example:
        >>> causal_conv(torch.tensor([[[1., 0., 0.]]]), torch.tensor([[[0.5, 1.]]]), [[False]])
        tensor([[[1.0000, 0.5000, 0.0000]]])
    """
    k = weight.shape[2:]
    anchor = _checked("causal_conv", x, weight, flips, anchor)
    kernels = _flipped(weight.unflatten(0, (len(flips), -1)), flips, 0).flatten(0, 1)
    # The tap of the current position, counted in the kernel as it lies on the grid.
    places = [[size - 1 - a if f else a for f, a, size in zip(group, anchor, k, strict=True)] for group in flips]
    if all(place == places[0] for place in places):
        pads = tuple((a, size - 1 - a) for a, size in zip(places[0], k, strict=True))
        return conv(x, kernels, None, padding=pads, groups=len(flips), policy=policy)
    # One convolution with the margin that any corner needs; each group keeps its own part of the result.
    wide = conv(x, kernels, None, padding=tuple(size - 1 for size in k), groups=len(flips), policy=policy)
    parts = []
    for part, place in zip(wide.chunk(len(flips), 1), places, strict=True):
        for axis, (a, size, n) in enumerate(zip(place, k, x.shape[2:], strict=True)):
            part = part.narrow(2 + axis, size - 1 - a, n)
        parts.append(part)
    return torch.cat(parts, 1)


def causal_solve(
    y: Tensor, weight: Tensor, flips: Flips, anchor: Sequence[int] | None = None, method: str = "auto"
) -> Tensor:
    """The x with `causal_conv(x, weight, flips, anchor) == y`, differentiable any number of times.

    The derivative needs no unrolled steps: that of a triangular solve is the transposed triangular solve, from the opposite corner.
    Taps that come after the anchor in raster order are taken to be zero.

    Shapes: as `causal_conv`.

    Args:
        method: `wavefront`: all positions with the same Σ sᵢ·pᵢ at once, slopes s of 1 for an anchor at the last tap, H + W − 1
            steps; `newton`: the inverse kernel by ⌈log2(H + W − 1)⌉ doublings with FFTs, then one convolution (anchor at the last
            tap only); `scan`: a wavefront over all axes but the last, along which ⌈log2 W⌉ doublings reach the end.
            `auto` (default): the wavefront; in one dimension on an accelerator the scan.

    Raises:
        ArgumentError: shapes that do not fit, another method, a kernel whose corner has no inverse.

    Error: rounding grows with the inverse's gain, which is geometric in the size for an unstable kernel; `newton` rounds relative
    to the largest value of the inverse kernel.
    Cost: wavefront, that of the convolution; newton, FFTs of twice the size, channels² / groups of them once and 2·channels a call.
    Source: Kallappa, Nagar, Varma, FInC Flow (2023). The reference solver takes 2W − 1 steps, so it leaves rows out where H > W.
    """
    anchor = _checked("causal_solve", y, weight, flips, anchor)
    if method not in SOLVERS:
        raise ArgumentError.of("method", f"one of {', '.join(SOLVERS)}", repr(method), "choose one of these")
    k = tuple(weight.shape[2:])
    if method == "newton" and anchor != tuple(size - 1 for size in k):
        raise ArgumentError.of(
            "causal_solve", f"an anchor {tuple(size - 1 for size in k)} for method='newton'", str(anchor),
            "use the wavefront: beside the edges such a kernel is no polynomial",
        )  # fmt: skip
    if method == "auto":
        method = "scan" if len(k) == 1 and y.device.type != "cpu" else "wavefront"
    flat = [int(f) for group in flips for f in group]
    if torch_gate.plain(
        y, weight
    ):  # nobody watches: the way through the operator's layers takes as long as a small solve
        return _computed(y, weight, list(anchor), flat, method)
    return _Solve.apply(y, weight, list(anchor), flat, method)


def inverse_kernel(weight: Tensor, size: Sequence[int], groups: int = 1, doublings: int | None = None) -> Tensor:
    """The kernel (channels, channels / groups, *size) with which `causal_conv` undoes `weight` on signals of that size, by Newton.

    Formula: `B ← 2B − B·A·B` for matrix polynomials modulo zᵢ^sizeᵢ, started with the inverse of the constant term; each doubling
    doubles the total degree up to which B·A = 1. Anchors are the last taps, as in the default of `causal_conv`.

    Args:
        doublings: how many. Default: `newton_steps(size)`, with which the inverse is complete.

    Example:
        >>> inverse_kernel(torch.tensor([[[0.5, 1.0]]]), (4,)).flip(-1)
        tensor([[[ 1.0000, -0.5000,  0.2500, -0.1250]]])
    """
    polynomial = weight.unflatten(0, (groups, -1)).flip(tuple(range(3, weight.ndim + 1)))
    steps = newton_steps(size) if doublings is None else doublings
    return causal_solvers.newton(polynomial, tuple(size), steps).flip(tuple(range(3, weight.ndim + 1))).flatten(0, 1)


def newton_steps(size: Sequence[int]) -> int:
    """⌈log2(1 + Σ (sizeᵢ − 1))⌉, the doublings of `inverse_kernel`: 4 for 6 × 5.

    The highest total degree is Σ (sizeᵢ − 1), and j doublings are right below degree 2^j.
    """
    return math.ceil(math.log2(1 + sum(n - 1 for n in size))) if min(size, default=1) > 0 else 0


def _checked(who: str, x: Any, weight: Any, flips: Flips, anchor: Sequence[int] | None) -> tuple[int, ...]:
    """The anchor, after a look at the shapes."""
    for name, given in (("signal", x), ("weight", weight)):
        if not isinstance(given, Tensor) or not given.is_floating_point():
            came = f"a tensor of {given.dtype}" if isinstance(given, Tensor) else type(given).__name__
            raise DtypeError.of(who, f"the {name} as a tensor of real numbers", came, "convert it with .float()")
    ndim, groups = weight.ndim - 2, len(flips)
    wanted = (x.shape[1], x.shape[1] // max(groups, 1), *weight.shape[2:]) if x.ndim > 1 else ()
    if ndim < 1 or x.ndim != ndim + 2 or tuple(weight.shape) != wanted or x.shape[1] % groups:
        raise ArgumentError.of(
            who, f"a signal (batch, channels, *n) and a weight (channels, channels / {groups}, *k)",
            f"shapes {tuple(x.shape)} and {tuple(weight.shape)}", "give one group of channels for each entry of flips",
        )  # fmt: skip
    if any(len(group) != ndim for group in flips):
        raise ArgumentError.of(who, f"flips with {ndim} entries a group", str(flips), "name every spatial axis")
    found = tuple(n - 1 for n in weight.shape[2:]) if anchor is None else tuple(anchor)
    if len(found) != ndim or any(not 0 <= a < n for a, n in zip(found, weight.shape[2:], strict=False)):
        raise ArgumentError.of(
            who, f"an anchor within the kernel {tuple(weight.shape[2:])}", str(found), "name one of its taps"
        )
    return found


def _flipped(x: Tensor, flips: Flips, axis: int) -> Tensor:
    """Each group in its own frame, or back: `axis` counts the groups, spatial axes start at 3."""
    if not any(any(group) for group in flips):
        return x
    parts = [part.flip([2 + a for a, f in enumerate(g) if f]) for part, g in zip(x.unbind(axis), flips, strict=True)]
    return torch.stack(parts, axis)


# -- the operator -------------------------------------------------------------------------------------------------------


def _computed(y: Tensor, weight: Tensor, anchor: list[int], flips: list[int], method: str) -> Tensor:
    """The solution without derivatives; `flips` counts axes within groups. Half precision is computed in float32."""
    if not y.numel():
        return y.new_empty(y.shape)
    wide = torch.promote_types(y.dtype, torch.float32)
    groups = _grouped(flips, weight.ndim - 2)
    signal = _flipped(y.to(wide).unflatten(1, (len(groups), -1)), groups, 1)
    kernel = weight.to(wide).unflatten(0, (len(groups), -1))
    if method == "newton":
        size = tuple(y.shape[2:])
        inverse = inverse_kernel(weight.to(wide), size, len(groups))
        x = conv(signal.flatten(1, 2), inverse, None, padding=tuple((n - 1, 0) for n in size), groups=len(groups))
        x = x.unflatten(1, (len(groups), -1))
    else:
        x = causal_solvers.march(signal, kernel, tuple(anchor), method == "scan")
    return _flipped(x, groups, 1).flatten(1, 2).to(y.dtype).contiguous()


_operator = torch.library.custom_op("faltung::causal_solve", _computed, mutates_args=())


@_operator.register_fake
def _(y: Tensor, weight: Tensor, anchor: list[int], flips: list[int], method: str) -> Tensor:
    return y.new_empty(y.shape)


def _vmap(info: Any, in_dims: tuple, y: Tensor, weight: Tensor, *settings: Any) -> tuple[Tensor, int]:
    """More samples where only they are batched, one solve after the other where the weight is."""
    at, on = in_dims[:2]
    if on is None:
        many = y.movedim(at, 0)
        return _operator(many.flatten(0, 1), weight, *settings).unflatten(0, many.shape[:2]), 0
    signals = [y] * info.batch_size if at is None else y.unbind(at)
    return torch.stack([_operator(a, w, *settings) for a, w in zip(signals, weight.unbind(on), strict=True)]), 0


_operator.register_vmap(_vmap)


class _Solve(torch.autograd.Function):
    """The operator with its derivative. A function of its own, because torch.func does not see through a derivative that is
    registered with the operator."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, weight: Tensor, anchor: list[int], flips: list[int], method: str) -> Tensor:
        return _operator(y, weight, anchor, flips, method)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, weight, *ctx.settings = inputs
        ctx.save_for_backward(output, weight)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple:
        """With x = A⁻¹y: λ = A⁻ᵀ·cotangent for y, and −λ ⊗ x at every tap's distance for the weight."""
        x, weight = ctx.saved_tensors
        anchor, flips, method = ctx.settings
        groups = _grouped(flips, weight.ndim - 2)
        turned = adjoint_layout(weight, len(groups))
        adjoint = _Solve.apply(cotangent, turned, anchor, [1 - f for f in flips], method)
        if not ctx.needs_input_grad[1]:
            return adjoint, None, None, None, None
        signal, other = (_flipped(a.unflatten(1, (len(groups), -1)), groups, 1) for a in (x, adjoint))
        # Correlations of two signals: one is the other's kernel, channels take the part of samples and samples that of channels.
        pads = tuple((a, n - 1 - a) for a, n in zip(anchor, weight.shape[2:], strict=True))
        samples = signal.transpose(0, 2).flatten(1, 2)  # (in, groups · batch, *n)
        kernels = other.movedim(0, 2).flatten(0, 1)  # (groups · out, batch, *n)
        found = conv(samples, kernels, None, padding=pads, groups=len(groups))  # (in, groups · out, *k)
        earlier = _causal(tuple(weight.shape[2:]), tuple(anchor)).to(found)
        return adjoint, -found.transpose(0, 1) * earlier, None, None, None


def _grouped(flips: list[int], ndim: int) -> list[list[bool]]:
    return [[bool(f) for f in flips[at : at + ndim]] for at in range(0, len(flips), ndim)]


def _causal(k: tuple[int, ...], anchor: tuple[int, ...]) -> Tensor:
    """Ones at the taps up to the anchor in raster order."""
    return torch.tensor([float(tap <= anchor) for tap in itertools.product(*map(range, k))]).reshape(k)
