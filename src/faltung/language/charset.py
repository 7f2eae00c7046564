"""Sets of characters as sorted ranges of code points, and the coarsest partition that some of them respect.

What `\\w`, `\\d`, `\\s` and ignoring case mean is Python's: the sets are read off `re` and `str.lower` once, when first needed.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from functools import cache

import numpy as np

Ranges = tuple[tuple[int, int], ...]

UNICODE, BYTES = 0x110000, 0x100  # how many symbols the two alphabets have
# Where Unicode has scripts with capitals; a test looks whether one has come elsewhere.
CASED = ((0, 0x3000), (0xA000, 0xB000), (0xF000, 0x12000), (0x16000, 0x17000), (0x1E000, 0x1F000))


def ranges(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """Sorted, disjoint, not touching: the one way to write a set. Pairs are (first, last)."""
    made: list[tuple[int, int]] = []
    for first, last in sorted(pairs):
        if made and first <= made[-1][1] + 1:
            made[-1] = (made[-1][0], max(last, made[-1][1]))
        elif first <= last:
            made.append((first, last))
    return tuple(made)


def of(letters: Iterable[int]) -> Ranges:
    """The set of these code points."""
    return ranges((c, c) for c in letters)


def union(*sets: Ranges) -> Ranges:
    """Characters in any of the sets."""
    return ranges(pair for one in sets for pair in one)


def complement(one: Ranges, size: int = UNICODE) -> Ranges:
    """Characters of an alphabet of `size` symbols that are not in the set."""
    made, start = [], 0
    for first, last in one:
        if start < first:
            made.append((start, first - 1))
        start = last + 1
    if start < size:
        made.append((start, size - 1))
    return tuple(made)


def intersection(a: Ranges, b: Ranges) -> Ranges:
    """Characters in both sets."""
    made, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        first, last = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if first <= last:
            made.append((first, last))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return tuple(made)


def contains(one: Ranges, letter: int) -> bool:
    """Whether a code point is in the set."""
    at = bisect_right(one, (letter, UNICODE)) - 1
    return at >= 0 and letter <= one[at][1]


def size(one: Ranges) -> int:
    """How many characters the set holds."""
    return sum(last - first + 1 for first, last in one)


def nth(one: Ranges, index: int) -> int:
    """The set's character number `index`, in order."""
    for first, last in one:
        if index <= last - first:
            return first + index
        index -= last - first + 1
    raise IndexError(index)


# -- Python's own classes ---------------------------------------------------------------------------------------------------


@cache
def _every() -> str:
    return np.arange(UNICODE, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")


@cache
def category(letter: str, ascii_only: bool) -> Ranges:
    """What `\\d`, `\\s` or `\\w` matches, within ASCII or in all of Unicode."""
    text = _every()[:128] if ascii_only else _every()
    return ranges((m.start(), m.end() - 1) for m in re.finditer(rf"\{letter}+", text, re.A if ascii_only else 0))


@cache
def _folds() -> tuple[dict[int, int], dict[int, Ranges]]:
    """Each cased character's lower case; for each lower-case character all that are equal to it when case is ignored."""
    lower: dict[int, int] = {}
    upper: dict[str, list[int]] = {}
    for c in (c for first, last in CASED for c in range(first, last)):
        s = chr(c)
        low, up = s.lower(), s.upper()
        if low != s:
            lower[c] = ord(low[0])  # U+0130 alone has a longer one, which begins with its simple one
        elif up != s:
            upper.setdefault(up, []).append(c)
    # small letters of one capital are one to `re`, such as k and the Kelvin sign, or s and the long s
    twins = {c: alike for alike in upper.values() if len(alike) > 1 for c in alike}
    members: dict[int, list[int]] = {}
    for c, small in lower.items():
        members.setdefault(small, []).append(c)
    same = {}
    for small in {*members, *twins}:
        equal = twins.get(small, [small])
        same[small] = of(x for a in equal for x in (a, *members.get(a, ())) if lower.get(x, x) == a)
    return lower, same


@cache
def cased(ascii_only: bool) -> np.ndarray:
    """Code points that have another case, sorted."""
    if ascii_only:
        return np.array([*range(65, 91), *range(97, 123)])
    lower, same = _folds()
    return np.array(sorted({*lower, *same}))


def fold(one: Ranges, ascii_only: bool) -> Ranges:
    """The set with every character in all its cases."""
    extra = []
    letters = cased(ascii_only)
    for first, last in one:
        for c in letters[np.searchsorted(letters, first) : np.searchsorted(letters, last, "right")].tolist():
            if ascii_only:
                extra.append((c ^ 32, c ^ 32))
            else:
                lower, same = _folds()
                low = lower.get(c, c)
                extra += [*same.get(low, ()), (low, low)]
    return ranges([*one, *extra])


# -- equivalence classes ----------------------------------------------------------------------------------------------------


def classes(sets: Iterable[Ranges], alphabet: int) -> tuple[np.ndarray, list[Ranges]]:
    """The coarsest partition of the alphabet in which every given set is a union of parts.

    Returns:
        (number of the part for each symbol, uint8 or int32, shape (alphabet,)), and the parts as sets.
    """
    unique = list(dict.fromkeys(sets))
    edges = {0, alphabet}
    for one in unique:
        for first, last in one:
            edges.add(first)
            edges.add(last + 1)
    cuts = np.array(sorted(e for e in edges if e <= alphabet), np.int64)
    # each interval between cuts has a signature: the sets that hold it; equal signatures are one class
    signature: list[list[int]] = [[] for _ in range(len(cuts) - 1)]
    for number, one in enumerate(unique):
        for first, last in one:
            a, b = np.searchsorted(cuts, (first, min(last + 1, alphabet)))
            for interval in range(a, b):
                signature[interval].append(number)
    widths = np.diff(cuts)
    # the widest interval's class is 0: a table of zeros costs no memory where it is never written
    known = {tuple(signature[int(widths.argmax())]): 0}
    label = np.array([known.setdefault(tuple(s), len(known)) for s in signature], np.int32)
    parts: list[list[tuple[int, int]]] = [[] for _ in known]
    for interval, part in enumerate(label.tolist()):
        parts[part].append((int(cuts[interval]), int(cuts[interval + 1]) - 1))
    table = np.zeros(alphabet, np.uint8 if len(known) <= 256 else np.int32)
    for interval in np.flatnonzero(label).tolist():
        table[cuts[interval] : cuts[interval + 1]] = label[interval]
    return table, [ranges(p) for p in parts]
