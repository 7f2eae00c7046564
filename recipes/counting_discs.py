"""Counting discs of two sizes by maps of density: one column of dilated convolutions against three.

    python recipes/counting_discs.py [--quick]

Deb and Ventura, An aggregated multicolumn dilated convolution network for perspective-free counting (2018).
"""

import numpy as np
import torch
from torch import Tensor, nn

from faltung.data import dot_density
from faltung.nn import MultiColumnDilated2d
from recipe import run, table

SIDE, SIGMA, SCALE = (
    48,
    4.0,
    255.0,
)  # a narrower target is zero almost everywhere, and so is the median that the loss finds
RADII = ((1.5, 2.5), (5.0, 7.0))


def scenes(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """(images, maps, counts): soft discs of small and large radius on noise, and the density of their middles."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1)
    images, maps, counts = [], [], []
    for _ in range(count):
        number = random.integers(2, 13)
        dots = random.uniform(0, SIDE - 1, (number, 2))
        image = 0.2 * random.standard_normal((SIDE, SIDE))
        for dot in dots:
            radius = random.uniform(*RADII[random.integers(2)])
            distance = np.sqrt(((grid - dot) ** 2).sum(-1))
            image = np.maximum(image, random.uniform(0.6, 1.0) / (1 + np.exp(2 * (distance - radius))))
        images.append(image)
        maps.append(dot_density(dots, (SIDE, SIDE), SIGMA))
        counts.append(number)
    stacked = [torch.from_numpy(np.stack(a)).float()[:, None] for a in (images, maps)]
    return stacked[0], stacked[1], torch.tensor(counts).float()


def mistake(model: nn.Module, data: tuple, test: tuple, steps: int) -> float:
    """Mean absolute error of the count on test scenes."""
    images, maps, _ = data
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        batch = torch.randint(0, len(images), (8,))
        optimizer.zero_grad()
        (model(images[batch]) - SCALE * maps[batch]).abs().mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        found = model(test[0]).sum((1, 2, 3)) / SCALE
    return (found - test[2]).abs().mean().item()


def main(quick: bool) -> str:
    data, test = scenes(32 if quick else 256, 1), scenes(16 if quick else 128, 2)
    seeds, steps = (1, 5) if quick else (3, 400)
    three = ((3, (1, 1, 2)), (3, (2, 2, 4)), (3, (4, 4, 8)))
    kinds = {
        "1 column": {"columns": three[:1], "mid": 6},
        "1 column, as many parameters as 3": {"columns": three[:1], "mid": 10},
        "3 columns": {"columns": three, "mid": 6},
        "3 columns, no aggregator": {"columns": three, "mid": 6, "aggregate": ()},
    }
    lines, means = [], []
    for name, options in kinds.items():
        runs = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            model = MultiColumnDilated2d(1, **{"aggregate": (2, 4), **options})
            nn.init.constant_(model.last.bias, 0.5)  # a last ReLU that starts below zero everywhere would never learn
            runs.append(mistake(model, data, test, steps))
        means.append(sum(runs) / seeds)
        field, size = model.receptive_field()[0], model.parameter_count()
        lines.append([name, size, field, ", ".join(f"{r:.2f}" for r in runs), f"{means[-1]:.2f}"])
    blind = (test[2] - data[2].median()).abs().mean().item()
    one, wide, many, bare = means
    small, large = (f"{low:g} to {high:g}" for low, high in RADII)
    text = f"""# Counting discs of two sizes

Scenes of {SIDE} × {SIDE} pixels with 2 to 12 soft discs of radius {small} or {large} pixels, on noise. Target: dots
blurred by a Gaussian of {SIGMA:g} pixels times {SCALE:g}; loss: mean absolute difference; {steps} steps of Adam on 8 scenes. Mean
absolute error of the count on {len(test[0])} other scenes; always the same number would give {blind:.2f}.

{table(("network", "parameters", "receptive field", f"error of {seeds} runs" if seeds > 1 else "error", "mean"), lines)}

Claimed: more columns and the aggregator lower the error."""
    if quick:
        return text

    def verdict(better: bool) -> str:
        return "reproduced" if better else "not reproduced"

    return f"""{text}

Here: that three columns ({many:.2f}) beat one of as wide layers ({one:.2f}) is {verdict(many < one)} at this toy scale,
that they beat one of as many parameters ({wide:.2f}) is {verdict(many < wide)}, that the
aggregator helps ({bare:.2f} without it) is {verdict(many < bare)}."""


if __name__ == "__main__":
    run("counting_discs", main)
