"""Made data: milliseconds a picture, against the same in NumPy and SciPy.

python benchmarks/synth.py          writes benchmarks/results/synth.md
"""

import timing

timing.settle()

import numpy as np

from faltung import synth
from faltung.kernels.orbit import contract
from faltung.synth import ifs


def dense_level(image: np.ndarray, strength: float, noise: np.ndarray) -> np.ndarray:
    """One level of plasma with SciPy's dense 3 × 3 correlation."""
    from scipy.ndimage import correlate

    whole = np.zeros([2 * n - 1 for n in image.shape])
    whole[::2, ::2] = image
    diamond, square = np.array([[1, 0, 1], [0, 0, 0], [1, 0, 1]]) / 4, np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
    middles = correlate(whole, diamond, mode="constant")
    whole[1::2, 1::2] = ((1 - strength) * middles + strength * noise)[1::2, 1::2]
    edges = correlate(whole, square, mode="constant")
    edges[[0, -1]] *= 4 / 3
    edges[:, [0, -1]] *= 4 / 3
    edges = (1 - strength) * edges + strength * noise
    whole[::2, 1::2], whole[1::2, ::2] = edges[::2, 1::2], edges[1::2, ::2]
    return whole


def main() -> None:
    system, rng = ifs.sample(3, rng=0), np.random.default_rng(0)
    points, draws = system.points(100_000), rng.random(100_000)
    start, noise = rng.random((2, 2)), [rng.random((2**k + 1, 2**k + 1)) for k in range(1, 11)]

    def scipy_plasma() -> np.ndarray:
        image = start
        for k, n in enumerate(noise):
            image = dense_level(image, 0.5 ** (k + 1), n)
        return image

    def our_plasma() -> np.ndarray:
        given = [n[None, None] for n in noise]
        return synth.plasma((1025, 1025), 0.5, seed_image=start[None, None], noise=given, normalise=False)[0, 0]

    assert np.abs(our_plasma() - scipy_plasma()).max() < 1e-12
    cases = {
        "chaos game, 100,000 points": {
            "ours": lambda: system.points(100_000),
            "Python": lambda: contract.orbit(system.maps, np.cumsum(system.shares), draws, system.fixed_point()),
        },
        "points to a picture of 224²": {
            "ours": lambda: ifs.render(points, 224, "binary"),
            "np.histogram2d": lambda: np.histogram2d(points[:, 1], points[:, 0], 224)[0] > 0,
        },
        "plasma of 1025², noise given": {"ours": our_plasma, "scipy.ndimage": scipy_plasma},
    }
    lines = []
    for label, calls in cases.items():
        times, _ = timing.interleaved(calls)
        peer = next(name for name in calls if name != "ours")
        lines.append([label, timing.span(times["ours"]), peer, f"{times[peer] / times['ours']:.1f}"])
    text = f"# Made data\n\n{timing.cpu()}, `python benchmarks/synth.py`\n\n"
    timing.write("synth", text + timing.rows(("what", "ours", "peer", "peer / ours"), lines))


if __name__ == "__main__":
    main()
