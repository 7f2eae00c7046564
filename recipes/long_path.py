"""Both ends of a path: pictures of 128 × 128 pixels read as one sequence of 16,384 samples, decided at its last sample.

    python recipes/long_path.py [--quick]

After the task Pathfinder-X of Tay et al., Long range arena: a benchmark for efficient transformers (2021).
"""

import torch
from torch import Tensor, nn

from faltung.nn import Conv1d
from recipe import LongBlock, train_for

SIDE, WIDTH, BATCH = 128, 16, 8
KINDS = ("free taps", "SGConv pieces", "implicit", "S4D", "moving averages")


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


def accuracy(make: object, seconds: float) -> tuple[float, int, int]:
    """The share of fresh pictures that are told right, parameters, and steps of training."""
    torch.manual_seed(0)
    model = Network(SequenceConv(make(), skip=False))

    def loss() -> Tensor:
        x, label = pictures(BATCH)
        return nn.functional.cross_entropy(model(x), label)

    steps = train_for(seconds, model, loss, 1e-2)
    model.eval()
    torch.manual_seed(1)
    right = 0
    with torch.no_grad():
        for _ in range(16):
            x, label = pictures(16)
            right += (model(x).argmax(1) == label).sum().item()
    return right / 256, sum(p.numel() for p in model.parameters()), steps
