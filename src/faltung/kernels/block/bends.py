"""Activations of float32 for kernels: expressions without branches or calls, of which LLVM makes vectors.

exp: `x = n·log 2 + r`, |r| ≤ log(2)/2, `e^r` by its series to r⁷, 2ⁿ into the exponent's bits; at most 2 units in the last place
between −87 and 88, where it is held. gelu: `max(x, 0) − |x|·erfc(|x|/√2)/2`, erfc by Hastings' five terms, within 1.5e-7.

Source: Cody and Waite (1980) for the two parts of log 2; Hastings, Approximations for digital computers (1955), sheet 43.
"""

import math
from collections.abc import Callable

import numpy as np

from faltung.kernels import native


def bend(name: str) -> Callable:
    """The compiled activation of that name, of float32."""
    f = np.float32
    zero, one, half, six = f(0), f(1), f(0.5), f(6)
    high, low, scale, rounding = f(0.693359375), f(-2.12194440e-4), f(1 / math.log(2)), f(1.5 * 2**23)
    c2, c3, c4, c5, c6, c7 = (f(1 / math.factorial(i)) for i in range(2, 8))
    least, most, far, shift = f(-87), f(88), f(13), np.int32(23)
    p, root = f(0.3275911), f(1 / math.sqrt(2))
    a1, a2, a3, a4, a5 = f(0.254829592), f(-0.284496736), f(1.421413741), f(-1.453152027), f(1.061405429)

    @native.inlined
    def exp(x):
        z = x if x > least else least
        z = z if z < most else most
        t = z * scale + rounding
        n = t - rounding
        r = (z - n * high) - n * low
        q = c6 + r * c7
        q = c5 + r * q
        q = c4 + r * q
        q = c3 + r * q
        q = c2 + r * q
        q = one + (r + r * r * q)
        return np.int32(np.float32(q).view(np.int32) + (np.float32(t).view(np.int32) << shift)).view(np.float32)

    @native.inlined
    def relu(x):
        return x if not x < zero else zero

    @native.inlined
    def relu6(x):
        y = x if not x < zero else zero
        return y if not y > six else six

    @native.inlined
    def silu(x):
        return x / (one + exp(-x))

    @native.inlined
    def gelu(x):
        a = x if x > zero else -x
        b = a if a < far else far
        t = one / (one + p * root * b)
        q = a4 + t * a5
        q = a3 + t * q
        q = a2 + t * q
        q = a1 + t * q
        tail = half * b * t * q * exp(-half * b * b)
        y = (x if x > zero else zero) - tail
        return y if x == x else x

    return {"gelu": gelu, "relu": relu, "relu6": relu6, "silu": silu}[name]
