"""Planner quality: problems that no rate was fitted on, the plan's method against all others that might win.

    python benchmarks/planner.py                           500 problems, ten minutes
    python benchmarks/planner.py --count 50 --seed 7       fewer, others
    python benchmarks/planner.py --threads 1 -o FILE.md    one thread; the table to a file
    python benchmarks/planner.py --profile profile.json    with another machine's rates

A slower machine on this one, without vectors of 64 bytes:

    NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES= python benchmarks/planner.py --threads 1

Regret is the time of the plan's choice over that of the fastest method (1: nothing was lost). Every method that does not refuse
and whose predicted time is below six times the choice's takes turns with it; the shortest of three to five turns counts. Printed:
one line a problem while it runs, the distribution, what each winning method lost to the choices, and the worst twenty problems.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import timing

THREADS = timing.settle()

import torch

from faltung import Policy
from faltung.errors import FaltungError
from faltung.methods import ALL
from faltung.planner import machine, plan_problem
from faltung.planner.drawn import draw
from timing import mean, rows, span

NEAR, BUDGET = 6.0, 0.3


def label(plan: object, k: object) -> str:
    """The method that computes, behind the adjoint that hands the work on."""
    way = plan.ways[-1]
    if plan.structured and k is not None:
        return plan.prepare(k).method
    return f"{way.method.name}: {label(way.parts[0], None)}" if way.method.delegates and way.parts else way.method.name


def measure(problem: object, hint: str) -> dict[str, float]:
    """Seconds of every way that might win, the choice first; methods that a filter's values rule out are left out.

    A choice that looked at the filter's values in vain has its own method, without the look, among the others.
    """
    given = timing.given(problem, timing.arrays_for(problem, hint))
    chosen = plan_problem(problem, Policy(threads=THREADS))
    first = label(chosen, given.get("k"))
    looked = bool(chosen.structured) and chosen.chosen is not None and first == chosen.chosen.method.name
    calls = {f"{first}, after a look" if looked else first: lambda: chosen.compute(**given)}
    for name in (m.name for m in ALL if m.name != "definition"):
        try:
            plan = plan_problem(problem, Policy(only=name, threads=THREADS))
            if plan.cost < NEAR * chosen.cost and (known := label(plan, given.get("k"))) not in calls:
                plan.compute(**given)  # an adjoint's part may find out only now that the filter is not of its kind
                calls[known] = lambda plan=plan: plan.compute(**given)
        except FaltungError:
            continue
    return timing.shortest(calls, BUDGET)


def page(found: list[tuple]) -> str:
    """The distribution, the classes, the winners and the worst rows, as Markdown."""
    regrets = sorted(regret for *_, regret, _ in found)
    count = len(regrets)
    classes, winners = defaultdict(list), defaultdict(list)
    for kind, _, times, regret, _ in found:
        classes[kind].append(regret)
        winners[min(times, key=times.get)].append(regret)
    at = lambda share: regrets[min(count - 1, int(share * count))]  # noqa: E731
    spread = [("geometric mean", mean(regrets))]
    spread += [(f"{int(100 * q)} %", f"{at(q):.2f}") for q in (0.5, 0.75, 0.9, 0.95, 0.99)] + [
        ("largest", f"{regrets[-1]:.2f}")
    ]
    spread += [(f"at most {limit}", f"{100 * sum(r <= limit for r in regrets) / count:.0f} %") for limit in (1.1, 1.5)]
    each = lambda groups: [  # noqa: E731
        (name, len(v), mean(v), f"{sorted(v)[min(len(v) - 1, int(0.95 * len(v)))]:.2f}", f"{max(v):.2f}")
        for name, v in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]
    worst = sorted(found, key=lambda row: -row[3])[:20]
    lines = [
        (f"{regret:.2f}", next(iter(times)), (best := min(times, key=times.get)), span(times[next(iter(times))]),
         span(times[best]), f"{predicted / times[next(iter(times))]:.2f}", f"`{problem.text}`")
        for _, problem, times, regret, predicted in worst
    ]  # fmt: skip
    head = ("mean", "95 %", "largest")
    return "\n\n".join(
        [
            rows(("regret", "of all"), spread),
            rows(("class", "problems", *head), each(classes)),
            rows(("fastest method", "problems", *head), each(winners)),
            rows(("regret", "chosen", "fastest", "chosen took", "fastest took", "predicted / took", "problem"), lines),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("-o", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    if options.profile:
        machine.profile_path = lambda: options.profile
        machine.this_machine.cache_clear()
        if "measured" not in machine.this_machine().origin:
            sys.exit(machine.this_machine().origin)
    found = []
    for number in range(options.count):
        kind, hint, problem = draw(options.seed, number)
        times = measure(problem, hint)
        first = next(iter(times))
        regret = times[first] / min(times.values())
        predicted = plan_problem(problem, Policy(threads=THREADS)).cost
        found.append((kind, problem, times, regret, predicted))
        print(f"{number} | {regret:.2f} | {first} | {problem.text} | {hint}", file=sys.stderr, flush=True)
    text = (
        f"# Planner: {options.count} problems of seed {options.seed} on {timing.cpu()}, {THREADS} threads\n\n"
        f"Rates: {machine.this_machine().origin}. Regret: time of the choice over that of the fastest method.\n\n"
    ) + page(found)
    if options.o:
        timing.write(options.o, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
