"""Long filters: how long it takes to make them, to convolve with them, and to run them as streams, against plain torch.

    python benchmarks/sequence.py               two threads, about two minutes
    python benchmarks/sequence.py --quick       short signals, for a look
    python benchmarks/sequence.py --threads 1

Every row: median seconds of calls in turns within one process, the results compared first. The peer writes the definition down in
torch: all powers of all modes (channels, modes, length) as complex numbers and one sum, and a convolution by torch.fft; a stream is
one step after another; dense matrices have LSSL's doubling as peer. Writes benchmarks/results/sequence.md.
"""

import sys
from collections.abc import Callable, Iterator

import timing

THREADS = timing.settle()

import torch
from torch import Tensor

from faltung.nn.sequence import DampedMovingAverage, DiagonalStateSpace, StateSpaceConv1d, state_space
from timing import interleaved, rows, span

QUICK = "--quick" in sys.argv
CHANNELS, LENGTHS = 64, (1024, 4096) if QUICK else (1024, 4096, 16_384)
torch.set_num_threads(THREADS)

ANOTHER = 9.0
"""In place of a tolerance: the two filters are not the same ones, only as long and of as many states."""

Row = tuple[str, str, dict[str, Callable], float]


def plain(made: DiagonalStateSpace, length: int) -> Tensor:
    """S4D's filters as the formula has them, in single precision."""
    A = torch.complex(-made.log_decay.exp(), made.frequency)
    z = made.log_dt.exp()[:, None] * A
    C = torch.complex(made.re, made.im)[:, 0] * (z.exp() - 1) / A
    return 2 * torch.einsum("cn,cnl->cl", C, torch.exp(z[..., None] * torch.arange(length))).real[:, None]


def averages(made: DampedMovingAverage, length: int) -> Tensor:
    """Damped averages with all powers, as their authors compute them."""
    alpha, delta = made.alpha.sigmoid(), made.delta.sigmoid()
    powers = torch.exp(torch.arange(length) * torch.log(1 - alpha * delta)[..., None])
    return torch.einsum("cmn,cnl->cml", made.eta, powers * (alpha * made.beta)[..., None]) / made.state**0.5


def by_fft(x: Tensor, filters: Tensor, skip: Tensor) -> Tensor:
    """A causal convolution by spectra of twice the length."""
    n = x.shape[-1]
    spectrum = torch.fft.rfft(x, 2 * n) * torch.fft.rfft(filters[:, 0], 2 * n)
    return torch.fft.irfft(spectrum, 2 * n)[..., :n] + skip[:, None] * x


def slopes(call: Callable[[], Tensor], made: torch.nn.Module) -> Callable:
    """The call with derivatives for all parameters, as one tensor."""
    parameters = list(made.parameters())

    def both() -> Tensor:
        found = torch.autograd.grad(call().square().mean(), parameters, allow_unused=True)
        return torch.cat([g.flatten() / g.norm() for g in found if g is not None])

    return both


def without(call: Callable[[], Tensor]) -> Callable:
    def quiet() -> Tensor:
        with torch.no_grad():
            return call()

    return quiet


def filters() -> Iterator[Row]:
    """Making filters."""
    for length in LENGTHS:
        made = DiagonalStateSpace(CHANNELS, 64)
        ours, theirs = (lambda m=made, n=length: m.filters(n)), (lambda m=made, n=length: plain(m, n))
        size = f"{CHANNELS} channels, 64 states, {length} taps"
        yield "S4D filters", size, {"ours": without(ours), "torch": without(theirs)}, 1e-3
        yield "S4D filters and derivatives", size, {"ours": slopes(ours, made), "torch": slopes(theirs, made)}, 2e-2
    averaged = DampedMovingAverage(CHANNELS, 16)
    ours, theirs = (lambda: averaged.filters(LENGTHS[-1])), (lambda: averages(averaged, LENGTHS[-1]))
    size = f"{CHANNELS} channels, 16 states, {LENGTHS[-1]} taps"
    yield "damped averages", size, {"ours": without(ours), "torch": without(theirs)}, 1e-3


def methods() -> Iterator[Row]:
    """The ways to make the filters of one dense matrix; LSSL's is the peer."""
    made = {name: state_space(8, 64, method=name) for name in ("krylov", "dense", "dplr")}
    made["dense"].load_state_dict(made["krylov"].state_dict())
    length = LENGTHS[1]
    size = f"8 channels, 64 states, {length} taps"
    for name in ("dense", "dplr"):
        calls = {
            "ours": without(lambda n=name: made[n].filters(length)),
            "torch": without(lambda: made["krylov"].filters(length)),
        }
        yield f"`{name}` in place of `krylov`", size, calls, 1e-3 if name == "dense" else ANOTHER


def layers() -> Iterator[Row]:
    """Whole layers: filters, convolution, skip."""
    for length in LENGTHS[1:]:
        layer, x = StateSpaceConv1d(CHANNELS), torch.randn(4, CHANNELS, length)
        ours = lambda m=layer, x=x: m(x)  # noqa: E731
        theirs = lambda m=layer, x=x: by_fft(x, plain(m.constructor, x.shape[-1]), m.skip)  # noqa: E731
        size = f"batch 4, {CHANNELS} channels, {length} samples"
        yield "S4D layer", size, {"ours": without(ours), "torch": without(theirs)}, 1e-3
        yield "S4D layer and derivatives", size, {"ours": slopes(ours, layer), "torch": slopes(theirs, layer)}, 2e-2


def streams() -> Iterator[Row]:
    """The next 1024 samples of a stream: as a piece, and one by one, which is the peer."""
    layer, x = StateSpaceConv1d(CHANNELS), torch.randn(4, CHANNELS, 1024)

    def piece() -> Tensor:
        return layer.chunk(x, layer.initial_state(4))[0]

    def steps() -> Tensor:
        state, results = layer.initial_state(4), []
        for now in x.unbind(-1):
            y, state = layer.step(now, state)
            results.append(y)
        return torch.stack(results, -1)

    calls = {"ours": without(piece), "torch": without(steps)}
    yield "a piece of a stream, not by steps", f"batch 4, {CHANNELS} channels, 1024 samples", calls, 1e-4


def main() -> None:
    lines = []
    for part in (filters, methods, layers, streams):
        for what, size, calls, allowed in part():
            seconds, results = interleaved(calls)
            a, b = results["ours"], results["torch"]
            assert a.shape == b.shape, (what, a.shape, b.shape)
            assert allowed == ANOTHER or (a - b).abs().max() <= allowed * b.abs().max(), (what, size)
            ratio = seconds["torch"] / seconds["ours"]
            lines.append((what, size, span(seconds["torch"]), span(seconds["ours"]), f"{ratio:.3g}"))
            print(*lines[-1], sep=" | ", flush=True)
    head = f"# Long filters\n\n{timing.cpu()}, {THREADS} threads; medians of calls in turns. Ratios above 1: ours is faster.\n\n"
    table = rows(("what", "size", "peer", "ours", "ratio"), lines)
    if not QUICK:
        timing.write("sequence", head + table)


if __name__ == "__main__":
    main()
