"""What a call takes beside its operands and result, against the budget and the plan's promise.

    python benchmarks/memory.py                       1024³ float32 (4 GB, and as much for the result), budget 1 GiB
    python benchmarks/memory.py --side 400 --budget 0.1

Each row runs in a process of its own, whose high-water mark after the call is compared with that before it; the filter is
random, a Gaussian or a box. A row that the planner refuses says what it says. Writes benchmarks/results/memory.md at the default
size, and prints otherwise.
"""

import argparse
import subprocess
import sys

import timing

timing.settle()

import numpy as np

from faltung import Policy, convolve, filters, plan
from faltung.errors import RefusedError
from timing import high_water, megabytes, once, rows, span

CASES = {
    "random 3³": "float32", "random 5³": "float32", "random 15³": "float32", "Gaussian σ=2": "float32", "box 15³": "float32",
    "random 3³, uint8 signal": "uint8",
}  # fmt: skip


def taps(case: str) -> np.ndarray:
    if case.startswith("Gaussian"):
        return filters.gaussian(2.0, ndim=3).astype("float32")
    t = int(case.split()[1].split("³")[0])
    if case.startswith("box"):
        return np.full((t,) * 3, t**-3.0, "float32")
    return np.random.default_rng(0).standard_normal((t,) * 3).astype("float32")


def line(case: str, side: int, budget: int) -> str:
    """One row's cells, measured in this process."""
    k, policy = taps(case), Policy(memory=budget)
    convolve(np.ones((40,) * 3, CASES[case]), k, mode="same", policy=policy)  # libraries and kernels in place
    x = np.empty((side,) * 3, CASES[case])
    rng = np.random.default_rng(0)
    for plane in x:
        plane[...] = rng.integers(0, 100, plane.shape, np.uint8)
    result = 4 * side**3
    try:
        chosen = plan(x, k, mode="same", policy=policy)
    except RefusedError as error:
        said = str(error).split("direct: ")[1].split(";")[0]
        return f"{case} | refused | direct: {said} | | |"
    before = high_water()
    seconds = once(lambda: convolve(x, k, mode="same", policy=policy))
    grown = high_water() - before
    method = chosen.prepare(k).method
    beside = max(0, grown - result)
    return (
        f"{case} | {method} | {megabytes(chosen.scratch)} | {megabytes(grown)} | {megabytes(beside)} | {span(seconds)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--budget", type=float, default=1.0, help="GiB beside operands and result")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    budget = int(options.budget * 2**30)
    if options.case:
        print(line(options.case, options.side, budget))
        return
    lines = []
    for case in CASES:
        command = [
            sys.executable,
            __file__,
            "--case",
            case,
            "--side",
            str(options.side),
            "--budget",
            str(options.budget),
        ]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        lines.append([cell.strip() for cell in run.stdout.strip().split(" | ")])
        print(*lines[-1], sep=" | ", flush=True)
    text = (
        f"# Memory on {timing.cpu()}, 2 threads\n\n{options.side}³ samples, result float32 ({megabytes(4 * options.side**3)}), "
        f"Policy(memory={megabytes(budget)}). Grown: the process, by the call, result included.\n\n"
        + rows(("filter", "method", "promised", "grown", "beside the result", "time"), lines)
    )
    if options.side == 1024:
        timing.write("memory", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
