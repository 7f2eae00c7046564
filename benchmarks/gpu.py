"""Convolutions on a GPU: checked first, then timed against torch.fft, cuDNN and compositions in torch, then written down.

    python benchmarks/gpu.py                  # on a CUDA device; writes benchmarks/results/NAME-OF-THE-DEVICE.md
    python benchmarks/gpu.py --to 32768       # lengths up to there; --from, and --tables for some tables only
    python benchmarks/gpu.py --check-only     # no clock; without a device at tiny sizes in Triton's interpreter

The page is written after every row. Rows that it holds from the same device and versions are kept, and no row is begun after
`--minutes`: call again, and what is left is measured (the exit code is 3 as long as something is). Times are medians of interleaved
calls between CUDA events. Where a row does not fit the device's memory, its batch and then its channels are halved until it does,
and the times are those of the smaller row, scaled; the page says so. A call that runs out of memory all the same has a cell that
says that in place of a number.
"""

import argparse
import os
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # also where this file is loaded by its path

from gpu_rows.calls import gated, planes, sequences
from gpu_rows.page import Cuda, Page, fill
from gpu_rows.tables import FILTERS, NEAR, all_tables

RESULTS = Path(__file__).parent / "results"
QUICK = 16384
ROUNDS = 15


def main() -> int:
    """Check, time, write; the exit code is 1 where a result is wrong, 3 where rows are left."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check-only", action="store_true", help="compare results and stop")
    parser.add_argument("--quick", action="store_true", help=f"lengths up to {QUICK}, fewer rounds")
    parser.add_argument("--from", dest="least", type=int, default=0, help="shortest length of the table of lengths")
    parser.add_argument("--to", dest="most", type=int, default=0, help="longest length of the table of lengths")
    parser.add_argument("--tables", default="", help="names of tables, by comma; all where left out")
    parser.add_argument("--minutes", type=float, default=8.0, help="no row is begun later than that")
    parser.add_argument("--anew", action="store_true", help="forget the rows that the page holds")
    arguments = parser.parse_args()
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not arguments.check_only:
        print("there is no CUDA device: nothing to time (--check-only checks in Triton's interpreter)", file=sys.stderr)
        return 2
    if device == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        print("without a CUDA device: set TRITON_INTERPRET=1 before Python starts", file=sys.stderr)
        return 2
    torch.backends.cudnn.allow_tf32 = False  # its float32 is to be float32, as ours is
    wrong = check(device)
    for sentence in wrong:
        print(f"WRONG {sentence}", file=sys.stderr)
    if wrong:
        return 1
    print("all results are right")
    if arguments.check_only:
        return 0
    return timing(Cuda(), arguments, torch.cuda.get_device_name(), versions(), started)


def timing(device, arguments, title: str, facts: str, started: float) -> int:
    """Fill the device's page with what was asked for; the exit code."""
    tables = all_tables(device, 5 if arguments.quick else ROUNDS)
    names = set(filter(None, arguments.tables.split(",")))
    if unknown := names - {table.name for table in tables}:
        print(f"no table {', '.join(sorted(unknown))}: {', '.join(t.name for t in tables)}", file=sys.stderr)
        return 2
    most = arguments.most or (QUICK if arguments.quick else sys.maxsize)
    path = RESULTS / f"{re.sub('[^a-z0-9]+', '-', title.lower()).strip('-')}.md"
    if arguments.anew:
        path.unlink(missing_ok=True)
    page = Page(path, title, facts, tables)

    def chosen(table, case) -> bool:
        return (not names or table.name in names) and (not case.size or arguments.least <= case.size <= most)

    left = fill(page, device, chosen, started + 60 * arguments.minutes)
    print("\n".join(page.lines()), f"\nwrote {path}")
    if any("wrong" in cell for rows in page.rows.values() for row in rows.values() for cell in row):
        print("WRONG: see the cells that say so", file=sys.stderr)
        return 1
    if left:
        print(f"{left} rows are left: call again", file=sys.stderr)
    return 3 if left else 0


def versions() -> str:
    """What was measured with what."""
    import torch
    import triton

    return f"`python benchmarks/gpu.py`, torch {torch.__version__}, triton {triton.__version__}, CUDA {torch.version.cuda}."


# -- checking ----------------------------------------------------------------------------------------------------------------


def check(device: str) -> list[str]:
    """Sentences on what is wrong: kernels against their contracts, then what is timed against float64."""
    import torch

    from faltung.kernels import ALL
    from faltung.testing.triton_kernels import TRITON_CHECKS

    wrong = []
    if device == "cuda":
        for kernel in ALL:
            if kernel.tool == "triton":
                try:
                    TRITON_CHECKS[kernel.name](kernel.module, device=device)
                except AssertionError as error:
                    wrong.append(str(error))
    small = device == "cpu"
    lengths, shape, sizes = (
        ((256,), (1, 2, 9), (5,)) if small else ((256, 1000, 4096, 32768, 1 << 17), (2, 3, 40), FILTERS)
    )
    for dtype in ("float16",) if small else NEAR:
        for n in lengths:
            x, k, a, b = sequences(2, 2, n, dtype, device)
            for gates in ((None, None), (a, b)):
                came = gated(x, k, *gates, dtype)().double()
                wide = [None if g is None else g.double() for g in (x, k, *gates)]
                signal = wide[0] if wide[2] is None else wide[0] * wide[2]
                whole = torch.fft.irfft(torch.fft.rfft(signal, 2 * n) * torch.fft.rfft(wide[1], 2 * n), 2 * n)[..., :n]
                whole = whole if wide[3] is None else whole * wide[3]
                wrong += compare(came, whole, NEAR[dtype], f"length {n} in {dtype}, gated: {gates[0] is not None}")
        for size in sizes:
            for what, calls in planes(dtype, size, shape, device).items():
                wanted = planes("float64", size, shape, device)[what]["torch"]()
                for who in ("faltung", "auto"):
                    came = calls[who]().double()
                    wrong += compare(came, wanted, NEAR[dtype], f"{what} of {size}x{size} in {dtype}, {who}")
    return wrong


def compare(came, wanted, near: float, what: str) -> list[str]:
    """A sentence where the largest difference is more than that share of the largest value."""
    worst = float((came - wanted).abs().max() / wanted.abs().max())
    return [] if worst <= near else [f"{what}: {worst:.1e} of the largest value, allowed {near:.1e}"]


if __name__ == "__main__":
    sys.exit(main())
