"""Missing samples of a series with two periods: a folded convolution against one along time, with as many parameters.

    python recipes/period_folding.py [--quick]

Wu et al., TimesNet: temporal 2D-variation modeling for general time series analysis (2023).
"""

import torch
from torch import Tensor, nn

from faltung.nn import Conv1d, PeriodFoldConv
from recipe import run, table

LENGTH, PERIODS, GAP = 192, (24, 32, 48), 20


def series(count: int, seed: int, gaps: bool) -> tuple[Tensor, Tensor]:
    """(given, wanted): sums of two periodic waves of random shape with samples missing and a mask beside them, and without.

    Missing are four samples of ten, or, with gaps, four stretches of `GAP` samples, which may overlap.
    """
    generator = torch.Generator().manual_seed(seed)
    t, harmonics = torch.arange(LENGTH), torch.arange(1, 6)
    wanted, mask = torch.zeros(count, LENGTH), torch.ones(count, LENGTH)
    for n in range(count):
        first, second = torch.randperm(len(PERIODS), generator=generator)[:2].tolist()
        for period, strength in ((PERIODS[first], 1.0), (PERIODS[second], 0.6)):
            phases = 2 * torch.pi * (t[:, None] * harmonics / period + torch.rand(5, generator=generator))
            sizes = (0.5 + torch.rand(5, generator=generator)) / harmonics
            wanted[n] += strength * (sizes * phases.sin()).sum(1)
        if gaps:
            for start in torch.randint(0, LENGTH - GAP, (4,), generator=generator).tolist():
                mask[n, start : start + GAP] = 0
    if not gaps:
        mask = (torch.rand(count, LENGTH, generator=generator) >= 0.4).float()
    return torch.stack([wanted * mask, mask], 1), wanted[:, None]


class Along(nn.Module):
    """Two convolutions along time beside a shortcut, in place of the folded ones."""

    def __init__(self, channels: int, hidden: int, taps: int) -> None:
        super().__init__()
        self.widen = Conv1d(channels, hidden, taps, padding="same")
        self.narrow = Conv1d(hidden, channels, taps, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(nn.functional.gelu(self.widen(x)))


def error(make: object, data: tuple, test: tuple, seed: int, steps: int) -> tuple[float, int]:
    """Mean square error at the missing samples of the test series, relative to their variance, and the number of parameters."""
    torch.manual_seed(seed)
    model = nn.Sequential(Conv1d(2, 8, 1), make(), Conv1d(8, 1, 1))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    given, wanted = data
    for _ in range(steps):
        batch = torch.randint(0, len(given), (32,))
        missing = 1 - given[batch, 1:]
        optimizer.zero_grad()
        (((model(given[batch]) - wanted[batch]) * missing).square().sum() / missing.sum()).backward()
        optimizer.step()
    with torch.no_grad():
        missing = 1 - test[0][:, 1:]
        off = ((model(test[0]) - test[1]) * missing).square().sum() / (test[1] * missing).square().sum()
    return off.item(), sum(p.numel() for p in model.parameters())


def main(quick: bool) -> str:
    seeds, steps = (1, 3) if quick else (2, 200)
    # Kernels of 1, 3 and 5 taps squared are 35 numbers for a channel pair, as many as 35 taps along time.
    kinds = {
        "folded, periods of each sample": lambda: PeriodFoldConv(8, 8, top_k=2, inception=3),
        "folded, periods of the batch": lambda: PeriodFoldConv(8, 8, top_k=2, inception=3, batchwise=True),
        "along time, 35 taps": lambda: Along(8, 8, 35),
    }
    lines, found = [], {}
    for gaps in (False, True):
        data, test = series(64 if quick else 512, 1, gaps), series(32 if quick else 128, 2, gaps)
        for name, make in kinds.items():
            runs = [error(make, data, test, seed, steps) for seed in range(seeds)]
            found[gaps, name] = sum(off for off, _ in runs) / seeds
            what = "stretches" if gaps else "single samples"
            errors = ", ".join(f"{off:.3f}" for off, _ in runs)
            lines.append([what, name, runs[0][1], errors, f"{found[gaps, name]:.3f}"])
    drawn = ", ".join(map(str, PERIODS))
    header = ("missing", "block", "parameters", f"error of {seeds} runs" if seeds > 1 else "error", "mean")
    text = f"""# Period folding

Series of {LENGTH} samples, each the sum of two waves of five harmonics whose periods are drawn from {drawn}. Missing, and to
be found, are 40 % of the samples, or four stretches of {GAP} (zero, with a mask as second channel). One block of 8 channels
between pointwise layers, {steps} steps of Adam on batches of 32. Square error at the missing samples of other series;
1 is what zeros would give.

{table(header, lines)}

Claimed: folding by period is the state of the art on five families of tasks, interpolation of missing samples among them."""
    if quick:
        return text

    def told(gaps: bool) -> str:
        folded, together, along = (found[gaps, name] for name in kinds)
        word = "beats" if folded < along else "does not beat"
        other = "worse" if together > folded else "no worse"
        figures = f"({folded:.3f} against {along:.3f}; periods of the batch {other})"
        return f"{word} a convolution along time with as many parameters {figures}"

    return f"""{text}

Here, at toy scale: with single samples missing, folding {told(False)}; with stretches missing it {told(True)}."""


if __name__ == "__main__":
    run("period_folding", main)
