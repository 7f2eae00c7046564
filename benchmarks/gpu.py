"""Long and large depthwise convolutions on a GPU: checked first, then timed against torch.fft and cuDNN, then written down.

    python benchmarks/gpu.py                  # on a CUDA device; writes benchmarks/results/NAME-OF-THE-DEVICE.md
    python benchmarks/gpu.py --check-only     # no clock; without a device at tiny sizes in Triton's interpreter

Times are medians of interleaved calls between CUDA events. Where a batch of 64 does not fit the device's memory it is halved until
it does, and the times are those of the smaller batch, scaled; the table says so.
"""

import argparse
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
BATCH, CHANNELS = 64, 768
LADDER = (256, 1024, 4096, 8192, 16384, 32768, 1 << 20, 1 << 21, 1 << 22)
# Gated, milliseconds (torch.fft, fused kernel) at batch 64 and 768 channels: FlashFFTConv (Fu et al., 2024), one H100-SXM.
PUBLISHED = {
    256: (0.62, 0.11), 1024: (2.30, 0.29), 4096: (9.49, 1.43), 8192: (19.4, 3.58), 16384: (29.9, 12.2), 32768: (84.8, 26.3),
    1 << 20: (3071, 1769), 1 << 21: (6343, 4624), 1 << 22: (13032, 10049),
}  # fmt: skip
FILTERS = (7, 31, 51)
IMAGES = (32, 256, 56)  # batch, channels, height and width
DIRECT = 1024  # taps up to which cuDNN's direct convolution is worth waiting for
ROUNDS, WARM = 15, 3
NEAR = {"float16": 6e-3, "bfloat16": 5e-2, "float32": 1e-5}


def main() -> int:
    """Check, time, write; the exit code is 1 where a result is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check-only", action="store_true", help="compare results and stop")
    parser.add_argument("--quick", action="store_true", help="lengths up to 16K, fewer rounds")
    arguments = parser.parse_args()
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not arguments.check_only:
        print("there is no CUDA device: nothing to time (--check-only checks in Triton's interpreter)", file=sys.stderr)
        return 2
    if device == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        print("without a CUDA device: set TRITON_INTERPRET=1 before Python starts", file=sys.stderr)
        return 2
    torch.backends.cudnn.allow_tf32 = False  # its float32 is to be float32, as ours is
    wrong = check(device)
    for sentence in wrong:
        print(f"WRONG {sentence}", file=sys.stderr)
    if wrong:
        return 1
    print("all results are right")
    if arguments.check_only:
        return 0
    rounds = 5 if arguments.quick else ROUNDS
    name = torch.cuda.get_device_name()
    page = [*heading(name), *ladder(rounds, 16384 if arguments.quick else LADDER[-1]), "", *images(rounds)]
    path = RESULTS / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.md"
    path.write_text("\n".join(page) + "\n")
    print("\n".join(page), f"\nwrote {path}")
    return 0


# -- what is compared --------------------------------------------------------------------------------------------------------


def gated(x, k, a, b, dtype: str) -> Callable:
    """Ours: one filter a channel between two gates, causal; half precision where the arrays are."""
    from faltung import Policy
    from faltung.nn.functional import gated_conv

    policy = None if dtype == "float32" else Policy(tolerance=0.1)
    return lambda: gated_conv(x, k, a, b, policy=policy)


def composed(x, k, a, b) -> Callable:
    """torch.fft in float32, gates as products."""
    import torch

    n = x.shape[-1]

    def call():
        signal = (x if a is None else x * a).float()
        y = torch.fft.irfft(torch.fft.rfft(signal, 2 * n) * torch.fft.rfft(k.float(), 2 * n), 2 * n)[..., :n].to(
            x.dtype
        )
        return y if b is None else y * b

    return call


def direct(x, k, a, b) -> Callable:
    """cuDNN's depthwise convolution, padded on the left."""
    import torch

    n, t = x.shape[-1], k.shape[-1]
    taps = k.flip(-1)[:, None]

    def call():
        signal = x if a is None else x * a
        y = torch.nn.functional.conv1d(signal, taps, padding=t - 1, groups=k.shape[0])[..., :n]
        return y if b is None else y * b

    return call


def planes(dtype: str, size: int, shape: tuple[int, int, int], device: str) -> dict[str, dict[str, Callable]]:
    """For results and both gradients of a depthwise layer: ours and torch's own."""
    import torch

    import faltung
    from faltung import torch_gate

    B, C, side = shape
    generator = torch.Generator().manual_seed(size)
    kind = getattr(torch, dtype)
    x = torch.randn(B, C, side, side, generator=generator).to(device, kind)
    k = torch.randn(C, size, size, generator=generator).to(device, kind) / size
    y = torch.randn(x.shape, generator=generator).to(device, kind)
    half = size // 2
    problem = faltung.Problem.parse(
        f'correlate "b c *s, c *s -> b c *s" x={B}x{C}x{side}x{side}:{dtype} k={C}x{size}x{size}:{dtype} out={dtype} '
        f"pad={half}:{half},{half}:{half} host=torch device={x.device}"
    )
    only = "only=triton-bands tolerance=0.01"
    back = torch.ops.aten.convolution_backward
    rest = (None, [1, 1], [half, half], [1, 1], False, [0, 0], C)
    texts = {unknown: problem.gradient(unknown).text for unknown in ("out", "x", "k")}
    return {
        "result": {
            "faltung": lambda: torch_gate.solve(texts["out"], only, x=x, k=k),
            "torch": lambda: torch.conv2d(x, k[:, None], padding=half, groups=C),
        },
        "signal's gradient": {
            "faltung": lambda: torch_gate.solve(texts["x"], only, k=k, y=y),
            "torch": lambda: back(y, x, k[:, None], *rest, [True, False, False])[0],
        },
        "filter's gradient": {
            "faltung": lambda: torch_gate.solve(texts["k"], only, x=x, y=y),
            "torch": lambda: back(y, x, k[:, None], *rest, [False, True, False])[1][:, 0],
        },
    }


def sequences(batch: int, channels: int, n: int, dtype: str, device: str) -> list:
    """Signal, filter and two gates; a filter as long as the signal that fades, as trained ones do."""
    import torch

    kind = getattr(torch, dtype)
    generator = torch.Generator(device).manual_seed(n)

    def random(*shape):
        return torch.randn(shape, generator=generator, device=device)

    fade = torch.exp(-8.0 * torch.arange(n, device=device) / n) / n**0.5
    return [
        random(batch, channels, n).to(kind), (random(channels, n) * fade).to(kind),
        random(batch, channels, n).to(kind), random(batch, channels, n).to(kind),
    ]  # fmt: skip


# -- checking ----------------------------------------------------------------------------------------------------------------


def check(device: str) -> list[str]:
    """Sentences on what is wrong: kernels against their contracts, then what is timed against float64."""
    import torch

    from faltung.kernels import ALL
    from faltung.testing.triton_kernels import TRITON_CHECKS

    wrong = []
    if device == "cuda":
        for kernel in ALL:
            if kernel.tool == "triton":
                try:
                    TRITON_CHECKS[kernel.name](kernel.module, device=device)
                except AssertionError as error:
                    wrong.append(str(error))
    small = device == "cpu"
    lengths, shape, sizes = (
        ((256,), (1, 2, 9), (5,)) if small else ((256, 1000, 4096, 32768, 1 << 17), (2, 3, 40), FILTERS)
    )
    for dtype in ("float16",) if small else NEAR:
        for n in lengths:
            x, k, a, b = sequences(2, 2, n, dtype, device)
            for gates in ((None, None), (a, b)):
                came = gated(x, k, *gates, dtype)().double()
                wide = [None if g is None else g.double() for g in (x, k, *gates)]
                signal = wide[0] if wide[2] is None else wide[0] * wide[2]
                whole = torch.fft.irfft(torch.fft.rfft(signal, 2 * n) * torch.fft.rfft(wide[1], 2 * n), 2 * n)[..., :n]
                whole = whole if wide[3] is None else whole * wide[3]
                wrong += compare(came, whole, NEAR[dtype], f"length {n} in {dtype}, gated: {gates[0] is not None}")
        for size in sizes:
            for what, calls in planes(dtype, size, shape, device).items():
                wanted = planes("float64", size, shape, device)[what]["torch"]()
                came = calls["faltung"]().double()
                wrong += compare(came, wanted, NEAR[dtype], f"{what} of {size}x{size} in {dtype}")
    return wrong


def compare(came, wanted, near: float, what: str) -> list[str]:
    """A sentence where the largest difference is more than that share of the largest value."""
    worst = float((came - wanted).abs().max() / wanted.abs().max())
    return [] if worst <= near else [f"{what}: {worst:.1e} of the largest value, allowed {near:.1e}"]


# -- timing ------------------------------------------------------------------------------------------------------------------


def timed(calls: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Median milliseconds of each call, A B C A B C ..., after turns to warm up."""
    import torch

    for call in calls.values():
        for _ in range(WARM):
            call()
    torch.cuda.synchronize()
    times: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(rounds):
        for label, call in calls.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            end.synchronize()
            times[label].append(start.elapsed_time(end))
    return {label: statistics.median(t) for label, t in times.items()}


def ladder(rounds: int, longest: int) -> list[str]:
    """The table of lengths, gated and not, in both half types."""
    import torch

    lines = [
        f"## One filter a channel as long as the signal, batch {BATCH}, {CHANNELS} channels", "",
        "Milliseconds, causal, forward. *Published*: torch.fft and the fused kernel of FlashFFTConv, gated, on another GPU (one",
        "H100-SXM), not measured here.", "",
        "| length | dtype | gated | batch timed | faltung | torch.fft | cuDNN | torch.fft ÷ faltung | published |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for n in (n for n in LADDER if n <= longest):
        for dtype in ("float16", "bfloat16"):
            for gates in (False, True):
                batch = BATCH
                # Operands in halves, and torch.fft's padded single-precision arrays and spectra.
                while batch > 1 and batch * CHANNELS * n * 56 > 0.8 * torch.cuda.mem_get_info()[0]:
                    batch //= 2
                x, k, a, b = sequences(batch, CHANNELS, n, dtype, "cuda")
                a, b = (a, b) if gates else (None, None)
                calls = {"faltung": gated(x, k, a, b, dtype), "torch.fft": composed(x, k, a, b)}
                if n <= DIRECT:
                    calls["cuDNN"] = direct(x, k, a, b)
                found = {label: t * BATCH / batch for label, t in timed(calls, rounds).items()}
                published = "{:g} / {:g}".format(*PUBLISHED[n]) if gates and dtype == "float16" else ""
                cells = [f"{found[name]:.3g}" if name in found else "" for name in ("faltung", "torch.fft", "cuDNN")]
                ratio = f"{found['torch.fft'] / found['faltung']:.2f}"
                about = f"{batch}" if batch == BATCH else f"{batch}, scaled to {BATCH}"
                yes = "yes" if gates else ""
                lines.append("| " + " | ".join([f"{n:,}", dtype, yes, about, *cells, ratio, published]) + " |")
                del x, k, a, b, calls
                torch.cuda.empty_cache()
    return lines


def images(rounds: int) -> list[str]:
    """The table of large filters along two axes."""
    B, C, side = IMAGES
    lines = [
        f"## Depthwise filters over images, batch {B}, {C} channels, {side} × {side}", "",
        "Milliseconds; float32 without tf32 on both sides.", "",
        "| filter | dtype | what | faltung | torch (cuDNN) | torch ÷ faltung |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for size in FILTERS:
        for dtype in ("float16", "float32"):
            for what, calls in planes(dtype, size, IMAGES, "cuda").items():
                found = timed(calls, rounds)
                ratio = f"{found['torch'] / found['faltung']:.2f}"
                cells = [f"{size} × {size}", dtype, what, f"{found['faltung']:.3g}", f"{found['torch']:.3g}", ratio]
                lines.append("| " + " | ".join(cells) + " |")
    return lines


def heading(name: str) -> list[str]:
    """What was measured with what."""
    import torch
    import triton

    versions = f"torch {torch.__version__}, triton {triton.__version__}, CUDA {torch.version.cuda}"
    return [f"# {name}", "", f"`python benchmarks/gpu.py`, {time.strftime('%Y-%m-%d')}, {versions}.", ""]


if __name__ == "__main__":
    sys.exit(main())
