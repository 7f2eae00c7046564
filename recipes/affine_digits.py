"""Digits learnt upright, tested under affine maps never seen: networks over SO(2), SL(2) and GL⁺(2) beside a plain one.

    python recipes/affine_digits.py [--quick]

Mironenco and Forré, Lie group decompositions for equivariant neural networks (2024).
"""

import math
import statistics

import torch
from torch import Tensor, nn

from faltung.nn.lie import SL, Affine, GLPlus, lie_network
from recipe import digits, run, table

KINDS = ("plain", "SO", "SL", "GL+")
RATES = {"plain": 2e-2}  # networks of coordinates lose their way at the rate that plain filters like
RATE = 5e-3
SIZE = 18


def placed(images: Tensor, maps: Tensor) -> Tensor:
    """Digits of 8 × 8 enlarged to 14 × 14 within 18 × 18, seen through affine maps (batch, 2, 3) about their middle."""
    matrix = maps * (SIZE / 14)
    grid = nn.functional.affine_grid(matrix, [len(images), 1, SIZE, SIZE], align_corners=False)
    return nn.functional.grid_sample(images, grid, mode="bicubic", align_corners=False)


def drawn_maps(count: int, spread: float, angle: float, move: float, generator: torch.Generator) -> Tensor:
    """Inverse affine maps as affNIST draws them: a stretch, a turn up to `angle` degrees, a move."""
    group = GLPlus(2)
    stretch = group.symmetric
    coordinates = torch.randn(count, len(stretch), dtype=torch.float64, generator=generator) * math.sqrt(spread)
    angles = (2 * torch.rand(count, 1, dtype=torch.float64, generator=generator) - 1) * math.radians(angle)
    h = torch.linalg.inv(group.exp(torch.cat([coordinates, angles], 1)))
    place = (2 * torch.rand(count, 2, dtype=torch.float64, generator=generator) - 1) * move
    return Affine(SL(2)).join(h, place)[:, :2].float()


class Residual(nn.Module):
    """The plain block: two convolutions of 3 × 3 with norms beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        convs = [nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2)]
        self.body = nn.Sequential(convs[0], nn.BatchNorm2d(width), nn.ReLU(), convs[1], nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.body(x)).relu()


def network(kind: str, fresh: bool = False) -> nn.Module:
    """Lift, residual block, maximum over group and places, scores; widths for equal numbers of parameters."""
    if kind == "plain":
        first = [nn.Conv2d(1, 34, 5, bias=False), nn.BatchNorm2d(34), nn.ReLU()]
        return nn.Sequential(*first, Residual(34), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(34, 10))
    return lie_network(1, 10, kind, width=24, blocks=1, head=0, num_samples=8, hidden=18, spread=0.05, fresh=fresh)


def measured(kind: str, data: tuple, seed: int, epochs: int, fresh: bool = False) -> list[float]:
    """Accuracy on every test set, in percent."""
    torch.manual_seed(seed)
    images, labels, tests, truth = data
    model = network(kind, fresh)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=5e-3)
    steps = epochs * math.ceil(len(labels) / 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATES.get(kind, RATE), total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        return [100 * (model(test).argmax(1) == truth).float().mean().item() for test in tests]


def main(quick: bool) -> str:
    images, labels, test, truth = digits(quick)
    count, seeds, epochs = (64, 1, 1) if quick else (900, 2, 14)
    generator = torch.Generator().manual_seed(1)
    still = torch.eye(2, 3).expand(len(labels), -1, -1)[:count]
    mild, strong = ((0.02, 20.0, 0.08), (0.06, 35.0, 0.12))
    tests = [placed(test, torch.eye(2, 3).expand(len(truth), -1, -1))]
    tests += [placed(test, drawn_maps(len(truth), *settings, generator)) for settings in (mild, strong)]
    data = (placed(images[:count], still), labels[:count], tests, truth)
    lines, means = [], {}
    for kind in KINDS:
        runs = [measured(kind, data, seed, epochs) for seed in range(seeds)]
        columns = list(zip(*runs, strict=True))
        means[kind] = [statistics.mean(c) for c in columns]
        size = sum(p.numel() for p in network(kind).parameters())
        lines.append([kind, size, *(f"{statistics.mean(c):.1f} ± {statistics.pstdev(c):.1f}" for c in columns)])
    drawn = measured("SL", data, 0, epochs, fresh=True)
    order = " < ".join(sorted(KINDS, key=lambda k: means[k][2]))
    steps = epochs * math.ceil(count / 32)
    learnt = [k for k in KINDS[1:] if means[k][0] > means["plain"][0] - 5]
    better = [k for k in KINDS[1:] if means[k][2] > means["plain"][2]]
    verdict = f"Within five points of the plain network on upright digits: {', '.join(learnt) or 'none'}. "
    verdict += f"Better than it under strong maps: {', '.join(better) or 'none'}."
    return f"""# Affine digits

{count} upright digits of UCI to learn from, enlarged to {SIZE} × {SIZE} pixels; {len(truth)} others to test on, upright, under mild
affine maps (stretches of variance 0.02 in logarithms, turns up to 20°, moves up to 8 % of half the view, as affNIST draws) and
under strong ones (0.06, 35°, 12 %), none of which was ever seen. A lift of 5 × 5 taps, one residual block, the maximum over group
and places; 8 elements, the same in all steps; widths for about equal numbers of parameters. Accuracy in percent, mean and
deviation of {seeds} runs, no augmentation.

{table(["network", "parameters", "upright", "mild maps", "strong maps"], lines)}

Claimed: the best of all equivariant and capsule networks on affNIST, trained on upright digits, at about 98 % (GL⁺(2) and SL(2),
one GPU for hours).

Order under strong maps: {order}. {verdict} {steps} steps each, at a highest rate of 2e-2 for the plain network and 5e-3 for the
others; published are 2e-4 and 50 epochs of a set many times as large, with width 40 and a head of 256.

Elements drawn anew in every step, as published, are noise that takes many more steps to average: after these {steps} steps SL(2)
classifies {drawn[0]:.1f} % of the upright digits so, {drawn[2]:.1f} % under strong maps."""


if __name__ == "__main__":
    run("affine_digits", main)
