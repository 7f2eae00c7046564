"""Kernels that move, differentiably: translation by fractions of a sample with a circular end, rotation by resampling.

Every motion is linear in the kernel. Along an axis of K samples a translation is a K × K matrix; a rotation is one of all samples.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError


def translate_kernel(kernel: Tensor, shift: Tensor) -> Tensor:
    """A kernel moved by any number of samples along its last axes, what leaves at one end coming back at the other.

    Formula: the trigonometric interpolant of the kernel, evaluated at p − shift: a phase `exp(−2πi·f·shift)` in the Fourier domain.
    Whole shifts are those of `torch.roll`; the sum is kept, for odd sizes the 2-norm, too. The highest frequency of an even size is
    cos(π·shift) there, since its sine vanishes on the samples.

    Shapes: kernel (..., *K) with D last axes, shift (D) in samples; returns (..., *K). With shift (batch, D): (batch, ..., *K).

    Raises:
        ArgumentError: shift has another shape.

    Source: the discrete Fourier transform's shift theorem.

    Example:
        >>> translate_kernel(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([1.0])).round()
        tensor([-0., 1., -0.])
    """
    _fits("translate_kernel", shift, (1, 2), kernel.ndim, f"shift (D) or (batch, D), D at most {kernel.ndim}")
    count = shift.shape[-1]
    moved = kernel if shift.ndim == 1 else kernel.expand(len(shift), *kernel.shape)
    for axis in range(-count, 0):
        matrix = shift_matrix(kernel.shape[axis], shift[..., axis])
        if shift.ndim == 2:  # the same matrix for all that stands between batch and axis
            matrix = matrix.reshape(len(shift), *[1] * (kernel.ndim - 1), *matrix.shape[1:])
        moved = (matrix @ moved.movedim(axis, -1).unsqueeze(-1)).squeeze(-1).movedim(-1, axis)
    return moved


def rotate_kernel(kernel: Tensor, rotation: Tensor) -> Tensor:
    """A kernel turned about its centre: what stood at c + v stands at c + R v, between samples by linear interpolation.

    Formula: `out[p] = kernel(c + Rᵀ(p − c))` with c the middle of the axes, zeros beyond the edge. Quarter turns permute samples.

    Shapes: kernel (..., *K) with D last axes, rotation (D, D); returns (..., *K). With rotation (batch, D, D): (batch, ..., *K).

    Raises:
        ArgumentError: rotation has another shape.

    Source: multilinear resampling.

    Example:
        >>> rotate_kernel(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
        tensor([[2., 4.],
                [1., 3.]])
    """
    _fits("rotate_kernel", rotation, (2, 3), kernel.ndim, f"rotation (D, D) or (batch, D, D), D at most {kernel.ndim}")
    count = rotation.shape[-1]
    sizes = kernel.shape[-count:]
    seen, flat = _seen(sizes, rotation)[1], kernel.flatten(-count)
    total: Any = 0.0
    for corner in itertools.product((0, 1), repeat=count):
        at = seen.detach().floor() + torch.tensor(corner, dtype=seen.dtype, device=seen.device)
        place, weight = torch.zeros_like(at[..., 0], dtype=torch.long), (1 - (seen - at).abs()).prod(-1)
        for a, n in enumerate(sizes):
            weight = weight * ((at[..., a] >= 0) & (at[..., a] < n))
            place = place * n + at[..., a].clamp(0, n - 1).long()
        total = total + flat[..., place] * weight  # (..., out), or (..., batch, out)
    moved = total.movedim(-2, 0) if rotation.ndim == 3 else total
    return moved.reshape(*rotation.shape[:-2], *kernel.shape)


def shift_matrix(size: int, shift: Tensor) -> Tensor:
    """The matrices (..., size, size) that move `size` circular samples by the shifts (...)."""
    at = torch.arange(size, dtype=shift.dtype, device=shift.device)
    apart = at[:, None] - at[None, :]
    turn = 2 * math.pi / size
    total = torch.ones_like(apart) + torch.zeros_like(shift)[..., None, None]
    for f in range(1, (size - 1) // 2 + 1):
        total = total + 2 * torch.cos(turn * f * (apart - shift[..., None, None]))
    if size % 2 == 0:
        total = total + torch.cos(math.pi * apart) * torch.cos(math.pi * shift[..., None, None])
    return total / size


def rotation_weights(sizes: Sequence[int], rotation: Tensor) -> Tensor:
    """The matrices (..., samples, samples) of `rotate_kernel` for kernels of these sizes."""
    grid, seen = _seen(sizes, rotation)
    return (1 - (seen.unsqueeze(-2) - grid).abs()).clamp(min=0).prod(-1)


def _seen(sizes: Sequence[int], rotation: Tensor) -> tuple[Tensor, Tensor]:
    """All places (samples, D), and where each rotation looks for what stands there (..., samples, D)."""
    axes = [torch.arange(n, dtype=rotation.dtype, device=rotation.device) for n in sizes]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(sizes))
    centre = torch.tensor([(n - 1) / 2 for n in sizes], dtype=rotation.dtype, device=rotation.device)
    return grid, (grid - centre) @ rotation + centre  # rows times R are columns times Rᵀ


def turned(axis: Tensor, angle: Tensor, first_order: bool = False) -> Tensor:
    """The rotation (..., 3, 3) about unit axes (..., 3) by angles (...): Rodrigues' formula, or `I + angle·[axis]×` of it only."""
    zero = torch.zeros_like(axis[..., 0])
    x, y, z = axis.unbind(-1)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    angle, eye = angle[..., None, None], torch.eye(3, dtype=axis.dtype, device=axis.device)
    if first_order:
        return eye + angle * cross
    return eye + torch.sin(angle) * cross + (1 - torch.cos(angle)) * (cross @ cross)


def _fits(who: str, motion: Tensor, axes: tuple[int, int], most: int, expected: str) -> None:
    square = axes[0] == 1 or (motion.ndim > 1 and motion.shape[-1] == motion.shape[-2])
    if motion.ndim not in axes or not square or not 1 <= motion.shape[-1] <= most:
        raise ArgumentError.of(
            who, expected, f"shape {tuple(motion.shape)}", "give one number (a row of them) for each axis that moves"
        )
