"""Weighted sums of rows named by number, in Triton: a block of results and a block of channels in a program.

The transpose adds rows to places that are named from anywhere. In its place each place gathers what is its own: the names are
sorted once (a compressed list of names by place), and sums run in the order of the list. No atomic addition is made, so that
results repeat bit for bit. `listed` is that kernel by itself: sums over lists of any lengths.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from faltung.kernels.gpu import launch, tiles_on


@triton.jit
def _sums(x, index, w, y, Q, R, J, C, blocks, BR: tl.constexpr, BC: tl.constexpr):
    """BR results and BC channels: J rows each, read where the index says."""
    b = (tl.program_id(0) // blocks).to(tl.int64)
    r = tl.program_id(0) % blocks * BR + tl.arange(0, BR)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    rows = r < R
    whole = rows[:, None] & (c < C)[None, :]
    acc = tl.zeros((BR, BC), y.dtype.element_ty)
    e = (b * R + r) * J
    for j in range(J):
        q = tl.load(index + e + j, mask=rows, other=-1)
        named = q >= 0
        weight = tl.load(w + e + j, mask=rows & named, other=0.0)
        values = tl.load(x + (b * Q + q)[:, None] * C + c[None, :], mask=whole & named[:, None], other=0.0)
        acc += weight[:, None] * values
    tl.store(y + (b * R + r)[:, None] * C + c[None, :], acc, mask=whole)


@triton.jit
def _listed(x, start, source, number, w, y, C, BC: tl.constexpr):
    """One result and BC channels: the sum over its list of w[number] · x[source]."""
    p = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    channels = c < C
    acc = tl.zeros((BC,), y.dtype.element_ty)
    for e in range(tl.load(start + p), tl.load(start + p + 1)):
        q = tl.load(source + e)
        weight = tl.load(w + tl.load(number + e))
        acc += weight * tl.load(x + q * C + c, mask=channels, other=0.0)
    tl.store(y + p * C + c, acc, mask=channels)


@triton.jit
def _weights(x, index, y, w, Q, R, J, C, blocks, BR: tl.constexpr, BC: tl.constexpr):
    """BR results: for one of J names the product of the named row with the result's."""
    b = (tl.program_id(0) // blocks).to(tl.int64)
    r = tl.program_id(0) % blocks * BR + tl.arange(0, BR)
    j = tl.program_id(1)
    rows = r < R
    q = tl.load(index + (b * R + r) * J + j, mask=rows, other=-1)
    named = q >= 0
    acc = tl.zeros((BR, BC), w.dtype.element_ty)
    for start in range(0, C, BC):
        c = start + tl.arange(0, BC)
        whole = named[:, None] & (c < C)[None, :]
        values = tl.load(x + (b * Q + q)[:, None] * C + c[None, :], mask=whole, other=0.0)
        acc += values * tl.load(y + (b * R + r)[:, None] * C + c[None, :], mask=whole, other=0.0)
    tl.store(w + (b * R + r) * J + j, tl.sum(acc, axis=1), mask=rows)


def sums(x: Tensor, index: Tensor, w: Tensor, y: Tensor) -> None:
    """The contract's result into y; all tensors contiguous, on one device and of one dtype, index of int64."""
    (B, R, J), Q, C = index.shape, x.shape[1], x.shape[2]
    sizes = tiles_on("gather", x.dtype, 0, x.device)
    BR, BC = sizes["rows"], sizes["channels"]
    blocks = triton.cdiv(R, BR)
    grid = (B * blocks, triton.cdiv(C, BC))
    launch(_sums, grid, x, index, w, y, Q, R, J, C, blocks, BR=BR, BC=BC, warps=sizes["warps"])


def rows(index: Tensor, w: Tensor, y: Tensor, x: Tensor) -> None:
    """The contract's result into x: the names are sorted by place, then every place sums its own list."""
    (B, R, J), Q, C = index.shape, x.shape[1], x.shape[2]
    problem = torch.arange(B, device=index.device, dtype=torch.int64)[:, None, None]
    # Rows of zeros are sorted behind all places.
    place = torch.where(index >= 0, problem * Q + index, B * Q).reshape(-1)
    place, order = torch.sort(place, stable=True)
    start = torch.searchsorted(place, torch.arange(B * Q + 1, device=place.device, dtype=torch.int64))
    listed(y.reshape(B * R, C), start, order // max(J, 1), order, w.reshape(-1), x.reshape(B * Q, C))


def listed(x: Tensor, start: Tensor, source: Tensor, number: Tensor, w: Tensor, y: Tensor) -> None:
    """Sums over lists, into y: `y[p] = Σ over e from start[p] to start[p + 1] − 1 of w[number[e]] · x[source[e]]`.

    Shapes: x (Q, C), start (P + 1,), source and number (E,) of int64, w of any length, y (P, C); all contiguous.
    """
    P, C = y.shape
    sizes = tiles_on("gather", x.dtype, 0, x.device)
    BC = sizes["channels"]
    launch(_listed, (P, triton.cdiv(C, BC)), x, start, source, number, w, y, C, BC=BC, warps=1)


def weights(x: Tensor, index: Tensor, y: Tensor, w: Tensor) -> None:
    """The contract's result into w; all tensors contiguous."""
    (B, R, J), Q, C = index.shape, x.shape[1], x.shape[2]
    sizes = tiles_on("gather", x.dtype, 0, x.device)
    BR, BC = sizes["rows"], sizes["channels"]
    blocks = triton.cdiv(R, BR)
    launch(_weights, (B * blocks, J), x, index, y, w, Q, R, J, C, blocks, BR=BR, BC=BC, warps=sizes["warps"])
