"""One operator, many algebras: coins, dice, words, swaps and a checked product of two large numbers."""

from fractions import Fraction

import numpy as np

import faltung
from faltung import data, domains


def main() -> None:
    # In how many ways do coins add up to a euro? Each coin is a geometric series, the answer a product of six.
    ways = np.array([1], dtype=object)
    for coin in (1, 2, 5, 10, 20, 50):
        series = (np.arange(101) % coin == 0).astype(object)
        ways = faltung.convolve(ways, series, over="count")[:101]
    print(f"a euro in coins of 1 to 50 cents: {ways[100]} ways")

    # Three dice, exactly; and the expected sum of those that show at least fifteen, carried along as a dual number.
    die = np.array([0] + [Fraction(1, 6)] * 6, dtype=object)
    three = faltung.power(die, 3, over="rational")
    chance = sum(three[15:])
    pairs = np.stack([die, die * np.arange(7)], axis=1)
    carried = pairs
    for _ in range(2):
        carried = faltung.convolve(carried, pairs, over=faltung.algebras.hypercomplex("dual", "rational"))
    mean = sum(carried[15:, 1]) / chance
    print(f"three dice: at least fifteen with {chance}, then {float(mean):.3f} on average")

    # How many swaps of neighbours sort five things: shortest ways in a group are a star over min-plus.
    group = domains.symmetric(5)
    step = np.full(group.order, np.inf)
    for i in range(4):
        swap = list(range(5))
        swap[i], swap[i + 1] = swap[i + 1], swap[i]
        step[group.index(swap)] = 1.0
    swaps = faltung.star(step, on=group, over="min-plus")
    print(f"five things: at most {swaps.max():.0f} swaps, {np.mean(swaps):.1f} on average")

    # Two numbers of 2,000 digits multiplied as polynomials in 10, checked in linear time, carried.
    random = np.random.default_rng(0)
    first, second = random.integers(0, 10, (2, 2000))
    digits = faltung.convolve(first, second)
    checked = faltung.verify(digits, first, second)
    product = sum(int(d) * 10**i for i, d in enumerate(digits))
    print(f"a product of {len(str(product))} digits: {checked}")

    # A resonance is a star of its feedback: the voice in a pipe.
    voice = data.sound()[:8000]
    feedback = np.zeros(voice.size)
    feedback[[80, 81]] = 0.45, 0.45
    piped = faltung.convolve(faltung.star(feedback, on="series"), voice, on="series")
    echo = piped - voice
    echo[80:] -= 0.45 * piped[:-80]
    echo[81:] -= 0.45 * piped[:-81]

    assert ways[100] == 4562
    assert chance == Fraction(20, 216)
    assert mean == Fraction(sum(s * n for s, n in zip((15, 16, 17, 18), (10, 6, 3, 1), strict=True)), 20)
    assert swaps.max() == 10
    assert checked
    assert checked.missed < 1e-13
    assert product == int("".join(map(str, first[::-1]))) * int("".join(map(str, second[::-1])))
    assert np.abs(echo).max() < 1e-9


if __name__ == "__main__":
    main()
