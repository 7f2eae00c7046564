"""The public asks about speed, run again: one row each, with the peer that the ask is about.

    python benchmarks/asks.py              about five minutes; prints the table that docs/asks.md holds
    python benchmarks/asks.py --write      also puts it there
    python benchmarks/asks.py --only scipy

Both libraries take turns (medians; calls of more than eight seconds run once). Where torch would take minutes, it computes a part
of the results, the first of them, and its time is multiplied; the row says so. Every pair of results is compared before it counts.
"""

import argparse
import re
import warnings
from collections.abc import Callable, Iterable

import timing

timing.settle()

import numpy as np
import torch
import torch.nn.functional as F
from scipy import signal

from faltung import convolve, correlate, explain, nn, plan
from faltung.errors import ExactnessError
from faltung.planner import machine
from timing import interleaved, rows, span

PAGE = timing.HERE.parent / "docs" / "asks.md"
DENSE, DEPTHWISE = "b c *s, o c *s -> b o *s", "b c *s, c *s -> b c *s"


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def compared(
    ask: str, what: str, peer: str, theirs: Callable, ours: Callable, method: str, part: int = 1, goal: float | None = None
) -> tuple:  # fmt: skip
    """A row: both calls timed in turns. With `part`, the peer computes the first of that many parts of the results."""
    seconds, results = interleaved({"theirs": theirs, "ours": ours})
    a, b = (np.asarray(results[name]) for name in ("theirs", "ours"))
    b = b[..., : a.shape[-1]] if part > 1 else b
    assert a.shape == b.shape, (a.shape, b.shape)
    assert np.abs(a - b).max() <= 2e-3 * np.abs(a).max(), f"{ask}: results differ"
    took = seconds["theirs"] * part
    ratio = took / seconds["ours"]
    shown = f"{ratio:.3g}" + ("" if goal is None or ratio >= goal else f" (below {goal:g})")
    note = f" (1/{part} of the results, × {part})" if part > 1 else ""
    return ask, what, peer, span(took) + note, span(seconds["ours"]), shown, f"`{method}`"


def layer(
    ask: str, x: torch.Tensor, w: torch.Tensor, what: str, peer: str = "torch", goal: float | None = None, **options
):
    """A layer of torch against the same call of ours."""
    call = (F.conv1d, F.conv2d, F.conv3d)[w.ndim - 3]

    def theirs() -> torch.Tensor:
        with torch.no_grad():
            return call(x, w, **options)

    def ours() -> torch.Tensor:
        with torch.no_grad():
            return nn.functional.conv(x, w, **options)

    grouped = options.get("groups", 1) > 1
    chosen = plan(
        x, w[:, 0] if grouped else w, DEPTHWISE if grouped else DENSE, flip=False, stride=1,
        mode=((options.get("padding", 0),) * 2,) * (w.ndim - 2),
    )  # fmt: skip
    return compared(ask, what, f"{peer} `conv{w.ndim - 2}d`", theirs, ours, chosen.method, goal=goal)


def long_filters() -> Iterable[tuple]:
    x = normal(1, 64, 64_000)
    for taps in (1024, 2048):
        what = f"64 → 64 channels, 64 000 samples, {taps} taps"
        yield layer("pytorch#21462", x, normal(64, 64, taps), what, goal=20.0)


def impulse_response() -> Iterable[tuple]:
    voice, room, part = normal(960_000), normal(192_000), 400
    count = (voice.numel() + room.numel() - 1) // part
    padded = F.pad(voice, (room.numel() - 1, 0))[: count + room.numel() - 1]
    flipped = room.flip(0)
    theirs = lambda: F.conv1d(padded[None, None], flipped[None, None])[0, 0]  # noqa: E731
    what = "10 s of sound, a response of 2 s, 96 kHz"
    ours, method = lambda: convolve(voice, room), plan(voice, room).method
    yield compared("audio#2469", what, "torch `conv1d`", theirs, ours, method, part=part)
    a, b = voice.numpy(), room.numpy()
    yield compared(
        "audio#2469", what, "SciPy `fftconvolve`", lambda: signal.fftconvolve(a, b), lambda: convolve(a, b), method
    )


def image_filters() -> Iterable[tuple]:
    x = normal(1, 1, 1024, 1024)
    for t in (3, 31, 101):
        w = normal(1, 1, t, t)
        pad = (t // 2,) * 4
        image, k = x[0, 0], w[0, 0]
        yield compared(
            "kornia#1731", f"1024², filter {t}², reflected edge", "torch `pad`, `conv2d` (what `filter2d` does)",
            lambda w=w, pad=pad: F.conv2d(F.pad(x, pad, "reflect"), w)[0, 0],
            lambda image=image, k=k: correlate(image, k, mode="same", boundary="reflect"),
            plan(image, k, flip=False, mode="same", boundary="reflect").method,
        )  # fmt: skip


def long_signals() -> Iterable[tuple]:
    rng = np.random.default_rng(0)
    for n, t in ((10**6, 1001), (10**6, 10**4), (10**7, 1001), (10**7, 10**4)):
        for dtype in ("float32", "float64"):
            x, k = rng.standard_normal(n).astype(dtype), rng.standard_normal(t).astype(dtype)
            picked = signal.choose_conv_method(x[: 10**6], k)
            yield compared(
                "scipy#12993", f"{n:.0e} × {t}, {dtype}".replace("e+0", "e"), f"SciPy `convolve` (picks {picked})",
                lambda x=x, k=k: signal.convolve(x, k), lambda x=x, k=k: convolve(x, k), plan(x, k).method, goal=20.0,
            )  # fmt: skip
    yield compared(
        "scipy#12993", f"{n:.0e} × {t}, {dtype}".replace("e+0", "e"), "SciPy `oaconvolve` (asked for by name)",
        lambda: signal.oaconvolve(x, k), lambda: convolve(x, k), plan(x, k).method,
    )  # fmt: skip


def integers() -> Iterable[tuple]:
    """Products below SciPy's limit of 2⁵³, sums that a rounded transform misses; and sums beyond 64 bits."""
    rng = np.random.default_rng(0)
    x, k = rng.integers(2**17, 2**18, 50_000), rng.integers(2**17, 2**18, 50_000)
    exact = np.convolve(x, k)  # int64, no sum reaches 2⁵³
    picked = signal.choose_conv_method(x, k)
    count = lambda y: f"{int((np.asarray(y).astype(np.int64) != exact).sum())} of {exact.size} wrong"  # noqa: E731
    yield (
        "scipy#7217", "50 000 × 50 000 integers below 2¹⁸", f"SciPy `convolve` (picks {picked})", count(signal.convolve(x, k)),
        count(convolve(x, k)), "", f"`{plan(x, k).method}`",
    )  # fmt: skip
    high = np.full(8, 2**31)
    theirs = signal.convolve(high, high)
    wrapped = int(
        sum(int(v) != w for v, w in zip(theirs, np.convolve(high.astype(object), high.astype(object)), strict=True))
    )
    try:
        convolve(high, high)
        said = "no error"
    except ExactnessError as error:
        said = type(error).__name__
    yield "scipy#7217", "8 × 8 integers of 2³¹", "SciPy `convolve`", f"{wrapped} of 15 wrong, silently", said, "", ""


def depthwise() -> Iterable[tuple]:
    def case(ask: str, what: str, batch: int, c: int, n: tuple, t: tuple, last: bool = False) -> tuple:
        x, w = normal(batch, c, *n), normal(c, 1, *t)
        if last:
            x, w = (a.contiguous(memory_format=torch.channels_last) for a in (x, w))
        peer = "torch channels last" if last else "torch"
        return layer(ask, x, w, what, peer, padding=t[0] // 2, groups=c)

    yield case("pytorch#13716", "depthwise 3², 256 channels, 56²", 1, 256, (56, 56), (3, 3))
    yield case("pytorch#18631", "depthwise 3², 2 × 32 channels, 512²", 2, 32, (512, 512), (3, 3))
    yield case("pytorch#34089", "depthwise 3³, 16 channels, 32 × 64²", 1, 16, (32, 64, 64), (3, 3, 3))
    yield case("pytorch#34089", "depthwise 5³, 16 channels, 32 × 64²", 1, 16, (32, 64, 64), (5, 5, 5))
    yield case("pytorch#74363", "depthwise 31², 8 × 384 channels, 32²", 8, 384, (32, 32), (31, 31))
    yield case("pytorch#75747", "depthwise 768 taps, 8 × 768 channels, 768 samples", 8, 768, (768,), (767,))
    yield case("timm#1080", "depthwise 7², 8 × 96 channels, 56², channels last", 8, 96, (56, 56), (7, 7), True)
    x, w = (a.contiguous(memory_format=torch.channels_last) for a in (normal(8, 64, 56, 56), normal(64, 64, 3, 3)))
    yield layer(
        "timm#2612", x, w, "dense 3², 8 × 64 → 64 channels, 56², channels last", "torch channels last", padding=1
    )


def where_direct_wins() -> Iterable[tuple]:
    """A transform of the whole signal, as fft-conv-pytorch does it, where it loses and where it wins."""
    for taps in (9, 127, 1023):
        x, w = normal(4, 64, 4096), normal(64, taps)
        pad = taps // 2
        wide = F.pad(x, (pad, pad))

        def theirs(wide: torch.Tensor = wide, w: torch.Tensor = w) -> torch.Tensor:
            n = wide.shape[-1]
            spectrum = torch.fft.rfft(wide) * torch.fft.rfft(w, n).conj()
            return torch.fft.irfft(spectrum, n)[..., : n - w.shape[-1] + 1]

        pads = ((pad, pad),)
        ours = lambda x=x, w=w, pads=pads: correlate(x, w, DEPTHWISE, mode=pads)  # noqa: E731
        method = plan(x, w, DEPTHWISE, flip=False, mode=pads).method
        yield compared(
            "fft-conv-pytorch#25", f"depthwise {taps} taps, 4 × 64 × 4096", "torch, one FFT", theirs, ours, method
        )


def silence() -> Iterable[tuple]:
    x, k = normal(1, 8, 32, 32).double(), normal(8, 8, 3, 3).double()
    found = explain(x, k, DENSE, over="max-plus")
    yield (
        "pytorch#133304", "a layer over (max, +)", "a fall-back without a word", "",
        f"{len(found.refusals)} refusals printed, `onednn`: “{found.refusals['onednn']}”", "", f"`{found.method}`",
    )  # fmt: skip


ASKS = (long_filters, impulse_response, image_filters, long_signals, integers, depthwise, where_direct_wins, silence)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(2)
    lines = []
    for ask in ASKS:
        if options.only in ask.__name__:
            for line in ask():
                print(*line, sep=" | ", flush=True)
                lines.append(line)
    table = rows(("ask", "problem", "peer", "peer's", "ours", "peer / ours", "method"), lines)
    origin = machine.this_machine().origin.partition(" (")[0]
    text = f"Measured on {timing.cpu()}, 2 threads, by `benchmarks/asks.py`; rates: {origin}.\n\n{table}"
    print(text)
    if options.write:
        page = re.sub(
            r"(<!-- measured asks -->\n).*?(<!-- end -->)",
            lambda m: m[1] + text + "\n" + m[2],
            PAGE.read_text(),
            flags=re.DOTALL,
        )
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
