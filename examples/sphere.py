"""A photo around the globe: its spectrum, a round blur, an edge field of spin 1, and the same after any rotation."""

import numpy as np
import torch

from faltung import certify, data, nn
from faltung.certify.actions import SphereTurn
from faltung.nn.sphere import SpinSHT, sphere_grid, turn

ROTATION = (0.8, 1.1, -0.3)


def main() -> None:
    torch.manual_seed(0)
    grid = sphere_grid((65, 128))  # both poles, as maps of the globe have them
    photo = torch.from_numpy(data.photo().mean(axis=2).astype(np.float64))[None, None] / 255
    globe = torch.nn.functional.interpolate(photo, (grid.rows, grid.columns), mode="bilinear", antialias=True)

    sht = SpinSHT(grid, dtype=torch.float64)
    a = sht(globe[:, 0])
    globe = sht.inverse(a).real[:, None]  # what the grid carries: degrees up to 32
    power = [float(a[:, l * l : (l + 1) ** 2].abs().square().sum()) for l in range(sht.degree + 1)]
    total = float((globe.square() * torch.tensor(grid.weights)[:, None]).sum())
    print(f"degrees 0 ... {sht.degree}; Parseval is off by {abs(sum(power) / total - 1):.1e}")
    print(f"share of degrees below 8: {sum(power[:8]) / sum(power):.1%}")

    blur = nn.SphericalConv(1, 1, (0,), (0,), grid, bias=False, dtype=torch.float64)
    edges = nn.SphericalConv(1, 1, (0,), (1,), grid, bias=False, dtype=torch.complex128)
    degree = torch.arange(sht.degree + 1, dtype=torch.float64)
    with torch.no_grad():
        warmth = torch.exp(-0.01 * degree * (degree + 1))  # heat, some time later
        blur.weight.copy_(warmth)
        edges.weight.copy_(-warmth * (degree * (degree + 1)).sqrt())  # the gradient of that

    soft, slope = blur(globe).detach(), edges(globe).detach()
    print(f"blur: deviation {float(globe.std()):.3f} → {float(soft.std()):.3f}")
    print(f"edges: the steepest slope is {float(slope.abs().max()):.2f} a radian")

    gaps = {
        "blur": blur(turn(globe, ROTATION, grid)) - turn(soft, ROTATION, grid),
        "edges, spin 1": edges(turn(globe, ROTATION, grid)) - turn(slope, ROTATION, grid, (1,)),
    }
    plain = torch.nn.Conv2d(1, 1, 5, padding=2, padding_mode="circular", dtype=torch.float64)
    gaps["5 × 5 taps on the map"] = plain(turn(globe, ROTATION, grid)) - turn(plain(globe), ROTATION, grid)
    largest = {name: float(gap.detach().abs().max()) for name, gap in gaps.items()}
    for name, gap in largest.items():
        print(f"{name:>21}: turned first or last, results differ by at most {gap:.1e}")

    report = certify.equivariance(edges, SphereTurn((0,), (1,)), globe.to(torch.complex128), count=3)
    print(report)

    assert abs(sum(power) / total - 1) < 1e-12
    assert max(largest["blur"], largest["edges, spin 1"]) < 1e-10
    assert largest["5 × 5 taps on the map"] > 1e-2
    assert report.kept


if __name__ == "__main__":
    main()
