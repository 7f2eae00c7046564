"""A small denoiser with weighted convolutions: loss over density, and the same losses from learning rates for each tap.

    python recipes/weighted_convolution.py [--quick]

Cammarasana and Patanè, Optimal density functions for weighted convolution in learning models (2025).
"""

import torch
from torch import Tensor, nn

from faltung.data import photo
from faltung.nn import Conv2d, WeightedConv2d
from faltung.tools import tune_density
from recipe import run, table

RATE, NOISE, SIDE = 0.1, 0.15, 24


def patches(count: int) -> tuple[Tensor, Tensor]:
    """(noisy, clean) grey patches of the photo in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    image = torch.from_numpy(photo().mean(-1)).float() / 255
    rows = torch.randint(0, image.shape[0] - SIDE, (count,), generator=generator)
    columns = torch.randint(0, image.shape[1] - SIDE, (count,), generator=generator)
    clean = torch.stack([image[r : r + SIDE, c : c + SIDE] for r, c in zip(rows, columns, strict=True)])[:, None]
    return clean + NOISE * torch.randn(clean.shape, generator=generator), clean


def losses(
    data: tuple, density: float, how: str, steps: int, optimizer: type = torch.optim.SGD, rate: float = RATE
) -> list:
    """The training's loss after each step.

    `weighted`: weighted layers. `rates`: plain layers that start from the same effective kernels, each tap with rate · Φ².
    `start`: plain layers from the same effective kernels with one rate for all taps.
    """
    torch.manual_seed(1)
    weighted = [
        WeightedConv2d(a, b, 3, padding=1, bias=True, density=[density]) for a, b in ((1, 12), (12, 12), (12, 1))
    ]
    layers: list = weighted
    if how != "weighted":
        layers = [Conv2d(w.in_channels, w.out_channels, 3, padding=1) for w in weighted]
        for layer, w in zip(layers, weighted, strict=True):
            layer.load_state_dict({"weight": w.effective_kernel(), "bias": w.bias})
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    worker = optimizer(model.parameters(), lr=rate)
    noisy, clean = data
    trace = []
    for _ in range(steps):
        worker.zero_grad()
        loss = (noisy + model(noisy) - clean).square().mean()
        loss.backward()
        if how == "rates":
            for layer, w in zip(layers, weighted, strict=True):
                layer.weight.grad *= w.density_map().square()
        worker.step()
        trace.append(loss.item())
    return trace


def main(quick: bool) -> str:
    data = patches(32 if quick else 64)
    steps = 10 if quick else 150
    densities = (0.7, 1.0) if quick else (0.5, 0.7, 1.0, 1.3, 1.5)
    plain = losses(data, 1.0, "start", steps)[-1]
    lines, apart, adam, starts = [], 0.0, {}, {}
    for density in densities:
        weighted, rates = (losses(data, density, how, steps) for how in ("weighted", "rates"))
        apart = max(apart, max(abs(a - b) / a for a, b in zip(weighted, rates, strict=True)))
        starts[density] = losses(data, density, "start", steps)[-1]
        ours, scaled = (losses(data, density, how, steps, torch.optim.Adam, 1e-3)[-1] for how in ("weighted", "rates"))
        adam[density] = ours, scaled
        lines.append(
            [density, f"{1e4 * weighted[-1]:.2f}", f"{1e4 * rates[-1]:.2f}", f"{1e4 * starts[density]:.2f}",
             f"{100 * (weighted[-1] / plain - 1):+.1f} %", f"{1e4 * ours:.2f}", f"{1e4 * scaled:.2f}"]
        )  # fmt: skip
    tuned = tune_density(lambda d: losses(data, d[0], "weighted", steps)[-1], 3, budget=3 if quick else 9)
    by_rate = {rate: losses(data, 1.0, "start", steps, rate=rate)[-1] for rate in (RATE, 2 * RATE, 4 * RATE)}
    best = min(by_rate, key=by_rate.__getitem__)
    gain, by_one_rate = 1 - tuned.loss / plain, 1 - by_rate[best] / plain
    between = max(abs(a / b - 1) for a, b in adam.values())
    header = (
        "density",
        "weighted",
        "plain, rates η·Φ²",
        "plain, one rate",
        "against density 1",
        "weighted, Adam",
        "plain, Adam, rates",
    )
    text = f"""# Weighted convolution is another learning rate for each tap

A denoiser of three 3 × 3 layers (12 channels, bias, ReLU) on {len(data[0])} grey patches of {SIDE} × {SIDE} pixels of the
sample photo, noise of deviation {NOISE}, {steps} steps of gradient descent with rate {RATE:g} on all patches at once (Adam: 0.001).
Training loss × 10⁴ of weighted layers; of plain layers that start from the same kernels W ⊙ Φ, with the rate η·Φ² for
each tap and with one rate for all; the weighted layers against density 1, which is a plain layer.

{table(header, lines)}

The search (DIRECT-L, {len(tuned.tried)} trainings) finds density {tuned.density[0]:.2f} with loss {1e4 * tuned.loss:.2f},
{100 * gain:.1f} % below density 1. Plain layers with one rate of {best:g} for all taps reach {1e4 * by_rate[best]:.2f},
{100 * by_one_rate:.1f} % below.

Claimed: up to 53 % lower loss than plain layers with the same learning rate.

Here: under gradient descent the losses of weighted layers and of plain layers with rates for each tap are the same in every
step (relative difference at most {apart:.0e}, rounding): the density chooses first values and learning rates, no larger class
of functions. With Adam the two differ by up to {100 * between:.1f} %."""
    if quick:
        return text
    reproduced = "is reproduced" if gain > 0.02 else "is not reproduced"
    start = min(starts, key=starts.__getitem__)
    alone, more = 1 - starts[start] / plain, "more" if starts[start] < tuned.loss else "less"
    return f"""{text} A loss below that of plain layers at the
same rate {reproduced} at this toy scale ({100 * gain:.1f} %); plain layers that only start from W ⊙ Φ, with density
{start:g}, gain {more} ({100 * alone:.1f} %)."""


if __name__ == "__main__":
    run("weighted_convolution", main)
