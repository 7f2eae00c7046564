"""Draw docs/pictures/cayley.svg: how many permutations of ten points lie at every distance, for some generating sets."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from faltung import cayley

SETS = ["all_transpositions(10)", "stars(10)", "pancake(10)", "coxeter(10)", "lrx(10)", "lx(10)"]


def main() -> None:
    plt.rcParams.update({"svg.hashsalt": "cayley", "font.size": 9})
    figure, axes = plt.subplots(figsize=(9, 3.4), layout="constrained")
    for name in SETS:
        layers = cayley.growth(cayley.generator_set(name)).layers
        axes.plot(layers, label=f"{name}, diameter {len(layers) - 1}", marker=".", markersize=3, linewidth=1)
    axes.set(yscale="log", xlabel="distance from the identity", ylabel="permutations of 10 points")
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    axes.spines[["top", "right"]].set_visible(False)
    target = Path(__file__).parent / "pictures" / "cayley.svg"
    figure.savefig(target, metadata={"Date": None})
    print(target)


if __name__ == "__main__":
    main()
