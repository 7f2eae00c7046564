"""How much of the past a state holds: signals projected on polynomials by HiPPO memories of several sizes.

Band-limited noise of 1,000 samples goes through a memory sample by sample. What the last state stands for is compared with the
signal. Polynomials need π numbers for each cycle of a wave, so the error falls late and then at once: ten cycles take 31 numbers.
"""

import numpy as np
import torch
from numpy.polynomial import legendre

from faltung.nn.sequence import recall, remember
from recipe import run, table

SAMPLES, CYCLES, SIZES = 1000, 10, (8, 16, 32, 64, 128)


def noise(count: int) -> torch.Tensor:
    """Signals (count, samples) of up to that many cycles, normal amplitudes."""
    t = torch.arange(SAMPLES, dtype=torch.float64) / SAMPLES
    waves = 2 * torch.pi * torch.arange(1, CYCLES + 1)[:, None] * t
    basis = torch.cat([waves.sin(), waves.cos()])
    return torch.randn(count, len(basis), dtype=torch.float64) @ basis


def best(signal: torch.Tensor, size: int) -> torch.Tensor:
    """The nearest polynomials by least squares: what no memory of that size can better."""
    at = (np.arange(SAMPLES) + 0.5) / SAMPLES * 2 - 1
    basis = np.linalg.qr(legendre.legvander(at, size - 1))[0]
    return signal @ torch.from_numpy(basis @ basis.T)


def main(quick: bool) -> str:
    signal = noise(4 if quick else 64)
    lost = {}
    for size in SIZES[:3] if quick else SIZES:
        found = {
            "least squares": best(signal, size),
            "legs": recall(remember(signal, size)[:, -1], SAMPLES),
            "legt": recall(remember(signal, size, "legt", SAMPLES)[:, -1], SAMPLES, "legt"),
        }
        lost[size] = {name: ((back - signal).norm() / signal.norm()).item() for name, back in found.items()}
    legs = [errors["legs"] for errors in lost.values()]
    assert legs == sorted(legs, reverse=True)
    lines = [(size, *(f"{error:.2e}" for error in errors.values())) for size, errors in lost.items()]
    told = (
        "The projection is optimal at every size"
        if all(e["legs"] <= 1.05 * e["least squares"] + 1e-3 for e in lost.values())
        else "The memory falls short of the best polynomials at some size"
    )
    return f"""# What a HiPPO memory holds

{len(signal)} signals of {SAMPLES} samples, noise of up to {CYCLES} cycles; relative error of what the last state stands for.

{table(("numbers", "best polynomials", "legs, all of the past", "legt, a window of that length"), lines)}

The paper claims that LegS is the optimal projection of the whole past at all times, whatever its length. {told}; what
is left at the largest sizes is that samples are taken for steps. The window has to guess what leaves it from its own state, and
loses more."""


if __name__ == "__main__":
    run("hippo_memory", main)
