"""Cases for the kernels of exact arithmetic: every length and modulus at which they change their way, the ends of all ranges."""

from typing import Any

import numpy as np

from faltung.kernels.modular import contract as modular_contract
from faltung.kernels.modular.binary import BASE as WORDS
from faltung.kernels.modular.short import BASE
from faltung.kernels.ntt import contract as ntt_contract
from faltung.kernels.ntt.layout import length_for, order
from faltung.kernels.ntt.primes import primes, two_order

# Products of n by t terms whose transforms have 4, 5, 6 and 7 quarters, in and out of the smallest block.
PRODUCTS = ((8, 9), (33, 20), (100, 101), (160, 150), (200, 180), (220, 210), (512, 500), (700, 560), (900, 900))
MODULI = (998244353, 97 * 2**12 * 4 + 1, 2**40 * 453 + 1)


def check_ntt(tool: Any, seed: int = 0) -> int:
    """Transforms against the values of polynomials, and products by way of them, modulo large and small primes.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for p in (*primes(3), *MODULI):
        if two_order(p) < order(tool.leaf()):
            continue
        for n, t in PRODUCTS:
            random, length = np.random.default_rng(seed + cases), length_for(n + t - 1, tool.leaf())
            if two_order(p) < order(length):
                continue
            ends = cases % 2 == 1  # integers of the type's whole range, and what lies at the ends of the residues'
            x, k = (_integers(random, (2, size), p, ends) for size in (n, t))
            rows = [np.full((2, length), np.nan) for _ in range(2)]
            for values, row in zip((x, k), rows, strict=True):
                tool.enter(values[None], row, p)
                assert np.abs(row).max() <= 0.6 * p, f"enter modulo {p}: {np.abs(row).max()} is no small residue"
                _equal(row[:, : values.shape[1]], values, p, f"enter modulo {p}, {values.shape[1]} values")
            begun = [row.copy() for row in rows]
            for row in rows:
                tool.forward(row, p)
            if length <= 320:
                wanted = np.array(
                    [ntt_contract.forward([int(v) % p for v in row], p, tool.width()) for row in begun[0]], object
                )
                _equal(rows[0], wanted, p, f"forward of {length} points modulo {p}")
            tool.scaled(rows[1], p)
            y = np.empty((2, 2, length))
            mixed = np.ascontiguousarray(rows[0][:, None]), np.ascontiguousarray(rows[1][:, None])
            tool.mix(*mixed, y, p)
            flat = y.reshape(4, length)
            tool.backward(flat, p)
            for a in range(2):
                for b in range(2):
                    wanted = np.zeros(length, object)
                    wanted[: n + t - 1] = ntt_contract.product(x[a], k[b])
                    _equal(y[a, b], wanted, p, f"product of {n} by {t} modulo {p}, {length} points")
                    cases += 1
            y = np.empty((1, 2, length))
            tool.products(x[None], k[None], (p,), y, np.empty(length))
            for r in range(2):
                wanted = np.zeros(length, object)
                wanted[: n + t - 1] = ntt_contract.product(x[r], k[r])
                _equal(y[0, r], wanted, p, f"product at once of {n} by {t} modulo {p}")
            # Two channels: the sum of two products.
            y = np.empty((1, 1, length))
            tool.mix(rows[0][None], rows[1][None], y, p)
            tool.backward(y[0], p)
            wanted = np.zeros(length, object)
            wanted[: n + t - 1] = sum(ntt_contract.product(x[c], k[c]) for c in range(2))
            _equal(y[0, 0], wanted, p, f"sum of two products of {n} by {t} modulo {p}")
            cases += 1
    return cases


def check_modular(tool: Any, seed: int = 0) -> int:
    """Short products around every change of their way, bits, and integers from residues of one to twenty primes."""
    cases = 0
    for m in (2, 3, 251, 2**31 - 1, 2**31 + 11, 2**61 - 1, 2**63 - 1):
        base = BASE[m < 2**31]
        for n, t in ((1, 1), (9, 2), (17, 17), (base, base), (base + 1, base + 1), (5 * base, 2 * base + 3)):
            random = np.random.default_rng(seed + cases)
            x, k = random.integers(0, m, (2, n)), random.integers(0, m, (2, t))
            x[0], k[0] = m - 1, m - 1
            _same(tool.product(x, k, m), modular_contract.product(x, k, m), f"product of {n} by {t} modulo {m}")
            cases += 1
    for n, t in ((1, 1), (64, 63), (65, 64), (64 * WORDS, 64 * WORDS), (100 * WORDS, 65 * WORDS), (9000, 8000)):
        random = np.random.default_rng(seed + cases)
        x, k = random.integers(0, 2, (2, n)), random.integers(0, 2, (2, t))
        x[0], k[0] = 1, 1
        wanted = np.stack([np.convolve(a, b) % 2 for a, b in zip(x, k, strict=True)])
        _same(tool.product_of_bits(x, k), wanted, f"product of {n} by {t} bits")
        cases += 1
    for count in (1, 2, 3, 4, 9, 20):
        own = primes(count)
        total = int(np.prod(np.array(own, object)))
        for n in (1, 7, 8, 21):
            random = np.random.default_rng(seed + cases)
            values = np.array([int(random.integers(0, 2**62)) ** count * (-1) ** i % total for i in range(n)], object)
            values = values % (total // 2) - total // 4
            values[0], values[-1] = total // 4, -(total // 4)
            rows = np.array([[float((int(v) + p // 2) % p - p // 2) for v in values] for p in own])[:, None]
            wanted = modular_contract.leave(rows, own)
            assert (wanted[0] == values).all(), "the contract is wrong"
            planes = total.bit_length() // 64 + 1
            words = tool.leave_words(rows, own, planes)
            came = sum(words[i].astype(object) << 64 * i for i in range(planes))
            _same(came, wanted % (1 << 64 * planes), f"words of {count} primes")
            _same(tool.leave(rows, own).view(np.uint64), wanted % (1 << 64), f"int64 of {count} primes")
            for m in (2, 1000, 2**31 - 1, 2**49 - 1, 2**49 + 1, 2**63 - 25):
                _same(tool.leave(rows, own, m), wanted % m, f"residues modulo {m} of {count} primes")
                cases += 1
    return cases


def _integers(random: np.random.Generator, shape: tuple[int, int], p: int, ends: bool) -> np.ndarray:
    if not ends:
        return random.integers(-(2**63), 2**63 - 1, shape)
    low = -(p // 2)
    return random.choice(np.array([low, p // 2, p - 1, 0, -(2**63), 2**63 - 1]), shape)


def _equal(came: np.ndarray, wanted: np.ndarray, p: int, what: str) -> None:
    """Equal modulo p, and whole numbers at that."""
    assert np.isfinite(came).all(), f"{what}: not finite"
    assert (came == np.rint(came)).all(), f"{what}: not whole"
    _same(came.astype(np.int64).astype(object) % p, wanted.astype(object) % p, what)


def _same(came: np.ndarray, wanted: np.ndarray, what: str) -> None:
    assert came.shape == wanted.shape, f"{what}: shape {came.shape}, expected {wanted.shape}"
    wrong = np.flatnonzero(came.astype(object).ravel() != wanted.astype(object).ravel())
    assert not wrong.size, (
        f"{what}: {came.ravel()[wrong[0]]} at {wrong[0]}, the contract {wanted.ravel()[wrong[0]]}; {wrong.size} differ"
    )
