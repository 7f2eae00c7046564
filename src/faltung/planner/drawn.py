"""Problems drawn at random, as users have them: what the cost model is fitted on by one seed and judged on by others.

Images, signals, volumes and layers (dense, depthwise, grouped); sizes are drawn by octaves, so small ones are as frequent as large.
"""

import math
import random
from typing import Any

from faltung.errors import FaltungError
from faltung.problem import Problem, Spec
from faltung.request import problem_of

MOST, LEAST = 3e9, 2e3
BYTES = 1 << 28  # of signal, filter and result together, at most
BOUNDARIES = ("constant", "edge", "reflect", "symmetric", "wrap")


def _between(r: random.Random, low: float, high: float) -> int:
    """A whole number, every octave equally likely."""
    return round(math.exp(r.uniform(math.log(low), math.log(high))))


def _odd(r: random.Random, low: int, high: int) -> int:
    return _between(r, low, max(low, high)) | 1


def _dtype_of(r: random.Random, words: str = "float32 float32 float32 float32 float64 complex64 int32") -> str:
    return r.choice(words.split())


def _image(r: random.Random) -> tuple:
    n = _between(r, 32, 2048), _between(r, 32, 2048)
    n = (n[0], n[0]) if r.random() < 0.5 else n
    top = max(3, min(*n, 64) // 2)
    t = (_odd(r, 3, top),) * 2 if r.random() < 0.8 else (_odd(r, 1, top), _odd(r, 3, top))
    options = {"mode": r.choice(["same", "same", "same", "valid", "full"]), "boundary": r.choice(BOUNDARIES)}
    dtype = _dtype_of(r)
    if r.random() < 0.2:
        return (*n, r.choice([3, 4])), t, "*s c, *s -> *s c", "float32", options, "random"
    hint = r.choice(["random", "random", "random", "gaussian", "box"]) if dtype.startswith("float") else "random"
    if hint == "gaussian":
        sigma = r.choice([0.8, 1.5, 3.0, 6.0])
        t, hint = (2 * int(4 * sigma + 0.5) + 1,) * 2, f"gaussian:{sigma}"
    if r.random() < 0.08:
        options |= {"over": "max-plus", "boundary": "constant"}
        dtype, hint = "float32", r.choice(["random", "zeros"])
    return n, t, None, dtype, options, hint


def _signal(r: random.Random) -> tuple:
    n = _between(r, 1e2, 1e7)
    t = _between(r, 2, max(3, n / 2))
    options: dict[str, Any] = {"mode": r.choice(["same", "full", "valid"]), "boundary": r.choice(BOUNDARIES)}
    if r.random() < 0.3:
        return (_between(r, 2, 64), n), (t,), "c *s, *s -> c *s", _dtype_of(r, "float32 float64"), options, "random"
    options["stride"] = r.choice([1, 1, 1, 2, 5])
    return (n,), (t,), None, _dtype_of(r), options, "random"


def _volume(r: random.Random) -> tuple:
    n = tuple(_between(r, 16, 256) for _ in range(3))
    t = (r.choice([3, 3, 5, 7, 9, 11]),) * 3
    hint = r.choice(["random", "random", "box"])
    options = {"mode": r.choice(["same", "valid"]), "boundary": r.choice(BOUNDARIES)}
    return n, t, None, _dtype_of(r, "float32 float32 float64"), options, hint


def _layer(r: random.Random, kind: str) -> tuple:
    """A dense, depthwise or grouped layer in one, two or three dimensions, channels first or innermost."""
    ndim = r.choice([1, 2, 2, 2, 3])
    batch, c = _between(r, 1, 32), _between(r, 3, 512)
    o = c if kind != "dense" else _between(r, 3, 512)
    size = {1: _between(r, 128, 65536), 2: _between(r, 7, 224), 3: _between(r, 6, 48)}[ndim]
    small, large = ([1, 1, 3, 3, 3, 5, 7], [3, 3, 5, 7, 13, 31]) if ndim > 1 else ([1, 3, 9, 31], [3, 31, 255, 1023])
    t = min(r.choice(small if kind == "dense" else large), size | 1)
    stride = r.choice([1, 1, 1, 2]) if t > 1 else r.choice([1, 1, 2])
    options = {"mode": ((t // 2, t // 2),) * ndim, "stride": stride, "host": r.choice(["torch", "torch", "numpy"])}
    if t > 1 and r.random() < 0.1:
        options |= {"dilation": 2, "mode": ((t - 1, t - 1),) * ndim}
    if r.random() < 0.3:
        options["unknown"] = r.choice(["x", "k"])
    dtype = _dtype_of(r, "float32 float32 float32 float32 float64")
    last, sizes, taps = r.random() < 0.5, (size,) * ndim, (t,) * ndim
    if kind == "grouped":
        g = r.choice([2, 4, 8])
        c, o = -(-c // g), -(-o // g)
        x, pattern = (batch, g, c, *sizes), "b g c *s, g o c *s -> b g o *s"
        return x, (g, o, c, *taps), pattern, dtype, options, "random"
    x = (batch, *sizes, c) if last else (batch, c, *sizes)
    if kind == "dense":
        pattern = "b *s c, o c *s -> b *s o" if last else "b c *s, o c *s -> b o *s"
        return x, (o, c, *taps), pattern, dtype, options, "random"
    return x, (c, *taps), "b *s c, c *s -> b *s c" if last else "b c *s, c *s -> b c *s", dtype, options, "random"


def draw(seed: int | str, number: int, most: float = MOST) -> tuple[str, str, Problem]:
    """(class, kind of filter, problem), the same for the same numbers; what is too large or no problem is drawn again.

    Args:
        most: multiply-adds that a problem takes at most.
    """
    attempt = 0
    while True:
        attempt += 1
        r = random.Random(f"{seed} {number} {attempt}")
        kinds = ("image", "signal", "volume", "dense", "depthwise", "grouped")
        kind = r.choices(kinds, (5, 4, 2, 5, 3, 1))[0]
        made = {"image": _image, "signal": _signal, "volume": _volume}.get(kind)
        x, k, pattern, dtype, options, hint = made(r) if made else _layer(r, kind)
        unknown = options.pop("unknown", "out")
        try:
            problem = problem_of(False, Spec(x, dtype), Spec(k, dtype), pattern, **options).gradient(unknown)
        except FaltungError:
            continue
        values = sum(math.prod(shape) for shape in (problem.x_shape, problem.k_shape, problem.out_shape))
        if LEAST <= problem.macs <= most and values * 8 <= BYTES:
            return kind, hint, problem
