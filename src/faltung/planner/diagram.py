"""A problem as a diagram in two lines of text: the axes, the windows of the signal, and what is multiplied and summed.

    x[b=2 c=3 *s=8x9] float32 -> pad *s 1:1,0:1 with edge,wrap -> window *s by *s'=3x2, stride 2x1 -> [b=2 c=3 *s=4x9 *s'=3x2]
    times k[o=4 c=3 *s'=3x2] float32 -> sum over c *s' -> y[b=2 o=4 *s=4x9] float32

A convolution in any number of dimensions is a view and a contraction: windows give every place of `*s` the axes `*s'` of its
taps; equal names meet, and what the result does not name is summed. A filter that is `turned` makes it a convolution, otherwise
it is a correlation. A `?` marks the array that is computed where that is not y. `problem_of` reads the lines back.

Source: Abbott, Neural circuit diagrams (2024).
"""

import re

from faltung.domains import FiniteDomain, named
from faltung.errors import ArgumentError
from faltung.problem import Problem

_ARRAY = r"\[([^\]]*)\]"
_FIRST = re.compile(
    rf"x(\??){_ARRAY} (\w+)(?: -> pad \S+ (\S+) with (\S+))?"
    rf" -> window (\S+) by \S+(?:, stride (\w+))?(?:, dilation (\w+))?(?: on (\S+))? -> {_ARRAY}"
)
_SECOND = re.compile(
    rf"times k(\??){_ARRAY} (\w+)( turned)? -> sum over [^>]*?(?: in (\S+))? -> y{_ARRAY} (\w+)(?: \((\w+) on (\S+)\))?"
)


def diagram(problem: Problem) -> tuple[str, str]:
    """The two lines: how windows are taken, and what is contracted.

    Example:
        >>> from faltung import Problem
        >>> for line in diagram(Problem.parse('convolve "c *s, c *s -> *s" x=3x100:float32 k=3x5:float32 pad=2:2')):
        ...     print(line)
        x[c=3 *s=100] float32 -> pad *s 2:2 with constant -> window *s by *s'=5 -> [c=3 *s=100 *s'=5]
        times k[c=3 *s'=5] float32 turned -> sum over c *s' -> y[*s=100] float32
    """
    layout, grid = problem.layout, problem.grid
    star, tap = layout.star, layout.star + "'"
    sizes = {name: str(n) for name, n in layout.letter_sizes(problem.x_shape, problem.k_shape).items()}
    places = {star: _by(grid.m), tap: _by(grid.t)}

    def array(axes: tuple[str, ...], own: dict[str, str]) -> str:
        return "[" + " ".join(f"{name}={(sizes | own)[name]}" for name in axes) + "]"

    first = [f"x{'?' * (problem.unknown == 'x')}{array(layout.x, {star: _by(grid.n)})} {problem.x_dtype}"]
    if any(map(any, problem.pads)) or any(b.text != "constant" for b in problem.boundary):
        pads = ",".join(f"{lo}:{hi}" for lo, hi in problem.pads)
        first.append(f"pad {star} {pads} with {','.join(b.text for b in problem.boundary)}")
    window = f"window {star} by {tap}={places[tap]}"
    for word, steps in (("stride", problem.stride), ("dilation", problem.dilation)):
        window += f", {word} {_by(steps)}" if any(step != 1 for step in steps) else ""
    first += [
        window + (f" on {problem.domain}" if problem.domain != "grid" else ""),
        array((*layout.x, tap), places),
    ]
    summed = " ".join((*layout.roles["C"], tap))
    where = f" ({problem.host} on {problem.device})" if (problem.host, problem.device) != ("numpy", "cpu") else ""
    second = [
        f"times k{'?' * (problem.unknown == 'k')}"
        f"{array(tuple(tap if name == star else name for name in layout.k), places)} {problem.k_dtype}"
        + " turned"
        * problem.flip,
        f"sum over {summed}" + (f" in {problem.algebra}" if problem.algebra != "real" else ""),
        f"y{array(layout.y, places)} {problem.out_dtype}{where}",
    ]
    return " -> ".join(first), " -> ".join(second)


def problem_of(first: str, second: str) -> Problem:
    """The problem that two lines draw, its pattern with single spaces.

    Raises:
        ArgumentError: lines of another form, or whose axes and sizes contradict each other.
    """
    one, two = (form.fullmatch(line.strip()) for form, line in ((_FIRST, first), (_SECOND, second)))
    if one is None or two is None:
        raise ArgumentError.of(
            "diagram", "two lines as `diagram` writes them", repr(first if one is None else second),
            "print a problem's diagram to see the form",
        )  # fmt: skip
    solves_x, x, x_dtype, pads, boundary, star, stride, dilation, domain, _ = one.groups()
    solves_k, k, k_dtype, turned, algebra, y, out_dtype, host, device = two.groups()
    names = [[axis.partition("=")[0].removesuffix("'") for axis in axes.split()] for axes in (x, k, y)]
    signal, taps = ("x".join(axis.partition("=")[2] for axis in axes.split()) for axes in (x, k))
    words = [
        "convolve" if turned else "correlate",
        f'"{" ".join(names[0])}, {" ".join(names[1])} -> {" ".join(names[2])}"',
        f"x={signal}:{x_dtype} k={taps}:{k_dtype} out={out_dtype}",
    ]
    ndim = next((axis.count("x", axis.find("=")) + 1 for axis in x.split() if axis.startswith(star)), 0)
    finite = domain is not None and isinstance(named(domain), FiniteDomain)
    if not finite:
        words.append("pad=" + (pads or ",".join(["0:0"] * ndim)))
    for word, value in (
        ("stride", stride), ("dilation", dilation), ("boundary", boundary), ("algebra", algebra), ("domain", domain),
        ("unknown", "x" if solves_x else "k" if solves_k else None), ("host", host), ("device", device),
    ):  # fmt: skip
        if value is not None:
            words.append(f"{word}={value}")
    read = Problem.parse(" ".join(words))
    again = diagram(read)
    for line, wanted in zip((first, second), again, strict=True):
        if line.strip() != wanted:
            raise ArgumentError.of("diagram", f"{wanted!r}, which its other sizes say", repr(line), "correct that line")
    return read


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
