"""Where a convolution lies in its ring: sizes, tables and working memory of the negacyclic kernels."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address, lanes
from faltung.kernels.negacyclic import on_numba as kernel
from faltung.kernels.threads import Own, share


@dataclass(frozen=True, eq=False)
class Frame:
    """Signals (B, N, C, n) and filters (B, O, C, reach) in time's own order into results (B, N, O, m).

    Formula: `y[i] = Σ over u of x[first + i − u] h[u]`.

    `points` complex points, 2 · points real ones, hold one tile. A single tile has the signal at its beginning; several
    are windows that overlap, of which `valid` results each are right.
    """

    dtype: str
    B: int
    N: int
    C: int
    O: int
    n: int
    reach: int
    m: int
    first: int
    points: int
    lanes: int = 0  # values in a vector, the processor's own where 0; fewer of them for short filters

    @property
    def width(self) -> int:
        return self.lanes or lanes(self.dtype)

    @cached_property
    def single(self) -> bool:
        """Whether one tile holds it all."""
        return self.points >= least_points(self.n, self.reach, self.m, self.first)

    @cached_property
    def valid(self) -> int:
        """Results of one tile that nothing comes around to."""
        return self.m if self.single else 2 * self.points - self.reach + 1

    @cached_property
    def tiles(self) -> int:
        return -(-self.m // self.valid)

    @cached_property
    def places(self) -> tuple[int, int, int]:
        """Where signal and result begin in the first tile, and how much of the signal is looked at."""
        if self.single:
            begin = max(0, -self.first)
            return begin, begin + self.first, min(self.n, max(0, self.first + self.m))
        return self.reach - 1 - self.first, self.reach - 1, self.n

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return sides(self.points, self.width)

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        return tables(self.dtype, *self.shape, self.width)

    @cached_property
    def _plane(self) -> int:
        """Bytes of the spectrum of one signal, row by row; a point more than dense, or columns would share cache sets."""
        W = self.width
        return np.dtype(self.dtype).itemsize * self.shape[0] * 2 * W * (self.shape[1] // W + 1)

    def _memory(self, planes: int, lines: int, totals: int) -> tuple[int, ...]:
        """Bytes of working memory of one thread: planes, lines, a total of spectra, addresses, spare values."""
        item, W, (R, S) = np.dtype(self.dtype).itemsize, self.width, self.shape
        parts = planes * self._plane, item * 2 * W * max(R, lines * S), item * 2 * R * S * totals, 8 * W, item * W
        return tuple(-(-part // 64) * 64 for part in parts)

    @property
    def thread_bytes(self) -> int:
        """Working memory of one thread."""
        return sum(self._memory(max(self.C, self.O), self.C + (self.O > 1), 0)) + 64

    def _sizes(self, x: np.ndarray | None = None, y: np.ndarray | None = None, **flags: int) -> np.ndarray:
        (R, S), (x_at, y_at, seen) = self.shape, self.places
        s = np.zeros(kernel.SIZES, np.int64)
        item = np.dtype(self.dtype).itemsize
        for place, value in (
            ("ROWS", R), ("COLUMNS", S), ("W_COLUMNS", 2 * R), ("WEIGHTS", 2 * (R + S)), ("SAMPLES", self.N),
            ("CHANNELS", self.C), ("OUTPUTS", self.O), ("TILES", self.tiles), ("VALID", self.valid), ("N", seen), ("M", self.m),
            ("REACH", self.reach), ("X_AT", x_at), ("Y_AT", y_at), *flags.items(),
        ):  # fmt: skip
            s[getattr(kernel, place)] = value
        for a, first in ((x, kernel.X_B), (y, kernel.Y_B)):
            if a is not None:
                s[first : first + 3] = [step // item for step in a.strides[:3]]
        return s

    def spectra(self, h: np.ndarray, threads: int) -> np.ndarray:
        """The transforms of filters (B, O, C, reach) in time's own order, as the kernels read them."""
        h = np.ascontiguousarray(h)
        out = np.empty((self.B * self.O * self.C, 2 * self.points), self.dtype)
        work, (w, twist), sizes = (
            native.load(*kernel.key("spectra", self.dtype, self.lanes)),
            self._tables,
            self._sizes(),
        )
        memory = self._memory(1, 1, 0)
        fixed = address(w), address(twist), address(sizes)
        plane, buf, _, rows, spare = _parts(memory)
        share(
            work, (address(h), address(out), plane, plane, buf, rows, *fixed, spare), len(out), threads, own=sum(memory)
        )
        return out

    def convolve(
        self, x: np.ndarray, spectra: np.ndarray, y: np.ndarray, threads: int, a: np.ndarray | None = None,
        b: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """`((x·a) ∗ h)·b` into y; the last axes are dense, a lies as x does and b as y."""
        work, (w, twist) = native.load(*kernel.key("convolve", self.dtype)), self._tables
        sizes = self._sizes(x, y, IN_GATE=a is not None, OUT_GATE=b is not None)
        memory = self._memory(max(self.C, self.O), self.C + (self.O > 1), 0)
        arrays = (
            address(x),
            address(spectra),
            address(y),
            address(x if a is None else a),
            address(y if b is None else b),
        )
        fixed = address(w), address(twist), address(sizes)
        plane, buf, _, rows, spare = _parts(memory)
        given = (*arrays, plane, plane, buf, rows, *fixed, spare)
        share(work, given, self.B * self.N * self.tiles, threads, own=sum(memory))

    def gradients(
        self, x: np.ndarray, spectra: np.ndarray, g: np.ndarray, a: np.ndarray | None, b: np.ndarray | None,
        to_x: np.ndarray | None, to_k: np.ndarray | None, to_a: np.ndarray | None, to_b: np.ndarray | None, threads: int,
    ) -> None:  # fmt: skip
        """All cotangents that have a place: arrays (B, N, 1, ...) as `convolve` has them, to_k (B, reach) dense, tap 0 first."""
        work, (w, twist) = native.load(*kernel.key("gradients", self.dtype)), self._tables
        assert to_a is None or to_x is not None
        flags = {"IN_GATE": a, "OUT_GATE": b, "WANT_X": to_x, "WANT_K": to_k, "WANT_A": to_a, "WANT_B": to_b}
        sizes = self._sizes(x, g, **{name: int(given is not None) for name, given in flags.items()})
        memory = self._memory(2, 2, 1)
        given = [address(x if p is None else p) for p in (x, spectra, g, a, b, to_x, to_k, to_a, to_b)]
        fixed = address(w), address(twist), address(sizes)
        plane, buf, total, rows, spare = _parts(memory)
        share(work, (*given, total, plane, plane, buf, rows, *fixed, spare), self.B, threads, own=sum(memory))


def least_points(n: int, reach: int, m: int, first: int) -> int:
    """Complex points from which on one tile holds signal, filter and result, and nothing that is wanted meets what comes around."""
    x_at = max(0, -first)
    y_at, seen = x_at + first, min(n, max(0, first + m))
    return -(-max(y_at + m, x_at + seen, x_at + seen + reach - 1 - y_at, reach) // 2)


@lru_cache(maxsize=4096)
def sides(points: int, width: int) -> tuple[int, int]:
    """Rows and columns, as equal as can be, both multiples of the lanes; the threes go to the rows."""
    three = 3 if points % 3 == 0 else 1
    power = (points // three).bit_length() - 1
    low = width.bit_length() - 1
    rows = max(low, (power - (three == 3)) // 2)
    return three << rows, 1 << (power - rows)


@lru_cache(maxsize=4096)
def frame_points(least: int, width: int) -> int:
    """The smallest number of points, 2^a or 3·2^a, that is at least `least` and has rows and columns of whole vectors."""
    smallest = width * width
    power = 1 << max(least - 1, smallest - 1, 1).bit_length()
    return 3 * power // 4 if 3 * power // 4 >= max(least, 3 * smallest) else power


def frequencies(n: int) -> np.ndarray:
    """Which frequency stands in each place of a transform of n points that decimates in frequency: threes, twos, fours."""
    if n == 1:
        return np.zeros(1, np.int64)
    odd = n // 3 if n % 3 == 0 else n
    radix = 3 if odd < n else 2 if (n.bit_length() - 1) % 2 else 4
    return np.concatenate([np.arange(radix)[:, None] + radix * frequencies(n // radix)[None]], axis=0).reshape(-1)


@lru_cache(maxsize=12)
def tables(dtype: str, rows: int, columns: int, W: int) -> tuple[np.ndarray, np.ndarray]:
    """cos and −sin of both transforms, the weights of the rows and 1/points; and the twists between columns and rows.

    Column c of row k meets exp(−2πi c (k − 1/4) / points) after the transform of the columns, row r exp(2πi r / (4 rows)) before.
    """
    points = rows * columns
    turns = [np.exp(-2j * np.pi * np.arange(n) / n) for n in (rows, columns)]
    weights = np.exp(0.5j * np.pi * np.arange(rows) / rows)
    w = np.concatenate([*turns, weights, [1.0 / points]])
    k, c = frequencies(rows)[:, None], np.arange(columns)[None, :]
    twist = np.empty((rows, columns // W, 2, W), dtype)
    for r in range(rows):
        angle = (np.pi / (2 * points)) * ((c[0] * (4 * k[r] - 1)) % (4 * points))
        twist[r, :, 0], twist[r, :, 1] = np.cos(angle).reshape(-1, W), -np.sin(angle).reshape(-1, W)
    return np.ascontiguousarray(w).view(np.float64).astype(dtype), twist


class Line:
    """Past blocks of signals (B, N, C) against the pieces of filters (B, O, C, pieces · block), spectrum by spectrum.

    A ring holds the spectra of as many blocks as there are pieces. A call takes in blocks and adds their results; it is one call
    into compiled code, because short blocks come often.
    """

    def __init__(self, h: np.ndarray, block: int, N: int) -> None:
        (B, O, C, taps), dtype = h.shape, str(h.dtype)
        self.block, self.pieces, self.rows, self.dtype = block, -(-taps // block), B * N, dtype
        full = lanes(dtype)
        width = full if block >= full * full else full // 2
        points = frame_points(block, width)
        self.frame = Frame(dtype, B, N, C, O, 2 * points, block, block, 0, points, 0 if width == full else width)
        pieces = np.zeros((B, O, C, self.pieces * block), dtype)
        pieces[..., :taps] = h
        as_filters = Frame(dtype, B * O * C, 1, 1, self.pieces, 2 * points, block, block, 0, points, self.frame.lanes)
        hop = kernel.CHUNK * 2 * width
        self.chunks = 2 * points // hop
        spectra = as_filters.spectra(pieces.reshape(B * O * C, self.pieces, 1, block), 1)
        self.h = np.ascontiguousarray(spectra.reshape(B * O * C, self.pieces, self.chunks, hop).swapaxes(1, 2))
        self.ring = np.zeros((B * N * C, self.chunks, self.pieces, hop), dtype)
        self.newest = self.pieces - 1
        self.sizes = self.frame._sizes(PIECES=self.pieces)
        self.sizes[kernel.VALID] = block
        w, twist = self.tables = self.frame._tables
        ends = list(accumulate(self.frame._memory(C + O, 1, 0)))
        self.bytes, self.parts = ends[-1], (ends[0], ends[2], ends[3])
        self.work = native.load(*kernel.key("line", dtype, self.frame.lanes))
        self.fixed = address(w), address(twist), address(self.sizes)
        self.own = address(self.h), address(self.ring)

    def run(
        self, past: np.ndarray, at: int, y: np.ndarray, to: int, many: int, silent: int = 0, threads: int = 1
    ) -> None:
        """Take in `many` blocks and add the results of all but the first `silent` ones.

        Shapes: past (B, N, C, samples) dense, the block before the first one begins at `at`; y (B, N, O, results)
            dense, from `to` on.
        """
        given = address(past), at, past.shape[-1], *self.own, address(y), to, y.shape[-1]
        newest = self.newest
        plane, buf, rows, spare = Own(0), *(Own(place) for place in self.parts)
        all_given = (*given, plane, plane, buf, rows, *self.fixed, spare, newest, silent, many)
        share(self.work, all_given, self.rows, threads, own=self.bytes)
        self.newest = (newest + many) % self.pieces


def _parts(memory: tuple[int, ...]) -> list[Own]:
    return [Own(place) for place in accumulate(memory[:-1], initial=0)]
