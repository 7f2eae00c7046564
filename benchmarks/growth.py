"""Time against size, method by method: one family of problems each, from 10⁵ samples upwards, float32.

    python benchmarks/growth.py              up to 10⁸ samples, about ten minutes
    python benchmarks/growth.py --most 7     up to 10⁷, one minute
    python benchmarks/growth.py --large      up to 10⁹ samples (4 GB, and as much for the result) for the tiled methods
    python benchmarks/growth.py --only overlap,blocks

Prints nanoseconds a sample of the signal, shortest of a few calls in turns over the sizes, and whether the time a sample of the
methods that work in tiles stays within 10 % of its mean over the sizes that do not fit the caches. Writes
benchmarks/results/growth.md and docs/pictures/growth.svg (both only when all methods ran). A size whose predicted time is above
the limit, or whose scratch memory is above what the machine has free, is left out.
"""

import argparse
import gc
import os
from pathlib import Path

import timing

THREADS = timing.settle()

import numpy as np
import torch

from faltung import Policy, Spec, filters
from faltung.door import problem_of
from faltung.errors import FaltungError
from faltung.planner import plan_problem
from timing import once, rows

PICTURE = timing.HERE.parent / "docs" / "pictures" / "growth.svg"
TILED = ("blocks", "overlap", "passes", "window", "indirect", "winograd")
SIZES = tuple(round(10 ** (e / 2)) for e in range(10, 19))
PAST = 3e6  # samples (12 MB) from which on neither signal nor result fit the caches
DENSE, INNERMOST, CHANNELS = "b c *s, o c *s -> b o *s", "b *s c, o c *s -> b *s o", 16
# What each method is measured with: dimensions, taps along each, in words.
FAMILIES = {
    "direct": (1, 31, "31 taps"), "blocks": (2, 7, "7²"), "overlap": (1, 1001, "1001 taps"),
    "segments": (1, 30_000, "30 000 taps"), "fft": (1, 1001, "1001 taps"), "passes": (2, 17, "Gaussian σ=2, 17²"),
    "window": (2, 31, "box 31²"), "separable": (2, 17, "Gaussian σ=2, 17²"), "running": (2, 31, "box 31²"),
    "pointwise": (2, 1, "1², 16 → 16 channels"),
    "winograd": (2, 3, "3², 16 → 16 channels"), "indirect": (2, 3, "3², 16 → 16 channels innermost"),
    "onednn": (2, 3, "3², 16 → 16 channels"), "transposed": (2, 7, "gradient of 7² for the signal"),
    "filter-gradient": (2, 7, "gradient of 7² for the filter"), "definition": (2, 3, "3²"),
}  # fmt: skip
LAYERS = ("winograd", "indirect", "onednn", "pointwise")


def problem_for(method: str, size: int) -> object:
    """The family's problem with about that many samples."""
    ndim, taps, _ = FAMILIES[method]
    last, layers = method == "indirect", method in LAYERS
    side = round((size / CHANNELS if layers else size) ** (1 / ndim))
    n, t = (side,) * ndim, (taps,) * ndim
    x = ((1, *n, CHANNELS) if last else (1, CHANNELS, *n)) if layers else n
    k = (CHANNELS, CHANNELS, *t) if layers else t
    pattern = (INNERMOST if last else DENSE) if layers else None
    host = "torch" if method == "onednn" else "numpy"
    made = problem_of(False, Spec(x, "float32"), Spec(k, "float32"), pattern, mode="same", host=host)
    return made.gradient({"transposed": "x", "filter-gradient": "k"}.get(method, "out"))


def operands(method: str, problem: object) -> dict:
    """Arrays made piece by piece, so that nothing of their size is needed beside them; memory is touched by writing it."""
    rng, made = np.random.default_rng(0), {}
    for name in {"out": "xk", "x": "ky", "k": "xy"}[problem.unknown]:
        shape = {"x": problem.x_shape, "k": problem.k_shape, "y": problem.out_shape}[name]
        made[name] = np.empty(shape, "float32")
        flat, piece = made[name].reshape(-1), rng.standard_normal(1 << 20, dtype="float32")
        for start in range(0, flat.size, piece.size):
            flat[start : start + piece.size] = piece[: flat.size - start]
    if method in ("passes", "separable"):
        made["k"] = filters.gaussian(2.0, ndim=2).astype("float32")
    if method in ("window", "running"):
        made["k"] = np.full(problem.k_shape, 1 / 961, "float32")
    return {n: torch.from_numpy(a) for n, a in made.items()} if problem.host == "torch" else made


def measure(method: str, sizes: list[int], longest: float) -> dict[int, float]:
    """Seconds a sample for every size that fits time and memory."""
    found: dict[int, float] = {}
    for size in sizes:
        problem = problem_for(method, size)
        samples = int(np.prod(problem.x_shape))
        try:
            policy = Policy(only=method, threads=THREADS, memory=_memory(), tolerance=0.1)
            plan = plan_problem(problem, policy)
        except FaltungError as error:
            print(f"{method} {samples}: {str(error)[:200]}", flush=True)
            break
        expected = max(plan.cost, found[max(found)] * samples if found else 0.0)
        if expected > longest:
            print(f"{method} {samples}: left out, {expected:.0f} s expected", flush=True)
            break
        given = operands(method, problem)
        once(lambda plan=plan, given=given: plan.compute(**given))
        turns = max(2, min(9, int(3.0 / max(expected, 1e-9))))
        found[samples] = min(once(lambda plan=plan, given=given: plan.compute(**given)) for _ in range(turns)) / samples
        print(f"{method} {samples}: {found[samples] * 1e9:.3g} ns", flush=True)
        del given
        gc.collect()
    return found


def _memory() -> int:
    """Bytes that are free now."""
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


def steady(times: dict[int, float]) -> tuple[float, float]:
    """Largest deviation from the mean time a sample past the caches, and the slope of log time a sample against log size."""
    past = {n: t for n, t in times.items() if n >= PAST}
    if len(past) < 2:
        return float("nan"), float("nan")
    middle = float(np.exp(np.mean(np.log(list(past.values())))))
    slope = np.polyfit(np.log(list(past)), np.log(list(past.values())), 1)[0]
    return max(abs(t / middle - 1) for t in past.values()), float(slope)


def page(found: dict[str, dict[int, float]]) -> str:
    sizes = sorted({10 ** (round(2 * np.log10(n)) / 2) for times in found.values() for n in times})
    lines = []
    for method, times in found.items():
        near = {10 ** (round(2 * np.log10(n)) / 2): t for n, t in times.items()}
        off, slope = steady(times)
        verdict = "—" if np.isnan(off) else f"{100 * off:.0f} %"
        cells = [f"{near[s] * 1e9:.3g}" if s in near else "" for s in sizes]
        name = f"**{method}**" if method in TILED else method
        lines.append((name, FAMILIES[method][2], *cells, verdict, "—" if np.isnan(slope) else f"{slope:+.2f}"))
    head = [f"10^{np.log10(s):.1f}" for s in sizes]
    return (
        f"# Growth on {timing.cpu()}, {THREADS} threads\n\n"
        "Nanoseconds a sample of the signal, float32. Bold: methods that work in tiles, whose time a sample should not depend on "
        "the size. *off*: largest deviation from the mean past the caches (3 million samples). *slope*: exponent by which the "
        "time a sample grows there; 0 is linear time.\n\n"
    ) + rows(("method", "filter", *head, "off", "slope"), lines)


def draw(found: dict[str, dict[int, float]], target: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "faltung"  # the same picture for the same figures
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for number, (method, times) in enumerate(found.items()):
        style = {"linewidth": 2.0} if method in TILED else {"linewidth": 1.0, "linestyle": "--"}
        line = axes.loglog(list(times), [t * n for n, t in times.items()], marker=".", color=f"C{number % 10}", **style)
        axes.annotate(f" {method}", (max(times), times[max(times)] * max(times)), fontsize=8, va="center",
                      color=line[0].get_color())  # fmt: skip
    axes.set_xlabel("samples of the signal")
    axes.set_ylabel("seconds a call")
    axes.set_xlim(right=axes.get_xlim()[1] * 4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    target.parent.mkdir(exist_ok=True)
    figure.savefig(target, bbox_inches="tight", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=float, default=8.0, help="exponent of ten of the largest size")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--longest", type=float, default=8.0, help="seconds that a call may be expected to take")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    os.environ.setdefault("MPLBACKEND", "Agg")
    names = options.only.split(",") if options.only else list(FAMILIES)
    found = {}
    for method in names:
        most = 9.0 if options.large and method in TILED else options.most
        found[method] = measure(method, [n for n in SIZES if n <= 1.001 * 10**most], options.longest)
    found = {method: times for method, times in found.items() if times}
    if options.only:
        print(page(found))
        return
    draw(found, PICTURE)
    timing.write("growth", page(found))


if __name__ == "__main__":
    main()
