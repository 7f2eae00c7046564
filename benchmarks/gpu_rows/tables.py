"""The tables: which rows there are, what is said above them, and how a row is measured."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from gpu_rows import calls
from gpu_rows.page import Case, Table, agreed, peaks, ratio, shown, shrunk, timed

BATCH, CHANNELS = 64, 768
LADDER = (256, 1024, 4096, 8192, 16384, 32768, 1 << 20, 1 << 21, 1 << 22)
# Gated, at batch 64 and 768 channels: milliseconds of torch.fft and of the fused kernel, and how many times less memory that
# takes. FlashFFTConv (Fu et al., 2024), one H100-SXM.
PUBLISHED = {
    256: (0.62, 0.11, 6.65), 1024: (2.30, 0.29, 6.40), 4096: (9.49, 1.43, 6.35), 8192: (19.4, 3.58, 6.34),
    16384: (29.9, 12.2, 6.17), 32768: (84.8, 26.3, 5.87), 1 << 20: (3071, 1769, 2.82), 1 << 21: (6343, 4624, 2.81),
    1 << 22: (13032, 10049, 2.81),
}  # fmt: skip
# Five taps a channel, half precision, channels last: batch, length, channels and the published speed-up over torch's conv1d.
SHORT = ((16, 1024, 768, 5.5), (16, 2048, 8192, 7.31))
FILTERS = (7, 31, 51)
IMAGES = (32, 256, 56)  # batch, channels, height and width
WINDOWS = (32, 64, 56)
ROWS = (8, 20000, 128, 20000, 8)  # batches, rows, channels, results, rows of a result
DIRECT = 1024  # taps up to which cuDNN's direct convolution is worth waiting for
NEAR = {"float16": 6e-3, "bfloat16": 5e-2, "float32": 1e-5}
# What torch.fft holds of a sample, in bytes: operands in halves, padded single-precision arrays, spectra; derivatives keep more.
HELD = {False: 56, True: 140}
STAGES = ((96, 56, 3), (192, 28, 3), (384, 14, 9), (768, 7, 3))  # ConvNeXt-T: channels, height and width, blocks
WORDS = {False: "forward", True: "forward, backward"}


def all_tables(device: Any, rounds: int) -> list[Table]:
    """Every table of the page, in order."""
    return [
        lengths(device, rounds),
        images(device, rounds),
        few(device, rounds),
        others(device, rounds),
        waterline(device, rounds),
    ]


def lengths(device: Any, rounds: int) -> Table:
    """Filters as long as their signal, gated and not, in both half types, with and without derivatives."""

    def measured(n: int, dtype: str, gates: bool, both: bool) -> Sequence[str]:
        B, C = shrunk(BATCH, CHANNELS, n * HELD[both], device.free())
        x, k, a, b = calls.sequences(B, C, n, dtype, device.name)
        operands = (x, k, a, b) if gates else (x, k, None, None)
        able = {"faltung": calls.gated(*operands, dtype), "torch.fft": calls.composed(*operands)}
        if n <= DIRECT:
            able["cuDNN"] = calls.direct(*operands)
        if both:
            able = {label: calls.trained(call, operands) for label, call in able.items()}
        wrong = agreed(device, able, NEAR[dtype])
        found, held = timed(device, able, rounds), peaks(device, able)
        scale = BATCH * CHANNELS / (B * C)
        size = f"{B} × {C}" if scale == 1 else f"{B} × {C}, scaled"
        published = PUBLISHED[n] if gates and not both and dtype == "float16" else None
        theirs = ["", "", ""]
        if published:
            fft, fused, saved = published
            theirs = [f"{fft:g} / {fused:g}", f"{fft / fused:.2f}", f"{saved:.2f}"]
        cells = [shown(found.get(label), scale) for label in ("faltung", "torch.fft", "cuDNN")]
        cells[0] = wrong or cells[0]
        ahead = "" if wrong else ratio(found["torch.fft"], found["faltung"])
        return [size, *cells, ahead, ratio(held["torch.fft"], held["faltung"]), *theirs]

    cases = [
        Case((f"{n:,}", dtype, "yes" if gates else "no", WORDS[both]), partial(measured, n, dtype, gates, both), n)
        for n in LADDER for dtype in ("float16", "bfloat16") for gates in (False, True) for both in (False, True)
    ]  # fmt: skip
    text = (
        f"Causal, batch {BATCH}, {CHANNELS} channels: milliseconds. A row that says so was timed at the batch and number of",
        "channels that fit, and multiplied. Peaks are what a call holds beside its operands, its result included. *Published*:",
        "torch.fft and the fused kernel of FlashFFTConv, gated, forward, **on another GPU (one H100-SXM), not measured here**;",
        "its memory was counted in its authors' way.",
    )
    header = (
        "length", "dtype", "gated", "pass", "timed at", "faltung", "torch.fft", "cuDNN", "torch.fft ÷ faltung",
        "peak, torch.fft ÷ faltung", "published ms", "published ÷", "published peak ÷",
    )  # fmt: skip
    return Table("lengths", "One filter a channel as long as the signal", text, header, tuple(cases))


def images(device: Any, rounds: int) -> Table:
    """Large filters along two axes."""
    B, C, side = IMAGES

    def measured(size: int, dtype: str, what: str) -> Sequence[str]:
        able = calls.planes(dtype, size, IMAGES, device.name)[what]
        auto = able.pop("auto")
        cells, near = _pair(device, able, NEAR[dtype], rounds), NEAR[dtype]
        chosen = {"auto": auto, "torch": able["torch"]}
        said = agreed(device, chosen, near) or shown(timed(device, chosen, rounds)["auto"])
        return [cells[0], said, *cells[1:]]

    whats = ("result", "signal's gradient", "filter's gradient", "result, a filter for each sample")
    cases = [
        Case((f"{size} × {size}", dtype, what), partial(measured, size, dtype, what))
        for size in FILTERS for dtype in ("float16", "bfloat16", "float32") for what in whats
    ]  # fmt: skip
    text = (
        "Milliseconds; float32 without tf32 on both sides. *faltung* is its kernel of bands, *auto* what the planner chooses by",
        "itself. Filters of each sample's own are groups of one channel to cuDNN.",
    )
    header = (
        "filter", "dtype", "what", "faltung", "auto", "torch (cuDNN)", "torch ÷ faltung", "peak, torch ÷ faltung",
    )  # fmt: skip
    heading = f"Depthwise filters over images, batch {B}, {C} channels, {side} × {side}"
    return Table("images", heading, text, header, tuple(cases))


def few(device: Any, rounds: int) -> Table:
    """Five taps a channel along a sequence."""

    def measured(B: int, n: int, C: int, last: bool, both: bool, published: float) -> Sequence[str]:
        able, operands = calls.short(B, n, C, last, device.name)
        if both:
            able = {label: calls.trained(call, operands) for label, call in able.items()}
        said = f"{published:g}" if last and not both else ""
        return [*_pair(device, able, NEAR["float16"], rounds), said]

    cases = [
        Case(
            (f"{B} × {n} × {C}", "channels last" if last else "channels first", WORDS[both]),
            partial(measured, B, n, C, last, both, published),
        )
        for B, n, C, published in SHORT for last in (False, True) for both in (False, True)
    ]  # fmt: skip
    text = (
        "Milliseconds, float16. *Published*: a fused kernel of FlashFFTConv over torch's conv1d, **on another GPU, not measured",
        "here**.",
    )
    header = (
        "batch × length × channels", "memory", "pass", "faltung", "torch (cuDNN)", "torch ÷ faltung",
        "peak, torch ÷ faltung", "published ÷",
    )  # fmt: skip
    return Table("short", "Five taps a channel along a sequence", text, header, tuple(cases))


def others(device: Any, rounds: int) -> Table:
    """Max-plus, log and sums of rows named by number."""

    def measured(made: Any, both: bool) -> Sequence[str]:
        able, operands = made()
        if both:
            able = {label: calls.trained(call, operands) for label, call in able.items()}
        return _pair(device, able, 1e-4, rounds)

    B, C, side = WINDOWS
    problems: list[tuple[str, Any]] = [
        (
            f"{algebra}, {size} × {size} a channel, {B} × {C} × {side} × {side}",
            partial(calls.ordered, algebra, size, WINDOWS, device.name),
        )
        for algebra in ("max-plus", "log") for size in (3, 7)
    ]  # fmt: skip
    b, q, c, r, j = ROWS
    problems.append(
        (f"{b} × {r} sums of {j} out of {q} rows, {c} channels", partial(calls.gathered, *ROWS, device.name))
    )
    cases = [
        Case((name, WORDS[both]), partial(measured, made, both))
        for name, made in problems for both in (False, True)
    ]  # fmt: skip
    text = (
        "Milliseconds, float32, against patches with a maximum or `logsumexp`, and against `gather` with a product.",
    )
    header = ("problem", "pass", "faltung", "torch", "torch ÷ faltung", "peak, torch ÷ faltung")
    return Table("others", "Other algebras, rows by number", text, header, tuple(cases))


def waterline(device: Any, rounds: int) -> Table:
    """The convolutions of ConvNeXt-T under this device's own roof."""
    roofs: list[tuple[float, float]] = []  # measured with the first row

    def measured(side: int, blocks: int, taps: int, inside: int, outside: int, groups: int) -> Sequence[str]:
        import torch

        from faltung.nn import functional

        if not roofs:
            roofs.append(roof(device, rounds))
        peak, bandwidth = roofs[0]
        batch = 64
        x = torch.randn(batch, inside, side, side, device=device.name).half()
        w = (
            torch.randn(outside, inside // groups, taps, taps, device=device.name) / (inside // groups * taps**2) ** 0.5
        ).half()
        able = {
            "faltung": lambda: functional.conv(x, w, padding=taps // 2, groups=groups),
            "torch": lambda: torch.conv2d(x, w, padding=taps // 2, groups=groups),
        }
        wrong = agreed(device, able, NEAR["float16"])
        found = timed(device, able, rounds)
        ops = 2 * batch * side**2 * outside * (inside // groups) * taps**2
        moved = 2 * (x.numel() + w.numel() + batch * outside * side**2)
        share = min(1.0, ops / moved / (peak / bandwidth))

        def reached(value: float | str) -> str:
            return value if isinstance(value, str) else f"{ops / (value * 1e-3) / peak:.3f}"

        cells = [f"{ops * blocks:.3g}", f"{ops / moved:.3g}", f"{peak / bandwidth:.3g}", f"{share:.3f}"]
        return [*cells, wrong or reached(found["faltung"]), reached(found["torch"])]

    cases = []
    for C, side, blocks in STAGES:
        for name, taps, inside, outside in (("depthwise", 7, C, C), ("widen", 1, C, 4 * C), ("narrow", 1, 4 * C, C)):
            row = side, blocks, taps, inside, outside, C if name == "depthwise" else 1
            cases.append(Case((f"{C} channels, {side} × {side}", name), partial(measured, *row)))
    text = (
        "Batch 64 at 224 × 224, float16. Peak and bandwidth are the best product and copy measured here; attainable is",
        "min(1, intensity / balance) of the peak, and what is below it beside a layer under water is the layer's own.",
    )
    header = ("stage", "layer", "operations", "per byte", "balance", "attainable", "faltung, of peak", "torch, of peak")
    return Table("waterline", "The waterline of ConvNeXt-T", text, header, tuple(cases))


def roof(device: Any, rounds: int) -> tuple[float, float]:
    """Operations and bytes a second: a large product in half precision, and a copy."""
    import torch

    side, many = (8192, 1 << 30) if device.name == "cuda" else (64, 1 << 12)
    a, b = torch.ones(side, side, device=device.name).half(), torch.ones(many, dtype=torch.uint8, device=device.name)
    found = timed(device, {"product": lambda: a @ a, "copy": lambda: b.clone()}, rounds)
    if any(isinstance(value, str) for value in found.values()):
        raise MemoryError(f"no room to measure the roof: {found}")
    return 2 * side**3 / (found["product"] * 1e-3), 2 * many / (found["copy"] * 1e-3)


def _pair(device: Any, able: calls.Calls, near: float, rounds: int) -> list[str]:
    """Our cell, torch's, and how many times the time and the memory of ours that takes."""
    wrong = agreed(device, able, near)
    found, held = timed(device, able, rounds), peaks(device, able)
    ahead = "" if wrong else ratio(found["torch"], found["faltung"])
    return [wrong or shown(found["faltung"]), shown(found["torch"]), ahead, ratio(held["torch"], held["faltung"])]
