"""How many samples a network needs to find a pattern that may stand anywhere: fully connected, locally connected, convolutional.

The task hides a unit vector in one of k patches of dimension d beneath noise; the label is its sign. The three networks differ in
what they know: nothing, where patches are, or that the patches are alike. Lahoti et al. (2024) bound the samples that they need.
"""

import math

import numpy as np
import torch
from torch import Tensor

from faltung import data, nn
from recipe import run, table

SIGMA, GOAL, SEEDS, TEST = 0.2, 0.9, 4, 1000
CLAIMED = {"FCN": ("σ²k²d", 2, 1), "LCN": ("σ²kd to σ²k(k+d)", 1, 1), "CNN": ("σ²(k+d)", None, None)}


class Dense(torch.nn.Module):
    """A fully connected layer for each seed, first values as those of the others: within 1/√(values seen)."""

    def __init__(self, units: int, size: int, seeds: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter((2 * torch.rand(seeds, units, size) - 1) / math.sqrt(size))

    def forward(self, x: Tensor) -> Tensor:
        return (x.transpose(0, 1) @ self.weight.mT).transpose(0, 1)


class Net(torch.nn.Module):
    """Several networks side by side, one for each seed: a hidden layer of k units, soft thresholds, their sum."""

    def __init__(self, kind: str, k: int, d: int, seeds: int) -> None:
        super().__init__()
        common = {"groups": seeds, "bias": False}
        if kind == "CNN":
            self.hidden = nn.Conv1d(seeds, seeds, d, stride=d, **common)
        elif kind == "LCN":
            self.hidden = nn.LocallyConnected1d(seeds, seeds, d, k * d, stride=d, **common)
        else:
            self.hidden = Dense(k, k * d, seeds)
        self.threshold = torch.nn.Parameter(torch.zeros(seeds, 1))

    def forward(self, x: Tensor) -> Tensor:
        z = self.hidden(x).reshape(x.shape[0], x.shape[1], -1)
        return (torch.relu(z - self.threshold) - torch.relu(-z - self.threshold)).sum(-1)


def samples(n: int, k: int, d: int, start: int) -> tuple[Tensor, Tensor]:
    """Inputs (n, seeds, k·d) and labels (n, seeds), with a pattern of its own for each seed."""
    drawn = []
    for seed in range(SEEDS):
        signal = data.dynamic_signal(0, k, d, seed=seed)[2]
        drawn.append(data.dynamic_signal(n, k, d, SIGMA, signal, start + seed)[:2])
    x, y = (torch.from_numpy(np.stack(a, 1)).float() for a in zip(*drawn, strict=True))
    return x, y


def accuracy(kind: str, n: int, k: int, d: int, steps: int) -> float:
    """Mean over the seeds of the accuracy on new samples after training on n."""
    torch.manual_seed(n)
    net = Net(kind, k, d, SEEDS)
    x, y = samples(n, k, d, 1000)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.softplus(-y * net(x)).mean(0).sum().backward()
        optimiser.step()
        with torch.no_grad():
            net.threshold.clamp_(min=0)
    x, y = samples(TEST, k, d, 2000)
    with torch.no_grad():
        return ((net(x) > 0) == (y > 0)).float().mean().item()


def needed(kind: str, k: int, d: int, steps: int, most: int) -> float:
    """Samples for the goal, read off between the sizes tried; NaN beyond `most`."""
    n, before = 2, None
    while n <= most:
        found = accuracy(kind, n, k, d, steps)
        if found >= GOAL:
            if before is None:
                return float(n)
            share = (GOAL - before[1]) / (found - before[1])
            return before[0] * (n / before[0]) ** share
        n, before = n * 2, (n, found)
    return math.nan


def best_possible(k: int, sigma: float) -> float:
    """The accuracy of the best rule, which knows the pattern, by drawing a hundred thousand samples."""
    x, y, _ = data.dynamic_signal(100_000, k, 1, sigma, np.ones(1), 1)
    odds = np.logaddexp.reduce(x / sigma**2, axis=1) - np.logaddexp.reduce(-x / sigma**2, axis=1)
    return float(((odds > 0) == (y > 0)).mean())


def slope(sizes: list[int], counts: list[float]) -> float:
    """Of the straight line through the logarithms."""
    good = [(math.log(s), math.log(c)) for s, c in zip(sizes, counts, strict=True) if not math.isnan(c)]
    return float(np.polyfit(*zip(*good, strict=True), 1)[0]) if len(good) > 1 else math.nan


def main(quick: bool) -> str:
    ks, ds = ([4, 8], [8, 16]) if quick else ([4, 8, 16, 32], [8, 16, 32, 64])
    steps, most = (40, 128) if quick else (60, 4096)
    fixed_k, fixed_d = 8, 16
    found = {
        (kind, k, d): needed(kind, k, d, steps, most)
        for kind in CLAIMED
        for k, d in {(k, fixed_d) for k in ks} | {(fixed_k, d) for d in ds}
    }
    lines, slopes = [], {}
    for kind, (claim, in_k, in_d) in CLAIMED.items():
        over_k, over_d = [found[kind, k, fixed_d] for k in ks], [found[kind, fixed_k, d] for d in ds]
        slopes[kind] = slope(ks, over_k), slope(ds, over_d)
        figures = [f"> {most}" if math.isnan(value) else f"{value:.0f}" for value in (*over_k, *over_d)]
        wanted = "at most 1 each" if in_k is None else f"{in_k} and {in_d}"
        lines.append([kind, *figures, f"{slopes[kind][0]:.2f}", f"{slopes[kind][1]:.2f}", claim, wanted])
    header = ["network", *(f"k={k}, d={fixed_d}" for k in ks), *(f"k={fixed_k}, d={d}" for d in ds)]
    header += ["slope in k", "slope in d", "bound", "slopes of the (lower) bound"]
    gap = slopes["LCN"][0] - slopes["CNN"][0]
    ordered = slopes["CNN"][0] < slopes["LCN"][0] < slopes["FCN"][0]
    verdict = "reproduced" if ordered and gap >= 0.5 else "partly reproduced" if ordered else "not reproduced"
    possible = ", ".join(f"{best_possible(k, SIGMA):.3f} for k={k}" for k in ks)
    k, last = ks[0], ks[-1]
    return f"""# Samples needed with and without locality and weight sharing

Samples on which the mean test accuracy of {SEEDS} networks reaches {GOAL:.0%}, noise σ={SIGMA}, {steps} steps of Adam on the whole
training set, thresholds learnt from 0, at most {most} samples; slopes are over the sizes for which these sufficed. With σ=1 no
rule reaches that goal: the best one, which knows the pattern, has an accuracy of {best_possible(k, 1.0):.3f} for k={k} and
{best_possible(last, 1.0):.3f} for k={last}; with σ={SIGMA} it has {possible}.

{table(header, lines)}

Claimed: slopes in k in the order CNN < LCN < FCN, and LCN less CNN at least 0.5. Found: {slopes["CNN"][0]:.2f},
{slopes["LCN"][0]:.2f} and {slopes["FCN"][0]:.2f}, a gap of {gap:.2f}. At this scale the ordering is {verdict}."""


if __name__ == "__main__":
    run("sample_complexity", main)
