"""Enlarging and shrinking signals by interpolation, in any number of dimensions, with torch's positions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from faltung import torch_gate
from faltung.errors import ArgumentError
from faltung.kernels.enlarge import on_numba as kernel
from faltung.planner.machine import this_machine

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
WAYS = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "trilinear": "linear"}


def way_of(name: str, argument: str = "mode") -> str:
    """`nearest` or `linear` for any of torch's words.

    Raises:
        ArgumentError: another word.
    """
    if name not in WAYS:
        raise ArgumentError.of(argument, f"one of {', '.join(WAYS)}", repr(name), "choose one of these")
    return WAYS[name]


def resample(x: Tensor, sizes: Sequence[int], mode: str = "linear", align_corners: bool = False) -> Tensor:
    """The signal at other sizes: torch's interpolate, in more dimensions too.

    Formula: along each axis, from n to m samples: nearest `y[i] = x[⌊i·n/m⌋]`; linear `y[i]` is the linear interpolation of x at
    `(i + ½)·n/m − ½`, held within the signal, or with aligned corners at `i·(n − 1)/(m − 1)`.

    Shapes: x (batch, channels, *n), returns (batch, channels, *sizes).

    Args:
        sizes: of the result, one for each spatial axis, at least 1.
        mode: `nearest` or `linear` (`bilinear` and `trilinear` are other words for it). Default linear.
        align_corners: whether the first and last samples stay where they are; ignored by nearest. Default False.

    Raises:
        ArgumentError: another mode, or not one size for each axis.

    Source: the definition.

    Example:
        >>> resample(torch.tensor([[[0.0, 1.0]]]), [4])
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    way, sizes = way_of(mode), tuple(sizes)
    if len(sizes) != x.ndim - 2:
        raise ArgumentError.of(
            "resample", f"{x.ndim - 2} sizes", f"{len(sizes)}: {sizes}", "give one for each spatial axis"
        )
    if tuple(x.shape[2:]) == sizes:
        return x
    if len(sizes) > 3:
        # Three axes at a time; the first one then with all others as a second axis that keeps its size.
        inner = resample(x.flatten(1, 2), sizes[1:], way, align_corners).unflatten(1, x.shape[1:3])
        rest = inner.shape[3:]
        return resample(inner.flatten(3), (sizes[0], rest.numel()), way, align_corners).unflatten(3, rest)
    if _compiled(x, way, align_corners) and _ordinary(x):
        return _Enlarged.apply(x.new_zeros(*x.shape[:2], *sizes), x, way == "linear")
    if way == "nearest":
        return torch.nn.functional.interpolate(x, sizes, mode="nearest")
    return torch.nn.functional.interpolate(x, sizes, mode=_LINEAR[len(sizes)], align_corners=align_corners)


def add_resampled(base: Tensor, x: Tensor, mode: str = "linear", align_corners: bool = False) -> Tensor:
    """`base + resample(x, sizes of base)` in one pass, and its derivatives likewise.

    Shapes: base (batch, channels, *sizes), x (batch, channels, *n), returns a tensor like base.

    Args:
        mode, align_corners: see `resample`.

    Raises:
        ArgumentError: another mode, or other numbers of axes.

    Cost: one pass over base and the result for one or two axes in the processor's memory; else those of `resample` and of a sum.

    Example:
        >>> add_resampled(torch.tensor([[[1.0, 1.0, 1.0, 1.0]]]), torch.tensor([[[0.0, 4.0]]]), "nearest")
        tensor([[[1., 1., 5., 5.]]])
    """
    way = way_of(mode)
    fits = x.ndim == base.ndim and x.shape[:2] == base.shape[:2] and x.dtype == base.dtype
    if fits and _compiled(x, way, align_corners) and _ordinary(base, x):
        return _Enlarged.apply(base, x, way == "linear")
    return base + resample(x, base.shape[2:], way, align_corners)


def _compiled(x: Tensor, way: str, align_corners: bool) -> bool:
    """Whether there is a kernel for such a signal."""
    return x.ndim in (3, 4) and x.dtype in (torch.float32, torch.float64) and not (align_corners and way == "linear")


def _ordinary(*tensors: Tensor) -> bool:
    """Whether these are tensors in the processor's memory that nobody traces, batches or casts; derivatives may be wanted."""
    if torch.compiler.is_compiling() or any(torch._C._functorch.is_legacy_batchedtensor(a) for a in tensors):
        return False
    return torch_gate.plain(*(a.detach() for a in tensors))


class _Enlarged(torch.autograd.Function):
    """`add_resampled` by the compiled kernel."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, x: Tensor, linear: bool) -> Tensor:
        ctx.sizes, ctx.linear = x.shape[2:], linear
        y = kernel.enlarged(_planes(x), _planes(base), linear, this_machine().threads)
        return torch.from_numpy(y).reshape(base.shape)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        (g,) = cotangents
        if not ctx.needs_input_grad[1]:
            return g, None, None
        if _ordinary(g):
            return g, _Gathered.apply(g, ctx.sizes, ctx.linear), None
        way = "linear" if ctx.linear else "nearest"  # cotangents that are batched or traced: torch's own derivative
        zeros = torch.zeros(*g.shape[:2], *ctx.sizes, dtype=g.dtype, device=g.device)
        return g, torch.func.vjp(lambda x: resample(x, g.shape[2:], way), zeros)[1](g)[0], None


class _Gathered(torch.autograd.Function):
    """The transpose of `resample` by the compiled kernel."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, sizes: torch.Size, linear: bool) -> Tensor:
        ctx.sizes, ctx.linear = y.shape[2:], linear
        x = kernel.gathered(_planes(y), (1, *sizes)[-2:], linear, this_machine().threads)
        return torch.from_numpy(x).reshape(*y.shape[:2], *sizes)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        return resample(cotangents[0], ctx.sizes, "linear" if ctx.linear else "nearest"), None, None


def _planes(x: Tensor) -> Any:
    """The values as (planes, rows, columns)."""
    rows = x.shape[2] if x.ndim == 4 else 1
    return x.detach().reshape(x.shape[0] * x.shape[1], rows, x.shape[-1]).contiguous().numpy()


def interpolation(n: int, m: int, mode: str, align_corners: bool = False) -> Tensor:
    """The matrix (m, n) of `resample` along one axis, in float64: its definition."""
    i = torch.arange(m, dtype=torch.float64)
    if way_of(mode) == "nearest":
        at = (torch.arange(m) * n // m).to(torch.float64)
    elif align_corners:
        at = i * (n - 1) / max(m - 1, 1)
    else:
        at = ((i + 0.5) * n / m - 0.5).clamp(0, n - 1)
    return (1 - (at[:, None] - torch.arange(n)).abs()).clamp(min=0)


def resample_by_matrices(x: Tensor, sizes: Sequence[int], mode: str, align_corners: bool = False) -> Tensor:
    """`resample` by its definition, one axis after the other."""
    for axis, m in enumerate(sizes, 2):
        matrix = interpolation(x.shape[axis], m, mode, align_corners).to(x)
        x = torch.tensordot(x, matrix, dims=([axis], [1])).movedim(-1, axis)
    return x
