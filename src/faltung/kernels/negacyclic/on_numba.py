"""Long convolutions along one axis, one signal after the other, without a lane left empty.

A signal of 2F real points modulo z^2F + 1 is one of F complex points modulo z^F − i: the second half is the imaginary part. Its
transform, at the frequencies k − 1/4, is that of R rows by S columns: the columns are transformed as they lie, W neighbours in
the lanes of a vector; then the rows, W of them turned into the lanes by squares in registers. Products of spectra happen
between the two directions of a row, which never leaves the cache. What is read is multiplied by a gate where there is one, and
what is written by another.

All numbers beside arrays come in one int64 array; `Frame` names its places.

Source: Nussbaumer (1980) for the ring; Crandall and Fagin, Discrete weighted transforms (1994); Bailey (1990) for rows and columns.
"""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from faltung.kernels import native
from faltung.kernels.lane_transforms import transforms

# Places in the array of sizes. Steps are in values.
(ROWS, COLUMNS, W_ROWS, W_COLUMNS, WEIGHTS, SAMPLES, CHANNELS, OUTPUTS, TILES, VALID) = range(10)
(N, M, REACH, X_AT, Y_AT, X_B, X_N, X_C, Y_B, Y_N, Y_O) = range(10, 21)
(IN_GATE, OUT_GATE, WANT_X, WANT_K, WANT_A, WANT_B, PIECES, SIZES) = range(21, 29)
PLAIN, TIMES, PLUS = range(3)  # what becomes of a gate on the way out
CHUNK = 4  # points whose sums over all pieces stay in registers


def pieces(dtype: str, width: int) -> SimpleNamespace:
    """What the kernels share: reading, transforming, multiplying and writing one signal."""
    from faltung.kernels.simd import lanes

    v = lanes(dtype, width)
    load, store, splat, turn, turn_back = v.load, v.store, v.splat, v.turn, v.turn_back
    W, W2, ITEM = width, 2 * width, {"float32": 4, "float64": 8}[dtype]
    zero = getattr(np, dtype)(0)
    forward, inverse = transforms(dtype, width)
    jit = native.inner

    @native.inlined
    def fetch(x, at, n, q, spare):
        """W values of a signal from position q on, zeros where it has none."""
        if q >= 0 and q + W <= n:
            return load(x, at + q)
        if q >= n or q + W <= 0:
            return splat(zero)
        for i in range(W):
            spare[i] = x[at + q + i] if 0 <= q + i < n else zero
        return load(spare, 0)

    @native.inlined
    def put(y, at, n, q, value, spare):
        """W values from position q on, as far as the result reaches."""
        if q >= 0 and q + W <= n:
            store(y, at + q, value)
        elif q < n and q + W > 0:
            store(spare, 0, value)
            for i in range(W):
                if 0 <= q + i < n:
                    y[at + q + i] = spare[i]

    @jit
    def columns(x, at, gate, gated, n, first, plane, to, buf, w, twist, s, spare):
        """The columns of a signal that begins at place `first` of the frame, transformed and twisted into a plane."""
        R, S = s[ROWS], s[COLUMNS]
        half, pitch = R * S, W2 * (S // W + 1)
        for c in range(0, S, W):
            q, weight = c - first, s[WEIGHTS]
            for r in range(R):
                low, high = fetch(x, at, n, q, spare), fetch(x, at, n, q + half, spare)
                if gated:
                    low, high = low * fetch(gate, at, n, q, spare), high * fetch(gate, at, n, q + half, spare)
                cos, sin = splat(w[weight]), splat(w[weight + 1])
                store(buf, r * W2, low * cos - high * sin)
                store(buf, r * W2 + W, low * sin + high * cos)
                q += S
                weight += 2
            forward(buf, 0, W2, R, w, s[W_ROWS])
            p, t = to + 2 * c, 2 * c
            for r in range(R):
                a, b, cos, sin = load(buf, r * W2), load(buf, r * W2 + W), load(twist, t), load(twist, t + W)
                store(plane, p, a * cos - b * sin)
                store(plane, p + W, a * sin + b * cos)
                p += pitch
                t += 2 * S

    @jit
    def uncolumns(plane, frm, y, at, gate, gated, n, first, other, also, both, buf, w, twist, s, spare):
        """The way back: what the frame holds from place `first` on, times or plus a gate into y, times `other` into `also`."""
        R, S = s[ROWS], s[COLUMNS]
        half, pitch = R * S, W2 * (S // W + 1)
        scale = splat(w[s[WEIGHTS] + 2 * R])
        for c in range(0, S, W):
            p, t = frm + 2 * c, 2 * c
            for r in range(R):
                a, b, cos, sin = load(plane, p), load(plane, p + W), load(twist, t), load(twist, t + W)
                store(buf, r * W2, a * cos + b * sin)
                store(buf, r * W2 + W, b * cos - a * sin)
                p += pitch
                t += 2 * S
            inverse(buf, 0, W2, R, w, s[W_ROWS])
            q, weight = c - first, s[WEIGHTS]
            for r in range(R):
                a, b = load(buf, r * W2), load(buf, r * W2 + W)
                cos, sin = splat(w[weight]) * scale, splat(w[weight + 1]) * scale
                low, high = a * cos + b * sin, b * cos - a * sin
                if both:
                    put(also, at, n, q, low * fetch(other, at, n, q, spare), spare)
                    put(also, at, n, q + half, high * fetch(other, at, n, q + half, spare), spare)
                if gated == TIMES:
                    low, high = low * fetch(gate, at, n, q, spare), high * fetch(gate, at, n, q + half, spare)
                elif gated == PLUS:
                    low, high = low + fetch(gate, at, n, q, spare), high + fetch(gate, at, n, q + half, spare)
                put(y, at, n, q, low, spare)
                put(y, at, n, q + half, high, spare)
                q += S
                weight += 2

    @jit
    def gather(plane_at, g, buf, to, rows, w, s):
        """W rows of a plane side by side, transformed: points of a vector of real and one of imaginary parts."""
        S = s[COLUMNS]
        pitch = W2 * (S // W + 1) * ITEM
        for lane in range(W):
            rows[lane] = plane_at + (g * W + lane) * pitch
        for c in range(0, S, W):
            turn(rows, 2 * c, buf, to + c * W2, W2)
            turn(rows, 2 * c + W, buf, to + c * W2 + W, W2)
        forward(buf, to, W2, S, w, s[W_COLUMNS])

    @jit
    def scatter(plane_at, g, buf, frm, rows, w, s):
        """The way back."""
        S = s[COLUMNS]
        pitch = W2 * (S // W + 1) * ITEM
        inverse(buf, frm, W2, S, w, s[W_COLUMNS])
        for lane in range(W):
            rows[lane] = plane_at + (g * W + lane) * pitch
        for c in range(0, S, W):
            turn_back(buf, frm + c * W2, W2, rows, 2 * c)
            turn_back(buf, frm + c * W2 + W, W2, rows, 2 * c + W)

    return SimpleNamespace(
        columns=columns, uncolumns=uncolumns, gather=gather, scatter=scatter, load=load, store=store, splat=splat,
        W=W, W2=W2, ITEM=ITEM, zero=zero,
    )  # fmt: skip


def build_spectra(dtype: str, width: int) -> tuple[Callable, str]:
    """The kernel that transforms filters [first, last): groups of W rows, point by point."""
    use = pieces(dtype, width)
    columns, gather, load, store, W, W2 = use.columns, use.gather, use.load, use.store, use.W, use.W2

    def spectra(k, out, plane, plane_at, buf, rows, w, twist, s, spare, first, last):
        R, S, reach = s[ROWS], s[COLUMNS], s[REACH]
        for item in range(first, last):
            columns(k, item * reach, k, False, reach, 0, plane, 0, buf, w, twist, s, spare)
            for g in range(R // W):
                gather(plane_at, g, buf, 0, rows, w, s)
                to = (item * R + g * W) * S * 2
                for f in range(0, S * W2, W):
                    store(out, to + f, load(buf, f))

    p = f"p:{dtype}"
    return spectra, ",".join([p, p, p, "i", p, "p:int64", p, p, "p:int64", p, "i", "i"])


def build_convolve(dtype: str, width: int) -> tuple[Callable, str]:
    """The kernel that convolves tiles [first, last) of all signals; channels are summed spectrum by spectrum."""
    use = pieces(dtype, width)
    columns, uncolumns, gather, scatter = use.columns, use.uncolumns, use.gather, use.scatter
    load, store, W, W2, ITEM = use.load, use.store, use.W, use.W2, use.ITEM

    def convolve(x, k, y, a, b, plane, plane_at, buf, rows, w, twist, s, spare, first, last):
        R, S, C, O = s[ROWS], s[COLUMNS], s[CHANNELS], s[OUTPUTS]
        size, points, line = R * W2 * (S // W + 1), 2 * R * S, S * W2
        for item in range(first, last):
            back, rest = item % s[TILES] * s[VALID], item // s[TILES]
            n, batch = rest % s[SAMPLES], rest // s[SAMPLES]
            for c in range(C):
                at = batch * s[X_B] + n * s[X_N] + c * s[X_C]
                columns(
                    x, at, a, s[IN_GATE] == 1, s[N], s[X_AT] - back, plane, c * size, buf, w, twist, s, spare
                )  # fmt: skip
            for g in range(R // W):
                for c in range(C):
                    gather(plane_at + c * size * ITEM, g, buf, c * line, rows, w, s)
                for o in range(O):
                    to = 0 if O == 1 else C * line
                    kp = (batch * O + o) * C * points + g * line
                    for f in range(0, line, W2):
                        xr, xi, kr, ki = load(buf, f), load(buf, f + W), load(k, kp + f), load(k, kp + f + W)
                        yr, yi = xr * kr - xi * ki, xr * ki + xi * kr
                        for c in range(1, C):
                            p, q = c * line + f, kp + c * points + f
                            xr, xi, kr, ki = load(buf, p), load(buf, p + W), load(k, q), load(k, q + W)
                            yr, yi = yr + xr * kr, yi + xr * ki
                            yr, yi = yr - xi * ki, yi + xi * kr
                        store(buf, to + f, yr)
                        store(buf, to + f + W, yi)
                    scatter(plane_at + o * size * ITEM, g, buf, to, rows, w, s)
            wide = min(s[M] - back, s[VALID])
            for o in range(O):
                at = batch * s[Y_B] + n * s[Y_N] + o * s[Y_O] + back
                uncolumns(
                    plane, o * size, y, at, b, s[OUT_GATE], wide, s[Y_AT], y, y, False, buf, w, twist, s, spare
                )  # fmt: skip

    p = f"p:{dtype}"
    return convolve, ",".join([p] * 6 + ["i", p, "p:int64", p, p, "p:int64", p, "i", "i"])


def build_gradients(dtype: str, width: int) -> tuple[Callable, str]:
    """The kernel of all derivatives of `y = ((x·a) ∗ k)·b` for filters [first, last): each operand is transformed once.

    The cotangent of x·a is the result's correlated with the filter, that of the filter the result's correlated with x·a,
    summed over the signals that share it; that of b is the convolution itself, times the result's.
    """
    use = pieces(dtype, width)
    columns, uncolumns, gather, scatter = use.columns, use.uncolumns, use.gather, use.scatter
    load, store, splat, W, W2, ITEM, zero = use.load, use.store, use.splat, use.W, use.W2, use.ITEM, use.zero

    def gradients(
        x, k, g, a, b, to_x, to_k, to_a, to_b, total, plane, plane_at, buf, rows, w, twist, s, spare, first, last
    ):
        R, S = s[ROWS], s[COLUMNS]
        size, points, line = R * W2 * (S // W + 1), 2 * R * S, S * W2
        want_x, want_k, want_a, want_b = s[WANT_X] == 1, s[WANT_K] == 1, s[WANT_A] == 1, s[WANT_B] == 1
        for batch in range(first, last):
            for f in range(0, points, W):
                store(total, f, splat(zero))
            for n in range(s[SAMPLES]):
                at, to = batch * s[X_B] + n * s[X_N], batch * s[Y_B] + n * s[Y_N]
                if want_k or want_b:
                    columns(x, at, a, s[IN_GATE] == 1, s[N], s[X_AT], plane, 0, buf, w, twist, s, spare)
                columns(g, to, b, s[OUT_GATE] == 1, s[M], s[Y_AT], plane, size, buf, w, twist, s, spare)
                for group in range(R // W):
                    kp = batch * points + group * line
                    gather(plane_at + size * ITEM, group, buf, line, rows, w, s)
                    if want_k or want_b:
                        gather(plane_at, group, buf, 0, rows, w, s)
                    if want_k:
                        for f in range(0, line, W2):
                            xr, xi, p = load(buf, f), load(buf, f + W), group * line + f
                            gr, gi = load(buf, line + f), load(buf, line + f + W)
                            store(total, p, load(total, p) + xr * gr + xi * gi)
                            store(total, p + W, load(total, p + W) + xr * gi - xi * gr)
                    if want_b:
                        for f in range(0, line, W2):
                            xr, xi, kr, ki = load(buf, f), load(buf, f + W), load(k, kp + f), load(k, kp + f + W)
                            store(buf, f, xr * kr - xi * ki)
                            store(buf, f + W, xr * ki + xi * kr)
                        scatter(plane_at, group, buf, 0, rows, w, s)
                    if want_x or want_a:
                        for f in range(line, 2 * line, W2):
                            gr, gi, q = load(buf, f), load(buf, f + W), kp + f - line
                            kr, ki = load(k, q), load(k, q + W)
                            store(buf, f, gr * kr + gi * ki)
                            store(buf, f + W, gi * kr - gr * ki)
                        scatter(plane_at + size * ITEM, group, buf, line, rows, w, s)
                if want_x or want_a:
                    uncolumns(
                        plane, size, to_x, at, a, s[IN_GATE], s[N], s[X_AT], x, to_a, want_a, buf, w, twist, s, spare
                    )  # fmt: skip
                if want_b:
                    uncolumns(plane, 0, to_b, to, g, TIMES, s[M], s[Y_AT], g, g, False, buf, w, twist, s, spare)
            if want_k:
                for group in range(R // W):
                    for f in range(0, line, W):
                        store(buf, f, load(total, group * line + f))
                    scatter(plane_at, group, buf, 0, rows, w, s)
                reach = s[REACH]
                uncolumns(plane, 0, to_k, batch * reach, k, PLAIN, reach, 0, k, k, False, buf, w, twist, s, spare)

    p = f"p:{dtype}"
    return gradients, ",".join([p] * 11 + ["i", p, "p:int64", p, p, "p:int64", p, "i", "i"])


def build_line(dtype: str, width: int) -> tuple[Callable, str]:
    """The kernel of a line of past blocks: blocks come in, meet all pieces of a filter, and are added to the result.

    Spectra lie in chunks of a few points, the pieces of a chunk one behind the other; the line is a ring of as many blocks as
    there are pieces. The first `silent` blocks enter the line and have no results.
    """
    use = pieces(dtype, width)
    columns, uncolumns, gather, scatter = use.columns, use.uncolumns, use.gather, use.scatter
    load, store, splat, W, W2, ITEM, zero = use.load, use.store, use.splat, use.W, use.W2, use.ITEM, use.zero
    HOP = CHUNK * W2

    @native.inner
    def meet(ring, x, h, k, step, newest, pieces, channels, buf, to):
        """One chunk of a result: Σ over channels and pieces of what stands in the line times the filter."""
        none = splat(zero)
        ar, ai, br, bi, cr, ci, dr, di = none, none, none, none, none, none, none, none
        for _ in range(channels):
            p, q = x + newest * HOP, k
            for piece in range(pieces):
                xr, xi, kr, ki = load(ring, p), load(ring, p + W), load(h, q), load(h, q + W)
                ar, ai = ar + xr * kr, ai + xr * ki
                ar, ai = ar - xi * ki, ai + xi * kr
                xr, xi, kr, ki = load(ring, p + W2), load(ring, p + W2 + W), load(h, q + W2), load(h, q + W2 + W)
                br, bi = br + xr * kr, bi + xr * ki
                br, bi = br - xi * ki, bi + xi * kr
                u, v = p + 2 * W2, q + 2 * W2
                xr, xi, kr, ki = load(ring, u), load(ring, u + W), load(h, v), load(h, v + W)
                cr, ci = cr + xr * kr, ci + xr * ki
                cr, ci = cr - xi * ki, ci + xi * kr
                u, v = u + W2, v + W2
                xr, xi, kr, ki = load(ring, u), load(ring, u + W), load(h, v), load(h, v + W)
                dr, di = dr + xr * kr, di + xr * ki
                dr, di = dr - xi * ki, di + xi * kr
                p += (pieces - 1) * HOP if piece == newest else -HOP
                q += HOP
            x += step
            k += step
        store(buf, to, ar)
        store(buf, to + W, ai)
        store(buf, to + W2, br)
        store(buf, to + W2 + W, bi)
        store(buf, to + 2 * W2, cr)
        store(buf, to + 2 * W2 + W, ci)
        store(buf, to + 3 * W2, dr)
        store(buf, to + 3 * W2 + W, di)

    def line(
        past, p_at, p_step, h, ring, acc, a_at, a_step, plane, plane_at, buf, rows, w, twist, s, spare, newest, silent, many,
        first, last,
    ):  # fmt: skip
        R, S, C, O, P, b = s[ROWS], s[COLUMNS], s[CHANNELS], s[OUTPUTS], s[PIECES], s[VALID]
        size, span, line_ = R * W2 * (S // W + 1), S * W2, S // CHUNK
        chunks, end = R // W * line_, 2 * R * S
        step = chunks * P * HOP
        for bn in range(first, last):
            slot = newest
            for block in range(many):
                slot = 0 if slot + 1 == P else slot + 1
                for c in range(C):
                    at = (bn * C + c) * p_step + p_at + block * b
                    columns(past, at, past, False, 2 * b, end - 2 * b, plane, c * size, buf, w, twist, s, spare)
                for g in range(R // W):
                    for c in range(C):
                        gather(plane_at + c * size * ITEM, g, buf, 0, rows, w, s)
                        to = (bn * C + c) * step + (g * line_ * P + slot) * HOP
                        for f in range(0, span, HOP):
                            for i in range(f, f + HOP, W):
                                store(ring, to + i - f, load(buf, i))
                            to += P * HOP
                    if block >= silent:
                        for o in range(O):
                            x = bn * C * step + g * line_ * P * HOP
                            k = (bn // s[SAMPLES] * O + o) * C * step + g * line_ * P * HOP
                            for f in range(0, span, HOP):
                                meet(ring, x, h, k, step, slot, P, C, buf, f)
                                x += P * HOP
                                k += P * HOP
                            # the planes of the signal's channels are still to be read: those of the results lie behind
                            scatter(plane_at + (C + o) * size * ITEM, g, buf, 0, rows, w, s)
                if block >= silent:
                    for o in range(O):
                        at = (bn * O + o) * a_step + a_at + block * b
                        uncolumns(
                            plane, (C + o) * size, acc, at, acc, PLUS, b, end - b, acc, acc, False, buf, w, twist, s, spare
                        )  # fmt: skip

    p = f"p:{dtype}"
    return line, ",".join([p, "i", "i", p, p, p, "i", "i", p, "i", p, "p:int64", p, p, "p:int64", p, *"iiiii"])


def key(what: str, dtype: str, width: int = 0) -> tuple:
    """What `native.load` takes for `spectra`, `convolve`, `gradients` or `line`; fewer lanes for shorter blocks."""
    build = {"spectra": build_spectra, "convolve": build_convolve, "gradients": build_gradients, "line": build_line}[
        what
    ]
    return f"negacyclic-{what}-{dtype}", build, dtype, width or native.lanes(dtype)
