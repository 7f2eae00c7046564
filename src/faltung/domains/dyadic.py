"""Bit strings under exclusive or: dyadic (Walsh) convolution, `y(w) = Σ_u x(u) k(u XOR w)`."""

import numpy as np

from faltung.domains.index import FiniteDomain, of_size


class Dyadic(FiniteDomain):
    """The indices 0 ... 2^m − 1 as bit strings; every index is its own inverse."""

    name = "dyadic"
    summary = "bit strings under exclusive or, 2^m of them (Walsh convolution)"
    source = "Walsh (1923); Fino and Algazi (1976)"
    laws = frozenset({"associative", "commutative", "group"})

    def check(self, size: int) -> None:
        of_size(self.name, "as many values as there are bit strings, a power of two", size, size & (size - 1) == 0)

    def product(self, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
        return u ^ v

    def inverse(self, size: int) -> np.ndarray:
        return np.arange(size)


DYADIC = Dyadic()
