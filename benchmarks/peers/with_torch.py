"""torch: conv1d, conv2d, conv3d in default and channels-last layout, their gradients, and max pooling for flat dilation."""

import torch
import torch.nn.functional as F

name = "torch"
MINUTES = 1e10  # multiply-adds of one long signal from which on torch takes minutes
PADS = {"edge": "replicate", "reflect": "reflect", "wrap": "circular"}


def calls(problem, hint, x, k, y) -> dict:
    g = problem.grid
    if (
        g.ndim > 3
        or problem.device != "cpu"
        or problem.x_dtype != problem.out_dtype
        or problem.algebra in ("complex", "boolean", "min-plus")
    ):
        return {}
    if any(lo != hi for lo, hi in problem.pads):
        return {}
    if problem.sizes.C == problem.sizes.O == problem.sizes.B == 1 and problem.macs > MINUTES:
        return {}
    s = problem.sizes
    to = getattr(torch, problem.out_dtype)
    arrays = {n: torch.from_numpy(a).to(to) for n, a in (("x", x), ("k", k), ("y", y)) if a is not None}
    groups = s.B
    shapes = {"x": (s.N, s.B * s.C, *g.n), "k": (s.B * s.O, s.C, *g.t), "y": (s.N, s.B * s.O, *g.m)}
    if problem.pattern == "*s c, *s -> *s c":
        arrays["x"] = arrays["x"].movedim(-1, 0).contiguous()
    if problem.pattern == "c *s, *s -> c *s":
        shapes["x"], shapes["y"], groups = (s.N, 1, *g.n), (s.N, 1, *g.m), 1
    if any(len(arrays[n].shape) > len(shapes[n]) for n in arrays):
        return {}
    x, k, y = (arrays[n].reshape(shapes[n]) if n in arrays else None for n in "xky")
    if problem.algebra == "max-plus":
        pool = F.max_pool2d
        return (
            {"max_pool2d": lambda: pool(x, g.t, 1, g.t[0] // 2).reshape(problem.out_shape)} if hint == "zeros" else {}
        )
    conv = (F.conv1d, F.conv2d, F.conv3d)[g.ndim - 1]
    pad = [lo for lo, _ in problem.pads]
    options = {"stride": problem.stride, "dilation": problem.dilation, "groups": groups}
    if problem.unknown != "out":
        return _gradients(problem, x, k, y, pad, options, shapes)
    kinds = {b.kind for b in problem.boundary}
    if kinds != {"constant"} and any(pad):
        word = PADS.get(kinds.pop())
        if word is None or len(kinds) > 0:
            return {}
        around = [p for p in reversed(pad) for _ in (0, 1)]
        return {"pad+conv": lambda: _back(problem, conv(F.pad(x, around, word), k, **options))}
    found = {"conv": lambda: _back(problem, conv(x, k, padding=pad, **options))}
    if g.ndim == 2 and x.shape[1] > 1:
        xl, kl = (a.contiguous(memory_format=torch.channels_last) for a in (x, k))
        found["conv channels-last"] = lambda: _back(problem, conv(xl, kl, padding=pad, **options))
    return found


def _back(problem, y):
    if problem.pattern == "*s c, *s -> *s c":
        return y.reshape(y.shape[0], *problem.grid.m).movedim(0, -1)
    return y if tuple(y.shape) == problem.out_shape else y.reshape(problem.out_shape)


def _gradients(problem, x, k, y, pad, options, shapes) -> dict:
    number = problem.grid.ndim
    kind = {"x": "input", "k": "weight"}[problem.unknown]
    gradient = getattr(torch.nn.grad, f"conv{number}d_{kind}")
    if problem.unknown == "x":
        run = lambda y, k: gradient(shapes["x"], k, y, padding=pad, **options).reshape(problem.x_shape)  # noqa: E731
        other = k
    else:
        run = lambda y, x: gradient(x, shapes["k"], y, padding=pad, **options).reshape(problem.k_shape)  # noqa: E731
        other = x
    found = {"gradient": lambda: run(y, other)}
    if number == 2:
        yl, ol = (a.contiguous(memory_format=torch.channels_last) for a in (y, other))
        found["gradient channels-last"] = lambda: run(yl, ol)
    return found
