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
import math
import random
import sys
from collections import defaultdict
from pathlib import Path

import timing

THREADS = timing.settle()

import torch

from faltung import Policy, Spec
from faltung.door import problem_of
from faltung.errors import FaltungError
from faltung.methods import ALL
from faltung.planner import machine, plan_problem
from timing import mean, rows, span

MOST, LEAST, NEAR, BUDGET = 3e9, 2e3, 6.0, 0.3
BYTES = 1 << 28  # of signal, filter and result together, at most
BOUNDARIES = ("constant", "edge", "reflect", "symmetric", "wrap")


def between(r: random.Random, low: float, high: float) -> int:
    """A whole number, every octave equally likely."""
    return round(math.exp(r.uniform(math.log(low), math.log(high))))


def odd(r: random.Random, low: int, high: int) -> int:
    return between(r, low, max(low, high)) | 1


def dtype_of(r: random.Random, words: str = "float32 float32 float32 float32 float64 complex64 int32") -> str:
    return r.choice(words.split())


def image(r: random.Random) -> tuple:
    n = between(r, 32, 2048), between(r, 32, 2048)
    n = (n[0], n[0]) if r.random() < 0.5 else n
    top = max(3, min(*n, 64) // 2)
    t = (odd(r, 3, top),) * 2 if r.random() < 0.8 else (odd(r, 1, top), odd(r, 3, top))
    options = {"mode": r.choice(["same", "same", "same", "valid", "full"]), "boundary": r.choice(BOUNDARIES)}
    dtype = dtype_of(r)
    if r.random() < 0.2:
        return (*n, r.choice([3, 4])), t, "*s c, *s -> *s c", "float32", options, "random"
    hint = r.choice(["random", "random", "random", "gaussian", "box"]) if dtype.startswith("float") else "random"
    if hint == "gaussian":
        sigma = r.choice([0.8, 1.5, 3.0, 6.0])
        t, hint = (2 * int(4 * sigma + 0.5) + 1,) * 2, f"gaussian:{sigma}"
    if r.random() < 0.08:
        options |= {"over": "max-plus", "boundary": "constant"}
        dtype, hint = "float32", r.choice(["random", "zeros"])
    return n, t, None, dtype, options, hint


def signal(r: random.Random) -> tuple:
    n = between(r, 1e2, 1e7)
    t = between(r, 2, max(3, n / 2))
    options = {"mode": r.choice(["same", "full", "valid"]), "boundary": r.choice(BOUNDARIES)}
    if r.random() < 0.3:
        return (between(r, 2, 64), n), (t,), "c *s, *s -> c *s", dtype_of(r, "float32 float64"), options, "random"
    options["stride"] = r.choice([1, 1, 1, 2, 5])
    return (n,), (t,), None, dtype_of(r), options, "random"


def volume(r: random.Random) -> tuple:
    n = tuple(between(r, 16, 256) for _ in range(3))
    t = (r.choice([3, 3, 5, 7, 9, 11]),) * 3
    hint = r.choice(["random", "random", "box"])
    options = {"mode": r.choice(["same", "valid"]), "boundary": r.choice(BOUNDARIES)}
    return n, t, None, dtype_of(r, "float32 float32 float64"), options, hint


def layer(r: random.Random, kind: str) -> tuple:
    """A dense, depthwise or grouped layer in one, two or three dimensions, channels first or innermost."""
    ndim = r.choice([1, 2, 2, 2, 3])
    batch, c = between(r, 1, 32), between(r, 3, 512)
    o = c if kind != "dense" else between(r, 3, 512)
    size = {1: between(r, 128, 65536), 2: between(r, 7, 224), 3: between(r, 6, 48)}[ndim]
    small, large = ([1, 1, 3, 3, 3, 5, 7], [3, 3, 5, 7, 13, 31]) if ndim > 1 else ([1, 3, 9, 31], [3, 31, 255, 1023])
    t = min(r.choice(small if kind == "dense" else large), size | 1)
    stride = r.choice([1, 1, 1, 2]) if t > 1 else r.choice([1, 1, 2])
    options = {"mode": ((t // 2, t // 2),) * ndim, "stride": stride, "host": r.choice(["torch", "torch", "numpy"])}
    if t > 1 and r.random() < 0.1:
        options |= {"dilation": 2, "mode": ((t - 1, t - 1),) * ndim}
    if r.random() < 0.3:
        options["unknown"] = r.choice(["x", "k"])
    dtype = dtype_of(r, "float32 float32 float32 float32 float64")
    last, sizes, taps = r.random() < 0.5, (size,) * ndim, (t,) * ndim
    if kind == "grouped":
        g = r.choice([2, 4, 8])
        c, o = -(-c // g), -(-o // g)
        x, pattern = (batch, g, c, *sizes), "b g c *s, g o c *s -> b g o *s"
        return x, (g, o, c, *taps), pattern, dtype, options, "random"
    x = (batch, *sizes, c) if last else (batch, c, *sizes)
    if kind == "dense":
        pattern = "b *s c, o c *s -> b *s o" if last else "b c *s, o c *s -> b o *s"
        return x, (o, c, *taps), pattern, dtype, options, "random"
    return x, (c, *taps), "b *s c, c *s -> b *s c" if last else "b c *s, c *s -> b c *s", dtype, options, "random"


def draw(seed: int, number: int) -> tuple:
    """(class, hint, problem), the same for the same two numbers; what is too large or no problem is drawn again."""
    attempt = 0
    while True:
        attempt += 1
        r = random.Random(f"{seed} {number} {attempt}")
        kinds = ("image", "signal", "volume", "dense", "depthwise", "grouped")
        kind = r.choices(kinds, (5, 4, 2, 5, 3, 1))[0]
        made = {"image": image, "signal": signal, "volume": volume}.get(kind)
        x, k, pattern, dtype, options, hint = made(r) if made else layer(r, kind)
        unknown = options.pop("unknown", "out")
        try:
            problem = problem_of(False, Spec(x, dtype), Spec(k, dtype), pattern, **options).gradient(unknown)
        except FaltungError:
            continue
        values = sum(math.prod(shape) for shape in (problem.x_shape, problem.k_shape, problem.out_shape))
        if LEAST <= problem.macs <= MOST and values * 8 <= BYTES:
            return kind, hint, problem


def label(plan: object, k: object) -> str:
    """The method that computes, behind the adjoint that hands the work on."""
    way = plan.ways[-1]
    if plan.structured and k is not None:
        return plan.prepare(k).method
    return f"{way.method.name}: {label(way.parts[0], None)}" if way.method.delegates and way.parts else way.method.name


def measure(problem: object, hint: str) -> dict[str, float]:
    """Seconds of every way that might win, the choice first; methods that a filter's values rule out are left out."""
    given = timing.given(problem, timing.arrays_for(problem, hint))
    chosen = plan_problem(problem, Policy(threads=THREADS))
    calls = {label(chosen, given.get("k")): lambda: chosen.compute(**given)}
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
