"""One thread against two, and company: the same calls beside other Python threads, torch and BLAS.

    python benchmarks/threads.py            about two minutes, writes benchmarks/results/threads.md
    python benchmarks/threads.py --quick    one row a class, printed only

First table: a few problems of every class with Policy(threads=1) and Policy(threads=2), in turns, and the speed-up; *side by side*
is what two independent calls on one thread each gain when they run at once, which is all that the machine has to give.
Second table: the wall time of settings in which more threads want to run than there are processors, over the ideal, which is
what the parts of the setting take one after the other with both processors to themselves (or side by side on one each, where that
is faster). Libraries wait as they do by default, spinning included. Above 1.3 a row is marked.
"""

import argparse
import os
import threading
import warnings
from collections import defaultdict
from collections.abc import Callable

import timing

timing.settle()
os.environ.pop("OMP_WAIT_POLICY", None)  # company as users have it

import numpy as np
import torch

from faltung import Policy, Problem
from faltung.planner import plan_problem
from timing import HERE, mean, once, rows, span

LIMIT, ROUND, ROUNDS = 1.3, 0.1, 4
COMPANY = (
    "2048², 7²",
    "1M × 1001",
    "ResNet-50 3x3 64 batch 8",
    "ResNet-50 1x1 64-256 batch 8",
    "dw 96 batch 8",
    "32² × 3²",
)


def corpus() -> dict[str, list[tuple[str, str, Problem]]]:
    """Rows of the corpus by class."""
    found = defaultdict(list)
    for line in (HERE / "problems.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            kind, name, hint, text = line.split(" | ", 3)
            found[kind].append((name, hint, Problem.parse(text)))
    return found


def call_of(problem: Problem, hint: str, threads: int) -> tuple[Callable, str]:
    """A call on so many threads, and the method."""
    plan = plan_problem(problem, Policy(threads=threads))
    given = timing.given(problem, timing.arrays_for(problem, hint))

    return (lambda: plan.compute(**given)), plan.method


def speedups(per_class: int) -> tuple[str, str]:
    """The summary by class and the table of rows."""
    lines, ratios = [], defaultdict(list)
    for kind, entries in corpus().items():
        light = [entry for entry in entries if entry[2].macs < 2e10]
        step = max(1, len(light) // per_class)
        for name, hint, problem in light[::step][:per_class]:
            one, method = call_of(problem, hint, 1)
            two, second = call_of(problem, hint, 2)
            seconds = in_turns({"one": one, "two": two})
            torch.set_num_threads(1)
            single = repeated(one, max(1, int(0.05 / seconds["one"])))
            most = 2 * min(once(single) for _ in range(3)) / min(at_once(single, single) for _ in range(3))
            ratio = seconds["one"] / seconds["two"]
            ratios[kind].append((ratio, most))
            method = method if method == second else f"{method}, {second}"
            lines.append(
                (kind, name, method, span(seconds["one"]), span(seconds["two"]), f"{ratio:.2f}", f"{most:.2f}")
            )
            print(*lines[-1], sep=" | ", flush=True)
    summary = [
        (kind, len(r), mean(a for a, _ in r), f"{min(a for a, _ in r):.2f}", mean(b for _, b in r))
        for kind, r in ratios.items()
    ]
    return rows(("class", "rows", "speed-up", "least", "side by side"), summary), rows(
        ("class", "problem", "method", "one thread", "two threads", "speed-up", "side by side"), lines
    )


def in_turns(calls: dict[str, Callable]) -> dict[str, float]:
    """Least seconds of each call, torch's threads set and a call made before each turn: a new number makes new threads."""
    least: dict[str, float] = {}
    for _ in range(ROUNDS):
        for number, (label, call) in enumerate(calls.items(), 1):
            torch.set_num_threads(number)
            repeats = max(1, int(0.02 / max(once(call), once(call))))
            least[label] = min(least.get(label, float("inf")), once(call, repeats))
    return least


def at_once(*jobs: Callable) -> float:
    """Seconds until all jobs, each in a Python thread of its own, have ended."""
    start, threads = threading.Barrier(len(jobs) + 1), []
    for job in jobs:
        threads.append(threading.Thread(target=lambda job=job: (start.wait(), job())))
        threads[-1].start()
    return once(lambda: (start.wait(), [t.join() for t in threads]))


def repeated(call: Callable, times: int) -> Callable:
    def run() -> None:
        for _ in range(times):
            call()

    return run


def company(quick: bool) -> tuple[str, list[str]]:
    """Settings over their ideal, and the rows above the limit."""
    torch.set_num_threads(2)
    a, m = torch.randn(700, 700), np.random.default_rng(0).standard_normal((700, 700)).astype("float32")
    others = {"torch": lambda: a @ a, "BLAS": lambda: m @ m}
    lines, slow = [], []
    for name in COMPANY[: 2 if quick else None]:
        found = [(h, p) for entries in corpus().values() for n, h, p in entries if n.endswith(name)]
        hint, problem = found[0]
        call, method = call_of(problem, hint, 2)
        alone, _ = call_of(problem, hint, 1)
        torch.set_num_threads(2)
        call()
        times = max(1, int(ROUND / once(repeated(call, 3)) * 3))
        ours = repeated(call, times)
        cells = []
        sets: dict[str, tuple[Callable, Callable]] = {
            "two threads": (lambda ours=ours: at_once(ours, ours), lambda ours=ours: 2 * once(ours)),
        }
        for label, other in others.items():
            other()
            count = max(1, int(ROUND / once(repeated(other, 3)) * 3))
            theirs = repeated(other, count)
            sets[f"beside {label}"] = (
                lambda ours=ours, theirs=theirs: at_once(ours, theirs),
                lambda ours=ours, theirs=theirs: once(ours) + once(theirs),
            )

            each = min(times, count)

            def turns(other: Callable = other, call: Callable = call, each: int = each) -> None:
                for _ in range(each):
                    call()
                    other()

            sets[f"in turns with {label}"] = (
                lambda turns=turns: once(turns),
                lambda call=call, other=other, each=each: once(repeated(call, each)) + once(repeated(other, each)),
            )
        for label, (setting, ideal) in sets.items():
            took, best = [], []
            for _ in range(ROUNDS):
                took.append(setting())
                best.append(ideal())
                if label == "two threads":  # two calls, one thread each, side by side
                    single = repeated(alone, times)
                    torch.set_num_threads(1)
                    alone()
                    best.append(at_once(single, single))
                    torch.set_num_threads(2)
                    call()
            ratio = min(took) / min(best)
            cells.append(f"**{ratio:.2f}**" if ratio > LIMIT else f"{ratio:.2f}")
            if ratio > LIMIT:
                slow.append(f"{name}, {label}: {ratio:.2f}")
        lines.append((name, method, *cells))
        print(*lines[-1], sep=" | ", flush=True)
    return rows(("problem", "method", *sets), lines), slow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    summary, table = speedups(1 if options.quick else 3)
    settings, slow = company(options.quick)
    verdict = "No setting is slower than 1.3 times its ideal." if not slow else "Above 1.3: " + "; ".join(slow) + "."
    text = (
        f"# Threads on {timing.cpu()}\n\n## One thread and two\n\n*Side by side*: what two independent calls on one thread each "
        f"gain when they run at once, which is all that the machine has to give.\n\n{summary}\n\n{table}\n\n## Company\n\n"
        "Wall time over the ideal: *two threads*: two Python threads make the same calls at once; *beside*: the other library "
        "multiplies matrices in another Python thread with two threads of its own; *in turns*: calls of both, one after the "
        f"other, in one thread. Libraries wait as they do by default.\n\n{settings}\n\n{verdict}\n"
    )
    if options.quick:
        print(text)
    else:
        timing.write("threads", text)


if __name__ == "__main__":
    main()
