"""The small kernels whose crosses of permuted blocks come nearest to given kernels."""

import itertools

import torch
from torch import Tensor

CHANNELS = 64  # whose systems of equations are held at a time


def nearest_cross(
    wanted: Tensor, counts: list[Tensor], starts: list[tuple[int, ...]], steps: list[tuple[int, ...]], small: int
) -> Tensor:
    """Least squares for the small kernels w of channels whose kernel is `Σ over a, i of Σ_j counts_a[c, i, j]·w[c, j]`, placed.

    Formula: in branch a the block i stands at tap `starts[a] + i·steps[a]`; blocks overlap where branches cross. Of all solutions
    the one of least norm is taken, so blocks that no branch uses are zero.

    Shapes: wanted (C, *window); counts of each branch (C, blocks, m); returns (C, m, *small).

    Error: solved in the dtype of `wanted` by singular values, channel by channel.
    """
    window = wanted.shape[1:]
    inner = torch.tensor(list(itertools.product(range(small), repeat=len(window))))  # (taps, n)
    scale = torch.tensor([int(n) for n in torch.tensor([*window[1:], 1]).flip(0).cumprod(0).flip(0)])
    places = [
        ((torch.tensor(start) + torch.arange(count.shape[1])[:, None] * torch.tensor(step))[:, None] + inner) @ scale
        for count, start, step in zip(counts, starts, steps, strict=True)
    ]  # of each branch (blocks, taps): where in the flat window
    support, where = torch.unique(torch.cat([p.flatten() for p in places]), return_inverse=True)
    rows = [w.reshape(p.shape) for w, p in zip(where.split([p.numel() for p in places]), places, strict=True)]
    many, taps = counts[0].shape[2], len(inner)
    device = wanted.device
    at = [  # (blocks, m, taps): which entry of the matrix (support, m · taps) each count goes to
        (r[:, None] * (many * taps) + torch.arange(many * taps).reshape(many, taps)).flatten().to(device) for r in rows
    ]
    target = wanted.flatten(1)[:, support.to(device)].unsqueeze(-1)
    found = []
    for part in torch.arange(len(wanted)).split(CHANNELS):
        matrix = wanted.new_zeros(len(part), len(support) * many * taps)
        for count, index in zip(counts, at, strict=True):
            matrix.index_add_(1, index, count[part].to(wanted).unsqueeze(-1).expand(-1, -1, -1, taps).flatten(1))
        system = matrix.reshape(len(part), len(support), -1).cpu()
        found.append(torch.linalg.lstsq(system, target[part].cpu(), driver="gelsd").solution)
    return torch.cat(found).to(device).reshape(len(wanted), many, *(small,) * len(window))
