"""ConvNADE on binarised 8 × 8 digits, and on bars whose entropy is known: one network for every order of the pixels."""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from faltung.nn import Conv2d, OrderAgnosticLoss
from recipe import digits, run, table


class Small(nn.Sequential):
    """A convolutional path of 3 × 3 taps, valid and then full."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__(
            Conv2d(2, width, 3), nn.ReLU(), Conv2d(width, width, 3), nn.ReLU(),
            Conv2d(width, width, 3, padding=2), nn.ReLU(), Conv2d(width, 1, 3, padding=2),
        )  # fmt: skip


class Long(nn.Module):
    """A convolutional path whose kernels are as long as the picture: valid, so that each row and column becomes one place; these
    hear of all others by a mean; then full, back to the picture.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        across, down = (1, size), (size, 1)
        self.lines = nn.ModuleList(Conv2d(2, width, taps) for taps in (across, down))
        self.all = Conv2d(2 * width, width, 1)
        self.mixed = nn.ModuleList(Conv2d(2 * width, width, 1) for _ in range(2))
        full = ((0, size - 1), (size - 1, 0))
        self.back = nn.ModuleList(
            Conv2d(width, width, taps, padding=pad) for taps, pad in zip((across, down), full, strict=True)
        )
        self.last = nn.Sequential(nn.ReLU(), Conv2d(width, width, 1), nn.ReLU(), Conv2d(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        lines = [line(x).relu() for line in self.lines]
        total = self.all(torch.cat([line.mean((2, 3), keepdim=True) for line in lines], 1)).relu()
        told = [torch.cat([line, total.expand_as(line)], 1) for line in lines]
        found = [back(mix(line).relu()) for back, mix, line in zip(self.back, self.mixed, told, strict=True)]
        return self.last(found[0] + found[1])


class ConvNADE(nn.Module):
    """Paths on the same input (pixels that are shown, and which are), summed: convolutional ones, and a dense one if wanted."""

    def __init__(self, size: int, dense: int, *paths: nn.Module) -> None:
        super().__init__()
        self.paths, self.dense = nn.ModuleList(paths), None
        if dense:
            self.dense = nn.Sequential(
                nn.Flatten(), nn.Linear(2 * size**2, dense), nn.ReLU(), nn.Linear(dense, dense), nn.ReLU(),
                nn.Linear(dense, size**2), nn.Unflatten(1, (1, size, size)),
            )  # fmt: skip

    def forward(self, x: Tensor, observed: Tensor) -> Tensor:
        seen = torch.cat([x * observed, observed], 1)
        return sum(path(seen) for path in (*self.paths, *([] if self.dense is None else [self.dense])))


def train(model: ConvNADE, draw, steps: int, rate: float, batch: int = 100) -> ConvNADE:
    """Adam on the order-agnostic loss; `draw(count)` gives images."""
    loss, optimiser = OrderAgnosticLoss(), torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    for _ in range(steps):
        x = draw(batch)
        observed = loss.draw(x.shape).to(x)
        optimiser.zero_grad()
        loss(model(x, observed), x, observed).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def exact(model: ConvNADE, x: Tensor, orders: int) -> Tensor:
    """−log p of every image for each of some random orders (orders, images): as many passes an order as there are pixels."""
    found, pixels = [], x[0].numel()
    generator = torch.Generator().manual_seed(3)
    for _ in range(orders):
        observed, nats = torch.zeros_like(x), torch.zeros(len(x))
        for i in torch.randperm(pixels, generator=generator).tolist():
            logits = model(x, observed).flatten(1)
            nats += cross_entropy(logits[:, i], x.flatten(1)[:, i], reduction="none")
            observed.view(len(x), -1)[:, i] = 1
        found.append(nats)
    return torch.stack(found)


@torch.no_grad()
def estimated(model: ConvNADE, x: Tensor, rounds: int) -> float:
    """The order-agnostic loss over many masks."""
    loss, total = OrderAgnosticLoss(), 0.0
    generator = torch.Generator().manual_seed(4)
    for _ in range(rounds):
        observed = loss.draw(x.shape, generator).to(x)
        total += loss(model(x, observed), x, observed).item() / rounds
    return total


def ensemble(nats: Tensor) -> Tensor:
    """−log of the probability averaged over the orders."""
    return math.log(len(nats)) - torch.logsumexp(-nats, 0)


def bars(size: int) -> tuple[Tensor, Tensor]:
    """All images of horizontal or of vertical bars, each bar on or off, and their probabilities: all off and all on come twice."""
    weights: dict[tuple, float] = {}
    for on in itertools.product((0.0, 1.0), repeat=size):
        rows = torch.tensor(on)[:, None].expand(size, size)
        for image in (rows, rows.T):
            key = tuple(image.flatten().tolist())
            weights[key] = weights.get(key, 0.0) + 0.5 / 2**size
    return torch.tensor(list(weights)).reshape(-1, 1, size, size), torch.tensor(list(weights.values()))


def main(quick: bool) -> str:
    images, _, test, _ = digits(quick)
    images, test = (images > 0.5).float(), (test > 0.5).float()
    test = test[:30] if quick else test
    steps, orders = (10, 1) if quick else (1000, 4)
    lines = []
    p = images.mean(0).clamp(0.01, 0.99).expand(test.shape)
    alone = nn.functional.binary_cross_entropy(p, test, reduction="none").flatten(1).sum(1).mean().item()
    lines.append(["independent pixels", 64, "", f"{alone:.2f}", ""])
    for name, paths in (("dense path alone", ()), ("ConvNADE", (Small,))):
        torch.manual_seed(0)
        model = ConvNADE(8, 128, *(path(8, 32) for path in paths))
        train(model, lambda count: images[torch.randint(len(images), (count,))], steps, 2e-3)
        nats = exact(model, test, orders)
        count = sum(p.numel() for p in model.parameters())
        guess = f"{estimated(model, test, 5 if quick else 200):.2f}"
        lines.append([name, f"{count:,}", guess, f"{nats.mean():.2f}", f"{ensemble(nats).mean():.2f}"])
    helps = float(lines[2][3]) < float(lines[1][3])

    size, many = (5, 10) if quick else (6, 2000)
    patterns, weights = bars(size)
    entropy = -(weights * weights.log()).sum().item()
    toy_lines, gaps = [], []
    for name, dense, path, width in (
        ("3 × 3 taps, and dense", 256, Small, 32),
        ("as long as the picture", 0, Long, 64),
    ):
        torch.manual_seed(0)
        toy = ConvNADE(size, dense, path(size, width))
        train(toy, lambda count: patterns[torch.multinomial(weights, count, replacement=True)], many, 3e-3, 128)
        by_order = (exact(toy, patterns, 1 if quick else 8) * weights).sum(1)
        gaps.append(by_order.mean().item() - entropy)
        count = sum(p.numel() for p in toy.parameters())
        toy_lines.append([name, f"{count:,}", f"{by_order.mean():.3f}", f"{by_order.max():.3f}", f"{gaps[-1]:.3f}"])
    header = ("kernels", "parameters", "−log p, mean over orders", "worst of these orders", "above the entropy")
    claim = (
        "lowers the exact figure of the dense network: that claim is" if helps else "does not help: that claim is not"
    )
    reached = "is reached" if gaps[-1] < 0.05 else "is not reached"
    return f"""# ConvNADE on binarised digits and on bars

One network predicts every hidden pixel from any set of shown ones, trained on {len(images)} digits of 8 × 8, above one half or not,
for {steps} steps of Adam on the order-agnostic loss. Exact: the mean over {orders} random orders of −log p of {len(test)}
test digits, 64 passes an order; ensemble: the probability averaged over these orders. In nats.

{table(("model", "parameters", "order-agnostic estimate", "exact", "ensemble"), lines)}

Bars: {size} × {size} images of horizontal or vertical bars, each on or off, {len(patterns)} patterns of entropy {entropy:.3f};
{many} steps of 128 images. Every pixel of a bar follows from any other one, but only for a network that compares whole rows and
columns: kernels of 3 × 3 taps and a dense path learn that slowly, kernels that are as long as the picture have it built in.

{table(header, toy_lines)}

The paper: in the low eighties on binarised MNIST with an ensemble, against 84.68 of a dense network; the convolutional path helps.
Here it {claim} reproduced at this scale. The estimate agrees with the exact
figure, as an unbiased one must, and the entropy of the bars {reached} within 0.05 nats by the long kernels.
"""


if __name__ == "__main__":
    run("conv_nade", main)
