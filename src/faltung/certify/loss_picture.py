"""The picture of where a symmetry is lost: a bar for every step of a model, as long as its error is large, logarithmic."""

import html
import math
from pathlib import Path
from typing import Any

from faltung.errors import ArgumentError
from faltung.media import package

LEFT, WIDE, LINE, TOP = 250, 420, 20, 58
FLOOR = -16.0  # where bars begin: 1e-16
GREY, GREEN, RED, ORANGE = "#9aa0a6", "#2e8b57", "#c0392b", "#e0a458"

Piece = tuple[str, float, float, float, float, str, str]
"""What is drawn: `bar`, `line` or `text`, x, y, width, height, colour, words."""


def drawn(report: Any, path: Any) -> None:
    """Draw a report with steps as `.html`, `.svg` or `.png`.

    Raises:
        ArgumentError: another ending, or no steps.   MissingExtraError: a `.png` without Pillow.
    """
    place = Path(path)
    ways = {".html": _page, ".svg": _svg, ".png": None}
    if place.suffix not in ways:
        raise ArgumentError.of(
            "picture", "a name that ends with .html, .svg or .png", place.name, "choose one of these"
        )
    if not report.rows:
        raise ArgumentError.of("picture", "a report with steps", report.seen, "measure with layers='auto'")
    found = pieces(report)
    if place.suffix == ".png":
        _raster(found, size(report)).save(place)
    else:
        way = ways[place.suffix]
        assert way is not None
        place.write_text(way(found, size(report)), encoding="utf-8")


def size(report: Any) -> tuple[int, int]:
    """Width and height in pixels."""
    return LEFT + WIDE + 120, TOP + LINE * len(report.rows) + 16


def at(error: float) -> float:
    """The length of a bar."""
    share = (math.log10(max(error, 10**FLOOR)) - FLOOR) / -FLOOR
    return WIDE * min(max(share, 0.0), 1.05)


def pieces(report: Any) -> list[Piece]:
    """Bars, grid and words of the picture: green where the symmetry is kept, red where it is lost, orange behind that."""
    words = f"{report.action}: {report.error:.1e}"
    if report.consistency is not None:
        words += f", decisions kept {report.consistency:.1%}"
    found: list[Piece] = [("text", 8, 8, 0, 0, "#202124", words)]
    bottom = TOP + LINE * len(report.rows)
    for power in range(int(FLOOR), 1, 4):
        x = LEFT + at(10.0**power)
        found.append(("line", x, TOP - 6, 0, bottom - TOP + 6, "#dadce0", ""))
        found.append(("text", x - 14, TOP - 24, 0, 0, GREY, f"1e{power}" if power else "1"))
    lost = {id(row) for row in report.lost}
    for n, row in enumerate(report.rows):
        y = TOP + LINE * n
        found.append(("text", 8, y + 2, 0, 0, "#202124", f"{row.name[:24]} {row.kind}"[:38]))
        if row.error is None:
            found.append(("text", LEFT + 4, y + 2, 0, 0, GREY, "does not compare"))
            continue
        colour = GREEN if row.error <= report.tolerance else RED if id(row) in lost else ORANGE
        found.append(("bar", LEFT, y + 3, max(at(row.error), 2.0), LINE - 6, colour, ""))
        found.append(("text", LEFT + at(row.error) + 6, y + 2, 0, 0, colour, f"{row.error:.0e}"))
    return found


def _svg(found: list[Piece], box: tuple[int, int]) -> str:
    width, height = box
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
    ]
    lines.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    for what, x, y, w, h, colour, words in found:
        if what == "bar":
            lines.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{colour}"/>')
        elif what == "line":
            lines.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{y + h:.1f}" stroke="{colour}"/>')
        else:
            lines.append(f'<text x="{x:.1f}" y="{y + 12:.1f}" fill="{colour}">{html.escape(words)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _page(found: list[Piece], box: tuple[int, int]) -> str:
    head = '<!doctype html>\n<html><head><meta charset="utf-8"><title>Symmetry</title></head><body>\n'
    return f"{head}{_svg(found, box)}</body></html>\n"


def _raster(found: list[Piece], box: tuple[int, int]) -> Any:
    image = package("PIL.Image", "pillow", "drawing a picture")
    draw = package("PIL.ImageDraw", "pillow", "drawing a picture")
    font = package("PIL.ImageFont", "pillow", "drawing a picture").load_default(12)
    canvas = image.new("RGB", box, "white")
    pen = draw.Draw(canvas)
    for what, x, y, w, h, colour, words in found:
        if what == "text":
            pen.text((x, y), words, fill=colour, font=font)
        else:
            pen.rectangle((x, y, x + (w if what == "bar" else 0), y + h), fill=colour)
    return canvas
