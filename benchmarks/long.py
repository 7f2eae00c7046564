"""Long depthwise convolutions, causal, forward and with gradients, with and without gates: against torch.fft and torch's conv1d.

    python benchmarks/long.py            two threads, about three minutes
    python benchmarks/long.py --quick    the shorter lengths

Every row: median seconds of calls in turns within one process, results compared first. The peer is what people write: pad, rfft,
product, irfft, cut. Memory is what autograd keeps for the backward pass. Writes benchmarks/results/long.md.
"""

import sys

import timing

THREADS = timing.settle()

import torch

import faltung
from faltung.engine.fft_conv import PATTERN
from faltung.nn import functional as F
from timing import interleaved, megabytes, rows, span

QUICK = "--quick" in sys.argv
torch.set_num_threads(THREADS)
SIZES = ((16, 64, 1024), (8, 64, 4096), (8, 32, 16_384), (4, 16, 65_536), (2, 4, 262_144), (1, 4, 1 << 20))
SHORTER = ((8, 64, 4096, 512), (8, 64, 4096, 1024), (4, 64, 16_384, 2048))


def composed(x, k, a=None, b=None):
    n, size = x.shape[-1], 2 * max(x.shape[-1], k.shape[-1])
    u = x if a is None else x * a
    y = torch.fft.irfft(torch.fft.rfft(u, n=size) * torch.fft.rfft(k, n=size), n=size)[..., :n]
    return y if b is None else y * b


def both(call, *operands):
    """Forward and backward."""
    y = call(*operands)
    return torch.autograd.grad(y, operands, torch.ones_like(y))


def kept(call) -> int:
    """Bytes that autograd keeps, each memory once."""
    held = {}

    def pack(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(held.values())


def near(one, other) -> None:
    for a, b in zip(one, other, strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm(), "results differ"


def line(name, calls, memory, method) -> tuple:
    seconds, results = interleaved(calls)
    ours, theirs = results.values()
    near(ours if isinstance(ours, tuple) else (ours,), theirs if isinstance(theirs, tuple) else (theirs,))
    mine, other = seconds.values()
    share = f"{megabytes(memory[0])} / {megabytes(memory[1])}" if memory else ""
    return (*name, span(mine), span(other), f"{other / mine:.2f}", share, method)


def main() -> None:
    lines = []
    for B, C, n in SIZES[: 3 if QUICK else None]:
        shape = f"{B} × {C} × {n:,}"
        x, a, b = (torch.randn(B, C, n) for _ in range(3))
        k = torch.randn(C, n) / n**0.5
        with torch.no_grad():
            method = faltung.plan(x, k, PATTERN, mode=((n - 1, 0),)).ways[-1].method.name
            calls = {"ours": lambda x=x, k=k: F.gated_conv(x, k), "torch": lambda x=x, k=k: composed(x, k)}
            lines.append(line((shape, "forward"), calls, None, method))
            given = x, k, a, b
            calls = {"ours": lambda g=given: F.gated_conv(*g), "torch": lambda g=given: composed(*g)}
            lines.append(line((shape, "forward, gated"), calls, None, method))
        x, k, a, b = (t.requires_grad_() for t in given)
        for name, operands in (("both ways", (x, k)), ("both ways, gated", (x, k, a, b))):
            calls = {"ours": lambda o=operands: both(F.gated_conv, *o), "torch": lambda o=operands: both(composed, *o)}
            memory = [kept(lambda o=operands, f=f: f(*o)) for f in (F.gated_conv, composed)]
            lines.append(line((shape, name), calls, memory, method))
    for B, C, n, taps in SHORTER[: 2 if QUICK else None]:
        x, k = torch.randn(B, C, n), torch.randn(C, taps) / taps**0.5
        method = faltung.plan(x, k, PATTERN, mode=((taps - 1, 0),)).ways[-1].method.name

        def direct(x=x, k=k, taps=taps):
            return torch.nn.functional.conv1d(
                torch.nn.functional.pad(x, (taps - 1, 0)), k.flip(1)[:, None], groups=len(k)
            )

        calls = {"ours": lambda x=x, k=k: F.gated_conv(x, k), "torch": direct}
        lines.append(line((f"{B} × {C} × {n:,}, {taps} taps", "forward, conv1d"), calls, None, method))
    head = f"# Long convolutions\n\n{timing.cpu()}, {THREADS} threads, float32; batch × channels × length, a filter as long as\n"
    head += (
        "the signal for each channel, causal. Kept: what autograd holds between forward and backward, ours / torch.\n\n"
    )
    table = rows(("signal", "", "ours", "torch", "torch / ours", "kept", "method"), lines)
    timing.write("long-quick" if QUICK else "long", head + table)


if __name__ == "__main__":
    main()
