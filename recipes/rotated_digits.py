"""Digits turned by any angle: convolutions on p4, p4m and c8 beside a plain network with as many parameters.

    python recipes/rotated_digits.py [--quick]

Cohen and Welling, Group equivariant convolutional networks (2016); Weiler and Cesa, General E(2)-equivariant steerable CNNs (2019).
"""

import math
import statistics

import torch
from torch import Tensor, nn

from faltung.nn import GroupBatchNorm2d, GroupConv2d, GroupPool2d
from recipe import digits, run, table

GROUPS = {"plain": ("c1", 17), "p4": ("p4", 8), "p4m": ("p4m", 6), "c8, harmonics": ("c8", 9)}
"""The group, and how many fields a layer has, chosen for equal numbers of parameters."""


def turned(images: Tensor, angles: Tensor) -> Tensor:
    """Images of 8 × 8 pixels enlarged to 16 × 16 and turned."""
    c, s = torch.cos(angles), torch.sin(angles)
    zero = torch.zeros_like(c)
    matrix = torch.stack([torch.stack([c, -s, zero], 1), torch.stack([s, c, zero], 1)], 1) * 1.1
    grid = nn.functional.affine_grid(matrix, [len(images), 1, 16, 16], align_corners=False)
    return nn.functional.grid_sample(images, grid, mode="bicubic", align_corners=False)


def network(kind: str) -> nn.Module:
    """Lifting and two group convolutions, the maximum over group and places, a linear classifier."""
    group, fields = GROUPS[kind]
    filters = "harmonics" if "harmonics" in kind else "taps"

    def block(inner: int, in_type: str) -> list[nn.Module]:
        conv = GroupConv2d(inner, fields, 5, group, in_type, padding=2, bias=False, filters=filters)
        return [conv, GroupBatchNorm2d(fields, group), nn.ReLU()]

    body = [*block(1, "trivial"), nn.MaxPool2d(2), *block(fields, "regular"), *block(fields, "regular")]
    return nn.Sequential(
        *body, GroupPool2d(fields, group), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(fields, 10)
    )


def measured(kind: str, data: tuple, count: int, seed: int, epochs: int) -> tuple[float, float]:
    """Test accuracy, and the share of test digits whose answer is the same in all four quarter turns."""
    torch.manual_seed(seed)
    images, labels, test, truth = data
    images, labels = images[:count], labels[:count]
    model = network(kind)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    steps = epochs * math.ceil(count / 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    done = 0
    while done < steps:
        for batch in torch.randperm(count).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
            done += 1
    model.eval()
    with torch.no_grad():
        answers = torch.stack([model(torch.rot90(test, q, (2, 3))).argmax(1) for q in range(4)])
    right = (answers[0] == truth).float().mean().item()
    return 100 * right, 100 * (answers == answers[0]).all(0).float().mean().item()


def main(quick: bool) -> str:
    images, labels, test, truth = digits(quick)
    generator = torch.Generator().manual_seed(1)
    images, test = (turned(a, 2 * math.pi * torch.rand(len(a), generator=generator)) for a in (images, test))
    data = (images, labels, test, truth)
    counts, seeds, epochs = ((200,), 1, 1) if quick else ((300, 1437), 3, 10)
    lines, best = [], {}
    for kind in GROUPS:
        size = sum(p.numel() for p in network(kind).parameters())
        cells = []
        for count in counts:
            runs = [
                measured(kind, data, count, seed, epochs * (5 if count == 300 else 2) // 2) for seed in range(seeds)
            ]
            rights = [r for r, _ in runs]
            best[kind, count] = statistics.mean(rights)
            cells += [
                f"{statistics.mean(rights):.1f} ± {statistics.pstdev(rights):.1f}",
                f"{statistics.mean(s for _, s in runs):.1f}",
            ]
        lines.append([kind, size, *cells])
    header = ["network", "parameters"]
    for count in counts:
        header += [f"{count} digits: right", "same in 4 turns"]
    gains = ", ".join(
        f"{best[kind, count] - best['plain', count]:+.1f} ({kind}, {count})"
        for count in counts
        for kind in list(GROUPS)[1:]
    )
    return f"""# Rotated digits

The digits of UCI, enlarged to 16 × 16 pixels and turned by angles drawn from the whole circle, in training and test. Three
convolutions of 5 × 5 taps with batch norm and ReLU, the maximum over group and places, a linear classifier; numbers of fields
chosen for equal numbers of parameters. Accuracy on 360 test digits in percent, mean and deviation of {seeds} runs, and the share of
test digits that get the same answer in all four quarter turns. No data augmentation.

{table(header, lines)}

Claimed (rotated MNIST, 12,000 training digits): error 2.28 % for a p4 network and 5.03 % for a plain one of as many parameters;
steerable networks with more angles reach 0.7 %.

Here, in points over the plain network: {gains}.
A six and a nine are nearly the same digit to every network that is invariant. Answers of networks on groups with quarter turns are
the same in all four of them by construction."""


if __name__ == "__main__":
    run("rotated_digits", main)
