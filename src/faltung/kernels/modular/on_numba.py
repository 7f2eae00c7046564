"""The compiled products and the way back from residues, under the names of `contract.py`."""

import numpy as np

from faltung.kernels.modular import binary, residues, short
from faltung.kernels.ntt.tables import width


def product(x: np.ndarray, k: np.ndarray, modulus: int) -> np.ndarray:
    """Rows of residues, the first operand no shorter than the second; see `contract.product`."""
    return short.product(x, k, modulus)


def product_of_bits(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Rows of 0 and 1; see `contract.product` modulo 2."""
    found = binary.product(binary.packed(x), binary.packed(k))
    return binary.unpacked(found, x.shape[1] + k.shape[1] - 1)


def leave(found: np.ndarray, primes: tuple[int, ...], modulus: int = 0) -> np.ndarray:
    """int64 (rows, count): see `contract.leave`; without a modulus, the integers modulo 2^64."""
    return residues.leave(_wide(found), np.empty(found.shape[1:], np.int64), primes, 0, modulus)


def leave_words(found: np.ndarray, primes: tuple[int, ...], planes: int) -> np.ndarray:
    """uint64 (planes, rows, count): the integers in two's complement, the lowest word first."""
    return residues.leave(_wide(found), np.empty((planes, *found.shape[1:]), np.uint64), primes, 0)


def _wide(found: np.ndarray) -> np.ndarray:
    """Rows of at least a vector's width."""
    more = max(0, width() - found.shape[-1])
    return np.ascontiguousarray(np.pad(found, ((0, 0), (0, 0), (0, more))))
