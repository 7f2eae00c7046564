"""Time faltung and every peer in one process, interleaved, and write the table.

    python benchmarks/run.py                    everything (about half an hour), written to benchmarks/results/
    python benchmarks/run.py --quick            two minutes: a few problems of every class
    python benchmarks/run.py --class image      one class;   --name gaussian picks by name
    python benchmarks/run.py --regret           also time our other methods: chosen / best of our own

Each row: our median time, how many times longer the best setting of each peer takes (below 1: it is faster), the fraction of the
roofline of this machine (measured copy bandwidth and multiply-add rate), the method, the regret. A result that disagrees with
ours is marked; so is a call that was stopped after one turn because it took too long.
"""

import argparse
import math
import os
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
# Threads of one library that wait by spinning would slow down the next one's turn.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A benchmark is about calls, not about first calls: plan as if the compiler had been here.
os.environ.setdefault("FALTUNG_COMPILE", "eager")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import track

import peers
from faltung import Policy, Problem, correlate, filters
from faltung.planner import plan_problem
from faltung.problem import ITEMSIZE

TURNS, LONG, STOP = 5, 0.7, 8.0
QUICK = 14  # every how manyth problem of a class the quick run takes, besides the first


def read(path: Path) -> list[tuple[str, str, str, Problem]]:
    """The corpus: (class, name, filter, problem)."""
    rows = [line.split(" | ", 3) for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return [(kind, name, hint, Problem.parse(text)) for kind, name, hint, text in rows]


def arrays_for(problem: Problem, hint: str) -> dict[str, np.ndarray]:
    """NumPy arrays of the problem's shapes: normal numbers, small integers, or the filter that the hint names."""
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
    elif problem.x_dtype == "uint8" and "k" in made:
        made["k"] = np.abs(made["k"]) / np.abs(made["k"]).sum()
    return made


def ours(problem: Problem, made: dict[str, np.ndarray], hint: str, method: str | None = None):
    """Our call as a user makes it; gradients and complex numbers, for which torch has other conventions, by their plan."""
    given = made
    if problem.host == "torch":
        given = {n: torch.from_numpy(a).to(getattr(torch, problem.x_dtype)) for n, a in made.items()}
    policy = Policy(only=() if method is None else (method,), threads=2)
    if problem.unknown != "out" or problem.algebra == "complex":
        plan = plan_problem(problem, policy)
        return lambda: plan.compute(**given)
    options = {
        "mode": problem.pads,
        "boundary": problem.boundary,
        "stride": problem.stride,
        "dilation": problem.dilation,
    }
    options |= {"over": problem.algebra, "dtype": problem.out_dtype, "policy": policy}
    x, k, pattern = given["x"], given["k"], problem.pattern
    if hint == "distance":  # two passes and a root, as the peers return it
        across = {**options, "mode": "same"}

        def distance():
            y = correlate(correlate(x, k, pattern, **options), k.T, pattern, **across)
            return np.sqrt(y, out=y)

        return distance

    def call():
        with torch.no_grad():
            return correlate(x, k, pattern, **options)

    return call if problem.host == "torch" else lambda: correlate(x, k, pattern, **options)


def interleaved(calls: dict) -> tuple[dict[str, float], dict[str, object]]:
    """Median seconds of each call, A B C A B C ..., after one turn to warm up; slow ones get fewer turns,
    calls of microseconds are repeated within a turn."""
    results, times, repeats = {}, defaultdict(list), {}
    for label, call in calls.items():
        start = time.perf_counter()
        results[label] = call()  # warms up: compiles, plans, fills caches
        first = time.perf_counter() - start
        if first <= STOP:
            start = time.perf_counter()
            call()
            first = time.perf_counter() - start
        repeats[label] = max(1, int(2e-3 / first))
        if first > LONG:
            times[label].append(first)
    for turn in range(TURNS):
        for label, call in calls.items():
            if times[label] and (times[label][0] > STOP or (times[label][0] > LONG and turn >= 1)):
                continue
            start = time.perf_counter()
            for _ in range(repeats[label]):
                call()
            times[label].append((time.perf_counter() - start) / repeats[label])
    return {label: float(np.median(t)) for label, t in times.items()}, results


def same(problem: Problem, a, b) -> bool:
    """Whether two results agree to a thousandth of the largest value (one unit for rounded integers)."""
    a, b = (
        v.float().numpy() if isinstance(v, torch.Tensor) and v.dtype == torch.bfloat16 else np.asarray(v)
        for v in (a, b)
    )
    if a.shape != b.shape:
        return False
    a, b = (v.astype(np.complex128 if v.dtype.kind == "c" else np.float64) for v in (a, b))
    if problem.over.ordered:
        a, b = np.nan_to_num(a), np.nan_to_num(b)
    slack = 1.0 if problem.out_dtype == "uint8" else 1e-2 if problem.out_dtype in ("float16", "bfloat16") else 1e-3
    scale = 1.0 if problem.out_dtype == "uint8" else float(np.abs(b).max(initial=1e-30))
    return float(np.abs(a - b).max(initial=0.0)) <= slack * scale


def roofline(problem: Problem, seconds: float, bandwidth: float, rate: float) -> float:
    """Share of what the machine could do: the larger of the times for the definition's products and for the bytes, over ours."""
    sizes = (
        (problem.x_shape, problem.x_dtype),
        (problem.k_shape, problem.k_dtype),
        (problem.out_shape, problem.out_dtype),
    )
    traffic = sum(math.prod(shape) * ITEMSIZE[dtype] for shape, dtype in sizes)
    return max(problem.macs / rate, traffic / bandwidth) / seconds


def machine_limits() -> tuple[float, float]:
    """Bytes a second of a copy (read and written) and float32 multiply-adds a second of a matrix product, on two threads."""
    a = torch.ones(1 << 25)
    b = torch.empty_like(a)
    m = torch.ones(2048, 2048)
    timed = {"copy": lambda: b.copy_(a), "product": lambda: m @ m}
    seconds, _ = interleaved(timed)
    return 2 * a.numel() * 4 / seconds["copy"], 2048**3 / seconds["product"]


def measure(kind: str, hint: str, problem: Problem, regret: bool) -> dict:
    """One row."""
    made = arrays_for(problem, hint)
    calls = {"ours": ours(problem, made, hint)}
    for peer in peers.ALL:
        offered = peer.calls(problem, hint, *(made.get(n) for n in "xky"))
        calls |= {f"{peer.name}: {label}": call for label, call in offered.items()}
    plan = plan_problem(problem, Policy(threads=2))
    if regret:
        for candidate in plan.candidates:
            if candidate.refusal is None and candidate.cost < 6 * plan.cost and not candidate.method.structured:
                calls[f"own: {candidate.method.name}"] = ours(problem, made, hint, candidate.method.name)
    seconds, results = interleaved(calls)
    row = {"ours": seconds["ours"], "method": plan.method, "peers": {}, "wrong": []}
    if problem.unknown == "out" and plan.structured:
        k = torch.from_numpy(made["k"]) if problem.host == "torch" else made["k"]
        row["method"] = plan.prepare(k).method
    for label in seconds:
        peer = label.partition(":")[0]
        if peer in ("ours", "own"):
            continue
        if not same(problem, results[label], results["ours"]):
            row["wrong"].append(label)
            continue
        best = row["peers"].get(peer)
        if best is None or seconds[label] < best:
            row["peers"][peer] = seconds[label]
    own = [s for label, s in seconds.items() if label.startswith("own")]
    row["regret"] = seconds["ours"] / min([*own, seconds["ours"]]) if regret else None
    return row


def mean(values: list[float]) -> str:
    return f"{math.exp(sum(map(math.log, values)) / len(values)):.2f}" if values else "—"


def table(rows: list[tuple[str, str, Problem, dict]], limits: tuple[float, float], regret: bool) -> str:
    """Markdown, a section a class, and a summary."""
    names = [peer.name for peer in peers.ALL]
    text, summary = (
        [],
        ["| class | rows | best peer | " + " | ".join(names) + " | slowest row |", "|---" * (len(names) + 4) + "|"],
    )
    for kind in dict.fromkeys(r[0] for r in rows):
        text += [
            f"\n## {kind}\n",
            "| problem | ours | " + " | ".join(names) + " | roofline | method |" + (" regret |" if regret else ""),
        ]
        text.append("|---" * (len(names) + 4 + regret) + "|")
        ratios = defaultdict(list)
        for k, name, problem, row in rows:
            if k != kind:
                continue
            cells = [f"{row['peers'][n] / row['ours']:.2f}" if n in row["peers"] else "" for n in names]
            for n, seconds in row["peers"].items():
                ratios[n].append(seconds / row["ours"])
            if row["peers"]:
                ratios["best"].append(min(row["peers"].values()) / row["ours"])
            share = f"{100 * roofline(problem, row['ours'], *limits):.0f} %"
            last = f" {row['regret']:.2f} |" if regret else ""
            wrong = f" (differs: {', '.join(row['wrong'])})" if row["wrong"] else ""
            text.append(
                f"| {name}{wrong} | {row['ours'] * 1e3:.3g} ms | {' | '.join(cells)} | {share} | {row['method']} |{last}"
            )
        cells = [mean(ratios[n]) for n in names]
        slowest = f"{min(ratios['best']):.2f}" if ratios["best"] else "—"
        summary.append(
            f"| {kind} | {sum(r[0] == kind for r in rows)} | {mean(ratios['best'])} | {' | '.join(cells)} | {slowest} |"
        )
    return "\n".join([*summary, *text])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--class", dest="kind")
    parser.add_argument("--name")
    parser.add_argument("--regret", action="store_true")
    parser.add_argument("-o", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(2)
    cv2.setNumThreads(2)
    corpus = read(HERE / "problems.txt")
    if options.kind:
        corpus = [row for row in corpus if row[0] == options.kind]
    if options.name:
        corpus = [row for row in corpus if options.name in row[1]]
    if options.quick:
        seen: dict[str, int] = defaultdict(int)
        chosen = []
        for row in corpus:
            if row[3].macs < 2e10 and seen[row[0]] % QUICK in (0, 1):
                chosen.append(row)
            seen[row[0]] += 1
        corpus = chosen
    limits = machine_limits()
    rows = []
    console = Console(stderr=True)
    for kind, name, hint, problem in track(corpus, "measuring", console=console, disable=not console.is_terminal):
        rows.append((kind, name, problem, measure(kind, hint, problem, options.regret)))
        if not console.is_terminal:
            print(f"{kind} | {name} | {rows[-1][3]['ours'] * 1e3:.3g} ms", file=sys.stderr, flush=True)
    head = (
        f"# Measured on {_cpu()}, 2 threads\n\n"
        f"Copy {limits[0] / 1e9:.1f} GB/s, matrix product {limits[1] / 1e9:.0f} G multiply-adds/s. "
        "Figures are how many times longer the best setting of the peer takes; geometric means above.\n\n"
    )
    text = head + table(rows, limits, options.regret) + "\n"
    if options.o or not (options.quick or options.kind or options.name):
        target = options.o or HERE / "results" / f"{_cpu().lower().replace(' ', '-')}.md"
        target.write_text(text)
        print(f"wrote {target}", file=sys.stderr)
    print(text)


def _cpu() -> str:
    import llvmlite.binding as llvm

    return f"{llvm.get_host_cpu_name()} {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
