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
