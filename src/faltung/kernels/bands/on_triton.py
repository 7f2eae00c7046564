"""Depthwise filters on matrix units: rows of the signal times bands of the filter.

A row of taps k[u] as the band matrix `K[v, j] = k[v − j]` makes `Σ over u of x[i, j + u] k[u]` a product of a tile of the signal
with K: for taps of length t and results of width w, w + t − 1 products stand for t, on a unit that multiplies an order of magnitude
faster than loops do. Along two axes there is one such product for each row of taps; along one axis the signal is cut into rows of w
that overlap. The filter's gradient is the transposed product, summed along its diagonals.

Source: the definition; the band form is that of im2col, Chellapilla, Puri and Simard (2006), for one channel.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from faltung.kernels.gpu import interpreted, launch, stored, tiles_on

SCRATCH = 1 << 28
"""Bytes that the products of a filter's gradient take at a time."""


@triton.jit
def _dot(a, b, c, P: tl.constexpr):
    """c + a · b; Triton's interpreter has no products of bfloat16, there they are widened first."""
    if P == "widened":
        return tl.dot(a.to(tl.float32), b.to(tl.float32), c, input_precision="ieee")
    else:
        return tl.dot(a, b, c, input_precision=P)


@triton.jit
def _correlated(
    x, k, y, N, H, W, MH, MW, TH, TW, lh, lw, xb, xn, yb, yn, kb, ks, tiles,
    FLAT: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr, BV: tl.constexpr, CHUNKS: tl.constexpr, D: tl.constexpr,
    P: tl.constexpr,
):  # fmt: skip
    """A tile of BH rows and BW columns of results. FLAT: rows are pieces of one line, BW apart."""
    row = tl.program_id(0).to(tl.int64)
    b = row // N
    i = tl.program_id(1) // tiles * BH + tl.arange(0, BH)[:, None]
    left = tl.program_id(1) % tiles * BW
    j = left + tl.arange(0, BW)[None, :]
    x += b * xb + row % N * xn
    acc = tl.zeros((BH, BW), tl.float32)
    for u in range(TH):
        for c in tl.static_range(CHUNKS):
            v = c * BV + tl.arange(0, BV)
            if FLAT:
                at = i * BW + v[None, :] - lw
                inside = (at >= 0) & (at < W)
            else:
                r = i + u - lh
                q = left + v[None, :] - lw
                inside = (r >= 0) & (r < H) & (q >= 0) & (q < W)
                at = r * W + q
            values = tl.load(x + at, mask=inside, other=0.0).to(D)
            tap = v[:, None] - tl.arange(0, BW)[None, :]
            # ks: −1 reads the filter backwards
            start = tl.where(ks > 0, u * TW, TH * TW - 1 - u * TW)
            band = tl.load(k + b * kb + start + tap * ks, mask=(tap >= 0) & (tap < TW), other=0.0).to(D)
            acc = _dot(values, band, acc, P)
    y += b * yb + row % N * yn
    if FLAT:
        at = i * BW + tl.arange(0, BW)[None, :]
        tl.store(y + at, acc.to(y.dtype.element_ty), mask=at < MW)
    else:
        tl.store(y + i * MW + j, acc.to(y.dtype.element_ty), mask=(i < MH) & (j < MW))


@triton.jit
def _products(
    x, y, products, N, H, W, MH, MW, TH, TW, lh, lw, xb, xn, yb, yn, columns, SPLIT, B,
    FLAT: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr, BV: tl.constexpr, D: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """For one channel and one row of taps: BV rows of the product whose diagonals are taps."""
    b = (tl.program_id(0) // TH).to(tl.int64)
    u = tl.program_id(0) % TH
    c = tl.program_id(1)
    part = tl.program_id(2).to(tl.int64)
    v = c * BV + tl.arange(0, BV)
    w = tl.arange(0, BW)
    acc = tl.zeros((BV, BW), tl.float32)
    rows = tl.cdiv(MH, BH)
    pieces = rows * columns
    work = N * pieces
    for step in range(part * work // SPLIT, (part + 1) * work // SPLIT):
        n = step // pieces
        i = (step % pieces // columns * BH + tl.arange(0, BH)).to(tl.int64)
        left = step % columns * BW
        xs = x + b * xb + n * xn
        ys = y + b * yb + n * yn
        if FLAT:
            at = i[None, :] * BW + v[:, None] - lw
            inside = (at >= 0) & (at < W)
            to = i[:, None] * BW + w[None, :]
            known = to < MW
        else:
            r = i[None, :] + u - lh
            q = left + v[:, None] - lw
            inside = (r >= 0) & (r < H) & (q >= 0) & (q < W)
            at = r * W + q
            to = i[:, None] * MW + (left + w)[None, :]
            known = (i < MH)[:, None] & (left + w < MW)[None, :]
        values = tl.load(xs + at, mask=inside, other=0.0).to(D)
        given = tl.load(ys + to, mask=known, other=0.0).to(D)
        acc = _dot(values, given, acc, P)
    products += (((part * B + b) * TH + u) * tl.num_programs(1) + c) * BV * BW
    tl.store(products + tl.arange(0, BV)[:, None] * BW + w[None, :], acc)


def correlate(
    x: Tensor, k: Tensor, low: tuple[int, ...], m: tuple[int, ...], dtype: torch.dtype, *, turned: bool = False,
    result: torch.dtype | None = None,
) -> Tensor:  # fmt: skip
    """The contract's results; with `turned` the filter is read backwards.

    Args:
        x: (B, N, *n), neighbours along the last axes next to each other.   k: (B, *t) contiguous.
        dtype: that of the products: a half type, or float32 in three products of tf32.   result: of y, default that of x.
    """
    B, N = x.shape[:2]
    flat, H, W, TH, TW, lh, lw, MH, MW = _sizes(x.shape[2:], k.shape[1:], low, m)
    sizes = tiles_on("bands", dtype, 0, x.device)
    BW, BH = sizes["columns"], sizes["rows"]
    BV, chunks = _chunks(BW + TW - 1, x.element_size())
    y = torch.empty((N, B, *m), dtype=result or stored(x.dtype), device=x.device).transpose(0, 1)
    tiles = 1 if flat else triton.cdiv(MW, BW)
    grid = (B * N, triton.cdiv(triton.cdiv(MW, BW) if flat else MH, BH) * tiles)
    launch(
        _correlated, grid, x, k, y, N, H, W, MH, MW, TH, TW, lh, lw, x.stride(0), x.stride(1), y.stride(0), y.stride(1), TH * TW,
        -1 if turned else 1, tiles, FLAT=flat, BH=BH, BW=BW, BV=BV, CHUNKS=chunks, D=DTYPES[dtype], P=precision(dtype),
        warps=sizes["warps"],
    )  # fmt: skip
    return y


def filters(x: Tensor, y: Tensor, low: tuple[int, ...], t: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """The contract's filters in float32; sums in a fixed order, so that they repeat bit for bit."""
    B, N = x.shape[:2]
    flat, H, W, TH, TW, lh, lw, MH, MW = _sizes(x.shape[2:], t, low, tuple(y.shape[2:]))
    sizes = tiles_on("bands", dtype, 0, x.device)
    BW, BH = sizes["columns"], sizes["rows"]
    BV, chunks = _chunks(BW + TW - 1, x.element_size())
    columns = 1 if flat else triton.cdiv(MW, BW)
    rows = triton.cdiv(MW, BW) if flat else MH
    split = max(1, min(N * triton.cdiv(rows, BH) * columns, 1024 // (B * TH * chunks)))
    k = torch.empty((B, *t), dtype=torch.float32, device=x.device)
    # Products of a share of the channels at a time, as many as fit SCRATCH.
    share = max(1, SCRATCH // (4 * split * TH * chunks * BV * BW))
    for start in range(0, B, share):
        xs, ys = x[start : start + share], y[start : start + share]
        count = xs.shape[0]
        products = torch.empty((split, count, TH, chunks * BV, BW), dtype=torch.float32, device=x.device)
        launch(
            _products, (count * TH, chunks, split), xs, ys, products, N, H, W, rows, MW, TH, TW, lh, lw, *xs.stride()[:2],
            *ys.stride()[:2], columns, split, count, FLAT=flat, BH=BH, BW=BW, BV=BV, D=DTYPES[dtype], P=precision(dtype),
            warps=sizes["warps"],
        )  # fmt: skip
        total = products.sum(dim=0) if split > 1 else products[0]
        V = chunks * BV
        diagonals = total.as_strided((count, TH, TW, BW), (TH * V * BW, V * BW, BW, BW + 1))
        k[start : start + share] = diagonals.sum(dim=-1).reshape(count, *t)
    return k


DTYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}


def precision(dtype: torch.dtype) -> str:
    """How products of that dtype are computed: float32 as three of tf32, half types as they are."""
    if dtype == torch.bfloat16 and interpreted():
        return "widened"
    return "tf32x3" if dtype == torch.float32 else "tf32"


def _sizes(n: Any, t: Any, low: Any, m: Any) -> tuple:
    """Whether there is one axis only, and sizes along two."""
    if len(n) == 1:
        return True, 1, n[0], 1, t[0], 0, low[0], 1, m[0]
    return False, n[0], n[1], t[0], t[1], low[0], low[1], m[0], m[1]


def _chunks(width: int, itemsize: int) -> tuple[int, int]:
    """The band's height as chunks of a power of two."""
    chunk = 32 if itemsize == 4 else 64
    chunk = min(chunk, max(16, triton.next_power_of_2(width)))
    return chunk, triton.cdiv(width, chunk)
