"""A photograph's brightness as an integral and as a Gaussian process, its colours as a density, and digits on a sphere."""

import time

import numpy as np
from scipy.ndimage import map_coordinates

from faltung import data, gram


def brightness(grey: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The photo between its pixels, for places in the unit square."""
    return map_coordinates(grey, (x * (np.array(grey.shape) - 1)).T, order=1)


def main() -> None:
    photo = data.photo()
    grey = photo.mean(axis=2) / 255

    # The mean of a function with edges, from a few thousand of its values: the truth lies in the interval.
    middle = np.ones(grey.shape)
    middle[[0, -1]] *= 0.5
    middle[:, [0, -1]] *= 0.5  # the trapezoidal rule is exact for what lies between pixels
    exactly = (grey * middle).sum() / middle.sum()
    found = gram.integrate(lambda x: brightness(grey, x), 2, 1e-3, design="net", rng=0)
    print(f"mean brightness {exactly:.5f}, {found}")
    assert abs(found.value - exactly) <= found.error

    # A Gaussian process on 16,384 places: the dense matrix would have 268 million entries.
    design = gram.digital_net(1 << 14, 2, rng=0)
    y = brightness(grey, design.points)
    start = time.perf_counter()
    fitted = gram.gp(design, gram.digital_shift_invariant(1, dim=2), 1e-3).fit(y)
    print(f"fitted to {design.n} places in {time.perf_counter() - start:.2f} s, noise {fitted.noise:.1e}")
    places = np.random.default_rng(1).random((500, 2))
    wrong = np.sqrt(np.mean((fitted.predict(places) - brightness(grey, places)) ** 2))
    print(f"error between them {wrong:.4f}, standard deviation of the photo {grey.std():.4f}")
    assert wrong < 0.35 * grey.std()

    # The density of 135,300 colours (red against green), on a grid with a bound, and its regime.
    colours = photo.reshape(-1, 3)[:, :2] / 255
    density = gram.kde(colours, 0.02)
    queries = colours[::500]
    start = time.perf_counter()
    values, bound = density(queries, method="grid", tolerance=1e-8, with_bound=True)
    middle_time = time.perf_counter()
    exact = density(queries, method="tiles")
    seconds = middle_time - start, time.perf_counter() - middle_time
    print(
        f"grid {seconds[0]:.3f} s, every pair {seconds[1]:.3f} s, apart {np.abs(values - exact).max():.1e} ≤ {bound:.1e}"
    )
    assert np.abs(values - exact).max() <= bound + 1e-9
    assert gram.kde_regime(colours[::100], 0.02).name == "gaussian"

    # Handwritten digits as directions in 64 dimensions: one von Mises–Fisher distribution for each.
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = digits.data / np.linalg.norm(digits.data, axis=1, keepdims=True)
    train = np.arange(len(x)) % 2 == 0
    classes = [gram.von_mises_fisher(64).fit(x[train & (digits.target == c)]) for c in range(10)]
    guess = np.argmax([c.log_prob(x[~train]) for c in classes], axis=0)
    right = np.mean(guess == digits.target[~train])
    print(
        f"concentrations {min(c.kappa for c in classes):.0f} to {max(c.kappa for c in classes):.0f}, {right:.1%} recognised"
    )
    assert right > 0.85


if __name__ == "__main__":
    main()
