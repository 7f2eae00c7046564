"""exp and log for kernels: plain expressions without branches or calls, of which LLVM makes vectors.

exp: `x = n·log 2 + r`, |r| ≤ log(2)/2, `e^r` by its series to r¹³, 2ⁿ into the exponent's bits. Below −708 it is 0, above 709
infinite, NaN stays. Error: at most 2 units in the last place. log, of normal numbers: `x = 2ⁿ·m`, m between √½ and √2,
`log m = 2 artanh((m − 1)/(m + 1))` by its series; log 0 = −∞ and log ∞ = ∞. Error: at most 2 units in the last place, 2⁻⁵² near 1.

Source: Cody and Waite, Software Manual for the Elementary Functions (1980), for the two parts of log 2.
"""

import math
from collections.abc import Callable

import numpy as np

from faltung.kernels import native

_HIGH, _LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # log 2 in two parts, the first short
_ROUND = 6755399441055744.0  # adding 1.5·2^52 rounds to a whole number, which then stands in the lowest bits
_ROOT = np.int64(0x3FE6A09E667F3BCD)  # √½


def functions() -> tuple[Callable, Callable]:
    """Compiled `exp(x)` and `log(x)` of float64 for kernel builders."""
    c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13 = (1.0 / math.factorial(i) for i in range(2, 14))
    inf, nan, shift, root = np.inf, np.nan, np.int64(52), _ROOT
    high, low, rounding, scale = _HIGH, _LOW, _ROUND, 1.0 / math.log(2.0)

    @native.inner
    def exp(x):
        z = max(min(x, 710.0), -710.0)
        t = z * scale + rounding
        n = t - rounding
        r = (z - n * high) - n * low
        p = c12 + r * c13
        p = c11 + r * p
        p = c10 + r * p
        p = c9 + r * p
        p = c8 + r * p
        p = c7 + r * p
        p = c6 + r * p
        p = c5 + r * p
        p = c4 + r * p
        p = c3 + r * p
        p = c2 + r * p
        p = 1.0 + (r + r * r * p)
        value = np.int64(np.float64(p).view(np.int64) + (np.float64(t).view(np.int64) << shift)).view(np.float64)
        value = value if x > -708.0 else 0.0
        value = value if x < 709.0 else inf
        return value if x == x else nan

    @native.inner
    def log(x):
        bits = np.float64(x).view(np.int64)
        e = (bits - root) >> shift
        f = np.int64(bits - (e << shift)).view(np.float64) - 1.0
        z = f / (2.0 + f)
        w = z * z
        p = 1.0 / 19.0 + w * (1.0 / 21.0)
        p = 1.0 / 17.0 + w * p
        p = 1.0 / 15.0 + w * p
        p = 1.0 / 13.0 + w * p
        p = 1.0 / 11.0 + w * p
        p = 1.0 / 9.0 + w * p
        p = 1.0 / 7.0 + w * p
        p = 1.0 / 5.0 + w * p
        p = 1.0 / 3.0 + w * p
        n = np.float64(e)
        value = n * high + (2.0 * z + (2.0 * z * w * p + n * low))
        value = value if x > 0.0 else -inf
        value = value if x < inf else inf
        return value if x == x else nan

    return exp, log


def single() -> Callable:
    """Compiled `exp(x)` of float32, in the same way to r⁷: at most 2 units in the last place between −87 and 88, where it is held.

    NaN does not stay: whoever needs it looks at x.
    """
    f = np.float32
    high, low, scale, rounding = f(0.693359375), f(-2.12194440e-4), f(1 / math.log(2)), f(1.5 * 2**23)
    c2, c3, c4, c5, c6, c7 = (f(1 / math.factorial(i)) for i in range(2, 8))
    one, least, most, shift = f(1), f(-87), f(88), np.int32(23)

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

    return exp
