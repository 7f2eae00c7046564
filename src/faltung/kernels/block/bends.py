"""Activations of float32 for kernels: expressions without branches or calls, of which LLVM makes vectors.

gelu: `max(x, 0) − |x|·erfc(|x|/√2)/2`, erfc by Hastings' five terms, within 1.5e-7; exp as in `kernels.exponential`.
At −∞ gelu and silu are 0 · ∞, NaN, as in the contract and in torch.

Source: Hastings, Approximations for digital computers (1955), sheet 43.
"""

import math
from collections.abc import Callable

import numpy as np

from faltung.kernels import exponential, native


def bend(name: str) -> Callable:
    """The compiled activation of that name, of float32."""
    f = np.float32
    zero, one, half, six = f(0), f(1), f(0.5), f(6)
    lowest = np.finfo(f).min
    far, p, root = f(13), f(0.3275911), f(1 / math.sqrt(2))
    a1, a2, a3, a4, a5 = f(0.254829592), f(-0.284496736), f(1.421413741), f(-1.453152027), f(1.061405429)
    exp = exponential.single()

    @native.inlined
    def relu(x):
        return x if not x < zero else zero

    @native.inlined
    def relu6(x):
        y = x if not x < zero else zero
        return y if not y > six else six

    @native.inlined
    def silu(x):
        return x / (one + exp(-x)) if x >= lowest else x - x

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
        return y if x >= lowest else x - x

    return {"gelu": gelu, "relu": relu, "relu6": relu6, "silu": silu}[name]
