"""What all benchmarks share: threads fixed before the libraries load, calls timed in turns, arrays for a problem, Markdown.

A script calls `settle()` before it imports NumPy or torch: libraries read their number of threads once, when they load.
"""

import math
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
TURNS, SHORT, LONG, STOP = 7, 0.05, 0.7, 8.0


def settle() -> int:
    """Fix the threads of all libraries to the number that follows `--threads` on the command line, 2 without one."""
    arguments = sys.argv[1:]
    threads = int(arguments[arguments.index("--threads") + 1]) if "--threads" in arguments else 2
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    # Threads of one library that wait by spinning would slow down the next one's turn.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A benchmark is about calls, not about first calls: plan as if the compiler had been here.
    os.environ.setdefault("FALTUNG_COMPILE", "eager")
    return threads


def interleaved(calls: dict[str, Callable]) -> tuple[dict[str, float], dict[str, object]]:
    """Median seconds of each call, A B C A B C ..., after one turn to warm up; slow ones get fewer turns.

    Calls of microseconds are repeated within a turn. One call of each turn goes untimed before a short one: else it would be timed
    with what its neighbour left behind (memory given back to the system, cold caches), which is not what a user's loop sees.
    """
    results, times, repeats = {}, defaultdict(list), {}
    for label, call in calls.items():
        start = time.perf_counter()
        results[label] = call()  # warms up: compiles, plans, fills caches
        first = time.perf_counter() - start
        if first <= 4 * STOP:  # a first call may compile for longer than a slow one takes
            first = once(call)
        repeats[label] = max(1, int(2e-3 / first))
        if first > LONG:
            times[label].append(first)
    for turn in range(TURNS):
        for label, call in calls.items():
            if times[label] and (times[label][0] > STOP or (times[label][0] > LONG and turn >= 1)):
                continue
            if not times[label] or times[label][0] < SHORT:
                call()
            times[label].append(once(call, repeats[label]))
    return {label: statistics.median(t) for label, t in times.items()}, results


def shortest(calls: dict[str, Callable], budget: float, turns: tuple[int, int] = (3, 15), lost: float = 5.0) -> dict:
    """Least seconds of each call, in turns: at least turns[0], and up to turns[1] while the budget of seconds lasts.

    A call that took `lost` times as long as the fastest, twice, gets no turn, because it cannot win; the first always does.
    """
    least = {}
    for label, call in calls.items():
        call()  # warms up: compiles, plans, fills caches
        least[label] = min(once(call), once(call))
    near = [label for n, label in enumerate(least) if n == 0 or least[label] < lost * min(least.values())]
    repeats = {label: max(1, int(1e-3 / least[label])) for label in near}
    start = time.perf_counter()
    for turn in range(turns[1]):
        if turn >= turns[0] and time.perf_counter() - start > budget:
            break
        for label in near:
            least[label] = min(least[label], once(calls[label], repeats[label]))
    return least


def once(call: Callable, repeats: int = 1) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def arrays_for(problem: Any, hint: str = "random") -> dict[str, Any]:
    """NumPy arrays of the problem's shapes: normal numbers, small integers, or the filter that the hint names."""
    import numpy as np

    from faltung import filters

    rng = np.random.default_rng(0)
    known = {"out": ("x", "k"), "x": ("k", "y"), "k": ("x", "y")}[problem.unknown]
    made = {}
    for name in known:
        shape = {"x": problem.x_shape, "k": problem.k_shape, "y": problem.out_shape}[name]
        dtype = {"x": problem.x_dtype, "k": problem.k_dtype, "y": problem.out_dtype}[name]
        dtype = "float32" if dtype in ("bfloat16", "float16") else dtype
        if dtype == "bool":
            made[name] = rng.random(shape) < 0.05
        elif np.dtype(dtype).kind in "iu":
            made[name] = rng.integers(0, 100, shape).astype(dtype)
        else:
            values = rng.standard_normal(shape, dtype="float32")
            made[name] = (values + 1j * values[::-1] if dtype.startswith("complex") else values).astype(dtype)
    if hint.startswith("gaussian"):
        made["k"] = filters.gaussian(float(hint.split(":")[1]), ndim=problem.grid.ndim).astype(problem.k_dtype)
    elif hint == "box":
        made["k"] = np.full(problem.k_shape, 1 / problem.grid.taps, problem.k_dtype)
    elif hint == "distance":  # to the nearest of the features, one in a hundred pixels
        made["x"] = np.where(rng.random(problem.x_shape) < 0.01, 0, np.inf).astype(problem.x_dtype)
        made["k"] = filters.parabola([t // 2 for t in problem.k_shape]).astype(problem.k_dtype)
    elif hint == "zeros":
        made["k"] = np.zeros(problem.k_shape, problem.k_dtype)
    elif problem.x_dtype == "uint8" and problem.out_dtype == "uint8" and "k" in made:
        made["k"] = np.abs(made["k"]) / np.abs(made["k"]).sum()
    return made


def given(problem: Any, made: dict[str, Any]) -> dict[str, Any]:
    """The same arrays as the problem's host has them."""
    if problem.host != "torch":
        return made
    import torch

    return {name: torch.from_numpy(a).to(getattr(torch, problem.x_dtype)) for name, a in made.items()}


def high_water() -> int:
    """Most bytes that this process has held so far. Unlike getrusage's figure it does not start with that of the parent."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def mean(values: Iterable[float]) -> str:
    """Geometric mean, two digits."""
    values = list(values)
    return f"{math.exp(sum(map(math.log, values)) / len(values)):.2f}" if values else "—"


def rows(header: Iterable[str], lines: Iterable[Iterable]) -> str:
    """A Markdown table."""
    names = list(header)
    body = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*body, *("| " + " | ".join(map(str, line)) + " |" for line in lines)])


def span(seconds: float) -> str:
    """Seconds for people, three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def megabytes(count: float) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def cpu() -> str:
    """The processor as LLVM calls it, and how many cores."""
    import llvmlite.binding as llvm

    return f"{os.environ.get('NUMBA_CPU_NAME') or llvm.get_host_cpu_name()} {os.cpu_count()} cores"


def write(name: str | Path, text: str) -> None:
    """Print a page and keep it, below `results` where no other place is named."""
    target = name if isinstance(name, Path) else RESULTS / f"{name}.md"
    target.write_text(text.rstrip() + "\n")
    print(text)
    print(f"wrote {target}", file=sys.stderr)
