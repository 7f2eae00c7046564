"""Digits read pixel by pixel: a label from 64 samples in a row, by every kind of long filter with the same budget.

    python recipes/sequential_digits.py [--quick]

After the task sequential MNIST of Le, Jaitly and Hinton, A simple way to initialize recurrent networks of rectified linear units
(2015), on the 8 × 8 digits of UCI.
"""

import statistics

import torch
from torch import Tensor, nn

from faltung.nn import ButterflyConv1d, Conv1d
from recipe import LongBlock, constructors, digits, halved, run, table, tell_digits

WIDTH, LENGTH = 24, 64
RATES = (5e-3, 1e-2, 2e-2, 4e-2)


class Plain(nn.Module):
    """The same block around any filter: norm, the filter, an activation and gates on its results."""

    def __init__(self, filter: nn.Module) -> None:
        super().__init__()
        self.filter = filter
        self.mix, self.norm = Conv1d(WIDTH, 2 * WIDTH, 1), nn.GroupNorm(1, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + nn.functional.glu(self.mix(nn.functional.gelu(self.filter(self.norm(x)))), 1)


def near(taps: int) -> nn.Module:
    """What long filters are held against: a few taps."""
    return nn.Sequential(nn.ConstantPad1d((taps - 1, 0), 0.0), Conv1d(WIDTH, WIDTH, taps, groups=WIDTH))


BLOCKS = {name: lambda make=make: LongBlock(WIDTH, LENGTH, make) for name, make in constructors(WIDTH, LENGTH).items()}
BLOCKS |= {
    "Hyena (implicit)": lambda: LongBlock(WIDTH, LENGTH, constructors(WIDTH, LENGTH)["implicit"], gated=True),
    "learnt transforms": lambda: Plain(ButterflyConv1d(WIDTH, LENGTH)),
    "near: 5 taps": lambda: Plain(near(5)),
}


class Network(nn.Module):
    """Pixels, less their mean and over their spread, to channels, two blocks, and a label from the mean over time."""

    def __init__(self, make: object, pixels: Tensor) -> None:
        super().__init__()
        self.mean, self.spread = pixels.mean().item(), pixels.std().item()
        self.first = Conv1d(1, WIDTH, 1)
        self.blocks = nn.Sequential(make(), make())
        self.last = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.blocks(self.first((x - self.mean) / self.spread)).mean(-1))


def accuracy(name: str, data: tuple, seconds: float, rate: float, seed: int) -> tuple[float, int, int]:
    """As `tell_digits`."""
    torch.manual_seed(seed)
    return tell_digits(Network(BLOCKS[name], data[0]), lambda images: images.flatten(2), data, seconds, rate)


def main(quick: bool) -> str:
    torch.set_num_threads(1)  # threads that wait for each other would count as processor time
    seconds, seeds, rates = (0.05, 1, RATES[:2]) if quick else (4.0, 3, RATES)
    data = digits(quick)
    inner = halved(data)
    lines, found, edge = [], {}, []
    for name in BLOCKS:
        # What is chosen by sees neither the test digits nor the seeds of the runs that are reported.
        chosen = max(rates, key=lambda rate: accuracy(name, inner, seconds, rate, 100)[0])
        edge += [name] if chosen == max(rates) else []
        runs = [accuracy(name, data, seconds, chosen, seed) for seed in range(seeds)]
        found[name] = statistics.mean(right for right, _, _ in runs)
        shown = ", ".join(f"{right:.3f}" for right, _, _ in runs)
        steps = ", ".join(str(n) for _, _, n in runs)
        lines.append([name, runs[0][1], f"{chosen:g}", steps, shown, f"{found[name]:.3f}"])
    header = (
        "filters",
        "parameters",
        "rate",
        "steps",
        f"accuracy of {seeds} runs" if seeds > 1 else "accuracy",
        "mean",
    )
    text = f"""# Digits pixel by pixel

The 8 × 8 digits as 64 samples in a row. Two blocks of {WIDTH} channels, each with one causal long filter a channel; a label from
the mean over time; {seconds:g} seconds of processor time for each run, on as many batches of 64 as that allows. The rate of
learning is chosen for each kind of filter from {", ".join(f"{rate:g}" for rate in rates)}, by the digits told right among
{len(inner[3])} that are held back from the {len(data[1])} to train on; the network is then trained anew on all of these, from
other seeds, and tested once on {len(data[3])} others. Constructors that bring a rate for their own parameters keep it. Learnt
transforms (`ButterflyConv1d`) are a causal filter at first, and neither causal nor the same at all times once trained.

{table(header, lines)}

Claimed: filters over the whole sequence tell digits that are read pixel by pixel, and structured ones no worse than free taps."""
    if quick:
        return text
    long = {name: right for name, right in found.items() if not name.startswith("near")}
    best, worst = max(long, key=long.__getitem__), min(long, key=long.__getitem__)
    near_by, free = found["near: 5 taps"], found["free taps"]
    better = [name for name, right in long.items() if right > near_by]
    close = [name for name, right in long.items() if right >= free - 0.01 and name != "free taps"]
    return f"""{text}

Here {len(better)} of the {len(long)} kinds of long filters beat two filters of five taps ({near_by:.3f}); {best} comes best
({long[best]:.3f}), {worst} last ({long[worst]:.3f}). Within a point of free taps or above: {", ".join(close) or "none"}.
The largest rate was chosen, so that a still larger one might serve better, for {", ".join(edge) or "none"}.
Budgets are of time, so what is slow to make has fewer steps. With {len(data[3])} test digits a share p is
known within √(p(1 − p) / {len(data[3])}), about 0.02 at 0.8, and three seeds tell little of their own spread: smaller differences
say nothing."""


if __name__ == "__main__":
    run("sequential_digits", main)
