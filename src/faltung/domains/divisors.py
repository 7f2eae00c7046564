"""The numbers 1 ... N, which stand at the indices 0 ... N − 1: products, greatest common divisors, least common multiples."""

import numpy as np

from faltung.domains.index import FiniteDomain, Triples


class Dirichlet(FiniteDomain):
    """Numbers under multiplication, those above N left out: Dirichlet convolution, `y(n) = Σ over d·e = n of x(d) k(e)`."""

    name = "dirichlet"
    summary = "the numbers 1 ... N (at indices 0 ... N − 1) under multiplication, cut at N"
    source = "Dirichlet (1837)"

    def product(self, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
        w = (u + 1) * (v + 1)
        return np.where(w <= size, w - 1, -1)

    def count(self, size: int) -> int:
        return sum(size // d for d in range(1, size + 1)) if size < 1 << 22 else int(size * (np.log(size) + 1))

    def triples(self, size: int) -> Triples:
        """The multiples of every number: about N·log N."""
        counts = size // np.arange(1, size + 1)
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        v = np.repeat(np.arange(size, dtype=np.int64), counts)
        u = np.arange(v.size) - start[v]
        w = (u + 1) * (v + 1) - 1
        return Triples(u.astype(np.int32), v.astype(np.int32), w.astype(np.int32), start)


class CommonDivisors(FiniteDomain):
    """u · v = gcd(u, v)."""

    name = "gcd"
    summary = "the numbers 1 ... N (at indices 0 ... N − 1) under the greatest common divisor"
    source = "zeta transform of divisibility, Möbius (1832)"

    def product(self, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
        return np.gcd(u + 1, v + 1) - 1

    def neutral(self, size: int) -> None:
        return None  # that would be 0, which every number divides


class CommonMultiples(FiniteDomain):
    """u · v = lcm(u, v), those above N left out."""

    name = "lcm"
    summary = "the numbers 1 ... N (at indices 0 ... N − 1) under the least common multiple, cut at N"
    source = "zeta transform of divisibility, Möbius (1832)"

    def product(self, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
        w = np.lcm((u + 1).astype(np.int64), v + 1)
        return np.where(w <= size, w - 1, -1)


DIRICHLET, GCD, LCM = Dirichlet(), CommonDivisors(), CommonMultiples()
