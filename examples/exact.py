"""Exact products: a public key's multiplication, coins counted, and partitions of ten thousand, to the last digit."""

import math

import numpy as np

from faltung import convolve, plan
from faltung.engine import series


def main() -> None:
    # Polynomials modulo a prime, as lattice cryptography multiplies them: no rounding, whatever the length.
    p, n = 2**61 - 1, 4096
    a, b = np.random.default_rng(0).integers(0, p, (2, n))
    over = f"modular({p})"
    product = convolve(a, b, over=over)
    ring = (product[:n] - np.append(product[n:], 0)) % p  # modulo X^n + 1
    r = 123456789

    def at(f: np.ndarray) -> int:
        value = 0
        for c in reversed(f.tolist()):
            value = (value * r + c) % p
        return value

    assert at(product) == at(a) * at(b) % p
    print(f"{n} terms modulo 2^61 - 1 by {plan(a, b, over=over).method}; modulo X^n + 1 it begins {ring[:2]}")

    # In how many ways can a bill be paid? Numbers without limit.
    ways = np.array([1] + [0] * 1000, object)
    for coin in (1, 2, 5, 10, 20, 50, 100, 200):
        step = np.zeros(1001, object)
        step[::coin] = 1
        ways = convolve(ways, step, over="count")[:1001]
    print(f"200 pence in coins: {ways[200]} ways, a thousand: {ways[1000]}")
    assert ways[200] == 73682

    # Partitions: the product of 1/(1 − xⁱ) is the exponential of a series whose coefficients are sums of divisors.
    n = 201
    divisors = np.zeros(n, object)
    for d in range(1, n):
        divisors[d::d] += d
    log = series.integral(divisors[1:])
    partitions = series.exp(log, n)
    print(f"200 is a sum of whole numbers in {partitions[200]} ways")
    assert partitions[200] == 3972999029388

    # Catalan numbers from a square root, exactly.
    root = series.sqrt([1, -4], 40)
    assert [-v for v in root[1:]] == [2 * math.comb(2 * i, i) // (i + 1) for i in range(39)]


if __name__ == "__main__":
    main()
