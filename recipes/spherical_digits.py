"""Digits on a sphere, trained upright, tested turned by any rotation: convolutions of the sphere beside a plain network.

    python recipes/spherical_digits.py [--quick]

Cohen, Geiger, Köhler and Welling, Spherical CNNs (2018); Esteves, Slotine and Makadia, Scaling spherical CNNs (2023).
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from faltung import nn as ours
from faltung.nn.sphere import sphere_grid
from faltung.nn.sphere.wigner import random_rotation, rotation_matrix
from recipe import digits, run, table

SIZE, HALF, QUARTER = 24, 16, 12
SPREAD = 1.15  # radians from the middle of a digit to the middle of its edges
FRONT = np.array(
    [[0.0, 0, -1], [0, -1, 0], [-1, 0, 0]]
)  # the pole's cap to the middle of the map, the digit's top to the north


def on_sphere(images: Tensor, rotations: list[np.ndarray]) -> Tensor:
    """Images on the sphere, each turned by its rotation: angles from the digit's middle are distances in the image."""
    points = sphere_grid(SIZE).points
    found = []
    for image, rotation in zip(images, rotations, strict=True):
        places = points @ rotation @ FRONT.T  # R⁻¹ p, then to the pole
        away = np.arctan2(np.hypot(places[..., 0], places[..., 1]), places[..., 2]) / SPREAD
        ring = np.maximum(np.hypot(places[..., 0], places[..., 1]), 1e-12)
        where = np.stack([places[..., 1] / ring * away, places[..., 0] / ring * away], -1)
        grid = torch.tensor(where, dtype=torch.float32)[None]
        found.append(nn.functional.grid_sample(image[None], grid, mode="bilinear", align_corners=False)[0])
    return torch.stack(found)


def upright(count: int) -> list[np.ndarray]:
    return [np.eye(3)] * count


def turned(count: int, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [rotation_matrix(*random_rotation(random)) for _ in range(count)]


class Modulus(nn.Module):
    """Complex numbers as their moduli."""

    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


def plain() -> nn.Module:
    """Three convolutions of 5 × 5 taps on the map, circular in longitude."""

    def block(inner: int, outer: int) -> list[nn.Module]:
        pad = nn.CircularPad2d((2, 2, 0, 0))
        return [pad, nn.Conv2d(inner, outer, 5, padding=(2, 0), bias=False), nn.BatchNorm2d(outer), nn.ReLU()]

    body = [*block(1, 16), *block(16, 16), nn.MaxPool2d(2), *block(16, 16)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def zonal() -> nn.Module:
    """Filters that are round about their centre: spin 0 alone."""

    def block(inner: int, outer: int, size: int, to: int, knots: int) -> list[nn.Module]:
        conv = ours.SphericalConv(inner, outer, (0,), (0,), size, knots, to, bias=False)
        return [conv, ours.SpinBatchNorm(outer, (0,), to), ours.SpinReLU(outer, (0,))]

    body = [*block(1, 32, SIZE, SIZE, 6), *block(32, 32, SIZE, QUARTER, 6), *block(32, 32, QUARTER, QUARTER, 6)]
    return nn.Sequential(*body, ours.SpherePool(32, QUARTER), nn.Linear(32, 10))


def spins() -> nn.Module:
    """Fields of spin 0 and 1, moduli of both flowing into spin 0."""
    both, c = (0, 1), 11

    def block(inner: int, before: tuple[int, ...], size: int, to: int) -> list[nn.Module]:
        conv = ours.SphericalConv(inner, c, before, both, size, 6, to, bias=False)
        return [conv, ours.SpinBatchNorm(c, both, to), ours.SpinPhaseCollapse(c, both)]

    body = [*block(1, (0,), SIZE, SIZE), *block(c, both, SIZE, QUARTER)]
    last = ours.SphericalConv(c, 2 * c, both, (0,), QUARTER, 6, bias=False)
    norm = ours.SpinBatchNorm(2 * c, (0,), QUARTER, dtype=torch.complex64)
    return nn.Sequential(*body, last, norm, Modulus(), ours.SpherePool(2 * c, QUARTER), nn.Linear(2 * c, 10))


def rotations() -> nn.Module:
    """Filters of any shape, lifted to rotations."""
    return nn.Sequential(
        ours.S2Conv(1, 18, SIZE, HALF, rings=3, points=8, twists=7, bias=False), nn.BatchNorm3d(18), nn.ReLU(),
        ours.SO3Conv(18, 18, HALF, 10, in_twists=7, twists=5, bias=False), nn.BatchNorm3d(18), nn.ReLU(),
        ours.SO3Pool(18, 5, 10), nn.Linear(18, 10),
    )  # fmt: skip


NETWORKS = {"plain": plain, "sphere, spin 0": zonal, "sphere, spins 0 and 1": spins, "rotations, SO(3)": rotations}


def size_of(model: nn.Module) -> int:
    """Real numbers that are learnt."""
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())


def trained(kind: str, images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
    torch.manual_seed(0)
    model, count = NETWORKS[kind](), len(labels)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=epochs * math.ceil(count / 64))
    for _ in range(epochs):
        for batch in torch.randperm(count).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def share(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Percent of right answers."""
    return 100 * (torch.cat([model(part) for part in images.split(64)]).argmax(1) == labels).float().mean().item()


def main(quick: bool) -> str:
    images, labels, test, truth = digits(quick)
    if quick:
        images, labels, test, truth = images[:64], labels[:64], test[:16], truth[:16]
    epochs = 1 if quick else 12
    train_sets = {
        "upright": on_sphere(images, upright(len(images))),
        "turned": on_sphere(images, turned(len(images), 1)),
    }
    tests = {"upright": on_sphere(test, upright(len(test))), "turned": on_sphere(test, turned(len(test), 2))}
    lines, drop, upright_right = [], {}, {}
    for kind in NETWORKS:
        first = trained(kind, train_sets["upright"], labels, epochs)
        second = trained(kind, train_sets["turned"], labels, epochs)
        ways = ((first, "upright"), (first, "turned"), (second, "turned"))
        rights = [share(model, tests[how], truth) for model, how in ways]
        drop[kind], upright_right[kind] = rights[0] - rights[1], rights[0]
        lines.append([kind, size_of(first), *(f"{r:.1f}" for r in rights)])
    header = ["network", "parameters", "upright, tested upright", "upright, tested turned", "turned, tested turned"]
    least = min((kind for kind in NETWORKS if kind != "plain"), key=lambda kind: drop[kind])
    weakest = min((kind for kind in NETWORKS if kind != "plain"), key=lambda kind: upright_right[kind])
    said = "reproduced" if drop["plain"] > 30 > 10 > drop[least] else "not reproduced"
    return f"""# Spherical digits

The digits of UCI on a sphere of {SIZE} × {SIZE} samples, a digit over {2 * math.degrees(SPREAD):.0f}° in the middle of the map,
which suits the plain network best; "turned" is by rotations drawn uniformly from all, one for each digit, interpolated from
the image and not by harmonics. Every network has three layers (the one on rotations two) and about as many parameters;
{epochs} epochs, one run, no augmentation. Percent of {len(test)} test digits that are right.

{table(header, lines)}

Claimed (MNIST on the sphere, 60 × 60 samples): a plain network 98 / 11 / 23, one on rotations 96 / 94 / 95 (Cohen et al.); spins
0 and 1 99.5 % on turned digits with 39,146 parameters (the published code of Esteves et al.).

Here a plain network trained upright loses {drop["plain"]:.0f} points on turned digits, "{least}" {max(drop[least], 0):.0f}: that
what is learnt upright holds for every rotation is {said} at this size. A six and a nine are nearly the same digit to every
network that is invariant. The weakest of the invariant ones, "{weakest}", has learnt least in so few steps:
{upright_right[weakest]:.1f} percent upright, and turned digits cost it {drop[weakest]:.1f} points."""


if __name__ == "__main__":
    run("spherical_digits", main)
