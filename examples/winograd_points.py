"""Which interpolation points make Winograd convolution accurate: error-optimal, classical and NOVA's, predicted and measured.

Prints the table of docs/winograd.md. A 3×3 layer of 64 channels is computed with its transformed operands stored in float16.
"""

from fractions import Fraction

import numpy as np

from faltung import winograd

CLASSICAL = {2: "0 1 -1", 4: "0 1 -1 2 -2", 6: "0 1 -1 2 -2 1/2 -1/2", 8: "0 1 -1 2 -2 1/2 -1/2 3/2 -3/2"}


def measured(m: int, points: tuple[Fraction, ...]) -> float:
    """Relative RMS error with float16 storage and wide sums, over 200 tiles."""
    rng = np.random.default_rng(0)
    at, g, bt = winograd.transforms(m, 3, points, balanced=True).as_arrays()
    d = rng.normal(size=(200, 64, m + 2, m + 2)).astype(np.float16).astype(float)
    k = (rng.normal(size=(64, 3, 3)) * (2 / 576) ** 0.5).astype(np.float16).astype(float)
    filter_, data = ((a @ v @ a.T).astype(np.float16).astype(float) for a, v in ((g, k), (bt, d)))
    y = (at @ np.sum(filter_ * data, axis=1) @ at.T).astype(np.float16).astype(float)
    exact = sum(d[:, :, a : a + m, b : b + m] * k[:, a, b][:, None, None] for a in range(3) for b in range(3)).sum(
        axis=1
    )
    return float(np.sqrt(np.mean((y - exact) ** 2) / np.mean(exact**2)))


def main() -> None:
    errors = {}
    print("| F(m,3) | points | κ | α | predicted | measured | products saved in 2-D |")
    print("|---|---|---|---|---|---|---|")
    for m in (2, 4, 6, 8):
        sets = {"smallest error": winograd.points(m, 3), "classical": tuple(map(Fraction, CLASSICAL[m].split()))}
        if m > 2:
            sets["NOVA"] = winograd.nova_points(m, 3)
        for name, points in sets.items():
            t = winograd.transforms(m, 3, points)
            alpha = winograd.amplification(t.AT, t.G, t.BT)
            errors[m, name] = measured(m, points)
            predicted = 2**0.5 * 0.42 * 2.0**-11 * alpha
            saved = (3 * m / (m + 2)) ** 2
            values = " ".join(str(p) for p in points if p >= 0)
            figures = (f"{winograd.kappa(points):.1f}", f"{alpha:.2f}", f"{predicted:.1e}", f"{errors[m, name]:.1e}")
            print("|", " | ".join((str(m), f"{name}: ± {values}", *figures, f"{saved:.2f}")), "|")
    for m in (4, 6, 8):
        assert errors[m, "smallest error"] <= 1.05 * min(errors[m, "classical"], errors[m, "NOVA"])


if __name__ == "__main__":
    main()
