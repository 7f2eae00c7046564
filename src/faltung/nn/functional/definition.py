"""A layer's convolution by its definition, one tap after the other with torch's own sums: slow, in any dtype and dimension.

It shares no code with the methods, so layers and tests may be held against it.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def padded(x: Tensor, pads: Sequence[tuple[int, int]], padding_mode: str) -> Tensor:
    """x with (lo, hi) margins along its last axes, however wide: zeros, reflect, replicate, circular or symmetric."""
    for axis, (lo, hi) in zip(range(x.ndim - len(pads), x.ndim), pads, strict=True):
        n = x.shape[axis]
        at = torch.arange(-lo, n + hi, device=x.device)
        inside = (at >= 0) & (at < n)
        if padding_mode in ("zeros", "replicate"):
            at = at.clamp(0, n - 1)
        elif padding_mode == "circular":
            at = at % n
        elif padding_mode == "symmetric":
            at = torch.minimum(at % (2 * n), (2 * n - 1 - at) % (2 * n))
        else:  # reflect
            period = max(2 * n - 2, 1)
            at = torch.minimum(at % period, (period - at % period) % period)
        x = x.index_select(axis, at)
        if padding_mode == "zeros":
            x = x * inside.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1 - axis))
    return x


def conv_by_taps(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """`y[n, o, p] = bias[o] + Σ over c, t of x̃[n, c, p·stride + t·dilation] · weight[o, c, t]`, as written.

    Shapes: x (n, c, *s); weight (o, c / groups, *t), or (n, o, c / groups, *t) for a kernel of its own for each sample; bias (o)
    or (n, o). pads: (lo, hi) of every spatial axis.
    """
    ndim = len(pads)
    own = weight.ndim == ndim + 3
    x, taps = padded(x, pads, padding_mode), weight.shape[-ndim:]
    many = [(n - d * (t - 1) - 1) // s + 1 for n, d, t, s in zip(x.shape[2:], dilation, taps, stride, strict=True)]
    x = x.unflatten(1, (groups, -1))
    weight = weight.unflatten(int(own), (groups, -1))
    how = "ngc...,ngoc->ngo..." if own else "ngc...,goc->ngo..."
    y = x.new_zeros(())
    for tap in itertools.product(*map(range, taps)):
        seen = tuple(
            slice(t * d, t * d + (m - 1) * s + 1, s) for t, d, m, s in zip(tap, dilation, many, stride, strict=True)
        )
        y = y + torch.einsum(how, x[(..., *seen)], weight[(..., *tap)])
    y = y.flatten(1, 2)
    return y if bias is None else y + bias.reshape(*bias.shape, *[1] * ndim)


def deformed_by_taps(
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int = 1,
) -> Tensor:
    """Deformable convolution tap by tap: the value at a position is the sum over all samples times max(0, 1 − distance) an axis.

    Shapes: x (n, c, *s); offset (n, d, taps, axes, *m) in samples, d parts of the channels that move apart from each other; mask
    (n, d, taps, *m) or None; weight (o, c / groups, *t); bias (o). Returns (n, o, *m). Outside the samples everything is zero.
    """
    ndim, places = len(pads), offset.shape[4:]
    y = torch.zeros((), dtype=x.dtype)
    parts = x.unflatten(1, (offset.shape[1], -1))
    letters, spots = "hijk"[:ndim], "pqrs"[:ndim]
    for number, tap in enumerate(itertools.product(*map(range, weight.shape[2:]))):
        near = []
        for axis in range(ndim):
            line = torch.arange(places[axis]) * stride[axis] - pads[axis][0] + tap[axis] * dilation[axis]
            at = line.reshape([-1 if a == axis else 1 for a in range(ndim)]) + offset[:, :, number, axis]
            near.append((1 - (at.unsqueeze(-1) - torch.arange(x.shape[2 + axis])).abs()).clamp(min=0))
        terms = ",".join(f"nd{spots}{letter}" for letter in letters)
        value = torch.einsum(f"ndc{letters},{terms}->ndc{spots}", parts, *near)
        value = value if mask is None else value * mask[:, :, number].unsqueeze(2)
        value = value.flatten(1, 2).unflatten(1, (groups, -1))
        y = y + torch.einsum("ngi...,goi->ngo...", value, weight[(..., *tap)].unflatten(0, (groups, -1)))
    y = y.flatten(1, 2)
    return y if bias is None else y + bias.reshape(-1, *[1] * ndim)
