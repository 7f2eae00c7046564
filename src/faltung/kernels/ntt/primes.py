"""Primes for number-theoretic transforms, their roots of unity, and the tables of constants."""

from functools import lru_cache
from itertools import islice

BITS = 49  # every modulus of the transforms is below 2^49
STEP = 30  # and the primes chosen here are 1 modulo 2^30: transforms of up to 2^29 points


def is_prime(n: int) -> bool:
    """Miller and Rabin's test with bases that decide for all n below 3.3·10^24. Source: Sorenson and Webster (2015)."""
    if n < 2:
        return False
    small = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
    if any(n % q == 0 for q in small):
        return n in small
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in small:
        value = pow(base, odd, n)
        if value in (1, n - 1):
            continue
        for _ in range(twos - 1):
            value = value * value % n
            if value == n - 1:
                break
        else:
            return False
    return True


@lru_cache(maxsize=64)
def primes(count: int) -> tuple[int, ...]:
    """The `count` largest primes below 2^49 that are 1 modulo 2^30."""
    candidates = range((1 << BITS) - (1 << STEP) + 1, 1 << (BITS - 1), -(1 << STEP))
    found = tuple(islice(filter(is_prime, candidates), count))
    assert len(found) == count
    return found


@lru_cache(maxsize=256)
def two_order(p: int) -> int:
    """The largest e with 2^e dividing p − 1, and 0 where p is no prime that the transforms can take."""
    return 0 if p >= 1 << BITS or not is_prime(p) else ((p - 1) & (1 - p)).bit_length() - 1


@lru_cache(maxsize=256)
def root(p: int, order: int) -> int:
    """An element of the multiplicative group modulo the prime p whose order is 2^order."""
    if order > two_order(p):
        raise ValueError(f"no root of order 2^{order} modulo {p}")
    if order == 0:
        return 1
    for base in range(2, p):
        if pow(base, (p - 1) // 2, p) == p - 1:  # not a square
            return pow(base, (p - 1) >> order, p)
    raise ValueError(f"{p} is no odd prime")
