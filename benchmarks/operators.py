"""Operators against their reference implementations or the naive composition in torch, all in one process and interleaved.

    python benchmarks/operators.py            writes benchmarks/results/operators.md
    python benchmarks/operators.py --only triangular
    python benchmarks/operators.py --no-memory    times only, a third of the minutes
    python benchmarks/operators.py --peaks        fills the memory that the written table lacks; leaves its times alone

Each module of `operator_rows` yields `Row`s. Ratios are peer over ours (below 1: the peer is faster); "target" is what was asked
for. Peak memory is what the high-water mark of a process of its own grows by in one call after a small warm-up call.
"""

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

import timing

timing.settle()

from operator_rows import Row

ROOM = Path(__file__).parent / "operator_rows"


def found(only: str) -> list[Row]:
    """The rows of all modules, or of those whose name contains `only`."""
    names = sorted(path.stem for path in ROOM.glob("[a-z]*.py") if only in path.stem)
    return [row for name in names for row in importlib.import_module(f"operator_rows.{name}").rows()]


def peak(label: str, which: str, only: str) -> int:
    """Bytes by which one call raises the high-water mark of a process of its own."""
    command = [sys.executable, __file__, "--only", only, "--peak", json.dumps([label, which])]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def fill_peaks(path: Path) -> None:
    """Put measured peaks where the written table has none; memory does not depend on what else the machine does, times would."""
    lines = path.read_text().splitlines()
    families = {row.label: name for name in sorted(p.stem for p in ROOM.glob("[a-z]*.py")) for row in found(name)}
    measured: dict[tuple[str, str], str] = {}
    for n, line in enumerate(lines):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 7 or cells[0] not in families or cells[5] != "—":
            continue
        label, name = cells[0], cells[2]
        for which in ("ours", name):
            if (label, which) not in measured:
                measured[label, which] = timing.megabytes(peak(label, which, families[label]))
        lines[n] = "| " + " | ".join([*cells[:5], measured[label, "ours"], measured[label, name]]) + " |"
        print(lines[n], file=sys.stderr)
        path.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--peak", default="")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--peaks", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    if chosen.peaks:
        fill_peaks(timing.RESULTS / "operators.md")
        return
    rows = found(chosen.only)
    if chosen.peak:
        label, which = json.loads(chosen.peak)
        row = next(row for row in rows if row.label == label)
        row.warm()
        before = timing.high_water()
        (row.ours if which == "ours" else row.peers[which])()
        print(timing.high_water() - before)
        return
    lines = []
    for row in rows:
        times, results = timing.interleaved({"ours": row.ours, **row.peers})
        row.agree(results)
        for name in row.peers:
            both = () if chosen.no_memory else ("ours", name)
            memory = [timing.megabytes(peak(row.label, which, chosen.only)) for which in both] or ["—", "—"]
            ratio = times[name] / times["ours"]
            target = row.targets.get(name)
            verdict = "" if target is None else f"≥ {target:g} {'met' if ratio >= target else '**missed**'}"
            lines.append([row.label, timing.span(times["ours"]), name, f"{ratio:.2f}", verdict, *memory])
            print(lines[-1], file=sys.stderr)
    command = "python benchmarks/operators.py" + " --no-memory" * chosen.no_memory
    text = f"# Operators\n\n{timing.cpu()}, {chosen.threads} threads, `{command}`\n\n"
    text += timing.rows(("operator", "ours", "peer", "peer / ours", "target", "peak, ours", "peak, peer"), lines)
    if chosen.only:
        print(text)
    else:
        timing.write("operators", text)


if __name__ == "__main__":
    main()
