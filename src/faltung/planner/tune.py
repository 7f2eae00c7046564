"""Measuring the machine: the only place that looks at a clock.

A cost is linear in every rate of the machine profile. So no formula stands here: a step runs one method on one problem, asks the
method's own cost at rate zero and at rate one, and solves for the rate that makes the cost equal the time.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from faltung import methods
from faltung.algebras import REAL
from faltung.kernels import native
from faltung.kernels.blocks.on_numba import key as blocks_key
from faltung.kernels.convert.on_numba import rounded
from faltung.kernels.delay_line.on_numba import key as line_key
from faltung.kernels.fourier import on_scipy as fourier
from faltung.kernels.fourier.on_numba import keys as tile_keys
from faltung.kernels.indirect.on_numba import key as indirect_key
from faltung.kernels.indirect.on_numba import shapes as indirect_shapes
from faltung.kernels.modular.short import key as short_key
from faltung.kernels.negacyclic.on_numba import key as ring_key
from faltung.kernels.ntt.on_numba import keys as ntt_keys
from faltung.kernels.passes.on_numba import key as passes_key
from faltung.kernels.pointwise.on_numba import key as pointwise_key
from faltung.kernels.winograd.on_numba import filter_key as winograd_filters
from faltung.kernels.winograd.on_numba import key as winograd_key
from faltung.methods import negacyclic, overlap
from faltung.planner import machine as machines
from faltung.planner import wisdom
from faltung.planner.choose import crossing, plan_problem
from faltung.planner.plan import Plan
from faltung.planner.policy import Policy
from faltung.planner.tune_spectra import ring, small_matrices, spectra, timed
from faltung.problem import Problem
from faltung.version import __version__

REALS = ("float32", "float64")
NUMBERS = (*REALS, "complex64", "complex128")
ROWS = (*NUMBERS, "int64", "uint64", "bool")
_OVER = {"complex64": "complex", "complex128": "complex", "int64": "integer", "uint64": "integer", "bool": "boolean"}


def _line(pattern: str, x: str, k: str, dtype: str, pad: int = 0, extra: str = "") -> str:
    letters = pattern.split(",")[1].split("->")[0].split()
    ndim = len(k.split("x")) - len(letters) + 1
    pads = ",".join([f"{pad}:{pad}"] * ndim)
    over = f" algebra={_OVER[dtype]}" if dtype in _OVER else ""
    return f'correlate "{pattern}" x={x}:{dtype} k={k}:{dtype} out={dtype} pad={pads} {extra}{over}'.strip()


def _steps() -> list[tuple[str, str, str]]:
    """(rate, method, problem line) in the order in which rates build on each other."""
    plain, dense, batch = "*s, *s -> *s", "b c *s, o c *s -> b o *s", "b *s, *s -> b *s"
    steps = [("call", "direct", _line(plain, "64", "8", "float64"))]
    steps += [(f"rows.{t}", "direct", _line(plain, "512x1024", "7x7", t)) for t in ROWS]
    steps += [(f"rows.strided.{t}", "direct", _line(plain, "512x1024", "5x5", t, extra="stride=1x2")) for t in REALS]
    steps += [("rows.visit", "direct", _line(batch, "40000x24", "3", "float32"))]
    for t in ("float32", "float64", "int64"):
        steps.append((f"blocks.load.{t}", "blocks", _line(plain, "512x1024", "17x17", t, 8)))
        steps.append((f"blocks.stage.{t}", "blocks", _line(plain, "2048x2048", "3x3", t, 1)))
        steps.append((f"blocks.visit.{t}", "blocks", _line(dense, "2x256x14x14", "256x256x3x3", t, 1)))
    steps += [("call.blocks", "blocks", _line(plain, "16x16", "3x3", "float32", 1))]
    steps += [("call.overlap", "overlap", _line(plain, "100", "20", "float32"))]
    steps += [("running.row", "running", _line(batch, "512x4096", "31", "float32"))]
    steps += [(f"passes.sum.{t}", "window", _line(plain, "2048x2048", "31x31", t, 15)) for t in REALS]
    steps += [
        (f"envelope.value.{t}", "envelope", _line(batch, "512x1024", "2047", t, 1023, "algebra=min-plus"))
        for t in REALS
    ]
    steps += [("running.column", "running", _line(plain, "2048x2048", "31x31", "float32"))]
    steps += [("call.fft", "fft", _line(plain, "200", "20", "float32"))]
    whole = 'convolve "*s, *s -> *s" x=50000:int16 k=50000:int16 out=int64 pad=49999:49999 algebra=integer'
    steps += [("limbs.value", "limbs", whole)]
    steps += [("call.ntt", "ntt", whole.replace("50000", "100").replace("49999", "99")), ("ntt.point", "ntt", whole)]
    count = 'convolve "*s, *s -> *s" x=4000:object k=4000:object out=object pad=3999:3999 algebra=count'
    steps += [("ntt.object", "ntt", count)]
    short = 'convolve "*s, *s -> *s" x={0}:{1} k={0}:{1} out={1} pad={2}:{2} algebra={3}'
    steps += [("call.karatsuba", "karatsuba", short.format(8, "int64", 7, "modular(998244353)"))]
    steps += [("karatsuba.narrow", "karatsuba", short.format(2000, "int64", 1999, "modular(998244353)"))]
    steps += [("karatsuba.wide", "karatsuba", short.format(2000, "int64", 1999, f"modular({2**61 - 1})"))]
    steps += [("karatsuba.object", "karatsuba", short.format(200, "object", 199, "rational"))]
    steps += [("pass.segments", "segments", _line(plain, "512x512", "15x15", "float32"))]
    steps += [("fft.pairs", "segments", _line(dense, "1x48x32768", "48x48x512", "float32"))]
    last = "b *s c, o c *s -> b *s o"
    steps += [("call.indirect", "indirect", _line(last, "1x8x8x8", "16x8x3x3", "float32", 1))]
    for t in ("float32", "float64", "int64"):
        steps.append((f"indirect.fma.{t}", "indirect", _line(last, "4x28x28x128", "128x128x3x3", t, 1)))
        steps.append((f"indirect.tap.{t}", "indirect", _line(last, "2x112x112x4", "32x4x1x1", t)))
    steps += [(f"turn.{t}", "indirect", _line(dense, "4x64x56x56", "64x64x1x1", t)) for t in REALS]
    steps += [(f"winograd.transform.{t}", "winograd", _line(last, "4x56x56x32", "32x32x3x3", t, 1)) for t in REALS]
    steps += [(f"winograd.pack.{t}", "winograd", _line(last, "1x8x8x256", "256x256x3x3", t, 1)) for t in REALS]
    steps += [("definition", "definition", _line(plain, "256x256", "5x5", "float32"))]
    sets = 'convolve "{}" x={}:{} k={}:{} out={} domain={}'
    pairs, bits = "b *s, b *s -> b *s", "b c *s, o c *s -> b o *s"
    for t in REALS:
        steps.append((f"scatter.pair.{t}", "scatter", sets.format(pairs, "8x512", t, "8x512", t, t, "cyclic(512)")))
        steps.append((f"walsh.level.{t}", "walsh", sets.format(pairs, "128x4096", t, "128x4096", t, t, "dyadic")))
    steps += [
        (
            "walsh.product",
            "walsh",
            sets.format(bits, "16x16x1024", "float64", "16x16x1024", "float64", "float64", "dyadic"),
        )
    ]
    return steps


def _torch_steps() -> list[tuple[str, str, str]]:
    dense, depthwise = "b c *s, o c *s -> b o *s", "b c *s, c *s -> b c *s"
    steps = [("call.onednn", _line(dense, "1x8x64", "8x8x3", "float32", 1, "host=torch"))]
    steps.append(("onednn.lone", _line(depthwise, "1x64x8192", "64x63", "float32", 31, "host=torch")))
    steps.append(("onednn.point.float32", _line(dense, "4x64x56x56", "64x64x1x1", "float32", 0, "host=torch")))
    for dtype, batch in (("float32", 4), ("float64", 1)):
        shape = f"{batch}x64x56x56"
        steps.append((f"onednn.dense.{dtype}", _line(dense, shape, "64x64x3x3", dtype, 1, "host=torch")))
        steps.append((f"onednn.thin.{dtype}", _line(depthwise, shape, "64x7x7", dtype, 3, "host=torch")))
    return [(rate, "onednn", line) for rate, line in steps]


def tune(progress: Callable[..., Any] | None = None) -> Path:
    """Measure this machine and write the profile that planning uses from then on.

    Args:
        progress: called with the share that is done, 0 to 1, and the name of what is measured next.

    Returns:
        The file, readable JSON. Rates that need torch keep their shipped values where torch is not installed.

    Cost: about a minute on two processors, and another for the compiler the first time.
    """
    rates = measured(progress)
    path = machines.profile_path()
    content = {
        "faltung": __version__,
        "taken": time.strftime("%Y-%m-%d"),
        "cpu": _cpu(),
        "cache": machines.this_machine().cache,
        "rates": {name: float(f"{rate:.3g}") for name, rate in sorted(rates.items())},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w") as file:
        json.dump(content, file, indent=2)
    os.replace(temporary, path)
    machines.this_machine.cache_clear()
    return path


def measured(progress: Callable[..., Any] | None = None) -> dict[str, float]:
    """All rates of this machine, in seconds for one unit on one thread."""
    rates = dict(machines.this_machine().rates)
    compile_kernels(rates, progress)
    steps = _steps() + (_torch_steps() if _has_torch() else [])
    rates["copy"], rates["thread"] = _copy(), _elsewhere(_handing)
    if _has_torch():
        rates["team"] = _handing()
    rates["fft.product"] = _product()
    for dtype in NUMBERS:
        rates[f"fft.cache.{dtype}"] = _transform(dtype, (16, 8192), (8192,))
        rates[f"fft.spilled.{dtype}"] = _transform(dtype, (16, 32768), (32768,))
        rates[f"fft.memory.{dtype}"] = _transform(dtype, (1280, 1280), (1280, 1280))
    for dtype in REALS:
        rates[f"line.product.{dtype}"], rates[f"monarch.fma.{dtype}"] = spectra(dtype), small_matrices(dtype)
        rates |= {f"lanes.{kind}.{dtype}": rate for kind, rate in zip(overlap.RATES, _lanes(dtype), strict=True)}
        rates |= {f"ring.{kind}.{dtype}": rate for kind, rate in zip(negacyclic.RATES, ring(dtype), strict=True)}
    for number, (rate, method, line) in enumerate(steps):
        if progress is not None:
            progress(0.5 + 0.5 * number / len(steps), rate)
        rates[rate] = _solve(rates, rate, methods.named(method), Problem.parse(line))
    for kind in ("blocks.fma", "blocks.load", "blocks.stage", "blocks.visit", "indirect.fma", "indirect.tap"):
        rates[f"{kind}.uint64"] = rates[f"{kind}.int64"]
    for kind in {name.rpartition(".float32")[0] for name in rates if name.endswith(".float32")}:
        rates[kind] = rates[f"{kind}.float32"]
    if progress is not None:
        progress(1.0, "done")
    return rates


def compile_kernels(rates: dict[str, float] | None = None, progress: Callable[..., Any] | None = None) -> None:
    """Compile what float32 and float64 need, so that no plan has to weigh it; `rates` takes the time of those that were missing."""
    wide = 4 if native.lanes("float32") == 16 else 2
    shapes = [(1, v, False) for v in (1, 2 * wide)] + [(rows, v, False) for rows in (3, 4) for v in (1, wide)]
    shapes += [(4, v, True) for v in sorted({2, wide})] + [(8, v, True) for v in (1, 2) if v < wide]
    keys = [blocks_key(dtype, REAL, *shape) for dtype in REALS for shape in shapes]
    keys += [key for dtype in REALS for key in (*tile_keys(dtype), passes_key(dtype, REAL), pointwise_key(dtype, REAL))]
    keys += [indirect_key(dtype, REAL, *shape) for dtype in REALS for shape in indirect_shapes(dtype)]
    keys += [line_key(dtype) for dtype in REALS]
    keys += [ring_key(what, dtype) for dtype in REALS for what in ("spectra", "convolve", "gradients")]
    keys += [*ntt_keys(True), *ntt_keys(False), short_key(998244353), short_key(2**61 - 1)]
    square = ((4, 3), (4, 3))  # results and taps of a tile for 3 x 3 filters
    keys += [key for dtype in REALS for key in (winograd_key(dtype, square), winograd_filters(dtype, square))]
    for number, key in enumerate(keys):
        if progress is not None:
            progress(0.5 * number / len(keys), f"compiling {key[0]}")
        if not native.ready(*key):
            seconds = timed(partial(native.load, *key))
            if rates is not None:
                rates[f"compile.{key[0].partition('-')[0]}"] = seconds


def _solve(rates: dict[str, float], rate: str, method: methods.Method, problem: Problem) -> float:
    """The value of one rate that makes a method's cost, on all threads, equal its time."""
    seconds, here = seconds_of(problem, Policy(only=(method.name,))), machines.this_machine()

    def cost(value: float) -> float:
        on = replace(here, rates={**rates, rate: value})
        return method.cost(problem, on) + (0.0 if method.parts(problem) else crossing(method, problem, on))

    fixed, slope = cost(0.0), cost(1.0) - cost(0.0)
    # A disturbed measurement must not make a kind of work look free.
    shipped = machines.shipped()["rates"]
    least = 0.25 * shipped.get(rate, shipped.get(rate.rpartition(".")[0], 0.0))
    return max((seconds - fixed) / slope, least)


def ready(problem: Problem, policy: Policy) -> tuple[Plan, dict[str, Any]]:
    """A plan and random operands that its method takes."""
    plan = plan_problem(problem, policy)
    operands = {name: _random(problem, name) for name in plan.operands}
    if policy.only in (("running",), ("window",)):
        operands["k"][...] = 1  # a box, or the method would not take it
    if policy.only == ("envelope",):  # a parabola, for the same reason
        operands["k"][...] = np.linspace(-30, 30, operands["k"].size) ** 2
    if policy.only == ("limbs",):  # whole types, which take as many limbs as the cost says
        for values in operands.values():
            values[0] = np.iinfo(values.dtype).min
    return plan, operands


def seconds_of(problem: Problem, policy: Policy, budget: float = 0.4) -> float:
    """Shortest time of a plan on random arrays, the one least disturbed: three calls or more, while they fit the budget."""
    plan, operands = ready(problem, policy)
    wait = _waiting(problem.device)
    plan(**operands)
    times: list[float] = []
    while len(times) < 3 or (sum(times) < budget and len(times) < 200):
        wait()
        start = time.perf_counter()
        plan.compute(**operands)
        wait()
        times.append(time.perf_counter() - start)
    return min(times)


def measure_wisdom(problems: Iterable[Problem], margin: float = 4.0) -> Path:
    """Time the methods whose predicted cost is within `margin` of the best, and record the fastest for each problem."""
    choices = {}
    for problem in problems:
        plan = plan_problem(problem)
        near = [
            c for c in plan.candidates if c.refusal is None and not c.method.structured and c.cost < margin * plan.cost
        ]
        times = {c.method.name: seconds_of(problem, Policy(only=(c.method.name,))) for c in near}
        choices[wisdom.key(problem, plan.machine.threads)] = min(times, key=lambda name: times[name])
    return wisdom.record(choices)


def _random(problem: Problem, name: str) -> Any:
    rng = np.random.default_rng(0)
    shape = {"x": problem.x_shape, "k": problem.k_shape, "y": problem.out_shape}[name]
    dtype = {"x": problem.x_dtype, "k": problem.k_dtype, "y": problem.out_dtype}[name]
    if np.dtype("float32" if dtype == "bfloat16" else dtype).kind in "biu":
        values = rng.integers(0, 2, shape).astype(dtype)
    elif dtype == "object":  # Python's whole numbers, which every algebra of objects knows
        values = rng.integers(0, 1 << 24, shape).astype(object)
    else:
        values = rng.standard_normal(shape, dtype="float32")
        values = values + 1j * values[::-1] if dtype.startswith("complex") else values
        values = values.astype("float32" if dtype == "bfloat16" else dtype)
    if problem.host == "torch":
        import torch

        return torch.from_numpy(values).to(getattr(torch, dtype)).to(problem.device)
    return values


def _waiting(device: str) -> Callable[[], Any]:
    """What waits until a device has done all that it was given; nothing for the processor, which is never behind."""
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return partial(torch.cuda.synchronize, device)


def _copy() -> float:
    source, target = np.ones(1 << 23), np.empty(1 << 23)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    return sorted(times)[3] / source.nbytes


def _transform(dtype: str, shape: tuple[int, ...], lengths: tuple[int, ...]) -> float:
    """Seconds for one point and one doubling of a Fourier transform on one thread, there and back, halved."""
    x = np.ones(shape, dtype)
    times = []
    for _ in range(9):
        start = time.perf_counter()
        fourier.signal(fourier.spectrum(x, lengths), lengths, not np.iscomplexobj(x))
        times.append(time.perf_counter() - start)
    return sorted(times)[4] / 2 / (x.size * np.log2(np.prod(lengths)))


# Tiles (channels, lengths, taps) that differ in what they spend their time on.
_TILES = (
    (1, (512,), 32), (1, (2048,), 64), (1, (8192,), 64), (1, (16384,), 64), (1, (32, 32), 5), (1, (64, 64), 7), (1, (96, 96), 7),
    (1, (256, 256), 7), (16, (512,), 32), (8, (32, 32), 5), (1, (24, 24, 24), 3),
)  # fmt: skip


def _lanes(dtype: str) -> tuple[float, ...]:
    """The rates of overlap-save in lanes: least squares over tiles of all kinds, each on one thread."""
    from scipy.optimize import nnls

    work, times, cache = [], [], machines.this_machine().cache
    for channels, lengths, taps in _TILES:
        tiles = (2 * 4 * 16, *(1 for _ in lengths[1:]))
        sizes = [(f - taps + 1) * q + taps - 1 for f, q in zip(lengths, tiles, strict=True)]
        pattern = "c *s, o c *s -> o *s" if channels > 1 else "*s, *s -> *s"
        x = "x".join(map(str, ((channels,) if channels > 1 else ()) + tuple(sizes)))
        k = "x".join(map(str, ((channels, channels) if channels > 1 else ()) + (taps,) * len(lengths)))
        problem = Problem.parse(_line(pattern, x, k, dtype))
        layout = overlap.layout_of(problem, lengths)
        s = problem.sizes
        data = np.ones((1, 1, s.C, *problem.grid.n), dtype)
        spectra = layout.spectra(np.ones((1, s.O, s.C, *problem.grid.t), dtype), 1)
        seconds = min(timed(partial(layout.convolve, data, spectra, 1)) for _ in range(5))
        groups = layout.groups[1]
        work.append([groups * amount / seconds for amount in overlap.group_work(problem, lengths, cache)])
        times.append(1.0)
    rates, _ = nnls(np.array(work), np.array(times))
    return tuple(max(float(rate), 1e-13) for rate in rates)


def _product() -> float:
    """Seconds for one product of two complex numbers of 8 bytes that lie in the cache."""
    x = np.ones((16, 4097), np.complex64)
    times = []
    for _ in range(25):
        start = time.perf_counter()
        fourier.product(x[None, None, None], x[None, None, None, 0], 1)
        times.append(time.perf_counter() - start)
    return sorted(times)[12] / x.size


def _handing() -> float:
    """What it costs to hand half of the work to a second thread, which has waited for it in the meantime."""
    work, times = np.ones(1 << 17, "float32"), []
    rounded(work, "uint8", 2)
    for _ in range(50):
        time.sleep(2e-4)
        alone = timed(lambda: rounded(work[: work.size // 2], "uint8", 1))
        time.sleep(2e-4)
        times.append(timed(lambda: rounded(work, "uint8", 2)) - alone)
    return max(sorted(times)[25], 1e-6)


def _elsewhere(measured: Callable[[], float]) -> float:
    """`measured` on a thread other than the main one, which is given no team: the pool's threads are woken."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(measured).result()


def _has_torch() -> bool:
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def _cpu() -> str:
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name()
