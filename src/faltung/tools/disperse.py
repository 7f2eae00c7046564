"""Dispersed convolution: a kernel made larger so that it does to an enlarged signal what the small one did to the signal."""

from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import Conv, functional
from faltung.nn.functional.redilate import is_convolution


def dispersion_matrix(small: Any, large: Any, scale: int, eta: float = 0.05, grid: int = 3, ndim: int = 2) -> Tensor:
    """The matrix R that enlarges kernels: K = R k acts on an enlarged signal as k does on the signal.

    Formula: R minimises `‖conv(up(h), R k) − up(conv(h, k))‖² + eta² ‖conv(h, R k) − conv(h, k)‖²` over all kernels k and signals h
    of `grid` samples along each axis, with zero margins that keep the size; `up` is linear with the corners fixed, from n to
    `scale · (n − 1) + 1` samples.

    Shapes: returns (Π large, Π small) in float64.

    Args:
        small, large: taps of the kernels, odd, one number for all axes or one for each; large is no smaller than small.
        scale: by how much signals are enlarged, a whole number of at least 1.
        eta: how much the large kernel shall also act as the small one where nothing is enlarged, at least 0. Default 0.05.
        grid: samples along each axis of the signals in question, at least 2. Default 3, as in the published matrices.
        ndim: number of axes. Default 2.

    Raises:
        ArgumentError: sizes or numbers outside of these.

    Cost: one least-squares problem of (scale · (grid − 1) + 1)ⁿ · gridⁿ equations for Π large unknowns: milliseconds.

    Source: He, Yang et al., ScaleCrafter: tuning-free higher-resolution visual generation with diffusion models (2024).

    Example:
        >>> dispersion_matrix(3, 5, 2).sum(1).reshape(5, 5)[0, 0]
        tensor(0.5913, dtype=torch.float64)
    """
    (ndim,) = functional.numbers("ndim", ndim, 1, 1)
    few, many = functional.numbers("small", small, ndim, 1), functional.numbers("large", large, ndim, 1)
    (scale,), (grid,) = functional.numbers("scale", scale, 1, 1), functional.numbers("grid", grid, 1, 2)
    if any(t % 2 == 0 for t in few + many) or any(a > b for a, b in zip(few, many, strict=True)):
        raise ArgumentError.of(
            "dispersion_matrix",
            "odd kernel sizes, the large one no smaller",
            f"{small} and {large}",
            "choose other sizes",
        )
    if isinstance(eta, bool) or not isinstance(eta, (int, float)) or not 0 <= eta < float("inf"):
        raise ArgumentError.of("dispersion_matrix", "eta of at least 0", repr(eta), "leave it out for 0.05")
    up = _product([_enlarging(grid, scale)] * ndim)
    wide = scale * (grid - 1) + 1
    # One column a tap: what that tap alone makes of every signal, first enlarged, then as it is.
    left = [
        torch.cat([(s @ up).flatten(), eta * p.flatten()])
        for s, p in zip(_taps(many, wide), _taps(many, grid), strict=True)
    ]
    right = [torch.cat([(up @ p).flatten(), eta * p.flatten()]) for p in _taps(few, grid)]
    return torch.linalg.lstsq(torch.stack(left, 1), torch.stack(right, 1), driver="gelsd").solution


def disperse(conv: nn.Module, large: Any, matrix: Tensor) -> nn.Module:
    """A copy of a convolution with a larger kernel, the result as large as before: wider margins make up for the further taps.

    Args:
        conv: a convolution of torch or of `faltung.nn`; it is left as it is.
        large: taps of the new kernel, one number for all spatial axes or one for each, each larger by an even number or equal.
        matrix: (Π large, Π kernel_size) as from `dispersion_matrix`; the same for all channels.

    Returns:
        A layer of torch if `conv` is one, else `faltung.nn.Conv`. It goes together with `redilate` at half the factor.

    Raises:
        ArgumentError: sizes that do not fit.   DtypeError: not a convolution layer.

    Example:
        >>> disperse(nn.Conv2d(3, 8, 3, padding=1), 5, dispersion_matrix(3, 5, 2))
        Conv2d(3, 8, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))
    """
    if not is_convolution(conv):
        raise DtypeError.of("disperse", "a convolution layer", type(conv).__name__, "pass a Conv2d or the like")
    ours = hasattr(conv, "effective_kernel")
    frozen: Any = conv.freeze() if ours else conv
    plain = frozen if isinstance(frozen, Conv) else Conv.from_torch(frozen)
    many = functional.numbers("large", large, plain.ndim, 1)
    more = [b - a for a, b in zip(plain.kernel_size, many, strict=True)]
    if any(m < 0 or m % 2 for m in more):
        raise ArgumentError.of(
            "disperse", f"a kernel larger than {plain.kernel_size} by even numbers", f"{many}", "choose another size"
        )
    weight = plain.weight.detach()
    wanted = (torch.Size(many).numel(), torch.Size(plain.kernel_size).numel())
    if not isinstance(matrix, Tensor) or tuple(matrix.shape) != wanted:
        came = f"shape {tuple(matrix.shape)}" if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ArgumentError.of("disperse", f"a matrix of shape {wanted}", came, "make it by dispersion_matrix")
    padding = plain.padding
    if padding != "same":
        first = functional.margins(padding, plain.stride, plain.dilation, plain.kernel_size)
        padding = tuple(lo + d * m // 2 for (lo, _), d, m in zip(first, plain.dilation, more, strict=True))
    made = Conv(
        plain.ndim, plain.in_channels, plain.out_channels, many, plain.stride, padding, plain.dilation, plain.groups,
        plain.bias is not None, plain.padding_mode, device="meta", policy=plain.policy,
    )  # fmt: skip
    wide = torch.promote_types(weight.dtype, torch.float64)
    larger = weight.flatten(2).to(wide) @ matrix.to(weight.device, wide).T
    made.weight = nn.Parameter(larger.reshape(*weight.shape[:2], *many).to(weight.dtype), plain.weight.requires_grad)
    if plain.bias is not None:
        made.bias = nn.Parameter(plain.bias.detach().clone(), plain.bias.requires_grad)
    made.train(conv.training)
    return made if ours or not made.has_torch() else made.to_torch()


def _taps(sizes: tuple[int, ...], length: int) -> list[Tensor]:
    """For each tap the matrix by which it alone acts on signals of `length` samples along every axis, zero beyond the ends."""
    every = [[_shift(length, t - size // 2) for t in range(size)] for size in sizes]
    taps: list[list[Tensor]] = [[]]
    for line in every:
        taps = [[*begun, one] for begun in taps for one in line]
    return [_product(tap) for tap in taps]


def _shift(length: int, by: int) -> Tensor:
    """The matrix of y[p] = x[p + by], 0 outside."""
    return torch.diag(torch.ones(max(length - abs(by), 0), dtype=torch.float64), by)[:length, :length]


def _enlarging(n: int, scale: int) -> Tensor:
    """The matrix of linear interpolation from n to scale · (n − 1) + 1 samples, the ends on the ends."""
    at = torch.arange(scale * (n - 1) + 1, dtype=torch.float64) / scale
    return (1 - (at[:, None] - torch.arange(n, dtype=torch.float64)).abs()).clamp(min=0)


def _product(factors: list[Tensor]) -> Tensor:
    """The Kronecker product."""
    made = factors[0]
    for factor in factors[1:]:
        made = torch.kron(made, factor)
    return made
