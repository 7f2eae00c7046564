"""Growth of Cayley graphs against CayleyPy on the same CPU, in one process, in turns; and storages against each other.

    python benchmarks/cayley.py                up to 10! states, about three minutes
    python benchmarks/cayley.py --most 11      up to 11!
    python benchmarks/cayley.py --large        LRX with 12! states by ours alone, a row of its own
    python benchmarks/cayley.py --write        also writes benchmarks/results/cayley.md

CayleyPy (pip install cayleypy) is measured by its three searches where they apply: `bfs` on torch tensors, `bfs_numpy`, and
`bfs_bitmask`. Every search is checked to give the same layers.
"""

import argparse
import math
import statistics
import time

import timing

THREADS = timing.settle()

import cayleypy
import numpy as np
import torch
from cayleypy.algo.bfs_bitmask import bfs_bitmask
from cayleypy.algo.bfs_numpy import bfs_numpy

import faltung
from faltung import cayley
from faltung.cayley.young import young_convolve

TURNS = 3
SETS = ["lrx({})", "lx({})", "pancake({})", "top_spin({}, 4)"]


def searches(text: str) -> dict:
    """Name → a function that returns the layer sizes."""
    g = cayley.generator_set(text)
    calls = {
        f"ours, {s}": (lambda s=s: list(cayley.growth(g, storage=s, threads=THREADS).layers))
        for s in ("bits", "thirds", "sorted")
        if s != "thirds" or g.closed
    }
    definition = cayleypy.CayleyGraphDef.create(g.rows.tolist())
    graph = cayleypy.CayleyGraph(definition, device="cpu")
    calls["CayleyPy bfs"] = lambda: list(graph.bfs(max_layer_size_to_store=1).layer_sizes)
    if g.closed:
        calls["CayleyPy numpy"] = lambda: list(bfs_numpy(graph))
    if g.size > 8:
        calls["CayleyPy bitmask"] = lambda: list(bfs_bitmask(graph))
    return calls


def measured(calls: dict, turns: int) -> dict[str, float]:
    """Median seconds of each call, in turns, after one turn to warm up; all must agree."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns + 1):
        results = {}
        for name, call in calls.items():
            begun = time.perf_counter()
            results[name] = call()
            if turn:
                times[name].append(time.perf_counter() - begun)
        first = next(iter(results.values()))
        assert all(r == first for r in results.values()), {n: r[:9] for n, r in results.items()}
    return {name: statistics.median(t) for name, t in times.items()}


def table_of_growth(most: int) -> list[str]:
    lines = ["| set | states × generators | search | seconds | ours, best, is faster by |", "|---|---|---|---|---|"]
    for n in range(9, most + 1):
        for template in SETS:
            if n == 11 and template != SETS[0]:
                continue
            text = template.format(n)
            found = measured(searches(text), TURNS if n < 10 else 1)
            best = min(t for name, t in found.items() if name.startswith("ours"))
            g = cayley.generator_set(text)
            for name, seconds in found.items():
                ratio = "" if name.startswith("ours") else f"{seconds / best:.1f} ×"
                lines.append(f"| `{text}` | {g.order} × {len(g)} | {name} | {seconds:.3g} | {ratio} |")
                print(lines[-1], flush=True)
    return lines


def table_of_convolutions() -> list[str]:
    lines = ["| group | method | first call, seconds | later calls, median seconds |", "|---|---|---|---|"]
    for n in (5, 6, 7, 8):
        x, k = np.random.default_rng(n).normal(size=(2, math.factorial(n)))
        on, scatter = f"symmetric({n})", faltung.Policy(only="scatter")
        calls = {"Young's transforms": lambda x=x, k=k, n=n: young_convolve(x, k, n)}
        if n < 8:
            calls["the list of pairs"] = lambda x=x, k=k, on=on, p=scatter: faltung.convolve(x, k, on=on, policy=p)
        begun, first = time.perf_counter(), {}
        for name, call in calls.items():
            call()
            begun, first[name] = time.perf_counter(), time.perf_counter() - begun
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(5):
            for name, call in calls.items():
                begun = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - begun)
        for name in calls:
            lines.append(f"| {on} | {name} | {first[name]:.3g} | {statistics.median(times[name]):.3g} |")
            print(lines[-1], flush=True)
    return lines


def large() -> str:
    begun = time.perf_counter()
    found = cayley.growth(cayley.generator_set("lrx(12)"), storage="bits", threads=THREADS, progress=True)
    assert found.diameter == 66
    return f"`lrx(12)`: {found.order} states, diameter {found.diameter}, in {time.perf_counter() - begun:.1f} s."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most", type=int, default=10)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    begun = time.strftime("%Y-%m-%d")
    parts = [
        "# Growth of Cayley graphs",
        f"Measured {begun}, {THREADS} threads, in turns after one to warm up: medians of three, from 10 points on one. "
        "Other work ran beside it: compare the times of one set with each other only.",
        "",
    ]
    parts += [
        *table_of_growth(options.most),
        "",
        "## Convolution on symmetric groups",
        "",
        *table_of_convolutions(),
        "",
    ]
    if options.large:
        parts += [large(), ""]
    if options.write:
        (timing.RESULTS / "cayley.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
