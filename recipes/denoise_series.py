"""A spoken sentence under noise: one long filter of each kind learns to remove it, beside the best filter that there is.

    python recipes/denoise_series.py [--quick]

Fu et al., Simple hardware-efficient long convolutions for sequence modeling (2023), for squashed taps; Wiener, Extrapolation,
interpolation, and smoothing of stationary time series (1949), for what is best.
"""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from faltung import data
from faltung import nn as ours
from recipe import run, table

TAPS, PIECE, HUM = 1024, 8192, 50.0
RATES = (1e-3, 3e-3, 1e-2)
KINDS: dict[
    str, dict[str, Callable[[], ours.FilterConstructor]]
] = {  # every kind, and the settings that it may choose from
    "free taps": {"": lambda: ours.FreeFilter(1, TAPS, heads=2, squash=0.0, dropout=0.0)},
    "free taps, squash 0.001": {"": lambda: ours.FreeFilter(1, TAPS, heads=2, squash=0.001, dropout=0.0)},
    "free taps, smooth over 7": {"": lambda: ours.FreeFilter(1, TAPS, heads=2, squash=0.0, smooth=7, dropout=0.0)},
    "SGConv pieces": {"": lambda: ours.MultiScale(1, TAPS, piece=16, heads=2)},
    "implicit": {"": lambda: ours.ImplicitFilter(1, TAPS, heads=2)},
    "S4D, 64 states": {
        f"dt {dt:g}": lambda dt=dt: ours.DiagonalStateSpace(1, 64, heads=2, dt=(dt, dt)) for dt in (0.003, 0.01, 0.03)
    },
    "moving averages, 16": {"": lambda: ours.DampedMovingAverage(1, 16, heads=2)},
    "free taps, 32": {"": lambda: ours.FreeFilter(1, 32, heads=2, squash=0.0, dropout=0.0)},
}


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


def wiener(noisy: Tensor, clean: Tensor, back: int, ahead: int) -> Tensor:
    """Taps from `ahead` samples ahead to `back` samples ago, with the least square error on these samples: normal equations."""
    n = 2 * len(noisy)
    a, b = torch.fft.rfft(noisy.double(), n), torch.fft.rfft(clean.double(), n)
    own, cross = torch.fft.irfft(a * a.conj(), n), torch.fft.irfft(b * a.conj(), n)
    lags = torch.arange(ahead + back + 1)
    return torch.linalg.solve(own[(lags[:, None] - lags).abs()], cross[lags - ahead])


def learnt(make: Callable, rate: float, train: tuple, seconds: float) -> tuple[ours.SequenceConv, int]:
    """The layer and its steps of Adam on pieces of a recording, one rate for all that is learnt."""
    torch.manual_seed(0)
    layer = ours.SequenceConv(make(), "bidirectional")
    optimizer = torch.optim.Adam(layer.parameters(), rate)
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
    return layer.eval(), steps


def main(quick: bool) -> str:
    torch.set_num_threads(1)  # threads that wait for each other would count as processor time
    seconds, rates = (0.05, RATES[:1]) if quick else (6.0, RATES)
    noisy, clean = recording(0)
    half, last = len(noisy) // 2, len(noisy) * 3 // 4
    train, held, test = ((noisy[part], clean[part]) for part in (slice(half), slice(half, last), slice(last, None)))
    lines, found = [], {}
    for name, settings in KINDS.items():
        best, told = -math.inf, ()
        for setting, make in settings.items():
            for rate in rates:
                layer, steps = learnt(make, rate, train, seconds)
                with torch.no_grad():
                    gains = [gain(c, n, layer(n[None, None])[0, 0]) for n, c in (train, held)]
                if gains[1] > best:
                    best, told = gains[1], (layer, ", ".join(filter(None, (f"{rate:g}", setting))), steps, gains)
        layer, chosen, steps, gains = told
        with torch.no_grad():
            found[name] = gain(test[1], test[0], layer(test[0][None, None])[0, 0])
        count = sum(p.numel() for p in layer.parameters())
        lines.append([name, count, chosen, steps, *(f"{g:.1f}" for g in (*gains, found[name]))])
    for name, pair in (("Wiener filter of the first half", train), ("Wiener filter of the last quarter", test)):
        best = wiener(*pair, TAPS - 1, TAPS - 1).float()[None, None]
        gains = [
            gain(c, n, ours.functional.conv(n[None, None], best.flip(-1), padding=TAPS - 1)[0, 0])
            for n, c in (train, held, test)
        ]
        found[name] = gains[2]
        lines.append([name, 2 * TAPS - 1, "", "", *(f"{g:.1f}" for g in gains)])
    header = ("filter", "parameters", "rate", "steps", "first half, dB", "third quarter, dB", "last quarter, dB")
    text = f"""# A sentence under noise

The embedded sound, {len(clean)} samples at {data.SOUND_RATE} a second, with white noise of half its size and a hum at {HUM:g} Hz
with overtones. One filter a direction, of at most {TAPS} taps, learns from pieces of {PIECE} samples of the first half for
{seconds:g} seconds of processor time; by how many decibels the error shrinks. The rate of learning, one of
{", ".join(f"{rate:g}" for rate in rates)} for all that is learnt, and the step dt of S4D, one of 0.003, 0.01 and 0.03, are those
with the largest gain on the third quarter; the last quarter was looked at once, with these. {TAPS} taps are three periods of the
hum and a little more; they, thresholds and windows are as in an earlier version of this recipe, whose table was of the second half.
The Wiener filters are the best of 2·{TAPS} − 1 taps for the part they are made from.

{table(header, lines)}

Claimed: squashing or smoothing free taps lets them generalise; structured filters need fewer parameters."""
    if quick:
        return text
    free = found["free taps"]
    helped = ", ".join(name for name in KINDS if name.startswith("free") and found[name] > free + 0.1) or "none"
    structured = [name for name in KINDS if not name.startswith("free")]
    best = max(structured, key=found.__getitem__)
    return f"""{text}

Here, on the quarter that nothing was chosen by, plain free taps gain {free:.1f} dB; a tenth of a decibel or more above them:
{helped}.
Of the structured filters {best} comes best, {found[best]:.1f} dB;
the best filter for that quarter itself would reach {found["Wiener filter of the last quarter"]:.1f} dB, that of the first half
reaches {found["Wiener filter of the first half"]:.1f} dB there. One training for each setting."""


if __name__ == "__main__":
    run("denoise_series", main)
