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

    Candidates are 2^a, 5·2^a and one transform of the whole: lengths with many threes take up to twice as long.

    Args:
        outputs: unstrided outputs along the axis.   reach: extent of the filter.   largest: longest length to consider.
    """
    whole = fast_length(outputs + reach - 1)
    limit = max(largest, 4 * reach)
    candidates = [length for a in range(3, 40) for length in (1 << a, 5 << a - 2) if reach < length < min(whole, limit)]
    if whole <= limit:
        candidates.append(whole)
    return min(candidates, key=lambda length: (_work(outputs, reach, length), length))


def _work(outputs: int, reach: int, length: int) -> float:
    """Butterflies of all tiles, and a few passes over them."""
    return -(-outputs // (length - reach + 1)) * length * (log2(max(length, 2)) + 4.0)
