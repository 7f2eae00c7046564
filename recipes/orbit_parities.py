"""Functions that every shift leaves alone and that no gradient finds: orbit parities, orthonormal and exponential in number.

    python recipes/orbit_parities.py [--quick]

Kiani, Le, Lawrence, Jegelka and Weber, On the hardness of learning under symmetries (2024).
"""

import itertools
import math
import statistics

import torch
from torch import Tensor, nn

from faltung.nn import Conv1d
from faltung.tools import symmetrise
from recipe import run, table

BITS = 16
CHOSEN = {1: (0,), 2: (0, 3), 8: (0, 1, 3, 4, 7, 9, 10, 12)}
"""Which bits are multiplied, for each number of them: the first of their orbit."""


def orbits(n: int) -> list[list[tuple[int, ...]]]:
    """The subsets of n places, as orbits under rotation."""
    seen: set[tuple[int, ...]] = set()
    found = []
    for size in range(n + 1):
        for subset in itertools.combinations(range(n), size):
            if subset not in seen:
                orbit = sorted({tuple(sorted((i + t) % n for i in subset)) for t in range(n)})
                seen.update(orbit)
                found.append(orbit)
    return found


def parities(bits: Tensor, subsets: list[tuple[int, ...]]) -> Tensor:
    """`|O|^(−1/2) Σ over the orbit's subsets S of Π over i in S of x_i`, one number for each row of ±1."""
    terms = [bits[:, list(subset)].prod(1) for subset in subsets]
    return torch.stack(terms).sum(0) / math.sqrt(len(subsets))


def gram_error(n: int) -> tuple[int, float]:
    """How many orbits there are, and the largest deviation of their Gram matrix over all 2ⁿ inputs from the identity."""
    every = torch.tensor(list(itertools.product((1.0, -1.0), repeat=n)), dtype=torch.float64)
    found = orbits(n)
    matrix = torch.stack([parities(every, orbit) for orbit in found])
    gram = matrix @ matrix.T / 2**n
    return len(found), float((gram - torch.eye(len(found), dtype=torch.float64)).abs().max())


class Unflat(nn.Module):
    """Signals (batch, 1, n) from rows."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1)


def network(kind: str, wide: int) -> nn.Module:
    """Three networks that no shift changes: convolutional, averaged over all shifts, and with one frame for each input."""
    if kind == "convolutional":
        around = {"padding": "same", "padding_mode": "circular"}
        body = [Conv1d(1, wide, BITS, **around), nn.ReLU(), Conv1d(wide, wide, 1), nn.ReLU()]
        return nn.Sequential(Unflat(), *body, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(wide, 1))
    inner = nn.Sequential(
        nn.Flatten(), nn.Linear(BITS, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, 1)
    )
    return nn.Sequential(Unflat(), symmetrise(inner, "shift", 1, invariant=True, frame=kind == "one frame"))


def explained(kind: str, size: int, steps: int, seed: int, wide: int) -> float:
    """The share of the target's variance that a network explains on new inputs after so many steps on fresh ones."""
    torch.manual_seed(seed)
    model = network(kind, wide)
    orbit = sorted({tuple(sorted((i + t) % BITS for i in CHOSEN[size])) for t in range(BITS)})
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    for _ in range(steps):
        x = torch.randint(0, 2, (128, BITS)) * 2.0 - 1
        optimizer.zero_grad()
        (model(x)[:, 0] - parities(x, orbit)).square().mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        x = torch.randint(0, 2, (4096, BITS)) * 2.0 - 1
        wanted = parities(x, orbit)
        return 1 - ((model(x)[:, 0] - wanted).square().mean() / wanted.var()).item()


def main(quick: bool) -> str:
    lines = []
    for n in (4, 8) if quick else (4, 8, 12):
        count, error = gram_error(n)
        lines.append([n, count, f"{2**n / n:.0f}", f"{error:.0e}"])
    steps, seeds, wide = (20, 1, 16) if quick else (250, 2, 64)
    kinds = ("convolutional", "averaged over shifts", "one frame")
    trained, shares = [], {}
    for kind in kinds:
        for size in CHOSEN:
            shares[kind, size] = statistics.mean(explained(kind, size, steps, seed, wide) for seed in range(seeds))
        trained.append([kind, *(f"{shares[kind, size]:.2f}" for size in CHOSEN)])
    low = min(shares["convolutional", size] for size in (1, 2))
    high = max(share for (_, size), share in shares.items() if size == 8)
    verdict = "seen" if low > 0.9 and high < 0.1 else "partly seen" if low > high + 0.3 else "not seen"
    return f"""# Parities that no shift changes

For an orbit O of sets of places of a ring under rotation, `f_O = |O|^(−1/2) Σ over S in O of Π over i in S of x_i` on ±1ⁿ.
They do not change when the ring is turned, and they are exactly orthonormal, over all 2ⁿ inputs; there are at least 2ⁿ/n of
them, and no method that only asks how its guesses correlate with the target can tell so many orthonormal functions apart in
less than exponential time.

{table(["n", "orbits", "2ⁿ / n", "largest entry of Gram matrix − 1"], lines)}

Networks that no shift changes, trained on one of these functions of {BITS} bits, {steps} steps of Adam on 128 fresh inputs
each, mean of {seeds} runs: the share of the variance that they explain on new inputs (1 all, 0 nothing).

{table(["network", *(f"products of {size}" for size in CHOSEN)], trained)}

Claimed: learning by gradients is superpolynomial in the worst case for networks with symmetry, as for those without.

Here: products of one and two bits are learnt by the convolutional network (at least {low:.2f}), products of eight by none (at most
{high:.2f}): the hardness is {verdict} at this size. Symmetry makes the class of functions smaller by n, not by enough."""


if __name__ == "__main__":
    run("orbit_parities", main)
