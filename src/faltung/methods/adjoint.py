"""The two adjoints of a convolution over a ring, as ordinary convolutions that the planner solves like any other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from faltung.domains import Boundary
from faltung.methods.method import ROUNDOFF, Context, Machine, Method, bytes_of
from faltung.problem import Problem

# A filter's gradient is computed with two axes exchanged from these sizes on: taps along the last axis at most, and how many times
# as many along the other.
NARROW, LONG = 4, 4


class _Adjoint(Method):
    source = "the transposes of the bilinear map"
    delegates = True
    unknown = ""

    def refuses(self, problem: Problem) -> str | None:
        if problem.unknown != self.unknown:
            return f"computes the adjoint for {self.unknown} only"
        if not problem.over.ring:
            return f"needs a linear map, which {problem.algebra} does not give"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def cost(self, problem: Problem, machine: Machine) -> float:
        """The copies around the part; the planner adds the part itself."""
        g, s = problem.grid, problem.sizes
        values = s.B * s.N * (s.O * math.prod(g.m) * math.prod(g.stride) + s.C * math.prod(g.padded))
        return machine.seconds("call") + values * np.dtype(problem.compute_dtype).itemsize * machine.seconds("copy")

    def error(self, problem: Problem) -> float:
        """That of folding the margins; the planner adds the part's."""
        return 0.0 if problem.over.exact else 4.0 * ROUNDOFF[problem.compute_dtype]


class Transposed(_Adjoint):
    """x from k and y: `x̃[p] = Σ over i·stride + t·dilation = p of y[i] k[t]`, then the margins folded back onto the signal.

    y is spread by the stride and convolved in full with the filter, channels and outputs exchanged, innermost where they come so.
    """

    name = "transposed"
    summary = "the signal's gradient (transposed convolution) as a full convolution of the spread result"
    unknown = "x"
    innermost = None

    def parts(self, problem: Problem) -> tuple[Problem, ...]:
        g, s = problem.grid, problem.sizes
        spread = tuple((m - 1) * e + 1 for m, e in zip(g.m, g.stride, strict=True))
        pads = []
        for (lo, hi), p, w, r, b in zip(g.pads, g.padded, spread, g.reach, g.boundary, strict=True):
            cut_lo, cut_hi = (
                (lo, hi) if b.kind == "constant" else (0, 0)
            )  # a constant margin has no gradient: never compute it
            pads.append((r - 1 - cut_lo, p - w - cut_hi))
        dtype = problem.compute_dtype
        pattern, x_shape = "b n o *s, b c o *s -> b n c *s", (s.B, s.N, s.O, *spread)
        if problem.channels_last:
            pattern, x_shape = "n *s b o, b c o *s -> n *s b c", (s.N, *spread, s.B, s.O)
        part = replace(
            problem, unknown="out", flip=True, pattern=pattern, x_shape=x_shape,
            k_shape=(s.B, s.C, s.O, *g.t), x_dtype=dtype, k_dtype=dtype, out_dtype=dtype, pads=tuple(pads), stride=(1,) * g.ndim,
            boundary=(Boundary("constant"),) * g.ndim, host="numpy",
        )  # fmt: skip
        return (part,)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        (part,) = self.parts(problem)
        g = problem.grid
        folded = [p for p, b in zip(g.padded, g.boundary, strict=True) if b.kind != "constant"]
        tables = 40 * max(folded, default=0)  # where every position of a margin comes from, while that is worked out
        values = math.prod(part.x_shape) + 2 * math.prod(part.out_shape) + math.prod(part.k_shape)
        return bytes_of(problem, values) + tables

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        g, s, y = problem.grid, problem.sizes, operands["y"]
        if any(e != 1 for e in g.stride):
            spread = np.zeros(
                (s.B, s.N, s.O, *((m - 1) * e + 1 for m, e in zip(g.m, g.stride, strict=True))), dtype=y.dtype
            )
            spread[(..., *(slice(None, None, e) for e in g.stride))] = y
            y = spread
        last = problem.channels_last
        y = np.moveaxis(y, (1, 0, 2), (0, -2, -1)) if last else y
        x = context.parts[0](y, prepared.swapaxes(1, 2))
        x = np.moveaxis(x, (0, -2, -1), (1, 0, 2)) if last else x
        kept = tuple((0, 0) if b.kind == "constant" else pads for b, pads in zip(g.boundary, g.pads, strict=True))
        return x if all(p == (0, 0) for p in kept) else replace(g, pads=kept).fold(x)


class FilterGradient(_Adjoint):
    """k from x and y: `k[t] = Σ_i x̃[i·stride + t·dilation] y[i]`, a correlation with y as the filter.

    Stride and dilation change places, batch and channels too. A filter that is long along another axis than the last is sought with
    these two axes exchanged, because the loops of the part go along rows of its result.
    """

    name = "filter-gradient"
    summary = "the filter's gradient as a correlation of the signal with the result's cotangent"
    unknown = "k"

    @staticmethod
    def long(problem: Problem) -> int | None:
        """The axis, counted from behind, that changes places with the last one, or None where they stay."""
        taps = problem.grid.t
        axis = taps.index(max(taps)) - len(taps)
        return axis if taps[-1] <= NARROW and taps[axis] >= LONG * taps[-1] else None

    def cost(self, problem: Problem, machine: Machine) -> float:
        seconds = super().cost(problem, machine)
        if self.long(problem) is not None:
            seconds += bytes_of(problem, math.prod(problem.x_shape) + math.prod(problem.out_shape)) * machine.seconds(
                "copy"
            )
        return seconds

    def parts(self, problem: Problem) -> tuple[Problem, ...]:
        g, s = problem.grid, problem.sizes
        need = tuple((t - 1) * d + (m - 1) * e + 1 for t, d, m, e in zip(g.t, g.dilation, g.m, g.stride, strict=True))
        pads = tuple((lo, hi - (p - w)) for (lo, hi), p, w in zip(g.pads, g.padded, need, strict=True))
        dtype = problem.compute_dtype
        axes = list(range(g.ndim))
        if (axis := self.long(problem)) is not None:
            axes[axis], axes[-1] = axes[-1], axes[axis]

        def placed(values: Sequence) -> tuple:
            return tuple(values[a] for a in axes)

        part = replace(
            problem, unknown="out", flip=False, pattern="b n c *s, b n o *s -> b o c *s", x_shape=(s.B, s.N, s.C, *placed(g.n)),
            k_shape=(s.B, s.N, s.O, *placed(g.m)), x_dtype=dtype, k_dtype=dtype, out_dtype=dtype, pads=placed(pads),
            boundary=placed(g.boundary), stride=placed(g.dilation), dilation=placed(g.stride), host="numpy",
        )  # fmt: skip
        return (part,)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        (part,) = self.parts(problem)
        copies = 1 if self.long(problem) is None else 2
        return bytes_of(
            problem, copies * (math.prod(part.x_shape) + math.prod(part.k_shape) + math.prod(part.out_shape))
        )

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        axis = self.long(problem)
        if axis is None:
            return context.parts[0](operands["x"], operands["y"])
        x, y = (np.ascontiguousarray(operands[name].swapaxes(axis, -1)) for name in ("x", "y"))
        return np.ascontiguousarray(context.parts[0](x, y).swapaxes(axis, -1))


TRANSPOSED = Transposed()
FILTER_GRADIENT = FilterGradient()
