"""Exact sums of products of Python's integers, of any size: words in, transforms, words out.

Up to about 3000 bits a result is found modulo as many primes as it takes. Longer integers are cut into digits of 32 bits that
become one more axis of the convolution, and carries are worked off at the end: work in proportion to the bits.

Source: Schönhage and Strassen (1971) for integers as polynomials in their digits; Pollard (1971) for several primes.
"""

import numpy as np

from faltung.kernels.modular.transformed import MOST, Transform, words_for
from faltung.kernels.ntt.primes import BITS

DIGIT = 32


def to_words(values: np.ndarray) -> np.ndarray:
    """Python's integers as int64 words in two's complement (planes, *shape), the lowest first."""
    try:
        return values.astype(np.int64)[None]
    except OverflowError:
        pass
    numbers = values.ravel().tolist()
    size = 8 * words_for(max(map(abs, numbers)))
    joined = b"".join([number.to_bytes(size, "little", signed=True) for number in numbers])
    rows = np.frombuffer(joined, np.int64).reshape(-1, size // 8)
    return np.ascontiguousarray(rows.T).reshape(size // 8, *values.shape)


def from_words(planes: np.ndarray) -> np.ndarray:
    """Words in two's complement (planes, *shape) as Python's integers."""
    shape = planes.shape[1:]
    if len(planes) == 1:
        return planes[0].view(np.int64).astype(object)
    if len(planes) == 2:
        return (planes[1].view(np.int64).astype(object) << 64) + planes[0].view(np.uint64).astype(object)
    size = 8 * len(planes)
    data = np.ascontiguousarray(planes.reshape(len(planes), -1).T).tobytes()
    out = np.empty(len(data) // size, object)
    out[:] = [int.from_bytes(data[at : at + size], "little", signed=True) for at in range(0, len(data), size)]
    return out.reshape(shape)


def convolved(
    x: np.ndarray,
    k: np.ndarray,
    shape: tuple[int, int, int, int],
    count: int,
    offset: int,
    span: int,
    threads: int = 1,
    most: int = MOST,
) -> np.ndarray:
    """Points [offset, offset + span) of y[b, n, o] = Σ over c of x[b, n, c] ∗ k[b, o, c], Python's integers (B·N·O, span).

    Args:
        x, k: objects (B·N·C, n) and (B·O·C, t).   shape: B, N, O, C.
        count: points of the circle on which the wanted ones are right.
        most: primes from which on digits take over.
    """
    terms = shape[3] * min(x.shape[-1], k.shape[-1])
    bound = terms * _largest(x) * _largest(k)
    if bound.bit_length() + 3 > most * (BITS - 1):
        return _by_digits(x, k, shape, count, offset, span, terms, threads)
    way = Transform.of(x.shape[-1] + k.shape[-1] - 1, bound, 0, count)
    found = _found(way, to_words(x), to_words(k), shape, threads)
    out = np.empty((words_for(bound), found.shape[1], span), np.uint64)
    return from_words(way.leave(found, offset, out, threads))


def _found(way: Transform, x: np.ndarray, k: np.ndarray, shape: tuple[int, int, int, int], threads: int) -> np.ndarray:
    if shape[1:] == (1, 1, 1) and len(x) == len(k):
        return way.products(x, k, threads)
    spectra = way.spectra(x, threads, "ntt x")
    return way.mixed(spectra, way.scaled(way.spectra(k, threads, "ntt k")), shape, threads)


def _by_digits(
    x: np.ndarray, k: np.ndarray, shape: tuple[int, int, int, int], count: int, offset: int, span: int, terms: int, threads: int
) -> np.ndarray:  # fmt: skip
    sizes = [-(-max(_largest(a).bit_length(), 1) // DIGIT) for a in (x, k)]
    hop = sum(sizes) - 1
    rows = [_digits(a, size, hop) for a, size in zip((x, k), sizes, strict=True)]
    points = (x.shape[-1] + k.shape[-1]) * hop
    way = Transform.of(points, terms * min(sizes) << (2 * DIGIT), 0, count * hop)
    found = _found(way, rows[0][None], rows[1][None], shape, threads)
    pairs = way.leave(found, offset * hop, np.empty((2, found.shape[1], span * hop), np.uint64), threads)
    return _carried(pairs.reshape(2, found.shape[1], span, hop))


def _digits(values: np.ndarray, size: int, hop: int) -> np.ndarray:
    """Digits of 32 bits with the sign of their number, int64 (rows, n · hop)."""
    numbers = values.ravel().tolist()
    joined = b"".join([abs(number).to_bytes(4 * size, "little") for number in numbers])
    signs = np.array([-1 if number < 0 else 1 for number in numbers], np.int64)
    out = np.zeros((len(numbers), hop), np.int64)
    out[:, :size] = np.frombuffer(joined, np.uint32).reshape(-1, size) * signs[:, None]
    return out.reshape(len(values), -1)


def _carried(pairs: np.ndarray) -> np.ndarray:
    """Σ over digits d of pairs[..., d] · 2^(32·d), where pairs are words in two's complement of 128 bits."""
    _, rows, span, hop = pairs.shape
    low = np.uint64(0xFFFFFFFF)
    total = np.zeros((hop + 5, rows, span), np.int64)
    first, second = (np.moveaxis(plane, -1, 0) for plane in pairs)
    total[0:hop] += (first & low).astype(np.int64)
    total[1 : hop + 1] += (first >> np.uint64(32)).astype(np.int64)
    total[2 : hop + 2] += (second & low).astype(np.int64)
    total[3 : hop + 3] += second.view(np.int64) >> 32
    for d in range(hop + 4):
        total[d + 1] += total[d] >> DIGIT
        total[d] &= 0xFFFFFFFF
    # What is left at the top is the sign.
    digits = total.astype(np.uint32)
    if len(digits) % 2:
        digits = np.concatenate([digits, (total[-1:] >> 63).astype(np.uint32)])
    words = digits[0::2].astype(np.uint64) | digits[1::2].astype(np.uint64) << np.uint64(32)
    return from_words(words)


def _largest(values: np.ndarray) -> int:
    return max(abs(int(values.max())), abs(int(values.min()))) if values.size else 0
