"""Numbers 0 ... n − 1 in a row, of which two meet in the larger or in the smaller one."""

import numpy as np

from faltung.domains.index import FiniteDomain


class Largest(FiniteDomain):
    """u · v = max(u, v): distributions of the largest of two independent numbers."""

    name = "max"
    summary = "a chain 0 ... n − 1 in which two indices meet in the larger"
    source = "zeta transform of a chain, Rota (1964)"

    def product(self, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
        return np.maximum(u, v)


class Smallest(FiniteDomain):
    """u · v = min(u, v): distributions of the smallest of two independent numbers."""

    name = "min"
    summary = "a chain 0 ... n − 1 in which two indices meet in the smaller"
    source = "zeta transform of a chain, Rota (1964)"

    def product(self, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
        return np.minimum(u, v)

    def neutral(self, size: int) -> int:
        return size - 1


MAX, MIN = Largest(), Smallest()
