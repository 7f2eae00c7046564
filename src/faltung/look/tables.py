"""How looks show themselves: plain tables, and numbers that nobody knows as a question mark."""

from collections.abc import Iterable, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns under names, words to the left, numbers to the right.

    Example:
        >>> print(table(["layer", "taps"], [["conv1", 9], ["fc", None]]))
        layer  taps
        conv1     9
        fc        ?
    """
    lines = [list(header), *([cell(value) for value in row] for row in rows)]
    numeric = [all(_number(line[c]) for line in lines[1:]) for c in range(len(header))]
    widths = [max(len(line[c]) for line in lines) for c in range(len(header))]
    aligned = [[(t.rjust if numeric[c] else t.ljust)(widths[c]) for c, t in enumerate(line)] for line in lines]
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def cell(value: Any) -> str:
    """One value for people: four digits of numbers, `?` for None, `n/a` for NaN."""
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if value != value:
            return "n/a"
        return f"{value:.4g}"
    if isinstance(value, (tuple, list)):
        return " × ".join(cell(v) for v in value) or "-"
    return str(value)


def _number(text: str) -> bool:
    return text in ("?", "n/a", "inf", "-") or (text.replace(",", "").lstrip("+-")[:1].isdigit() and " " not in text)


def amount(number: float | None) -> str:
    """A large number with its prefix: 1.81 G."""
    if number is None:
        return "?"
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {prefix}"
    return f"{number:.3g} "
