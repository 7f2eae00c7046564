"""Operators from examples: heat that spreads and waves that steepen, by networks in the frequency domain and by a plain one.

    python recipes/heat_operator.py [--quick]

After Poli et al., Transform once: efficient operator learning in frequency domain (2022), and Li et al., Fourier neural operator
for parametric partial differential equations (2021). Burgers' equation is solved by the heat equation: Hopf, The partial
differential equation u_t + u u_x = μ u_xx (1950).
"""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from faltung.nn import T1, Conv1d, SpectralConv
from recipe import run, table, train_for

SAMPLES, TERMS, FINE = 64, 6, 800
RATES = (1e-3, 3e-3, 1e-2)
SPREAD, VISCOSITY, TIME = 0.01, 0.01, 0.25  # SPREAD: conductivity times time
WIDTH, DEPTH = 24, 4


def places(samples: int) -> Tensor:
    """The middles of the cells of [0, 1]."""
    return (torch.arange(samples, dtype=torch.float64) + 0.5) / samples


def heat(weights: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """(before, after): a bar with insulated ends and a temperature of a few cosines, exact at any sampling."""
    k = torch.arange(1, TERMS + 1, dtype=torch.float64)
    waves = torch.cos(math.pi * k[:, None] * places(samples))
    return weights @ waves, (weights * torch.exp(-SPREAD * (math.pi * k) ** 2)) @ waves


def burgers(weights: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """(before, after) of u_t + u u_x = ν u_xx with u = 0 at both ends, by Hopf's integral on a fine grid.

    u(x, T) is the mean of (x − y) / T over all y, weighted with exp(−U(y) / 2ν − (x − y)² / 4νT), where U is the integral of u at
    the start, continued evenly beyond both ends.
    """
    k, x = torch.arange(1, TERMS + 1, dtype=torch.float64), places(samples)[:, None]
    y = 3 * places(3 * FINE) - 1
    potential = (weights / (math.pi * k)) @ (1 - torch.cos(math.pi * k[:, None] * y))
    after = []
    for some in potential.split(20):
        share = torch.softmax(-some[:, None] / (2 * VISCOSITY) - (x - y) ** 2 / (4 * VISCOSITY * TIME), -1)
        after.append((share * (x - y)).sum(-1) / TIME)
    return weights @ torch.sin(math.pi * k[:, None] * x.T), torch.cat(after)


def drawn(operator: Callable, count: int, seed: int, samples: int = SAMPLES) -> tuple[Tensor, Tensor]:
    """Pairs (count, 1, samples) of random amplitudes, falling with the frequency; the same functions at every sampling."""
    draw = torch.Generator().manual_seed(seed)
    weights = torch.randn(count, TERMS, generator=draw, dtype=torch.float64) / torch.arange(1, TERMS + 1) ** 0.5
    return tuple(t[:, None].float() for t in operator(0.5 * weights, samples))


class Spectral(nn.Module):
    """Layers that mix low frequencies, beside pointwise ones; the place is a second channel of the input."""

    def __init__(self, basis: str) -> None:
        super().__init__()
        self.first = Conv1d(2, WIDTH, 1)
        self.mixed = nn.ModuleList([SpectralConv(1, WIDTH, WIDTH, 16, basis) for _ in range(DEPTH)])
        self.near = nn.ModuleList([Conv1d(WIDTH, WIDTH, 1) for _ in range(DEPTH)])
        self.last = nn.Sequential(Conv1d(WIDTH, 64, 1), nn.GELU(), Conv1d(64, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(placed(x))
        for mixed, near in zip(self.mixed, self.near, strict=True):
            x = nn.functional.gelu(mixed(x) + near(x))
        return self.last(x)


class Plain(nn.Module):
    """Residual convolutions of nine taps, as many layers as reach from one end to the other; the place is a channel, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Conv1d(2, WIDTH, 1)
        self.layers = nn.ModuleList([Conv1d(WIDTH, WIDTH, 9, padding="same") for _ in range(2 * DEPTH)])
        self.last = nn.Sequential(Conv1d(WIDTH, 64, 1), nn.GELU(), Conv1d(64, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(placed(x))
        for layer in self.layers:
            x = x + nn.functional.gelu(layer(x))
        return self.last(x)


def placed(x: Tensor) -> Tensor:
    return torch.cat([x, places(x.shape[-1]).to(x.dtype).expand_as(x)], 1)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "T1": lambda: T1(1, 1, 1, 24, WIDTH, DEPTH),
    "SpectralConv, Fourier": lambda: Spectral("fourier"),
    "SpectralConv, cosines": lambda: Spectral("dct"),
    "plain CNN": Plain,
}


def off(found: Tensor, wanted: Tensor) -> Tensor:
    """The error of each result as a share of its size, in the mean."""
    return ((found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)).mean()


def trained(name: str, data: tuple[Tensor, Tensor], seconds: float, rate: float, seed: int) -> tuple[nn.Module, int]:
    torch.manual_seed(seed)
    model, (x, y) = MODELS[name](), data

    def loss() -> Tensor:
        batch = torch.randint(len(x), (32,))
        return off(model(x[batch]), y[batch])

    steps = train_for(seconds, model, loss, rate)
    return model.eval(), steps


@torch.no_grad()
def milliseconds(model: nn.Module, x: Tensor, calls: int) -> float:
    """Of processor time, of a call."""
    model(x)
    start = time.process_time()
    for _ in range(calls):
        model(x)
    return 1000 * (time.process_time() - start) / calls


def main(quick: bool) -> str:
    torch.set_num_threads(1)  # threads that wait for each other would count as processor time
    seconds, count, rates = (0.05, 32, RATES[:1]) if quick else (6.0, 1000, RATES)
    errors, counts, clocks, steps_of, rates_of = {}, {}, {}, {}, {}
    for operator in (heat, burgers):
        train, held = drawn(operator, count, 1), drawn(operator, count // 4, 2)
        tests = [drawn(operator, count // 4, 3, samples) for samples in (SAMPLES, 2 * SAMPLES)]
        for name in MODELS:
            tried = {rate: trained(name, train, seconds, rate, 0) for rate in rates}
            with torch.no_grad():
                rate = min(tried, key=lambda rate: off(tried[rate][0](held[0]), held[1]).item())
                model, steps = tried[rate]
                errors[operator, name] = [off(model(x), y).item() for x, y in tests]
            counts[name] = sum(p.numel() for p in model.parameters())
            clocks[name] = milliseconds(model, held[0][:32], 2 if quick else 20)
            steps_of[operator, name], rates_of[operator, name] = steps, rate
    lines = [
        [name, counts[name], f"{clocks[name]:.1f}"]
        + [cell for op in (heat, burgers) for cell in (
            rates_of[op, name], steps_of[op, name], *(f"{error:.4f}" for error in errors[op, name]))]
        for name in MODELS
    ]  # fmt: skip
    header = ["network", "parameters", "ms a batch of 32"]
    for word in ("heat", "Burgers"):
        header += [f"{word}: rate", "steps", f"error, {SAMPLES} samples", f"{2 * SAMPLES} samples"]
    text = f"""# Operators from examples

Functions on [0, 1], sampled at {SAMPLES} middles of cells, to what becomes of them: heat in a bar with insulated ends (the first
{TERMS} cosines; conductivity times time {SPREAD:g}; exact), and Burgers' equation with viscosity {VISCOSITY:g}, u = 0 at both ends,
after {TIME:g} units of time (from {TERMS} sines, by Hopf's integral over {FINE} places a unit).
{count} pairs to learn from, {count // 4} to choose the rate of learning by from {", ".join(f"{rate:g}" for rate in rates)}, and
{count // 4} others to test on once, also sampled twice as finely, which no network was trained on. {seconds:g} seconds of processor
time each, on as many batches of 32 as that allows; error as a share of the size of the result, in the mean. All have width {WIDTH}
and take the place as an input.

{table(header, lines)}

Claimed: learning among cosine coefficients, transformed once, is faster and closer than layers that transform there and back, and
networks on frequencies keep their predictions at another resolution."""
    if quick:
        return text
    said = []
    for op, word in ((heat, "heat"), (burgers, "Burgers")):
        order = sorted(MODELS, key=lambda name: errors[op, name][0])
        kept = [name for name in MODELS if errors[op, name][1] < 1.5 * errors[op, name][0]]
        said.append(
            f"{word}: from the closest, {', '.join(f'{name} {errors[op, name][0]:.4f}' for name in order)}; "
            f"within half as much again at twice the resolution: {', '.join(kept) or 'none'}."
        )
    text += "\n\nHere, " + "\n".join(said)
    return text + "\nOne training each; differences of a few per cent say nothing."


if __name__ == "__main__":
    run("heat_operator", main)
