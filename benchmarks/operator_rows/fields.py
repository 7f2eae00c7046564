"""Kernels that depend on the place, against unfolding the input and summing with einsum, and sampling with grid_sample.

"backward" is forward and backward together, for input and weights.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from faltung.nn.functional import conv_local, conv_per_pixel, deform_conv
from operator_rows import Row


def both(call: Callable, *operands: Tensor) -> Callable:
    """Forward and backward for all operands; returns every hundredth of all derivatives in a row."""
    operands = tuple(a.detach().requires_grad_() for a in operands)

    def run() -> Tensor:
        y = call(*operands)
        cotangent = y.detach()  # no numbers are drawn within the time
        return torch.cat([g.reshape(-1)[::100] for g in torch.autograd.grad(y, operands, cotangent)])

    return run


def still(call: Callable, *operands: Tensor) -> Callable:
    """Forward only."""

    def run() -> Tensor:
        with torch.no_grad():
            return call(*operands)

    return run


def pixels_unfolded(x: Tensor, w: Tensor) -> Tensor:
    """conv_per_pixel with interleaved groups, 3 × 3."""
    (n, c, *size), g = x.shape, w.shape[1]
    seen = F.unfold(x, 3, padding=1).view(n, c // g, g, 9, -1)
    return torch.einsum("nrgtp,ngtp->nrgp", seen, w.flatten(3)).reshape(n, c, *size)


def local_unfolded(x: Tensor, w: Tensor) -> Tensor:
    """conv_local, 3 × 3, the weight as ours."""
    seen = F.unfold(x, 3)
    return torch.einsum("nkp,okp->nop", seen, w.reshape(w.shape[0], seen.shape[1], -1)).reshape(
        -1, w.shape[0], *w.shape[4:]
    )


def deform_sampled(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """deform_conv, 3 × 3 with a margin of one, one grid_sample a tap."""
    (h, w), y = x.shape[2:], 0
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    for tap in range(9):
        r = rows + tap // 3 - 1 + offset[:, 2 * tap]
        c = columns + tap % 3 - 1 + offset[:, 2 * tap + 1]
        grid = torch.stack((2 * c / (w - 1) - 1, 2 * r / (h - 1) - 1), -1)
        seen = F.grid_sample(x, grid, align_corners=True)
        if weight.shape[1] == 1:
            y = y + seen * weight[:, 0, tap // 3, tap % 3].reshape(1, -1, 1, 1)
        else:
            y = y + torch.einsum("nihw,oi->nohw", seen, weight[:, :, tap // 3, tap % 3])
    return y


def rows() -> Iterator[Row]:
    """The places of LSNet's stages, of the layers for which local connections were asked, of a detector's neck."""
    torch.manual_seed(0)

    def warm() -> None:
        x, w = torch.randn(1, 8, 4, 4), torch.randn(1, 1, 9, 4, 4)
        both(lambda x, w: conv_per_pixel(x, w, 3, padding=1), x, w)()
        both(pixels_unfolded, x, w)()

    for n in (8, 64):
        x, w = torch.randn(n, 128, 56, 56), torch.randn(n, 16, 9, 56, 56)
        ours = lambda x, w: conv_per_pixel(x, w, 3, padding=1)  # noqa: E731
        label = f"per pixel 3×3, {n} × 128 × 56 × 56, 16 kernels"
        yield Row(
            label, still(ours, x, w), {"unfold + einsum": still(pixels_unfolded, x, w)}, {"unfold + einsum": 5}, warm
        )
        if n == 8:
            peers = {"unfold + einsum": both(pixels_unfolded, x, w)}
            yield Row(f"{label}, backward", both(ours, x, w), peers, {"unfold + einsum": 5}, warm)
    for n, i, o, size in ((16, 64, 64, 32), (32, 64, 64, 32), (16, 128, 64, 16), (32, 128, 64, 16), (1, 128, 64, 16)):
        x, w = torch.randn(n, i, size, size), torch.randn(o, i, 3, 3, size - 2, size - 2)
        label = f"locally connected 3×3, {n} × {i} × {size} × {size}, {o} filters"
        for name, how in (("", still), (", backward", both)):
            peers = {"unfold + einsum": how(local_unfolded, x, w)}
            yield Row(label + name, how(conv_local, x, w), peers, {"unfold + einsum": 3}, warm)
    for label, o, g in (("deformable 3×3", 64, 1), ("deformable 3×3 depthwise", 64, 64)):
        x, offset = torch.randn(8, 64, 56, 56), 2 * torch.randn(8, 18, 56, 56)
        weight = torch.randn(o, 64 // g, 3, 3)
        ours = lambda x, offset, weight, g=g: deform_conv(x, offset, weight, None, 1, 1, 1, g)  # noqa: E731
        for name, how in (("", still), (", backward", both)):
            peers = {"grid_sample + einsum": how(deform_sampled, x, offset, weight)}
            text = f"{label}, 8 × 64 × 56 × 56{name}"
            yield Row(text, how(ours, x, offset, weight), peers, {}, warm, 1e-2 if name else 1e-3)
