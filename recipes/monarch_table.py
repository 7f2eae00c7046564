"""Fourier transforms as small matrix products: what factors and half precision cost, and what a filter loses by being cut.

    python recipes/monarch_table.py [--quick]

Fu, Kumbong, Nguyen and Ré, FlashFFTConv: efficient convolutions for long sequences with tensor cores (2024).
"""

import math
import time

import numpy as np
import torch

import faltung
from denoise_series import gain, recording, wiener
from faltung import monarch
from recipe import run, table

FACTORS = (
    (16, 16), (256, 1), (32, 32), (16, 16, 16), (64, 64), (8, 8, 8, 8), (32, 16, 16), (32, 32, 32), (7, 11, 13), (1009,),
)  # fmt: skip
TAPS, SIZE = 1024, 65_536


def off(factors: tuple[int, ...], stored: str | None, dtype: str, draws: int) -> float:
    """The root mean square error of circular convolutions, as a share of their root mean square, against numpy.fft in double."""
    random, n = np.random.default_rng(0), math.prod(factors)
    x, k = random.standard_normal((draws, n)), random.standard_normal(n) / math.sqrt(n)
    wanted = np.fft.ifft(np.fft.fft(x) * np.fft.fft(k)).real
    spectrum = np.fft.fft(k)[monarch.order(factors)].astype("complex64" if dtype == "float32" else "complex128")
    bins = monarch.dft(x.astype(dtype), factors, permuted=True, stored=stored) * spectrum
    y = monarch.dft(bins, factors, inverse=True, permuted=True, stored=stored).real
    return float(np.sqrt(np.mean((y - wanted) ** 2) / np.mean(wanted**2)))


def operations(factors: tuple[int, ...]) -> tuple[float, float | None]:
    """Of real numbers, a sample of a complex signal, there and back: by these products, and by a split-radix FFT."""
    n = math.prod(factors)
    fft = 2 * (4 * n * math.log2(n) - 6 * n + 8) / n if n & (n - 1) == 0 else None
    return 16 * sum(factors), fft


def work(mask: np.ndarray, factors: tuple[int, ...]) -> float:
    """The products that are left when digits which no kept frequency has are dropped, as a share of all."""
    kept = [len(digits) for digits in monarch.kept_digits(mask, factors)]
    n = math.prod(factors)
    left = sum(math.prod(kept[: i + 1]) * n / math.prod(factors[:i]) for i in range(len(factors)))
    return left / (n * sum(factors))


def milliseconds(call: object, calls: int) -> float:
    """Of processor time, of a call."""
    call()
    start = time.process_time()
    for _ in range(calls):
        call()
    return 1000 * (time.process_time() - start) / calls


def main(quick: bool) -> str:
    torch.set_num_threads(1)
    draws, calls = (2, 1) if quick else (16, 10)
    lines = []
    for factors in FACTORS:
        errors = [off(factors, *how, draws) for how in (
            (None, "float64"), (None, "float32"), ("float16", "float64"), ("bfloat16", "float64"))]  # fmt: skip
        ours, fft = operations(factors)
        shown = "" if fft is None else f"{ours / fft:.1f}"
        lines.append([math.prod(factors), " · ".join(map(str, factors)), *(f"{e:.1e}" for e in errors), ours, shown])
    header = ("N", "factors", "double", "single", "float16", "bfloat16", "operations a sample", "times an FFT's")
    first = table(header, lines)

    noisy, clean = recording(0)
    half = len(noisy) // 2
    k = wiener(noisy[:half], clean[:half], TAPS - 1, 0).numpy()[None]
    x, wanted = noisy[half:].double().numpy()[None], clean[half:].double()

    def tested(**options: object) -> tuple[float, float]:
        y = torch.from_numpy(faltung.fft_conv(x, k, **options)[0])
        return gain(wanted, noisy[half:].double(), y), milliseconds(lambda: faltung.fft_conv(x, k, **options), calls)

    lines, cut = [], {}
    for taps in (1024, 512, 256, 128, 64, 32, 16):
        cut[taps], clock = tested(partial=taps)
        lines.append([taps, f"{cut[taps]:.2f}", f"{clock:.1f}"])
    second = table(("taps kept", "gain, dB", "ms"), lines)

    lines, low, factors = [], {}, monarch.factors_of(SIZE)
    frequency, size = np.abs(np.fft.fftfreq(SIZE)), np.abs(np.fft.fft(k[0], SIZE))
    for share in (1, 2, 4, 8, 16):
        for word, rank in (("lowest", -frequency), ("strongest", size)):
            if share == 1 and word == "strongest":
                continue
            least = np.sort(rank)[SIZE - SIZE // share]
            mask = rank >= least
            mask &= mask[-np.arange(SIZE) % SIZE]
            found, clock = tested(spectrum_mask=mask, factors=factors)
            low[word, share] = found
            lines.append(
                [
                    f"{word} 1/{share}" if share > 1 else "all",
                    f"{found:.2f}",
                    f"{work(mask, factors):.2f}",
                    f"{clock:.1f}",
                ]
            )
    third = table(("frequencies kept", "gain, dB", "share of products", "ms"), lines)
    text = f"""# Fourier transforms as small matrix products

Circular convolutions of normal signals with normal filters, there and back in the order of the stages: root mean square error as a
share of the results', against `numpy.fft` in double precision. In half precision every table and every result in between is stored
as such, products are summed in double. Operations are of real numbers, for a sample of a complex signal: 16 · Σ factors, and those
of a split-radix FFT for powers of two.

{first}

A causal filter of {TAPS} taps for the sentence under noise of `denoise_series`, the best one for its first half, on the second
half: by how many decibels the error shrinks when only the first taps are kept (`partial=`), without making the filter anew;
processor time of a call on {len(x[0])} samples.

{second}

The same filter when only some of its {SIZE} frequencies are kept (`spectrum_mask=`, factors {" · ".join(map(str, factors))}).
A digit of the frequency that none of them has costs nothing: low frequencies share digits, strong ones need not.

{third}

Claimed: half precision in between is good enough, filters of trained models can be cut in time and frequency with little loss."""
    if quick:
        return text
    kept = [taps for taps, found in cut.items() if found > cut[1024] - 0.1]
    few = [f"{word} 1/{share}" for (word, share), found in low.items() if share > 1 and found > low["lowest", 1] - 0.1]
    return f"""{text}

Here {min(kept)} of {TAPS} taps keep the gain within a tenth of a decibel, and so do these parts of the spectrum:
{", ".join(few) or "none"}."""


if __name__ == "__main__":
    run("monarch_table", main)
