"""What the transforms and what is built on them compute, in Python's integers: the reference that every tool's version equals."""

import numpy as np

from faltung.kernels.ntt.layout import pieces
from faltung.kernels.ntt.primes import root


def constants(p: int, count: int) -> list[int]:
    """Square roots in the tree's order: s[2^b + j] = s[j] · z for j < 2^b, z of order 2^(b + 2), s[0] = 1."""
    s, bits = [1], max(count - 1, 1).bit_length()
    top = root(p, bits + 1)
    for bit in range(bits):
        z = pow(top, 1 << (bits - 1 - bit), p)
        s += [value * z % p for value in s]
    return s[:count]


def forward(x: list[int], p: int, width: int) -> list[int]:
    """The values of the polynomial x at the roots of the length's factors: node by node, squares of width² turned about."""
    found, s = [], constants(p, max(2, len(x)))
    for _, degree, node in pieces(len(x)):
        for place in range(degree):
            square, row, column = place // width**2, place // width % width, place % width
            leaf = node * degree + (square * width + column) * width + row
            point, value = s[leaf // 2] * (-1 if leaf % 2 else 1) % p, 0
            for c in reversed(x):
                value = (value * point + c) % p
            found.append(value)
    return found


def product(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """The full product of two polynomials in Python's integers: `y[i] = Σ_u x[u] · k[i − u]`."""
    return np.convolve(x.astype(object), k.astype(object))
