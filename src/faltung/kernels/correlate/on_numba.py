"""The row kernel, compiled: the direct convolution of every dimension, algebra, stride and dilation.

Rows are cut into strips that stay in the first cache; taps are taken eight, then three, then one at a time (six of a column), so
that one load and one store of the result serve several products. The loop over a strip has no dependence between its turns: LLVM
turns it into full vectors without changing the order of any sum.
"""

from collections.abc import Callable

from faltung.algebras import Algebra
from faltung.algebras.algebra import operation
from faltung.kernels import native

STRIP = 2048


def build(dtype: str, plus: str, times: str, unit: bool) -> tuple[Callable, str]:
    """The kernel for one scalar type and two scalar operations; `unit` fixes stride and dilation at 1."""
    add, mul = native.inner(operation(plus)), native.inner(operation(times))

    def rows(x, k, y, base, offset, zero, sizes, first, last):
        R, T, U, length = sizes[0], sizes[1], sizes[2], sizes[3]
        s_any, d_any, x_step, k_step, G = sizes[4], sizes[5], sizes[6], sizes[7], sizes[8]
        # Item i of [first, last) is (group g, filter o, row r, strip); k_step filters share one group of the signal.
        s = 1 if unit else s_any
        d = 1 if unit else d_any
        strips = (length + STRIP - 1) // STRIP
        for item in range(first, last):
            strip = item % strips
            row = item // strips
            r = row % R
            o = (row // R) % G
            g = row // (R * G)
            j0 = strip * STRIP
            w = min(STRIP, length - j0)
            yp = row * length + j0
            xr = g * x_step + base[r] + j0 * s
            kr = (g // k_step * G + o) * T * U
            for j in range(w):
                y[yp + j] = zero[0]
            t = 0
            while U == 1 and t + 6 <= T:  # a column of taps: six rows of the signal at a time
                k0, k1, k2 = k[kr + t], k[kr + t + 1], k[kr + t + 2]
                k3, k4, k5 = k[kr + t + 3], k[kr + t + 4], k[kr + t + 5]
                p0, p1, p2 = xr + offset[t], xr + offset[t + 1], xr + offset[t + 2]
                p3, p4, p5 = xr + offset[t + 3], xr + offset[t + 4], xr + offset[t + 5]
                for j in range(w):
                    v = add(y[yp + j], mul(x[p0 + j * s], k0))
                    v = add(v, mul(x[p1 + j * s], k1))
                    v = add(v, mul(x[p2 + j * s], k2))
                    v = add(v, mul(x[p3 + j * s], k3))
                    v = add(v, mul(x[p4 + j * s], k4))
                    y[yp + j] = add(v, mul(x[p5 + j * s], k5))
                t += 6
            while t < T:
                xt = xr + offset[t]
                kt = kr + t * U
                u = 0
                while u + 8 <= U:
                    k0, k1, k2, k3 = k[kt + u], k[kt + u + 1], k[kt + u + 2], k[kt + u + 3]
                    k4, k5, k6, k7 = k[kt + u + 4], k[kt + u + 5], k[kt + u + 6], k[kt + u + 7]
                    p = xt + u * d
                    for j in range(w):
                        q = p + j * s
                        v = add(y[yp + j], mul(x[q], k0))
                        v = add(v, mul(x[q + d], k1))
                        v = add(v, mul(x[q + 2 * d], k2))
                        v = add(v, mul(x[q + 3 * d], k3))
                        v = add(v, mul(x[q + 4 * d], k4))
                        v = add(v, mul(x[q + 5 * d], k5))
                        v = add(v, mul(x[q + 6 * d], k6))
                        y[yp + j] = add(v, mul(x[q + 7 * d], k7))
                    u += 8
                while u + 3 <= U:
                    k0, k1, k2 = k[kt + u], k[kt + u + 1], k[kt + u + 2]
                    p = xt + u * d
                    for j in range(w):
                        q = p + j * s
                        v = add(y[yp + j], mul(x[q], k0))
                        v = add(v, mul(x[q + d], k1))
                        y[yp + j] = add(v, mul(x[q + 2 * d], k2))
                    u += 3
                while u < U:
                    k0 = k[kt + u]
                    p = xt + u * d
                    for j in range(w):
                        y[yp + j] = add(y[yp + j], mul(x[p + j * s], k0))
                    u += 1
                t += 1

    pointer = f"p:{dtype}"
    return rows, ",".join([pointer, pointer, pointer, "p:int64", "p:int64", pointer, "p:int64", "i", "i"])


def rows(dtype: str, algebra: Algebra, unit: bool) -> Callable[..., None]:
    """The compiled row kernel; see `build` for its arguments and `contract.rows` for what it computes."""
    return native.load(f"rows-{algebra.name}-{dtype}", build, dtype, algebra.scalar_add, algebra.scalar_mul, unit)
