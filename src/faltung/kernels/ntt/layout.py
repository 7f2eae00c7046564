"""Lengths of the transforms and what they are made of: 4, 5, 6 or 7 quarters of a power of two.

The transform evaluates modulo the factors of X^2A − 1 = (X^A − 1)(X^(A/2) − i)(X^(A/2) + i), i² = −1, and the last of these again
splits in two halves. A product of length L needs only so many factors that their degrees add up to L (truncated transform):

    quarters  factors, as (degree in quarters, node of the tree)
    4         (4, 0)
    5         (4, 0) (1, 4)
    6         (4, 0) (2, 2)
    7         (4, 0) (2, 2) (1, 6)

Node j of the tree is X^m − r where r = s[j // 2] or −s[j // 2], and s is the table of square roots in bit-reversed order.

Source: van der Hoeven, The truncated Fourier transform (2004), with whole factors only.
"""

from functools import lru_cache

FACTORS = {4: ((4, 0),), 5: ((4, 0), (1, 4)), 6: ((4, 0), (2, 2)), 7: ((4, 0), (2, 2), (1, 6))}


def length_for(n: int, leaf: int, circle: int | None = None) -> int:
    """The shortest transform for products of n points; `leaf` is the smallest block, width² points.

    Powers of two are modulo X^L − 1: they may be shorter, where only points are wanted that are right on a circle of `circle`
    points. The other lengths have moduli that mix points which lie outside.
    """
    if circle is not None and circle < n:
        return min(length_for(n, leaf), max(leaf, 1 << (max(circle, 1) - 1).bit_length()))
    power = max(leaf, 1 << (max(n, 1) - 1).bit_length())
    if power < 8 * leaf:
        return power
    quarter = power // 8
    return next(parts * quarter for parts in (5, 6, 7, 8) if parts * quarter >= n)


def quarter_of(length: int) -> int:
    """The length in quarters is `length // quarter_of(length)`: 4, 5, 6 or 7."""
    return (1 << (length.bit_length() - 1)) // 4


@lru_cache(maxsize=256)
def pieces(length: int) -> tuple[tuple[int, int, int], ...]:
    """The factors of a length as (first point, degree, node)."""
    quarter = quarter_of(length)
    found, at = [], 0
    for parts, node in FACTORS[length // quarter]:
        found.append((at, parts * quarter, node))
        at += parts * quarter
    return tuple(found)


def order(length: int) -> int:
    """e such that 2^e must divide p − 1: the tree of X^(2^e) − 1 is the one that the transform walks."""
    return max(3, (length - 1).bit_length())
