"""Measuring a GPU: tile sizes of its kernels, and the rates by which plans for it are made. Part of `faltung tune`.

For each kernel and dtype a few tile sizes are timed on one typical problem, A B C A B C ..., and the fastest is written into the
table of that device (`faltung.kernels.gpu`). What does not fit the device is passed over.
"""

import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from faltung import methods
from faltung.kernels import gpu
from faltung.kernels.long import layout
from faltung.planner.choose import crossing, plan_problem
from faltung.planner.machine import profile_path, shipped, this_machine
from faltung.planner.policy import Policy
from faltung.problem import Problem
from faltung.version import __version__

Timer = Callable[[Callable[[], Any]], float]
TURNS, WARM = 9, 2
SPACE: dict[str, tuple[dict[str, int], ...]] = {
    "monarch": tuple({"order": order, "warps": warps} for order in (2, 3) for warps in (2, 4, 8, 16)),
    "summed": tuple({"order": order, "warps": warps} for order in (2, 3) for warps in (4, 8, 16)),
    "bands": tuple(
        {"rows": rows, "columns": columns, "warps": warps}
        for rows in (32, 64, 128)
        for columns in (16, 32, 64)
        for warps in (4, 8)
    ),
    "windows": tuple({"block": block, "warps": warps} for block in (128, 256, 512, 1024) for warps in (4, 8)),
    "gather": tuple(
        {"rows": rows, "channels": channels, "warps": 4} for rows in (4, 16, 64) for channels in (32, 64, 128)
    ),
}
"""The tile sizes that are tried; `length` follows from the times of transforms."""
DTYPES: dict[str, tuple[str, ...]] = {
    "monarch": ("float16", "bfloat16", "float32"),
    "summed": ("float16", "bfloat16", "float32"),
}
DTYPES |= {
    "bands": ("float16", "bfloat16", "float32"),
    "windows": ("float32", "float64"),
    "gather": ("float32", "float64"),
}
LENGTHS = tuple(1 << power for power in range(8, 15))
LEAST_ROWS = 16  # of an outer pass: what a matrix unit takes
_DEPTHWISE, _DENSE = '"b c *s, c *s -> b c *s"', '"b c *s, o c *s -> b o *s"'
_IMAGES = f"correlate {_DEPTHWISE} x=32x256x56x56:{{0}} k=256x31x31:{{0}} out={{0}} pad=15:15,15:15"
STEPS = (
    ("gpu.single", "triton-bands", _IMAGES.format("float32")),
    ("gpu.half", "triton-bands", _IMAGES.format("float16")),
    (
        "gpu.term",
        "triton-windows",
        f"correlate {_DEPTHWISE} x=32x64x56x56:float32 k=64x7x7:float32 pad=3:3,3:3 algebra=max-plus",
    ),
    (
        "gpu.exponential",
        "triton-windows",
        f"correlate {_DEPTHWISE} x=32x64x56x56:float32 k=64x7x7:float32 pad=3:3,3:3 algebra=log",
    ),
    ("cudnn.thin", "onednn", _IMAGES.format("float16")),
    ("cudnn.thin-filter", "onednn", f"{_IMAGES.format('float16')} unknown=k"),
    ("cudnn.dense", "onednn", f"correlate {_DENSE} x=64x128x56x56:float16 k=128x128x3x3:float16 pad=1:1,1:1"),
)


def tune_gpu(
    device: str = "cuda", timer: Timer | None = None, kernels: Iterable[str] = tuple(SPACE), rates: bool = True
) -> tuple[Path, ...]:
    """Measure a device, write its table of tiles and the profile's rates `gpu.*` and `cudnn.*`; returns the files.

    Args:
        timer: seconds of a call; by default CUDA events around it.   kernels: names among `SPACE`.   rates: whether these, too.

    Cost: a few minutes, most of it Triton's compiler.
    """
    name, _ = gpu.device_of(device)
    measure = timer or _events
    table: dict[str, dict[str, int]] = {}
    for kernel in kernels:
        for dtype in DTYPES[kernel]:
            if kernel in ("monarch", "summed"):
                table |= _lengths(kernel, dtype, device, measure)
            else:
                best, _ = _fastest(kernel, dtype, 0, device, measure)
                table |= {f"{kernel}.{dtype}": best} if best else {}
    tiles = gpu.record(name, table)
    return (tiles, _record(_rates(device, measure))) if rates else (tiles,)


def _lengths(kernel: str, dtype: str, device: str, timer: Timer) -> dict[str, dict[str, int]]:
    """The best tiles of every length, and the longest transform in one kernel that is faster than one cut by an outer pass."""
    table: dict[str, dict[str, int]] = {}
    longest = 0
    inner: dict[str, int] = {}
    for M in LENGTHS:
        best, seconds = _fastest(kernel, dtype, M, device, timer)
        if best is None:
            break
        if longest and M // longest >= LEAST_ROWS:
            cut = _under(inner, kernel, _call(kernel, dtype, M, device, inner, longest))
            cut()
            if statistics.median(timer(cut) for _ in range(TURNS)) < seconds:
                break
        table[f"{kernel}.{dtype}.{M}"] = best
        if M // max(longest, 1) >= LEAST_ROWS:
            longest, inner = M, best
    fits = [int(name.rpartition(".")[2]) for name in table]
    return {**table, f"{kernel}.{dtype}": {"length": max(fits)}} if fits else {}


def _rates(device: str, timer: Timer) -> dict[str, float]:
    """Seconds for one unit of each kind of work: memory and starts first, then what makes methods' costs equal their times."""
    import torch

    source = torch.ones(1 << (28 if device != "cpu" else 10), dtype=torch.uint8, device=device)
    small = source[:64]
    rates = dict(this_machine().rates)
    rates["gpu.byte"] = _median(lambda: source.clone(), timer) / (2 * source.numel())
    rates["gpu.launch"] = _median(lambda: small.add_(1), timer)
    for rate, method, line in STEPS:
        problem = Problem.parse(f"{line} host=torch device={source.device}")
        plan = plan_problem(problem, Policy(only=(method,), tolerance=0.5))
        operands = {name: _values(problem, name, source.device) for name in plan.operands}
        seconds = _median(partial(plan.compute, **operands), timer)
        rates[rate] = solved(rates, rate, methods.named(method), problem, seconds)
    return {name: value for name, value in rates.items() if name.startswith(("gpu.", "cudnn."))}


def solved(rates: dict[str, float], rate: str, method: methods.Method, problem: Problem, seconds: float) -> float:
    """The value of one rate that makes a method's cost equal its time; at least a hundredth of what is shipped."""
    here = this_machine()

    def cost(value: float) -> float:
        on = replace(here, rates={**rates, rate: value})
        return method.cost(problem, on) + crossing(method, problem, on)

    fixed, slope = cost(0.0), cost(1.0) - cost(0.0)
    return max((seconds - fixed) / slope, 0.01 * shipped()["rates"][rate])


def _record(rates: dict[str, float]) -> Path:
    """Rates into the profile: the tuned one where there is one, else a copy of the shipped one with these in it."""
    path, here = profile_path(), this_machine()
    tuned = here.origin.startswith("measured on ")
    content = json.loads(path.read_text()) if tuned else {**shipped(), "taken": "shipped, but for the GPU"}
    content["rates"] |= {name: float(f"{value:.3g}") for name, value in rates.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({**content, "faltung": __version__}, indent=2))
    temporary.replace(path)
    this_machine.cache_clear()
    return path


def _values(problem: Problem, name: str, device: Any) -> Any:
    import torch

    shape = {"x": problem.x_shape, "k": problem.k_shape, "y": problem.out_shape}[name]
    dtype = {"x": problem.x_dtype, "k": problem.k_dtype, "y": problem.out_dtype}[name]
    return torch.randn(shape, device=device).to(getattr(torch, dtype))


def _median(call: Callable[[], Any], timer: Timer) -> float:
    for _ in range(WARM):
        call()
    return statistics.median(timer(call) for _ in range(TURNS))


def _fastest(kernel: str, dtype: str, size: int, device: str, timer: Timer) -> tuple[dict[str, int] | None, float]:
    """The fastest of the tile sizes that run, and its seconds; None where none does."""
    calls: list[tuple[dict[str, int], Callable[[], Any]]] = []
    for sizes in SPACE[kernel]:
        if kernel in ("monarch", "summed") and (sizes["order"], size) not in layout.FACTORS:
            continue
        call = _under(sizes, kernel, _call(kernel, dtype, size, device, sizes))
        try:
            for _ in range(WARM):
                call()
        except (RuntimeError, ValueError) as error:
            if type(error).__name__ == "AcceleratorError":
                raise  # the device itself has failed: nothing that follows could be believed
            continue
        except Exception as error:
            if type(error).__name__ not in ("OutOfResources", "CompilationError"):
                raise
            continue
        calls.append((sizes, call))
    if not calls:
        return None, 0.0
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(TURNS):
        for seen, (_, call) in zip(times, calls, strict=True):
            seen.append(timer(call))
    medians = [statistics.median(seen) for seen in times]
    first = min(range(len(calls)), key=medians.__getitem__)
    return calls[first][0], medians[first]


def _under(sizes: dict[str, int], kernel: str, call: Callable[[], Any]) -> Callable[[], Any]:
    """The call with these tile sizes in place of the table's."""

    def run() -> Any:
        with gpu.forced(kernel, sizes):
            return call()

    return run


def _call(
    kernel: str, dtype: str, size: int, device: str, sizes: dict[str, int], largest: int | None = None
) -> Callable[[], Any]:
    """A typical use of a kernel; `largest` is the longest transform in one kernel, else the whole."""
    import torch

    of = getattr(torch, dtype)

    def random(*shape: int) -> Any:
        return torch.randn(shape, device=device).to(of)

    if kernel in ("monarch", "summed"):
        from faltung.kernels.long.on_triton import Monarch

        C, N = (1, 1) if device == "cpu" else (256, max(8, (1 << 17) // size))
        x = random(N, C, size).transpose(0, 1)

        def long() -> Any:
            made = Monarch(of, size, x.device, kernel, largest or size, sizes["order"])
            if kernel == "summed":
                return made.filters(x, x, size - 1, size)
            return made.convolve(x, _spectrum(made, C, size, x.device), 0, size)

        return long
    if kernel == "bands":
        from faltung.kernels.bands import on_triton as bands

        B, N, n, t = (1, 1, 20, 7) if device == "cpu" else (128, 32, 56, 31)
        x, k = random(N, B, n, n).transpose(0, 1), random(B, t, t)
        return lambda: bands.correlate(x, k, (t // 2, t // 2), (n, n), of)
    if kernel == "windows":
        from faltung.kernels.windows import on_triton as windows
        from faltung.kernels.windows.contract import Geometry

        B, n = (1, 10) if device == "cpu" else (256, 56)
        x, k = random(B, 8 if device != "cpu" else 1, 1, n, n), random(B, 1, 1, 5, 5)
        g = Geometry((n, n), (5, 5), (n, n), (1, 1), (1, 1), (2, 2), float("-inf"))
        return lambda: windows.results(x, k, "max", g)
    from faltung.kernels.gather import on_triton as gather

    B, Q, C, R, J = (1, 20, 40, 20, 3) if device == "cpu" else (8, 20000, 128, 20000, 8)
    x, w, y = random(B, Q, C), random(B, R, J), random(B, R, C)
    index = torch.randint(0, Q, (B, R, J), device=device)
    return lambda: gather.sums(x, index, w, y)


_SPECTRA: dict[tuple, Any] = {}


def _spectrum(made: Any, C: int, size: int, device: Any) -> Any:
    """Any spectrum of that size: its values take no part in the time, and making it would."""
    import torch

    key = C, size, str(device)
    if key not in _SPECTRA:
        _SPECTRA.clear()
        _SPECTRA[key] = torch.ones(C, 2, size, device=device)
    return _SPECTRA[key]


def _events(call: Callable[[], Any]) -> float:
    """Seconds between CUDA events before and after a call."""
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3
