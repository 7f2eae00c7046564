"""Measuring the machine: the only place that looks at a clock.

Ways are timed in turns on problems drawn at random and on lines that exercise one kind of work each; the rates that explain all
these times together become the profile (`fit`). A few kinds of work that libraries do are measured by themselves.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from faltung import methods
from faltung.algebras import REAL
from faltung.errors import RefusedError
from faltung.kernels import native
from faltung.kernels.blocks.on_numba import key as blocks_key
from faltung.kernels.delay_line.on_numba import key as line_key
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
from faltung.planner import machine as machines
from faltung.planner import wisdom
from faltung.planner.choose import plan_problem
from faltung.planner.drawn import draw
from faltung.planner.fit import Timed, fitted, regret
from faltung.planner.plan import Plan
from faltung.planner.policy import Policy
from faltung.planner.tune_alone import measured_alone, timed
from faltung.planner.tune_lines import REALS, every_kind
from faltung.problem import Problem
from faltung.version import __version__

DRAWN, MOST = 240, 5e8  # problems, and multiply-adds of the largest
NEAR = 6.0  # a way that is predicted, or found, to take that many times as long as the best is not timed further


def tune(progress: Callable[..., Any] | None = None) -> Path:
    """Measure this machine and write the profile that planning uses from then on.

    Args:
        progress: called with the share that is done, 0 to 1, and the name of what is measured next.

    Returns:
        The file, readable JSON. Rates that need torch keep their shipped values where torch is not installed.

    Cost: about two minutes on two processors, and more for the compiler the first time.
    """
    rates, (before, after) = measured(progress)
    path = machines.profile_path()
    content = {
        "faltung": __version__,
        "taken": time.strftime("%Y-%m-%d"),
        "cpu": _cpu(),
        "cache": machines.this_machine().cache,
        "regret": {"shipped": round(before, 3), "tuned": round(after, 3)},
        "rates": {name: float(f"{rate:.3g}") for name, rate in sorted(rates.items())},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w") as file:
        json.dump(content, file, indent=2)
    os.replace(temporary, path)
    machines.this_machine.cache_clear()
    return path


def measured(progress: Callable[..., Any] | None = None) -> tuple[dict[str, float], tuple[float, float]]:
    """All rates of this machine, in seconds for one unit on one thread; the regret of the shipped rates and of these.

    A regret is how much longer the choices took than the fastest ways of the drawn problems, as a geometric mean.
    """
    told = progress or (lambda share, what: None)
    rates = dict(machines.shipped()["rates"])
    compile_kernels(rates, progress)
    torch = has_torch()
    alone = measured_alone(torch)
    lines, times = every_kind(torch), []
    for number, (method, line) in enumerate(lines):
        told(0.5 + 0.2 * number / len(lines), method)
        plan, operands = ready(Problem.parse(line), Policy(only=(method,)))
        times.append([Timed(plan, least([partial(plan.compute, **operands)])[0])])
    problems = (draw("tune", number, MOST) for number in range(DRAWN))
    for number, (kind, _, problem) in enumerate(problems):
        told(0.7 + 0.3 * number / DRAWN, f"{kind} problems")
        if torch or problem.host != "torch":
            times.append(_ways(problem))
    found = fitted(rates, alone, [timed for ways in times for timed in ways])
    for name in rates:
        if f"{name}.float32" in found:  # the rate of types that have none of their own
            found[name] = found[f"{name}.float32"]
    for kind in ("blocks.fma", "blocks.load", "blocks.stage", "blocks.visit", "indirect.fma", "indirect.tap"):
        found[f"{kind}.uint64"] = found[f"{kind}.int64"]
    told(1.0, "done")
    return found, (regret(times, rates), regret(times, found))


def _ways(problem: Problem) -> list[Timed]:
    """Times of all ways that might win for any filter."""
    best, plans = plan_problem(problem).cost, {}
    for name in (m.name for m in methods.ALL if not m.structured and m.name != "definition"):
        try:
            plan = plan_problem(problem, Policy(only=(name,)))
        except RefusedError:
            continue
        if plan.cost < NEAR * best:
            plans[tuple(_names(plan))] = plan
    operands = {name: _random(problem, name) for name in next(iter(plans.values())).operands} if plans else {}
    calls = [partial(plan.compute, **operands) for plan in plans.values()]
    return [Timed(plan, seconds) for plan, seconds in zip(plans.values(), least(calls), strict=True)]


def _names(plan: Plan) -> list[str]:
    way = plan.ways[-1]
    return [way.method.name, *(name for part in way.parts for name in _names(part))]


def least(calls: Sequence[Callable[[], Any]], budget: float = 0.1) -> list[float]:
    """Least seconds of each call, in turns: at least three, more while the budget lasts; hopeless ones once."""
    first = []
    for call in calls:
        call()  # plans, compiles, fills caches
        first.append(timed(call))
    near = [n for n, seconds in enumerate(first) if seconds < NEAR * min(first)]
    repeats = [max(1, int(5e-4 / seconds)) for seconds in first]
    start = time.perf_counter()
    for turn in range(20):
        if turn > 2 and time.perf_counter() - start > budget:
            break
        for n in near:
            first[n] = min(first[n], timed(partial(_repeated, calls[n], repeats[n])) / repeats[n])
    return first


def _repeated(call: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        call()


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


def ready(problem: Problem, policy: Policy) -> tuple[Plan, dict[str, Any]]:
    """A plan and random operands that its method takes."""
    plan = plan_problem(problem, policy)
    operands = {name: _random(problem, name) for name in plan.operands}
    if policy.only in (("running",), ("window",), ("passes",)):
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


def has_torch() -> bool:
    """Whether torch is installed, whose own kernels are measured then."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def _cpu() -> str:
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name()
