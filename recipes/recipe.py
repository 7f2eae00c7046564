"""What all recipes share: a fixed seed, two threads, a clock, a table that is printed and kept, layers to compare.

A recipe is a script with `main(quick)`. It trains or measures something of a paper at toy scale, prints what came beside what the
paper claims, and writes the page `recipes/results/<name>.md`. `--quick` runs the same code for seconds and writes nothing: that
is what the tests call.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

RESULTS = Path(__file__).parent / "results"


def run(name: str, main: Callable[[bool], str]) -> None:
    """Call `main`, print the Markdown that it returns and keep it, unless the command line says --quick."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--quick", action="store_true", help="the same for seconds, nothing is written")
    quick = parser.parse_args().quick
    torch.manual_seed(0)
    torch.set_num_threads(2)
    text = main(quick).strip()
    # Processor time: on a machine with other work a wall clock would tell of that.
    text += f"\n\n`python recipes/{name}.py`, {time.process_time():.0f} s of processor time.\n"
    print(text)
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.md").write_text(text)


def table(header: Iterable[str], lines: Iterable[Iterable[Any]]) -> str:
    """A Markdown table."""
    names = list(header)
    body = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*body, *("| " + " | ".join(map(str, line)) + " |" for line in lines)])


def digits(quick: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The 1,797 handwritten digits of UCI, 8 × 8 in [0, 1]: (images, labels) to train on and to test on, 80 : 20."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.from_numpy(found.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(found.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    order = order[:400] if quick else order
    cut = len(order) * 4 // 5
    return images[order[:cut]], labels[order[:cut]], images[order[cut:]], labels[order[cut:]]


def halved(data: tuple[Tensor, ...], share: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training data (images, labels, ...) split once more: what to choose settings by is the last of so many shares."""
    images, labels = data[:2]
    cut = len(labels) * (share - 1) // share
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def constructors(channels: int, length: int) -> dict[str, Callable[[], nn.Module]]:
    """Makers of filters for signals of that length, by name: one of each kind that `faltung.nn.sequence` has."""
    from faltung import nn as ours

    return {
        "free taps": lambda: ours.FreeFilter(channels, length, dropout=0.1),
        "SGConv pieces": lambda: ours.MultiScale(channels, length, piece=16),
        "implicit": lambda: ours.ImplicitFilter(channels, length),
        "S4D": lambda: ours.DiagonalStateSpace(channels, 32, dt=(1 / length, 0.1)),
        "S4": lambda: ours.LowRankStateSpace(channels, 32, dt=(1 / length, 0.1)),
        "LSSL": lambda: ours.DenseStateSpace(channels, 16, method="krylov", dt=(1 / length, 0.1)),
        "moving averages": lambda: ours.MovingAverage(channels, times=(2.0, float(max(length, 2)))),
        "damped averages": lambda: ours.DampedMovingAverage(channels, 16),
    }


class LongBlock(nn.Module):
    """A residual block for signals (batch, channels, time): norm, then long filters, an activation and gates on their results.

    With `gated` the filters stand in a Hyena operator of order 2, where the signal itself gates between them.
    """

    def __init__(self, channels: int, length: int, make: Callable[[], nn.Module], gated: bool = False) -> None:
        super().__init__()
        from faltung import nn as ours

        self.norm = nn.GroupNorm(1, channels)
        if gated:
            self.mix: nn.Module = ours.Hyena(channels, length, constructor=lambda channels, length: make())
        else:
            self.mix = ours.SequenceBlock(ours.SequenceConv(make()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(self.norm(x))


def train_for(seconds: float, model: nn.Module, loss: Callable[[], Tensor], rate: float = 3e-3) -> int:
    """Train with AdamW for so many seconds of processor time, the first step not counted; returns the number of steps.

    A constructor's own learning rates hold for its parameters. The rate rises over the first tenth and falls to 0 at the end.
    """
    from faltung.nn import param_groups

    optimizer = torch.optim.AdamW(param_groups(model), lr=rate, weight_decay=0.01)
    full = [group["lr"] for group in optimizer.param_groups]
    steps, start = 0, 0.0
    while True:
        part = 0.0 if not steps else (time.process_time() - start) / seconds
        if part >= 1:
            return steps
        for group, most in zip(optimizer.param_groups, full, strict=True):
            group["lr"] = most * min(10 * part + 0.01, 1.0, 1.1 * (1 - part))
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
        if steps == 1:  # what is compiled first is not the model's
            start = time.process_time()


def tell_digits(
    model: nn.Module, seen: Callable[[Tensor], Tensor], data: tuple[Tensor, ...], seconds: float, rate: float
) -> tuple[float, int, int]:
    """Train on batches of 64 digits as the model sees them; the share of the others told right, parameters, steps of training."""
    images, labels, others, wanted = data

    def loss() -> Tensor:
        batch = torch.randint(len(images), (64,))
        return nn.functional.cross_entropy(model(seen(images[batch])), labels[batch])

    steps = train_for(seconds, model, loss, rate)
    model.eval()
    with torch.no_grad():
        right = (model(seen(others)).argmax(1) == wanted).float().mean().item()
    return right, sum(p.numel() for p in model.parameters()), steps
