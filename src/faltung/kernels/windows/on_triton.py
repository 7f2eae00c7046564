"""Direct convolution over max-plus, min-plus and the log semiring, and its gradients, term by term in registers.

A program computes a block of results of one output channel. For gradients the first pass keeps of every result which term it is
(an int32), or its value in float64; signal and filter then gather what is theirs, in a fixed order and without atomic additions, so
that gradients repeat bit for bit. Terms are compared in float64, as the definition does.
"""

from math import prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from faltung.kernels.gpu import launch, tiles_on
from faltung.kernels.windows.contract import Geometry


@triton.jit
def _place(i, M1, M2):
    """The three coordinates of a flat index."""
    return i // (M1 * M2), i // M2 % M1, i % M2


@triton.jit
def _merged(best, total, v, OF: tl.constexpr):
    """One term more: the larger or smaller, or the sum of exponentials `total` below their maximum `best`."""
    if OF == "log":
        top = tl.maximum(best, v)
        base = tl.where(tl.abs(top) == float("inf"), 0.0, top)
        total = total * tl.exp((best - base).to(total.dtype)) + tl.exp((v - base).to(total.dtype))
        return top, total
    elif OF == "max":
        return tl.where((v > best) | (v != v), v, best), total
    else:
        return tl.where((v < best) | (v != v), v, best), total


@triton.jit
def _results(
    x, k, y, C, O, N, n0, n1, n2, t0, t1, t2, m0, m1, m2, s0, s1, s2, d0, d1, d2, l0, l1, l2, fill, blocks,
    OF: tl.constexpr, KEEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A block of results; with KEEP in their place what gradients need: the number of the term, or the value in float64."""
    row = (tl.program_id(0) // blocks).to(tl.int64)
    o = row % O
    sample = row // O
    b = sample // N
    i = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    known = i < m0 * m1 * m2
    i0, i1, i2 = _place(i, m1, m2)
    size = n0 * n1 * n2
    taps = t0 * t1 * t2
    wide = tl.float64 if KEEP else y.dtype.element_ty
    start = float("inf") if OF == "min" else float("-inf")
    best = tl.full((BLOCK,), start, wide)
    total = tl.zeros((BLOCK,), y.dtype.element_ty if OF == "log" and not KEEP else tl.float32)
    if KEEP and x.dtype.element_ty == tl.float64:
        total = tl.zeros((BLOCK,), tl.float64)
    choice = tl.full((BLOCK,), -1, tl.int32)
    for u in range(taps):
        u0, u1, u2 = _place(u, t1, t2)
        p0 = i0 * s0 + u0 * d0 - l0
        p1 = i1 * s1 + u1 * d1 - l1
        p2 = i2 * s2 + u2 * d2 - l2
        inside = known & (p0 >= 0) & (p0 < n0) & (p1 >= 0) & (p1 < n1) & (p2 >= 0) & (p2 < n2)
        at = (p0 * n1 + p1) * n2 + p2
        for c in range(C):
            a = tl.load(x + (sample * C + c) * size + at, mask=inside, other=fill).to(wide)
            v = a + tl.load(k + ((b * O + o) * C + c) * taps + u).to(wide)
            if KEEP and OF != "log":
                better = (v > best) if OF == "max" else (v < best)
                better = better | ((v != v) & (best == best)) | (choice < 0)
                best = tl.where(better, v, best)
                choice = tl.where(better, u * C + c, choice)
            else:
                best, total = _merged(best, total, v, OF)
    if KEEP and OF != "log":
        tl.store(y + row * (m0 * m1 * m2) + i, choice, mask=known)
    else:
        if OF == "log":
            best = tl.where(tl.abs(best) == float("inf"), 0.0, best) + tl.log(total).to(wide)
        tl.store(y + row * (m0 * m1 * m2) + i, best, mask=known)


@triton.jit
def _flow(y, kept, at, mine, v, number, OF: tl.constexpr):
    """What results hand to one of their terms."""
    if OF == "log":
        whole = tl.load(kept + at, mask=mine, other=float("-inf"))
        share = tl.exp((v - whole).to(y.dtype.element_ty))
        flow = tl.load(y + at, mask=mine, other=0.0)
        return tl.where(mine & (whole != float("-inf")) & (flow != 0.0), share * flow, 0.0)
    else:
        chosen = mine & (tl.load(kept + at, mask=mine, other=-1) == number)
        return tl.load(y + at, mask=chosen, other=0.0)


@triton.jit
def _to_signal(
    x, k, kept, y, out, C, O, N, n0, n1, n2, t0, t1, t2, m0, m1, m2, s0, s1, s2, d0, d1, d2, l0, l1, l2, blocks,
    OF: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A block of the signal's gradient: every result whose window holds a place is asked."""
    row = (tl.program_id(0) // blocks).to(tl.int64)
    c = row % C
    sample = row // C
    b = sample // N
    p = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    size = n0 * n1 * n2
    known = p < size
    p0, p1, p2 = _place(p, n1, n2)
    taps = t0 * t1 * t2
    places = m0 * m1 * m2
    value = tl.load(x + row * size + p, mask=known, other=0.0).to(tl.float64)
    acc = tl.zeros((BLOCK,), out.dtype.element_ty)
    for u in range(taps):
        u0, u1, u2 = _place(u, t1, t2)
        q0 = p0 + l0 - u0 * d0
        q1 = p1 + l1 - u1 * d1
        q2 = p2 + l2 - u2 * d2
        mine = known & (q0 >= 0) & (q0 < m0 * s0) & (q1 >= 0) & (q1 < m1 * s1) & (q2 >= 0) & (q2 < m2 * s2)
        mine = mine & (q0 % s0 == 0) & (q1 % s1 == 0) & (q2 % s2 == 0)
        at = (q0 // s0 * m1 + q1 // s1) * m2 + q2 // s2
        for o in range(O):
            v = value
            if OF == "log":
                v = value + tl.load(k + ((b * O + o) * C + c) * taps + u).to(tl.float64)
            acc += _flow(y, kept, (sample * O + o) * places + at, mine, v, u * C + c, OF)
    tl.store(out + row * size + p, acc, mask=known)


@triton.jit
def _to_filter(
    x, k, kept, y, out, C, O, N, n0, n1, n2, t0, t1, t2, m0, m1, m2, s0, s1, s2, d0, d1, d2, l0, l1, l2, fill,
    OF: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One tap's gradient: all results of its channel are asked, in blocks."""
    place = tl.program_id(0).to(tl.int64)
    taps = t0 * t1 * t2
    u = place % taps
    c = place // taps % C
    o = place // taps // C % O
    b = place // taps // C // O
    u0, u1, u2 = _place(u, t1, t2)
    size = n0 * n1 * n2
    places = m0 * m1 * m2
    tap = tl.load(k + place).to(tl.float64)
    acc = tl.zeros((BLOCK,), out.dtype.element_ty)
    for n in range(N):
        sample = b * N + n
        for start in range(0, places, BLOCK):
            i = start + tl.arange(0, BLOCK)
            mine = i < places
            v = tl.zeros((BLOCK,), tl.float64)
            if OF == "log":
                i0, i1, i2 = _place(i, m1, m2)
                p0 = i0 * s0 + u0 * d0 - l0
                p1 = i1 * s1 + u1 * d1 - l1
                p2 = i2 * s2 + u2 * d2 - l2
                inside = mine & (p0 >= 0) & (p0 < n0) & (p1 >= 0) & (p1 < n1) & (p2 >= 0) & (p2 < n2)
                at = (p0 * n1 + p1) * n2 + p2
                v = tl.load(x + (sample * C + c) * size + at, mask=inside, other=fill).to(tl.float64) + tap
            acc += _flow(y, kept, (sample * O + o) * places + i, mine, v, u * C + c, OF)
    tl.store(out + place, tl.sum(acc, axis=0))


def results(x: Tensor, k: Tensor, of: str, g: Geometry) -> Tensor:
    """The contract's results in the dtype of x, float32 or float64."""
    return _first(x.contiguous(), k.contiguous(), of, g, False)


def gradient(x: Tensor, k: Tensor, y: Tensor, of: str, g: Geometry, unknown: str) -> Tensor:
    """The contract's gradient for `x` or for `k`, summed in the dtype of x."""
    x, k, y = x.contiguous(), k.contiguous(), y.contiguous()
    kept = _first(x, k, of, g, True)
    (B, N, C), O = x.shape[:3], k.shape[1]
    sizes = tiles_on("windows", x.dtype, 0, x.device)
    block, warps = sizes["block"], sizes["warps"]
    out = torch.empty_like(x if unknown == "x" else k)
    if unknown == "x":
        blocks = triton.cdiv(prod(g.n), block)
        launch(
            _to_signal,
            (B * N * C * blocks,),
            x,
            k,
            kept,
            y,
            out,
            C,
            O,
            N,
            *_numbers(g),
            blocks,
            OF=of,
            BLOCK=block,
            warps=warps,
        )
    else:
        grid = (out.numel(),)
        launch(_to_filter, grid, x, k, kept, y, out, C, O, N, *_numbers(g), g.fill, OF=of, BLOCK=block, warps=warps)
    return out


def _first(x: Tensor, k: Tensor, of: str, g: Geometry, keep: bool) -> Tensor:
    """Results, or what gradients need of them."""
    (B, N, C), O = x.shape[:3], k.shape[1]
    sizes = tiles_on("windows", x.dtype, 0, x.device)
    dtype = (torch.float64 if of == "log" else torch.int32) if keep else x.dtype
    y = torch.empty((B, N, O, *g.m), dtype=dtype, device=x.device)
    blocks = triton.cdiv(prod(g.m), sizes["block"])
    launch(
        _results,
        (B * N * O * blocks,),
        x,
        k,
        y,
        C,
        O,
        N,
        *_numbers(g),
        g.fill,
        blocks,
        OF=of,
        KEEP=keep,
        BLOCK=sizes["block"],
        warps=sizes["warps"],
    )
    return y


def _numbers(g: Geometry) -> tuple[int, ...]:
    """The geometry along three axes; those that are not there have one place."""
    gap = 3 - len(g.n)
    sets = ((g.n, 1), (g.t, 1), (g.m, 1), (g.stride, 1), (g.dilation, 1), (g.low, 0))
    return tuple(v for values, missing in sets for v in ((missing,) * gap + tuple(values)))
