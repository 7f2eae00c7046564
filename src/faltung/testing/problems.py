"""Draws problems small enough for the definition, and data for them.

One recipe serves both kinds of draw: `draw(seed)` takes its choices from a seeded generator, `problems()` takes them from
hypothesis, which shrinks them towards one-dimensional plain float64 problems.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from faltung import algebras
from faltung.algebras.algebra import COMPLEXES, INTEGERS
from faltung.domains import KINDS, pads_of_mode
from faltung.door import problem_of
from faltung.problem import Problem, Spec

Choose = Callable[[int, int], int]  # a whole number between two others, both included

PATTERNS = (
    "*s, *s -> *s",
    "b c *s, o c *s -> b o *s",
    "b c *s, c *s -> b c *s",
    "b g c *s, g o c *s -> b g o *s",
    "b c *s, b o c *s -> b o *s",
    "*s c, *s -> *s c",
    "b *s c, o *s c -> b *s o",
    "b c *s, *s -> b c *s",
)
MODES = ("full", "same", "valid", "pads")
HOSTS = ("numpy", "torch")
DATA = ("normal", "box", "rank one", "parabola")  # what the taps of a drawn filter look like

_ALGEBRAS = ("real",) * 8 + ("complex",) * 3 + ("integer",) * 4 + ("max-plus",) * 3 + ("boolean",) * 2
_REALS = ("float64", "float32", "float16")
_FILLS = {
    "real": (0.0, 1.0, -2.5, 0.25),
    "complex": (0.0, 1.0, -2.5, 1 + 2j, -0.5j),
    "integer": (0, 1, 3, 2),
    "boolean": (0, 1),
    "max-plus": (0.0, -1.5, 2.0),
    "min-plus": (0.0, -1.5, 2.0),
    "max-times": (0.0, 1.5, 2.0),
    "max-min": (0.0, -1.5, 2.0),
    "min-max": (0.0, -1.5, 2.0),
    "log": (0.0, -1.5, 2.0),
    "count": (0, 1, 3),
    "rational": (0, -1, 3),
}
_MODULAR = (0, 1, 5)
_OUTPUTS = {
    "real": ("float16", "float32", "float64", "uint8", "int16"),
    "complex": COMPLEXES,
    "integer": ("int8", "uint8", "int32", "int64", "float32"),
    "boolean": (),
    "max-plus": ("float16", "float32", "float64"),
    "min-plus": ("float16", "float32", "float64"),
}
# By number of dimensions: longest signal and filter axis, for short problems and for long ones (one in sixteen, 1-D and 2-D).
_SHORT = {1: (64, 16), 2: (24, 7), 3: (10, 4), 4: (6, 3), 5: (5, 3)}
_LONG = {1: (5000, 160), 2: (96, 12)}
_WORK = {False: (20_000, 64), True: (600_000, 160)}  # most products and most taps


def draw(seed: int, **fixed: Any) -> Problem:
    """The problem of that seed, the same on every machine and in every release of Python.

    Args:
        seed: any whole number.
        fixed: choices that are not drawn, by name: `host`, `algebra`, `pattern`, `mode`, `ndim`, `unknown`.

    Example:
        >>> draw(1) == draw(1)
        True
    """
    return _drawn(Random(seed).randint, fixed)


def problems(**fixed: Any) -> Any:
    """The hypothesis strategy over the same problems, with the same names for choices that are not drawn."""
    from hypothesis import strategies

    @strategies.composite
    def drawn(choose: Any) -> Problem:
        return _drawn(lambda low, high: choose(strategies.integers(low, high)), fixed)

    return drawn()


def _drawn(choose: Choose, fixed: dict[str, Any]) -> Problem:
    def one(name: str, options: Any) -> Any:
        return fixed[name] if name in fixed else options[choose(0, len(options) - 1)]

    algebra = one("algebra", _ALGEBRAS)
    host = one("host", ("numpy",) * 5 + ("torch",))
    x_dtype, k_dtype = _dtypes(choose, algebra, host)
    pattern = one("pattern", PATTERNS)
    ndim = one("ndim", (1, 1, 2, 2, 2, 3, 3, 4, 5))
    long = ndim in _LONG and choose(0, 15) == 15 and algebra != "integer"
    most_work, most_taps = _WORK[long]
    longest, longest_taps = (_LONG if long else _SHORT)[ndim]
    letters = {name: 1 if long else choose(1, 3) for name in sorted(set(pattern) & set("bcgo"))}

    taps = [choose(1, longest_taps) for _ in range(ndim)]
    while math.prod(taps) > most_taps:
        at = taps.index(max(taps))
        taps[at] = (taps[at] + 1) // 2
    size = [choose(1, longest) for _ in range(ndim)]
    stride = [choose(1, 3) for _ in range(ndim)] if choose(0, 4) > 2 else [1] * ndim
    dilation = [choose(1, 3) for _ in range(ndim)] if choose(0, 4) > 2 else [1] * ndim
    reach = tuple((t - 1) * d + 1 for t, d in zip(taps, dilation, strict=True))
    mode: Any = one("mode", MODES)
    if mode == "pads":
        mode = tuple((choose(-2, r + 2), choose(-2, r + 2)) for r in reach)
    pads = pads_of_mode(mode, reach) if isinstance(mode, str) else mode

    def work() -> int:
        outputs = ((n + lo + hi - r) // s + 1 for n, (lo, hi), r, s in zip(size, pads, reach, stride, strict=True))
        return math.prod(taps) * math.prod(max(m, 1) for m in outputs) * math.prod(letters.values())

    while work() > most_work and max(size) > 1:
        at = size.index(max(size))
        size[at] = (size[at] + 1) // 2
    # A filter longer than the padded signal has no output: lengthen the signal until there is one.
    size = [max(n, r - lo - hi) for n, r, (lo, hi) in zip(size, reach, pads, strict=True)]

    fills = _FILLS.get(algebra, _MODULAR)
    boundary = [KINDS[choose(0, len(KINDS) - 1)] for _ in range(ndim)]
    if choose(0, 2) == 0:  # one boundary for all axes is what most people ask for
        boundary = boundary[:1] * ndim
    values = [
        fills[choose(0, len(fills) - 1)] if kind == "constant" and choose(0, 2) == 2 else kind for kind in boundary
    ]
    outputs = _OUTPUTS.get(algebra)
    wanted = outputs[choose(0, len(outputs) - 1)] if outputs and choose(0, 6) == 6 else None
    problem = problem_of(
        choose(0, 1) == 0,
        Spec(_shape(pattern.split(",")[0], letters, size), x_dtype),
        Spec(_shape(pattern.split(",")[1].split("->")[0], letters, taps), k_dtype),
        pattern, mode, values, tuple(stride), tuple(dilation), None, algebra, wanted,
    )  # fmt: skip
    unknown = one("unknown", ("out",) * 6 + ("x", "x", "k", "k"))
    # A truth value has no gradient.
    over = problem.over
    if not (over.ring or over.beats or over.share):
        unknown = "out"
    truth = algebra == "boolean" or {"x": x_dtype, "k": k_dtype}.get(unknown) == "bool"
    return replace(problem, host=host, unknown="out" if truth else unknown)


def _dtypes(choose: Choose, algebra: str, host: str) -> tuple[str, str]:
    """Dtypes of signal and filter: alike in two draws of three."""
    floats = (*_REALS, "bfloat16") if host == "torch" else _REALS
    over = algebras.named(algebra)
    kinds = {"complex": COMPLEXES, "integer": INTEGERS, "boolean": ("bool",)}
    own = kinds.get(algebra, floats) if over.arithmetic == "machine" else over.dtypes
    first = own[choose(0, len(own) - 1)]
    if choose(0, 2) < 2 or algebra == "boolean":
        return first, first
    partners = {
        "real": (*floats, *INTEGERS, "bool"),
        "complex": (*COMPLEXES, *floats),
        "integer": (*INTEGERS, "bool"),
    }.get(algebra, floats)
    second = partners[choose(0, len(partners) - 1)]
    pair = (first, second) if choose(0, 1) else (second, first)
    return pair if algebras.named(algebra).compute(*pair) else (first, first)


def _shape(axes: str, letters: dict[str, int], star: list[int]) -> tuple[int, ...]:
    return tuple(n for axis in axes.split() for n in (star if axis == "*s" else [letters[axis]]))


# -- data -----------------------------------------------------------------------------------------------------------------


def operands(problem: Problem, seed: int, kind: str = "normal") -> dict[str, Any]:
    """Arrays x, k and y for a problem, in its own dtypes and from its own host.

    Floating-point values are standard normal; integers are drawn from a range in which no sum can wrap and, for one-byte
    types, from their whole range. `y` has the result's shape: it is what gradients take.

    Args:
        kind: what the filter looks like. `normal`; `box`, all taps of a filter equal; `rank one`, an outer product of one
            vector an axis; `parabola`, a sum of parabolas, one an axis, that opens away from what the algebra picks.
    """
    random = np.random.default_rng(seed)
    layout, ndim = problem.layout, problem.grid.ndim
    k = _values(random, problem.k_shape, problem.k_dtype)
    x = _values(random, problem.x_shape, problem.x_dtype)
    y = _values(random, problem.out_shape, problem.out_dtype)
    if problem.compute_dtype == "uint64":  # an integer below zero has no place in its arithmetic
        y = np.abs(y)
    if kind == "parabola":
        k = _parabolas(k, layout.k.index(layout.star), ndim, problem.algebra == "max-plus", random)
    else:
        k = _formed(k, layout.k.index(layout.star), ndim, problem.k_dtype, kind, random)
    if problem.over.least == 0:  # its values begin there
        x, k = (np.where(a < 0, -(a + 1), a) if a.dtype.kind == "i" else np.abs(a) for a in (x, k))
    if problem.unknown == "k":  # the arithmetic of a filter's gradient has y for its filter
        y = _formed(y, layout.y.index(layout.star), ndim, problem.out_dtype, kind, random)
    return {
        "x": on_host(x, problem.x_dtype, problem.host),
        "k": on_host(k, problem.k_dtype, problem.host),
        "y": on_host(y, problem.out_dtype, problem.host),
    }


def _formed(a: np.ndarray, star: int, ndim: int, dtype: str, kind: str, random: np.random.Generator) -> np.ndarray:
    """The array with its starred axes made a box or an outer product."""
    if kind == "box":
        first = a[(slice(None),) * star + (slice(0, 1),) * ndim]
        return np.broadcast_to(first, a.shape).copy()
    if kind == "rank one":
        a = np.ones_like(a)
        for axis in range(star, star + ndim):
            line = _values(random, (a.shape[axis],), dtype, small=True)
            a = (a * line.reshape([-1 if other == axis else 1 for other in range(a.ndim)])).astype(a.dtype)
    return a


def _parabolas(k: np.ndarray, star: int, ndim: int, downwards: bool, random: np.random.Generator) -> np.ndarray:
    """Sums of parabolas along the starred axes, in quarters of whole numbers, which float32 and wider hold exactly."""
    total = np.zeros((1,) * k.ndim)
    for axis in range(star, star + ndim):
        u = np.arange(k.shape[axis]) - random.integers(-2, 2 * k.shape[axis]) / 2
        line = random.choice([0.25, 1.0, 2.0]) * u**2
        total = total + line.reshape([-1 if other == axis else 1 for other in range(k.ndim)])
    values = np.broadcast_to(-total if downwards else total, k.shape)
    if k.dtype.kind in "biu":  # for algebras of whole numbers any small filter will do
        return (np.floor(np.abs(values)) % 4).astype(k.dtype)
    return values.astype(k.dtype)


def _values(random: np.random.Generator, shape: tuple[int, ...], dtype: str, small: bool = False) -> np.ndarray:
    if dtype == "bool":
        return random.random(shape) < 0.4
    if small and dtype not in (
        *INTEGERS,
        "object",
    ):  # powers of two: their products are exact in every dtype, so an outer product stays one
        signs = random.choice([-1.0, 1.0, 1j, -1j] if dtype in COMPLEXES else [-1.0, 1.0], shape)
        return (signs * random.choice([0.5, 1.0, 2.0], shape)).astype("float32" if dtype == "bfloat16" else dtype)
    if dtype == "object":
        return random.integers(-1000, 1000, shape).astype(object) ** 7
    if dtype in INTEGERS:
        low, high = (0, 1000) if dtype[0] == "u" else (-1000, 1000)
        info = np.iinfo(dtype)
        low, high = (low // 250, 4) if small else (max(low, int(info.min)), min(high, int(info.max)))
        return random.integers(low, high, shape, endpoint=True).astype(dtype)
    if dtype in COMPLEXES:
        return (random.standard_normal(shape) + 1j * random.standard_normal(shape)).astype(dtype)
    return random.standard_normal(shape).astype("float32" if dtype == "bfloat16" else dtype)


def on_host(values: np.ndarray, dtype: str, host: str) -> Any:
    """A NumPy array as an array of that dtype on that host."""
    if host == "numpy":
        return values
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).to(getattr(torch, dtype))
