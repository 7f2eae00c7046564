"""Diagrams say all that a problem says, and computing as they say gives its result."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import faltung
from faltung import Problem, Spec, explain
from faltung.errors import ArgumentError
from faltung.planner.diagram import diagram, problem_of
from faltung.testing.problems import draw, problems

FULL = (
    'correlate "b c *s, o c *s -> b o *s" x=2x3x8x9:float32 k=4x3x3x2:float32 out=float64 '
    "pad=1:1,0:1 stride=2x1 dilation=1x2 boundary=edge,constant(1.5) algebra=max-plus unknown=x host=torch device=cuda:0"
)


def spaced(problem):
    """The problem with single spaces in its pattern, which is all that a diagram forgets."""
    layout = problem.layout
    return replace(problem, pattern=f"{' '.join(layout.x)}, {' '.join(layout.k)} -> {' '.join(layout.y)}")


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(problems())
def test_problems_survive_their_diagram(problem):
    assert problem_of(*diagram(problem)) == spaced(problem)


def test_drawn_problems_survive_their_diagram():
    for seed in range(500):
        problem = draw(seed)
        for unknown in ("out", "x", "k"):
            try:
                asked = problem.gradient(unknown)
            except TypeError:  # booleans have no gradients
                continue
            assert problem_of(*diagram(asked)) == spaced(asked), asked.text


@pytest.mark.parametrize(
    "text",
    [
        FULL,
        'convolve "b *s, *s -> b *s" x=2x8:float64 k=8:float64 domain=dyadic',
        'convolve "*s c, *s -> *s c" x=5x7x3:uint8 k=3x3:uint8 out=int64 pad=0:0,0:0 boundary=wrap,reflect algebra=integer',
        'convolve "*s, *s -> *s" x=6:float64 k=6:float64 domain=dihedral(3)',
    ],
)
def test_every_field_survives(text):
    problem = Problem.parse(text)
    assert problem_of(*diagram(problem)) == problem
    assert all("\n" not in line for line in diagram(problem))


def test_a_diagram_reads_like_this():
    assert diagram(Problem.parse(FULL)) == (
        "x?[b=2 c=3 *s=8x9] float32 -> pad *s 1:1,0:1 with edge,constant(1.5) -> window *s by *s'=3x2, stride 2x1, "
        "dilation 1x2 -> [b=2 c=3 *s=4x8 *s'=3x2]",
        "times k[o=4 c=3 *s'=3x2] float32 -> sum over c *s' in max-plus -> y[b=2 o=4 *s=4x8] float64 (torch on cuda:0)",
    )


def test_explanations_show_it():
    plan = explain(Spec((3, 100)), Spec((3, 5)), "c *s, c *s -> *s", mode="same")
    lines = str(plan).split("\n")
    assert tuple(lines[1:3]) == diagram(plan.problem)


SIZED = re.compile(r"\[([^\]]*)\]")


def computed(first, second, x, k):
    """What the two lines say, done with NumPy's views and einsum; nothing is read but the lines."""
    axes = [[axis.partition("=") for axis in found.split()] for found in SIZED.findall(first) + SIZED.findall(second)]
    names = [[name for name, _, _ in found] for found in axes]
    sizes = {name: tuple(map(int, text.split("x"))) for found in axes[1:] for name, _, text in found}
    star = next(name for name in names[0] if name.startswith("*"))
    at, ndim = names[0].index(star), len(sizes[star])
    spatial = range(at, at + ndim)
    steps = dict.fromkeys(("stride", "dilation"), (1,) * ndim)
    for word in steps:
        if found := re.search(rf", {word} (\w+)", first):
            steps[word] = tuple(map(int, found[1].split("x")))
    if found := re.search(r"pad \S+ (\S+) with (\S+)", first):
        modes = {"constant": "constant", "edge": "edge", "reflect": "reflect", "symmetric": "symmetric", "wrap": "wrap"}
        for axis, pad, kind in zip(spatial, found[1].split(","), found[2].split(","), strict=True):
            widths = [(0, 0)] * x.ndim
            widths[axis] = tuple(map(int, pad.split(":")))
            x = np.pad(x, widths, modes[kind])
    taps = sizes[star + "'"]
    for axis, t, d, s in zip(spatial, taps, steps["dilation"], steps["stride"], strict=True):
        x = np.lib.stride_tricks.sliding_window_view(x, d * (t - 1) + 1, axis)[..., ::d]
        x = x[(slice(None),) * axis + (slice(None, None, s),)]
    if " turned" in second:
        first_tap = names[2].index(star + "'")
        k = np.flip(k, tuple(range(first_tap, first_tap + ndim)))
    letters = {}

    def word(found):
        return "".join(
            letters.setdefault((name, n), chr(97 + len(letters)))
            for name in found
            for n in range(ndim if name.startswith("*") else 1)
        )

    return np.einsum(f"{word(names[1])},{word(names[2])}->{word(names[3])}", x, k)


@pytest.mark.parametrize(
    ("pattern", "x", "k", "options"),
    [
        ("*s, *s -> *s", (7, 8), (3, 2), {"mode": "same", "boundary": "reflect"}),
        ("b c *s, o c *s -> b o *s", (2, 3, 8, 9), (4, 3, 3, 2), {"stride": (2, 1), "dilation": (1, 2)}),
        ("*s c, c *s -> *s c", (9, 3), (3, 4), {"mode": "full"}),
        ("b c *s, b o c *s -> b o *s", (2, 3, 6), (2, 2, 3, 3), {"boundary": "wrap", "mode": "same"}),
    ],
)
@pytest.mark.parametrize("call", [faltung.convolve, faltung.correlate])
def test_computing_as_drawn_gives_the_result(pattern, x, k, options, call):
    random = np.random.default_rng(0)
    x, k = random.standard_normal(x), random.standard_normal(k)
    problem = faltung.plan(x, k, pattern, flip=call is faltung.convolve, **options).problem
    np.testing.assert_allclose(
        computed(*diagram(problem), x, k), call(x, k, pattern, **options), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [("*s=4x8", "*s=4x9"), ("sum over c *s'", "sum over *s'"), ("window *s", "windows *s"), ("k[o=4 c=3", "k[o=4 c=2")],
)
def test_contradictions_are_refused(old, new):
    first, second = diagram(Problem.parse(FULL))
    with pytest.raises(ArgumentError):
        problem_of(first.replace(old, new), second.replace(old, new, 1) if old not in first else second)


@pytest.mark.parametrize("page", ["docs/planner.md", "src/faltung/planner/diagram.py"])
def test_the_pages_show_diagrams_that_are_right(page):
    lines = [line.strip() for line in (Path(__file__).parent.parent.parent / page).read_text().splitlines()]
    drawn = [n for n, line in enumerate(lines) if line.startswith("x[") and "-> window" in line]
    assert drawn
    for n in drawn:
        assert diagram(problem_of(lines[n], lines[n + 1])) == (lines[n], lines[n + 1])
