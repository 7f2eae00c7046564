"""Time faltung and every peer in one process, interleaved, and write the table.

    python benchmarks/run.py                    everything (about half an hour), written to benchmarks/results/
    python benchmarks/run.py --quick            two minutes: a few problems of every class
    python benchmarks/run.py --class image      one class;   --name gaussian picks by name
    python benchmarks/run.py --threads 1        of all libraries; printed unless -o names a file
    python benchmarks/run.py --regret           also time our other methods: chosen / best of our own

Each row: our median time, how many times longer the best setting of each peer takes (below 1: it is faster), the fraction of the
roofline of this machine (measured copy bandwidth and multiply-add rate), the method, the regret. A result that disagrees with
ours is marked; so is a call that was stopped after one turn because it took too long.
"""

import argparse
import contextlib
import math
import sys
import warnings
from collections import defaultdict
from datetime import date
from pathlib import Path

import timing

THREADS = timing.settle()

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import track

import peers
from faltung import Policy, Problem, correlate
from faltung.errors import RefusedError
from faltung.planner import plan_problem
from faltung.planner.machine import this_machine
from faltung.problem import ITEMSIZE
from faltung.torch_gate import solve
from faltung.torch_memory import stated_last
from timing import HERE, arrays_for, interleaved, mean

QUICK = 14  # every how manyth problem of a class the quick run takes, besides the first


def read(path: Path) -> list[tuple[str, str, str, Problem]]:
    """The corpus: (class, name, filter, problem)."""
    rows = [line.split(" | ", 3) for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return [(kind, name, hint, Problem.parse(text)) for kind, name, hint, text in rows]


def ours(problem: Problem, made: dict[str, np.ndarray], hint: str, method: str | None = None, last: bool = False):
    """Our call as a user makes it, with tensors in either memory layout; gradients and complex numbers, for which torch has
    other conventions, by the operator itself."""
    given = timing.given(problem, made)
    if last:
        given = {n: a.contiguous(memory_format=torch.channels_last) if a.ndim == 4 else a for n, a in given.items()}
    policy = Policy(only=() if method is None else (method,), threads=THREADS)
    if problem.unknown != "out" or problem.algebra == "complex":
        if problem.host == "torch":
            return lambda: solve(problem.text, policy.text, **given)
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
    """Bytes a second of a copy (read and written) and float32 multiply-adds a second of a matrix product."""
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
    if layouts := problem.host == "torch" and problem.grid.ndim == 2 and len(problem.x_shape) == 4:
        calls["ours channels-last"] = ours(problem, made, hint, last=True)
    for peer in peers.ALL:
        offered = peer.calls(problem, hint, *(made.get(n) for n in "xky"))
        calls |= {f"{peer.name}: {label}": call for label, call in offered.items()}
    seconds, results = interleaved(calls)
    last = layouts and seconds["ours channels-last"] < seconds["ours"]
    own = problem
    if last:  # as the operator states it for memory with channels innermost
        own = stated_last(problem.text).problem
        seconds["ours"] = seconds["ours channels-last"]
    plan = plan_problem(own, Policy(threads=THREADS))
    row = {"ours": seconds["ours"], "method": plan.method + (", last" if last else ""), "peers": {}, "wrong": []}
    if problem.unknown == "out" and plan.structured:
        k = torch.from_numpy(made["k"]) if problem.host == "torch" else made["k"]
        row["method"] = plan.prepare(k).method
    for label in seconds:
        peer = label.partition(":")[0]
        if peer.startswith("ours"):
            continue
        if not same(problem, results[label], results["ours"]):
            row["wrong"].append(label)
            continue
        best = row["peers"].get(peer)
        if best is None or seconds[label] < best:
            row["peers"][peer] = seconds[label]
    row["regret"] = regret_of(problem, plan, made, hint, last) if regret else None
    return row


def regret_of(problem: Problem, plan, made: dict[str, np.ndarray], hint: str, last: bool) -> float:
    """The chosen method's time over that of the best of our own."""
    calls = {"ours": ours(problem, made, hint, last=last)}
    for candidate in plan.candidates:
        if candidate.refusal is None and candidate.cost < 6 * plan.cost:
            call = ours(problem, made, hint, candidate.method.name, last)
            with contextlib.suppress(RefusedError):  # a filter that is not of its kind
                call()
                calls[candidate.method.name] = call
    seconds, _ = interleaved(calls)
    chosen = seconds["ours"]
    if (
        not plan.structured
    ):  # where no filter's values are looked at, the way and the method by name are one and the same
        chosen = min(chosen, seconds.get(plan.method, chosen))
    return chosen / min(seconds.values())


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
    parser.add_argument("--threads", type=int, default=2)  # read before the libraries load, see `timing.settle`
    parser.add_argument("-o", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)
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
        f"# Measured on {timing.cpu()}, {THREADS} threads, {date.today()}\n\n"
        f"Copy {limits[0] / 1e9:.1f} GB/s, matrix product {limits[1] / 1e9:.0f} G multiply-adds/s. "
        f"Rates: {this_machine().origin.partition(' (')[0]}. Figures are how many times longer the best setting of the peer "
        "takes; geometric means above.\n\n"
    )
    text = head + table(rows, limits, options.regret) + "\n"
    if options.o or not (options.quick or options.kind or options.name or THREADS != 2):
        target = options.o or HERE / "results" / f"{timing.cpu().lower().replace(' ', '-')}.md"
        target.write_text(text)
        print(f"wrote {target}", file=sys.stderr)
    print(text)


if __name__ == "__main__":
    main()
