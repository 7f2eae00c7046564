"""A spoken sentence under noise: one long filter of each kind learns to remove it, beside the best filter that there is.

    python recipes/denoise_series.py [--quick]

Fu et al., Simple hardware-efficient long convolutions for sequence modeling (2023), for squashed taps; Wiener, Extrapolation,
interpolation, and smoothing of stationary time series (1949), for what is best.
"""

import time

import torch
from torch import Tensor

from faltung import data
from faltung import nn as ours
from recipe import run, table

TAPS, PIECE, HUM = 1024, 8192, 50.0


def recording(seed: int) -> tuple[Tensor, Tensor]:
    """(with noise, without): a sentence of 5.3 seconds, variance 1, under white noise, and hum of 50 Hz with its overtones."""
    clean = torch.from_numpy(data.sound()).float()
    clean = clean / clean.std()
    draw = torch.Generator().manual_seed(seed)
    t = torch.arange(len(clean)) / data.SOUND_RATE
    hum = sum(torch.sin(2 * torch.pi * (HUM * k * t + torch.rand(1, generator=draw))) / k for k in (1, 3, 5, 7))
    return clean + 0.5 * torch.randn(len(clean), generator=draw) + hum, clean


def gain(clean: Tensor, noisy: Tensor, filtered: Tensor) -> float:
    """By how many decibels the error has become smaller."""
    return 10 * torch.log10((noisy - clean).square().mean() / (filtered - clean).square().mean()).item()


def wiener(noisy: Tensor, clean: Tensor) -> Tensor:
    """The filter of 2·TAPS − 1 taps, as many on either side, with the least square error on these samples: normal equations."""
    n = 2 * len(noisy)
    a, b = torch.fft.rfft(noisy.double(), n), torch.fft.rfft(clean.double(), n)
    own, cross = torch.fft.irfft(a * a.conj(), n), torch.fft.irfft(b * a.conj(), n)
    lags = torch.arange(2 * TAPS - 1)
    matrix = own[(lags[:, None] - lags).abs()]
    wanted = cross[lags - (TAPS - 1)]
    return torch.linalg.solve(matrix, wanted)


def learnt(make: object, train: tuple, test: tuple, seconds: float) -> tuple[float, float, int, int]:
    """Gains on both recordings, parameters, and steps: pieces of the first, by Adam."""
    torch.manual_seed(0)
    layer = ours.SequenceConv(make(), "bidirectional")
    optimizer = torch.optim.AdamW(ours.param_groups(layer), lr=3e-3, weight_decay=0.0)
    noisy, clean = train
    steps, start = 0, time.process_time()
    while not steps or time.process_time() - start < seconds:
        at = torch.randint(len(noisy) - PIECE, (4,)).tolist()
        x, y = (torch.stack([a[n : n + PIECE] for n in at])[:, None] for a in (noisy, clean))
        optimizer.zero_grad()
        inner = slice(TAPS, -TAPS)  # near its ends a piece lacks neighbours that the recording has
        (layer(x) - y)[..., inner].square().mean().backward()
        optimizer.step()
        steps += 1
        if steps == 1:
            start = time.process_time()
    layer.eval()
    with torch.no_grad():
        gains = [gain(clean, noisy, layer(noisy[None, None])[0, 0]) for noisy, clean in (train, test)]
    return gains[0], gains[1], sum(p.numel() for p in layer.parameters()), steps


def main(quick: bool) -> str:
    torch.set_num_threads(1)  # threads that wait for each other would count as processor time
    seconds = 0.05 if quick else 10.0
    noisy, clean = recording(0)
    half = len(noisy) // 2
    train, test = (noisy[:half], clean[:half]), (noisy[half:], clean[half:])
    makers = {
        "free taps": lambda: ours.FreeFilter(1, TAPS, heads=2, squash=0.0, dropout=0.0),
        "free taps, squash 0.001": lambda: ours.FreeFilter(1, TAPS, heads=2, squash=0.001, dropout=0.0),
        "free taps, smooth over 7": lambda: ours.FreeFilter(1, TAPS, heads=2, squash=0.0, smooth=7, dropout=0.0),
        "SGConv pieces": lambda: ours.MultiScale(1, TAPS, piece=16, heads=2),
        "implicit": lambda: ours.ImplicitFilter(1, TAPS, heads=2),
        "S4D, 64 states": lambda: ours.DiagonalStateSpace(1, 64, heads=2, dt=(0.01, 0.01)),
        "moving averages, 16": lambda: ours.DampedMovingAverage(1, 16, heads=2),
        "free taps, 32": lambda: ours.FreeFilter(1, 32, heads=2, squash=0.0, dropout=0.0),
    }
    lines, found = [], {}
    for name, make in makers.items():
        seen, fresh, count, steps = learnt(make, train, test, seconds)
        found[name] = fresh
        lines.append([name, count, steps, f"{seen:.1f}", f"{fresh:.1f}"])
    for name, pair in (("Wiener filter of the first half", train), ("Wiener filter of the second half", test)):
        best = wiener(*pair).float()[None, None]
        gains = [
            gain(clean, noisy, ours.functional.conv(noisy[None, None], best.flip(-1), padding=TAPS - 1)[0, 0])
            for noisy, clean in (train, test)
        ]
        found[name] = gains[1]
        lines.append([name, 2 * TAPS - 1, "", f"{gains[0]:.1f}", f"{gains[1]:.1f}"])
    text = f"""# A sentence under noise

The embedded sound, {len(clean)} samples at {data.SOUND_RATE} a second, with white noise of half its size and a hum at {HUM:g} Hz
with overtones. One filter a direction, of at most {TAPS} taps, learns from pieces of {PIECE} samples of the first half for
{seconds:g} seconds of processor time; by how many decibels the error shrinks in that half, and in the second one, which it
never saw. The Wiener filters are the best of 2·{TAPS} − 1 taps for the half they are made from.

{table(("filter", "parameters", "steps", "first half, dB", "second half, dB"), lines)}

Claimed: squashing or smoothing free taps lets them generalise; structured filters need fewer parameters."""
    if quick:
        return text
    free = found["free taps"]
    helped = ", ".join(name for name in makers if name.startswith("free") and found[name] > free + 0.1) or "none"
    structured = [name for name in makers if not name.startswith("free")]
    best = max(structured, key=found.__getitem__)
    return f"""{text}

Here, on the half that was not seen, plain free taps gain {free:.1f} dB; a tenth of a decibel or more above them: {helped}.
Of the structured filters {best} comes best, {found[best]:.1f} dB;
the best filter for that half itself would reach {found["Wiener filter of the second half"]:.1f} dB, that of the first half reaches
{found["Wiener filter of the first half"]:.1f} dB there."""


if __name__ == "__main__":
    run("denoise_series", main)
