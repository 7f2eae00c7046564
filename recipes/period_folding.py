"""Missing samples of a series with two periods: a folded convolution against one along time, with as many parameters.

    python recipes/period_folding.py [--quick]

Wu et al., TimesNet: temporal 2D-variation modeling for general time series analysis (2023).
"""

import torch
from torch import Tensor, nn

from faltung.nn import Conv1d, PeriodFoldConv
from recipe import run, table

# (length, periods, gap): the first has single samples missing, the second gaps that 35 taps bridge, the third longer ones.
SETTINGS = ((192, (24, 32, 48), 0), (96, (12, 16, 24, 32), 9), (192, (24, 32, 48), 20))


def series(count: int, seed: int, length: int, periods: tuple, gap: int) -> tuple[Tensor, Tensor]:
    """(given, wanted): sums of two periodic waves of random shape with samples missing and a mask beside them, and without.

    Missing are four samples of ten, or, with a gap, four stretches of so many samples, which may overlap.
    """
    generator = torch.Generator().manual_seed(seed)
    t, harmonics = torch.arange(length), torch.arange(1, 6)
    wanted, mask = torch.zeros(count, length), torch.ones(count, length)
    for n in range(count):
        first, second = torch.randperm(len(periods), generator=generator)[:2].tolist()
        for period, strength in ((periods[first], 1.0), (periods[second], 0.6)):
            phases = 2 * torch.pi * (t[:, None] * harmonics / period + torch.rand(5, generator=generator))
            sizes = (0.5 + torch.rand(5, generator=generator)) / harmonics
            wanted[n] += strength * (sizes * phases.sin()).sum(1)
        if gap:
            for start in torch.randint(0, length - gap, (4,), generator=generator).tolist():
                mask[n, start : start + gap] = 0
    if not gap:
        mask = (torch.rand(count, length, generator=generator) >= 0.4).float()
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
    for length, periods, gap in SETTINGS:
        data = series(64 if quick else 512, 1, length, periods, gap)
        test = series(32 if quick else 128, 2, length, periods, gap)
        what = f"4 stretches of {gap}" if gap else "40 % of the samples"
        for name, make in kinds.items():
            runs = [error(make, data, test, seed, steps) for seed in range(seeds)]
            found[gap, name] = sum(off for off, _ in runs) / seeds
            errors = ", ".join(f"{off:.3f}" for off, _ in runs)
            words = [length, ", ".join(map(str, periods)), what, name, runs[0][1], errors, f"{found[gap, name]:.3f}"]
            lines.append(words)
    header = (
        "samples",
        "periods",
        "missing",
        "block",
        "parameters",
        f"error of {seeds} runs" if seeds > 1 else "error",
        "mean",
    )
    text = f"""# Period folding

Series that are the sum of two waves of five harmonics; some samples are missing (zero, with a mask as second channel) and are to
be found. One block of 8 channels between pointwise layers, {steps} steps of Adam on batches of 32. Square error at the missing
samples of other series; 1 is what zeros would give.

{table(header, lines)}

Claimed: folding by period is the state of the art on five families of tasks, interpolation of missing samples among them."""
    if quick:
        return text

    def told(gap: int) -> str:
        folded, together, along = (found[gap, name] for name in kinds)
        word = "better" if folded < 0.95 * along else "worse" if along < 0.95 * folded else "no different"
        return f"{word} ({folded:.3f} against {along:.3f}; with the periods of the batch {together:.3f})"

    single, short, long = (told(gap) for _, _, gap in SETTINGS)
    where = "reproduced where the neighbouring cycles know more than the neighbouring samples"
    verdict = where if long.startswith("better") else "not reproduced"
    return f"""{text}

Here, at toy scale, folding is held against a convolution along time with as many parameters. With single samples missing it
is {single};
with stretches of {SETTINGS[1][2]}, {short};
with stretches of {SETTINGS[2][2]}, in the middle of which 35 taps see little, {long}.
The claim is {verdict}."""


if __name__ == "__main__":
    run("period_folding", main)
