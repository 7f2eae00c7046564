"""Transform lengths: which sizes are fast, and which tile makes overlap-save cheapest."""

from functools import lru_cache
from math import log2


@lru_cache(maxsize=4096)
def fast_length(n: int) -> int:
    """The smallest 2^a·3^b·5^c that is at least n: sizes that real transforms compute fastest."""
    best = 1 << max(n - 1, 0).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            quotient = -(-n // three)
            candidate = three << max(quotient - 1, 0).bit_length()
            best = min(best, candidate) if candidate >= n else best
            three *= 3
        five *= 5
    return best


@lru_cache(maxsize=4096)
def tile_length(outputs: int, reach: int, largest: int) -> int:
    """The transform length that makes one axis of overlap-save cheapest: least work per valid output.

    Args:
        outputs: unstrided outputs along the axis.   reach: extent of the filter.   largest: longest length to consider.
    """
    whole = fast_length(outputs + reach - 1)
    best, cheapest = whole, float("inf")
    length = fast_length(max(2 * reach - 1, 16))
    while True:
        length = min(length, whole)
        valid = length - reach + 1
        work = -(-outputs // valid) * length * (log2(max(length, 2)) + 4.0)
        if work < cheapest:
            best, cheapest = length, work
        if length >= whole or length > largest:
            return best
        length = fast_length(length * 5 // 4 + 1)
