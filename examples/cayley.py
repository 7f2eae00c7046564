"""A group as a domain: how far permutations are, how shuffles mix, and what a hidden unit learns of multiplication.

Prints the growth of three ways to sort, the plan of a large search, the cut-off of a shuffle and the spectra of learnt features.
"""

import numpy as np

from faltung import cayley
from faltung.domains.group import symmetric


def main() -> None:
    print("Sorting eight cards: how many orders need 0, 1, 2, ... moves")
    for name in ("pancake(8)", "coxeter(8)", "lrx(8)"):
        found = cayley.growth(cayley.generator_set(name))
        print(f"  {name:<11} diameter {found.diameter:>2}: {found.layers}")
        assert found.order == 40320

    print("\nWhat would be searched, and how:")
    print(cayley.plan_growth(cayley.generator_set("lrx(12)")))

    distances = cayley.growth(cayley.generator_set("lrx(8)"), storage="thirds")
    word = distances.path([7, 6, 5, 4, 3, 2, 1, 0])
    print("\nTurning eight cards around with L, R and X:", "".join("LRX"[s] for s in word))

    G = symmetric(5)
    top_in = np.zeros(120)
    for s in cayley.generator_set("prefix_cycles(5)").rows.tolist():
        top_in[G.index(s)] += 1
    top_in[0] += 1
    print("\nDistance from a well mixed deck:", cayley.mixing(G, top_in, 8).round(3).tolist())

    print("\nHidden units that climb alone end in one representation of S₄ each, at |G| / (2d):")
    G = symmetric(4)
    for seed in range(4):
        u, _, history = cayley.climb(*np.random.default_rng(seed).normal(size=(2, 24)), G)
        names, energy = cayley.group_spectrum(u, G)
        best = int(energy[0].argmax())
        (shape,) = names[best]
        share = energy[0, best] / energy[0].sum()
        print(f"  energy {history[-1]:.4f}, {share:.1%} of the weights in the representation of {shape}")
        assert min(abs(history[-1] - end) for end in (12, 6, 4)) < 1e-3
        assert share > 0.99


if __name__ == "__main__":
    main()
