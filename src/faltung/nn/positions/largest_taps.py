"""Elements of a kernel on a window: positions on the largest taps of a given kernel, and the best weights for given positions."""

import torch
from torch import Tensor

from faltung.nn.functional.placed import FLOORS

NUMBERS = 1 << 22  # that the systems of equations of one piece may hold


def largest_taps(kernel: Tensor, count: int, axes: int) -> Tensor:
    """Where the `count` largest taps of each kernel stand, from tap `⌊window / 2⌋` on; the middle for those beyond all taps.

    Shapes: kernel (*rows, *window) with `axes` axes of the window; returns (axes, *rows, count).
    """
    window = kernel.shape[-axes:]
    flat = kernel.abs().flatten(-axes)
    places = flat.topk(min(count, flat.shape[-1]), -1).indices
    at = torch.stack(torch.unravel_index(places, window)).to(kernel.dtype)
    middle = torch.tensor([n // 2 for n in window], dtype=kernel.dtype, device=kernel.device)
    at = at - middle.reshape(-1, *[1] * (at.ndim - 1))
    return torch.nn.functional.pad(at, (0, count - at.shape[-1]))


def best_weights(kernel: Tensor, positions: Tensor, widths: Tensor | None, interpolation: str) -> Tensor:
    """The weights of elements at these positions whose kernel is nearest, by least squares; of several the smallest.

    Formula: an element is a product of one line φ_d for each axis, so for every row the products of elements are
    `G[m, l] = Π_d Σ_q φ_d[m, q]·φ_d[l, q]`, those with the kernel a contraction axis by axis, and the weights G⁺ times these.

    Shapes: kernel (*rows, *window), positions and widths (axes, *rows, m); returns (*rows, m).
    """
    axes = len(positions)
    window, rows = kernel.shape[-axes:], positions.shape[1:-1]
    k, at = kernel.reshape(-1, *window), positions.flatten(1, -2)
    wide = torch.zeros_like(at) if widths is None else widths.flatten(1, -2).abs()
    many = at.shape[-1]
    found = [
        _solved(k[part], at[:, part], wide[:, part] + FLOORS[interpolation], interpolation)
        for part in torch.arange(len(k), device=k.device).split(max(1, NUMBERS // (many * (many + k[0].numel()))))
    ]
    return torch.cat(found).reshape(*rows, many)


def _solved(kernel: Tensor, positions: Tensor, widths: Tensor, interpolation: str) -> Tensor:
    """The weights (rows, m) for kernels (rows, *window)."""
    products: Tensor | None = None
    met: Tensor | None = None
    for at, wide, taps in zip(positions, widths, kernel.shape[1:], strict=True):
        far = torch.arange(taps, device=at.device) - (at + taps // 2).unsqueeze(-1)
        if interpolation == "gauss":
            line = torch.softmax(-0.5 * (far / wide.unsqueeze(-1)) ** 2, -1)
        else:
            line = (wide.unsqueeze(-1) - far.abs()).relu()
            if interpolation != "bilinear":
                line = line / line.sum(-1, keepdim=True)
        gram = line @ line.mT
        products = gram if products is None else products * gram
        met = (
            torch.einsum("rmq,rq...->rm...", line, kernel)
            if met is None
            else torch.einsum("rmq,rmq...->rm...", line, met)
        )
    assert products is not None
    assert met is not None
    return (torch.linalg.pinv(products, hermitian=True) @ met.unsqueeze(-1)).squeeze(-1)
