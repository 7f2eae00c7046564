"""Streaming against the whole signal at once: a hall of three seconds over half a minute of sound, by block and partitioning.

    python benchmarks/stream.py            two threads, about two minutes
    python benchmarks/stream.py --quick    a shorter sound, for a look

Every row: median seconds of calls in turns within one process, all results compared first. Peers, which see the whole signal:
faltung.convolve, scipy.signal.oaconvolve, torch.fft. Writes benchmarks/results/stream.md.
"""

import sys

import timing

THREADS = timing.settle()

import numpy as np
import torch
from scipy import signal

import faltung
from faltung.engine.stream import Stream
from timing import interleaved, rows, span

QUICK = "--quick" in sys.argv
RATE = 16_000
torch.set_num_threads(THREADS)


def streamed(stream: Stream, x: np.ndarray, chunk: int) -> np.ndarray:
    parts = [stream.push(x[a : a + chunk]) for a in range(0, len(x), chunk)]
    return np.concatenate([*parts, stream.flush()])


def transformed(x: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    m = len(x) + len(k) - 1
    n = 1 << (m - 1).bit_length()
    return torch.fft.irfft(torch.fft.rfft(x, n) * torch.fft.rfft(k, n), n)[:m]


def main() -> None:
    random = np.random.default_rng(0)
    lines = []
    for dtype in ("float32",) if QUICK else ("float32", "float64"):
        x = random.standard_normal((5 if QUICK else 20) * RATE).astype(dtype)
        k = (random.standard_normal(3 * RATE) * np.exp(-np.arange(3 * RATE) / RATE)).astype(dtype)
        tx, tk = torch.from_numpy(x), torch.from_numpy(k)
        calls = {
            "faltung.convolve": lambda x=x, k=k: faltung.convolve(x, k),
            "oaconvolve": lambda x=x, k=k: signal.oaconvolve(x, k),
            "torch.fft": lambda tx=tx, tk=tk: transformed(tx, tk).numpy(),
        }
        streams = {}
        for block, kinds in (
            (64, ("growing",)), (256, ("uniform", "growing")), (1024, ("uniform", "growing")), (4096, ("uniform",)),
            (8192, ("uniform",)), (16384, ("uniform",)), (65536, ("whole", "uniform")),
        ):  # fmt: skip
            for kind in kinds:
                stream = streams[kind, block, False] = faltung.stream(k, block=block, partitions=kind)
                calls[f"{kind} {block}"] = lambda s=stream, x=x, c=block: streamed(s, x, c)
        stream = streams["auto", 256, True] = faltung.stream(k, block=256, zero_latency=True)
        calls["auto 256, no latency"] = lambda s=stream, x=x: streamed(s, x, 256)
        stream = streams["uniform", 1024, "one push"] = faltung.stream(k, block=1024, partitions="uniform")
        calls["uniform 1024, one push"] = lambda s=stream, x=x: streamed(s, x, len(x))
        seconds, results = interleaved(calls)
        wanted = results["faltung.convolve"]
        for label, y in results.items():
            off = np.abs(np.asarray(y) - wanted).max() / np.abs(wanted).max()
            assert off < (1e-4 if dtype == "float32" else 1e-11), (label, off)
        base, of = seconds["faltung.convolve"], dict(zip(list(calls)[3:], streams.values(), strict=True))
        for label in calls:
            latency = "whole sound" if label not in of else f"{1000 * of[label].latency / RATE:.1f} ms"
            each = f"{1e9 * seconds[label] / len(x):.0f} ns"
            lines.append((dtype, label, latency, span(seconds[label]), each, f"{seconds[label] / base:.2f}"))
    head = f"# A stream against the whole\n\n{timing.cpu()}, {THREADS} threads; {3 * RATE:,} taps at {RATE} samples a second.\n"
    head += "Each chunk is one block. Latency is how long a sample waits for its block, the time to compute it not counted.\n\n"
    table = rows(("dtype", "", "latency", "time", "a sample", "times faltung.convolve"), lines)
    timing.write("stream-quick" if QUICK else "stream", head + table)


if __name__ == "__main__":
    main()
