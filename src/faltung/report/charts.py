"""Charts as SVG: they follow the page's colours, dark or light, and each says in words what it shows."""

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 480, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 10, 40


def bars(
    values: Sequence[tuple[str, float, float]],
    label: str,
    mark: float | None = None,
    mark_label: str = "",
    log: bool = True,
) -> str:
    """Bars side by side, each as wide as its share of a whole and as high as its value; a line across at `mark`.

    Args:
        values: (name, width, height) each; widths and heights > 0.
        label: what the chart shows, for those who hear it.
        mark: where the line lies, as a height.   log: whether heights are drawn by their logarithm.
    """
    whole = sum(width for _, width, _ in values) or 1.0
    heights = [height for *_, height in values] + ([mark] if mark else [])
    low, high = _range(heights, log)
    at = float(LEFT)
    body = [_axis(low, high, log)]
    for name, width, height in values:
        wide = (WIDTH - LEFT - RIGHT) * width / whole
        y = _place(height, low, high, log)
        under = mark is not None and height < mark
        body.append(
            f'<rect x="{at:.1f}" y="{y:.1f}" width="{max(wide - 0.5, 0.4):.1f}" height="{HEIGHT - BOTTOM - y:.1f}" '
            f'fill="var({"--bad" if under else "--mark"})"><title>{escape(name)}: {height:.3g}</title></rect>'
        )
        at += wide
    if mark is not None:
        body.append(_line(_place(mark, low, high, log), mark_label))
    return _svg(body, label)


def ranges(
    values: Sequence[tuple[str, float, float]], label: str, mark: float | None = None, mark_label: str = ""
) -> str:
    """A vertical stroke from low to high for each name, from left to right, by logarithm; a line across at `mark`."""
    ends = [v for _, a, b in values for v in (a, b)] + ([mark] if mark else [])
    low, high = _range(ends, True)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(values))
    body = [_axis(low, high, True)]
    for n, (name, least, most) in enumerate(values):
        x, y0, y1 = LEFT + step * (n + 0.5), _place(most, low, high, True), _place(least, low, high, True)
        body.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y0 - 1.5:.1f}" y2="{y1 + 1.5:.1f}" stroke="var(--mark)" '
            f'stroke-width="{min(6, max(1.5, step * 0.6)):.1f}"><title>{escape(name)}: {least:.3g} to {most:.3g}</title></line>'
        )
    if mark is not None:
        body.append(_line(_place(mark, low, high, True), mark_label))
    return _svg(body, label)


def lines(
    series: Sequence[tuple[str, Sequence[float]]], label: str, ends: tuple[str, str], mark: float | None = None
) -> str:
    """A line for each name through its values, side by side from left to right, by logarithm; a line across at `mark`.

    Args: series: (name, values > 0) each, of one length from 2 on; lines differ by their strokes.   ends: what stands at both ends.
    """
    low, high = _range([v for _, values in series for v in values] + ([mark] if mark else []), True)
    body = [_axis(low, high, True)]
    for n, (name, values) in enumerate(series):
        step = (WIDTH - LEFT - RIGHT) / (len(values) - 1)
        points = " ".join(f"{LEFT + step * k:.1f},{_place(v, low, high, True):.1f}" for k, v in enumerate(values))
        dashes = ("", "6 3", "2 2", "8 3 2 3")[n % 4]
        body.append(
            f'<polyline points="{points}" fill="none" stroke="var({"--mark" if n < 4 else "--soft"})" stroke-width="1.5" '
            f'stroke-dasharray="{dashes}"><title>{escape(name)}: {min(values):.3g} to {max(values):.3g}</title></polyline>'
        )
    if mark is not None:
        body.append(_line(_place(mark, low, high, True), f"{mark:g}"))
    for x, anchor, words in ((LEFT, "start", ends[0]), (WIDTH - RIGHT, "end", ends[1])):
        body.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" text-anchor="{anchor}">{escape(words)}</text>')
    return _svg(body, label)


def cells(values: Sequence[Sequence[float]], names: Sequence[Sequence[str]], label: str, marked: str = "") -> str:
    """A map of shares, 0 to 1: a square for each, the fuller the larger its share; the one of the name `marked` is outlined.

    Args: values, names: rows of equal length.
    """
    side = min((WIDTH - 4) / max(len(row) for row in values), (HEIGHT - 4) / len(values))
    body = []
    for n, (row, words) in enumerate(zip(values, names, strict=True)):
        for m, (value, name) in enumerate(zip(row, words, strict=True)):
            edge = 'stroke="var(--bad)" stroke-width="3"' if name == marked else 'stroke="var(--line)"'
            body.append(
                f'<rect x="{2 + side * m:.1f}" y="{2 + side * n:.1f}" width="{side - 2:.1f}" height="{side - 2:.1f}" '
                f'fill="var(--mark)" fill-opacity="{value:.3f}" {edge}><title>{escape(name)}: {value:.1%}</title></rect>'
            )
    return _svg(body, label)


def _range(values: Sequence[float], log: bool) -> tuple[float, float]:
    """Ends of the axis: whole decades, or zero and a little more than the largest."""
    good = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    if not good:
        return (0.1, 1.0) if log else (0.0, 1.0)
    if log:
        low, high = math.floor(math.log10(min(good))), math.ceil(math.log10(max(good)))
        return 10.0**low, 10.0 ** max(high, low + 1)
    return 0.0, max(good) * 1.05 or 1.0


def _place(value: float, low: float, high: float, log: bool) -> float:
    """The height on the page."""
    share = math.log(max(value, low) / low) / math.log(high / low) if log else (value - low) / (high - low)
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(share, 0.0), 1.0)


def _axis(low: float, high: float, log: bool) -> str:
    """Lines and numbers at decades, or at quarters."""
    if log:
        first, last = round(math.log10(low)), round(math.log10(high))
        stops = [10.0**e for e in range(first, last + 1, max(1, (last - first) // 6))]
    else:
        stops = [low + (high - low) * q / 4 for q in range(5)]
    parts = []
    for stop in stops:
        y = _place(stop, low, high, log)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{stop:.4g}</text>')
    return "".join(parts)


def _line(y: float, words: str) -> str:
    """A dashed line across, and what it stands for."""
    ends = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
    text = f'<text x="{WIDTH - RIGHT}" y="{y - 4:.1f}" text-anchor="end">{escape(words)}</text>'
    return f'<line {ends} stroke="currentColor" stroke-dasharray="4 3"/>{text}'


def _svg(body: Sequence[str], label: str) -> str:
    """The drawing, with its words."""
    size, words = f"0 0 {WIDTH} {HEIGHT}", f'role="img" aria-label="{escape(label, quote=True)}"'
    head = f'<svg viewBox="{size}" {words} font-size="12" fill="currentColor"><title>{escape(label)}</title>'
    return f"{head}{''.join(body)}</svg>"
