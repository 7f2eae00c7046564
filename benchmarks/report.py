"""How long a report takes: ResNet-50, drawn at random, at level fast, part by part.

    python benchmarks/report.py [--quick] [--threads N]

The median of three runs after one that loads everything, in one process.
"""

import itertools
import statistics
import sys
import time
from pathlib import Path

from timing import rows, settle, write

THREADS = settle()

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "look"))
from architectures import Basic, ResNet, resnet50

from faltung.report import inspect


def timed(model, x) -> dict[str, tuple[float, float]]:
    """Seconds, and seconds of the processor, of each part of one report."""
    found: dict[str, tuple[float, float]] = {}
    marks = [("", *clocks())]
    inspect(model, x, progress=lambda part, share: marks.append((part, *clocks())))
    for (part, *start), (_, *end) in itertools.pairwise(marks):
        if part:
            found[part] = end[0] - start[0], end[1] - start[1]
    return {**found, "all": tuple(now - then for now, then in zip(clocks(), marks[0][1:], strict=True))}


def clocks() -> tuple[float, float]:
    """What tells the time, and what tells only one's own."""
    return time.perf_counter(), time.process_time()


def main() -> None:
    torch.manual_seed(0)
    quick = "--quick" in sys.argv
    model = (ResNet(Basic, (1, 1, 1, 1), width=8) if quick else resnet50()).eval()
    size = sum(p.numel() for p in model.parameters())
    x = torch.zeros(1, 3, 224, 224)
    runs = [timed(model, x) for _ in range(2 if quick else 4)][1:]
    lines = [[part, *(f"{statistics.median(run[part][c] for run in runs):.2f}" for c in (0, 1))] for part in runs[0]]
    page = f"""# Reports

{THREADS} threads. {"A small network" if quick else "ResNet-50"}, {size:,} parameters, level fast; median of {len(runs)} runs.

{rows(["part", "seconds", "seconds of the processor"], lines)}
"""
    write("report", page)


if __name__ == "__main__":
    main()
