"""A page of measured rows that is written after every row, and what measuring one row takes.

A page is read before anything is measured: rows that the same device gave with the same versions are kept, so that a run that was
stopped, or that measures some lengths only, is gone on with by the next one.
"""

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WARM = 3
PIECE = 1 << 26
SHARE = 0.8  # of the free memory that a row may plan with
Found = dict[str, float | str]


@dataclass(frozen=True)
class Case:
    """One row: the cells that name it, and a function that measures the others; `size` is what lengths are chosen by."""

    key: tuple[str, ...]
    measure: Callable[[], Sequence[str]]
    size: int = 0


@dataclass(frozen=True)
class Table:
    """A heading, sentences, the names of the columns and the rows in order."""

    name: str
    heading: str
    text: tuple[str, ...]
    header: tuple[str, ...]
    cases: tuple[Case, ...]


class Page:
    """Rows by table and name, in a Markdown file."""

    def __init__(self, path: Path, title: str, facts: str, tables: Sequence[Table]) -> None:
        self.path, self.title, self.facts, self.tables = path, title, facts, tables
        self.rows: dict[str, dict[tuple[str, ...], list[str]]] = {table.name: {} for table in tables}
        if path.exists():
            self._read(path.read_text().splitlines())

    def _read(self, lines: list[str]) -> None:
        if lines[:1] != [f"# {self.title}"] or self.facts not in lines:
            print(f"{self.path} was made on another device or with other versions: it is begun anew", file=sys.stderr)
            return
        by_heading = {f"## {table.heading}": table for table in self.tables}
        table = None
        for line in lines:
            if line.startswith("## "):
                table = by_heading.get(line)
            elif table and line.startswith("| "):
                cells = [cell.strip() for cell in line.strip("|").split("|")]
                names = {case.key for case in table.cases}
                key = tuple(cells[: len(table.cases[0].key)])
                if key in names and len(cells) == len(table.header):
                    self.rows[table.name][key] = cells

    def has(self, table: Table, case: Case) -> bool:
        """Whether that row was measured before."""
        return case.key in self.rows[table.name]

    def put(self, table: Table, case: Case, cells: Sequence[str]) -> None:
        """Keep a row, and the page with it."""
        row = [*case.key, *cells]
        assert len(row) == len(table.header), (table.name, row)
        self.rows[table.name][case.key] = row
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("\n".join(self.lines()) + "\n")
        os.replace(temporary, self.path)

    def lines(self) -> list[str]:
        """The page; tables without a row are left out."""
        page = [f"# {self.title}", "", self.facts]
        for table in self.tables:
            rows = self.rows[table.name]
            if rows:
                page += ["", f"## {table.heading}", "", *table.text, ""]
                page += [_line(table.header), "|" + "---|" * len(table.header)]
                page += [_line(rows[case.key]) for case in table.cases if case.key in rows]
        return page


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def fill(
    page: Page,
    device: Any,
    chosen: Callable[[Table, Case], bool],
    until: float,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Measure the chosen rows that the page lacks, as long as there is time; how many are left."""
    left = 0
    for table in page.tables:
        for case in table.cases:
            if not chosen(table, case) or page.has(table, case):
                continue
            if clock() > until:
                left += 1
                continue
            cells = attempt(device, case.measure)
            if isinstance(cells, str):  # the operands alone are too large
                cells = [cells, *[""] * (len(table.header) - len(case.key) - 1)]
            page.put(table, case, cells)
            device.release()
            print(_line(page.rows[table.name][case.key]), file=sys.stderr)
    return left


# -- one row -----------------------------------------------------------------------------------------------------------------


class Cuda:
    """What measuring asks of a device."""

    name = "cuda"

    def free(self) -> int:
        """Bytes that are free."""
        import torch

        return int(torch.cuda.mem_get_info()[0])

    def milliseconds(self, call: Callable[[], Any]) -> float:
        """Between events before and after a call."""
        import torch

        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)

    def peak(self, call: Callable[[], Any]) -> int:
        """Most bytes that a call holds beside its operands, its result included."""
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before)

    def release(self) -> None:
        """Give back what nothing refers to."""
        import torch

        gc.collect()
        torch.cuda.empty_cache()


def refusal(error: BaseException) -> str | None:
    """What a cell says in place of a number, None for an error that is none of memory."""
    if type(error).__name__ == "OutOfMemoryError" or "ALLOC_FAILED" in str(error):
        return "does not fit"
    if type(error).__name__ == "OutOfResources":  # Triton's: more shared memory or registers than a multiprocessor has
        return "does not fit a multiprocessor"
    return None


def shrunk(batch: int, channels: int, each: int, free: int) -> tuple[int, int]:
    """Batch and channels whose `each` bytes fit: the batch is halved first, then the channels."""
    while batch * channels * each > SHARE * free and (batch > 1 or channels > 1):
        batch, channels = (batch // 2, channels) if batch > 1 else (1, channels // 2)
    return batch, channels


def attempt(device: Any, call: Callable[[], Any]) -> Any:
    """The call's result, or the sentence of `refusal` where memory does not suffice."""
    try:
        return call()
    except Exception as error:
        said = refusal(error)
        if said is None:
            raise
    device.release()  # here the error, and with it what its frames held, is gone
    return said


def timed(device: Any, calls: dict[str, Callable[[], Any]], rounds: int) -> Found:
    """Median milliseconds of each call, A B C A B C ..., after turns to warm up; a sentence for one that does not fit."""
    found: Found = {}
    times: dict[str, list[float]] = {label: [] for label in calls}

    def warm(call: Callable[[], Any]) -> None:
        for _ in range(WARM):
            call()

    for label, call in calls.items():
        said = attempt(device, lambda call=call: warm(call))
        if said is not None:
            found[label] = said
    for _ in range(rounds):
        for label, call in calls.items():
            if label not in found:
                took = attempt(device, lambda call=call: device.milliseconds(call))
                if isinstance(took, str):
                    found[label] = took
                else:
                    times[label].append(took)
    return {label: found.get(label) or statistics.median(times[label]) for label in calls}


def peaks(device: Any, calls: dict[str, Callable[[], Any]]) -> Found:
    """Most bytes that each call holds beside its operands; a sentence for one that does not fit."""
    return {label: attempt(device, lambda call=call: device.peak(call)) for label, call in calls.items()}


def apart(ours: Any, theirs: Any) -> float:
    """The largest difference over the largest value, in pieces of a few values; the worst of several results."""
    if isinstance(ours, (tuple, list)):
        return max(apart(a, b) for a, b in zip(ours, theirs, strict=True))
    pairs = list(zip(ours.flatten().split(PIECE), theirs.flatten().split(PIECE), strict=True))
    worst = max(float((a.float() - b.float()).abs().max()) for a, b in pairs)
    return worst / max(float(b.abs().max()) for _, b in pairs) if worst == worst else float("inf")


def agreed(device: Any, calls: dict[str, Callable[[], Any]], near: float) -> str:
    """'' where the first two calls agree or do not both fit, else what our cell says."""
    ours, theirs = list(calls.values())[:2]
    worst = attempt(device, lambda: apart(ours(), theirs()))
    return "" if isinstance(worst, str) or worst <= near else f"wrong: {worst:.1e} apart"


def shown(value: float | str | None, scale: float = 1.0) -> str:
    """A cell: three digits, or the sentence."""
    return "" if value is None else value if isinstance(value, str) else f"{value * scale:.3g}"


def ratio(above: float | str | None, below: float | str | None) -> str:
    """A cell: how many times, where both are numbers."""
    both = isinstance(above, (int, float)) and isinstance(below, (int, float))
    return f"{above / below:.2f}" if both and below else ""
