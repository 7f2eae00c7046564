"""Subsets of m things as bit masks 0 ... 2^m − 1: unions, intersections, disjoint unions."""

import numpy as np

from faltung.domains.index import FiniteDomain, Triples, of_size


class _Masks(FiniteDomain):
    def check(self, size: int) -> None:
        of_size(self.name, "as many values as there are subsets, a power of two", size, size & (size - 1) == 0)


class Unions(_Masks):
    """u · v = u ∪ v: how two sets together cover a third (OR convolution)."""

    name = "or"
    summary = "subsets as bit masks under union (covering product)"
    source = "Yates (1937); Björklund, Husfeldt, Kaski and Koivisto (2007)"

    def product(self, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
        return u | v


class Intersections(_Masks):
    """u · v = u ∩ v (AND convolution, packing product)."""

    name = "and"
    summary = "subsets as bit masks under intersection (packing product)"
    source = "Yates (1937); Björklund, Husfeldt, Kaski and Koivisto (2007)"

    def product(self, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
        return u & v

    def neutral(self, size: int) -> int:
        return size - 1


class Disjoint(_Masks):
    """u · v = u ∪ v where the two share nothing; other pairs do not meet (subset convolution)."""

    name = "subsets"
    summary = "subsets as bit masks under disjoint union (subset convolution)"
    source = "Björklund, Husfeldt, Kaski and Koivisto (2007)"

    def product(self, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
        return np.where(u & v, -1, u | v)

    def count(self, size: int) -> int:
        return 3 ** (size.bit_length() - 1)

    def triples(self, size: int) -> Triples:
        """Of 3^m pairs, 4^m are not looked at: the subsets of the complement of v, bit after bit."""
        lists = []
        for v in range(size):
            free, inside = (size - 1) ^ v, np.zeros(1, dtype=np.int32)
            while free:
                bit = free & -free
                inside, free = np.concatenate([inside, inside | bit]), free ^ bit
            lists.append(inside)
        counts = np.array([a.size for a in lists])
        us, vs = np.concatenate(lists), np.repeat(np.arange(size, dtype=np.int32), counts)
        return Triples(us, vs, us | vs, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


OR, AND, SUBSETS = Unions(), Intersections(), Disjoint()
