"""A delay learnt from noisy examples: what every kind of long filter makes of one tap far back, with and without squashing.

    python recipes/delay.py [--quick]

After the delay tasks of Gu et al., Combining recurrent, convolutional, and continuous-time models with linear state-space layers
(2021), for squashed and smoothed taps of Fu et al., Simple hardware-efficient long convolutions for sequence modeling (2023).
"""

import statistics
from typing import NamedTuple

import torch
from torch import Tensor

from faltung import nn as ours
from recipe import constructors, run, table

LENGTH, SIGNALS, NOISE = 256, 24, 0.5
DELAYS = (4, 60, 200)
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
KINDS = {
    "free taps, plain": lambda: ours.FreeFilter(1, LENGTH, squash=0.0, dropout=0.0),
    "squash 0.001": lambda: ours.FreeFilter(1, LENGTH, squash=0.001, dropout=0.0),
    "squash 0.003": lambda: ours.FreeFilter(1, LENGTH, squash=0.003, dropout=0.0),
    "squash 0.01": lambda: ours.FreeFilter(1, LENGTH, squash=0.01, dropout=0.0),
    "smooth over 3": lambda: ours.FreeFilter(1, LENGTH, squash=0.0, smooth=3, dropout=0.0),
    "smooth over 7": lambda: ours.FreeFilter(1, LENGTH, squash=0.0, smooth=7, dropout=0.0),
    "smooth over 7, squash 0.003": lambda: ours.FreeFilter(1, LENGTH, squash=0.003, smooth=7, dropout=0.0),
    **{("squash 0.003, dropout 0.1" if n == "free taps" else n): make for n, make in constructors(1, LENGTH).items()},
}


class Found(NamedTuple):
    """Of one training: the error, the filter's total variation and the taps that are not 0; rate and parameters."""

    error: float
    variation: float
    taps: int
    rate: float
    parameters: int


def examples(delay: int, signals: int, noise: float) -> tuple[Tensor, Tensor]:
    """White noise, and the same some samples later under other noise."""
    x = torch.randn(signals, 1, LENGTH)
    late = torch.nn.functional.pad(x, (delay, 0))[..., :LENGTH]
    return x, late + noise * torch.randn_like(late)


def missed(layer: torch.nn.Module, x: Tensor, wanted: Tensor) -> float:
    """The squared error as a share of what is wanted, squared."""
    with torch.no_grad():
        return ((layer.eval()(x) - wanted).square().sum() / wanted.square().sum()).item()


def trained(kind: str, data: tuple[Tensor, Tensor], steps: int, rate: float, seed: int) -> ours.SequenceConv:
    """One filter after so many steps of Adam on all examples at once, its rate falling to 0."""
    torch.manual_seed(seed)
    layer = ours.SequenceConv(KINDS[kind](), skip=False)
    optimizer = torch.optim.Adam(layer.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        (layer(data[0]) - data[1]).square().mean().backward()
        optimizer.step()
        schedule.step()
    return layer


def learnt(kind: str, delay: int, steps: int, seed: int) -> Found:
    """The rate is chosen on noisy examples that are held back; the error is of others, without noise."""
    torch.manual_seed(1000 * seed + delay)  # every kind sees the same examples
    data, held, fresh = (examples(delay, *of) for of in ((SIGNALS, NOISE), (SIGNALS // 2, NOISE), (64, 0.0)))
    tried = {rate: trained(kind, data, steps, rate, seed) for rate in RATES}
    rate = min(tried, key=lambda rate: missed(tried[rate], *held))
    with torch.no_grad():
        k = tried[rate].eval().constructor.filters(LENGTH)[0, 0]
    count = sum(p.numel() for p in tried[rate].parameters())
    return Found(missed(tried[rate], *fresh), k.diff().abs().sum().item(), int((k != 0).sum()), rate, count)


def main(quick: bool) -> str:
    torch.set_num_threads(1)
    steps, seeds = (3, 1) if quick else (300, 2)
    lines, means = [], {}
    for kind in KINDS:
        runs = {delay: [learnt(kind, delay, steps, seed) for seed in range(seeds)] for delay in DELAYS}
        means[kind] = [statistics.mean(one.error for one in runs[delay]) for delay in DELAYS]
        far = runs[DELAYS[-1]]
        rates = ", ".join(f"{one.rate:g}" for one in far)
        variation = f"{statistics.mean(one.variation for one in far):.2f}"
        taps = f"{statistics.mean(one.taps for one in far):.0f}"
        lines.append([kind, far[0].parameters, *(f"{error:.4f}" for error in means[kind]), variation, taps, rates])
    names = (*(f"error, delay {delay}" for delay in DELAYS), "total variation", "taps not 0", "rates")
    text = f"""# A delay learnt from noisy examples

{SIGNALS} signals of {LENGTH} samples of white noise, and the same {", ".join(map(str, DELAYS))} samples later under other noise of
{NOISE:g} of their size. One causal filter without a skip learns the delay in {steps} steps of Adam on all of them, one rate for all
its parameters; the rate is the best of {", ".join(f"{rate:g}" for rate in RATES)} on {SIGNALS // 2} noisy signals that are held
back. Error: on 64 fresh signals without noise, squared, as a share of what is wanted; the mean of {seeds}
draw{"s" * (seeds > 1)}. A filter of zeros has 1. Total variation, taps that are not 0 and rates are of the delay {DELAYS[-1]}; the
delay itself has total variation 2 and one tap.

{table(("filter", "parameters", *names), lines)}

Claimed: squashing makes free taps sparse and keeps them from learning the noise; smooth families make poor single taps."""
    if quick:
        return text
    plain, far = means["free taps, plain"][-1], {kind: error[-1] for kind, error in means.items()}
    below = [kind for kind in KINDS if kind.startswith(("squash", "smooth")) and far[kind] < 0.9 * plain]
    found = [kind for kind, error in far.items() if error < 0.1]
    missed_by = [kind for kind in far if far[kind] > 0.9]
    return f"""{text}

Here, at a delay of {DELAYS[-1]}, plain free taps miss {plain:.4f}; a tenth or more below them: {", ".join(below) or "none"}.
The delay is found, with an error below 0.1, by {", ".join(found) or "none"}; not at all, with one above 0.9, by
{", ".join(missed_by) or "none"}.

A tap that starts below its threshold has no gradient, and the first taps are drawn with standard deviation 0.02, fading: a squashed
filter whose one needed tap starts there never finds it, whatever the rate, which is what errors near 1 in one draw of two (a half
in the mean) look like. Most chose the largest rate; a still larger one might serve them better."""


if __name__ == "__main__":
    run("delay", main)
