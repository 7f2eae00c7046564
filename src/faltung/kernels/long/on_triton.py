"""Long convolutions as matrix products in one Triton kernel: transform, product with the filter's spectrum, transform back.

A program takes one row of signal and keeps it in registers between reading and writing. Rows longer than the largest transform that
fits are cut by one more product, a pass over memory before and one after (`layout.py` has the mathematics).
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from faltung.kernels.gpu import interpreted, launch, stored, tiles_on
from faltung.kernels.long import layout


@triton.jit
def _times(ar, ai, br, bi):
    return ar * br - ai * bi, ar * bi + ai * br


@triton.jit
def _times_conjugate(ar, ai, br, bi):
    return ar * br + ai * bi, ai * br - ar * bi


@triton.jit
def _dot(a, b, c, P: tl.constexpr):
    """c + a · b. Triton's interpreter has no products of bfloat16; there they are widened first, which changes no bit of them."""
    if P == "widened":
        return tl.dot(a.to(tl.float32), b.to(tl.float32), c, input_precision="ieee")
    else:
        return tl.dot(a, b, c, input_precision=P)


@triton.jit
def _left(fr, fi, fn, zr, zi, D: tl.constexpr, P: tl.constexpr):
    """F · Z, both complex; fn is −fi."""
    zr, zi = zr.to(D), zi.to(D)
    zero = tl.zeros((fr.shape[0], zr.shape[1]), tl.float32)
    r = _dot(fn, zi, _dot(fr, zr, zero, P), P)
    i = _dot(fi, zr, _dot(fr, zi, zero, P), P)
    return r, i


@triton.jit
def _right(zr, zi, fr, fi, fn, D: tl.constexpr, P: tl.constexpr):
    """Z · F, both complex; fn is −fi."""
    zr, zi = zr.to(D), zi.to(D)
    zero = tl.zeros((zr.shape[0], fr.shape[1]), tl.float32)
    r = _dot(zi, fn, _dot(zr, fr, zero, P), P)
    i = _dot(zr, fi, _dot(zi, fr, zero, P), P)
    return r, i


@triton.jit
def _plane(table, COUNT: tl.constexpr, WIDTH: tl.constexpr):
    """Real and imaginary part of a table of COUNT rows, and the latter's negative."""
    at = tl.arange(0, COUNT)[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]
    return tl.load(table + at), tl.load(table + COUNT * WIDTH + at), tl.load(table + 2 * COUNT * WIDTH + at)


@triton.jit
def _factors(table, COUNT: tl.constexpr, WIDTH: tl.constexpr):
    """Real and imaginary part of a table of COUNT rows."""
    at = tl.arange(0, COUNT)[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]
    return tl.load(table + at), tl.load(table + COUNT * WIDTH + at)


@triton.jit
def _forward(
    xr, xi, g1, t1, f2, t2, f3, N1: tl.constexpr, N2: tl.constexpr, N3: tl.constexpr, REAL: tl.constexpr, D: tl.constexpr,
    P: tl.constexpr,
):  # fmt: skip
    """The spectrum of a row that lies as (N1, N2·N3): as (N1, N2), or with three factors as (N2·N1, N3)."""
    gr, gi, gn = _plane(g1, N1, N1)
    if REAL:
        xr = xr.to(D)
        zero = tl.zeros((N1, N2 * N3), tl.float32)
        ar = _dot(gr, xr, zero, P)
        ai = _dot(gi, xr, zero, P)
    else:
        ar, ai = _left(gr, gi, gn, xr, xi, D, P)
    tr, ti = _factors(t1, N1, N2 * N3)
    ar, ai = _times(ar, ai, tr, ti)
    if N3 > 1:
        ar = tl.reshape(tl.permute(tl.reshape(ar, (N1, N2, N3)), (1, 0, 2)), (N2, N1 * N3))
        ai = tl.reshape(tl.permute(tl.reshape(ai, (N1, N2, N3)), (1, 0, 2)), (N2, N1 * N3))
        fr, fi, fn = _plane(f2, N2, N2)
        ar, ai = _left(fr, fi, fn, ar, ai, D, P)
        ur, ui = _repeated(t2, N1, N2, N3)
        ar, ai = _times(ar, ai, ur, ui)
        ar, ai = tl.reshape(ar, (N2 * N1, N3)), tl.reshape(ai, (N2 * N1, N3))
        er, ei, en = _plane(f3, N3, N3)
    else:
        er, ei, en = _plane(f3, N2, N2)
    return _right(ar, ai, er, ei, en, D, P)


@triton.jit
def _inverse(
    pr, pi, g1, t1, f2, t2, f3, N1: tl.constexpr, N2: tl.constexpr, N3: tl.constexpr, D: tl.constexpr, P: tl.constexpr
):
    """The way back of `_forward`, stage by stage in mirror order: no transposition in the order of frequencies is needed."""
    if N3 > 1:
        er, ei, en = _plane(f3, N3, N3)
    else:
        er, ei, en = _plane(f3, N2, N2)
    vr, vi = _right(pr, pi, er, en, ei, D, P)
    if N3 > 1:
        vr, vi = tl.reshape(vr, (N2, N1 * N3)), tl.reshape(vi, (N2, N1 * N3))
        ur, ui = _repeated(t2, N1, N2, N3)
        vr, vi = _times_conjugate(vr, vi, ur, ui)
        fr, fi, fn = _plane(f2, N2, N2)
        vr, vi = _left(fr, fn, fi, vr, vi, D, P)
        vr = tl.reshape(tl.permute(tl.reshape(vr, (N2, N1, N3)), (1, 0, 2)), (N1, N2 * N3))
        vi = tl.reshape(tl.permute(tl.reshape(vi, (N2, N1, N3)), (1, 0, 2)), (N1, N2 * N3))
    tr, ti = _factors(t1, N1, N2 * N3)
    vr, vi = _times_conjugate(vr, vi, tr, ti)
    gr, gi, gn = _plane(g1, N1, N1)
    return _left(tl.trans(gr), tl.trans(gn), tl.trans(gi), vr, vi, D, P)


@triton.jit
def _repeated(t2, N1: tl.constexpr, N2: tl.constexpr, N3: tl.constexpr):
    """The second table (N2, N3), repeated for every f₁: (N2, N1·N3)."""
    at = tl.arange(0, N2)[:, None] * N3 + (tl.arange(0, N1 * N3) % N3)[None, :]
    return tl.load(t2 + at), tl.load(t2 + N2 * N3 + at)


@triton.jit
def _unit(r, i, SCALED: tl.constexpr):
    """The values by their largest, and that: half precision neither overflows nor loses small values."""
    scale = 1.0
    if SCALED:
        top = tl.maximum(tl.max(tl.abs(r)), tl.max(tl.abs(i)))
        scale = tl.where(top > 0, top, 1.0)
        r, i = r / scale, i / scale
    return r, i, scale


@triton.jit
def _row(x, gate, i, n, GATED: tl.constexpr, TURNED: tl.constexpr):
    """Samples i of a row, zeros outside; turned around from its last sample on; times the gate."""
    inside = (i >= 0) & (i < n)
    at = i
    if TURNED:
        at = n - 1 - i
    values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if GATED:
        values = values * tl.load(gate + at, mask=inside, other=0.0).to(tl.float32)
    return values


@triton.jit
def _finish(
    y, gate, low, high, j, first, m, M: tl.constexpr, GATED: tl.constexpr, WRAPPED: tl.constexpr, TURNED: tl.constexpr
):
    """Store the stretch [first, first + m) of a linear convolution whose values j and M + j are low and high."""
    if WRAPPED:
        i = (j + M - first) % M
        _store(y, gate, low + high, i, m, GATED, TURNED)
    else:
        _store(y, gate, low, j - first, m, GATED, TURNED)
        _store(y, gate, high, j + (M - first), m, GATED, TURNED)


@triton.jit
def _store(y, gate, values, i, m, GATED: tl.constexpr, TURNED: tl.constexpr):
    inside = (i >= 0) & (i < m)
    at = i
    if TURNED:
        at = m - 1 - i
    if GATED:
        values = values * tl.load(gate + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + at, values.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _convolved(
    x, before, k, y, after, g1, t1, f2, t2, f3, N, n, m, first, xb, xn, yb, yn, O, kb,
    N1: tl.constexpr, N2: tl.constexpr, N3: tl.constexpr, PLANES: tl.constexpr, BEFORE: tl.constexpr, AFTER: tl.constexpr,
    TURN_X: tl.constexpr, TURN_Y: tl.constexpr, WRAPPED: tl.constexpr, D: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """One row: read, transformed, multiplied, transformed back, written. PLANES: a row of an outer pass, in place."""
    M: tl.constexpr = N1 * N2 * N3
    row = tl.program_id(0).to(tl.int64)
    R: tl.constexpr = N2 * N3
    j = tl.arange(0, N1)[:, None] * R + tl.arange(0, R)[None, :]
    if PLANES:
        # Rows lie as (B, N, real and imaginary, O, M); neighbours in the grid share a piece of spectrum.
        b = row // (N * O)
        o = row // N % O
        at = ((b * N + row % N) * 2 * O + o) * M + j
        scale = 1.0
        pr, pi = _forward(tl.load(x + at), tl.load(x + O * M + at), g1, t1, f2, t2, f3, N1, N2, N3, False, D, P)
        spectrum = k + b * kb + o * M
    else:
        b = row // N
        start = b * xb + row % N * xn
        values = _row(x + start, before + start, j, n, BEFORE, TURN_X)
        values, values, scale = _unit(values, values, tl.float16 == D)
        pr, pi = _forward(values, values, g1, t1, f2, t2, f3, N1, N2, N3, True, D, P)
        spectrum = k + b * kb
    # (f₁, f₂), or (f₂·f₁, f₃) with three factors
    L: tl.constexpr = N3 if N3 > 1 else N2
    f = tl.arange(0, M // L)[:, None] * L + tl.arange(0, L)[None, :]
    pr, pi = _times(pr, pi, tl.load(spectrum + f), tl.load(spectrum + O * M + f))
    pr, pi, top = _unit(pr, pi, tl.float16 == D)
    low, high = _inverse(pr, pi, g1, t1, f2, t2, f3, N1, N2, N3, D, P)
    low, high = low * scale * top, high * scale * top
    if PLANES:
        tl.store(y + at, low.to(y.dtype.element_ty))
        tl.store(y + O * M + at, high.to(y.dtype.element_ty))
    else:
        start = b * yb + row % N * yn
        _finish(y + start, after + start, low, high, j, first, m, M, AFTER, WRAPPED, TURN_Y)


@triton.jit
def _summed(
    x, y, xgate, ygate, k, g1, t1, f2, t2, f3, N, n, m, t, first, xb, xn, yb, yn, O, SPLIT, scale,
    N1: tl.constexpr, N2: tl.constexpr, N3: tl.constexpr, PLANES: tl.constexpr, GATED: tl.constexpr, WRAPPED: tl.constexpr,
    D: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """Products of the spectra of x and of y turned around, summed over rows of a channel, transformed back once."""
    M: tl.constexpr = N1 * N2 * N3
    R: tl.constexpr = N2 * N3
    L: tl.constexpr = N3 if N3 > 1 else N2
    part = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0).to(tl.int64)
    b = row // O
    o = row % O
    j = tl.arange(0, N1)[:, None] * R + tl.arange(0, R)[None, :]
    sr = tl.zeros((M // L, L), tl.float32)
    si = tl.zeros((M // L, L), tl.float32)
    for i in range(part * N // SPLIT, (part + 1) * N // SPLIT):
        if PLANES:
            at = ((b * N + i) * 2 * O + o) * M + j
            ar, ai = _forward(tl.load(x + at), tl.load(x + O * M + at), g1, t1, f2, t2, f3, N1, N2, N3, False, D, P)
            br, bi = _forward(tl.load(y + at), tl.load(y + O * M + at), g1, t1, f2, t2, f3, N1, N2, N3, False, D, P)
        else:
            start = b * xb + i * xn
            values = _row(x + start, xgate + start, j, n, GATED, False)
            ar, ai = _forward(values, values, g1, t1, f2, t2, f3, N1, N2, N3, True, D, P)
            start = b * yb + i * yn
            values = _row(y + start, ygate + start, j, m, GATED, True)
            br, bi = _forward(values, values, g1, t1, f2, t2, f3, N1, N2, N3, True, D, P)
        cr, ci = _times(ar, ai, br, bi)
        sr += cr
        si += ci
    sr, si, top = _unit(sr, si, tl.float16 == D)
    low, high = _inverse(sr, si, g1, t1, f2, t2, f3, N1, N2, N3, D, P)
    # Of the 1/√M that each of the three transforms carries, one is too many.
    low, high = low * top * scale, high * top * scale
    if PLANES:
        at = ((part * (tl.num_programs(0) // O) + b) * 2 * O + o) * M + j
        tl.store(k + at, low)
        tl.store(k + O * M + at, high)
    else:
        row = part * tl.num_programs(0) + b
        _finish(k + row * t, k, low, high, j, first, t, M, False, WRAPPED, False)


@triton.jit
def _outer(
    x, gate, z, g, t, N, n, xb, xn, O: tl.constexpr, M: tl.constexpr, BF: tl.constexpr, BJ: tl.constexpr, BK: tl.constexpr,
    GATED: tl.constexpr, TURNED: tl.constexpr, D: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """The first product of a long row: z[f₁, j₂] for a tile of both."""
    row = tl.program_id(0).to(tl.int64)
    f = tl.program_id(1) * BF + tl.arange(0, BF)[:, None]
    j = tl.program_id(2) * BJ + tl.arange(0, BJ)[None, :]
    start = row // N * xb + row % N * xn
    r = tl.zeros((BF, BJ), tl.float32)
    i = tl.zeros((BF, BJ), tl.float32)
    for s in range(0, O, BK):
        q = s + tl.arange(0, BK)
        values = _row(x + start, gate + start, q[:, None] * M + j, n, GATED, TURNED).to(D)
        r = _dot(tl.load(g + f * O + q[None, :]), values, r, P)
        i = _dot(tl.load(g + O * O + f * O + q[None, :]), values, i, P)
    at = f * M + j
    r, i = _times(r, i, tl.load(t + at), tl.load(t + O * M + at))
    tl.store(z + row * 2 * O * M + at, r.to(z.dtype.element_ty))
    tl.store(z + (row * 2 + 1) * O * M + at, i.to(z.dtype.element_ty))


@triton.jit
def _outer_inverse(
    z, y, gate, g, t, N, m, first, yb, yn, O: tl.constexpr, M: tl.constexpr, BF: tl.constexpr, BJ: tl.constexpr, BK: tl.constexpr,
    GATED: tl.constexpr, TURNED: tl.constexpr, WRAPPED: tl.constexpr, D: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """The last product of a long row, and the stretch of it that is asked for."""
    row = tl.program_id(0).to(tl.int64)
    f = tl.program_id(1) * BF + tl.arange(0, BF)[:, None]
    j = tl.program_id(2) * BJ + tl.arange(0, BJ)[None, :]
    r = tl.zeros((BF, BJ), tl.float32)
    i = tl.zeros((BF, BJ), tl.float32)
    for s in range(0, O, BK):
        q = s + tl.arange(0, BK)
        at = q[:, None] * M + j
        zr = tl.load(z + row * 2 * O * M + at).to(tl.float32)
        zi = tl.load(z + (row * 2 + 1) * O * M + at).to(tl.float32)
        zr, zi = _times_conjugate(zr, zi, tl.load(t + at), tl.load(t + O * M + at))
        zr, zi = zr.to(D), zi.to(D)
        gr = tl.load(g + q[None, :] * O + f)  # column f of the matrix: transposed
        gi = tl.load(g + O * O + q[None, :] * O + f)
        gn = tl.load(g + 2 * O * O + q[None, :] * O + f)
        r = _dot(gi, zi, _dot(gr, zr, r, P), P)
        i = _dot(gn, zr, _dot(gr, zi, i, P), P)
    start = row // N * yb + row % N * yn
    _finish(y + start, gate + start, r, i, f * M + j, first, m, O * M, GATED, WRAPPED, TURNED)


DTYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}


def precision(dtype: torch.dtype) -> str:
    """How products of that dtype are computed: float32 as three of tf32, which is close to float32; half types as they are."""
    if dtype == torch.bfloat16 and interpreted():
        return "widened"
    return "tf32x3" if dtype == torch.float32 else "tf32"


class Monarch:
    """Convolutions of rows with one filter a channel, on one device in one precision.

    Args:
        dtype: that of the products, float16 or bfloat16 (one product on the matrix units), or float32 (three of tf32 each).
        M: length of the transform, at least that of a row and of a filter.   kernel: `monarch` for `convolve`, `summed` for
        `filters`, which keeps two rows in registers.   largest: the longest transform in one kernel, by default the device's.
        order: how many factors that has, 2 or 3, by default the device's.
    """

    def __init__(
        self, dtype: torch.dtype, M: int, device: torch.device, kernel: str = "monarch", largest: int | None = None,
        order: int | None = None,
    ) -> None:  # fmt: skip
        self.dtype, self.M, self.device = dtype, M, device
        name = str(dtype).removeprefix("torch.")
        self.largest = largest or tiles_on(kernel, dtype, M, device)["length"]
        self.O = layout.outer(M, self.largest)
        self.m = M // self.O
        sizes = tiles_on(kernel, dtype, self.m, device)
        self.warps = sizes["warps"]
        self.factors = layout.factored(self.m, order or sizes["order"])
        self.tables = layout.tables(M, self.O, self.factors, name, str(device))
        self.constants = {"D": DTYPES[dtype], "P": precision(dtype)}
        self.inner = {**self.constants, **dict(zip(("N1", "N2", "N3"), self.factors, strict=True))}

    def spectrum(self, k: Tensor) -> Tensor:
        """The filters' part of `convolve`, (B, 2, M) from (B, t)."""
        return layout.spectrum(k, self.M, self.O, self.factors)

    def convolve(
        self, x: Tensor, spectrum: Tensor, first: int, m: int, *, before: Tensor | None = None, after: Tensor | None = None,
        turn_x: bool = False, turn_y: bool = False, wrapped: bool = False, dtype: torch.dtype | None = None,
    ) -> Tensor:  # fmt: skip
        """The contract's stretch, and in the same pass two gates: `y = after · stretch(before · x)`.

        Shapes: x and before (B, N, n), spectrum (B, 2, M), y and after (B, N, m).

        Args:
            turn_x, turn_y: the row is read, or written, from its end. Gates turn with what they multiply.
            wrapped: the circular convolution of length M instead (n = m = M).   dtype: of y, default that of x.
        """
        B, N, n = x.shape
        y = _new(x, B, N, m, dtype or stored(x.dtype), zero=not wrapped and (first < 0 or first + m > 2 * self.M))
        before = None if before is None else _like(before, x)
        after = None if after is None else _like(after, y)
        gates = {"BEFORE": before is not None, "AFTER": after is not None}
        x, before, after = _last(x), x if before is None else before, y if after is None else after
        first = first % self.M if wrapped else first
        steps = (x.stride(0), x.stride(1), y.stride(0), y.stride(1))
        turned = {"TURN_X": turn_x, "TURN_Y": turn_y, "WRAPPED": wrapped}
        if self.O == 1:
            launch(
                _convolved, (B * N,), x, before, spectrum, y, after, *self.tables, N, n, m, first, *steps, 1, 2 * self.M,
                PLANES=False, **gates, **turned, **self.inner, warps=self.warps,
            )  # fmt: skip
            return y
        z = self._in(x, before, gates["BEFORE"], turn_x)
        launch(
            _convolved, (B * N * self.O,), z, z, spectrum, z, z, *self.tables[:5], N, n, m, first, *steps, self.O, 2 * self.M,
            PLANES=True, BEFORE=False, AFTER=False, TURN_X=False, TURN_Y=False, WRAPPED=False, **self.inner, warps=self.warps,
        )  # fmt: skip
        self._out(z, y, after, gates["AFTER"], first, turn_y, wrapped)
        return y

    def filters(self, x: Tensor, y: Tensor, first: int, t: int, *, wrapped: bool = False) -> Tensor:
        """The contract's filters, float32 (B, t), from x (B, N, n) and y (B, N, m)."""
        B, N, n = x.shape
        m = y.shape[-1]
        x, y = _last(x), _last(y)
        split = max(1, min(N, 512 // max(B * self.O, 1)))
        zero = not wrapped and (first < 0 or first + t > 2 * self.M)
        k = (torch.zeros if zero else torch.empty)((split, B, t), dtype=torch.float32, device=x.device)
        steps = (x.stride(0), x.stride(1), y.stride(0), y.stride(1))
        first = first % self.M if wrapped else first
        scale = float(self.M) ** 0.5
        if self.O == 1:
            launch(
                _summed, (B, split), x, y, x, y, k, *self.tables, N, n, m, t, first, *steps, 1, split, scale, PLANES=False,
                GATED=False, WRAPPED=wrapped, **self.inner, warps=self.warps,
            )  # fmt: skip
            return k.sum(dim=0)
        zx, zy = self._in(x, x, False, False), self._in(y, y, False, True)
        zk = torch.empty((split * B, 2, self.M), dtype=torch.float32, device=x.device)
        launch(
            _summed, (B * self.O, split), zx, zy, x, y, zk, *self.tables[:5], N, n, m, t, first, *steps, self.O, split, scale,
            PLANES=True, GATED=False, WRAPPED=False, **self.inner, warps=self.warps,
        )  # fmt: skip
        zk = zk.view(split, B, 2, self.M).sum(dim=0)
        whole = k[0][:, None]
        self._out(zk, whole, whole, False, first, False, wrapped)
        return whole[:, 0]

    def _in(self, x: Tensor, gate: Tensor, gated: bool, turned: bool) -> Tensor:
        """The pass over memory before: (B·N, 2, M) in the precision of the products."""
        (B, N, n), block = x.shape, self._block()
        z = torch.empty((B * N, 2, self.M), dtype=self.dtype, device=x.device)
        grid = (B * N, self.O // block["BF"], self.m // block["BJ"])
        launch(
            _outer, grid, x, gate, z, *self.tables[-2:], N, n, x.stride(0), x.stride(1), O=self.O, M=self.m, **block, GATED=gated,
            TURNED=turned, **self.constants, warps=self._pass["warps"],
        )  # fmt: skip
        return z

    def _out(self, z: Tensor, y: Tensor, gate: Tensor, gated: bool, first: int, turned: bool, wrapped: bool) -> None:
        """The pass over memory behind."""
        (B, N, m), block = y.shape, self._block()
        grid = (B * N, self.O // block["BF"], self.m // block["BJ"])
        launch(
            _outer_inverse, grid, z, y, gate, *self.tables[-2:], N, m, first, y.stride(0), y.stride(1), O=self.O, M=self.m, **block,
            GATED=gated, TURNED=turned, WRAPPED=wrapped, **self.constants, warps=self._pass["warps"],
        )  # fmt: skip

    @property
    def _pass(self) -> dict[str, int]:
        return tiles_on("outer", self.dtype, self.O, self.device)

    def _block(self) -> dict[str, int]:
        sizes = self._pass
        return {
            "BF": min(sizes["rows"], self.O),
            "BJ": min(sizes["columns"], self.m),
            "BK": min(sizes["depth"], self.O),
        }


def _last(a: Tensor) -> Tensor:
    """The tensor with neighbours along its last axis next to each other."""
    return a if a.stride(-1) == 1 or a.shape[-1] == 1 else a.contiguous()


def _like(gate: Tensor, a: Tensor) -> Tensor:
    """The gate with the steps of what it multiplies."""
    return gate if gate.stride() == a.stride() else torch.empty_like(a, dtype=gate.dtype).copy_(gate)


def _new(x: Tensor, B: int, N: int, m: int, dtype: torch.dtype, zero: bool) -> Tensor:
    """Memory for (B, N, m) in which N is the outer axis, as batches are."""
    make = torch.zeros if zero else torch.empty
    return make((N, B, m), dtype=dtype, device=x.device).transpose(0, 1)
