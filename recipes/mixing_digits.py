"""Digits by filters as large as the picture: learnt in the frequency domain, as taps, or a Fourier transform without parameters.

    python recipes/mixing_digits.py [--quick]

After Rao et al., Global filter networks for image classification (2021), and Lee-Thorp et al., FNet: mixing tokens with Fourier
transforms (2022).
"""

import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from faltung.nn import Conv2d, FourierMix, GlobalFilter
from recipe import digits, halved, run, table, tell_digits

WIDTH, SIDE = 32, 8
RATES = (3e-3, 1e-2, 3e-2)
MIXERS: dict[str, Callable[[], nn.Module]] = {
    "GlobalFilter, 8 × 8 bins": lambda: GlobalFilter(2, WIDTH, SIDE),
    "FourierMix, no parameters": lambda: FourierMix(2),
    "15 × 15 taps a channel": lambda: Conv2d(WIDTH, WIDTH, 2 * SIDE - 1, padding="same", groups=WIDTH),
    "3 × 3 taps a channel": lambda: Conv2d(WIDTH, WIDTH, 3, padding="same", groups=WIDTH),
    "nothing mixes": nn.Identity,
}


class Block(nn.Module):
    """What mixes places, then what mixes channels with gates, each beside its input."""

    def __init__(self, mix: nn.Module) -> None:
        super().__init__()
        self.norm, self.mix = nn.GroupNorm(1, WIDTH), mix
        self.next, self.gates = nn.GroupNorm(1, WIDTH), Conv2d(WIDTH, 2 * WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(self.norm(x))
        return x + nn.functional.glu(self.gates(self.next(x)), 1)


def network(name: str) -> nn.Module:
    """Pixels and their places to channels, two blocks, a label from the mean over the picture."""
    blocks = (Block(MIXERS[name]()) for _ in range(2))
    return nn.Sequential(Conv2d(3, WIDTH, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 10))


def placed(x: Tensor) -> Tensor:
    """Pixels, and their rows and columns from −1 to 1: without them a circular mix cannot tell where it is."""
    line = torch.linspace(-1, 1, SIDE)
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij")).expand(len(x), -1, -1, -1)
    return torch.cat([2 * x - 0.6, grid], 1)


def accuracy(name: str, data: tuple, seconds: float, rate: float, seed: int) -> tuple[float, int, int]:
    """As `tell_digits`."""
    torch.manual_seed(seed)
    return tell_digits(network(name), placed, data, seconds, rate)


def main(quick: bool) -> str:
    torch.set_num_threads(1)  # threads that wait for each other would count as processor time
    seconds, seeds, rates = (0.05, 1, RATES[:1]) if quick else (3.0, 3, RATES)
    data = digits(quick)
    inner = halved(data)
    lines, found = [], {}
    for name in MIXERS:
        chosen = max(rates, key=lambda rate: accuracy(name, inner, seconds, rate, 100)[0])
        runs = [accuracy(name, data, seconds, chosen, seed) for seed in range(seeds)]
        found[name] = statistics.mean(right for right, _, _ in runs)
        shown, steps = ", ".join(f"{r:.3f}" for r, _, _ in runs), ", ".join(str(n) for _, _, n in runs)
        lines.append([name, runs[0][1], f"{chosen:g}", steps, shown, f"{found[name]:.3f}"])
    text = f"""# Digits by filters as large as the picture

The 8 × 8 digits with rows and columns as two more channels. Two blocks of {WIDTH} channels: what mixes places, then gates that mix
channels; a label from the mean over the picture. {seconds:g} seconds of processor time each, on as many batches of 64 as that
allows. The rate of learning is the best of {", ".join(f"{rate:g}" for rate in rates)} on {len(inner[3])} digits that are held back
from the {len(data[1])} to train on; then all of these are trained on, from other seeds, and {len(data[3])} others tested once.

{table(("places are mixed by", "parameters", "rate", "steps", f"accuracy by seed, {seeds}", "mean"), lines)}

Claimed: filters over the whole picture, learnt as spectra, can stand in for attention or small convolutions; even a plain Fourier
transform mixes well enough to come near."""
    if quick:
        return text
    order = sorted(found, key=found.__getitem__, reverse=True)
    return f"""{text}

Here, from the best: {", ".join(f"{name} {found[name]:.3f}" for name in order)}.
A share p among {len(data[3])} digits is known within √(p(1 − p) / {len(data[3])}), 0.01 at 0.97: smaller differences say
nothing. On pictures this small a kernel of 15 × 15 taps sees all there is, as the global filter does, and pads where that wraps."""


if __name__ == "__main__":
    run("mixing_digits", main)
