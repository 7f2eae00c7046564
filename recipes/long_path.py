"""Both ends of a path: pictures of 128 × 128 pixels read as one sequence of 16,384 samples, decided at its last sample.

    python recipes/long_path.py [--quick]

After the task Pathfinder-X of Tay et al., Long range arena: a benchmark for efficient transformers (2021).
"""

import os

import torch
from torch import Tensor, nn

from faltung.nn import Conv1d, MultiScale, SequenceConv
from recipe import constructors, run, table, train_for

SIDE, WIDTH, BATCH = 128, 16, 8
HEADS = 4  # of the attention that it is compared with
KINDS = ("free taps", "implicit", "S4D", "moving averages")


def pictures(count: int) -> tuple[Tensor, Tensor]:
    """(rows of pixels one after the other, label): a path from top to bottom, and whether its two ends are of one colour.

    The path wanders at random through noise. Its first four rows are bright or dark, its last four too, at random: what is to be
    compared lies some 16,000 samples apart.
    """
    x = 0.05 * torch.randn(count, SIDE, SIDE)
    path = torch.randint(32, SIDE - 32, (count, 1)) + torch.randint(-1, 2, (count, SIDE)).cumsum(1)
    path = path.clamp(1, SIDE - 2)
    sample, row = torch.arange(count)[:, None], torch.arange(SIDE)
    ends = 2.0 * torch.randint(2, (count, 2)) - 1
    strength = torch.full((count, SIDE), 0.3)
    strength[:, :4], strength[:, -4:] = 2 * ends[:, :1], 2 * ends[:, 1:]
    for aside in (-1, 0, 1):
        x[sample, row, path + aside] += strength
    return x.flatten(1), (ends[:, 0] == ends[:, 1]).long()


class Network(nn.Module):
    """Pixels to channels, a long filter for each, and a label from what the filters hold at the last sample.

    What filters give is brought to size 1 over time: memories as long as this start out tiny.
    """

    def __init__(self, mix: nn.Module) -> None:
        super().__init__()
        self.first, self.mix, self.norm = Conv1d(1, WIDTH, 1), mix, nn.GroupNorm(WIDTH, WIDTH)
        self.last = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.mix(self.first(x[:, None])))[..., -1])


def accuracy(make: object, seconds: float, fresh: int) -> tuple[float, int, int]:
    """The share of fresh pictures that are told right, parameters, and steps of training."""
    torch.manual_seed(0)
    model = Network(make())

    def loss() -> Tensor:
        x, label = pictures(BATCH)
        return nn.functional.cross_entropy(model(x), label)

    steps = train_for(seconds, model, loss, 1e-2)
    model.eval()
    torch.manual_seed(1)
    right = 0
    with torch.no_grad():
        for _ in range(fresh):
            x, label = pictures(16)
            right += (model(x).argmax(1) == label).sum().item()
    return right / (16 * fresh), sum(p.numel() for p in model.parameters()), steps


class Near(nn.Module):
    """What long filters are held against: filters of as many taps as a row has pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = SequenceConv(constructors(WIDTH, SIDE)["free taps"](), skip=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.filter(x)


def main(quick: bool) -> str:
    torch.set_num_threads(1)  # threads that wait for each other would count as processor time
    seconds, fresh = (0.05, 1) if quick else (30.0, 16)
    length = SIDE * SIDE
    makers = {name: lambda name=name: SequenceConv(constructors(WIDTH, length)[name](), skip=False) for name in KINDS}
    # By default a piece is half as strong as the one before: after eleven pieces nothing is left for the far end.
    pieces = {"piece": 16, "decay": (1.0, 2.0)}
    makers["SGConv pieces, slow decay"] = lambda: SequenceConv(MultiScale(WIDTH, length, **pieces), skip=False)
    makers[f"near: {SIDE} taps"] = Near
    lines, found = [], {}
    for name, make in makers.items():
        right, count, steps = accuracy(make, seconds, fresh)
        found[name] = right
        lines.append([name, count, steps, f"{right:.3f}"])
    weights = 4 * length**2 * BATCH * HEADS
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    verdict = "more" if weights > memory else "no more"
    text = f"""# Both ends of a path

Pictures of {SIDE} × {SIDE} pixels, read as one sequence of {length:,} samples. A path wanders from top to bottom through noise; its
first four rows are bright or dark, and its last four. Are both ends of one colour? A pointwise layer, one long causal filter for
each of {WIDTH} channels, and a small network on what these hold at the last sample: nothing is averaged over time. {seconds:g}
seconds of processor time on fresh pictures, {BATCH} at a time; accuracy on {16 * fresh} others, 0.5 is a guess.

{table(("filters", "parameters", "steps", "accuracy"), lines)}

A layer of attention with {HEADS} heads, in single precision, would have {length:,}² · {BATCH} · {HEADS} weights of 4 bytes for
such a batch: {weights:,} bytes, kept for the derivative, and as many again for the derivative itself. That is {verdict} than the
{memory:,} bytes of memory that this machine has. (Implementations that never keep the weights need no such memory, but as
many products.) The results of the long filters are {4 * BATCH * WIDTH * length:,} bytes.

Claimed: filters over the whole sequence learn Pathfinder-X, on which attention failed; this task is a much simpler relative."""
    if quick:
        return text
    learnt = [name for name, right in found.items() if right > 0.9]
    missed = [name for name in found if name not in learnt]
    return f"""{text}

Learnt in this time, at more than 90 %: {", ".join(learnt) or "by none"}. Not: {", ".join(missed) or "none"}.

Two harder versions of the task were not learnt within the budget; this one was."""


if __name__ == "__main__":
    run("long_path", main)
