"""Pictures of small automata as SVG: states in columns by their distance from the start, moves as arrows with their letters."""

import math
from html import escape
from typing import Any

COLUMN, ROW, RADIUS, SIZE = 120.0, 92.0, 19.0, 13
STYLE = (
    "<style>circle{fill:#fff;stroke:#222;stroke-width:1.6}path{fill:none;stroke:#557;stroke-width:1.4}"
    f"text{{font:{SIZE}px sans-serif;text-anchor:middle;dominant-baseline:central;fill:#222}}"
    ".move{fill:#224;paint-order:stroke;stroke:#fff;stroke-width:4px}</style>"
    '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse">'
    '<path d="M0,0.5 L8,4 L0,7.5 z" style="fill:#557;stroke:none"/></marker></defs>'
)
Point = tuple[float, float]


def drawn(graph: Any) -> str:
    """An automaton as SVG text.

    Args: graph: an `automata.Graph`. Pictures stay readable up to some twenty states.
    """
    at = places(graph.states, [(a, b) for a, _, b in graph.moves])
    pairs = {(a, b) for a, _, b in graph.moves}
    shapes: list[str] = []
    extent: list[Point] = [(x + dx, y + dy) for x, y in at for dx, dy in ((-62, -24), (24, 24))]
    for a, letters, b in graph.moves:
        label = graph.label(letters)
        label = label if len(label) <= 28 else label[:27] + "…"
        path, middle = _loop(at[a]) if a == b else _arrow(at[a], at[b], (b, a) in pairs, at)
        half = 4 * len(label)
        extent += [(middle[0] - half, middle[1] - 10), (middle[0] + half, middle[1] + 10)]
        shapes.append(f'<path d="{path}" marker-end="url(#to)"/>')
        shapes.append(f'<text class="move" x="{middle[0]:.1f}" y="{middle[1]:.1f}">{escape(label)}</text>')
    for n, (x, y) in enumerate(at):
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}"/>')
        if n in graph.accepting:
            shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS - 4}"/>')
        shapes.append(f'<text x="{x:.1f}" y="{y:.1f}">{n}</text>')
    x, y = at[0]
    shapes.append(f'<path d="M{x - 55:.1f},{y:.1f} L{x - RADIUS:.1f},{y:.1f}" marker-end="url(#to)"/>')
    left, top = min(p[0] for p in extent) - 6, min(p[1] for p in extent) - 6
    right, bottom = max(p[0] for p in extent) + 6, max(p[1] for p in extent) + 6
    width, height = right - left, bottom - top
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}">{STYLE}{"".join(shapes)}</svg>\n'
    )


def places(states: int, moves: list[tuple[int, int]]) -> list[Point]:
    """Where each state stands: columns by distance from state 0, within a column near the states before."""
    onward: dict[int, list[int]] = {}
    for a, b in moves:
        onward.setdefault(a, []).append(b)
    distance, order = {0: 0}, [0]
    for a in order:
        for b in onward.get(a, ()):
            if b not in distance:
                distance[b] = distance[a] + 1
                order.append(b)
    columns: dict[int, list[int]] = {}
    for n in range(states):
        columns.setdefault(distance.get(n, 0), []).append(n)
    height: dict[int, float] = {}
    for column in sorted(columns):
        before = {n: [height[a] for a, b in moves if b == n and a in height] for n in columns[column]}
        row = sorted(columns[column], key=lambda n: (sum(before[n]) / len(before[n]) if before[n] else 0.0, n))
        for k, n in enumerate(row):
            height[n] = (k - (len(row) - 1) / 2) * ROW
    return [(distance.get(n, 0) * COLUMN, height[n]) for n in range(states)]


def _arrow(p: Point, q: Point, returns: bool, at: list[Point]) -> tuple[str, Point]:
    """A path from circle to circle and the place of its label; bent where a straight line would meet another."""
    dx, dy = q[0] - p[0], q[1] - p[1]
    length = math.hypot(dx, dy)
    crossed = any(_near(r, p, q) for r in at if r not in (p, q))
    bend = 0.0 if not (returns or crossed) else 24.0 + (0.22 * length if crossed else 0.0)
    normal = (-dy / length, dx / length)
    control = (p[0] + dx / 2 - 2 * bend * normal[0], p[1] + dy / 2 - 2 * bend * normal[1])
    start, stop = _towards(p, control), _towards(q, control)
    middle = (p[0] + dx / 2 - bend * normal[0], p[1] + dy / 2 - bend * normal[1])
    return (
        f"M{start[0]:.1f},{start[1]:.1f} Q{control[0]:.1f},{control[1]:.1f} {stop[0]:.1f},{stop[1]:.1f}",
        (middle[0], middle[1] - (10.0 if abs(dx) >= abs(dy) and not bend else 0.0)),
    )


def _loop(p: Point) -> tuple[str, Point]:
    x, y = p
    side, rise = 0.62 * RADIUS, 0.78 * RADIUS
    return (
        f"M{x - side:.1f},{y - rise:.1f} C{x - 26:.1f},{y - 56:.1f} {x + 26:.1f},{y - 56:.1f} {x + side:.1f},{y - rise:.1f}",
        (x, y - 56),
    )


def _near(r: Point, p: Point, q: Point) -> bool:
    """Whether a state stands in the way of a straight line."""
    dx, dy = q[0] - p[0], q[1] - p[1]
    along = ((r[0] - p[0]) * dx + (r[1] - p[1]) * dy) / (dx * dx + dy * dy)
    return 0 < along < 1 and math.hypot(p[0] + along * dx - r[0], p[1] + along * dy - r[1]) < RADIUS + 6


def _towards(p: Point, q: Point) -> Point:
    """The point of a state's circle in the direction of another point."""
    dx, dy = q[0] - p[0], q[1] - p[1]
    length = math.hypot(dx, dy) or 1.0
    return p[0] + RADIUS * dx / length, p[1] + RADIUS * dy / length
