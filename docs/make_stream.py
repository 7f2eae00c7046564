"""Draw docs/pictures/stream.svg: a filter cut into parts, uniform, growing and with a direct head: `python docs/make_stream.py`."""

from pathlib import Path

import numpy as np

import faltung
from faltung.engine.stream import Stream

TARGET = Path(__file__).parent / "pictures" / "stream.svg"
TAPS, BLOCK, WIDTH, HEIGHT, LEFT = 6144, 64, 900, 34, 170
COLOURS = ("#3b6ea8", "#cf7f2a", "#7aa457", "#b6463a")  # small blocks to large ones


def row(name: str, stream: Stream, top: int) -> list[str]:
    """One filter as a bar of its parts, each piece a box."""
    scale = (WIDTH - LEFT - 20) / TAPS
    lines = [f'<text x="{LEFT - 12}" y="{top + 22}" text-anchor="end">{name}</text>']
    boxes = [(0, stream.head, "#888888")] if stream.head else []
    for part, colour in zip(stream.parts, COLOURS, strict=False):
        at = range(part.first, part.first + part.pieces * part.block, part.block)
        boxes += [(a, part.block, colour) for a in at]
    for at, size, colour in boxes:
        width = max(0.0, min(size, TAPS - at) * scale)
        place = f'x="{LEFT + at * scale:.2f}" y="{top}" width="{width:.2f}" height="{HEIGHT}"'
        lines.append(f'<rect {place} fill="{colour}" stroke="white" stroke-width="0.6"/>')
    return lines


def main() -> None:
    k = np.ones(TAPS)
    rows = [
        ("uniform", faltung.stream(k, block=BLOCK, partitions="uniform")),
        ("growing", faltung.stream(k, block=BLOCK, partitions="growing")),
        ("growing, no latency", faltung.stream(k, block=BLOCK, partitions="growing", zero_latency=True)),
    ]
    height = 50 * len(rows) + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="14">'
    ]
    lines.append(f'<rect width="{WIDTH}" height="{height}" fill="white"/>')
    for number, (name, stream) in enumerate(rows):
        lines += row(name, stream, 10 + 50 * number)
    note = f"tap 0 on the left, tap {TAPS:,} on the right; a box is one piece, grey taps are summed directly"
    lines.append(f'<text x="{LEFT}" y="{height - 14}" fill="#555555">{note}</text>')
    TARGET.write_text("\n".join([*lines, "</svg>"]) + "\n")


if __name__ == "__main__":
    main()
