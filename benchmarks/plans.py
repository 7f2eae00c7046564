"""Replay the plans of the corpus on fixed machines and hold them against the plans kept as text.

    python benchmarks/plans.py            compare; exit code 1 and the differing lines where a plan changed
    python benchmarks/plans.py --write    keep today's plans

A stopwatch in a test measures its neighbours. A plan is a pure function of problem and machine, so a change of a cost, a rate
or a refusal shows as a changed line, which whoever made it must look at and keep. Machines: the shipped rates on two threads with
64-byte vectors, and on one thread with 32-byte vectors. Each line holds the methods in the order in which a plan tries them, for
tensors with channels innermost too. bfloat16 layers are left out: what they need depends on the processor at hand.
"""

import argparse
import difflib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
MACHINES = {
    "two-threads-64-bytes": (2, {"NUMBA_CPU_NAME": "x86-64-v4", "NUMBA_CPU_FEATURES": "+avx512f"}),
    "one-thread-32-bytes": (1, {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx2,+fma"}),
}


def path_of(name: str) -> Path:
    """Where the plans of a machine are kept."""
    return HERE / "plans" / f"{name}.txt"


def lines(threads: int) -> list[str]:
    """The plans of the whole corpus, for the processor that the environment names."""
    from faltung import Policy
    from faltung.planner.choose import planned_on
    from faltung.planner.machine import Machine, shipped
    from faltung.problem import Problem
    from faltung.torch_memory import stated_last

    profile = shipped()
    machine = Machine(profile["rates"], threads, profile["cache"], 24 << 30, "the shipped rates")
    out = []
    for row in (HERE / "problems.txt").read_text().splitlines():
        if row.startswith("#") or "bfloat16" in row:
            continue
        kind, name, _, text = row.split(" | ", 3)
        problem = Problem.parse(text)
        stated = {"": problem}
        if problem.host == "torch" and problem.grid.ndim == 2 and len(problem.x_shape) == 4:
            stated[", channels last"] = stated_last(text).problem
        for suffix, one in stated.items():
            ways = [way.method.name for way in planned_on(one, Policy(), machine).ways]
            out.append(f"{kind} | {name}{suffix} | {' > '.join(ways)}")
    return out


def replayed(name: str) -> list[str]:
    """Today's plans on a machine, made in a process of its own, because vectors have one width for a whole process."""
    threads, processor = MACHINES[name]
    environment = {**os.environ, **processor, "FALTUNG_COMPILE": "eager"}
    command = [sys.executable, __file__, "--lines", str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def differences(name: str) -> list[str]:
    """Lines of a unified difference between the kept plans and today's; none where they agree."""
    kept = path_of(name).read_text().splitlines()
    return list(difflib.unified_diff(kept, replayed(name), "kept", "today", lineterm="", n=0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--lines", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.lines:
        print("\n".join(lines(options.lines)))
        return 0
    changed = 0
    for name in MACHINES:
        if options.write:
            path_of(name).parent.mkdir(exist_ok=True)
            path_of(name).write_text("\n".join(replayed(name)) + "\n")
            continue
        for line in differences(name):
            print(f"{name}: {line}")
            changed = 1
    return changed


if __name__ == "__main__":
    sys.exit(main())
