"""Draw docs/pictures/sphere.png: filters by spins, a photo around the globe and its convolutions, before and after a turn."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from faltung import data, nn
from faltung.nn.sphere import harmonics, sphere_grid, turn
from faltung.nn.sphere.wigner import rotation_matrix

TILT = rotation_matrix(0.0, -0.5, 0.0)  # what the observer sees of the pole
SEEN = 180
TARGET = Path(__file__).parent / "pictures" / "sphere.png"


def seen(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A map (rows, columns) on the globe, from outside: nearest samples, NaN beyond the edge."""
    up, right = np.meshgrid(np.linspace(1, -1, SEEN), np.linspace(-1, 1, SEEN), indexing="ij")
    depth = np.sqrt(np.maximum(0, 1 - up**2 - right**2))
    points = np.stack([-up, right, depth], -1) @ TILT
    theta, phi = np.arccos(np.clip(points[..., 2], -1, 1)), np.arctan2(points[..., 1], points[..., 0]) % (2 * np.pi)
    i = np.abs(theta[..., None] - rows).argmin(-1)
    j = np.round(phi / (2 * np.pi) * values.shape[1]).astype(int) % values.shape[1]
    return np.where(up**2 + right**2 <= 1, values[i, j], np.nan)


@torch.no_grad()
def pictures() -> list[tuple[str, np.ndarray, str]]:
    grid = sphere_grid((65, 128))
    photo = torch.from_numpy(data.photo().mean(axis=2).astype(np.float64))[None, None] / 255
    globe = torch.nn.functional.interpolate(photo, (grid.rows, grid.columns), mode="bilinear", antialias=True)
    globe = turn(globe, (0.0, 0.0, 0.0), grid)
    rotation = (0.4, 0.7, 0.3)
    degree = torch.arange(33, dtype=torch.float64)
    edges = nn.SphericalConv(1, 1, (0,), (1,), grid, bias=False, dtype=torch.complex128)
    edges.weight.copy_(-torch.exp(-0.004 * degree * (degree + 1)) * (degree * (degree + 1)).sqrt())
    slope, turned = edges(globe), turn(globe, rotation, grid)
    gap = (edges(turned) - turn(slope, rotation, grid, (1,))).abs().max()
    found = []
    theta, phi = np.meshgrid(grid.theta, grid.phi, indexing="ij")
    share = np.exp(-0.03 * np.arange(15) * np.arange(1, 16)) * np.sqrt(np.arange(15) + 0.5)
    for m in range(3):  # what an impulse at the pole becomes in a field of spin 0, 1, 2, as its real part
        value = sum(share[l] * harmonics(14, 0, theta, phi)[..., l * l + l + m] for l in range(m, 15)).real
        found.append((f"a filter of order {m}", value, "RdBu"))
    found += [("a photo around the globe", globe[0, 0].numpy(), "gray"), ("turned", turned[0, 0].numpy(), "gray")]
    found.append(("its edges: spin 1, |z|", slope[0, 0].abs().numpy(), "magma"))
    found.append((f"edges of the turned: off by {gap:.0e}", edges(turned)[0, 0].abs().numpy(), "magma"))
    lift = nn.S2Conv(1, 1, grid, rings=1, points=6, reach=0.12, twists=6, bias=False, dtype=torch.float64)
    lift.weight.zero_()
    lift.weight[0, 0, 1], lift.weight[0, 0, 4] = 1, -1  # a difference across the place
    found.append(("S2Conv: one twist of six", lift(globe)[0, 0, 0].numpy(), "RdBu"))
    return found


def main() -> None:
    rows = sphere_grid((65, 128)).theta
    figure, axes = plt.subplots(2, 4, figsize=(11, 5.8))
    for axis, (words, values, colours) in zip(axes.flat, pictures(), strict=True):
        top = np.abs(values).max()
        limits = {"vmin": -top, "vmax": top} if colours == "RdBu" else {}
        axis.imshow(seen(values, rows), cmap=colours, **limits)
        axis.set_title(words, fontsize=10)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(TARGET, dpi=80)
    print(TARGET)


if __name__ == "__main__":
    main()
