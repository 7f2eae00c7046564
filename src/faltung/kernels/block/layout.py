"""How a block's result is cut: strips of columns, bands of rows within them, and the memory that a band takes."""

import math
from dataclasses import dataclass
from functools import lru_cache

BUDGET = 1 << 20
"""Bytes of a tile's memory that are aimed at: about what a core's own cache holds."""
POSITIONS = 128
"""Results of a band and channel that are aimed at: enough for whole blocks of products."""
FEWEST = 49
"""Results of a band and channel for which more memory is taken: weights are read once for each band."""
MOST = 4 << 20
"""Bytes that are taken for that."""
NARROWEST = 16
FLOATS = 4


@dataclass(frozen=True)
class Cut:
    """Sizes of one call.

    Fields:
        width: columns of a strip.   strips: how many there are.   rows: of a band.   bands: how many there are.
        slots: lines of widened rows that are kept at a time.   pitch: values of a line.
        staged, hop: values of a channel in the panel that is read, and in the panel of filtered values.
        sizes: values of the four buffers: the panel that is read, rows of products, lines, the panel of filtered values.
    """

    width: int
    strips: int
    rows: int
    bands: int
    slots: int
    pitch: int
    staged: int
    hop: int
    sizes: tuple[int, int, int, int]

    @property
    def bytes(self) -> int:
        """Working memory of one thread."""
        return sum(-(-size * FLOATS // 64) * 64 for size in self.sizes)


@lru_cache(1024)
def cut(
    kind: str, channels: int, wide: int, height: int, width: int, taps: tuple[int, ...], group: int, block: int, lanes: int,
    rows: int,
) -> Cut:  # fmt: skip
    """The largest bands that stay below BUDGET, or that have FEWEST results below MOST, in the widest strips with room for one.

    Args:
        kind: "inverted" or "first".   wide: channels within.   group: channels of a group.
        block: positions of a block of products.   lanes: values of a vector.   rows: channels of a block of products.
    """
    strips = -(-width // POSITIONS)
    while True:
        columns = -(-width // strips)
        bands = range(max(1, min(height, POSITIONS // columns)), 0, -1)
        able = [
            _sized(kind, channels, wide, height, width, taps, group, block, lanes, rows, columns, band)
            for band in bands
        ]
        small = next((made for made in able if made.bytes <= BUDGET), able[-1])
        if small.rows * columns < FEWEST:
            enough = [made for made in able if made.rows * columns >= FEWEST and made.bytes <= MOST]
            small = enough[-1] if enough else small
        if small.bytes <= MOST or columns <= NARROWEST:
            return small
        strips *= 2


def _sized(
    kind: str, channels: int, wide: int, height: int, width: int, taps: tuple[int, ...], group: int, block: int, lanes: int,
    rows: int, columns: int, band: int,
) -> Cut:  # fmt: skip
    KH, KW = taps
    lines, pitch = band + KH - 1, columns + KW - 1
    spare = vectors(columns, lanes) * lanes  # filters read and write up to that many values beyond the last
    hop = -(-band * columns // block) * block + spare + lanes  # no power of two: channels would meet in the same lines
    if kind == "inverted":
        staged = -(-lines * min(pitch, width) // block) * block + lanes
        sizes = channels * staged, rows * max(staged, hop), wide * lines * pitch + spare, wide * hop
    else:
        staged = hop
        sizes = channels * hop, rows * hop, group * lines * pitch + spare, wide * hop
    strips, bands = -(-width // columns), -(-height // band)
    return Cut(columns, strips, band, bands, lines, pitch, staged, hop, sizes)


def vectors(columns: int, lanes: int) -> int:
    """Vectors of a row that are filtered together: 1, 2 or 4."""
    return next((v for v in (1, 2) if columns <= v * lanes), 4)


def segments(items: int, bands: int, threads: int) -> int:
    """Pieces that the bands of a strip are cut into: one where there are strips enough for all threads."""
    return min(bands, math.ceil(4 * threads / items)) if threads > 1 and items < 4 * threads else 1
